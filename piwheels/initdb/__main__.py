"""``piw-initdb``: its entry point."""

from __future__ import annotations

import sys

from piwheels.core.errors import Fatal
from piwheels.core.program.command_line import program
from piwheels.core.program.report import Report
from piwheels.initdb.config import InitdbConfig


@program(
    "piw-initdb",
    InitdbConfig,
    extra="master",
    examples=[
        ("piw-initdb --dsn postgresql:///piwheels", "create or upgrade the tables"),
        ("piw-initdb --user farm --yes", "use another role for piw-master, and ask nothing"),
        (
            "piw-initdb --from-peer postgresql:///old --dry-run",
            "count what an import of the database old would bring",
        ),
    ],
)
def main(config: InitdbConfig) -> int:
    """Run ``piw-initdb``."""
    from piwheels.initdb import peer, schema  # noqa: PLC0415 (they need the extra)

    if not config.from_peer and (config.dry_run or config.site or config.copy_site):
        raise Fatal("--dry-run, --site and --copy-site are for an import: give --from-peer, too")
    if config.from_peer:
        peer.run(config)
        return 0
    before, after = schema.run(config.dsn, config.user, yes=config.yes)
    event = "created" if before is None else "upgraded"
    Report(config).record(event=event, before=before, schema=after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
