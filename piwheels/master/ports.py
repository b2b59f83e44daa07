"""The sockets of a task, made from the table of wires, and the requests that go over them.

Each request has a *ticket*, a number that its answer carries back. On an ``rpc`` wire a request
travels as ``[ticket, message]``, the ticket in eight bytes. The answer is the same ticket with
``OK`` and a value, or with ``ERROR`` and ``[code, text]``.
"""

from __future__ import annotations

import itertools
import typing
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

import zmq

from piwheels.core import codec
from piwheels.core.clock import SYSTEM
from piwheels.core.errors import (
    BadMessage,
    DatabaseError,
    Fatal,
    PiWheelsError,
    Refused,
    Rejected,
    Unavailable,
)
from piwheels.core.protocols import Protocol
from piwheels.core.tasks import TaskQuit
from piwheels.core.transport import Socket
from piwheels.master.gate import KEYLESS, LOCAL, Guard
from piwheels.master.logic.zmtp import HANDSHAKE_FRAME
from piwheels.master.result import Result, failed
from piwheels.master.wiring import WIRES, Wire

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator, Sequence

    from piwheels.core.clock import Clock
    from piwheels.master.messages import Message
    from piwheels.master.relay import Relay
    from piwheels.master.wiring import MasterConfig

M = TypeVar("M")
A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)

#: The default time limit of a request, in seconds.
LIMIT: Final = 60.0
#: The ZeroMQ types of the sockets that bind and connect, by a wire's pattern.
SOCKET_TYPES: Final = {
    "router": (zmq.ROUTER, zmq.DEALER),
    "rpc": (zmq.ROUTER, zmq.DEALER),
    "push": (zmq.PULL, zmq.PUSH),
    "pub": (zmq.XPUB, zmq.SUB),
}
#: The errors that keep their type when they are an answer; so does ``Refused``, by its code.
_CODES: Final[dict[str, type[Exception]]] = {
    "REJECTED": Rejected, "DATABASE": DatabaseError, "UNAVAILABLE": Unavailable,
}  # fmt: skip


class Askable(typing.Protocol[A_co]):
    """A request: a :class:`~piwheels.master.messages.Request`, or a database call."""

    @property
    def name(self) -> str:
        """The name of the request, for errors."""

    def frame(self) -> bytes:
        """Return the request as it travels."""

    def read(self, answer: Any) -> A_co:
        """Return the typed value of an answer. Raises ``BadMessage``."""


class Loop(typing.Protocol):
    """The part of a task that its ports need."""

    def register(self, queue: Any, handler: Callable[[Any], None]) -> None:
        """Have *handler* called with *queue* when it can be read."""

    def every(self, interval: timedelta, handler: Callable[[], None]) -> None:
        """Have *handler* called every *interval*."""

    def own(self, thing: Any) -> None:
        """Close *thing* with the task."""

    def unexpected(self, what: str, exc: Exception) -> PiWheelsError:
        """Log an unexpected error in the handling of one input; return its answer."""


class Ticket(NamedTuple, Generic[M]):
    """A received *request*; *peer* and *number* identify the recipient of its answer."""

    queue: Socket
    peer: bytes
    number: bytes
    request: M

    def answer(self, value: Any = None) -> None:
        """Send *value* as the answer."""
        self.queue.send_multipart([self.peer, self.number, codec.dumps("OK", value)])

    def refuse(self, error: Exception) -> None:
        """Send *error* as the answer, to be raised there; a ``Refused`` keeps its code."""
        self.queue.send_multipart([self.peer, self.number, error_frame(error)])


