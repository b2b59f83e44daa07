"""Who joins again and again: a board whose power or network is bad."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Final

#: Within how long joining is counted, and for how many boards.
_LATELY: Final = timedelta(minutes=10)
_BOARDS: Final = 20_000


class Joins:
    """When slaves of a name and board have joined, by the master's clock."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], deque[datetime]] = {}

    def add(self, label: str, serial: str, at: datetime) -> int:
        """Note that a slave has joined; return how often it has in the ten minutes before."""
        joins = self._known.setdefault((label, serial), deque(maxlen=20))
        if at not in joins:
            joins.append(at)
        if len(self._known) > _BOARDS:
            del self._known[next(iter(self._known))]
        return self.lately(label, serial, at)

    def lately(self, label: str, serial: str, now: datetime) -> int:
        """Return how often a slave has joined in the ten minutes before *now*."""
        joins = self._known.get((label, serial), ())
        return sum(abs(now - one) <= _LATELY for one in joins)
