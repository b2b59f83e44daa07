"""The build queues of the simulated farm."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

from piwheels.console.simulate.inventory import ABIS, random_version
from piwheels.core.protocols import Job, QueueHead

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from piwheels.console.simulate.inventory import Project

#: The approximate duration of a build, in seconds.
BUILD: Final = 460


class Queues:
    """The queue of each ABI, in proportion to its number of *boards*."""

    def __init__(self, boards: Mapping[str, float], random: Random) -> None:
        self._random = random
        self._queues: dict[str, deque[tuple[Project, str]]] = {}
        self._rates: dict[str, float] = {}
        for abi in ABIS:
            count = boards.get(abi.tag, 0)
            first = (random_version(random) for _ in range(int(abi.begin * count + 3)))
            self._queues[abi.tag] = deque(first)
            self._rates[abi.tag] = abi.filling * count / BUILD

    def release(self, seconds: float) -> None:
        """Add the new versions of this many seconds."""
        for tag, rate in self._rates.items():
            count = int(seconds * rate + self._random.random())
            self._queues[tag].extend(random_version(self._random) for _ in range(count))

    def next(self, abi: str) -> tuple[Project, str] | None:
        """Take the first version of a queue, if there is one."""
        queue = self._queues[abi]
        return queue.popleft() if queue else None

    def put_back(self, abi: str, project: Project, version: str) -> None:
        """Insert a version at the head of a queue."""
        self._queues[abi].appendleft((project, version))

    def put_first(self, job: Job) -> bool:
        """Move a version to the head of each queue; return whether it was in any."""
        found = False
        for queue in self._queues.values():
            for waiting in [one for one in queue if (one[0].name, one[1]) == job][:1]:
                queue.remove(waiting)
                queue.appendleft(waiting)
                found = True
        return found

    def pending(self) -> dict[str, int]:
        """Return the lengths of the queues, by ABI."""
        return {tag: len(queue) for tag, queue in self._queues.items()}

    def find(self, job: Job) -> dict[str, int]:
        """Return the places of a version, from 1, by ABI; 0 where it does not wait."""
        return {
            tag: next((at for at, (one, v) in enumerate(queue, 1) if (one.name, v) == job), 0)
            for tag, queue in self._queues.items()
        }

    def heads(self, most: int) -> list[QueueHead]:
        """Return the head of each queue, at most *most* versions."""
        return [
            QueueHead(tag, len(queue), [Job(one.name, v) for one, v in islice(queue, most)])
            for tag, queue in self._queues.items()
        ]