class Inbox(Socket, Generic[M]):
    """The socket of *wire*; on a wire between tasks, it receives messages of the type *M*."""

    def __init__(
        self,
        wire: Wire,
        socket: zmq.Socket[Any],
        protocol: Protocol | None,
        logger: logging.Logger,
        config: MasterConfig,
    ) -> None:
        super().__init__(socket, protocol, logger)
        self._wire, self.wire, self.logger = wire, wire.name, logger
        self._gate, self._relay = config.gate, config.relay
        #: Who has sent the last message, and what log lines call it.
        self.sender, self.peer = LOCAL, ""
        #: The request, and the message of any kind, that was last received: see :func:`handle`.
        self.taken: Ticket[M] | None = None
        self.last: Any = None

    def bind(self, address: str) -> None:
        """Listen on *address*; admit the peers that the table of wires admits there.

        Bind the addresses without a guard first: a guarded socket stays so.
        """
        door = self._relay.doors.get(address) if self._relay is not None else None
        if self._gate is not None and door is not None and door.guard is not Guard.NONE:
            secret = self._gate.secret if door.guard is Guard.KEYS else ""
            self.guard(f"{self.wire} {door.guard}", secret)
        super().bind(address)

    def _receive(self, flags: int) -> list[bytes]:
        frames = super()._receive(flags)
        if self._relay is not None and self.origin.descriptor is not None:
            self._note(self._relay, frames)
        return frames

    def _note(self, relay: Relay, frames: list[bytes]) -> None:
        """Note that a message was read, and who has sent it."""
        with_address = self._wire.pattern == "router"
        client = relay.taken(self.origin.descriptor, frames[1:] if with_address else frames)
        self.peer = place = client.place if client is not None else ""
        user = self.origin.user
        if user == KEYLESS:  # the relay has checked and added its address
            user = f"{KEYLESS}{self.origin.address}"
        if self._gate is not None:
            self.sender = self._gate.sender(self._wire, user, place)
            self.peer = self.sender.name or place
        if client is not None and user:
            relay.identify(client, user)

    def recv_multipart(self, flags: int = 0) -> list[bytes]:
        """Receive the frames of one message."""
        frames = self._receive(flags) if self._relay is not None else super().recv_multipart(flags)
        self.last = [frame[:80] for frame in frames[:4]]
        return frames

    def recv_msg(self, flags: int = 0) -> tuple[str, Any]:
        """Receive a message; return its name and its data. Raises ``BadMessage``."""
        with self._of_peer():
            found = super().recv_msg(flags)
        self.last = found
        return found

    def recv_addr_msg(self, flags: int = 0) -> tuple[bytes, str, Any]:
        """Receive a message of a peer; return its address, name and data. See ``Socket``."""
        self.last = "a message"
        with self._of_peer():
            found = super().recv_addr_msg(flags)
        self.last = found
        return found

    @contextmanager
    def _of_peer(self) -> Iterator[None]:
        """Add to a ``BadMessage`` whose message it was."""
        try:
            yield
        except BadMessage as exc:
            exc.peer = exc.peer or self.peer
            raise

    def recv(self) -> M:
        """Receive a message that is not answered. Raises ``BadMessage``."""
        frames = self.recv_multipart()
        if len(frames) != 1:
            raise BadMessage(f"{len(frames)} frames instead of one")
        message = self._message(frames[0])
        self.last = message
        return message

    def recv_ticket(self) -> Ticket[M]:
        """Receive a request. Raises ``BadMessage``, which is also the answer."""
        frames = self.recv_multipart()
        if len(frames) != 3:
            raise BadMessage(f"{len(frames)} frames instead of three")
        try:
            self.taken = Ticket(self, frames[0], frames[1], self._message(frames[2]))
        except BadMessage as exc:
            Ticket(self, frames[0], frames[1], None).refuse(exc)
            raise
        self.last = self.taken.request
        return self.taken

    def forget(self) -> None:
        """Forget what was received: it has been handled."""
        self.taken = self.last = None

    def _message(self, frame: bytes) -> M:
        name, values = codec.loads(frame)
        cls = next((cls for cls in self._wire.messages if cls.__name__ == name), None)
        if cls is None:
            raise BadMessage(f"unknown message {name[:40]!r}")
        return typing.cast("M", cls.of(values))


def handle(
    queue: Inbox[Any],
    handler: Callable[[Inbox[Any]], None],
    unexpected: Callable[[str, Exception], PiWheelsError],
) -> None:
    """Call *handler* to receive and handle messages of *queue*.

    If it fails at a message, *unexpected* logs that, and a request is refused; nothing else
    happens: no message ends a task. Only ``BadMessage`` is raised, and an error without a message.
    """
    queue.forget()
    try:
        handler(queue)
    except BadMessage as exc:
        exc.peer = exc.peer or queue.peer
        raise
    except (Fatal, TaskQuit):
        raise
    except Exception as exc:
        if queue.last is None:
            raise  # otherwise it would be called again at once, for ever
        what = f"a message on the wire {queue.wire}: {queue.last!s:.150}"
        error = unexpected(what, exc)
        if queue.taken is not None:
            queue.taken.refuse(error)
        elif error is exc:  # raised on purpose; but nobody gets this answer
            queue.logger.error("could not handle %s: %s", what, exc)


class _Open(NamedTuple):
    """A request that waits for its answer until *deadline*; *late* is the error after it."""

    wire: str
    request: Askable[Any]
    then: Callable[[Result[Any]], None]
    deadline: float
    late: Unavailable


