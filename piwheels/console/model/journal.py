"""What an operator would want told: the lines of the Events screen, of ``--plain``, of the log."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

#: How many entries are kept.
_KEPT: Final = 5000
#: So many of one sort within so long are a flood; so many of them are named.
_MANY: Final = 3
_FLOOD: Final = timedelta(seconds=4)
_NAMED: Final = 5
_ZERO: Final = timedelta()


class Kind(StrEnum):
    """What an entry is about: the KIND column."""

    COMMAND = "CMD"
    ACK = "ACK"
    DONE = "DONE"
    FAIL = "FAIL"
    WARN = "WARN"
    JOIN = "JOIN"
    LEFT = "LEFT"
    LINK = "LINK"
    MASTER = "MSTR"
    CRITICAL = "CRIT"


_PLURAL: Final = {Kind.JOIN: "joined", Kind.LEFT: "left"}


class Entry(NamedTuple):
    """One line: when (this machine's clock), what kind, about which slave, what, and details.

    All texts are fit to be shown. *count* is of how many the entry tells (37 slaves joined).
    """

    at: datetime
    kind: Kind
    slave_id: int | None
    label: str
    what: str
    detail: str = ""
    count: int = 1  # type: ignore[assignment]  # nobody counts in a tuple


class _Flood(NamedTuple):
    """Entries of one sort since *begun*: whose, the numbers of those that stand, how many."""

    begun: datetime
    labels: tuple[str, ...]
    numbers: tuple[int, ...]
    size: int


class Journal:
    """Keeps the last 5,000 entries; what comes in a flood is told as one."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=_KEPT)
        #: How many entries there have ever been: readers remember how far they have read.
        self.count = 0
        #: The entries' numbers, by which they are told apart: the first was 0.
        self._numbers: deque[int] = deque(maxlen=_KEPT)
        self._floods: dict[tuple[Kind, str], _Flood] = {}

    def note(
        self,
        at: datetime,
        kind: Kind,
        what: str,
        *,
        slave_id: int | None = None,
        label: str = "",
        detail: str = "",
    ) -> None:
        """Add an entry; the third JOIN or LEFT within 4 s takes the place of those before.

        So does the third equal WARN or CRIT, but for their details.
        """
        self.add(Entry(at, kind, slave_id, label, what, detail))

    def add(self, entry: Entry) -> None:
        """Add *entry*, or tell of all of its sort in one."""
        sort = _sort_of(entry)
        if sort is not None:
            entry = self._merged(entry, sort)
        self.entries.append(entry)
        self._numbers.append(self.count)
        self.count += 1

    def since(self, count: int) -> list[tuple[int, Entry]]:
        """Return the entries, with their numbers, that came when there had been *count* before."""
        found: list[tuple[int, Entry]] = []
        for number, entry in zip(reversed(self._numbers), reversed(self.entries), strict=True):
            if number < count:
                break
            found.append((number, entry))
        return found[::-1]

    def _merged(self, entry: Entry, sort: tuple[Kind, str]) -> Entry:
        """Return *entry*, or one for all of the flood that it is in; the others' go."""
        flood = self._floods.get(sort)
        if flood is None or not _ZERO <= entry.at - flood.begun <= _FLOOD:
            self._floods[sort] = _Flood(entry.at, (entry.label,), (self.count,), 1)
            return entry
        labels, count = flood.labels, flood.size + 1
        if len(labels) < _NAMED:
            labels += (entry.label,)
        if count < _MANY:
            numbers = (*flood.numbers, self.count)
            self._floods[sort] = flood._replace(labels=labels, numbers=numbers, size=count)
            return entry
        self._drop(flood.numbers)
        self._floods[sort] = _Flood(flood.begun, labels, (self.count,), count)
        more = f" and {count - len(labels):,} more" if count > len(labels) else ""
        what = _PLURAL.get(entry.kind, entry.what)
        return Entry(
            entry.at, entry.kind, None, f"{count:,} slaves", what, ", ".join(labels) + more, count
        )

    def _drop(self, numbers: tuple[int, ...]) -> None:
        """Remove the entries of these numbers, which are among the newest."""
        for place in range(len(self._numbers) - 1, -1, -1):
            if self._numbers[place] in numbers:
                del self._numbers[place], self.entries[place]
            elif self._numbers[place] < numbers[0]:
                break


def _sort_of(entry: Entry) -> tuple[Kind, str] | None:
    """Return what an entry has in common with others that may be told with it, if it may."""
    if entry.slave_id is None:
        return None
    if entry.kind in (Kind.JOIN, Kind.LEFT):
        return entry.kind, ""
    return (entry.kind, entry.what) if entry.kind in (Kind.WARN, Kind.CRITICAL) else None
