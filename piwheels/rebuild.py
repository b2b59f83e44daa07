"""piw-rebuild: have pages of the site written again."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final, NamedTuple

from piwheels.core.errors import Fatal
from piwheels.core.program.admin import (
    LONG_ANSWER,
    Admin,
    explaining,
    package_option,
    queue_option,
    yes_option,
)
from piwheels.core.program.command_line import Common, option, parser, program
from piwheels.core.program.terminal import confirmed, say


class _Part(NamedTuple):
    """What is rebuilt: the wire's word for it, and what its answer means (``{}``: of whom)."""

    word: str
    done: str
    of_packages: bool = True


#: By what an operator calls it.
PARTS: Final = {
    "home": _Part("HOME", "the home page will be written within a minute", of_packages=False),
    "search": _Part("SEARCH", "the search index will be written at once", of_packages=False),
    "project": _Part("PROJECT", "the project page of {} will be written within a minute"),
    "index": _Part("BOTH", "index and project page of {} will be written within a minute"),
}


@dataclass(frozen=True, kw_only=True)
class RebuildConfig(Common):
    """Have pages written again, from what the database holds."""

    part: str = option(
        positional=True, choices=PARTS,
        help="the home page; the search index; project pages and their JSON; or these and the pages"
        " that pip reads",
    )  # fmt: skip
    package: str = package_option(
        default="", help="whose pages; without one, those of all packages"
    )
    yes: bool = yes_option()
    import_queue: str = queue_option()


@program(
    "piw-rebuild",
    RebuildConfig,
    examples=[
        ("piw-rebuild index six", "write all pages of a package again"),
        ("piw-rebuild project", "write all project pages again"),
        ("piw-rebuild search", "write the search index again"),
    ],
)
def main(config: RebuildConfig) -> int:
    """Have pages written again; return the exit status."""
    part = PARTS[config.part]
    if config.package and not part.of_packages:
        usage = parser("piw-rebuild", RebuildConfig)
        usage.error(f"{config.part} is not of one package: leave PACKAGE out")
    every = part.of_packages and not config.package
    if every and not confirmed("have the pages of all packages written again", yes=config.yes):
        raise Fatal("nothing was changed")
    what = [part.word, config.package or None] if part.of_packages else [part.word]
    with Admin(config.import_queue) as master, explaining(config.package):
        master.ask("REBUILD", what, LONG_ANSWER)
    whose = config.package or "each package"
    done = part.done.format(whose)
    if every:
        done = done.replace("within a minute", "one after the other")
    say(done, quiet=config.quiet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
