"""The schedule of requests for watched projects: evenly spread, a few at the same time. Pure.

``now`` is monotonic time in seconds.
"""

from __future__ import annotations

import heapq
import math
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from piwheels.master.logic.failures import Failures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from piwheels.core.database.rows import WatchedRow

#: The share of the requests in flight for projects whose last requests failed: others never wait
#: for a page that arrives slowly.
FAILING_SHARE: Final = 1 / 3
#: Stands for the whole project, in place of a version.
WHOLE: Final = ""


@dataclass(slots=True)
class WatchedProject:
    """A watched project: its row in the database, and when the next request is *due*.

    *root* is the serial of the whole index at the last request (0: unknown). *idle* is the number
    of requests left out since then because that serial has not changed. *missing* are the versions
    (:data:`WHOLE`: the project) that upstream no longer has, each with the time at which that was
    first seen. *ignored* are the files without a usable version that were logged.
    """

    row: WatchedRow
    due: float
    failures: Failures
    root: int = 0
    idle: int = 0
    missing: dict[str, float] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()

    def is_unchanged(self, root: int) -> bool:
        """Return whether the project cannot have changed: *root* is the serial of the index."""
        return root != 0 and root == self.root and not self.missing

    def confirmed(self, gone: Iterable[str], now: float, after: float) -> set[str]:
        """Record what is *gone* upstream; return the part that is gone for *after* seconds."""
        self.missing = {version: self.missing.get(version, now) for version in gone}
        return {version for version, since in self.missing.items() if now - since >= after}


class PollSchedule:
    """The schedule: each project once in *interval* seconds, at most *limit* at the same time.

    Of these, at most :data:`FAILING_SHARE` (one at least) are for projects that fail.

    A project that :meth:`take_due` returns is in flight until :meth:`done` or :meth:`postpone`.
    """

    def __init__(self, interval: float, limit: int) -> None:
        self._interval = interval
        self._limit = limit
        self._projects: dict[str, WatchedProject] = {}
        self._in_flight: dict[str, WatchedProject] = {}

    def __len__(self) -> int:
        return len(self._projects)

    @property
    def in_flight(self) -> int:
        """The number of projects in flight."""
        return len(self._in_flight)

    def missing(self) -> tuple[int, int]:
        """Return how many projects are missing upstream, and how many ever existed there."""
        found = [project for project in self._projects.values() if project.row.found]
        return sum(1 for project in found if WHOLE in project.missing), len(found)

    def sync(self, rows: Iterable[WatchedRow], now: float) -> None:
        """Replace the set of projects. New ones, and those that the database has reset, are due."""
        before, self._projects = self._projects, {}
        for row in rows:
            project = before.get(row.package)
            if project is None:
                due = self._place(row.package, now) if row.found else now
                project = WatchedProject(row, due, Failures(self._interval / 2))
            elif project.row != row:
                project.row, project.due, project.root = row, now, 0
            self._projects[row.package] = project

    def _place(self, package: str, after: float) -> float:
        """Return the next turn of *package*, which has a fixed place in every interval."""
        place = zlib.crc32(package.encode()) / 2**32 * self._interval
        return place + math.ceil((after - place) / self._interval) * self._interval

    def take_due(self, now: float, limit: int) -> list[WatchedProject]:
        """Return at most *limit* projects that are due, the longest overdue first."""
        count = max(0, min(limit, self._limit - len(self._in_flight)))
        waiting = [
            project
            for package, project in self._projects.items()
            if project.due <= now and package not in self._in_flight
        ]
        failing = sum(bool(project.failures.count) for project in self._in_flight.values())
        room = max(0, min(count, max(1, int(self._limit * FAILING_SHARE)) - failing))
        chosen = [
            *_first(room, (project for project in waiting if project.failures.count)),
            *_first(count, (project for project in waiting if not project.failures.count)),
        ]
        found = _first(count, chosen)
        for project in found:
            self._in_flight[project.row.package] = project
        return found

    def done(self, project: WatchedProject, now: float) -> None:
        """Record an answer: *project* is due again at its place in the next interval."""
        self.postpone(project, self._place(project.row.package, now + self._interval / 2))

    def postpone(self, project: WatchedProject, due: float) -> None:
        """Record that *project* is no longer in flight, and is *due* again then."""
        del self._in_flight[project.row.package]
        project.due = due


def _first(count: int, projects: Iterable[WatchedProject]) -> list[WatchedProject]:
    return heapq.nsmallest(count, projects, key=lambda project: project.due)