class Ports:
    """All the sockets that the table of wires gives to *owner*: a task, or ``main``.

    *loop* is the task, which calls the handlers and closes the ports. Without a loop nothing can be
    served, and only :meth:`call` can ask. For use in one thread. Raises ``Fatal`` if an address
    cannot be bound.
    """

    def __init__(
        self,
        owner: str,
        config: MasterConfig,
        logger: logging.Logger,
        loop: Loop | None = None,
        *,
        wires: Sequence[Wire] = WIRES,
        clock: Clock = SYSTEM,
    ) -> None:
        self._owner, self._config, self._logger, self._loop = owner, config, logger, loop
        self._clock = clock
        self._wires = {w.name: w for w in wires if owner == w.binds or owner in w.connects}
        self._sockets: dict[str, Inbox[Any]] = {}
        #: The connections of waiting calls, which nothing else uses.
        self._callers: dict[str, Inbox[Any]] = {}
        self._tickets = itertools.count(1)
        self._open: dict[int, _Open] = {}
        try:
            for name, wire in self._wires.items():
                self._sockets[name] = open_socket(wire, config, logger, bind=owner == wire.binds)
        except BaseException:
            self.close()
            raise
        if loop is not None:
            loop.own(self)
            for name, wire in self._wires.items():
                if wire.pattern == "rpc" and owner in wire.connects:
                    loop.register(self._sockets[name], self._collect)
            loop.every(timedelta(seconds=1), self.expire)

    def close(self) -> None:
        """Close every socket. Outstanding answers are lost."""
        for name, socket in (*self._sockets.items(), *self._callers.items()):
            socket.close(self._wires[name].limits.linger)

    def socket(self, wire: str) -> Inbox[Any]:
        """Return the socket of *wire*. Raises ``LookupError`` if the table does not give it."""
        if wire not in self._sockets:
            raise LookupError(f"{self._owner} has no wire {wire!r}: see WIRES")
        return self._sockets[wire]

    def serve(self, wire: str, handler: Callable[[Inbox[Any]], None]) -> None:
        """Call *handler* with the socket of *wire* whenever it is readable.

        A message at which it fails does not end the task: see :func:`handle`.
        """
        assert self._loop is not None, "ports without a loop cannot serve"  # noqa: S101
        loop = self._loop
        loop.register(self.socket(wire), lambda queue: handle(queue, handler, loop.unexpected))

    # Sending --------------------------------------------------------------------------------

    def push(self, wire: str, message: Message) -> bool:
        """Send *message*, and return whether there was room for it; never block.

        Raises ``TypeError`` for a message that *wire* does not carry, ``BadMessage`` for an invalid
        one.
        """
        try:
            self.socket(wire).send_multipart([self._frame(wire, message)], zmq.DONTWAIT)
        except Unavailable:
            self._logger.debug("%s: no room for %s", wire, message.name)
            return False
        return True

    def ask(
        self,
        wire: str,
        request: Askable[A],
        then: Callable[[Result[A]], None],
        limit: float = LIMIT,
    ) -> None:
        """Send *request* without blocking; *then* gets the answer, or the error, from the loop.

        After *limit* seconds without an answer it gets ``Unavailable``, and a later answer is
        dropped. Raises as :meth:`push` does.
        """
        ticket, frame = next(self._tickets), self._frame(wire, request)
        late = Unavailable(f"{wire}: {request.name} was not answered within {limit:g} s")
        deadline = self._clock.monotonic() + limit
        try:
            _send(self.socket(wire), ticket, frame)
        except Unavailable as exc:
            deadline, late = 0.0, exc
        self._open[ticket] = _Open(wire, request, then, deadline, late)

    def call(self, wire: str, request: Askable[A], limit: float = LIMIT) -> A:
        """Send *request*, wait up to *limit* seconds, and return the answer.

        Raises the error that was answered (``Refused``, ``DatabaseError``), or ``Unavailable``.
        """
        ticket, frame = next(self._tickets), self._frame(wire, request)
        if wire not in self._callers:
            self._callers[wire] = open_socket(
                self._wires[wire], self._config, self._logger, bind=False
            )
        socket = self._callers[wire]
        deadline = self._clock.monotonic() + limit
        _send(socket, ticket, frame)
        while (left := deadline - self._clock.monotonic()) > 0 and socket.poll(left):
            number, answer = socket.recv_multipart()
            if int.from_bytes(number, "big") == ticket:  # otherwise it answers an earlier call
                return _read(request, answer).get()
        raise Unavailable(f"{wire}: {request.name} was not answered within {limit:g} s")

    # Answers --------------------------------------------------------------------------------

    def expire(self) -> None:
        """Answer the requests whose time limit has passed, with ``Unavailable``."""
        for wire in {each.wire for each in self._open.values()}:
            self._collect(self._sockets[wire])  # the loop may have been too busy to read them
        now = self._clock.monotonic()
        for ticket in [ticket for ticket, each in self._open.items() if each.deadline <= now]:
            late = self._open.pop(ticket, None)
            if late is not None:  # otherwise a callback above has handled it
                self._deliver(late, failed(late.late))

    def finish(self, wire: str, limit: float) -> None:
        """Wait up to *limit* seconds for the outstanding answers over *wire*."""
        deadline, socket = self._clock.monotonic() + limit, self.socket(wire)
        while any(each.wire == wire for each in self._open.values()):
            if not socket.poll(deadline - self._clock.monotonic()):
                return
            self._collect(socket)

    def _collect(self, socket: Socket) -> None:
        while socket.poll(0):
            ticket, frame = socket.recv_multipart()
            answered = self._open.pop(int.from_bytes(ticket, "big"), None)
            if answered is not None:
                self._deliver(answered, _read(answered.request, frame))

    def _deliver(self, asked: _Open, result: Result[Any]) -> None:
        """Pass on an answer. The task continues if that fails, as after any single input."""
        try:
            asked.then(result)
        except (BadMessage, Fatal, TaskQuit):
            raise
        except Exception as exc:
            if self._loop is None:
                raise
            what = f"the answer to {asked.request!s:.100}: {result.error or result.value!s:.80}"
            if self._loop.unexpected(what, exc) is exc:  # raised on purpose; nobody gets it
                self._logger.error("could not handle %s: %s", what, exc)

    def _frame(self, wire: str, message: Message | Askable[Any]) -> bytes:
        self.socket(wire)
        known = self._wires[wire].messages
        if known and type(message) not in known:
            raise TypeError(f"{wire} does not carry {message.name}: see WIRES")
        return message.frame()


