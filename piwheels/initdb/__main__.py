"""``piw-initdb``: its entry point."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from piwheels.core.paths import DAEMON
from piwheels.core.program.command_line import Common, option, program
from piwheels.core.program.report import Report, json_option


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
    json: bool = json_option()


@program(
    "piw-initdb",
    InitdbConfig,
    extra="master",
    examples=[
        ("piw-initdb --dsn postgresql:///piwheels", "create or upgrade the tables"),
        ("piw-initdb --user farm --yes", "use another role for piw-master, and ask nothing"),
    ],
)
def main(config: InitdbConfig) -> int:
    """Run ``piw-initdb``."""
    from piwheels.initdb import schema  # noqa: PLC0415 (it needs the extra)

    before, after = schema.run(config.dsn, config.user, yes=config.yes)
    event = "created" if before is None else "upgraded"
    Report(config).record(event=event, before=before, schema=after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
