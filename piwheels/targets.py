"""piw-targets: the platforms and ABIs that a farm builds for."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from piwheels.core.errors import Fatal
from piwheels.core.paths import farm_dsn
from piwheels.core.program.admin import reason_option, yes_option
from piwheels.core.program.command_line import Common, option, program, usage_error
from piwheels.core.program.report import Report, json_option
from piwheels.core.program.terminal import confirmed
from piwheels.core.targets import FIRST, Target
from piwheels.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from piwheels.core.database import Database
    from piwheels.core.database.rows import TargetRow

#: The database of a service (as for piw-audit).
SERVICE_DSN: Final = "postgresql:///piwheels"
_HEADINGS: Final = ("target", "place", "system", "waiting", "state")


@dataclass(frozen=True, kw_only=True)
class TargetsConfig(Common):
    """List or change the targets: the platforms and ABIs that a farm builds for.

    A running master follows within a second. A target without a slave delays no other one.
    """

    action: Literal["list", "add", "retire", "preview"] = option(
        default="list", positional=True, choices=("list", "add", "retire", "preview"),
        help="list all targets (the default); build for these targets; build for them no more; or"
        " say how many builds they would add",
    )  # fmt: skip
    targets: list[Target] = option(
        default=[], positional=True, metavar="TARGET", parse=Target.parse,
        help="PLATFORM/ABI: linux_armv7l/cp311, linux_aarch64/cp313t, musllinux_x86_64/cp312;"
        " any/cp311 if wheels for one platform suffice",
    )  # fmt: skip
    place: int | None = option(
        default=None, metavar="N",
        help="for add, also of a target that exists: those with the least place come first"
        " (default: by the version of Python)",
    )  # fmt: skip
    system: str = option(
        default="", metavar="TEXT",
        help="for add: the release for which its slaves build, such as 'Debian 12'",
    )  # fmt: skip
    reason: str = reason_option(help="for retire: why (default: retired)")
    dsn: str = option(
        "-d", default="", metavar="URL",
        help=f"the database (default: that of this user's master, or else {SERVICE_DSN})",
    )  # fmt: skip
    yes: bool = yes_option()
    json: bool = json_option()


@program(
    "piw-targets",
    TargetsConfig,
    extra="master",
    examples=[
        ("piw-targets", "list the targets, and how many builds wait for each"),
        ("piw-targets preview linux_aarch64/cp314", "say how many builds that would add"),
        ("piw-targets add linux_armv7l/cp311 linux_armv7l/cp313", "build for two targets"),
        ("piw-targets add linux_armv7l/cp313 --place 1", "prefer a target to the others"),
        ("piw-targets retire linux_armv7l/cp39 --reason 'no board left'", "build for it no more"),
    ],
)
def main(config: TargetsConfig) -> int:
    """Run ``piw-targets``."""
    from piwheels.core.database import Database  # noqa: PLC0415 (it needs the extra)

    if (config.action == "list") == bool(config.targets):
        usage_error("piw-targets", config, "name targets to add, retire or preview, and only then")
    if len(set(config.targets)) < len(config.targets):
        usage_error("piw-targets", config, "a target is named twice: name each once")
    if config.action != "add" and (config.place is not None or config.system):
        usage_error("piw-targets", config, "--place and --system are for add")
    if config.action != "retire" and config.reason:
        usage_error("piw-targets", config, "--reason is for retire")
    with Database(config.dsn or farm_dsn() or SERVICE_DSN) as db:
        _ACTIONS[config.action](config, db, Report(config))
    return 0


def _list(config: TargetsConfig, db: Database, report: Report) -> None:
    rows = db.get_targets()
    for row in rows:
        report.record(
            event="target", target=str(_name(row)), place=row.position, system=row.system,
            waiting=row.pending, skip=row.skip, since=row.since,
        )  # fmt: skip
    if config.json or config.quiet:
        return
    if not rows:
        sys.stdout.write("there are no targets: piw-targets add PLATFORM/ABI adds one\n")
        return
    lines = [_HEADINGS, *(_columns(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        text = "  ".join(each.ljust(width) for each, width in zip(line, widths, strict=True))
        sys.stdout.write(f"{text.rstrip()}\n")
    first = db.get_statistics()["builds_pending"].get(FIRST.abi, 0)
    if first:
        verb = "begins" if first == 1 else "begin"
        sys.stdout.write(f"{counted(first, 'new version')} {verb} with any of them\n")


def _columns(row: TargetRow) -> tuple[str, ...]:
    state = f"retired: {row.skip}" if row.skip else "active"
    return str(_name(row)), str(row.position), row.system or "-", str(row.pending), state


def _name(row: TargetRow) -> Target:
    return Target(row.platform, row.abi_tag)


def _preview(config: TargetsConfig, db: Database, report: Report) -> None:
    active = {_name(row) for row in db.get_targets() if not row.skip}
    for target in config.targets:
        count = 0 if target in active else db.preview_target(target)
        adds = "is active already" if target in active else f"adds {counted(count, 'build')}"
        report.write(f"{target} {adds}", event="preview", target=str(target), builds=count)


def _add(config: TargetsConfig, db: Database, report: Report) -> None:
    new = db.add_targets(config.targets, config.system, config.place)
    for target in config.targets:
        words = "added" if target in new else "updated"
        report.write(f"{words} {target}", event=words, target=str(target))


def _retire(config: TargetsConfig, db: Database, report: Report) -> None:
    rows = {_name(row): row for row in db.get_targets()}
    unknown = [str(target) for target in config.targets if target not in rows]
    if unknown:
        raise Fatal(f"no such target: {', '.join(unknown)} (piw-targets lists them)")
    waiting = sum(rows[target].pending for target in config.targets)
    what = f"retire {counted(len(config.targets), 'target')}, for which {waiting} builds wait"
    if not confirmed(what, yes=config.yes):
        raise Fatal("nothing was changed")
    retired = db.retire_targets(config.targets, config.reason or "retired")
    for target in config.targets:
        words = "retired" if target in retired else "was retired before:"
        report.write(f"{words} {target}", event="retired", target=str(target))


_ACTIONS: Final[dict[str, Callable[[TargetsConfig, Database, Report], None]]] = {
    "list": _list, "add": _add, "retire": _retire, "preview": _preview,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
