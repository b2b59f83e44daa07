"""Lists that stay in chronological sequence although their items arrive in any."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from piwheels.core.states import MasterStats, SlaveStats

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterable
    from datetime import datetime

    from piwheels.console.model.slave import PastBuild

#: A clock that is set back by more than this invalidates stats with later timestamps.
_SET_BACK: Final = timedelta(minutes=1)
#: The largest gap in end time for a match.
_LONG_AGO: Final = timedelta(minutes=2)
_Stats = TypeVar("_Stats", MasterStats, SlaveStats)


def is_sorted(times: Iterable[datetime]) -> bool:
    """Whether *times* never go back."""
    return all(one <= other for one, other in itertools.pairwise(times))


def add_stats(kept: deque[_Stats], new: _Stats, *, set_back: bool) -> None:
    """Insert *new* stats by timestamp, unless they are there already.

    With *set_back*, much later ones are removed: the clock that stamps them was set back.
    """
    if kept and new.timestamp <= kept[-1].timestamp:
        if set_back and kept[-1].timestamp - new.timestamp > _SET_BACK:
            while kept and kept[-1].timestamp > new.timestamp:
                kept.pop()
        place = len(kept)
        while place and kept[place - 1].timestamp > new.timestamp:
            place -= 1
        if place and kept[place - 1].timestamp == new.timestamp:
            return
        if place < len(kept):
            if len(kept) == kept.maxlen:
                if place == 0:
                    return
                kept.popleft()
                place -= 1
            kept.insert(place, new)
            return
    kept.append(new)


def merge(builds: deque[PastBuild], build: PastBuild) -> PastBuild | None:
    """Insert the master's record of a *build*.

    Return the less complete record of the same build that it replaces, if any.
    """
    same = None
    for one in reversed(builds):
        if one.is_same(build):
            same = one
            builds.remove(one)
            break
        if build.seen - one.seen > _LONG_AGO:
            break
    insert(builds, build)
    return same


def insert(builds: deque[PastBuild], build: PastBuild) -> None:
    """Insert *build* by the time of its end."""
    if len(builds) == builds.maxlen:
        builds.popleft()
    place = len(builds)
    while place and builds[place - 1].seen > build.seen:
        place -= 1
    builds.insert(place, build)
