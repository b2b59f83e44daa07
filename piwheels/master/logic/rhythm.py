"""When pages that many changes concern are written: soon, but not all the time. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: What takes longer than so many seconds is written less often, so that most time is others'.
SLOW: Final = 2.0
#: After how many seconds what has failed is tried again.
AGAIN: Final = 5.0


@dataclass(slots=True)
class Rhythm:
    """Some pages that are written together: at most once in *pause* seconds, when they are *stale*.

    Where it takes long, the pause is longer; but what is *urgent* waits for half of one at most, so
    that what is gone has left the site within a minute.
    Times are seconds of a clock that only goes forward.
    """

    pause: float
    stale: bool = True
    _due: float = 0.0
    _earliest: float = 0.0

    def touch(self, *, urgent: bool = False) -> None:
        """Note that the pages do not show what is known any more."""
        self.stale = True
        if urgent:
            self._due = self._earliest

    def is_due(self, now: float) -> bool:
        """Tell whether the pages are to be written."""
        return self.stale and now >= self._due

    def begin(self) -> None:
        """Note that the pages are being written: what changes from now on is not in them."""
        self.stale = False

    def done(self, began: float, ended: float) -> None:
        """Note that the pages have been written."""
        self._earliest = ended + self.pause / 2
        self._due = ended + self.pause * max(1.0, (ended - began) / SLOW)

    def failed(self, now: float) -> None:
        """Note that the pages could not be written."""
        self.stale = True
        self.wait(now)

    def wait(self, now: float) -> None:
        """Do nothing for a while: others could not be written."""
        self._due = max(self._due, now + AGAIN)
        self._earliest = max(self._earliest, now + AGAIN)
