"""Whether another build may begin on this machine, and how much memory it may use. Pure.

Sizes are in bytes.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.words import size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The memory that a build is expected to need before any has ended.
FIRST_NEED: Final = 512 * 2**20
#: The memory that stays free for everything else: a part of the machine's, and at least so much.
RESERVE: Final = 1 / 16, 128 * 2**20
#: The disk that each build is expected to need.
DISK: Final = 2**30
#: How much may be swapped out since the least use of the swap. It must not be builds.
SWAPPED: Final = 64 * 2**20
#: The part of the memory that all builds together may use.
OF_BUILDS: Final = 3 / 4
#: How many builds, and how many packages, are remembered.
BUILDS, PACKAGES = 50, 1000


class Use(NamedTuple):
    """What this machine has and what is in use: *swapped* since the slave has run, by all."""

    cores: int
    load: float
    memory: int
    memory_free: int
    swapped: int
    disk_free: int


class Running(NamedTuple):
    """The memory that a running build uses, and the most that it is expected to need."""

    memory: int
    need: int


def why_not(use: Use, running: Sequence[Running], need: int) -> str:
    """Return why no build that needs about *need* bytes of memory may begin; ``""``: it may.

    One build at least may always run.
    """
    if not running:
        return ""
    growth = sum(max(0, each.need - each.memory) for each in running)
    part, least = RESERVE
    left = use.memory_free - growth - need
    if left < max(part * use.memory, least):
        return f"memory: {size_text(use.memory_free)} free, {size_text(growth + need)} needed"
    if use.swapped > SWAPPED:
        return f"memory: {size_text(use.swapped)} swapped out"
    if use.load >= use.cores + 1:
        return f"load: {use.load:.1f} on {use.cores} processors"
    if use.disk_free < DISK * (len(running) + 1):
        return f"disk: {size_text(use.disk_free)} free"
    return ""


def memory_limit(memory: int, running: Sequence[Running], jobs: int) -> int:
    """Return how much of the *memory* of the machine a build may use that begins now.

    With *jobs* builds at once, each has the same part; without a number, it is all that those that
    are running are not expected to need, as the others wait then.
    """
    if jobs:
        return int(memory * OF_BUILDS / jobs)
    taken = sum(max(each.memory, each.need) for each in running)
    return int(max(memory * OF_BUILDS - taken, memory * OF_BUILDS / (len(running) + 1)))


class Needs:
    """The memory that earlier builds have needed."""

    def __init__(self) -> None:
        self._recent: deque[int] = deque(maxlen=BUILDS)
        self._of: dict[str, int] = {}

    def learn(self, package: str, memory: int) -> None:
        """Record that a build of *package* has used *memory* at most."""
        self._recent.append(memory)
        self._of[package] = max(memory, self._of.pop(package, 0))
        if len(self._of) > PACKAGES:
            del self._of[next(iter(self._of))]

    def of(self, package: str = "") -> int:
        """Return what a build of *package* is expected to need; ``""``: one of any package.

        That is as much as nine of ten recent builds have needed.
        """
        if package in self._of:
            return self._of[package]
        if not self._recent:
            return FIRST_NEED
        return sorted(self._recent)[math.ceil(0.9 * len(self._recent)) - 1]
