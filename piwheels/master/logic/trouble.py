"""What goes wrong again and again: when it is tried next, and when it is told. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from piwheels.core.errors import worth_telling

#: The longest pause between two tries, in seconds, whatever the other side asks for.
LONGEST: Final = 3600.0


@dataclass(slots=True)
class Trouble:
    """A run of failures of one thing, tried again after *first* seconds, then twice as many, ...

    It is to be told of the 1st failure, the 10th, the 100th, and when it is well again.
    """

    first: float
    longest: float = LONGEST
    count: int = 0

    def failed(self, asked: float | None = None) -> tuple[float, bool]:
        """Note a failure; return after how many seconds to try again, and whether to tell.

        *asked* is how long the other side wants to be left alone (Retry-After), which is heeded up
        to an hour.
        """
        self.count += 1
        pause = min(self.first * 2 ** min(self.count - 1, 30), self.longest)
        if asked is not None:
            pause = max(pause, min(asked, LONGEST))
        return pause, worth_telling(self.count)

    def well(self) -> int:
        """Note that it is well; return how many failures are over."""
        over, self.count = self.count, 0
        return over
