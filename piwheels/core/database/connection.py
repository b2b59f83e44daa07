"""How the database is reached: clean text in, calls that outlive a lost connection."""

from __future__ import annotations

import logging
import re
import threading
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from piwheels.core.clock import SYSTEM
from piwheels.core.database import sql_files
from piwheels.core.database.dsn import driver
from piwheels.core.errors import DatabaseError, Fatal
from piwheels.core.text import clean as clean  # noqa: PLC0414 (for all the calls)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy.engine import URL, Connection, Engine

T = TypeVar("T")
logger = logging.getLogger("database")

#: The widths of columns that take text from outside, in characters (as in sql/migrations).
NAME, REASON, LOG = 200, 8192, 15 * 2**20
STATEMENT_TIMEOUT, CONNECT_TIMEOUT = 60, 10  # seconds

# What would break a terminal, and what UTF-8 cannot say (as core.text has it); lines stay.
_UNFIT_IN_LOG = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# Deadlock and serialisation failure: the server has undone everything, so again is always safe.
_UNDONE = frozenset({"40001", "40P01"})


def clean_log(value: str) -> str:
    """Return a build's log fit for its column: as :func:`clean`, but lines and tabs stay."""
    return _UNFIT_IN_LOG.sub("\ufffd", value[:LOG])


def database_url(dsn: str) -> URL:
    """Return *dsn* with our driver named in it; raise :exc:`Fatal` if it is no such address."""
    try:
        url = make_url(dsn)
    except ArgumentError as exc:
        raise Fatal(f"{dsn!r} is no database address: use postgresql://user@host/name") from exc
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise Fatal(
            f"piwheels needs PostgreSQL, not {url.get_backend_name()}: use postgresql://..."
        )
    return url.set(drivername="postgresql+psycopg2")


def make_engine(dsn: str, statement_timeout: int = STATEMENT_TIMEOUT) -> Engine:
    """Return an engine for *dsn*; a statement may take *statement_timeout* s (0: for ever)."""
    url = database_url(dsn)
    given = url.query.get("options", "")
    settings = f"{given} -c statement_timeout={statement_timeout * 1000} -c timezone=UTC"
    driver()  # says how to get one, if there is none
    return create_engine(
        url,
        pool_size=1,
        max_overflow=4,
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT,
            "client_encoding": "utf8",
            "options": settings.strip(),
            # A server that vanished is noticed in half a minute, not after TCP's two hours.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        },
    )


def sentence(exc: SQLAlchemyError) -> str:
    """Return the first line of what the server or the driver said, for a log or a person."""
    lines = str(getattr(exc, "orig", None) or exc).strip().splitlines()
    return lines[0] if lines else type(exc).__name__


class Client:
    """A pool of connections to one database, and calls of the functions in its schema ``piwheels``.

    *patience* is for how many seconds a call is tried again when the connection is lost. Raises
    :exc:`Fatal` when there is no such database, or its schema is not what this program needs.
    """

    def __init__(self, dsn: str, patience: float = 30.0) -> None:
        self._engine = make_engine(dsn)
        self._patience = patience
        self._hurried = threading.Event()
        try:
            with self._engine.connect() as conn:
                _check_schema(conn)
        except SQLAlchemyError as exc:
            raise Fatal(f"cannot use the database: {sentence(exc)}; check --dsn") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def hurry(self) -> None:
        """Wait no more for a server that is away: the program is ending. From any thread."""
        self._hurried.set()

    def _rows(self, name: str, *args: object, again: bool = True, limit: int = 0) -> list[Any]:
        """Call the SQL function *name*; return its rows.

        *again*: calling it twice does no harm, so it is repeated even if its answer was lost on
        the way. *limit*: seconds that it may take, if not the usual.
        """

        def work(conn: Connection) -> list[Any]:
            if limit:
                conn.exec_driver_sql(f"SET LOCAL statement_timeout = {limit * 1000:d}")
            return list(map(tuple, conn.exec_driver_sql(_call(name, len(args)), args)))

        return self._try(work, again=again)

    def _value(self, name: str, *args: object, again: bool = True, limit: int = 0) -> Any:
        """Call the SQL function *name*; return the one value that it gives, or ``None``."""
        rows = self._rows(name, *args, again=again, limit=limit)
        return rows[0][0] if rows else None

    def _all(self, calls: Iterable[tuple[str, object]]) -> list[Any]:
        """Call several SQL functions (with one argument each) in one transaction, once.

        Return the value that each gives.
        """
        todo = list(calls)

        def work(conn: Connection) -> list[Any]:
            return [conn.exec_driver_sql(_call(name, 1), (arg,)).scalar() for name, arg in todo]

        return self._try(work, again=False) if todo else []

    def _column(self, name: str, *args: object) -> list[Any]:
        """Call the SQL function *name*; return the first column of its rows."""
        return [row[0] for row in self._rows(name, *args)]

    def _try(self, work: Callable[[Connection], T], *, again: bool) -> T:
        """Run *work* in a transaction, again and again within our patience if that is safe."""
        for pause in self._pauses():
            sent = False
            try:
                with self._engine.connect() as conn, conn.begin():
                    sent = True
                    return work(conn)
            except DBAPIError as exc:
                undone = getattr(exc.orig, "pgcode", None) in _UNDONE
                safe = not sent or undone
                lost = isinstance(exc, OperationalError) or exc.connection_invalidated
                if pause is None or not (safe or (again and lost)) or _timed_out(exc):
                    raise DatabaseError(sentence(exc)) from exc
                logger.warning("database: %s; trying again in %.1f s", sentence(exc), pause)
                if undone:
                    time.sleep(pause)
                elif self._hurried.wait(pause):
                    raise DatabaseError(sentence(exc)) from exc
            except SQLAlchemyError as exc:
                raise DatabaseError(sentence(exc)) from exc
        raise AssertionError("unreachable: the last pause is None")

    def _pauses(self) -> Iterator[float | None]:
        """Give the seconds to wait before each new try: doubling, then ``None`` for no more."""
        pause, end = 0.1, SYSTEM.monotonic() + self._patience
        while (left := end - SYSTEM.monotonic()) > 0:
            yield min(pause, left)
            pause = min(pause * 2, 5.0)
        yield None


@cache
def _call(name: str, arguments: int) -> str:
    """Return the statement that calls one of our functions (composing it each time is slow)."""
    places = ", ".join(["%s"] * arguments)
    return f"SELECT * FROM piwheels.{name}({places})"  # noqa: S608 (all names are our own)


def _timed_out(exc: DBAPIError) -> bool:
    return getattr(exc.orig, "pgcode", None) == "57014"


def _check_schema(conn: Connection) -> None:
    want = sql_files.version()
    found = conn.execute(
        text("SELECT to_regclass('public.configuration') IS NOT NULL")
    ).scalar_one()
    if not found:
        raise Fatal("the database is empty: run piw-initdb")
    have = conn.execute(text("SELECT version FROM public.configuration")).scalar_one()
    if have != want:
        newer = have.partition("+")[0] > want.partition("+")[0]
        raise Fatal(
            f"the database has schema {have}, this program needs {want}: "
            + ("install the newer piwheels" if newer else "run piw-initdb")
        )
