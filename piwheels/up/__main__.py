"""``piw-up``: its entry point."""

import sys

from piwheels.core.program.command_line import program
from piwheels.up.config import UpConfig


@program(
    "piw-up",
    UpConfig,
    extra="up",
    examples=[
        ("piw-up", "build a small set as a demonstration"),
        ("piw-up markupsafe==3.0.2 pyyaml", "build these and their dependencies"),
        ("piw-up --once --no-deps six", "build it, print a table, end: status 0 if it was built"),
        (
            "piw-up --python /usr/bin/python3.11 --python /opt/python3.13/bin/python3 wrapt",
            "build for two interpreters, side by side",
        ),
        (
            "piw-up --no-boards wrapt",
            "build on this machine only, and listen for no slave on the network",
        ),
    ],
)
def main(config: UpConfig) -> int:
    """Run ``piw-up``."""
    from piwheels.up.app import run  # noqa: PLC0415 (it needs the extra)

    return run(config)


if __name__ == "__main__":
    sys.exit(main())
