"""piw-rebuild: rebuild pages of the site, or repeat failed builds."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 (the type of an option)
from pathlib import Path  # noqa: TC003 (the type of an option)
from typing import Final, Literal

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal
from piwheels.core.farm import PACKAGE_PAGES, Pages
from piwheels.core.keys.options import farm_of, key_option, master_key_option
from piwheels.core.program.admin import (
    explaining,
    moment,
    package_option,
    queue_option,
    yes_option,
)
from piwheels.core.program.command_line import Common, duration, option, program, usage_error
from piwheels.core.program.report import Report, json_option
from piwheels.core.program.terminal import confirmed
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
    json: bool = json_option()
    import_queue: str = queue_option()
    key: Path | None = key_option()
    master_key: list[str] = master_key_option()


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
    if why := _misuse(config):
        usage_error("piw-rebuild", config, why)
    if config.since is not None:
        return _retry(config, config.since)
    assert config.part  # noqa: S101 (else it is a misuse)
    of_packages = config.part in PACKAGE_PAGES
    every = of_packages and not config.package
    if every and not confirmed("rewrite the pages of all packages", yes=config.yes):
        raise Fatal("nothing was changed")
    with farm_of(config) as farm, explaining(config.package):
        farm.rebuild(config.part, config.package or None)
    done = PARTS[config.part].format(config.package or "each package")
    if every:
        done = done.replace("within a minute", "one after the other")
    Report(config).write(done, event="requested", part=config.part, package=config.package or None)
    return 0


def _misuse(config: RebuildConfig) -> str:
    """Return which options contradict each other; ``""``: none."""
    if config.failed:
        complete = config.since and not config.part
        return "" if complete else "--failed needs --since WHEN, and no PART"
    if config.since or config.label:
        return "--since and --label need --failed"
    if not config.part:
        return f"name what to rebuild: {', '.join(PARTS)}; or give --failed"
    if config.package and config.part not in PACKAGE_PAGES:
        return f"{config.part} is for the whole site: omit PACKAGE"
    return ""


def _retry(config: RebuildConfig, since: datetime) -> int:
    report, about = Report(config), {"since": since, "label": config.label or None}
    with farm_of(config) as farm:
        count = farm.retry_failed(since, config.label, preview=True)
        where = f" on {config.label}" if config.label else ""
        where += f" since {since:%Y-%m-%d %H:%M}"
        if not count:
            report.write(f"no build has failed{where}", event="repeated", builds=0, **about)
            return 0
        if not confirmed(f"repeat {counted(count, 'build')} that failed{where}", yes=config.yes):
            raise Fatal("nothing was changed")
        count = farm.retry_failed(since, config.label)
    done = f"{counted(count, 'failed build')} will be repeated"
    report.write(done, event="repeated", builds=count, **about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