def open_socket(
    wire: Wire, config: MasterConfig, logger: logging.Logger, *, bind: bool
) -> Inbox[Any]:
    """Return a new socket of *wire*: the one that binds, or one that connects."""
    socket_type = SOCKET_TYPES[wire.pattern][0 if bind else 1]
    protocol = wire.speaks if isinstance(wire.speaks, Protocol) else None
    if protocol is not None and not bind:
        protocol = reversed(protocol)
    socket: Inbox[Any] = Inbox(
        wire, zmq.Context.instance().socket(socket_type), protocol, logger, config
    )
    # 0MQ never waits for room in a socket for others: the relay does (docs/decisions/0063).
    relayed = bind and config.relay is not None and wire.is_public(config)
    socket.setsockopt(zmq.RCVHWM, 0 if relayed else wire.limits.unread)
    socket.setsockopt(zmq.SNDHWM, wire.limits.unsent)
    socket.setsockopt(zmq.MAXMSGSIZE, wire.limits.message + HANDSHAKE_FRAME)
    socket.setsockopt(zmq.BACKLOG, 1000)
    if wire.limits.mandatory and bind:
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    if socket_type == zmq.XPUB:
        socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # each subscription tells who has connected
    try:
        if bind:
            doors = config.relay.doors if config.relay is not None else {}
            guarded = [each for each in doors if doors[each].guard is not Guard.NONE]
            for address in sorted(wire.addresses(config), key=guarded.__contains__):
                socket.bind(address)
        else:
            socket.connect(wire.address(config))
    except BaseException:
        socket.close()
        raise
    return socket


def error_frame(error: Exception) -> bytes:
    """Return the answer that carries *error*; a ``Refused`` keeps its code."""
    if isinstance(error, Refused):
        code = error.code
    else:
        code = next((code for code, cls in _CODES.items() if isinstance(error, cls)), "ERROR")
    return codec.dumps("ERROR", [code, str(error)[:8000]])


def _send(socket: Socket, ticket: int, frame: bytes) -> None:
    socket.send_multipart([ticket.to_bytes(8, "big"), frame], zmq.DONTWAIT)


def _read(request: Askable[A], frame: bytes) -> Result[A]:
    try:
        msg, data = codec.loads(frame)
        if msg != "ERROR":
            return Result(request.read(data))
        code, text = data
    except PiWheelsError as exc:
        return failed(exc)
    return failed(_CODES[code](text) if code in _CODES else Refused(code, text))
