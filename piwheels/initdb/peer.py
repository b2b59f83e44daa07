"""Import the database of the existing implementation (piwheels 0.2x) into an empty one of ours.

Its tables are first copied as they are into the schema ``peer``. Each file of ``sql/peer`` is then
a step, that is one transaction: it moves rows into our tables, without triggers, and notes in
``peer.left_out`` what our tables do not accept. The access log follows month by month. The table
``peer.steps`` has the steps that are done, so that an interrupted import continues with the next.
Until the last step, the schema's version in ``configuration`` says that an import is in progress:
no program of a farm starts with such a database.
"""

from __future__ import annotations

import logging
import re
import time
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final

import psycopg2
from sqlalchemy.exc import DBAPIError

from piwheels.core.clock import SYSTEM
from piwheels.core.database import sql_files
from piwheels.core.errors import one_line
from piwheels.core.program.report import Report
from piwheels.core.program.terminal import Progress, confirmed
from piwheels.initdb import peer_site, schema
from piwheels.initdb.peer_tables import KNOWN, LOGS, TABLES, TEXT, column_type, expression
from piwheels.initdb.pour import pour
from piwheels.initdb.schema import CannotInit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import date

    from sqlalchemy.engine import Connection

    from piwheels.initdb.config import InitdbConfig
    from piwheels.initdb.peer_tables import Table

logger = logging.getLogger("initdb")

#: The versions of the existing implementation whose tables are known.
_VERSIONS: Final = re.compile(r"0\.2[0-9](\.|$)")
#: The files of ``sql/peer``, in their order, before the site and the access log.
_STEPS: Final = (
    "packages", "package_names", "build_abis", "versions", "builds", "targets", "files",
    "lost_builds", "dependencies", "preinstalled_apt_packages",
)  # fmt: skip
#: The programs that are connected to a database, and how many seconds one may take to leave it.
_OTHERS: Final = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_ENDING: Final = 2.0
#: No triggers, and no checks of foreign keys: the queries select rows that match. There are few
#: statements, each with millions of rows.
_SETTINGS: Final = """
SET session_replication_role = replica;
SET search_path = public;
SET work_mem = '128MB';
SET maintenance_work_mem = '256MB';
SET jit = off;
"""
_BOOKS: Final = """
CREATE SCHEMA peer;
CREATE TABLE peer.source (state TEXT NOT NULL);
CREATE TABLE peer.steps (step TEXT PRIMARY KEY, note TEXT NOT NULL DEFAULT '');
CREATE TABLE peer.left_out (kind TEXT NOT NULL, what TEXT COLLATE "C" NOT NULL, why TEXT NOT NULL);
CREATE TABLE peer.changed (kind TEXT NOT NULL, what TEXT NOT NULL, why TEXT NOT NULL);
"""


