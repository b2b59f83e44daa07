"""piw-remove: remove packages, versions or their builds, or stop building them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 (the type of an option)

from piwheels.core.errors import Fatal, Refused
from piwheels.core.keys.options import farm_of, key_option, master_key_option
from piwheels.core.program.admin import (
    explaining,
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
class RemoveConfig(Common):
    """Remove a package, or a version of one, with all its builds and files.

    With --builds, --skip, --yank or --unwatch, do only that and keep the rest.
    """

    package: str = package_option()
    version: str = version_option("the version; without it, the whole package")
    builds: bool = option(default=False, help="remove only builds and files, and build it again")
    skip: str = reason_option("do not build it (again), for this reason")
    yank: bool = option(default=False, help="only mark the version as yanked")
    yank_reason: str = reason_option("only mark it as yanked, for this reason")
    unwatch: bool = option(default=False, help="stop following the package upstream")
    yes: bool = yes_option()
    json: bool = json_option()
    import_queue: str = queue_option()
    key: Path | None = key_option()
    master_key: list[str] = master_key_option()

    @property
    def removes(self) -> bool:
        """Whether to remove anything."""
        return self.builds or not (self.skip or self.yanks or self.unwatch)

    @property
    def yanks(self) -> bool:
        """Whether to yank the version."""
        return self.yank or bool(self.yank_reason)

    @property
    def plan(self) -> list[tuple[str, str, str]]:
        """The steps: of each its event, and in words an instruction and a report."""
        what = f"{self.package} {self.version}".strip()
        its = "its" if self.version else "all its versions,"
        plan = []
        if self.builds:
            whose = f"builds and files of {what}"
            plan.append(("builds-removed", f"remove all {whose}", f"removed all {whose}"))
        elif self.removes:
            whole = f"{what} with {its} builds and files"
            # The master ends its own watch, but does not edit the file of an operator.
            more = "" if self.version else "; if the --watch-file names it, remove it there, too"
            plan.append(("removed", f"remove {whole}", f"removed {whole}{more}"))
        if self.skip:
            skipped = f"not to be built ({self.skip})"
            plan.append(("skipped", f"mark {what} as {skipped}", f"{what} is {skipped}"))
        if self.yanks:
            why = f" ({self.yank_reason})" if self.yank_reason else ""
            plan.append(("yanked", f"yank {what}{why}", f"{what} is yanked{why}"))
        if self.unwatch:
            words = f"{self.package} is no longer followed upstream"
            plan.append(("unwatched", f"stop following {self.package} upstream", words))
        return plan


@program(
    "piw-remove",
    RemoveConfig,
    examples=[
        ("piw-remove six 1.17.0", "remove a version with its builds"),
        ("piw-remove six 1.17.0 --builds", "build a version again"),
        ("piw-remove six --skip 'nobody needs it'", "keep its files, but build no more"),
        ("piw-remove six --unwatch", "stop following it upstream"),
    ],
)
def main(config: RemoveConfig) -> int:
    """Remove a package, a version or builds; return the exit status."""
    if config.yanks and not config.version:
        usage_error("piw-remove", config, "--yank needs a VERSION")
    if not confirmed(", and ".join(todo for _, todo, _ in config.plan), yes=config.yes):
        raise Fatal("nothing was changed")
    with farm_of(config) as farm, explaining(config.package, config.version):
        if config.removes or config.skip or config.yanks:
            if config.version:
                farm.remove_version(
                    config.package,
                    config.version,
                    builds=config.builds,
                    skip=config.skip,
                    yank=config.yank,
                    yank_reason=config.yank_reason,
                )
            else:
                farm.remove_package(config.package, builds=config.builds, skip=config.skip)
        if config.unwatch:
            try:
                farm.unwatch(config.package)
            except Refused as exc:
                if exc.code != "NOPKG":
                    raise
                raise Fatal(
                    f"{config.package} is not followed because of piw-add --watch: if the master's"
                    " --watch-file names it, remove it there"
                ) from exc
    report = Report(config)
    for event, _, done in config.plan:
        report.write(done, event=event, package=config.package, version=config.version or None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
