"""Repeated failures: when to retry, and which ones to log. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from piwheels.core.errors import should_log

#: The longest delay before a retry, in seconds, by default.
LONGEST: Final = 3600.0


@dataclass(slots=True)
class Failures:
    """Consecutive failures of one operation, retried after *first* seconds, then twice that, ...

    No delay is greater than *longest*, whatever the other side requests.

    The 1st, the 10th, the 100th failure and the recovery are worth a line in the log.
    """

    first: float
    longest: float = LONGEST
    count: int = 0

    def failed(self, asked: float | None = None) -> tuple[float, bool]:
        """Count a failure; return the seconds until the retry, and whether to log the failure.

        *asked* is the delay that the other side requests (``Retry-After``), up to *longest*.
        """
        self.count += 1
        pause = min(self.first * 2 ** min(self.count - 1, 30), self.longest)
        if asked is not None:
            pause = max(pause, min(asked, self.longest))
        return pause, should_log(self.count)

    def recovered(self) -> int:
        """Reset the count after a success; return how many failures preceded it."""
        over, self.count = self.count, 0
        return over
