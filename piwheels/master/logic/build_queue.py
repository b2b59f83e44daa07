"""The build queue: versions to build, without those that are being built, leased or deleted."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from piwheels.master.logic.effects import Target

#: A version of a package.
Job = tuple[str, str]

#: After how many seconds a build that could not be stored, or was skipped, is tried again.
RETRY = 300.0
#: How many seconds a queue may take from the database to SlaveDriver.
LATE = 5.0


class Queue:
    """The versions to build for each active ABI, in their order, as TheArchitect reads them."""

    def __init__(self) -> None:
        self.jobs: dict[str, deque[Job]] = {}
        #: Versions that are being built or stored.
        self.active: set[Target] = set()
        #: Until when (monotonic) a version waits: an earlier master handed it out, or it could not
        #: be stored, or it was skipped.
        self.leased: dict[Target, float] = {}
        #: Versions whose lease has expired: their slave may come back and go on, until another
        #: slave gets the version.
        self.lapsed: set[Target] = set()
        #: Whether there may be more to build than the queues have: some was taken or given back.
        self.stale = True
        # When builds ended lately: a queue that was read before their commit still has them.
        self._ended: dict[Target, float] = {}
        # Versions deleted since the last queue came: they may still be in it.
        self._deleted: set[tuple[str, str | None]] = set()

    def replace(self, queues: Mapping[str, Sequence[Job]]) -> None:
        """Replace the queues."""
        self.jobs = {
            abi: deque(job for job in jobs if not self.is_deleted(job))
            for abi, jobs in queues.items()
        }
        self._deleted.clear()
        self.stale = False

    def take_leases(self, leases: Mapping[Target, float], now: float) -> None:
        """Note the builds that an earlier master has handed out, with the seconds that are left."""
        for target, remaining in leases.items():
            if remaining <= 0:
                self.lapsed.add(target)
            elif target not in self.active:
                self.leased[target] = now + remaining

    def next(self, abi: str, now: float) -> Job | None:
        """Remove and return the next version for *abi* that nobody builds, or ``None``."""
        queue = self.jobs.get(abi)
        while queue:
            job = queue.popleft()
            self.stale = True
            target = (*job, abi)
            free = self.leased.get(target, now) <= now and target not in self._ended
            if free and target not in self.active:
                return job
        return None

    def waiting(self, abi: str) -> Iterator[Job]:
        """Yield the versions for *abi* that nobody builds, in order."""
        return (job for job in self.jobs.get(abi, ()) if (*job, abi) not in self.active)

    def may_resume(self, target: Target) -> bool:
        """Return whether a slave that still builds *target* may go on with it.

        It may if that was leased or waits in the queue, and nobody else builds it.
        """
        leased = target in self.leased or target in self.lapsed
        waits = target[:2] in self.jobs.get(target[2], ())
        return (leased or waits) and target not in self.active

    def start(self, target: Target) -> None:
        """Note that *target* is being built."""
        self.active.add(target)
        self.leased.pop(target, None)
        self.lapsed.discard(target)

    def give_up(self, target: Target) -> None:
        """Note that *target* is neither being built nor stored any more."""
        self.active.discard(target)
        self.stale = True

    def put_off(self, target: Target, now: float) -> None:
        """Note that *target* is not being built any more, and has to wait a while."""
        self.give_up(target)
        self.leased[target] = now + RETRY

    def finish(self, target: Target, now: float, *, logged: bool) -> None:
        """Note that *target* is done; or, if it could not be *logged*, has to wait a while."""
        self.active.discard(target)
        self._ended[target] = now
        if not logged:
            self.leased[target] = now + RETRY

    def put_back(self, target: Target) -> None:
        """Put *target* in the first place again."""
        queue = self.jobs.get(target[2])
        job = target[:2]
        if queue is not None and job not in queue and not self.is_deleted(job):
            queue.appendleft(job)

    def delete(self, package: str, version: str | None) -> None:
        """Remove a version of *package* (``None``: all), also from a queue that was read before."""
        self._deleted.add((package, version))
        for abi, jobs in self.jobs.items():
            self.jobs[abi] = deque(job for job in jobs if not self.is_deleted(job))

    def is_deleted(self, job: Job) -> bool:
        """Return whether *job* was deleted since the last queue came."""
        return bool(self._deleted) and not self._deleted.isdisjoint({(job[0], None), job})

    def tick(self, now: float) -> None:
        """Forget waiting times that are over."""
        self.leased = {target: until for target, until in self.leased.items() if until > now}
        self._ended = {target: at for target, at in self._ended.items() if now - at < LATE}
