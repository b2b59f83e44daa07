"""``piw-audit``: its entry point."""

import sys

from piwheels.audit.config import AuditConfig
from piwheels.core.program.command_line import program


@program(
    "piw-audit",
    AuditConfig,
    extra="master",
    examples=[
        ("piw-audit", "check everything"),
        ("piw-audit --quick files logs", "see that every file is there, without reading any"),
        ("piw-audit -p numpy --json", "check one package, for a program"),
        ("piw-audit database --repair", "compute anew what is kept, if it is wrong"),
    ],
)
def main(config: AuditConfig) -> int:
    """Run ``piw-audit``."""
    from piwheels.audit.app import run  # noqa: PLC0415 (it needs the extra)

    return run(config)


if __name__ == "__main__":
    sys.exit(main())
