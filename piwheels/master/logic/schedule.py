"""When to write pages that many changes affect: soon, but not continuously. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Writing that takes longer than this, in seconds, happens less often, to leave time for others.
SLOW: Final = 2.0
#: The delay before a retry, in seconds.
RETRY: Final = 5.0


@dataclass(slots=True)
class Schedule:
    """A group of pages, written when it is *stale*, at most once in *pause* seconds.

    If writing is slow, the pause grows in proportion. An *urgent* change waits for half a pause at
    most, so that removed projects leave the site within a minute. All times are monotonic seconds.
    """

    pause: float
    stale: bool = True
    _due: float = 0.0
    _earliest: float = 0.0

    def touch(self, *, urgent: bool = False) -> None:
        """Note that the pages are out of date."""
        self.stale = True
        if urgent:
            self._due = self._earliest

    def is_due(self, now: float) -> bool:
        """Tell whether to write the pages now."""
        return self.stale and now >= self._due

    def begin(self) -> None:
        """Note that writing begins. Later changes make the pages stale again."""
        self.stale = False

    def done(self, began: float, ended: float) -> None:
        """Note that the pages have been written."""
        self._earliest = ended + self.pause / 2
        self._due = ended + self.pause * max(1.0, (ended - began) / SLOW)

    def failed(self, now: float) -> None:
        """Note that writing failed; the pages are due again after a delay."""
        self.stale = True
        self.wait(now)

    def wait(self, now: float) -> None:
        """Delay the pages because another group could not be written."""
        self._due = max(self._due, now + RETRY)
        self._earliest = max(self._earliest, now + RETRY)
