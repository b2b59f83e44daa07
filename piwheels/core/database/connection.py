"""Connections to the database: text is cleaned, and calls survive a lost connection."""

from __future__ import annotations

import logging
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
from piwheels.core.errors import DatabaseError, Fatal, Rejected, one_line
from piwheels.core.text import clean as clean  # noqa: PLC0414 (for all the calls)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy.engine import URL, Connection, Engine

T = TypeVar("T")
R = TypeVar("R")
logger = logging.getLogger("database")

#: The widths of columns for external text, in characters (as in sql/migrations).
NAME, REASON, LOG = 200, 8192, 15 * 2**20
STATEMENT_TIMEOUT, CONNECT_TIMEOUT = 60, 10  # seconds

# Deadlock and serialization failure: the server rolled everything back, so a retry is safe.
_ROLLED_BACK = frozenset({"40001", "40P01"})
# The classes of errors that the data of a call causes: bad values, violated constraints, limits.
_REJECTED = ("22", "23", "54")
# "There is no such function": since the schema has its version, a number too large for its type.
_TOO_LARGE = "42883"
# How many of the rows that a call leaves out are logged.
_MAX_LOGGED = 20


def database_url(dsn: str) -> URL:
    """Return *dsn* with the driver psycopg2. Raises :exc:`Fatal` if it is not a PostgreSQL URL."""
    try:
        url = make_url(dsn)
    except ArgumentError as exc:
        raise Fatal(f"{dsn!r} is not a database URL: use postgresql://user@host/name") from exc
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise Fatal(
            f"piwheels needs PostgreSQL, not {url.get_backend_name()}: use postgresql://..."
        )
    return url.set(drivername="postgresql+psycopg2")


def make_engine(dsn: str, statement_timeout: int = STATEMENT_TIMEOUT) -> Engine:
    """Return an engine for *dsn*; *statement_timeout* is in seconds (0: no limit)."""
    url = database_url(dsn)
    given = url.query.get("options", "")
    settings = f"{given} -c statement_timeout={statement_timeout * 1000} -c timezone=UTC"
    driver()  # explains how to install one if it is missing
    return create_engine(
        url,
        pool_size=1,
        max_overflow=4,
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT,
            "client_encoding": "utf8",
            "options": settings.strip(),
            # Notice a vanished server within half a minute instead of TCP's two hours.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        },
    )


def sentence(exc: SQLAlchemyError) -> str:
    """Return the first line of the server's or the driver's message."""
    lines = str(getattr(exc, "orig", None) or exc).strip().splitlines()
    return lines[0] if lines else type(exc).__name__


def halved(
    rows: Sequence[R], store: Callable[[Sequence[R]], T], skip: Callable[[R, Rejected], None]
) -> list[T]:
    """Call *store* with *rows*, or with all parts of them that the database accepts.

    Rejected rows are halved until each bad row is found; *skip* gets it, with the error. Return
    the results of *store*, in order.
    """
    try:
        return [store(rows)]
    except Rejected as exc:
        if not rows:
            raise
        if len(rows) == 1:
            skip(rows[0], exc)
            return []
    middle = len(rows) // 2
    return [*halved(rows[:middle], store, skip), *halved(rows[middle:], store, skip)]


def log_skipped(skipped: Sequence[tuple[object, Rejected]]) -> None:
    """Log the rows that :func:`halved` has skipped, each with its error."""
    for row, exc in skipped[:_MAX_LOGGED]:
        logger.error(
            "left out what the database rejects: %s: %.400r; the rest is stored; report this line"
            " as a fault of piwheels, which should have refused it earlier",
            exc, row,
        )  # fmt: skip
    if (more := len(skipped) - _MAX_LOGGED) > 0:
        logger.error("left out %d more rows that the database rejects", more)


