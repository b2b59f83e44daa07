"""Database URLs (``postgresql://``), and single statements as an administrator.

psycopg2 is imported on use, because a slave has no driver; :func:`driver` explains a missing one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from piwheels.core.errors import DatabaseError, Fatal
from piwheels.core.program.extras import install

if TYPE_CHECKING:
    from collections.abc import Sequence


def driver() -> Any:  # psycopg2 ships no types
    """Return the module psycopg2. Raises ``Fatal`` if it is missing or does not load."""
    try:
        import psycopg2  # noqa: PLC0415 (see above)
    except ImportError as error:
        raise Fatal(f"there is no database driver ({error}): {install('master')}") from None
    return psycopg2


def redirect(dsn: str, dbname: str, user: str | None = None) -> str:
    """Return *dsn* for another database of the same server, as *user* (default: unchanged).

    A new user drops the password.
    """
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query))
    query.pop("dbname", None)
    netloc = parts.netloc
    if user is not None:
        netloc = netloc.rpartition("@")[2]
        query.pop("password", None)
        query["user"] = user
    tail = f"?{urlencode(query, quote_via=quote, safe='/')}" if query else ""
    return f"{parts.scheme}://{netloc}/{quote(dbname, safe='')}{tail}"


def database_of(dsn: str) -> str:
    """Return the name of the database in *dsn* (``''`` without one)."""
    parts = urlsplit(dsn)
    return unquote(parts.path.lstrip("/")) or dict(parse_qsl(parts.query)).get("dbname", "")


def administer(
    dsn: str, statement: str, *values: object, names: Sequence[str] = ()
) -> list[tuple[Any, ...]]:
    """Run one *statement* outside a transaction (as CREATE DATABASE requires); return its rows.

    ``%s`` stands for each of *values*, ``{}`` for each of *names* (identifiers). Raises
    :exc:`DatabaseError`.
    """
    psycopg2 = driver()
    from psycopg2 import sql  # noqa: PLC0415 (see above)

    try:
        connection = psycopg2.connect(dsn, connect_timeout=10)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)), values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()
    except psycopg2.Error as error:
        raise DatabaseError(f"the database server refused {statement!r}: {error}") from error
