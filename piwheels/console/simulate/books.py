"""What the simulated master counts, and what waits to be built."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

from piwheels.console.simulate.catalogue import ABIS, a_version
from piwheels.core.protocols import Job, QueueHead
from piwheels.core.states import MasterStats

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from random import Random

    from piwheels.console.simulate.catalogue import Project
    from piwheels.core.protocols import Outcome

#: How long a build takes, more or less, in seconds.
BUILD: Final = 460
_GIB: Final = 2**30


@dataclass(slots=True)
class Books:
    """What has been built."""

    built: int = 2_731_400
    files: int = 2_655_120
    size: int = 11_400 * _GIB
    time: timedelta = timedelta(days=41_000)
    #: Builds by ABI, a Counter a minute.
    minutes: deque[tuple[int, Counter[str]]] = field(default_factory=lambda: deque(maxlen=60))

    def count(self, outcome: Outcome, now: datetime) -> None:
        """Enter a build that has ended."""
        self.built += 1
        self.files += outcome.files
        self.size += outcome.files * 1_400_000
        self.time += outcome.duration
        minute = int(now.timestamp() // 60)
        if not self.minutes or self.minutes[-1][0] != minute:
            self.minutes.append((minute, Counter()))
        self.minutes[-1][1][outcome.abi] += 1

    def last_hour(self, now: datetime) -> Counter[str]:
        """Return how many builds have ended of late, by ABI."""
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


class Queues:
    """What waits for so many *boards* of each ABI; it grows and shrinks as the catalogue says."""

    def __init__(self, boards: Mapping[str, int], random: Random) -> None:
        self._random = random
        self._queues: dict[str, deque[tuple[Project, str]]] = {}
        self._rates: dict[str, float] = {}
        for abi in ABIS:
            count = boards.get(abi.tag, 0)
            first = (a_version(random) for _ in range(abi.begin * count + 3))
            self._queues[abi.tag] = deque(first)
            self._rates[abi.tag] = abi.filling * count / BUILD

    def release(self, seconds: float) -> None:
        """Let as many new versions appear as do in so many seconds."""
        for tag, rate in self._rates.items():
            count = int(seconds * rate + self._random.random())
            self._queues[tag].extend(a_version(self._random) for _ in range(count))

    def next(self, abi: str) -> tuple[Project, str] | None:
        """Take the version of a package that comes next, if one waits."""
        queue = self._queues[abi]
        return queue.popleft() if queue else None

    def put_back(self, abi: str, project: Project, version: str) -> None:
        """Let it be the next."""
        self._queues[abi].appendleft((project, version))

    def pending(self) -> dict[str, int]:
        """Return how many versions wait, by ABI."""
        return {tag: len(queue) for tag, queue in self._queues.items()}

    def heads(self, most: int) -> list[QueueHead]:
        """Return the first versions that wait, at most so many of each ABI."""
        return [
            QueueHead(tag, len(queue), [Job(one.name, v) for one, v in islice(queue, most)])
            for tag, queue in self._queues.items()
        ]
