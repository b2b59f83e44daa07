"""``piw-up``: its entry point."""

import sys

from piwheels.core.program.command_line import program, usage_error
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
            "piw-up --python 3.11 --python /opt/python3.13/bin/python3 wrapt",
            "build for two interpreters, side by side",
        ),
        (
            "piw-up -r requirements.txt --python 3.13 --once",
            "fill an index with all that a lock file names, and write one for this index",
        ),
        ("piw-up --emulate armhf wrapt", "build for a Raspberry Pi, too: qemu runs its Debian"),
        (
            "piw-up --no-boards wrapt",
            "build on this machine only, and listen for no slave on the network",
        ),
    ],
)
def main(config: UpConfig) -> int:
    """Run ``piw-up``."""
    if config.requirement is not None and config.packages:
        usage_error("piw-up", config, "name packages either in the file of -r, or as arguments")
    if config.requirement is not None and len(config.python) > 1:
        usage_error("piw-up", config, "a lock file (-r) is for one --python")
    if config.requirement is None and (config.lock_file or config.from_source != "missing"):
        usage_error("piw-up", config, "--lock-file and --from-source need a lock file (-r)")
    if config.from_source == "all" and config.emulate:
        # The emulated builds would need other wheels of what the builds require.
        usage_error("piw-up", config, "--from-source all is for this machine: omit --emulate")
    from piwheels.up.app import run  # noqa: PLC0415 (it needs the extra)

    return run(config)


if __name__ == "__main__":
    sys.exit(main())
