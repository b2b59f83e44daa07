"""What an operator would want told: the lines of the Events screen, of ``--plain``, of the log."""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime


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
    count: int = 1


class Journal:
    """Keeps the last 5,000 entries; what comes in a flood is told as one."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=5000)
        #: How many entries there have ever been: readers remember how far they have read.
        self.count = 0

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
        """Add an entry; the third JOIN or LEFT within 4 s takes the place of those before."""
        self.add(Entry(at, kind, slave_id, label, what, detail))

    def add(self, entry: Entry) -> None:
        """Add *entry*."""
        self.entries.append(entry)
        self.count += 1
