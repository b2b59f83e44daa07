"""piw-rebuild: rebuild pages of the site, or repeat failed builds."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 (the type of an option)
from typing import TYPE_CHECKING, Any, Final, Literal

from piwheels.core.clock import SYSTEM
from piwheels.core.diagnosis import CLASSES
from piwheels.core.errors import Fatal
from piwheels.core.farm import PACKAGE_PAGES, Farm, Pages
from piwheels.core.keys.options import farm_of, key_option, master_key_option
from piwheels.core.program.admin import (
    explaining,
    moment,
    package_option,
    queue_option,
    version_option,
    yes_option,
)
from piwheels.core.program.command_line import Common, duration, option, program, usage_error
from piwheels.core.program.report import Report, json_option
from piwheels.core.program.terminal import confirmed
from piwheels.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """Rebuild pages from the database, or repeat failed builds.

    What succeeded is not built again: piw-remove --builds does that. Repeated builds forget all
    attempts that failed before, and their logs; with --curable, they continue from these.
    """

    part: Literal["", "home", "search", "project", "index", "version"] = option(
        default="", positional=True, choices=(*PARTS, "version"),
        help="the home page; the search index; project pages and their JSON; these and the pages"
        " that pip reads; or version: repeat the failed builds of a version",
    )  # fmt: skip
    package: str = package_option(default="", help="the package; without it, all packages")
    version: str = version_option("for version: the version whose failed builds are repeated")
    failed: bool = option(default=False, help="repeat the builds that failed since --since")
    reason: str = option(
        default="", metavar="CLASS", choices=CLASSES,
        help="repeat the builds that failed for this reason, such as missing-header (piw-why and"
        " the pages say it)",
    )  # fmt: skip
    subject: str = option(
        default="", metavar="TEXT",
        help="for --reason: only those that are about this, such as portaudio.h",
    )  # fmt: skip
    curable: bool = option(
        default=False,
        help="try again what the farm could cure now, after a new slave or an upgrade, and what"
        " waits for an operator",
    )
    since: datetime | None = option(
        default=None, metavar="WHEN", parse=_since,
        help="for --failed and --reason: a time, such as 2026-01-31T12:00Z, or how long ago, such"
        " as 2h",
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
        ("piw-rebuild version six 1.17.0", "repeat the failed builds of a version"),
        (
            "piw-rebuild --reason missing-header --subject portaudio.h",
            "repeat what lacked a header, after it was installed on the slaves",
        ),
        ("piw-rebuild --curable", "try again what the slaves of now could cure"),
    ],
)
def main(config: RebuildConfig) -> int:
    """Rebuild pages or repeat failed builds; return the exit status."""
    if why := _misuse(config):
        usage_error("piw-rebuild", config, why)
    if config.part == "version":
        return _repeat_version(config)
    if not config.part:
        return _repeat(config, *_repetition(config))
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
    kinds = [config.part, config.failed, config.reason, config.curable]
    if not any(kinds):
        names = ", ".join([*PARTS, "version"])
        return f"name what to rebuild: {names}; or give --failed, --reason or --curable"
    if sum(map(bool, kinds)) > 1:
        return "PART, --failed, --reason and --curable exclude each other"
    if config.failed and not config.since:
        return "--failed needs --since WHEN, and no PART"
    if (config.since and not (config.failed or config.reason)) or (
        config.label and not config.failed
    ):
        return "--since and --label need --failed, and --since may have --reason"
    if config.subject and not config.reason:
        return "--subject needs --reason"
    if config.part == "version":
        return "" if config.version else "version needs PACKAGE and VERSION"
    if config.version:
        return f"{config.part} has no VERSION"
    if config.package and config.part not in PACKAGE_PAGES:
        return f"{config.part} is for the whole site: omit PACKAGE"
    return ""


def _repeat_version(config: RebuildConfig) -> int:
    what = f"{config.package} {config.version}"
    with farm_of(config) as farm, explaining(config.package, config.version):
        count = farm.retry_version(config.package, config.version)
    done = (
        f"{counted(count, 'failed build')} of {what} will be repeated"
        if count
        else f"no build of {what} has failed: piw-why says what it waits for"
    )
    Report(config).write(
        done, event="repeated", package=config.package, version=config.version, builds=count
    )
    return 0


def _repetition(config: RebuildConfig) -> tuple[Callable[[Farm, bool], int], str, dict[str, Any]]:
    """Return the request (a preview or not), which builds it repeats, and that as data."""
    since = config.since or datetime.fromtimestamp(0, UTC)
    when = f" since {since:%Y-%m-%d %H:%M}" if config.since else ""
    if config.curable:
        which = "that slaves could cure now, or that wait for an operator"
        return lambda farm, preview: farm.retry_curable(preview=preview), which, {}
    if config.reason:
        reason, subject = config.reason, config.subject or None
        return (
            lambda farm, preview: farm.retry_reason(reason, subject, since, preview=preview),
            " ".join(filter(None, ["that failed:", CLASSES[reason].title, subject])) + when,
            {"reason": reason, "subject": subject, "since": config.since},
        )
    where = f" on {config.label}" if config.label else ""
    return (
        lambda farm, preview: farm.retry_failed(since, config.label, preview=preview),
        f"that failed{where}{when}",
        {"since": since, "label": config.label or None},
    )


def _repeat(
    config: RebuildConfig, ask: Callable[[Farm, bool], int], which: str, about: dict[str, Any]
) -> int:
    """Repeat builds, after a preview of their number and a question."""
    report = Report(config)
    with farm_of(config) as farm:
        count = ask(farm, True)
        if not count:
            report.write(f"there are no builds {which}", event="repeated", builds=0, **about)
            return 0
        if not confirmed(f"repeat {counted(count, 'build')} {which}", yes=config.yes):
            raise Fatal("nothing was changed")
        count = ask(farm, False)
    done = f"{counted(count, 'failed build')} will be repeated"
    report.write(done, event="repeated", builds=count, **about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
