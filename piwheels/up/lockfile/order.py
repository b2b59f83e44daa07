"""The order of builds: nothing is built before what its build requires. Pure."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, NamedTuple

from packaging.version import Version

from piwheels.core.wheels.tags import canonical

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Key(NamedTuple):
    """A version of a project, in whatever spelling."""

    name: str
    version: Version

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def key(name: str, version: str) -> Key:
    """Return the key of *version* of the project *name*."""
    return Key(canonical(name), Version(version))


class Step(NamedTuple):
    """What to do next: versions to *start*, and *blocked* ones, each with what will never come."""

    start: list[Key]
    blocked: dict[Key, Key]


def next_step(
    waiting: Mapping[Key, Collection[Key]], ready: Collection[Key], failed: Collection[Key]
) -> Step:
    """Return the next step; *waiting* has the build dependencies of what has not started."""
    blocked = {
        each: next(need for need in sorted(needs) if need in failed)
        for each, needs in waiting.items()
        if any(need in failed for need in needs)
    }
    start = [each for each, needs in waiting.items() if all(need in ready for need in needs)]
    return Step(start, blocked)


def cycle(waiting: Mapping[Key, Collection[Key]]) -> list[Key]:
    """Return versions that need each other, each the next one and the last the first; or none."""
    graph = {each: [need for need in needs if need in waiting] for each, needs in waiting.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1][1:]))
    return []


def to_break(versions: Collection[Key], entries: Collection[Key]) -> Key:
    """Return which of the *versions* of a cycle is not built: rather none of the *entries*."""
    return min(versions, key=lambda each: (each in entries, each))
