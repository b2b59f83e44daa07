"""The farm's database: on its own server, or on an existing one."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.database import Database
from piwheels.core.database.dsn import administer, database_of, redirect
from piwheels.core.errors import DatabaseError, Fatal
from piwheels.core.host.postgres import Cluster
from piwheels.core.paths import DAEMON
from piwheels.core.program.privileges import USER
from piwheels.core.targets import NO_SLAVE, Target

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

NAME: Final = "piwheels"
#: Databases that every server has: never the farm's.
TEMPLATES: Final = ("", "postgres", "template0", "template1")
#: Seconds to retry a query; after that, piw-up checks whether the server still runs.
PATIENCE: Final = 2.0


class Server(NamedTuple):
    """A database on a server: its address as *superuser* and as *daemon*.

    *cluster* is the server, if it belongs to this farm.
    """

    superuser: str
    daemon: str
    cluster: Cluster | None


@contextmanager
def server(dsn: str, home: Path) -> Iterator[Server]:
    """Yield the farm's database on the server *dsn*.

    ``""`` stands for the farm's own server, which has its files below *home* and ends with piw-up.
    Raises :exc:`Fatal` if the server cannot be used.
    """
    if not dsn:
        with Cluster(home, user=USER if os.geteuid() == 0 else None) as cluster:
            superuser = cluster.ensure_database(NAME)
            yield Server(superuser, cluster.dsn(NAME, DAEMON), cluster)
        return
    name = database_of(dsn)
    name = NAME if name in TEMPLATES else name
    try:
        _make(dsn, name)
    except DatabaseError as exc:
        why = str(exc).strip().splitlines()[0]
        raise Fatal(f"the database server cannot be used: {why}; check --dsn (PIW_DSN)") from exc
    yield Server(redirect(dsn, name), redirect(dsn, name, DAEMON), None)


def _make(dsn: str, name: str) -> None:
    """Create the daemon's role and the database *name*, if they are missing."""
    dsn = redirect(dsn, "postgres")
    if not administer(dsn, "SELECT 1 FROM pg_roles WHERE rolname = %s", DAEMON):
        administer(dsn, "CREATE ROLE {} LOGIN", names=[DAEMON])
    if not administer(dsn, "SELECT 1 FROM pg_database WHERE datname = %s", name):
        administer(dsn, "CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0", names=[name])


def is_current(server: Server) -> bool:
    """Return whether the database has the current schema."""
    try:
        Database(server.daemon).close()
    except Fatal:
        return False
    return True


def prepare(
    db: Database, targets: Collection[Target], labels: Collection[str], *, alone: bool
) -> None:
    """Prepare the database for building for *targets*, also after a run that was killed.

    Releases the leases of slaves with these *labels*, and the local ones from quarantine. With
    *alone*, no other slaves can join: other targets are retired.
    """
    db.add_targets(sorted(targets))
    rows = [Target(row.platform, row.abi_tag) for row in db.get_targets() if not row.skip]
    if others := [target for target in rows if alone and target not in targets]:
        db.retire_targets(others, NO_SLAVE)
    for lease in db.get_leases():
        if lease.label in labels:
            target = Target(lease.platform, lease.abi_tag)
            db.release_lease(lease.package, lease.version, target)
    db.save_quarantines([each for each in db.get_quarantines() if each.owner])
