"""piw-remove: take packages, versions or their builds away, or have them built no more."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from piwheels.core.errors import Fatal, Refused
from piwheels.core.farm import Farm
from piwheels.core.program.admin import (
    explaining,
    package_option,
    queue_option,
    reason_option,
    version_option,
    yes_option,
)
from piwheels.core.program.command_line import Common, option, parser, program
from piwheels.core.program.terminal import confirmed, say


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
    unwatch: bool = option(default=False, help="stop following the package upstream")
    yes: bool = yes_option()
    import_queue: str = queue_option()

    @property
    def removes(self) -> bool:
        """Whether something is to go."""
        return self.builds or not (self.skip or self.yank or self.unwatch)

    @property
    def plan(self) -> list[tuple[str, str]]:
        """What is to be done, and the words for it when it has been done."""
        what = f"{self.package} {self.version}".strip()
        its = "its" if self.version else "all its versions,"
        plan = []
        if self.builds:
            whose = f"builds and files of {what}"
            plan.append((f"remove all {whose}", f"removed all {whose}"))
        elif self.removes:
            whole = f"{what} with {its} builds and files"
            # The master ends its own watch; what an operator has written down is not its to change.
            more = "" if self.version else "; take it out of the --watch-file, too, if it is there"
            plan.append((f"remove {whole}", f"removed {whole}{more}"))
        if self.skip:
            skipped = f"not to be built ({self.skip})"
            plan.append((f"mark {what} as {skipped}", f"{what} is {skipped}"))
        if self.yank:
            plan.append((f"yank {what}", f"{what} is yanked"))
        if self.unwatch:
            words = f"{self.package} is followed upstream no more"
            plan.append((f"follow {self.package} upstream no more", words))
        return plan


@program(
    "piw-remove",
    RemoveConfig,
    examples=[
        ("piw-remove six 1.17.0", "remove a version and all that was built of it"),
        ("piw-remove six 1.17.0 --builds", "have a version built again"),
        ("piw-remove six --skip 'nobody needs it'", "keep what there is, build no more of it"),
        ("piw-remove six --unwatch", "follow it upstream no more"),
    ],
)
def main(config: RemoveConfig) -> int:
    """Remove a package, a version or builds; return the exit status."""
    if config.yank and not config.version:
        parser("piw-remove", RemoveConfig).error("--yank is said of a VERSION: give one")
    if not confirmed(", and ".join(todo for todo, _ in config.plan), yes=config.yes):
        raise Fatal("nothing was changed")
    with Farm(config.import_queue) as farm, explaining(config.package, config.version):
        if config.removes or config.skip or config.yank:
            if config.version:
                farm.remove_version(
                    config.package,
                    config.version,
                    builds=config.builds,
                    skip=config.skip,
                    yank=config.yank,
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
                    f"nobody has asked to follow {config.package}, by piw-add --watch: if the"
                    " master's --watch-file names it, take it out there"
                ) from exc
    for _, done in config.plan:
        say(done, quiet=config.quiet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
