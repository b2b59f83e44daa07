"""The farm as the console sees it: a fold over what the master tells."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.console.model.journal import Entry, Kind
from piwheels.console.model.slave import Moment, PastBuild, Slave, State
from piwheels.console.text import clean, short_span
from piwheels.core.protocols import Outcome, SlaveEvent
from piwheels.core.states import MasterInfo, MasterStats, SlaveStats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from piwheels.console.model.events import Event

#: How long the row of a slave that has left stays.
STAYS: Final = timedelta(seconds=30)
_ZERO: Final = timedelta()


@dataclass(slots=True)
class Changes:
    """What has changed since the last look."""

    #: Another master, or the same one begun anew: all slaves are gone and all ids are free.
    epoch: bool = False
    #: Slaves that are new, and slaves that look different, by id.
    new: set[int] = field(default_factory=set)
    slaves: set[int] = field(default_factory=set)
    #: Slaves whose rows are to go (a while after they left).
    gone: set[int] = field(default_factory=set)
    #: The master's figures; the link; commands; the journal; the queue, builds or other answers.
    figures: bool = False
    link: bool = False
    commands: bool = False
    journal: bool = False
    answers: bool = False

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


class Farm:
    """All that is known of a farm. :meth:`fold` takes what happened, :meth:`tick` lets time pass.

    *now* is this machine's clock, everywhere; :meth:`master_time` converts it into the master's.
    """

    def __init__(self) -> None:
        self.info: MasterInfo | None = None
        self.figures: deque[MasterStats] = deque(maxlen=100)
        self.slaves: dict[int, Slave] = {}
        self.left: deque[Slave] = deque(maxlen=500)
        self.builds: deque[PastBuild] = deque(maxlen=2000)
        self.now: datetime = None  # type: ignore[assignment]
        self.strays = 0
        self._offset = _ZERO
        self._offset_known = False
        self._changes = Changes()
        self._entries: list[Entry] = []
        self._skipped: set[int] = set()
        self._died: dict[int, datetime] = {}

    def fold(self, event: Event, now: datetime, *, replay: bool = False) -> None:
        self.now = now
        match event:
            case MasterInfo():
                self._info(event)
            case MasterStats():
                if not self.figures or event.timestamp > self.figures[-1].timestamp:
                    self.figures.append(event)
                    self._changes.figures = True
            case SlaveEvent():
                self._slave(event, now, replay)
            case Outcome():
                self._outcome(event)

    def _info(self, info: MasterInfo) -> None:
        if self.info is not None and self.info.started != info.started:
            self.slaves.clear(); self._died.clear(); self.figures.clear()
            self._changes = Changes(epoch=True, figures=True)
        self.info = info

    def _slave(self, event: SlaveEvent, now: datetime, replay: bool) -> None:
        if not replay:
            self._offset, self._offset_known = now - event.timestamp, True
        elif not self._offset_known and now - event.timestamp < self._offset or self._offset == _ZERO:
            pass
        slave = self.slaves.get(event.slave_id)
        if event.message == "HELLO":
            if slave is None or slave.told is State.DEAD:
                slave = Slave(event.slave_id, event.data, clean(event.data.label), event.timestamp, since=event.timestamp)
                self.slaves[slave.id] = slave
                self._changes.new.add(slave.id)
                if not replay:
                    self._note(Kind.JOIN, f"{slave.label} {slave.abi}", slave)
            slave.heard, slave.heard_what = now, "HELLO"
            self._changes.slaves.add(slave.id)
            return
        if slave is None:
            self.strays += 1
            return
        slave.heard, slave.heard_what = now, event.message
        slave.version += 1
        self._changes.slaves.add(slave.id)
        at, data = event.timestamp, event.data
        match event.message:
            case "STATS":
                if not slave.stats or data.timestamp > slave.stats[-1].timestamp:
                    slave.stats.append(data)
                return
            case "BUILD":
                if slave.told is State.BUILD and slave.job == data:
                    return
                slave.job, slave.job_since, slave.files = (data[0], data[1]), at, 0
                state = State.BUILD
            case "SLEEP":
                state = State.PAUSE if data else State.SLEEP
                slave.job = None
            case "SEND":
                if slave.file != data or slave.told is not State.SEND:
                    slave.files += 1
                slave.file = data
                state = State.SEND
            case "DONE":
                state = State.CLEAN
                if slave.job is not None:
                    result = "ok" if slave.told is State.SEND else "skipped" if slave.id in self._skipped else "failed"
                    self._skipped.discard(slave.id)
                    took = at - (slave.job_since or at)
                    past = PastBuild(clean(slave.job[0]), clean(slave.job[1]), slave.abi, result, took, slave.files, at, slave.id, slave.label)
                    slave.outcome = past
                    slave.builds.append(past); self.builds.append(past)
                    if not replay:
                        self._note(Kind.FAIL if result == "failed" else Kind.DONE, f"{past.package} {past.version} {past.abi} {result}", slave, short_span(took))
                slave.job, slave.file = None, ""
            case "DIE":
                state = State.DEAD
                self._died[slave.id] = now
                if not replay:
                    self._note(Kind.LEFT, "bye", slave)
            case _:
                return
        if slave.told is not state:
            slave.told, slave.since = state, at

    def _outcome(self, outcome: Outcome) -> None:
        slave = self.slaves.get(outcome.slave_id)
        if slave is not None and slave.outcome is not None and slave.outcome.package == outcome.package:
            slave.outcome = slave.outcome._replace(result=outcome.result, build_id=outcome.build_id)
            slave.builds[-1] = slave.outcome
            self._changes.slaves.add(slave.id)

    def _note(self, kind: Kind, what: str, slave: Slave, detail: str = "") -> None:
        self._entries.append(Entry(self.now, kind, slave.id, slave.label, what, detail))

    def skipped(self, slave_id: int) -> None:
        self._skipped.add(slave_id)

    def tick(self, now: datetime) -> None:
        self.now = now
        for slave_id, at in list(self._died.items()):
            if now - at > STAYS:
                del self._died[slave_id]
                slave = self.slaves.pop(slave_id, None)
                if slave is not None:
                    self.left.append(slave)
                    self._changes.gone.add(slave_id)

    def take_changes(self) -> Changes:
        changes, self._changes = self._changes, Changes()
        return changes

    def take_entries(self) -> list[Entry]:
        entries, self._entries = self._entries, []
        return entries

    def master_time(self, now: datetime) -> datetime:
        return now - self._offset

    def elapsed(self, slave: Slave) -> timedelta:
        since = slave.job_since if slave.job is not None and slave.job_since else slave.since
        return max(_ZERO, self.master_time(self.now) - since)

    def counts(self) -> Counter[State]:
        return Counter(slave.state_at(self.now) for slave in self.slaves.values())

    def alerting(self) -> int:
        return sum(bool(slave.alerts) for slave in self.slaves.values())

    def rate(self, now: datetime) -> float:
        return 0.0

    def queues(self, now: datetime) -> list[Any]:
        return []

    def longest(self, n: int) -> list[Slave]:
        return sorted((s for s in self.slaves.values() if s.job), key=self.elapsed, reverse=True)[:n]

    def as_events(self) -> list[Any]:
        return []
