"""The queue with many versions and targets: its size, its use, and the upgrade of an old schema."""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from support import farm, percentile, table

from piwheels.core.database import Database, sql_files
from piwheels.core.database.dsn import administer, redirect
from piwheels.core.states import BuildState
from piwheels.core.targets import Target
from piwheels.initdb import schema

if TYPE_CHECKING:
    from collections.abc import Callable

#: Versions, of which half have wheels. PIW_VERSIONS=10000000 has another number.
VERSIONS: Final = int(os.environ.get("PIW_VERSIONS", "1000000"))
#: The last schema without targets, and its ABIs.
OLD: Final = "0013"
ABIS: Final = ("cp39", "cp311", "cp313")
PLATFORMS: Final = ("linux_armv7l", "linux_aarch64", "linux_x86_64", "musllinux_x86_64")
#: Ten versions of each package. Of those with wheels, 70 % have a pure one, 20 % native ones for
#: armv7l and the ABIs, 5 % a stable one, 5 % have failed.
_FILL: Final = """
    SET session_replication_role = replica;
    INSERT INTO packages (package) SELECT 'p' || n FROM generate_series(0, {0} / 10) AS n;
    INSERT INTO versions (package, version, released)
        SELECT 'p' || n / 10, n % 10 || '.0', now() - n * interval '1 minute'
        FROM generate_series(1, {0}) AS n;
    INSERT INTO build_abis (abi_tag, position)
        VALUES ('cp39', 300009), ('cp311', 300011), ('cp313', 300013);
    INSERT INTO builds (package, version, abi_tag, status)
        SELECT 'p' || n / 10, n % 10 || '.0', a.abi_tag, n % 40 >= 2
        FROM generate_series(2, {0}, 2) AS n, build_abis a
        WHERE n % 40 < 10 OR a.abi_tag = 'cp39';
    INSERT INTO files (filename, build_id, filesize, filehash, package_tag, package_version_tag,
            py_version_tag, abi_tag, platform_tag)
        SELECT format('%s-%s-%s.whl', package, version, build_id), build_id, 1, repeat('a', 64),
            package, version,
            CASE WHEN kind < 10 THEN abi_tag WHEN kind < 12 THEN 'cp39' ELSE 'py3' END,
            CASE WHEN kind < 10 THEN abi_tag WHEN kind < 12 THEN 'abi3' ELSE 'none' END,
            CASE WHEN kind < 12 THEN 'linux_armv7l' ELSE 'any' END
        FROM builds, LATERAL (
            SELECT (substr(package, 2)::int * 10 + version::numeric::int) % 40 AS kind
        ) AS k
        WHERE status;
    SET session_replication_role = DEFAULT;
"""


def seconds(work: Callable[[], object]) -> float:
    """Return the duration of a call of *work* in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def make_old(superuser: str) -> str:
    """Return a new database with the old schema, full of versions."""
    administer(superuser, "CREATE DATABASE old")
    dsn = redirect(superuser, "old")
    parts = [path.read_text() for number, path in sql_files.migrations().items() if number <= OLD]
    parts.append(f"INSERT INTO configuration VALUES (true, '{OLD}+00000000')")  # noqa: S608
    connection = schema.get_connection(dsn)
    with connection, connection.begin():
        raw = connection.execution_options(no_parameters=True)
        for statement in schema.parse_statements(";".join([*parts, _FILL.format(VERSIONS)])):
            raw.exec_driver_sql(statement)
    connection.engine.dispose()
    administer(dsn, "ANALYZE")
    return dsn


def main() -> int:
    """Upgrade a large database, use its queue, and print the durations."""
    with farm() as ours:
        old = make_old(ours.superuser)
        upgraded = seconds(lambda: schema.run(old, "piwheels", yes=True))
        administer(old, "ANALYZE")
        with Database(redirect(old, "old", "piwheels")) as db:
            targets = [Target(platform, abi) for platform in PLATFORMS for abi in ABIS]
            previewed = seconds(lambda: db.preview_target(targets[-1]))
            added = seconds(lambda: db.add_targets(targets))
            reads = [seconds(lambda: db.get_target_queue(1000)) for _ in range(20)]
            rows = [row for row in db.get_target_queue(1000) if row.exclusive == "version"]
            builds = [
                BuildState(1, row.package, row.version, "cp311", False, timedelta(0), "log",
                           platform="linux_armv7l", final=False)
                for row in rows[:200]
            ]  # fmt: skip
            changes = [seconds(lambda each=each: db.log_build(each)) for each in builds]
            moved = [
                seconds(lambda row=row: db.set_urgency(row.package, row.version, "first"))
                for row in rows[200:400]
            ]
            explained = seconds(lambda: db.explain_position(*rows[-1][:2]))
            waiting = sum(row.pending for row in db.get_targets())
        ((size, count),) = administer(
            old, "SELECT pg_total_relation_size('build_queue'), (SELECT count(*) FROM build_queue)"
        )
    table(
        f"The queue, {VERSIONS:,} versions, {len(targets)} targets",
        [
            (f"upgrade from schema {OLD}", f"{upgraded:.1f}", "s"),
            ("preview of a target", f"{previewed:.1f}", "s"),
            ("add nine targets", f"{added:.1f}", "s"),
            ("rows; of them for one target", f"{count:,}; {waiting:,}", ""),
            ("their size on disk, with indexes", f"{size / 2**20:,.0f}", "MiB"),
            ("get_target_queue(1000)", f"{1000 * percentile(reads, 50):.1f}", "ms"),
            ("log_build of a failure", f"{1000 * percentile(changes, 50):.1f}", "ms"),
            ("set_urgency", f"{1000 * percentile(moved, 50):.1f}", "ms"),
            ("explain_position of the last", f"{1000 * explained:.0f}", "ms"),
        ],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
