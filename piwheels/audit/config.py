"""The options of ``piw-audit``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piwheels.core.program.command_line import Common, option
from piwheels.core.program.paths import address

#: What can be checked, in this order.
PARTS: Final = ("files", "logs", "index", "database")


@dataclass(frozen=True, kw_only=True)
class AuditConfig(Common):
    """Check the site's files, logs and pages, and what the database keeps, against the database.

    Nothing is changed without --repair. What a master at work is just changing is not reported.
    """

    parts: list[str] = option(
        default=[],
        choices=PARTS,
        positional=True,
        help="what to check (default: all of them)",
    )
    dsn: str = option("-d", default="postgresql:///piwheels", metavar="URL", help="the database")
    output_path: Path = option(
        "-o", default=Path("/var/www/piwheels"), metavar="DIR", help="where the site is"
    )
    package: list[str] = option(
        "-p",
        default=[],
        metavar="NAME",
        help="check this package alone (can be repeated); the database only if it is named",
    )
    quick: bool = option(
        default=False, help="look at names and sizes of files and logs, do not read them"
    )
    json: bool = option(default=False, help="write each finding as a JSON object, one a line")
    repair: bool = option(default=False, help="mend what can be mended, asking before each change")
    yes: bool = option("-y", default=False, help="with --repair: do not ask before each")
    quarantine_dir: Path | None = option(
        default=None,
        metavar="DIR",
        help="with --repair: move what does not belong to the site here; nothing is ever deleted",
    )
    import_queue: str = option(
        default="",
        metavar="ADDR",
        parse=address,
        help="with --repair: ask the master here (default: this user's, or else the service)",
    )
