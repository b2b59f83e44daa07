"""The build queue: the builds that are needed, and not under way, leased or deleted. Pure.

Its rows are those of the table ``build_queue`` (``sql/views/builds_pending.sql``), the first ones
of each target. A slave gets the first row that it may build, of all those for its targets.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.targets import FIRST, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

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


class _End(NamedTuple):
    """When a build ended (monotonic), and the number of that attempt."""

    at: float
    attempt: int


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


def serving(target: Target) -> tuple[Target, ...]:
    """Return the targets of the rows that a slave for *target* can build."""
    return target, Target("any", target.abi), FIRST


class Queue:
    """The rows for each active target, in their order."""

    def __init__(self) -> None:
        #: The rows, by the target that they name; active targets without rows have an empty list.
        self.rows: dict[Target, list[Pending]] = {}
        # Those that slaves of one owner may not have yet, by target and owner.
        self._kept: dict[Target, dict[str, list[Pending]]] = {}
        #: The first failures of the builds that need a second opinion.
        self.failures: dict[Assignment, Failure] = {}
        #: What is being built or stored, and how many slaves have each: one, unless a slave
        #: returned with a build after it had been handed out again.
        self.active: Counter[Assignment] = Counter()
        #: The time (monotonic) until which a build waits: an earlier master handed it out, or it
        #: could not be stored, or was skipped.
        self.leased: dict[Assignment, float] = {}
        #: How often in a row a build could not be stored.
        self._unstored: Counter[Assignment] = Counter()
        #: Whether the database may have more to build, because a row was taken or returned.
        self.stale = True
        # The targets of each version that are active or leased.
        self._under_way: dict[Job, set[Target]] = {}
        # The rows that were handed out, in case their slaves are lost.
        self._taken: dict[Assignment, Pending] = {}
        # When builds ended: rows that were read before may still contain them.
        self._ended: dict[Job, dict[Target, _End]] = {}
        # Versions deleted since the last queue arrived: they may still be in it.
        self._deleted: set[tuple[str, str | None]] = set()

    # Rows -----------------------------------------------------------------------------------

    def replace(self, targets: Iterable[Target], rows: Iterable[Pending], instant: Instant) -> None:
        """Replace the rows; *targets* are the active ones."""
        self.rows = {target: [] for target in (*targets, FIRST)}
        self.failures, self._kept = {}, {}
        self.stale = False
        self._ended = {
            job: recent
            for job, ended in self._ended.items()
            if (recent := {t: e for t, e in ended.items() if instant.now - e.at < MAX_QUEUE_AGE})
        }
        for row in sorted(rows, key=_order):
            if self._is_over(row):
                self.stale = True  # unless the queue is old, it has to be built again
            elif not self.is_deleted(row[:2]):
                if (failure := failure_of(row, instant)) is not None:
                    self.failures[*row[:2], row.target] = failure
                self._list_for(row, instant.now).append(row)
        self._deleted.clear()

    def _list_for(self, row: Pending, now: float) -> list[Pending]:
        """Return the list to which *row* belongs."""
        failure = self.failures.get((*row[:2], row.target))
        if failure is None or failure.due <= now:
            return self.rows.setdefault(row.target, [])
        return self._kept.setdefault(row.target, {}).setdefault(failure.owner, [])

    def _lists(self, target: Target, owner: str) -> Iterator[list[Pending]]:
        """Yield the lists of rows that slaves of *owner* may have for *target*."""
        for where in serving(target):
            yield self.rows.get(where, [])
            yield from (rows for kept, rows in self._kept.get(where, {}).items() if kept != owner)

    def next(
        self,
        targets: Sequence[Target],
        now: float,
        avoid: Container[Assignment] = (),
        owner: str = "",
        can: Callable[[Pending], bool] = lambda _: True,
    ) -> Assignment | None:
        """Remove and return the first build for one of *targets*, or ``None``.

        What to *avoid* stays for other slaves, and so do what *owner* may not confirm, and the rows
        that the slave cannot (*can*) build. A version
        that may begin with any target is built for the first one of *targets*.
        """
        found: tuple[Pending, Target, list[Pending]] | None = None
        for target in filter(self.is_active, targets):
            for rows in self._lists(target, owner):
                for row in rows:
                    if found is not None and _order(row) >= _order(found[0]):
                        break
                    free = self._is_free(row, target, now) and (*row[:2], target) not in avoid
                    if free and can(row):
                        found = row, target, rows
                        break
        if found is None:
            return None
        row, target, rows = found
        rows.remove(row)
        self.stale = True
        assignment = *row[:2], target
        self._taken[assignment] = row
        return assignment

    def taken(self, assignment: Assignment) -> Pending | None:
        """Return the row of a build that was handed out."""
        return self._taken.get(assignment)

    def sorted(self, targets: Iterable[Target]) -> list[Target]:
        """Return *targets* in the order of the farm's."""
        places = {target: place for place, target in enumerate(self.rows)}
        last = len(places)
        return sorted(
            targets,
            key=lambda t: min(places.get(t, last), places.get(Target("any", t.abi), last)),
        )

    def is_active(self, target: Target) -> bool:
        """Return whether the farm builds for *target*."""
        return (target in self.rows and target != FIRST) or Target("any", target.abi) in self.rows

    def failure(self, assignment: Assignment) -> Failure | None:
        """Return the failure that a build of *assignment* would confirm."""
        package, version, target = assignment
        found = (self.failures.get((package, version, where)) for where in serving(target))
        return next(filter(None, found), None)

    def _is_free(self, row: Pending, target: Target, now: float) -> bool:
        """Return whether no build excludes that of *row* for *target* now."""
        job = row[:2]
        if self._is_over(row):
            return False
        if job not in self._under_way:
            return True
        busy = [
            each
            for each in self._under_way[job]
            if (*job, each) in self.active or self.leased.get((*job, each), now) > now
        ]
        if row.exclusive == "version":
            return not busy
        if row.exclusive == "platform":
            return target.platform not in {each.platform for each in busy}
        return not any(row.target in serving(each) or each in serving(target) for each in busy)

    def _is_over(self, row: Pending) -> bool:
        """Return whether a build has ended since *row* was read that may have settled it."""
        ended = self._ended.get(row[:2])
        return ended is not None and any(
            row.attempt.number <= end.attempt  # it is not what follows that build
            and (row.exclusive != "" or row.target in serving(target))
            for target, end in ended.items()
        )

    def waiting(self, target: Target, most: int) -> list[Pending]:
        """Return the first rows for *target* that no slave builds, at most *most*."""
        return list(islice(self._waiting(target), most))

    def by_abi(self, most: int) -> dict[str, tuple[int, list[Job]]]:
        """Return the number of rows for each ABI, and the first *most* versions.

        Those that may begin with any target are under ``any``.
        """
        numbers: Counter[str] = Counter()
        first: dict[str, list[Pending]] = {}
        for target, rows in self.rows.items():
            numbers[target.abi] += len(rows)
            first.setdefault(target.abi, []).extend(self.waiting(target, most))
        jobs = {
            abi: dict.fromkeys(row[:2] for row in sorted(rows, key=_order))
            for abi, rows in first.items()
        }
        return {abi: (numbers[abi], list(each)[:most]) for abi, each in jobs.items()}

    def _waiting(self, target: Target) -> Iterator[Pending]:
        for row in self.rows.get(target, ()):
            busy = self._under_way.get(row[:2], set())
            if not any((*row[:2], each) in self.active for each in busy) and not self._is_over(row):
                yield row

    # Builds ---------------------------------------------------------------------------------

    def take_leases(self, leases: Mapping[Assignment, float], now: float) -> None:
        """Record the leases that an earlier master has granted, with their remaining seconds."""
        for assignment, remaining in leases.items():
            if remaining > 0 and assignment not in self.active:
                self._wait(assignment, now + remaining)

    def start(self, assignment: Assignment) -> None:
        """Record that a slave, or one more, builds *assignment*."""
        self.active[assignment] += 1
        self.leased.pop(assignment, None)
        self._under_way.setdefault(assignment[:2], set()).add(assignment[2])

    def abandon(self, assignment: Assignment) -> None:
        """Record that a slave no longer builds *assignment*."""
        self.active[assignment] -= 1
        if self.active[assignment] <= 0:
            del self.active[assignment]
            self._release(assignment)
        self.stale = True

    def postpone(self, assignment: Assignment, now: float) -> None:
        """Record that a slave no longer builds *assignment*, which waits :data:`RETRY` seconds."""
        self.abandon(assignment)
        self._wait(assignment, now + RETRY)

    def finish(self, assignment: Assignment, now: float, *, logged: bool) -> None:
        """Record the end of a build. Not *logged*, its version waits, longer each time."""
        stale = self.stale
        self.abandon(assignment)
        self.stale = stale  # the database reports the change itself
        row = self._taken.pop(assignment, None)
        if logged:
            self._unstored.pop(assignment, None)
            end = _End(now, row.attempt.number if row else 0)
            self._ended.setdefault(assignment[:2], {})[assignment[2]] = end
            return
        if len(self._unstored) >= MAX_UNSTORED:
            self._unstored.clear()
        self._unstored[assignment] += 1
        pause = RETRY * 2 ** min(self._unstored[assignment] - 1, 20)
        self._wait(assignment, now + min(pause, LONGEST_RETRY))

    def put_back(self, assignment: Assignment, now: float) -> None:
        """Return what a lost slave was to build to its place in the queue."""
        row = self._taken.pop(assignment, None)
        if row is None or row.target not in self.rows or self.is_deleted(row[:2]):
            return
        rows = self._list_for(row, now)
        if row not in rows and not self._is_over(row):
            insort(rows, row, key=_order)

    def _wait(self, assignment: Assignment, until: float) -> None:
        self.leased[assignment] = until
        self._under_way.setdefault(assignment[:2], set()).add(assignment[2])

    def _release(self, assignment: Assignment) -> None:
        targets = self._under_way.get(assignment[:2], set())
        targets.discard(assignment[2])
        if not targets:
            self._under_way.pop(assignment[:2], None)

    def delete(self, package: str, version: str | None) -> None:
        """Remove a version of *package* (``None``: all), also from a queue that is on its way."""
        self._deleted.add((package, version))
        kept = chain.from_iterable(lists.values() for lists in self._kept.values())
        for rows in chain(self.rows.values(), kept):
            rows[:] = [row for row in rows if not self.is_deleted(row[:2])]

    def is_deleted(self, job: Job) -> bool:
        """Return whether *job* was deleted since the last queue arrived."""
        return bool(self._deleted) and not self._deleted.isdisjoint({(job[0], None), job})

    def tick(self, now: float) -> None:
        """Forget waiting times that have passed."""
        for assignment in [each for each, until in self.leased.items() if until <= now]:
            del self.leased[assignment]
            if assignment not in self.active:
                self._release(assignment)
        self._taken = {each: row for each, row in self._taken.items() if each in self.active}


def _order(row: Pending) -> tuple[int, str, str]:
    return row.due, row.package, row.version
