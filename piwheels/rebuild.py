"""piw-rebuild: rebuild pages of the site, or repeat failed builds."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 (the type of an option)
from typing import Final, Literal

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal
from piwheels.core.farm import PACKAGE_PAGES, Farm, Pages
from piwheels.core.program.admin import (
    explaining,
    moment,
    package_option,
    queue_option,
    yes_option,
)
from piwheels.core.program.command_line import Common, duration, option, parser, program
from piwheels.core.program.terminal import confirmed, say
from piwheels.core.words import counted

#: The report for each part of the site (``{}``: the package).
PARTS: Final[dict[Pages, str]] = {
    "home": "the home page will be written within a minute",
    "search": "the search index will be written at once",
    "project": "the project page of {} will be written within a minute",
    "index": "index and project page of {} will be written within a minute",
}


def _since(text: str) -> datetime:
    """Return the time that *text* names: a date, or a duration before now."""
    try:
        return SYSTEM.now() - duration(text)
    except ValueError:
        pass
    try:
        return moment(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is neither a time nor a duration: write 2026-01-31T12:00Z, or 2h"
        ) from None


@dataclass(frozen=True, kw_only=True)
class RebuildConfig(Common):
    """Rebuild pages from the database, or (with --failed) repeat failed builds."""

    part: Literal["", "home", "search", "project", "index"] = option(
        default="", positional=True, choices=PARTS,
        help="the home page; the search index; project pages and their JSON; or these and the pages"
        " that pip reads",
    )  # fmt: skip
    package: str = package_option(default="", help="the package; without it, all packages")
    failed: bool = option(default=False, help="repeat the builds that failed since --since")
    since: datetime | None = option(
        default=None, metavar="WHEN", parse=_since,
        help="for --failed: a time, such as 2026-01-31T12:00Z, or how long ago, such as 2h",
    )  # fmt: skip
    label: str = option(
        default="",
        metavar="TEXT",
        help="for --failed: only builds of the slave with this label",
    )
    yes: bool = yes_option()
    import_queue: str = queue_option()


@program(
    "piw-rebuild",
    RebuildConfig,
    examples=[
        ("piw-rebuild index six", "rebuild all pages of a package"),
        ("piw-rebuild project", "rebuild all project pages"),
        ("piw-rebuild search", "rebuild the search index"),
        ("piw-rebuild --failed --since 2h --label board7", "repeat what a broken slave has failed"),
    ],
)
def main(config: RebuildConfig) -> int:
    """Rebuild pages or repeat failed builds; return the exit status."""
    usage = parser("piw-rebuild", RebuildConfig)
    if config.failed:
        if config.part or config.since is None:
            usage.error("--failed needs --since WHEN, and no PART")
        return _retry(config, config.since)
    if config.since or config.label:
        usage.error("--since and --label need --failed")
    if not config.part:
        usage.error(f"name what to rebuild: {', '.join(PARTS)}, or --failed")
    of_packages = config.part in PACKAGE_PAGES
    if config.package and not of_packages:
        usage.error(f"{config.part} is for the whole site: omit PACKAGE")
    every = of_packages and not config.package
    if every and not confirmed("rewrite the pages of all packages", yes=config.yes):
        raise Fatal("nothing was changed")
    with Farm(config.import_queue) as farm, explaining(config.package):
        farm.rebuild(config.part, config.package or None)
    done = PARTS[config.part].format(config.package or "each package")
    if every:
        done = done.replace("within a minute", "one after the other")
    say(done, quiet=config.quiet)
    return 0


def _retry(config: RebuildConfig, since: datetime) -> int:
    with Farm(config.import_queue) as farm:
        count = farm.retry_failed(since, config.label, preview=True)
        where = f" on {config.label}" if config.label else ""
        what = f"{counted(count, 'build')} that failed{where} since {since:%Y-%m-%d %H:%M}"
        if not count:
            say(
                "no build has failed" + what.removeprefix("0 builds that failed"),
                quiet=config.quiet,
            )
            return 0
        if not confirmed(f"repeat {what}", yes=config.yes):
            raise Fatal("nothing was changed")
        count = farm.retry_failed(since, config.label)
    say(f"{counted(count, 'failed build')} will be repeated", quiet=config.quiet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
