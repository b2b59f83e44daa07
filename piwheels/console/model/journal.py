"""The journal: the lines of the Events screen and of ``--plain``."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

#: The number of entries that are kept.
_KEPT: Final = 5000
#: This many similar entries within this time are merged into one, which names this many slaves.
_MANY: Final = 3
_FLOOD: Final = timedelta(seconds=4)
_NAMED: Final = 5
_ZERO: Final = timedelta()


class Kind(StrEnum):
    """The kind of an entry: the KIND column."""

    COMMAND = "CMD"
    ACK = "ACK"
    DONE = "DONE"
    FAIL = "FAIL"
    PUT_OFF = "WAIT"  # a failure of the farm: the build is repeated
    WARN = "WARN"
    JOIN = "JOIN"
    LEFT = "LEFT"
    LINK = "LINK"
    MASTER = "MSTR"
    CRITICAL = "CRIT"


_PLURAL: Final = {Kind.JOIN: "joined", Kind.LEFT: "left"}


class Entry(NamedTuple):
    """A line: its console time, kind, slave, text and details.

    All texts are cleaned for display. *count* is the number of slaves (37 slaves joined).
    """

    at: datetime
    kind: Kind
    slave_id: int | None
    label: str
    what: str
    detail: str = ""
    count: int = 1  # type: ignore[assignment]  # hides tuple.count


class _Flood(NamedTuple):
    """Similar entries since *begun*: their labels, numbers in the journal, and how many."""

    begun: datetime
    labels: tuple[str, ...]
    numbers: tuple[int, ...]
    size: int


class Journal:
    """The last 5,000 entries; a flood of similar ones becomes one."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=_KEPT)
        #: The number of all entries so far: readers remember how far they have read.
        self.count = 0
        #: The numbers of the entries; the first was 0.
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
        """Add an entry; the third JOIN or LEFT within 4 s replaces the first two.

        So does the third WARN or CRIT that is equal except for its details.
        """
        self.add(Entry(at, kind, slave_id, label, what, detail))

    def add(self, entry: Entry) -> None:
        """Add *entry*, merged with similar ones."""
        topic = _topic(entry)
        if topic is not None:
            entry = self._merged(entry, topic)
        self.entries.append(entry)
        self._numbers.append(self.count)
        self.count += 1

    def since(self, count: int) -> list[tuple[int, Entry]]:
        """Return the entries from number *count* on, with their numbers."""
        found: list[tuple[int, Entry]] = []
        for number, entry in zip(reversed(self._numbers), reversed(self.entries), strict=True):
            if number < count:
                break
            found.append((number, entry))
        return found[::-1]

    def _merged(self, entry: Entry, topic: tuple[Kind, str]) -> Entry:
        """Return *entry*, or one that replaces all entries of its flood."""
        flood = self._floods.get(topic)
        if flood is None or not _ZERO <= entry.at - flood.begun <= _FLOOD:
            self._floods[topic] = _Flood(entry.at, (entry.label,), (self.count,), 1)
            return entry
        labels, count = flood.labels, flood.size + 1
        if len(labels) < _NAMED:
            labels += (entry.label,)
        if count < _MANY:
            numbers = (*flood.numbers, self.count)
            self._floods[topic] = flood._replace(labels=labels, numbers=numbers, size=count)
            return entry
        self._drop(flood.numbers)
        self._floods[topic] = _Flood(flood.begun, labels, (self.count,), count)
        more = f" and {count - len(labels):,} more" if count > len(labels) else ""
        what = _PLURAL.get(entry.kind, entry.what)
        return Entry(
            entry.at, entry.kind, None, f"{count:,} slaves", what, ", ".join(labels) + more, count
        )

    def _drop(self, numbers: tuple[int, ...]) -> None:
        """Remove the entries with these numbers, which are among the newest."""
        for place in range(len(self._numbers) - 1, -1, -1):
            if self._numbers[place] in numbers:
                del self._numbers[place], self.entries[place]
            elif self._numbers[place] < numbers[0]:
                break


def _topic(entry: Entry) -> tuple[Kind, str] | None:
    """Return the topic by which an entry may be merged; ``None``: it may not."""
    if entry.slave_id is None:
        return None
    if entry.kind in (Kind.JOIN, Kind.LEFT):
        return entry.kind, ""
    return (entry.kind, entry.what) if entry.kind in (Kind.WARN, Kind.CRITICAL) else None
