"""Connections to the database: text is cleaned, and calls survive a lost connection."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Self, TypeVar

from piwheels.core.clock import SYSTEM
from piwheels.core.database import sql_files
from piwheels.core.database.dsn import driver
from piwheels.core.errors import DatabaseError, Fatal, Rejected, one_line
from piwheels.core.text import clean as clean  # noqa: PLC0414 (for all the calls)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")
logger = logging.getLogger("database")
psycopg2 = driver()

#: The widths of columns for external text, in characters (as in sql/migrations).
NAME, REASON, LOG = 200, 8192, 15 * 2**20
STATEMENT_TIMEOUT, CONNECT_TIMEOUT = 60, 10  # seconds

# Deadlock and serialization failure: the server rolled everything back, so a retry is safe.
_ROLLED_BACK = frozenset({"40001", "40P01"})
# The classes of errors that the data of a call causes: bad values, violated constraints, limits.
_REJECTED = ("22", "23", "54")
# "There is no such function": since the schema has its version, a number too large for its type.
_TOO_LARGE = "42883"
_TIMED_OUT = "57014"
# How many of the rows that a call leaves out are logged.
_MAX_LOGGED = 20


def connect(dsn: str, statement_timeout: int = STATEMENT_TIMEOUT) -> Any:
    """Return a connection to *dsn*; *statement_timeout* is in seconds (0: no limit).

    Raises :exc:`Fatal` if it is not a PostgreSQL URL, and the driver's errors.
    """
    scheme, colon, _ = dsn.partition("://")
    if not colon:
        raise Fatal(f"{dsn!r} is not a database URL: use postgresql://user@host/name")
    if scheme not in {"postgresql", "postgres"}:
        raise Fatal(f"piwheels needs PostgreSQL, not {scheme}: use postgresql://...")
    try:
        given = psycopg2.extensions.parse_dsn(dsn).get("options", "")
    except psycopg2.ProgrammingError as exc:
        raise Fatal(f"{dsn!r} is not a database URL: {first_line(exc)}") from exc
    settings = f"{given} -c statement_timeout={statement_timeout * 1000} -c timezone=UTC"
    return psycopg2.connect(
        dsn,
        connect_timeout=CONNECT_TIMEOUT,
        client_encoding="utf8",
        options=settings.strip(),
        # Notice a vanished server within half a minute instead of TCP's two hours.
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=30_000,
    )


def first_line(exc: Exception) -> str:
    """Return the first line of the server's or the driver's message."""
    lines = str(exc).strip().splitlines()
    return lines[0] if lines else type(exc).__name__


class Connections:
    """Connections to the database *dsn*, kept for the next transaction. For several threads."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._idle: list[Any] = []

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Yield a cursor in a transaction, which an exception rolls back."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = connect(self.dsn)
        try:
            with connection.cursor() as cursor:
                yield cursor
            connection.commit()
        except BaseException:
            with suppress(psycopg2.Error):
                connection.rollback()
            raise
        finally:
            if connection.closed:  # the server has ended; so have the others
                self.close()
            else:
                self._idle.append(connection)

    def close(self) -> None:
        """Close the connections that no transaction uses."""
        while self._idle:
            self._idle.pop().close()


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
    """A client of one database, which calls the functions in its schema ``piwheels``.

    *patience* is how many seconds a call is retried after a lost connection. Raises :exc:`Fatal`
    if the database does not exist or has another schema version than this program needs.
    """

    def __init__(self, dsn: str, patience: float = 30.0) -> None:
        self._connections = Connections(dsn)
        self._patience = patience
        self._aborted = threading.Event()
        try:
            with self._connections.transaction() as cursor:
                _check_schema(cursor)
        except psycopg2.Error as exc:
            raise Fatal(f"cannot use the database: {first_line(exc)}; check --dsn") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._connections.close()

    def abort_retries(self) -> None:
        """Stop retrying calls: the program is ending. Safe to call from any thread."""
        self._aborted.set()

    def _rows(self, name: str, *args: object, again: bool = True, limit: int = 0) -> list[Any]:
        """Call the SQL function *name*; return its rows.

        *again* says that the function is idempotent, so that a call whose answer was lost is
        repeated, too. *limit* overrides the statement time-out, in seconds.
        """

        def work(cursor: Any) -> list[Any]:
            if limit:
                cursor.execute(f"SET LOCAL statement_timeout = {limit * 1000:d}")
            return run_query(cursor, _call(name, len(args)), *args)

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

        def work(cursor: Any) -> list[Any]:
            return [run_query(cursor, _call(name, 1), arg)[0][0] for name, arg in todo]

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

    def _try(self, work: Callable[[Any], T], *, again: bool) -> T:
        """Give *work* a cursor in a transaction; retry it within *patience* where that is safe.

        Raises ``Rejected`` if the data is at fault.
        """
        for pause in self._pauses():
            sent = False
            try:
                with self._connections.transaction() as cursor:
                    sent = True
                    return work(cursor)
            except psycopg2.Error as exc:
                code, words = exc.pgcode or "", first_line(exc)
                if code.startswith(_REJECTED) or code == _TOO_LARGE:
                    raise Rejected(words) from exc
                rolled_back = code in _ROLLED_BACK
                safe = not sent or rolled_back
                lost = isinstance(exc, psycopg2.OperationalError | psycopg2.InterfaceError)
                if pause is None or not (safe or (again and lost)) or code == _TIMED_OUT:
                    raise DatabaseError(words) from exc
                logger.warning("database: %s; trying again in %.1f s", words, pause)
                if rolled_back:
                    time.sleep(pause)
                elif self._aborted.wait(pause):
                    raise DatabaseError(words) from exc
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


@cache
def _call(name: str, arguments: int) -> str:
    """Return the statement that calls a function; cached, because formatting takes time."""
    places = ", ".join(["%s"] * arguments)
    return f"SELECT * FROM piwheels.{name}({places})"  # noqa: S608 (the names are constants)


def run_query(cursor: Any, statement: str, *args: object) -> list[tuple[Any, ...]]:
    """Execute a query, in which ``%s`` stands for each of *args*; return its rows."""
    cursor.execute(statement, args)
    rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _check_schema(cursor: Any) -> None:
    want = sql_files.version()
    if not run_query(cursor, "SELECT to_regclass('public.configuration') IS NOT NULL")[0][0]:
        raise Fatal("the database is empty: run piw-initdb")
    have = run_query(cursor, "SELECT version FROM public.configuration")[0][0]
    if have != want:
        newer = have.partition("+")[0] > want.partition("+")[0]
        raise Fatal(
            f"the database has schema {have}, this program needs {want}: "
            + ("install the newer piwheels" if newer else "run piw-initdb")
        )
