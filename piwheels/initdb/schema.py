"""The database's tables: create them, or upgrade them to this version of the programs.

Everything happens in one transaction: it applies the missing numbered migrations, and recreates
all functions, views and privileges of the daemon's role. ``sql/README.md`` explains how to change
each.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError

from piwheels.core.database import sql_files
from piwheels.core.database.connection import make_engine, sentence
from piwheels.core.errors import Fatal
from piwheels.core.host.postgres import OLDEST
from piwheels.core.program.terminal import confirmed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

logger = logging.getLogger("initdb")

LOCK = 0x7069_7768  # the key of the advisory lock: one piw-initdb at a time ("piwh")
LOCK_TIMEOUT = 20  # seconds to wait for other users of the tables

# The tokens that decide where a statement ends: comments, quoted text, semicolons.
_TOKEN = re.compile(
    r"""
    --[^\n]*                                  # a comment, to the end of the line
    | '(?:[^']|'')*'                          # a string
    | "(?:[^"]|"")*"                          # an identifier
    | \$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$  # a dollar-quoted string
    | (?P<end>;)
    """,
    re.VERBOSE | re.DOTALL,
)


class CannotInit(Fatal, RuntimeError):
    """The database cannot be created or upgraded; the text says why, and what to do."""


def run(dsn: str, user: str, *, yes: bool) -> tuple[str | None, str]:
    """Create or upgrade the tables in the database *dsn*, for the role *user*.

    Return the schema versions before (``None``: no tables) and after. It asks before it changes
    anything, unless *yes*. Raises ``RuntimeError`` if it fails; nothing has changed then.
    """
    conn = get_connection(dsn)
    try:
        with conn, conn.begin():
            _lock(conn)
            detect_users(conn, user)
            version = detect_version(conn)
            what = "create the tables" if version is None else f"upgrade from schema {version}"
            backup = f"{what} (if the database matters, has it been backed up?)"
            if not confirmed(backup, yes=yes):
                raise CannotInit("nothing was changed")
            _run(conn, get_script(version), user)
    except DBAPIError as exc:
        raise CannotInit(f"nothing was changed: {sentence(exc)}{_advice(exc)}") from exc
    finally:
        conn.engine.dispose()
    logger.info("the database has schema %s", sql_files.version())
    return version, sql_files.version()


def get_connection(dsn: str) -> Connection:
    """Return a connection to the existing database *dsn*.

    Raises ``RuntimeError`` if it does not exist, or the server is unusable.
    """
    try:
        return make_engine(dsn, statement_timeout=0).connect()
    except OperationalError as exc:
        raise CannotInit(
            f"cannot open the database: {sentence(exc)}; check --dsn, and that the server runs and "
            "the database exists (createdb creates one)"
        ) from exc


def detect_users(conn: Connection, test_user: str) -> None:
    """Check that *conn* belongs to a superuser, and that the role *test_user* exists and is none.

    Raises ``RuntimeError`` if not, or if the server's version or encoding is unsuitable.
    """
    number = int(conn.execute(text("SHOW server_version_num")).scalar_one())
    if number < OLDEST * 10_000:
        raise CannotInit(f"this is PostgreSQL {number // 10_000}: use {OLDEST} or later")
    encoding = conn.execute(text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise CannotInit(f"the database is in {encoding}: create it with createdb --encoding UTF8")
    query = text("SELECT rolsuper FROM pg_roles WHERE rolname = :name")
    me = conn.execute(text("SELECT current_user")).scalar_one()
    if not conn.execute(query, {"name": me}).scalar():
        raise CannotInit(f"{me} is not a superuser: give a --dsn that connects as one")
    daemon = conn.execute(query, {"name": test_user}).scalar()
    if daemon is None:
        raise CannotInit(
            f"there is no role {test_user}: run createuser {test_user}, or give --user"
        )
    if daemon:
        raise CannotInit(
            f"the role {test_user} is a superuser, piw-master must not be: give another --user"
        )


def detect_version(conn: Connection, *, importing: bool = False) -> str | None:
    """Return the schema version of the database, or ``None`` if it is empty.

    Raises ``RuntimeError`` if it holds other tables, or a newer schema than this program's, or,
    unless *importing*, a part of an import.
    """
    query = text("SELECT to_regclass('public.configuration'), to_regclass('public.packages')")
    configuration, packages = conn.execute(query).one()
    if configuration is None and packages is None:
        return None
    query = text(
        "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('public.configuration')"
        " AND attname = 'only_row'"
    )
    if configuration is None or conn.execute(query).scalar() is None:
        raise CannotInit("the database holds tables of another program: use an empty database")
    version = conn.execute(text("SELECT version FROM public.configuration")).scalar()
    if version is None:
        raise CannotInit(
            "the tables of the database have no version: restore a backup, or create the database"
            " again"
        )
    if version.endswith(sql_files.IMPORTING) and not importing:
        raise CannotInit(
            "an import into the database has not ended: run piw-initdb --from-peer again, or create"
            " the database again"
        )
    if _number(version) not in sql_files.migrations():
        raise CannotInit(
            f"the database has schema {version}, newer than this program: install a newer piwheels"
        )
    return str(version)


def create(conn: Connection, user: str) -> None:
    """Create the tables in the empty database of *conn*, in its transaction."""
    _run(conn, get_script(), user)


def get_script(version: str | None = None) -> str:
    """Return the SQL that upgrades a database from *version* (``None``: empty) to this version.

    It contains ``:"user"`` and ``:'user'`` in place of the daemon's role.
    """
    done = "" if version is None else _number(version)
    missing = [path for number, path in sql_files.migrations().items() if number > done]
    parts = [
        # Drop everything that is recreated below, so that it cannot block a migration.
        "DROP SCHEMA IF EXISTS piwheels CASCADE;\nCREATE SCHEMA piwheels;",
        *(path.read_text(encoding="utf-8") for path in missing),
        *(path.read_text(encoding="utf-8") for path in sql_files.routines()),
        # (the version is a constant)
        f"INSERT INTO public.configuration (version) VALUES ('{sql_files.version()}')"  # noqa: S608
        " ON CONFLICT (only_row) DO UPDATE SET version = EXCLUDED.version;",
        (sql_files.folder() / "roles.sql").read_text(encoding="utf-8"),
        "SELECT piwheels._refresh_derived();",
    ]
    return "\n\n".join(parts)


def parse_statements(script: str) -> Iterator[str]:
    """Yield the statements of *script*, without their final semicolons.

    It understands ``--`` comments, ``"identifiers"``, ``'strings'`` and ``$tag$ strings $tag$``,
    but neither ``E'\\''`` nor ``/* comments */``.
    """
    start = 0
    for token in _TOKEN.finditer(script):
        if token["end"]:
            if statement := script[start : token.start()].strip():
                yield statement
            start = token.end()
    rest = script[start:].strip()
    if re.sub(r"--[^\n]*", "", rest).strip():
        yield rest


def _number(version: str) -> str:
    """Return the number of the migration in a version such as ``0001+1a2b3c4d``."""
    return version.partition("+")[0]


def _lock(conn: Connection) -> None:
    """Take the lock of piw-initdb, and limit the wait for other locks."""
    conn.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'")
    conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})


def _run(conn: Connection, script: str, user: str) -> None:
    """Run *script* with the name of the daemon's role filled in."""
    identifier = '"' + user.replace('"', '""') + '"'
    literal = "'" + user.replace("'", "''") + "'"
    script = script.replace(':"user"', identifier).replace(":'user'", literal)
    # The body of a function may call functions of a later file.
    conn.exec_driver_sql("SET LOCAL check_function_bodies = off")
    conn.exec_driver_sql("SET LOCAL search_path = public")
    conn.exec_driver_sql("SET LOCAL client_min_messages = warning")
    for statement in parse_statements(script):
        # Without parameters a percent sign has no special meaning.
        conn.execution_options(no_parameters=True).exec_driver_sql(statement)


def _advice(exc: DBAPIError) -> str:
    busy = getattr(exc.orig, "pgcode", None) == "55P03"
    return "; stop piw-master (or another piw-initdb), then try again" if busy else ""
