"""Which daemons that have ended are started again, and when. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Final

#: The most restarts of a daemon within a time in seconds; the next end stops the farm.
RESTARTS, WINDOW = 5, 600.0
#: Seconds until the first restart; they double with each further one.
FIRST_PAUSE: Final = 1.0
#: The exit status of a program whose command line is wrong: it would be wrong again.
WRONG_USAGE: Final = 2


class After(Enum):
    """What follows the end of a daemon."""

    RESTART = "it is started again"
    WITHOUT = "the farm continues without it"
    STOP = "the farm stops, as an operator wanted"
    FAIL = "the farm fails"


def after(status: int, *, is_master: bool, by_operator: bool) -> After:
    """Return what follows the end of a daemon with the exit *status*.

    *by_operator*: its log says that an operator has ended it.
    """
    if status == WRONG_USAGE:
        return After.FAIL
    if status or not by_operator:
        return After.RESTART
    return After.STOP if is_master else After.WITHOUT


class Restarts:
    """Counts the ends of each daemon. ``now`` is in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._ends: dict[str, list[float]] = {}

    def pause(self, name: str, now: float) -> float | None:
        """Return the seconds until the restart of the daemon *name*, which has ended *now*.

        Returns ``None`` if it has ended too often.
        """
        recent = [end for end in self._ends.get(name, ()) if now - end < WINDOW]
        self._ends[name] = [*recent, now]
        if len(recent) >= RESTARTS:
            return None
        return FIRST_PAUSE * 2.0 ** len(recent)
