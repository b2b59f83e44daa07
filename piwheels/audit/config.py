"""The options of ``piw-audit``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piwheels.core.program.command_line import Common, option
from piwheels.core.program.paths import address

#: The parts of an audit, in this sequence.
PARTS: Final = ("files", "logs", "index", "database")


@dataclass(frozen=True, kw_only=True)
class AuditConfig(Common):
    """Check the site's files, logs and pages, and the database's derived data.

    Nothing is changed without --repair. Changes that a running master is making are not reported.
    """

    parts: list[str] = option(
        default=[],
        choices=PARTS,
        positional=True,
        help="what to check (default: all of them)",
    )
    dsn: str = option("-d", default="postgresql:///piwheels", metavar="URL", help="the database")
    output_path: Path = option(
        "-o", default=Path("/var/www/piwheels"), metavar="DIR", help="the directory of the site"
    )
    package: list[str] = option(
        "-p",
        default=[],
        metavar="NAME",
        help="check only this package (can be repeated), and the database only if named",
    )
    quick: bool = option(
        default=False, help="check names and sizes of files and logs without reading them"
    )
    json: bool = option(default=False, help="write each finding as a JSON object, one per line")
    repair: bool = option(
        default=False, help="repair what can be repaired, asking before each change"
    )
    yes: bool = option("-y", default=False, help="with --repair: do not ask before each")
    quarantine_dir: Path | None = option(
        default=None,
        metavar="DIR",
        help="with --repair: move foreign files here; nothing is ever deleted",
    )
    import_queue: str = option(
        default="",
        metavar="ADDR",
        parse=address,
        help="with --repair: the address of the master (default: this user's, or the service's)",
    )
