"""The options of ``piw-audit``, and the farm that it checks."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from piwheels.core.keys.options import key_option, master_key_option
from piwheels.core.paths import address, farm_file
from piwheels.core.program.command_line import Common, option

#: The parts of an audit, in this sequence.
PARTS: Final = ("files", "logs", "index", "database")


class Place(NamedTuple):
    """The database and the site of a farm."""

    dsn: str
    site: Path


#: The defaults of piw-master.
SERVICE: Final = Place("postgresql:///piwheels", Path("/var/www/piwheels"))


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
    dsn: str = option(
        "-d",
        default="",
        metavar="URL",
        help=f"the database (default: that of this user's master, or else {SERVICE.dsn})",
    )
    output_path: Path | None = option(
        "-o",
        default=None,
        metavar="DIR",
        help="the directory of the site (default: that of this user's master, or else"
        f" {SERVICE.site})",
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
    key: Path | None = key_option()
    master_key: list[str] = master_key_option()

    @cached_property
    def place(self) -> Place:
        """The given farm; without --dsn and --output-path, that of the master on this machine."""
        other = SERVICE
        if not (self.dsn or self.output_path) and (file := farm_file()):
            options = tomllib.loads(file.read_text("utf-8"))["audit"]
            other = Place(options["dsn"], Path(options["output-path"]))
        return Place(self.dsn or other.dsn, self.output_path or other.site)
