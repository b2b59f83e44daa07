"""piw-add: register packages and versions with the master, or change their properties."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 (the type of an option)
from pathlib import Path  # noqa: TC003 (the type of an option)

from piwheels.core.errors import Fatal, Refused
from piwheels.core.farm import Done, Farm, Priority
from piwheels.core.keys.options import farm_of, key_option, master_key_option
from piwheels.core.program.admin import (
    explaining,
    moment,
    package_name,
    package_option,
    queue_option,
    reason_option,
    version_option,
    yes_option,
)
from piwheels.core.program.command_line import Common, option, program, usage_error
from piwheels.core.program.report import Report, json_option
from piwheels.core.program.terminal import confirmed


@dataclass(frozen=True, kw_only=True)
class AddConfig(Common):
    """Add a package or a version for the farm to build.

    If the farm has it already, change the given properties.
    """

    package: str = package_option()
    version: str = version_option("the version; without it, add the package itself")
    skip: str = reason_option("do not build it, for this reason")
    unskip: bool = option(default=False, help="build it after all")
    alias: list[str] = option(
        default=[], metavar="NAME", parse=package_name,
        help="another spelling of the package's name (can be repeated)",
    )  # fmt: skip
    description: str = option(
        default="",
        metavar="TEXT",
        help="what the package is, in one line (without VERSION); its wheels say it otherwise",
    )
    released: datetime | None = option(
        default=None, metavar="WHEN", parse=moment,
        help="when the version was released, as 2026-01-31T12:00Z (default: now)",
    )  # fmt: skip
    yank: bool = option(default=False, help="mark the version as yanked")
    yank_reason: str = reason_option("mark it as yanked, for this reason")
    unyank: bool = option(default=False, help="mark the version as not yanked")
    priority: Priority = option(
        default="", choices=("first", "security", "normal"),
        help="build the version before all others, or as a security release, or like others again",
    )  # fmt: skip
    first: bool = option(default=False, help="the same as --priority first")
    watch: bool = option(
        default=False, help="follow the package upstream and build its new releases"
    )
    yes: bool = yes_option()
    json: bool = json_option()
    import_queue: str = queue_option()
    key: Path | None = key_option()
    master_key: list[str] = master_key_option()

    @property
    def subject(self) -> str:
        """The package, and the version if there is one."""
        return f"{self.package} {self.version}".strip()

    @property
    def urgency(self) -> Priority:
        """The priority of the version's builds (``""``: unchanged)."""
        return "first" if self.first else self.priority

    @property
    def changes(self) -> list[str]:
        """The given properties, in words."""
        words = {
            f"not to be built ({self.skip})": self.skip,
            "to be built": self.unskip,
            f"yanked ({self.yank_reason})": self.yank_reason,
            "yanked": self.yank and not self.yank_reason,
            "not yanked": self.unyank,
            f"priority {self.urgency}": self.urgency,
            f"also called {', '.join(self.alias)}": self.alias,
            "described": self.description,
        }
        return [text for text, given in words.items() if given]


@program(
    "piw-add",
    AddConfig,
    examples=[
        ("piw-add six", "add a package"),
        ("piw-add six 1.17.0", "build a version"),
        ("piw-add six 1.17.0 --first", "build it before everything that waits"),
        ("piw-add six --watch", "build every new release"),
        ("piw-add torch --skip 'too large'", "build none of its versions"),
    ],
)
def main(config: AddConfig) -> int:
    """Add a package or a version; return the exit status."""
    _check(config)
    details = f", {', '.join(config.changes)}" if config.changes else ""
    more = ", and follow it upstream" if config.watch else ""
    if not confirmed(f"add {config.subject} (or change it){details}{more}", yes=config.yes):
        raise Fatal("nothing was changed")
    with farm_of(config) as farm, explaining(config.package, config.version):
        report = Report(config)
        done = _add_version(farm, config, report) if config.version else _add_package(farm, config)
        added = done in (Done.PACKAGE_ADDED, Done.VERSION_ADDED)
        if added:
            text = ", ".join([f"added {config.subject}", *config.changes])
        else:
            changed = ", ".join(config.changes) or "nothing changed"
            text = f"{config.subject} is known already: {changed}"
        report.write(
            text, event="added" if added else "changed", package=config.package,
            version=config.version or None, changes=config.changes,
        )  # fmt: skip
        if config.watch:
            farm.watch(config.package)
            text = f"{config.package} is followed upstream from now on"
            report.write(text, event="watched", package=config.package)
    return 0


def _check(config: AddConfig) -> None:
    """End the program with an error if options contradict each other."""
    problem = ""
    if config.skip and config.unskip:
        problem = "--skip and --unskip contradict each other"
    yanks = config.yank or config.yank_reason
    if yanks and config.unyank:
        problem = "--yank and --unyank contradict each other"
    if config.first and config.priority not in ("", "first"):
        problem = "--first and --priority contradict each other"
    of_version = yanks or config.unyank or config.released or config.urgency
    if not config.version and of_version:
        problem = "--yank, --unyank, --released, --priority and --first need a VERSION"
    if config.version and config.description:
        problem = "--description describes the whole package: omit VERSION"
    if problem:
        usage_error("piw-add", config, problem)


def _add_package(farm: Farm, config: AddConfig) -> Done:
    return farm.add_package(
        config.package,
        description=config.description,
        skip=config.skip,
        unskip=config.unskip,
        aliases=config.alias,
    )


def _add_version(farm: Farm, config: AddConfig, report: Report) -> Done:
    def add() -> Done:
        return farm.add_version(
            config.package,
            config.version,
            released=config.released,
            skip=config.skip,
            unskip=config.unskip,
            yank=config.yank,
            yank_reason=config.yank_reason,
            unyank=config.unyank,
            aliases=config.alias,
            priority=config.urgency,
        )

    try:
        return add()
    except Refused as exc:
        if exc.code != "NOPKG":
            raise
    if not confirmed(f"add the package {config.package}, which is not known, too", yes=config.yes):
        raise Fatal("nothing was changed")
    farm.add_package(config.package, aliases=config.alias)
    report.write(
        f"added {config.package}", event="added", package=config.package, version=None, changes=[]
    )
    return add()


if __name__ == "__main__":
    sys.exit(main())
