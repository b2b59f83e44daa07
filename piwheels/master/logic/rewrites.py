"""The buffer of pages to rewrite: each package once, a few at the same time. Pure.

``now`` and ``due`` are seconds of the monotonic clock; ``added_at`` is a timestamp for people.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from piwheels.core.database.rows import RewritePendingRow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

#: How often the pages of a package are tried before they wait for the next scan of the database.
ATTEMPTS: Final = 4
#: The seconds before the first retry; each further delay is twice as long.
_BACK_OFF: Final = 10.0


@dataclass(slots=True)
class Rewrite:
    """A request of *added_at* to write the pages of *package*, not before *due*.

    *command* is ``PROJECT`` (the project page) or ``BOTH`` (the simple index, too). *saved* tells
    whether the database has a note of it.
    """

    package: str
    command: str
    added_at: datetime
    due: float
    saved: bool = False
    attempts: int = 0

    @property
    def row(self) -> RewritePendingRow:
        """The row of the rewrite in the database."""
        return RewritePendingRow(self.package, self.added_at, self.command)

    def merge(self, other: Rewrite) -> None:
        """Include *other*, a rewrite of the same package: ``BOTH`` includes ``PROJECT``."""
        if other.command == "BOTH" and self.command != "BOTH":
            # The note in the database, if any, requests less than is requested now.
            self.command, self.saved = "BOTH", other.saved
        self.added_at = min(self.added_at, other.added_at)
        self.due = min(self.due, other.due)


class Rewrites:
    """The buffer: a rewrite waits *delay* seconds for others of the same package.

    A rewrite that :meth:`take_due` returns is in flight until :meth:`done` or :meth:`failed`. At
    most *limit* are in flight. A request for a package in flight waits until its rewrite has ended.
    """

    def __init__(self, delay: float, limit: int = 4) -> None:
        self._delay = delay
        self._limit = limit
        # By age: a repeated request keeps its place, a failed rewrite goes to the end.
        self._waiting: dict[str, Rewrite] = {}
        self._in_flight: dict[str, Rewrite] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_flight)

    def __contains__(self, package: str) -> bool:
        return package in self._waiting or package in self._in_flight

    def add(
        self,
        package: str,
        command: str,
        now: float,
        added_at: datetime,
        *,
        saved: bool = False,
        urgent: bool = False,
    ) -> Rewrite:
        """Request the pages of *package*; return the rewrite that includes the request.

        *added_at* is the time of the request, for the note in the database. An *urgent* rewrite has
        no delay, and precedes all others.
        """
        due = now if urgent else now + self._delay
        rewrite = self._put(Rewrite(package, command, added_at, due=due, saved=saved))
        if urgent:
            self._waiting = {package: rewrite, **self._waiting}
        return rewrite

    def load(self, rows: Iterable[RewritePendingRow], now: float) -> int:
        """Add the rewrites that the database has noted; return how many packages are new here.

        The new ones are due now; others keep their turn, and packages in flight are ignored.
        """
        rows = [row for row in rows if row.package not in self._in_flight]
        new = {row.package for row in rows} - self._waiting.keys()
        for row in sorted(rows, key=lambda row: row.added_at):
            due = now if row.package in new else now + self._delay
            self._put(Rewrite(row.package, row.command, row.added_at, due=due, saved=True))
        return len(new)

    def take_due(self, now: float) -> list[Rewrite]:
        """Return the rewrites to carry out now, oldest first, up to the limit."""
        found: list[Rewrite] = []
        for rewrite in self._waiting.values():
            if len(self._in_flight) + len(found) >= self._limit:
                break
            if rewrite.due <= now and rewrite.package not in self._in_flight:
                found.append(rewrite)
        for rewrite in found:
            del self._waiting[rewrite.package]
            rewrite.attempts += 1
            self._in_flight[rewrite.package] = rewrite
        return found

    def seconds_until_due(self, now: float) -> float:
        """Return the seconds until :meth:`take_due` has a rewrite to return.

        Only the oldest possible rewrite counts; a later one may be due sooner, after a failure.
        """
        if len(self._in_flight) < self._limit:
            for rewrite in self._waiting.values():
                if rewrite.package not in self._in_flight:
                    return max(0.0, rewrite.due - now)
        return math.inf

    def done(self, rewrite: Rewrite) -> None:
        """Record that *rewrite* has been carried out."""
        self._in_flight.pop(rewrite.package, None)

    def failed(self, rewrite: Rewrite, now: float) -> bool:
        """Record a failure of *rewrite*; return whether there will be a retry.

        There are retries after 10 s, 20 s and 40 s.
        """
        self._in_flight.pop(rewrite.package, None)
        if rewrite.attempts >= ATTEMPTS:
            return False
        rewrite.due = now + _BACK_OFF * 2 ** (rewrite.attempts - 1)
        self._put(rewrite)
        return True

    def drop(self, package: str) -> None:
        """Forget the waiting rewrite of *package*, which has been removed."""
        self._waiting.pop(package, None)

    def _put(self, rewrite: Rewrite) -> Rewrite:
        waiting = self._waiting.setdefault(rewrite.package, rewrite)
        if waiting is not rewrite:
            waiting.merge(rewrite)
        return waiting
