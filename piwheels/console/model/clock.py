"""An estimate of the master's clock, from the timestamps of its messages."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from piwheels.core.states import SlaveStats

if TYPE_CHECKING:
    from piwheels.core.protocols import SlaveEvent

#: The shortest delay within this time, or the same time before, is the estimate.
_WINDOW: Final = timedelta(minutes=1)
#: The largest difference between two clocks that counts: all resulting dates are valid.
_FAR: Final = timedelta(days=300_000)


class MasterClock:
    """How far console time is ahead of the master's clock, possibly by days.

    A message arrives some time after its timestamp, so the smallest difference between the two
    clocks is the best estimate. It expires after a minute or two, since clocks are adjusted. A
    repeated message is older than its arrival suggests; it counts until a live one comes.
    """

    def __init__(self) -> None:
        self.ahead = timedelta()
        #: Whether a live message has come.
        self.sure = False
        self._known = False
        self._before: timedelta | None = None
        self._least = timedelta()
        self._since: datetime | None = None

    def note(self, now: datetime, stamped: datetime, *, past: bool) -> None:
        """Take the timestamp of a message that came at *now*; *past*: it was a repeated one."""
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
        """Convert the master's timestamp to console time, not later than *latest*."""
        age = latest - stamped - self.ahead
        return latest if age <= timedelta() else latest - min(age, _FAR)


def is_own_time(event: SlaveEvent) -> bool:
    """Whether the timestamp of *event* is by the slave's clock, which may be days off.

    Masters of earlier versions repeat a slave's statistics under its own timestamp.
    """
    return isinstance(event.data, SlaveStats) and event.data.timestamp == event.timestamp


def without(moment: datetime, skew: timedelta) -> datetime:
    """Correct *moment*, read from a clock that is *skew* ahead, if the result is a date."""
    try:
        return moment - skew
    except OverflowError:
        return moment
