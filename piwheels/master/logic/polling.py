"""Which watched project is asked for next: spread over the interval, few at once, in turn. Pure.

``now`` is in seconds, of any clock that never goes back.
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

#: Of this whole project, where a version would be named.
WHOLE: Final = ""


@dataclass(slots=True)
class Poll:
    """A watched project: what is known of it, and when it is *due*.

    *root* is the serial that the whole index had when it was last asked for (0: none), *idle* how
    often since it was not asked for because of that.
    *missing* are the versions (:data:`WHOLE`: all of it) that upstream had, and has not had since
    then.
    """

    row: WatchedRow
    due: float
    failures: Failures
    root: int = 0
    idle: int = 0
    missing: dict[str, float] = field(default_factory=dict)

    def confirmed(self, gone: Iterable[str], now: float, after: float) -> set[str]:
        """Note what is *gone* upstream; return that which has been so for *after* seconds."""
        self.missing = {version: self.missing.get(version, now) for version in gone}
        return {version for version, since in self.missing.items() if now - since >= after}


class Polls:
    """The projects that are watched, each asked for every *interval* seconds, *room* at once.

    A project that is taken by :meth:`due` is out until :meth:`done` or :meth:`later`.
    """

    def __init__(self, interval: float, room: int) -> None:
        self._interval = interval
        self._room = room
        self._all: dict[str, Poll] = {}
        self._out: dict[str, Poll] = {}

    def __len__(self) -> int:
        return len(self._all)

    @property
    def out(self) -> int:
        """How many are being asked for."""
        return len(self._out)

    def missing(self) -> tuple[int, int]:
        """Return how many projects are missing upstream, and how many there are or were."""
        found = [poll for poll in self._all.values() if poll.row.found]
        return sum(1 for poll in found if WHOLE in poll.missing), len(found)

    def sync(self, rows: Iterable[WatchedRow], now: float) -> None:
        """Watch what *rows* say: a new project at once, one that was watched before in its turn."""
        before, self._all = self._all, {}
        for row in rows:
            poll = before.get(row.package)
            if poll is None:
                due = self._place(row.package, now) if row.found else now
                poll = Poll(row, due, Failures(self._interval / 2))
            self._all[row.package] = poll

    def _place(self, package: str, after: float) -> float:
        """Return the next time of *package*, which has its own place in every interval."""
        place = zlib.crc32(package.encode()) / 2**32 * self._interval
        return place + math.ceil((after - place) / self._interval) * self._interval

    def due(self, now: float, most: int) -> list[Poll]:
        """Take what is to be asked for now, at most *most*: what is overdue longest first."""
        room = min(most, self._room - len(self._out))
        waiting = (
            poll
            for package, poll in self._all.items()
            if poll.due <= now and package not in self._out
        )
        found = heapq.nsmallest(room, waiting, key=lambda poll: poll.due)
        for poll in found:
            self._out[poll.row.package] = poll
        return found

    def done(self, poll: Poll, now: float) -> None:
        """Note that *poll* is answered: it is due again at its place in the next interval."""
        self.later(poll, self._place(poll.row.package, now + self._interval / 2))

    def later(self, poll: Poll, due: float) -> None:
        """Note that *poll* is not out any more, and is *due* again then."""
        del self._out[poll.row.package]
        poll.due = due
