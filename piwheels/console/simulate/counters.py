"""The counters of the simulated master."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from piwheels.core.states import MasterStats

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from piwheels.core.protocols import BuildOutcome

_GIB: Final = 2**30


@dataclass(slots=True)
class Counters:
    """The totals of all builds, and the builds of the last hour."""

    built: int = 2_731_400
    files: int = 2_655_120
    size: int = 11_400 * _GIB
    time: timedelta = timedelta(days=41_000)
    #: Builds by ABI, one Counter for each minute.
    minutes: deque[tuple[int, Counter[str]]] = field(default_factory=lambda: deque(maxlen=60))

    def count(self, outcome: BuildOutcome, now: datetime) -> None:
        """Count a build that has ended."""
        self.built += 1
        self.files += outcome.files
        self.size += outcome.files * 1_400_000
        self.time += outcome.duration
        minute = int(now.timestamp() // 60)
        if not self.minutes or self.minutes[-1][0] != minute:
            self.minutes.append((minute, Counter()))
        self.minutes[-1][1][outcome.abi] += 1

    def last_hour(self, now: datetime) -> Counter[str]:
        """Return the number of builds in the last hour, by ABI."""
        first = int(now.timestamp() // 60) - 59
        total: Counter[str] = Counter()
        for minute, counts in self.minutes:
            if minute >= first:
                total.update(counts)
        return total

    def stats(
        self, now: datetime, pending: dict[str, int], slaves: int, random: Random
    ) -> MasterStats:
        """Return the master's stats."""
        wave = random.uniform(0.9, 1.1)
        disk = 4000 * _GIB
        return MasterStats(
            now, self.built, dict(self.last_hour(now)), self.time, self.size, pending,
            random.randrange(30, 60), self.files, int(41_000 * wave), int(28_100_000 * wave),
            1_900_000_000 + self.built, disk, disk // 3 - self.files % 10**6 * 1000, 8 * _GIB,
            int(3 * _GIB * wave), 2 * _GIB, int(1.9 * _GIB), round(0.4 + slaves / 400 * wave, 2),
            round(51 * wave, 1),
        )  # fmt: skip
