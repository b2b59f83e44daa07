"""The queue of each ABI, and a linear estimate of when it will be empty."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.console.model.slave import State
from piwheels.core.targets import FIRST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from piwheels.console.model.slave import PastBuild, Slave
    from piwheels.core.states import MasterStats

#: The window in which builds are counted, and the shortest one that gives a usable rate.
WINDOW: Final = timedelta(minutes=15)
_ENOUGH: Final = timedelta(minutes=5)
_HOUR: Final = timedelta(hours=1)
#: The longest estimate, in hours.
_AGES: Final = 1e6
#: Some masters count no further than this: the queue may be longer.
CAP: Final = 1000
_BUSY: Final = (State.BUILD, State.SEND, State.CLEAN)
_IDLE: Final = (State.IDLE, State.SLEEP)
_WRONG: Final = (State.SILENT, State.EXPIRED)


class AbiQueue(NamedTuple):
    """The queue of an ABI, and its slaves.

    *capped*: *pending* and *eta* are lower bounds. *eta* is ``None`` if the queue never empties.
    *failing* slaves are silent, expired, or fail one build after another; they also count as busy
    or idle. *history* holds earlier values of *pending*, newest last.
    """

    abi: str
    pending: int
    capped: bool
    slaves: int
    busy: int
    idle: int
    failing: int
    per_hour: float
    eta: timedelta | None
    history: tuple[int, ...]
    note: str


def rates(
    builds: Iterable[PastBuild], stats: MasterStats | None, now: datetime, since: datetime | None
) -> dict[str, float]:
    """Return the builds per hour of each ABI, from those that ended in the last 15 minutes.

    All *builds* since *since* (console time) are known. If that is too short a time, the master's
    count of the last hour is returned.
    """
    watched = min(now - since, WINDOW) if since is not None else timedelta()
    if watched < _ENOUGH and stats is not None:
        return dict(stats.builds_last_hour)
    ended: Counter[str] = Counter()
    for build in builds:
        if now - build.seen <= watched:
            ended[build.abi] += build.result in ("ok", "failed")
    hours = max(watched, timedelta(minutes=1)) / _HOUR
    return {abi: count / hours for abi, count in ended.items()}


class _Crew:
    """The number of slaves of an ABI, by activity."""

    __slots__ = ("busy", "failing", "idle", "paused", "slaves")

    def __init__(self) -> None:
        self.slaves = self.busy = self.idle = self.failing = self.paused = 0


def _crews(slaves: Iterable[Slave], now: datetime, without: Collection[int]) -> dict[str, _Crew]:
    crews: dict[str, _Crew] = {}
    for slave in slaves:
        state = slave.state_at(now)
        if state is State.DEAD:
            continue
        crew = crews.setdefault(slave.abi, _Crew())
        crew.slaves += 1
        reported = slave.reported
        crew.busy += reported in _BUSY
        crew.idle += reported in _IDLE
        crew.failing += state in _WRONG or slave.failures >= 3
        crew.paused += slave.id in without and reported in _BUSY
    return crews


def queues(
    slaves: Iterable[Slave],
    stats: Sequence[MasterStats],
    hourly: Mapping[str, float],
    now: datetime,
    without: Collection[int] = (),
    *,
    offered: Collection[str] = (),
) -> list[AbiQueue]:
    """Return the queue of each ABI at *now* (console time), as if *without* were paused.

    *hourly*: builds per hour. Each paused slave takes an equal share of them away. Slaves that
    build for other ABIs at present can build for those that are *offered*, too. A version without
    any build waits for ``any`` ABI.
    """
    crews = _crews(slaves, now, without)
    pending = stats[-1].builds_pending if stats else {}
    found = []
    for abi in sorted(pending.keys() | crews.keys()):
        crew = crews.get(abi) or _Crew()
        left = 1 - crew.paused / crew.busy if crew.busy else 1.0
        is_first = abi == FIRST.abi
        is_offered = not crew.slaves and (abi in offered or (is_first and bool(crews)))
        built = sum(hourly.values()) if is_first else hourly.get(abi, 0)
        rate = built * left if crew.slaves or is_offered else 0.0
        waiting = pending.get(abi, 0)
        able = crew.slaves > crew.failing or is_offered
        eta = min(waiting / rate, _AGES) * _HOUR if rate > 0 and able else None
        note = _note(crew, waiting)
        if is_offered and waiting:
            note = "first builds, for any ABI" if is_first else "its slaves build for others now"
        found.append(
            AbiQueue(
                abi, waiting, waiting == CAP, crew.slaves, crew.busy, crew.idle, crew.failing, rate,
                eta, tuple(one.builds_pending.get(abi, 0) for one in stats), note,
            )
        )  # fmt: skip
    return found


def _note(crew: _Crew, pending: int) -> str:
    if pending and not crew.slaves:
        return "NO SLAVE for this ABI"
    if pending and crew.failing * 3 >= crew.slaves:
        return f"STARVED: {crew.failing:,} of {crew.slaves:,} silent/failing"
    return f"capped at {CAP:,}: a lower bound" if pending == CAP else ""


def total(queues_: Sequence[AbiQueue]) -> AbiQueue:
    """Return the sum of all queues; it finishes when the last queue that can finish does."""
    waiting = [queue.eta for queue in queues_ if queue.pending]
    ends = [one for one in waiting if one is not None]
    eta = max(ends) if ends else None if waiting else timedelta()
    return AbiQueue(
        "total",
        sum(queue.pending for queue in queues_),
        any(queue.capped for queue in queues_),
        sum(queue.slaves for queue in queues_),
        sum(queue.busy for queue in queues_),
        sum(queue.idle for queue in queues_),
        sum(queue.failing for queue in queues_),
        sum(queue.per_hour for queue in queues_),
        eta,
        tuple(map(sum, zip(*(queue.history for queue in queues_), strict=True))),
        "",
    )
