"""Durations of comparable builds: of the same package, for the same ABI."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from datetime import timedelta
from math import exp, inf, log
from statistics import median
from typing import Final, NamedTuple

#: The least number of builds for a comparison, the number kept for each package, and the number of
#: packages and ABIs.
ENOUGH, KEPT, KEYS = 5, 50, 8192
#: A build is slow if it takes this many times the median of its peers, lies outside their spread
#: (three standard deviations of the logarithm, estimated by the median deviation), and loses this
#: many seconds.
SLOW: Final = 3.0
_WORTH: Final = 60.0
_DEVIATIONS: Final = 3 * 1.4826
#: The least number of peers with a longer duration for an estimate of a build's end.
_ENOUGH_LONGER: Final = 3
#: The shortest and the longest duration that count, in seconds.
_LEAST, _MOST = 1.0, 1e9


class Comparison(NamedTuple):
    """A build compared with *peers* others, which are too few if *ratio* is ``None``.

    *median*: of their durations. *ratio*: this build's duration as a multiple of it. *slow_from*:
    the ratio from which the build is slow. *eta*: the time that it still needs, estimated from
    the peers that took longer.
    """

    peers: int
    median: timedelta | None = None
    ratio: float | None = None
    slow_from: float = inf
    eta: timedelta | None = None


class _Durations:
    """The most recent durations, in seconds, by arrival and by length."""

    __slots__ = ("_lately", "_limit", "_median", "lengths")

    def __init__(self) -> None:
        self._lately: deque[float] = deque()
        self.lengths: list[float] = []
        self._median = 0.0
        self._limit = 0.0

    def add(self, seconds: float) -> None:
        if len(self._lately) == KEPT:
            del self.lengths[bisect_right(self.lengths, self._lately.popleft()) - 1]
        self._lately.append(seconds)
        insort(self.lengths, seconds)
        self._median = 0.0

    def usual(self) -> tuple[float, float]:
        """Return the median, and the multiple of it from which a build is slow."""
        if not self._median:
            self._median = median(self.lengths)
            apart = median(abs(log(length / self._median)) for length in self.lengths)
            self._limit = max(SLOW, exp(_DEVIATIONS * apart), 1 + _WORTH / self._median)
        return self._median, self._limit

    def rest(self, seconds: float) -> timedelta | None:
        """Return the median of the time that longer durations have beyond *seconds*."""
        longer = self.lengths[bisect_right(self.lengths, seconds) :]
        if len(longer) < _ENOUGH_LONGER:
            return None
        return timedelta(seconds=median(longer) - seconds)


class Peers:
    """Durations of successful builds, by package and ABI, and by package alone.

    The least recently used packages are dropped when there are too many.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Durations] = {}

    def add(self, abi: str, package: str, took: timedelta) -> None:
        """Add the duration of a build."""
        seconds = min(max(_LEAST, took.total_seconds()), _MOST)
        for key in ((abi, package), ("", package)):
            durations = self._known.pop(key, None) or _Durations()
            self._known[key] = durations
            durations.add(seconds)
        while len(self._known) > KEYS:
            del self._known[next(iter(self._known))]

    def compare(self, abi: str, package: str, elapsed: timedelta) -> Comparison:
        """Compare a running build with those for its ABI, or for all ABIs if they are few."""
        durations = self._known.get((abi, package))
        if durations is None or len(durations.lengths) < ENOUGH:
            durations = self._known.get(("", package))
        if durations is None:
            return Comparison(0)
        count = len(durations.lengths)
        if count < ENOUGH:
            return Comparison(count)
        seconds = elapsed.total_seconds()
        usual, limit = durations.usual()
        return Comparison(
            count, timedelta(seconds=usual), seconds / usual, limit, durations.rest(seconds)
        )
