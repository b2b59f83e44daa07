"""The entry point of ``piw-master``."""

import sys

from piwheels.core.program.command_line import program
from piwheels.core.program.logs import reopen_on_hangup
from piwheels.master.wiring import MasterConfig


@program(
    "piw-master",
    MasterConfig,
    extra="master",
    examples=[
        ("piw-master -o /srv/piwheels", "build what piw-add adds, with slaves on this machine"),
        (
            "piw-master --slave-queue 'tcp://*:5555' --file-queue 'tcp://*:5556'",
            "listen for slaves on all addresses, which only your boards should reach",
        ),
        (
            "piw-master --source watch --watch-file names",
            "build new releases of these projects",
        ),
        ("piw-master --source changelog", "build all new releases of the index"),
        ("piw-master --debug slave_driver", "log all messages from and to slaves"),
    ],
)
def main(config: MasterConfig) -> int:
    """Run ``piw-master``."""
    reopen_on_hangup()
    from piwheels.master.app import run  # noqa: PLC0415 (it needs the extra)

    return run(config)


if __name__ == "__main__":
    sys.exit(main())
