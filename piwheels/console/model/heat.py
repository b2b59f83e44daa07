"""The data of the heat map: slaves in groups, each with its level of a metric."""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.console.model.slave import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    from piwheels.console.model.slave import Slave

#: Levels go from 0 (cool) to this (hot).
HOTTEST: Final = 4
#: States of slaves with a problem, the most severe first.
WRONG: Final = (State.DEAD, State.EXPIRED, State.SILENT)
_NUMBER: Final = re.compile(r"[-_. ]*\d+$")


class Metric(StrEnum):
    """The quantity that a cell's tint shows."""

    STATE = "state"
    TEMP = "temp"
    LOAD = "load"
    AGE = "age"
    SLOW = "slow"


class Grouping(StrEnum):
    """The property that groups slaves; a rack is a label without its number."""

    RACK = "rack"
    ABI = "abi"
    OS = "os"


#: The values at which levels 1, 2, 3 and 4 begin: degrees, load, hours, multiple of its peers.
_LIMITS: Final[dict[Metric, tuple[float, float, float, float]]] = {
    Metric.TEMP: (50, 60, 70, 78),
    Metric.LOAD: (1, 3, 5, 8),
    Metric.AGE: (0.25, 1, 3, 6),
    Metric.SLOW: (1.25, 2, 3, 5),
}


class Group(NamedTuple):
    """Slaves that belong together, sorted by label."""

    name: str
    slaves: Sequence[Slave]


def value(slave: Slave, metric: Metric, elapsed: timedelta) -> float | None:
    """Return *metric* of *slave*, in its state for *elapsed*; ``None``: unknown."""
    if metric is Metric.AGE:
        return elapsed.total_seconds() / 3600 if slave.job else None
    if metric is Metric.SLOW:
        return slave.ratio
    stats = slave.stats[-1] if slave.stats else None
    if stats is None:
        return None
    return (stats.load_average if metric is Metric.LOAD else stats.cpu_temp) or None


def level(slave: Slave, metric: Metric, elapsed: timedelta) -> int | None:
    """Return the level of *slave* by *metric*, 0 to 4; ``None``: unknown, or a state."""
    limits = _LIMITS.get(metric)
    number = value(slave, metric, elapsed) if limits else None
    if limits is None or number is None:
        return None
    return sum(number >= limit for limit in limits)


def scale(metric: Metric) -> str:
    """Return the values at which the levels of *metric* begin: ``50 60 70 78``."""
    return " ".join(f"{limit:g}" for limit in _LIMITS.get(metric, ()))


def group_of(slave: Slave, by: Grouping = Grouping.RACK) -> str:
    """Return the name of the group that *slave* belongs to."""
    if by is Grouping.ABI:
        return slave.abi
    if by is Grouping.OS:
        return f"{slave.info.os_name} {slave.info.os_version}"
    return _NUMBER.sub("", slave.label) or slave.label


def groups(slaves: Iterable[Slave], by: Grouping) -> list[Group]:
    """Return *slaves* in groups, both sorted by name."""
    found: dict[str, list[Slave]] = {}
    for slave in slaves:
        found.setdefault(group_of(slave, by), []).append(slave)
    return [
        Group(name, sorted(found[name], key=lambda slave: (natural(slave.label), slave.id)))
        for name in sorted(found, key=natural)
    ]


@lru_cache(maxsize=16_384)
def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a sort key that puts ``rack2`` before ``rack10``."""
    parts = re.split(r"(\d{1,18})", name.casefold())
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts)


def count_states(slaves: Iterable[Slave], now: datetime) -> Counter[State]:
    """Return how many of *slaves* are in each state at *now*."""
    return Counter(slave.state_at(now) for slave in slaves)


def clusters(counts: Sequence[Counter[State]]) -> list[bool]:
    """Return for each group, from its *counts* of states, whether its members fail together.

    That is so if at least three of them and a tenth are silent, expired or dead, and their share
    is at least three times that of all other groups.
    """
    wrong = [sum(count[state] for state in WRONG) for count in counts]
    sizes = [count.total() for count in counts]
    result = []
    for bad, size in zip(wrong, sizes, strict=True):
        others = sum(sizes) - size
        elsewhere = (sum(wrong) - bad) / others if others else 0
        share = bad / size if size else 0
        result.append(bad >= 3 and share >= max(0.1, 3 * elsewhere))
    return result
