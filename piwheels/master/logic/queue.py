"""What comes next: the queues of versions to build, less what is under way, leased or deleted."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from piwheels.core.database.rows import Lease
    from piwheels.master.logic.effects import Target

#: A version of a package.
Job = tuple[str, str]

#: After what time a build that could not be taken in, or was skipped, is tried again.
RETRY = timedelta(minutes=5)
#: How long a queue may be under way from the database to us.
LATE = timedelta(seconds=5)


class Queue:
    """For each active ABI what needs building, first things first, as TheArchitect reads it."""

    def __init__(self) -> None:
        self.jobs: dict[str, deque[Job]] = {}
        #: What is being built or taken in.
        self.active: set[Target] = set()
        #: Until when a build waits that an earlier master handed out, that was not taken in, or
        #: was skipped.
        self.leased: dict[Target, datetime] = {}
        #: Builds whose lease has expired: anybody's, unless its slave comes back first.
        self.lapsed: set[Target] = set()
        #: Whether there may be more to build than the queues have: some was taken or given back.
        self.stale = True
        # Builds that ended a moment ago: a queue that was read before their commit still has them.
        self._ended: dict[Target, datetime] = {}
        # What was deleted since the last queue came, and so may still be in it.
        self._deleted: set[tuple[str, str | None]] = set()

    def replace(self, queues: Mapping[str, Sequence[Job]]) -> None:
        """Take new queues in the place of the old ones."""
        self.jobs = {
            abi: deque(job for job in jobs if not self.is_deleted(job))
            for abi, jobs in queues.items()
        }
        self._deleted.clear()
        self.stale = False

    def take_leases(self, leases: Iterable[Lease], now: datetime) -> None:
        """Learn what an earlier master has handed out: it stays so until slave or end comes."""
        for lease in leases:
            target = (lease.package, lease.version, lease.abi_tag)
            if lease.expires <= now:
                self.lapsed.add(target)
            elif target not in self.active:
                self.leased[target] = lease.expires

    def next(self, abi: str, now: datetime) -> Job | None:
        """Take the next version for *abi* that nobody builds, or ``None``."""
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
        """Give the versions for *abi* that nobody builds, in order."""
        return (job for job in self.jobs.get(abi, ()) if (*job, abi) not in self.active)

    def may_resume(self, target: Target) -> bool:
        """Return whether a slave that says that it builds *target* still may.

        It may if that was leased or waits in the queue, and nobody else is at it.
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
        """Note that *target* is not being built any more, nor taken in."""
        self.active.discard(target)
        self.stale = True

    def put_off(self, target: Target, now: datetime) -> None:
        """Note that *target* is not being built any more, and is not to be for a while."""
        self.give_up(target)
        self.leased[target] = now + RETRY

    def finish(self, target: Target, now: datetime, *, logged: bool) -> None:
        """Note that *target* is done; or, if it could not be *logged*, that it waits a while."""
        self.active.discard(target)
        self._ended[target] = now
        if not logged:
            self.leased[target] = now + RETRY

    def put_back(self, target: Target) -> None:
        """Have *target* come next again, before the database's queue is read anew."""
        queue = self.jobs.get(target[2])
        job = target[:2]
        if queue is not None and job not in queue and not self.is_deleted(job):
            queue.appendleft(job)

    def delete(self, package: str, version: str | None) -> None:
        """Forget a version of *package*, or (``None``) all of it, also in what comes late."""
        self._deleted.add((package, version))
        for abi, jobs in self.jobs.items():
            self.jobs[abi] = deque(job for job in jobs if not self.is_deleted(job))

    def is_deleted(self, job: Job) -> bool:
        """Whether *job* was deleted a moment ago."""
        return bool(self._deleted) and not self._deleted.isdisjoint({(job[0], None), job})

    def tick(self, now: datetime) -> None:
        """Drop what time has settled."""
        self.leased = {target: until for target, until in self.leased.items() if until > now}
        self._ended = {target: at for target, at in self._ended.items() if now - at < LATE}
