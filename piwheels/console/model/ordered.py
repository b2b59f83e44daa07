"""What has a time, kept in the order of time, though it comes in any."""

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

#: A clock that is put back by more than this makes the newer figures worthless.
_PUT_BACK: Final = timedelta(minutes=1)
#: Who ended longer before a build is not that build.
_LONG_AGO: Final = timedelta(minutes=2)
_Figures = TypeVar("_Figures", MasterStats, SlaveStats)


def in_order(times: Iterable[datetime]) -> bool:
    """Whether none of *times* is before the one that it follows."""
    return all(one <= other for one, other in itertools.pairwise(times))


def keep(kept: deque[_Figures], new: _Figures, *, put_back: bool) -> None:
    """Put *new* figures among those that are *kept* in the order of time, unless it is there.

    With *put_back*, what is much newer goes: the clock that stamps them was put back.
    """
    if kept and new.timestamp <= kept[-1].timestamp:
        if put_back and kept[-1].timestamp - new.timestamp > _PUT_BACK:
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


def settle(builds: deque[PastBuild], build: PastBuild) -> PastBuild | None:
    """Put what the master says of a *build* among *builds*.

    Return the one that it takes the place of: the same, of which less was known.
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
    """Put *build* among *builds*, which stay in the order of their ends."""
    if len(builds) == builds.maxlen:
        builds.popleft()
    place = len(builds)
    while place and builds[place - 1].seen > build.seen:
        place -= 1
    builds.insert(place, build)
