"""The failures that stand, by their class: what a page says of them. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.debian.contents import packages_for, release_of
from piwheels.core.diagnosis import CLASSES, Diagnosis
from piwheels.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from piwheels.core.database.rows import ReasonCount, TargetRow

#: How many subjects of each class are listed.
SUBJECTS: Final = 5
#: The releases of Debian whose packages are suggested, by their numbers; the newest is last.
_NUMBERS: Final = {"12": "bookworm", "13": "trixie"}


class ReasonLine(NamedTuple):
    """A class of failures: its *title*, the *page* that explains it, and how many *builds* failed.

    *is_fault*: the farm is at fault. *subjects* are the most frequent ones, each with a sentence.
    """

    title: str
    page: str
    builds: int
    is_fault: bool
    subjects: list[tuple[str, str]]


def reason_lines(counts: Iterable[ReasonCount], release: str) -> list[ReasonLine]:
    """Return a line for each class, the most frequent first.

    *release* is the release of Debian whose packages are suggested. Failures of an older farm,
    which have no reason, are unknown.
    """
    found: defaultdict[str, list[ReasonCount]] = defaultdict(list)
    for count in counts:
        found[Diagnosis(count.reason).about.code].append(count)
    lines = [
        ReasonLine(
            CLASSES[code].title,
            CLASSES[code].page,
            sum(count.builds for count in group),
            CLASSES[code].fault == "farm",
            [_subject(count, release) for count in group if count.subject][:SUBJECTS],
        )
        for code, group in found.items()
    ]
    return sorted(lines, key=lambda line: (-line.builds, line.title))


def suggested_release(targets: Iterable[TargetRow]) -> str:
    """Return the release of Debian for which packages are suggested: that of the first target.

    It is the newest one if no target says it.
    """
    *_, newest = _NUMBERS.values()
    for target in targets:
        numbers = re.findall(r"[0-9]+", target.system)
        known = [_NUMBERS[number] for number in numbers if number in _NUMBERS]
        if found := release_of(target.system) or "".join(known[:1]):
            return found
    return newest


def _subject(count: ReasonCount, release: str) -> tuple[str, str]:
    packages, projects = packages_for(count.reason, count.subject, release), count.packages
    if packages:
        advice = f"apt install {packages[0]} on the boards would build"
        return count.subject, f"{advice} {counted(projects, 'project')}"
    return count.subject, counted(projects, "project")
