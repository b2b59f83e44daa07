"""TheOracle: calls the database for the other tasks. DbClient sends it their requests.

Requests go through Seraph, which has several oracles. A request is a call of a method of
:class:`~piwheels.core.database.Database`: its name and the list of its arguments, in the form that
:mod:`piwheels.master.logic.method_calls` derives. An oracle receives ``[peer, ticket, frame]`` one
or more times in one message. It answers all of them in one message, which also says that it is
free.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from sqlalchemy.exc import OperationalError

from piwheels.core import codec
from piwheels.core.database import Database
from piwheels.core.errors import BadMessage, DatabaseError, PiWheelsError, Refused, Rejected
from piwheels.core.tasks import NonStopTask
from piwheels.master.logic.method_calls import Method, methods_of
from piwheels.master.ports import Ports, error_frame
from piwheels.master.wiring import DB_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from piwheels.core.states import BuildState
    from piwheels.core.transport import Socket
    from piwheels.master.result import Result
    from piwheels.master.wiring import MasterConfig

    #: To type checkers, a DbClient has the very methods of Database.
    _Methods = Database
else:
    _Methods = object

T = TypeVar("T")

#: Methods that make several calls, since their whole answer would not fit a message.
IN_PARTS: Final = ("get_search_index", "load_rewrites_pending")
#: Methods that are not sent to TheOracle: those, and the methods about the caller's connection.
LOCAL: Final = frozenset({"close", "abort_retries", "listen", *IN_PARTS})


@functools.cache
def methods() -> dict[str, Method]:
    """Return the methods of ``Database`` that can be sent to TheOracle, by name."""
    return methods_of(Database, LOCAL)


class TheOracle(NonStopTask):
    """Carries out requests to the database, one group at a time; several of this task run.

    The database's errors are answers. Raises ``Fatal`` if there is no such database.
    """

    name = "the_oracle"
    stuck_after = 1200.0  # considering every version for another ABI takes its time

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.db = Database(config.dsn)
        self.own(self.db)
        self.ports = Ports("TheOracle", config, self.logger, self)
        self.ports.serve("oracles", self.handle_work)

    def once(self) -> None:
        """Report to Seraph as free."""
        self.ports.socket("oracles").send_multipart([b""])

    def abort_retries(self) -> None:
        """Stop retrying database calls: the master is ending. Safe to call from any thread."""
        self.db.abort_retries()

    def handle_work(self, queue: Socket) -> None:
        """Answer a message of Seraph: a request, or builds to be logged in one transaction."""
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
            result = method.result.pack(getattr(self.db, msg)(*method.unpack(data)))
        except PiWheelsError as exc:
            if isinstance(exc, DatabaseError):
                self.logger.error("the database failed at %s: %s", msg, exc)
            return error_frame(exc)
        except Exception as exc:  # noqa: BLE001 (one request)
            return error_frame(self.unexpected(f"the request {msg}", exc))
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
            lost = isinstance(exc.__cause__, OperationalError) and not isinstance(exc, Rejected)
            if lost:  # lost: one by one fares no better
                self.logger.error("the database failed at logging %d builds: %s", len(frames), exc)
                return [error_frame(exc)] * len(frames)
            return [self._answer(frame) for frame in frames]
        except BadMessage:
            return [self._answer(frame) for frame in frames]
        except Exception as exc:  # noqa: BLE001 (one build: the others are logged one by one)
            self.unexpected(f"logging {len(frames)} builds together", exc)
            return [self._answer(frame) for frame in frames]
        return [
            error_frame(result) if isinstance(result, Refused) else codec.dumps("OK", result)
            for result in results
        ]


class _Call(NamedTuple):
    """A call of *method* with *args*, as :meth:`~piwheels.master.ports.Ports.ask` wants it."""

    method: Method
    args: list[Any]

    @property
    def name(self) -> str:
        return self.method.name

    def frame(self) -> bytes:
        return codec.dumps(self.name, self.args)

    def read(self, answer: Any) -> Any:
        try:
            return self.method.result.validate(answer)
        except (TypeError, ValueError, LookupError, AttributeError) as exc:
            raise BadMessage(f"bad answer to {self.name}: {exc}") from exc


def _forwarded(cls: type[T]) -> type[T]:
    """Give *cls* each method of ``Database``, as a call that waits for TheOracle's answer."""

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
    """The methods of ``Database``, carried out by TheOracle; over the *ports* of a task.

    Each method waits for its answer, at most *limit* seconds, and raises what the database raised
    (``DatabaseError``, ``Refused``) or ``Unavailable``. Tasks that must not block use :meth:`ask`.
    """

    def __init__(self, ports: Ports, limit: float = DB_LIMIT) -> None:
        self._ports, self._limit = ports, limit

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call the method *name* and return its result."""
        return self._ports.call("database", _call(name, *args, **kwargs), self._limit)

    def ask(self, then: Callable[[Result[Any]], None], name: str, *args: Any) -> None:
        """Call the method *name* without blocking; *then* gets its result.

        Raises ``ValueError`` if the arguments are larger than a message may be.
        """
        self._ports.ask("database", _call(name, *args), then, self._limit)


def _call(name: str, *args: Any, **kwargs: Any) -> _Call:
    method = methods()[name]
    return _Call(method, method.pack(args, kwargs))
