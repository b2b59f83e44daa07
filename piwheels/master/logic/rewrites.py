"""Which pages wait to be written: buffered, each package once, a few at a time. Pure.

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

#: How often a page is tried before it is given up for a while.
ATTEMPTS: Final = 4
#: Seconds after a failure until it is tried again; twice as many after the next.
_BACK_OFF: Final = 10.0


@dataclass(slots=True)
class Rewrite:
    """The pages of *package* wait to be written since *added_at*, but not before *due*.

    *command* is ``PROJECT`` (the page for people) or ``BOTH`` (the simple index too). *handed_at*
    is when they were last handed out; *saved* says whether the database knows of all that.
    """

    package: str
    command: str
    added_at: datetime
    due: float
    saved: bool = False
    attempts: int = 0
    handed_at: float | None = None

    @property
    def row(self) -> RewritePendingRow:
        """The rewrite as the database notes it."""
        return RewritePendingRow(self.package, self.added_at, self.command)

    def merge(self, other: Rewrite) -> None:
        """Let this one stand for *other*, of the same package, too: ``BOTH`` wins."""
        if other.command == "BOTH" and self.command != "BOTH":
            # What the database has noted is less than what is wanted now.
            self.command, self.saved = "BOTH", other.saved
        self.added_at = min(self.added_at, other.added_at)
        self.due = min(self.due, other.due)


class Rewrites:
    """The buffer: a rewrite waits *delay* seconds for others of its package.

    At most *room* rewrites are out at a time.

    What is handed out by :meth:`due` ends by :meth:`done` or :meth:`failed`; until then its package
    is not handed out again, and what is asked for it meanwhile waits for its own turn.
    """

    def __init__(self, delay: float, room: int = 4) -> None:
        self._delay = delay
        self._room = room
        # By age: what is asked for again keeps its place, what has failed goes to the end.
        self._waiting: dict[str, Rewrite] = {}
        self._out: dict[str, Rewrite] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._out)

    def __contains__(self, package: str) -> bool:
        return package in self._waiting or package in self._out

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
        """Note that the pages of *package* are to be written; return what stands for that.

        *added_at* is the time of the request, for the note in the database.
        *urgent*: without delay, and before all that waits.
        """
        due = now if urgent else now + self._delay
        rewrite = self._put(Rewrite(package, command, added_at, due=due, saved=saved))
        if urgent:
            self._waiting = {package: rewrite, **self._waiting}
        return rewrite

    def load(self, rows: Iterable[RewritePendingRow], now: float) -> int:
        """Take over what the database has noted; return of how many packages nothing was known.

        Those have waited long enough; others keep their turn, and what is out is seen to already.
        """
        rows = [row for row in rows if row.package not in self._out]
        new = {row.package for row in rows} - self._waiting.keys()
        for row in sorted(rows, key=lambda row: row.added_at):
            due = now if row.package in new else now + self._delay
            self._put(Rewrite(row.package, row.command, row.added_at, due=due, saved=True))
        return len(new)

    def due(self, now: float) -> list[Rewrite]:
        """Hand out what is to be written now, oldest first, as far as there is room."""
        found: list[Rewrite] = []
        for rewrite in self._waiting.values():
            if len(self._out) + len(found) >= self._room:
                break
            if rewrite.due <= now and rewrite.package not in self._out:
                found.append(rewrite)
        for rewrite in found:
            del self._waiting[rewrite.package]
            rewrite.handed_at = now
            rewrite.attempts += 1
            self._out[rewrite.package] = rewrite
        return found

    def wait(self, now: float) -> float:
        """Return for how many seconds :meth:`due` has nothing to hand out.

        Only the oldest that can be is looked at; one behind it may be due sooner (it has failed).
        """
        if len(self._out) < self._room:
            for rewrite in self._waiting.values():
                if rewrite.package not in self._out:
                    return max(0.0, rewrite.due - now)
        return math.inf

    def done(self, rewrite: Rewrite) -> None:
        """Note that *rewrite* is written."""
        self._out.pop(rewrite.package, None)

    def failed(self, rewrite: Rewrite, now: float) -> bool:
        """Note that *rewrite* could not be written; tell whether it will be tried again.

        It will after 10 s, 20 s and 40 s, and then not any more.
        """
        self._out.pop(rewrite.package, None)
        if rewrite.attempts >= ATTEMPTS:
            return False
        rewrite.due = now + _BACK_OFF * 2 ** (rewrite.attempts - 1)
        self._put(rewrite)
        return True

    def overdue(self, now: float, limit: float) -> list[Rewrite]:
        """Return what has been out for longer than *limit* seconds."""
        return [
            rewrite
            for rewrite in self._out.values()
            if rewrite.handed_at is not None and now - rewrite.handed_at > limit
        ]

    def drop(self, package: str) -> None:
        """Forget what waits for *package*: it has been removed."""
        self._waiting.pop(package, None)

    def _put(self, rewrite: Rewrite) -> Rewrite:
        waiting = self._waiting.setdefault(rewrite.package, rewrite)
        if waiting is not rewrite:
            waiting.merge(rewrite)
        return waiting