class Peer:
    """The database of the existing implementation, in one snapshot; nothing is changed in it."""

    def __init__(self, dsn: str) -> None:
        try:
            self.conn = schema.get_connection(dsn)
        except CannotInit as exc:
            raise CannotInit(str(exc).replace("--dsn", "--from-peer")) from exc
        self.conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self.driver = self.conn.connection.driver_connection
        query = """
            SELECT table_name, column_name, data_type FROM information_schema.columns
            JOIN information_schema.tables USING (table_schema, table_name)
            WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
        """
        self._types: dict[str, dict[str, str]] = {}
        for table, column, data_type in self.rows(query):
            self._types.setdefault(table, {})[column] = data_type
        self.serial = 0
        if self.value("SHOW server_encoding") == "SQL_ASCII":  # it may have any bytes
            self.conn.exec_driver_sql("SET client_encoding = SQL_ASCII")

    def close(self) -> None:
        """Close the connection."""
        self.conn.close()
        self.conn.engine.dispose()

    def rows(self, query: str) -> list[Any]:
        """Return the rows of *query*."""
        return list(self.conn.exec_driver_sql(query))

    def value(self, query: str) -> Any:
        """Return the single value of *query*."""
        return self.rows(query)[0][0]

    def check(self) -> None:
        """Check that it is such a database, of a known version. Raises :exc:`CannotInit`."""
        found = self._types.get("configuration", {})
        if not {"version", "pypi_serial"} <= found.keys() or "only_row" in found:
            raise CannotInit(
                "the database of --from-peer holds no tables of piwheels 0.2x: check its address"
            )
        rows = self.rows("SELECT version, pypi_serial FROM configuration")
        version, serial = rows[0] if rows else ("", 0)
        self.serial = int(serial or 0)
        if not _VERSIONS.match(str(version)):
            raise CannotInit(
                f"the database of --from-peer has version {version}: upgrade it to piwheels 0.23"
            )
        for name, table in TABLES.items():
            missing = table.needed - self._types.get(name, {}).keys()
            if missing and (self.has(name) or not table.optional):
                raise CannotInit(
                    f"the table {name} of --from-peer has no column {min(missing)}: it cannot be"
                    " imported"
                )

    def surprises(self) -> Iterator[str]:
        """Yield a sentence for each table and column that is missing or unknown."""
        ours = {**TABLES, **LOGS}
        for name, table in ours.items():
            if name not in self._types:
                yield f"there is no table {name}: it stays empty"
                continue
            for column in table.columns.keys() - self._types[name].keys():
                yield f"the table {name} has no column {column}: it stays empty"
        for name, columns in sorted(self._types.items()):
            if name not in ours and name not in KNOWN:
                yield f"the table {name} is unknown: it is not imported"
                continue
            known = KNOWN.get(name, set()) | (ours[name].columns.keys() if name in ours else set())
            for column in sorted(columns.keys() - known):
                yield f"the column {name}.{column} is unknown: it is not imported"

    def has(self, name: str) -> bool:
        """Return whether there is a table *name*."""
        return name in self._types

    def count(self, name: str) -> int:
        """Return the number of rows of the table *name*."""
        return int(self.value(f"SELECT count(*) FROM public.{name}")) if self.has(name) else 0  # noqa: S608

    def select(self, name: str, table: Table) -> str:
        """Return the query for the columns of *table*."""
        types = self._types[name]
        columns = [
            f"{expression(column, kind, types.get(column))} AS {column}"
            for column, kind in table.columns.items()
        ]
        return f"SELECT {', '.join(columns)} FROM public.{name}"  # noqa: S608 (names of ours)

    def logs(self) -> dict[str, Table]:
        """Return the tables of the access log that can be imported."""
        return {
            name: table
            for name, table in LOGS.items()
            if table.needed <= self._types.get(name, {}).keys()
        }

    def months(self, name: str) -> list[date]:
        """Return the first days of the months with entries in the log *name*."""
        at = expression("accessed_at", "time", self._types[name]["accessed_at"])
        query = f"SELECT DISTINCT date_trunc('month', {at})::date FROM public.{name} ORDER BY 1"  # noqa: S608
        return [month for (month,) in self.rows(query) if month is not None]

    @property
    def state(self) -> str:
        """What changes when a farm works with the database."""
        builds = self.value("SELECT coalesce(max(build_id), 0) FROM builds")
        return f"{self.serial} {builds} {self.count('packages')} {self.count('versions')}"


