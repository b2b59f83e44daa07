"""piw-rebuild: rebuild pages of the site."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

from piwheels.core.errors import Fatal
from piwheels.core.farm import PACKAGE_PAGES, Farm, Pages
from piwheels.core.program.admin import (
    explaining,
    package_option,
    queue_option,
    yes_option,
)
from piwheels.core.program.command_line import Common, option, program, usage_error
from piwheels.core.program.report import Report, json_option
from piwheels.core.program.terminal import confirmed

#: The report for each part of the site (``{}``: the package).
PARTS: Final[dict[Pages, str]] = {
    "home": "the home page will be written within a minute",
    "search": "the search index will be written at once",
    "project": "the project page of {} will be written within a minute",
    "index": "index and project page of {} will be written within a minute",
}


@dataclass(frozen=True, kw_only=True)
class RebuildConfig(Common):
    """Rebuild pages from the database."""

    part: Pages = option(
        positional=True, choices=PARTS,
        help="the home page; the search index; project pages and their JSON; or these and the pages"
        " that pip reads",
    )  # fmt: skip
    package: str = package_option(default="", help="the package; without it, all packages")
    yes: bool = yes_option()
    json: bool = json_option()
    import_queue: str = queue_option()


@program(
    "piw-rebuild",
    RebuildConfig,
    examples=[
        ("piw-rebuild index six", "rebuild all pages of a package"),
        ("piw-rebuild project", "rebuild all project pages"),
        ("piw-rebuild search", "rebuild the search index"),
    ],
)
def main(config: RebuildConfig) -> int:
    """Rebuild pages; return the exit status."""
    of_packages = config.part in PACKAGE_PAGES
    if config.package and not of_packages:
        problem = f"{config.part} is for the whole site: omit PACKAGE"
        usage_error("piw-rebuild", config, problem)
    every = of_packages and not config.package
    if every and not confirmed("rewrite the pages of all packages", yes=config.yes):
        raise Fatal("nothing was changed")
    with Farm(config.import_queue) as farm, explaining(config.package):
        farm.rebuild(config.part, config.package or None)
    done = PARTS[config.part].format(config.package or "each package")
    if every:
        done = done.replace("within a minute", "one after the other")
    Report(config).write(done, event="requested", part=config.part, package=config.package or None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
