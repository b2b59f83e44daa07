"""How long builds take that are like another: of the same package, for the same ABI."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from datetime import timedelta
from math import exp, inf, log
from statistics import median
from typing import Final, NamedTuple

#: Fewer builds than this say nothing of what is usual, and so many of each package are kept, of so
#: many packages for each ABI.
ENOUGH, KEPT, KEYS = 5, 50, 8192
#: A build is slow if it takes this many times as long as is usual, if that is beyond what its peers
#: differ by (three standard deviations of the logarithm, estimated by the median deviation), and if
#: so many seconds are lost by it.
SLOW: Final = 3.0
_WORTH: Final = 60.0
_DEVIATIONS: Final = 3 * 1.4826
#: How many peers must have taken longer than a build for a guess of when it ends.
_ENOUGH_LONGER: Final = 3
#: The least time that is told from none, and the greatest from ever, in seconds.
_LEAST, _MOST = 1.0, 1e9


class Comparison(NamedTuple):
    """A build beside *peers* others, which are too few if *ratio* is ``None``.

    *median* is how long they took, *ratio* how many times as long this one is at it, *slow_from*
    from which ratio on it is slow, *eta* how much longer those took that took longer than it.
    """

    peers: int
    median: timedelta | None = None
    ratio: float | None = None
    slow_from: float = inf
    eta: timedelta | None = None


class _Durations:
    """The last so many durations, in seconds: in the order of coming, and of length."""

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
        """Return the median, and from which multiple of it on a build is slow."""
        if not self._median:
            self._median = median(self.lengths)
            apart = median(abs(log(length / self._median)) for length in self.lengths)
            self._limit = max(SLOW, exp(_DEVIATIONS * apart), 1 + _WORTH / self._median)
        return self._median, self._limit

    def rest(self, seconds: float) -> timedelta | None:
        """Return how much longer those took, in the middle, that took longer than *seconds*."""
        longer = self.lengths[bisect_right(self.lengths, seconds) :]
        if len(longer) < _ENOUGH_LONGER:
            return None
        return timedelta(seconds=median(longer) - seconds)


class Peers:
    """Durations of builds that made something, by package and ABI, and by package alone.

    What was used least lately is forgotten once there is too much of it.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Durations] = {}

    def add(self, abi: str, package: str, took: timedelta) -> None:
        """Note that a build of *package* for *abi* took so long."""
        seconds = min(max(_LEAST, took.total_seconds()), _MOST)
        for key in ((abi, package), ("", package)):
            durations = self._known.pop(key, None) or _Durations()
            self._known[key] = durations
            durations.add(seconds)
        while len(self._known) > KEYS:
            del self._known[next(iter(self._known))]

    def compare(self, abi: str, package: str, elapsed: timedelta) -> Comparison:
        """Compare a running build with those for its ABI or, if they are few, with all."""
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