class Import:
    """One import into the database of *conn*; with *dry*, all of it is one transaction."""

    def __init__(self, config: InitdbConfig, peer: Peer, conn: Connection) -> None:
        self._config, self._peer, self._conn = config, peer, conn
        self._dry = config.dry_run
        self._driver: Any = conn.connection.driver_connection
        self._say = Report(config)

    # The frame --------------------------------------------------------------------------------

    def run(self) -> None:
        """Begin the import, or continue it, to its end. Raises :exc:`CannotInit`."""
        with self._conn.begin() if self._dry else nullcontext() as dry:
            self._begin()
            for name, table in TABLES.items():
                self._step(f"copy {name}", partial(self._copy, name, table))
            for name in _STEPS:
                self._step(name, partial(self._script, name))
            if not self._dry:
                self._copy_site()
                self._copy_logs()
            self._report()
            if dry is not None:
                dry.rollback()
        if not self._dry:
            self._finish()

    def _begin(self) -> None:
        with self._lasting():
            version = schema.detect_version(self._conn, importing=True)
            if version is None:
                schema.create(self._conn, self._config.user)
            self._sql(_SETTINGS)
            if version == sql_files.version() + sql_files.IMPORTING:
                if self._value("SELECT state FROM peer.source") != self._peer.state:
                    raise CannotInit(
                        "the database of --from-peer has changed since this import began: create"
                        " the database of --dsn again, and begin again"
                    )
                logger.info("continuing the import")
                return
            if version is not None and version.endswith(sql_files.IMPORTING):
                raise CannotInit(
                    "another version of piwheels has begun this import: create the database of"
                    " --dsn again, and begin again"
                )
            if version not in (None, sql_files.version()):
                raise CannotInit(
                    f"the database of --dsn has schema {version}: run piw-initdb without"
                    " --from-peer first"
                )
            for name in ("packages", "builds", "downloads"):
                if self._value(f"SELECT EXISTS (SELECT FROM {name})"):  # noqa: S608
                    raise CannotInit(
                        f"the database of --dsn has {name} already: give an empty database"
                    )
            self._sql(_BOOKS)
            self._sql("INSERT INTO peer.source VALUES (%s)", self._peer.state)
            self._sql("UPDATE configuration SET version = version || %s", sql_files.IMPORTING)

    def _finish(self) -> None:
        with self._conn.begin():
            self._sql(
                "UPDATE configuration SET version = %s, pypi_serial = %s",
                sql_files.version(), self._peer.serial,
            )  # fmt: skip
            self._script("finish")
        logger.info("the import is complete: a master writes all pages when it starts")

    def _lasting(self) -> AbstractContextManager[Any]:
        """Return a transaction of its own; in a dry run, it is part of the one that is undone."""
        return nullcontext() if self._dry else self._conn.begin()

    def _step(self, name: str, work: Callable[[], int | None]) -> None:
        """Do *work* in one transaction, unless an earlier run has done it."""
        with self._lasting():
            if self._value("SELECT EXISTS (SELECT FROM peer.steps WHERE step = %s)", name):
                return
            began = SYSTEM.since_boot()
            rows = work()
            self._sql("INSERT INTO peer.steps (step) VALUES (%s)", name)
        count = "" if rows is None else f"{rows:,} rows, "
        logger.info("%s: %s%.1f s", name, count, SYSTEM.since_boot() - began)

    # The steps --------------------------------------------------------------------------------

    def _copy(self, name: str, table: Table) -> int:
        columns = {column: column_type(kind) for column, kind in table.columns.items()}
        columns |= dict.fromkeys(table.computed, TEXT)
        types = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        self._sql(f"CREATE TABLE peer.{name} ({types})")
        if not self._peer.has(name):
            return 0
        into = f"peer.{name} ({', '.join(columns)})"
        query = self._peer.select(name, table)
        rows = pour(self._peer.driver, self._driver, query, into, table.change)
        self._sql(f"ANALYZE peer.{name}")
        return rows

    def _script(self, name: str) -> None:
        for statement in schema.parse_statements(sql_files.peer_script(name)):
            self._conn.execution_options(no_parameters=True).exec_driver_sql(statement)

    def _copy_site(self) -> None:
        if self._config.site is not None:
            work = peer_site.SiteImport(self._config.site, self._config.copy_site, self._conn)
            with self._conn.begin():
                count = self._value("SELECT count(*) FROM packages")
            work.files(Progress(count, "packages", quiet=self._config.quiet))
            self._step("lost_builds of the site", partial(self._script, "lost_builds"))
            work.logs()
            self._step("moved", work.report)

    def _copy_logs(self) -> None:
        for name, table in self._peer.logs().items():
            for month in self._peer.months(name):
                self._step(f"{name} {month:%Y-%m}", partial(self._copy_month, name, table, month))
            self._step(f"check {name}", partial(self._check_log, name))
        self._step("downloads_daily", partial(self._script, "downloads_daily"))

    def _copy_month(self, name: str, table: Table, month: date) -> int:
        """Copy the entries of a *month*; downloads get a partition."""
        following = (month + timedelta(days=31)).replace(day=1)
        span = f"FROM ('{month}') TO ('{following}')"
        if name == "downloads":
            self._sql(
                f"CREATE TABLE downloads_{month:%Y_%m} PARTITION OF downloads FOR VALUES {span}"
            )
        needed = " AND ".join(f"{column} IS NOT NULL" for column in table.needed)
        entries = f"{self._peer.select(name, table)} WHERE accessed_at >= '{month}'"
        query = f"SELECT * FROM ({entries} AND accessed_at < '{following}') AS k WHERE {needed}"  # noqa: S608
        into = f"{name} ({', '.join(table.columns)})"
        return pour(self._peer.driver, self._driver, query, into)

    def _check_log(self, name: str) -> None:
        if left_out := self._peer.count(name) - self._value(f"SELECT count(*) FROM {name}"):  # noqa: S608
            self._sql(
                "INSERT INTO peer.left_out VALUES (%s, %s, 'without a name or a time')",
                name, f"{left_out:,} rows",
            )  # fmt: skip

    # The report -------------------------------------------------------------------------------

    def _report(self) -> None:
        """Say how many rows are here, and write the file of those that are not."""
        with self._lasting():
            tables = [*TABLES, *([] if self._dry else self._peer.logs())]
            for name in tables:
                there, here = self._peer.count(name), self._value(f"SELECT count(*) FROM {name}")  # noqa: S608
                left_out = self._value("SELECT count(*) FROM peer.left_out WHERE kind = %s", name)
                self._say.write(
                    f"{name}: {there:,} there, {here:,} here"
                    + (f" ({left_out:,} left out)" if left_out else ""),
                    event="table", table=name, there=there, here=here, left_out=left_out,
                )  # fmt: skip
            for name in self._peer.logs() if self._dry else ():
                there = self._peer.count(name)
                self._say.write(f"{name}: {there:,} there", event="table", table=name, there=there)
            query = (
                "SELECT 'left out', kind, what, why FROM peer.left_out"
                " UNION ALL SELECT 'changed', kind, what, why FROM peer.changed ORDER BY 1, 2, 3"
            )
            with self._file() as file, self._driver.cursor() as cursor:
                cursor.copy_expert(f"COPY ({query}) TO STDOUT", file)
            lines = self._value(f"SELECT count(*) FROM ({query}) AS k")  # noqa: S608
        report = self._config.report
        self._say.write(
            f"{report} lists {lines:,} rows that were changed or left out",
            event="report", file=report, lines=lines,
        )  # fmt: skip

    def _file(self) -> IO[bytes]:
        try:
            return self._config.report.open("wb")
        except OSError as exc:
            raise CannotInit(
                f"cannot write {self._config.report} ({exc.strerror}): name another --report"
            ) from exc

    # SQL --------------------------------------------------------------------------------------

    def _sql(self, statement: str, *values: object) -> Any:
        return self._conn.exec_driver_sql(statement, values)

    def _value(self, query: str, *values: object) -> Any:
        return self._sql(query, *values).scalar_one()


