"""The master's clock, as far as its messages betray it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

#: Of the delays of so long (and of as long before) the shortest counts.
_WINDOW: Final = timedelta(minutes=1)
#: No clock is taken to be further off: all dates that result from it can be written.
_FAR: Final = timedelta(days=300_000)


class MasterClock:
    """How far this machine's clock is ahead of the master's; days are nothing special.

    A message comes some time after it was stamped, so the least difference between the two clocks
    is the best guess. It is forgotten after a minute or two: clocks are put right. What tells of
    the past is older than that; it is good enough for as long as nothing else has come.
    """

    def __init__(self) -> None:
        self.ahead = timedelta()
        #: Whether a message has come that was stamped just then.
        self.sure = False
        self._known = False
        self._before: timedelta | None = None
        self._least = timedelta()
        self._since: datetime | None = None

    def note(self, now: datetime, stamped: datetime, *, past: bool) -> None:
        """Take the stamp of a message that has come at *now*, and tells of the *past* or not."""
        ahead = max(-_FAR, min(now - stamped, _FAR))
        if past:
            if not self.sure and (not self._known or ahead < self.ahead):
                self.ahead, self._known = ahead, True
            return
        if self._since is None or now - self._since > _WINDOW or now < self._since:
            fresh = self._since is not None and abs(now - self._since) < 2 * _WINDOW
            self._before = self._least if fresh else None
            self._least, self._since = ahead, now
            self.ahead = ahead if self._before is None else min(ahead, self._before)
            self.sure = self._known = True
        elif ahead < self._least:
            self._least = ahead
            self.ahead = min(ahead, self.ahead)

    def here(self, stamped: datetime, latest: datetime) -> datetime:
        """Return when it was *stamped*, by this machine's clock, but not after *latest*."""
        age = latest - stamped - self.ahead
        return latest if age <= timedelta() else latest - min(age, _FAR)


def without(moment: datetime, skew: timedelta) -> datetime:
    """Return what a clock that is *skew* ahead should have said at *moment*, if that is a date."""
    try:
        return moment - skew
    except OverflowError:
        return moment
