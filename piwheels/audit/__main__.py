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
        ("piw-audit --quick files logs", "check that every file exists, without reading it"),
        ("piw-audit -p numpy --json", "check one package, with output for programs"),
        ("piw-audit database --repair", "rebuild derived data if it is wrong"),
    ],
)
def main(config: AuditConfig) -> int:
    """Run ``piw-audit``."""
    from piwheels.audit.app import run  # noqa: PLC0415 (it needs the extra)

    return run(config)


if __name__ == "__main__":
    sys.exit(main())