def run(config: InitdbConfig) -> None:
    """Import the database that *config* names. Raises :exc:`CannotInit`, with what to do."""
    if config.copy_site and not config.site:
        raise CannotInit("give --site, too: the site that --copy-site copies")
    conn = schema.get_connection(config.dsn)
    try:
        _check_target(config, conn)
        peer = Peer(config.from_peer)
        try:
            _check_peer(config, peer)
            Import(config, peer, conn).run()
        finally:
            peer.close()
    except (DBAPIError, psycopg2.Error) as exc:
        why = one_line(getattr(exc, "orig", exc))
        raise CannotInit(f"the import has stopped: {why}; the same command continues it") from exc
    finally:
        conn.close()
        conn.engine.dispose()


def _in_use(conn: Connection) -> bool:
    """Return whether other programs use the database of *conn*; one that has ended does not."""
    deadline = SYSTEM.monotonic() + _ENDING
    while conn.exec_driver_sql(_OTHERS).scalar_one():
        if SYSTEM.monotonic() > deadline:
            return True
        time.sleep(0.05)
        conn.exec_driver_sql("SELECT pg_stat_clear_snapshot()")
    return False


def _check_target(config: InitdbConfig, conn: Connection) -> None:
    """Check that the database of *conn* can be filled, and lock it for this program."""
    with conn.begin():
        if not conn.exec_driver_sql(f"SELECT pg_try_advisory_lock({schema.LOCK})").scalar_one():
            raise CannotInit("another piw-initdb works on the database of --dsn: wait for its end")
        schema.detect_users(conn, config.user)
        schema.detect_version(conn, importing=True)
        if _in_use(conn):
            raise CannotInit("other programs use the database of --dsn: stop them")


def _check_peer(config: InitdbConfig, peer: Peer) -> None:
    """Say what of the database of *peer* is not imported, and ask whether to begin."""
    peer.check()
    if not config.dry_run and _in_use(peer.conn):
        raise CannotInit(
            "other programs use the database of --from-peer: stop its master, its logger and all"
            " others"
        )
    for surprise in peer.surprises():
        logger.warning("%s", surprise)
    what = f"import {peer.count('packages'):,} packages and {peer.count('builds'):,} builds"
    if not config.dry_run and not confirmed(what, yes=config.yes):
        raise CannotInit("nothing was changed")
