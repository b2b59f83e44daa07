"""The build queue: the versions to build that are not being built, leased or deleted. Pure."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from piwheels.core.states import Instant, Pending
    from piwheels.master.logic.effects import Assignment

#: A version of a package.
Job = tuple[str, str]

#: The seconds after which a build that could not be stored, or was skipped, is repeated; the most
#: of them, because each further time in a row doubles them if the build could not be stored; how
#: many versions are remembered for that.
RETRY, LONGEST_RETRY, MAX_UNSTORED = 300.0, 86_400.0, 10_000
#: The most seconds that a queue takes from the database to SlaveDriver.
MAX_QUEUE_AGE = 5.0
#: The seconds after which a slave may confirm its own failure (sql/views/build_opinions.sql).
DAY: Final = 86_400.0


class Failure(NamedTuple):
    """The first failure of a version: *owner* may confirm it from *due* (monotonic) on."""

    owner: str
    due: float

    def may_confirm(self, owner: str, now: float) -> bool:
        """Return whether a slave of *owner* may give the second opinion."""
        return owner != self.owner or now >= self.due


def failure_of(pending: Pending, instant: Instant) -> Failure | None:
    """Return the failure of a version that needs a second opinion; ``None``: it needs a first."""
    if pending.failed_by is None or pending.failed_at is None:
        return None
    age = (instant.at - pending.failed_at).total_seconds()
    return Failure(pending.failed_by, instant.now + DAY - age)


class Queue:
    """The versions to build for each active ABI, in the order in which TheArchitect reads them.

    Those that need a second opinion are at the end.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, deque[Job]] = {}
        #: The first failures of the versions that need a second opinion.
        self.failures: dict[Assignment, Failure] = {}
        #: Versions that are being built or stored, and how many slaves have each: one, unless a
        #: slave returned with a build after its version had been handed out again.
        self.active: Counter[Assignment] = Counter()
        #: The time (monotonic) until which a version waits: an earlier master handed it out, or its
        #: build could not be stored, or was skipped.
        self.leased: dict[Assignment, float] = {}
        #: How often in a row the build of a version could not be stored.
        self._unstored: Counter[Assignment] = Counter()
        #: Whether the database may have more to build, because a version was taken or returned.
        self.stale = True
        # When builds ended, for some seconds: a queue that was read before may still contain them.
        self._ended: dict[Assignment, float] = {}
        # Versions deleted since the last queue arrived: they may still be in it.
        self._deleted: set[tuple[str, str | None]] = set()

    def replace(
        self,
        queues: Mapping[str, Sequence[Job]],
        again: Iterable[Pending] = (),
        instant: Instant | None = None,
    ) -> None:
        """Replace the queues; *again* are the versions that need a second opinion."""
        lists = {abi: list(jobs) for abi, jobs in queues.items()}
        self.failures = {}
        for each in again:
            assert instant is not None  # noqa: S101
            if (failure := failure_of(each, instant)) is not None:
                self.failures[each[:3]] = failure
                lists.setdefault(each.abi_tag, []).append(each[:2])
        old = self._ended.keys() & {(*job, abi) for abi, jobs in lists.items() for job in jobs}
        self.jobs = {
            abi: deque(job for job in jobs if not self.is_deleted(job) and (*job, abi) not in old)
            for abi, jobs in lists.items()
        }
        self._deleted.clear()
        self.stale = bool(old)  # unless the queue is old, they have to be built again

    def take_leases(self, leases: Mapping[Assignment, float], now: float) -> None:
        """Record the leases that an earlier master has granted, with their remaining seconds."""
        for assignment, remaining in leases.items():
            if remaining > 0 and assignment not in self.active:
                self.leased[assignment] = now + remaining

    def next(
        self, abi: str, now: float, avoid: Container[Assignment] = (), owner: str = ""
    ) -> Job | None:
        """Remove and return the next version for *abi* that no slave builds, or ``None``.

        The versions to *avoid* stay for other slaves, and so does what *owner* may not confirm.
        """
        queue = self.jobs.get(abi)
        kept: list[Job] = []
        found = None
        while queue and found is None:
            job = queue.popleft()
            assignment = (*job, abi)
            failure = self.failures.get(assignment)
            if assignment in avoid or (failure and not failure.may_confirm(owner, now)):
                kept.append(job)
                continue
            self.stale = True
            if self.leased.get(assignment, now) <= now and assignment not in self.active:
                found = job
        if queue is not None:
            queue.extendleft(reversed(kept))
        return found

    def waiting(self, abi: str) -> Iterator[Job]:
        """Yield the versions for *abi* that no slave builds, in order."""
        return (job for job in self.jobs.get(abi, ()) if (*job, abi) not in self.active)

    def start(self, assignment: Assignment) -> None:
        """Record that a slave, or one more, builds *assignment*."""
        self.active[assignment] += 1
        self.leased.pop(assignment, None)

    def abandon(self, assignment: Assignment) -> None:
        """Record that a slave no longer builds *assignment*."""
        self.active[assignment] -= 1
        if self.active[assignment] <= 0:
            del self.active[assignment]
        self.stale = True

    def postpone(self, assignment: Assignment, now: float) -> None:
        """Record that a slave no longer builds *assignment*, which waits :data:`RETRY` seconds."""
        self.abandon(assignment)
        self.leased[assignment] = now + RETRY

    def finish(self, assignment: Assignment, now: float, *, logged: bool) -> None:
        """Record the end of a build. Not *logged*, its version waits, longer each time."""
        stale = self.stale
        self.abandon(assignment)
        self.stale = stale  # the database reports the change itself
        if logged:
            self._unstored.pop(assignment, None)
            self._ended[assignment] = now
            if (queue := self.jobs.get(assignment[2])) and assignment[:2] in queue:
                queue.remove(assignment[:2])  # it was read before
            return
        if len(self._unstored) >= MAX_UNSTORED:
            self._unstored.clear()
        self._unstored[assignment] += 1
        pause = RETRY * 2 ** min(self._unstored[assignment] - 1, 20)
        self.leased[assignment] = now + min(pause, LONGEST_RETRY)

    def put_back(self, assignment: Assignment) -> None:
        """Return *assignment* to the head of its queue; to the end if it needs a second opinion."""
        queue = self.jobs.get(assignment[2])
        job = assignment[:2]
        if queue is None or job in queue or self.is_deleted(job):
            return
        if assignment in self.failures:
            queue.append(job)
        else:
            queue.appendleft(job)

    def delete(self, package: str, version: str | None) -> None:
        """Remove a version of *package* (``None``: all), also from a queue that is on its way."""
        self._deleted.add((package, version))
        for abi, jobs in self.jobs.items():
            self.jobs[abi] = deque(job for job in jobs if not self.is_deleted(job))

    def is_deleted(self, job: Job) -> bool:
        """Return whether *job* was deleted since the last queue arrived."""
        return bool(self._deleted) and not self._deleted.isdisjoint({(job[0], None), job})

    def tick(self, now: float) -> None:
        """Forget waiting times that have passed."""
        self.leased = {
            assignment: until for assignment, until in self.leased.items() if until > now
        }
        self._ended = {
            assignment: at for assignment, at in self._ended.items() if now - at < MAX_QUEUE_AGE
        }
