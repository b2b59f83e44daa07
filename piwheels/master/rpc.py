"""Questions and answers between the master's tasks, without waiting for one another.

A :class:`Client` asks and gets a *ticket*; the answer carries it back. A task that may not wait
(SlaveDriver) asks with :meth:`Client.request` and collects :meth:`Client.answers` when its socket
has something; one that may, asks with :meth:`Client.call`, which has a limit. Behind a ROUTER, who
is asked uses :func:`recv_request`, :func:`send_result` and :func:`send_error`.

On the wire: ``[ticket, frame]``, a ticket of eight bytes, the frame a message of
:mod:`piwheels.core.codec`; the answers are ``OK`` with the result or ``ERROR`` with ``[code,
text]``.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import zmq

from piwheels.core import codec
from piwheels.core.clock import SYSTEM
from piwheels.core.codec import NoData
from piwheels.core.errors import BadMessage, DatabaseError, Refused, Unavailable

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable, Iterator

    from piwheels.core.transport import Context, Socket

#: Errors that pass from a server to its client as what they are.
_CODES: dict[str, type[Exception]] = {"DATABASE": DatabaseError, "UNAVAILABLE": Unavailable}


class Answer(NamedTuple):
    """What came back for *ticket*: the *result*, or the *error* to raise."""

    ticket: int
    result: Any
    error: Exception | None


class Client:
    """The asking side, connected to *address*; *whom* is the other side's name, for the log."""

    def __init__(self, context: Context, address: str, whom: str, logger: logging.Logger) -> None:
        self.socket = context.socket(zmq.DEALER, None, logger)
        self.socket.hwm = 100_000
        self.socket.connect(address)
        self._whom = whom
        self._tickets = itertools.count(1)

    def close(self) -> None:
        """Close the connection; answers that are under way are lost."""
        self.socket.close()

    def request(self, msg: str, data: Any = NoData) -> int:
        """Ask, and return the ticket that the answer will carry."""
        ticket = next(self._tickets)
        self.socket.send_multipart(
            [ticket.to_bytes(8, "big"), codec.dumps(msg, data)], zmq.DONTWAIT
        )
        return ticket

    def answers(self) -> Iterator[Answer]:
        """Give the answers that have come, without waiting."""
        while self.socket.poll(0):
            ticket, frame = self.socket.recv_multipart()
            msg, data = codec.loads(frame)
            error = _error(*data) if msg == "ERROR" else None
            yield Answer(int.from_bytes(ticket, "big"), data if error is None else None, error)

    def call(self, msg: str, data: Any = NoData, timeout: float = 60) -> Any:
        """Ask, wait up to *timeout* seconds, and return the result.

        Raises what the other side answered (``Refused``, ``DatabaseError``), or ``Unavailable`` if
        it did not. Answers to earlier questions that nobody waits for any more are dropped.
        """
        ticket = self.request(msg, data)
        deadline = SYSTEM.monotonic() + timeout
        while (left := deadline - SYSTEM.monotonic()) > 0 and self.socket.poll(left):
            for answer in self.answers():
                if answer.ticket == ticket:
                    if answer.error is not None:
                        raise answer.error
                    return answer.result
        raise Unavailable(f"{self._whom} did not answer {msg} within {timeout:g} s")


def _error(code: str, text: str) -> Exception:
    kind = _CODES.get(code)
    return kind(text) if kind is not None else Refused(code, text)


class _Question(NamedTuple):
    then: Callable[[Any, Exception | None], None]
    what: str
    deadline: float


class Questions:
    """The questions of a task that may not wait: what each answer goes to, if it comes in time.

    *patience* is for how many seconds an answer is waited for.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._open: dict[tuple[str, int], _Question] = {}

    def remember(
        self, whose: str, ticket: int, what: str, then: Callable[[Any, Exception | None], None]
    ) -> None:
        """Have *then* called with the answer to *ticket* of the client that we call *whose*.

        It gets the result, or the error that came instead; :exc:`Unavailable` if nothing comes.
        *what* was asked, for that error's sentence.
        """
        self._open[whose, ticket] = _Question(then, what, SYSTEM.monotonic() + self.patience)

    def collect(self, whose: str, answers: Iterable[Answer]) -> None:
        """Take *answers* of the client *whose*; those that nobody waits for are dropped."""
        for answer in answers:
            question = self._open.pop((whose, answer.ticket), None)
            if question is not None:
                question.then(answer.result, answer.error)

    def expire(self) -> None:
        """Answer the questions to which no answer has come in time."""
        now = SYSTEM.monotonic()
        for key in [key for key, question in self._open.items() if question.deadline < now]:
            question = self._open.pop(key)
            why = f"{question.what}: no answer within {self.patience:g} s"
            question.then(None, Unavailable(why))


class Request(NamedTuple):
    """A question that has come to a ROUTER: *peer* and *ticket* say where its answer goes."""

    peer: bytes
    ticket: bytes
    msg: str
    data: Any


def recv_request(socket: Socket) -> Request:
    """Receive the next question from a ROUTER *socket*. Raises ``BadMessage``."""
    frames = socket.recv_multipart()
    if len(frames) != 3:
        raise BadMessage(f"{len(frames)} frames instead of three")
    return Request(frames[0], frames[1], *codec.loads(frames[2]))


def send_result(socket: Socket, request: Request, result: Any = None) -> None:
    """Answer *request* with its *result*."""
    socket.send_multipart([request.peer, request.ticket, codec.dumps("OK", result)])


def send_error(socket: Socket, request: Request, error: Exception) -> None:
    """Answer *request* with *error*: a ``Refused`` keeps its code."""
    socket.send_multipart([request.peer, request.ticket, error_frame(error)])


def error_frame(error: Exception) -> bytes:
    """Return the answer that carries *error*: a ``Refused`` keeps its code."""
    match error:
        case Refused():
            code = error.code
        case _:
            code = next((code for code, kind in _CODES.items() if isinstance(error, kind)), "ERROR")
    return codec.dumps("ERROR", [code, str(error)[:8000]])
