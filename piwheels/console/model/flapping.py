"""Boards that join repeatedly because their power or network is bad."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Final

#: The window in which joins are counted, and the number of boards that are remembered.
_WINDOW: Final = timedelta(minutes=10)
_BOARDS: Final = 20_000


class JoinHistory:
    """The recent joins of each label and board, by console time."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], deque[tuple[datetime, datetime]]] = {}

    def add(self, label: str, serial: str, stamped: datetime, at: datetime) -> int:
        """Record a join at *at*; return how many there were in the last ten minutes.

        The master's timestamp (*stamped*) identifies a join that is reported again.
        """
        joins = self._known.setdefault((label, serial), deque(maxlen=20))
        if not any(stamped == known for known, _ in joins):
            joins.append((stamped, at))
        if len(self._known) > _BOARDS:
            del self._known[next(iter(self._known))]
        return self.count(label, serial, at)

    def count(self, label: str, serial: str, now: datetime) -> int:
        """Return the number of joins in the ten minutes before *now*."""
        joins = self._known.get((label, serial), ())
        return sum(abs(now - at) <= _WINDOW for _, at in joins)
