"""Whether this machine has room for another build: it measures, and admission.py decides."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from piwheels.core.host.machine import slave_stats
from piwheels.core.program.builds import AUTO, MAX_JOBS
from piwheels.slave.admission import Needs, Running, Use, memory_limit, why_not
from piwheels.slave.limits import machine_memory

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from piwheels.slave.worker import Worker

#: Seconds between two measurements: of the machine, and of the memory of builds, which is slower.
MACHINE_WAIT, MEMORY_WAIT = 1.0, 5.0


def lanes_for(jobs: int) -> range:
    """Return the numbers of the lanes for *jobs* builds at once; only 0 for a single one."""
    count = min(_cores() + 1, MAX_JOBS) if jobs == AUTO else jobs
    return range(1, count + 1) if count > 1 else range(1)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


class Room:
    """The room for builds of *workers* in *folder*; *jobs* is their number, or :data:`AUTO`."""

    def __init__(self, workers: list[Worker], jobs: int, folder: Path) -> None:
        self._workers, self._jobs, self._folder = workers, jobs, folder
        self._needs = Needs()
        self._least_swapped: float = math.inf
        self._use = Use(_cores(), 0.0, machine_memory(), 0, 0, 0)
        self._machine_at = self._memory_at = -math.inf

    def look(self, now: float, at: datetime) -> None:
        """Measure, if it is time and the room depends on it.

        *now* is in monotonic seconds, *at* is the same moment for people.
        """
        if self._jobs != AUTO:
            return
        if now >= self._memory_at:
            self._memory_at = now + MEMORY_WAIT
            for worker in self._workers:
                worker.measure()
        if now >= self._machine_at:
            self._machine_at = now + MACHINE_WAIT
            self._use = self._measure(at)

    def why_not(self) -> str:
        """Return why no further build may begin; ``""``: one may."""
        if self._jobs != AUTO:
            return ""
        return why_not(self._use, self._running(), self._needs.of())

    def memory_limit(self, worker: Worker) -> int:
        """Return how much memory the build may use that *worker* begins now."""
        running = self._running(without=worker)
        return memory_limit(self._use.memory, running, 0 if self._jobs == AUTO else self._jobs)

    def learn(self, worker: Worker) -> None:
        """Remember what the build of *worker* has needed: it has ended."""
        if worker.builder is not None and worker.most_memory:
            self._needs.learn(worker.builder.package, worker.most_memory)

    def _running(self, without: Worker | None = None) -> list[Running]:
        others = (each for each in self._workers if each is not without)
        return [
            Running(each.memory, self._needs.of(each.builder.package if each.builder else ""))
            for each in others
            if each.works or each.asks
        ]

    def _measure(self, at: datetime) -> Use:
        stats = slave_stats(self._folder, at)
        swapped = stats.swap_size - stats.swap_free
        self._least_swapped = min(swapped, self._least_swapped)
        return self._use._replace(
            load=stats.load_average,
            memory=stats.mem_size or self._use.memory,
            memory_free=stats.mem_free,
            swapped=swapped - int(self._least_swapped),
            disk_free=stats.disk_free,
        )