class Client:
    """A connection pool for one database, and calls of the functions in its schema ``piwheels``.

    *patience* is how many seconds a call is retried after a lost connection. Raises :exc:`Fatal`
    if the database does not exist or has another schema version than this program needs.
    """

    def __init__(self, dsn: str, patience: float = 30.0) -> None:
        self._engine = make_engine(dsn)
        self._patience = patience
        self._aborted = threading.Event()
        try:
            with self._engine.connect() as conn:
                _check_schema(conn)
        except SQLAlchemyError as exc:
            raise Fatal(f"cannot use the database: {sentence(exc)}; check --dsn") from exc
        except Fatal:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def abort_retries(self) -> None:
        """Stop retrying calls: the program is ending. Safe to call from any thread."""
        self._aborted.set()

    def _rows(self, name: str, *args: object, again: bool = True, limit: int = 0) -> list[Any]:
        """Call the SQL function *name*; return its rows.

        *again* says that the function is idempotent, so that a call whose answer was lost is
        repeated, too. *limit* overrides the statement time-out, in seconds.
        """

        def work(conn: Connection) -> list[Any]:
            if limit:
                conn.exec_driver_sql(f"SET LOCAL statement_timeout = {limit * 1000:d}")
            return call(conn, name, *args)

        return self._try(work, again=again)

    def _value(self, name: str, *args: object, again: bool = True, limit: int = 0) -> Any:
        """Call the SQL function *name*; return its single value, or ``None``."""
        rows = self._rows(name, *args, again=again, limit=limit)
        return rows[0][0] if rows else None

    def _all(self, calls: Iterable[tuple[str, object]]) -> list[Any]:
        """Call several SQL functions of one argument in one transaction, without retry.

        Return their values.
        """
        todo = list(calls)

        def work(conn: Connection) -> list[Any]:
            return [call(conn, name, arg)[0][0] for name, arg in todo]

        return self._try(work, again=False) if todo else []

    def _column(self, name: str, *args: object) -> list[Any]:
        """Call the SQL function *name*; return the first column of its rows."""
        return [row[0] for row in self._rows(name, *args)]

    def _accepted(self, rows: Sequence[R], store: Callable[[Sequence[R]], T]) -> list[T]:
        """Store *rows* by *store*, except those that the database rejects, which are logged."""
        skipped: list[tuple[object, Rejected]] = []
        found = halved(rows, store, lambda row, exc: skipped.append((row, exc)))
        log_skipped(skipped)
        return found

    def _try(self, work: Callable[[Connection], T], *, again: bool) -> T:
        """Run *work* in a transaction; retry it within *patience* where that is safe.

        Raises ``Rejected`` if the data is at fault.
        """
        for pause in self._pauses():
            sent = False
            try:
                with self._engine.connect() as conn, conn.begin():
                    sent = True
                    return work(conn)
            except DBAPIError as exc:
                if _is_rejected(exc):
                    raise Rejected(sentence(exc)) from exc
                rolled_back = getattr(exc.orig, "pgcode", None) in _ROLLED_BACK
                safe = not sent or rolled_back
                lost = isinstance(exc, OperationalError) or exc.connection_invalidated
                if pause is None or not (safe or (again and lost)) or _timed_out(exc):
                    raise DatabaseError(sentence(exc)) from exc
                logger.warning("database: %s; trying again in %.1f s", sentence(exc), pause)
                if rolled_back:
                    time.sleep(pause)
                elif self._aborted.wait(pause):
                    raise DatabaseError(sentence(exc)) from exc
            except SQLAlchemyError as exc:
                raise DatabaseError(sentence(exc)) from exc
            except (ValueError, OverflowError) as exc:  # the driver cannot convert a value
                raise Rejected(one_line(exc)) from exc
        raise AssertionError("unreachable: the last pause is None")

    def _pauses(self) -> Iterator[float | None]:
        """Yield the seconds to wait before each retry, doubling; then ``None``: raise the error."""
        pause, end = 0.1, SYSTEM.monotonic() + self._patience
        while (left := end - SYSTEM.monotonic()) > 0:
            yield min(pause, left)
            pause = min(pause * 2, 5.0)
        yield None


def call(conn: Connection, name: str, *args: object) -> list[Any]:
    """Call the SQL function *name* in the transaction of *conn*; return its rows."""
    return list(map(tuple, conn.exec_driver_sql(_statement(name, len(args)), args)))


@cache
def _statement(name: str, arguments: int) -> str:
    """Return the statement that calls a function; cached, because formatting takes time."""
    places = ", ".join(["%s"] * arguments)
    return f"SELECT * FROM piwheels.{name}({places})"  # noqa: S608 (the names are constants)


def _is_rejected(exc: DBAPIError) -> bool:
    code = getattr(exc.orig, "pgcode", None) or ""
    return code.startswith(_REJECTED) or code == _TOO_LARGE


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
    if have.endswith(sql_files.IMPORTING):
        raise Fatal("an import into the database has not ended: run piw-initdb --from-peer again")
    if have != want:
        newer = have.partition("+")[0] > want.partition("+")[0]
        raise Fatal(
            f"the database has schema {have}, this program needs {want}: "
            + ("install the newer piwheels" if newer else "run piw-initdb")
        )
