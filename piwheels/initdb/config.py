"""The options of ``piw-initdb``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from piwheels.core.paths import DAEMON
from piwheels.core.program.command_line import Common, option
from piwheels.core.program.report import json_option


@dataclass(frozen=True, kw_only=True)
class InitdbConfig(Common):
    """Create the tables that piw-master needs, or upgrade them.

    The database and the role of piw-master must exist (createdb, createuser). Everything happens
    in one transaction: either all of it or nothing.
    """

    dsn: str = option(
        "-d", default="postgresql:///piwheels", metavar="URL", help="the database, as a superuser"
    )
    user: str = option(
        "-u", default=DAEMON, metavar="NAME", help="the role that piw-master connects as"
    )
    yes: bool = option("-y", default=False, help="do not ask before changing anything")
    from_peer: str = option(
        default="",
        metavar="URL",
        help="import this database of piwheels 0.23 into that of --dsn, which must be empty",
    )
    dry_run: bool = option(
        default=False, help="with --from-peer: count what would be imported, and change nothing"
    )
    site: Path | None = option(
        default=None,
        metavar="DIR",
        help="with --from-peer: its site, which becomes the site of this farm",
    )
    copy_site: Path | None = option(
        default=None,
        metavar="DIR",
        help="with --site: copy its wheels and logs here, and leave it as it is",
    )
    report: Path = option(
        default=Path("piw-initdb-report.txt"),
        metavar="FILE",
        help="with --from-peer: the file that lists what was changed or left out",
    )
    json: bool = json_option()
