"""Who joins again and again: a board whose power or network is bad."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Final

#: Within how long joining is counted, and for how many boards.
_LATELY: Final = timedelta(minutes=10)
_BOARDS: Final = 20_000


class Joins:
    """When slaves of a name and board have joined, by console time."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], deque[tuple[datetime, datetime]]] = {}

    def add(self, label: str, serial: str, stamped: datetime, at: datetime) -> int:
        """Note that a slave joined *at*; return how often it has in the ten minutes before.

        The master's timestamp (*stamped*) tells whether that is known already.
        """
        joins = self._known.setdefault((label, serial), deque(maxlen=20))
        if not any(stamped == known for known, _ in joins):
            joins.append((stamped, at))
        if len(self._known) > _BOARDS:
            del self._known[next(iter(self._known))]
        return self.lately(label, serial, at)

    def lately(self, label: str, serial: str, now: datetime) -> int:
        """Return how often a slave has joined in the ten minutes before *now*."""
        joins = self._known.get((label, serial), ())
        return sum(abs(now - at) <= _LATELY for _, at in joins)
