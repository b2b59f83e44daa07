"""TheOracle, who asks the database on behalf of the other tasks, and DbClient, who asks TheOracle.

Requests go by way of Seraph, who has several oracles: one message a method of
:class:`~piwheels.core.database.Database`, its name with the list of its arguments
(:mod:`piwheels.master.logic.travel` says how they travel). An oracle gets ``[peer, ticket, frame]``
one or more times in one message, and answers all of them in one, which also says that it is free.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, TypeVar

import zmq
from sqlalchemy.exc import OperationalError

from piwheels.core import codec
from piwheels.core.database import Database
from piwheels.core.errors import BadMessage, DatabaseError, PiWheelsError, Refused
from piwheels.core.tasks import NonStopTask
from piwheels.core.transport import Context
from piwheels.master.logic.travel import Method, methods_of
from piwheels.master.rpc import Answer, Client, error_frame
from piwheels.master.wiring import DB_LIMIT

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator, Sequence

    from piwheels.core.states import BuildState
    from piwheels.core.transport import Socket
    from piwheels.master.wiring import MasterConfig

    #: To type checkers, a DbClient has the very methods of Database.
    _Methods = Database
else:
    _Methods = object

T = TypeVar("T")

#: What is made of the answers to several questions, each of which fits a message.
IN_PARTS: Final = ("get_search_index", "load_rewrites_pending")
#: What is not asked of TheOracle: that, and what is about a connection of one's own.
LOCAL: Final = frozenset({"close", "abort_retries", "listen", *IN_PARTS})


@functools.cache
def methods() -> dict[str, Method]:
    """Return how each method of ``Database`` that can be asked of TheOracle travels."""
    return methods_of(Database, LOCAL)


class TheOracle(NonStopTask):
    """Answers questions about the database, one group at a time; there are several of this task.

    The database's errors are answers; what is left of a lost connection's patience is the
    database's own business. Raises ``Fatal`` if there is no such database.
    """

    name = "the_oracle"
    stuck_after = 1200.0  # considering every version for another ABI takes its time

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.db = Database(config.dsn)
        work = self.socket(zmq.DEALER)
        work.hwm = 1000
        work.connect(config.oracle_queue)
        self.register(work, self.handle_work)
        self._work = work

    def once(self) -> None:
        """Tell Seraph that here is someone to ask."""
        self._work.send_multipart([b""])

    def close(self) -> None:
        """Close the connection to the database, too."""
        super().close()
        self.db.close()

    def abort_retries(self) -> None:
        """Stop retrying database calls: the master is ending. Safe to call from any thread."""
        self.db.abort_retries()

    def handle_work(self, queue: Socket) -> None:
        """Answer what Seraph handed over: a request, or builds to be logged in one transaction."""
        parts = queue.recv_multipart()
        frames = parts[2::3]
        answers = self._log_builds(frames) if len(frames) > 1 else map(self._answer, frames)
        reply = list(parts)
        reply[2::3] = answers
        queue.send_multipart(reply)

    def _answer(self, frame: bytes) -> bytes:
        msg = "?"
        try:
            msg, data = codec.loads(frame)
            method = methods().get(msg)
            if method is None:
                raise Refused("UNKNOWN", f"the database has no method {msg[:40]!r}")
            result = getattr(self.db, msg)(*method.unpack(data))
        except PiWheelsError as exc:
            if isinstance(exc, DatabaseError):
                self.logger.error("the database failed at %s: %s", msg, exc)
            return error_frame(exc)
        result = method.result.pack(result)
        try:
            return codec.dumps("OK", result)
        except ValueError as exc:  # larger than a frame may be
            self.logger.error("the answer to %s cannot be sent: %s", msg, exc)
            return error_frame(exc)

    def _log_builds(self, frames: Sequence[bytes]) -> list[bytes]:
        try:
            builds: list[BuildState] = []
            for frame in frames:
                msg, data = codec.loads(frame)
                if msg != "log_build":
                    raise BadMessage(f"{msg[:40]!r} among builds")
                builds += methods()[msg].unpack(data)
            results = self.db.log_builds(builds)
        except DatabaseError as exc:
            if isinstance(exc.__cause__, OperationalError):  # lost: one by one fares no better
                self.logger.error("the database failed at logging %d builds: %s", len(frames), exc)
                return [error_frame(exc)] * len(frames)
            return [self._answer(frame) for frame in frames]
        except BadMessage:
            return [self._answer(frame) for frame in frames]
        return [
            error_frame(result) if isinstance(result, Refused) else codec.dumps("OK", result)
            for result in results
        ]


def _forwarded(cls: type[T]) -> type[T]:
    """Give *cls* a method for each of ``Database``'s, which asks TheOracle and waits."""

    def forward(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def ask(self: DbClient, *args: Any, **kwargs: Any) -> Any:
            return self.call(function.__name__, *args, **kwargs)

        return ask

    for name in methods():
        setattr(cls, name, forward(getattr(Database, name)))
    for name in IN_PARTS:
        setattr(cls, name, getattr(Database, name))
    return cls


@_forwarded
class DbClient(_Methods):
    """The methods of ``Database``, asked of TheOracle by way of Seraph; for use in one thread.

    Each method waits for its answer, at most *timeout* seconds, and raises what the database raised
    (``DatabaseError``, ``Refused``) or ``Unavailable``. Who may not wait uses :meth:`request` and
    :meth:`answers` instead, with a client of its own: a waiting call drops the answers to requests.
    """

    def __init__(
        self, config: MasterConfig, logger: logging.Logger, timeout: float = DB_LIMIT
    ) -> None:
        self._client = Client(Context(), config.db_queue, "the database", logger)
        self._timeout = timeout
        self._asked: dict[int, Method] = {}

    @property
    def socket(self) -> Socket:
        """The socket on which answers come, for a poller."""
        return self._client.socket

    def close(self) -> None:
        """Close the connection; answers that are under way are lost."""
        self._client.close()

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Ask for the method *name* and wait for its result."""
        method = methods()[name]
        data = method.pack(args, kwargs)
        return method.result.validate(self._client.call(name, data, self._timeout))

    def request(self, name: str, *args: Any, **kwargs: Any) -> int:
        """Ask for the method *name* without waiting; return the ticket that its answer will carry.

        Every request is answered sooner or later, if only by ``Unavailable``.
        """
        method = methods()[name]
        ticket = self._client.request(name, method.pack(args, kwargs))
        self._asked[ticket] = method
        return ticket

    def answers(self) -> Iterator[Answer]:
        """Give the answers to requests that have come, with typed results, without waiting."""
        for answer in self._client.answers():
            method = self._asked.pop(answer.ticket, None)
            if method is None:
                continue
            if answer.error is None:
                yield answer._replace(result=method.result.validate(answer.result))
            else:
                yield answer
