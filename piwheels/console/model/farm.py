"""The farm as the console sees it: a fold over what the master tells."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from piwheels.console.model import causes, eta, health, keyframe, news
from piwheels.console.model.clock import MasterClock, without
from piwheels.console.model.joins import Joins
from piwheels.console.model.journal import Entry, Kind
from piwheels.console.model.ordered import in_order, insert, keep, settle
from piwheels.console.model.peers import Peers
from piwheels.console.model.slave import Moment, PastBuild, Slave, State
from piwheels.console.model.told import When, apply
from piwheels.console.text import clean
from piwheels.core.protocols import Outcome, SlaveEvent
from piwheels.core.states import MasterInfo, MasterStats

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from piwheels.console.model.eta import AbiQueue
    from piwheels.console.model.events import Event

#: How long the row of a slave that has left stays.
STAYS: Final = timedelta(seconds=30)
#: How many slaves are known at a time, and how many of them may be dead: whoever makes them come
#: and go without end shall not fill our memory.
MOST, _MOST_DEAD = 50_000, 5000
#: Once the master has said nothing for so long, time stands still: of what we do not hear we do
#: not know that it is silent.
_DEAF: Final = timedelta(seconds=15)
#: Each slave is looked at once in so many ticks, whether it has changed or not; at least so many.
_ROUND, _FEW = 5, 100
#: How many builds the causes of failures are sought in.
_LATELY: Final = 200
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

    *now* is console time, everywhere; :meth:`master_time` converts it into the master's.
    """

    def __init__(self) -> None:
        self.info: MasterInfo | None = None
        self.figures: deque[MasterStats] = deque(maxlen=100)
        self.slaves: dict[int, Slave] = {}
        #: Slaves that have left, the newest last.
        self.left: deque[Slave] = deque(maxlen=500)
        #: Builds that have ended, of all slaves, the newest last.
        self.builds: deque[PastBuild] = deque(maxlen=2000)
        #: The last moment that the farm was told of, by this machine's clock; or a little later.
        self.now: datetime = None  # type: ignore[assignment]
        #: How many messages were of slaves that we know nothing of.
        self.strays = 0
        self._heard: datetime | None = None
        self._clock = MasterClock()
        self._peers = Peers()
        self._changes = Changes()
        self._entries: list[Entry] = []
        #: Slaves whose builds somebody wants to be skipped.
        self._skipped: set[int] = set()
        #: When the dead died, by this machine's clock.
        self._died: dict[int, datetime] = {}
        #: Slaves to be looked at, and whether nothing is to be told of what is found.
        self._due: dict[int, bool] = {}
        self._round: deque[int] = deque()
        #: When a slave last gave a sign of life before we listened, by the master's clock.
        self._signs: dict[int, datetime] = {}
        #: Builds that have ended since the last tick, by slave, and when they did: how may follow.
        self._ended: dict[int, tuple[datetime, PastBuild]] = {}
        self._joins = Joins()
        #: Slaves whose times are estimates, made before a live message gave the master's time.
        self._undated: set[int] = set()
        #: Since when we know of all builds that end, by console time.
        self._since: datetime | None = None
        #: Packages that fail everywhere, as has been told.
        self._hopeless: set[str] = set()
        self._disk_step = 0

    # What happened ----------------------------------------------------------------------------

    def fold(self, event: Event, now: datetime, *, replay: bool = False) -> None:
        """Take *event*; in a *replay* nothing is new: no alerts, no journal entries follow."""
        self.now = self._heard = now
        match event:
            case SlaveEvent():
                self._clock.note(now, event.timestamp, past=replay)
                if self._clock.sure:
                    self._date()
                self._slave_event(event, replay)
            case Outcome():
                self._outcome(event, replay)
            case MasterStats():
                self._clock.note(now, event.timestamp, past=replay)
                self._figures(event, replay)
            case MasterInfo():
                self._info(event)

    def _info(self, info: MasterInfo) -> None:
        if self.info is not None and self.info.started != info.started:
            for of_slaves in (self.slaves, self._died, self._due, self._signs, self._ended):
                of_slaves.clear()
            for others in (self.left, self._round, self._skipped, self._undated):
                others.clear()
            self.builds = deque((one for one in self.builds if one.result), self.builds.maxlen)
            self._clock, self._joins, self._since = MasterClock(), Joins(), None
            self._changes = Changes(epoch=True, figures=True)
        self.info = info

    def _figures(self, stats: MasterStats, replay: bool) -> None:
        keep(self.figures, stats, put_back=not replay)
        self._changes.figures = True
        step = health.disk_step(self.figures[-1])
        if step > self._disk_step and not replay:
            self._entries.append(
                Entry(self.now, Kind.MASTER, None, "", f"the master's disk is {step}% full")
            )
        self._disk_step = step

    def _slave_event(self, event: SlaveEvent, replay: bool) -> None:
        slave_id, at, message, data = event
        here = self._clock.here(at, self.now) if replay else self.now
        slave = self.slaves.get(slave_id)
        if message == "HELLO":
            if slave is None and len(self.slaves) >= MOST:
                self.strays += 1
                return
            slave = self._hello(slave, event, here, replay)
        elif slave is None:
            self.strays += 1
            return
        elif message == "STATS":
            keep(slave.stats, data, put_back=not replay)
            if data.timestamp != at:  # in a master's replay they are the same
                slave.skew = data.timestamp - at
            elif slave.skew is not None:
                at = without(at, slave.skew)
        else:
            self._told(slave, event, here, replay)
        if replay:
            self._undated.add(slave_id)
            self._signs[slave_id] = max(at, self._signs.get(slave_id, at))
        else:
            slave.heard, slave.heard_what = self.now, message
            self._since = self._since or self.now
        self._touch(slave, quiet=replay)

    def _touch(self, slave: Slave, *, quiet: bool) -> None:
        self._due[slave.id] = quiet or self._due.get(slave.id, False)
        slave.version += 1
        self._changes.slaves.add(slave.id)

    def _hello(self, slave: Slave | None, event: SlaveEvent, here: datetime, replay: bool) -> Slave:
        """Return the slave that says who it is: a new one, unless that was known."""
        slave_id, at, _, info = event
        label = clean(info.label)
        if slave is not None and slave.joined == at and slave.label == label:
            slave.info = info
            return slave
        slave = Slave(slave_id, info, label, joined=at, told_at=at, since=at, heard=self.now)
        slave.state_began = here
        slave.joins = self._joins.add(label, info.board_serial, at, here)
        slave.timeline.append(Moment(at, "JOIN", slave.abi))
        self.slaves[slave_id] = slave
        self._died.pop(slave_id, None)
        self._changes.new.add(slave_id)
        if not replay:
            self._entries.append(news.joined(slave, self.now))
        return slave

    def _told(self, slave: Slave, event: SlaveEvent, here: datetime, replay: bool) -> None:
        slave_id, at, message, data = event
        skipped = slave_id in self._skipped
        ended = apply(slave, message, data, When(at, here, replay), skipped=skipped)
        if message in ("DONE", "BUILD"):
            self._skipped.discard(slave_id)
        if ended is not None:
            insert(self.builds, ended)
            self._add_build(ended, None, replay)
        if slave.told is not State.DEAD:
            self._died.pop(slave_id, None)
        elif slave_id not in self._died:
            self._died[slave_id] = self.now
            if not replay:
                self._entries.append(news.left(slave, self.now, builds=ended is not None))

    # Builds -----------------------------------------------------------------------------------

    def skipped(self, slave_id: int) -> None:
        """Note that the build of a slave, if it has one, is to be skipped."""
        self._skipped.add(slave_id)

    def _outcome(self, outcome: Outcome, replay: bool) -> None:
        """Take how a build ended from a master that says so, be it before or after its DONE."""
        here = self._clock.here(outcome.ended, self.now) if replay else self.now
        build = PastBuild.of(outcome, here)
        slave = self.slaves.get(outcome.slave_id)
        if slave is not None and slave.label == build.label:
            settle(slave.builds, build)
            slave.outcome = slave.builds[-1]
            self._touch(slave, quiet=replay)
        if replay and (self._since is None or build.seen < self._since):
            self._since = build.seen
        self._add_build(build, settle(self.builds, build), replay)

    def _add_build(self, build: PastBuild, before: PastBuild | None, replay: bool) -> None:
        """Learn from a build; of the same one less was known *before*, if anything."""
        known = "" if before is None else before.result
        if build.result == "ok" != known and build.duration is not None:
            self._peers.add(build.abi, build.package, build.duration)
        waits = self._ended.get(build.slave_id)
        if waits is not None and waits[1] == before:
            self._ended[build.slave_id] = waits[0], build
        elif not replay and build.result not in ("", known):
            if waits is not None:
                self._entries.append(news.ended(waits[1], waits[0]))
            self._ended[build.slave_id] = self.now, build

    def _tell_builds(self) -> None:
        """Tell of builds that have ended: what the master says of them should have come by now."""
        entries = [news.ended(build, at) for at, build in self._ended.values()]
        self._ended.clear()
        self._entries += entries
        if any(entry.kind is Kind.FAIL for entry in entries):
            found = causes.packages(self._lately())
            for package in found.keys() - self._hopeless:
                self._entries.append(Entry(self.now, Kind.WARN, None, "", found[package]))
            self._hopeless = set(found)

    def _lately(self) -> Iterator[PastBuild]:
        return itertools.islice(reversed(self.builds), _LATELY)

    # Time -------------------------------------------------------------------------------------

    def tick(self, now: datetime) -> None:
        """Let time pass: silence, alerts, peers; rows of the dead go after 30 s."""
        self.now = now if self._heard is None else min(now, self._heard + _DEAF)
        self._date()
        self._tell_builds()
        over = len(self._died) - _MOST_DEAD
        dead = enumerate(self._died.items())
        for slave_id in [one for at, (one, died) in dead if at < over or self.now - died > STAYS]:
            del self._died[slave_id]
            self.left.append(self.slaves.pop(slave_id))
            self._changes.gone.add(slave_id)
        if self._clock.sure and self._signs:
            self._read_signs()
        due, self._due = self._due, {}
        for slave_id, quiet in due.items():
            self._look_at(slave_id, quiet=quiet)
        if not self._round:
            self._round.extend(self.slaves)
        for _ in range(min(len(self._round), max(_FEW, len(self.slaves) // _ROUND))):
            self._look_at(self._round.popleft(), quiet=False)

    def redate(self) -> None:
        """Estimate all ages again from the master's timestamps, as soon as a live message comes.

        For a console that was suspended: its time stood still, and the master's did not.
        """
        self._clock = MasterClock()
        self._undated.update(self.slaves)

    def _date(self) -> None:
        """Find when states and builds began that are known from a replay only."""
        for slave in filter(None, map(self.slaves.get, self._undated)):
            slave.state_began = self._clock.here(slave.since, self.now)
            if slave.job_since is not None:
                slave.build_began = self._clock.here(slave.job_since, self.now)
        if self._clock.sure:
            self._undated.clear()

    def _read_signs(self) -> None:
        """Find when slaves were last heard of whom we have only been told.

        Who was silent for longer than the master allows would be gone: its clock is slow.
        """
        for slave_id, stamped in self._signs.items():
            slave = self.slaves.get(slave_id)
            if slave is None:
                continue
            heard = self._clock.here(stamped, self.now)
            if slave.heard_what:
                slave.heard = max(heard, slave.heard)
            elif slave.skew is not None or self.now - heard < slave.info.busy_timeout:
                slave.heard = heard
        self._signs.clear()

    def _look_at(self, slave_id: int, *, quiet: bool) -> None:
        """Compare a slave with its peers and its limits; tell of new alerts unless *quiet*."""
        slave = self.slaves.get(slave_id)
        if slave is None:
            return
        alerts, ratio, rest = slave.alerts, slave.ratio, slave.eta
        elapsed = self._compare(slave)
        if slave.joins > 2:
            slave.joins = self._joins.lately(slave.label, slave.info.board_serial, self.now)
        slave.alerts = health.judge(slave, self.now)
        if alerts == slave.alerts and ratio == slave.ratio and rest == slave.eta:
            return
        slave.version += 1
        self._changes.slaves.add(slave_id)
        if not quiet:
            self._entries += news.alerts(slave, alerts, elapsed, self.now)

    def _compare(self, slave: Slave) -> timedelta:
        """Compare the slave's build with its peers; return how long it takes so far."""
        if slave.job is None:
            if slave.peers:
                slave.peers, slave.median, slave.ratio, slave.eta = 0, None, None, None
            return _ZERO
        elapsed = self.work(slave)
        found = self._peers.compare(slave.abi, clean(slave.job[0]), elapsed)
        slave.peers, slave.median, slave.ratio, slave.slow_from, slave.eta = found
        if slave.told is State.SEND:
            slave.eta = None
        return elapsed

    # What is to be seen -----------------------------------------------------------------------

    def take_changes(self) -> Changes:
        """Return what has changed since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    def take_entries(self) -> list[Entry]:
        """Return what is to be noted in the journal since the last call."""
        entries, self._entries = self._entries, []
        return entries

    def master_time(self, now: datetime) -> datetime:
        """Return the time of the master's clock at *now*, estimated from what has come live."""
        return now - self._clock.ahead

    def elapsed(self, slave: Slave) -> timedelta:
        """Return how long *slave* has been at what it is at (never negative): the TIME column."""
        if slave.told is State.BUILD:
            return self.work(slave)
        return max(_ZERO, self.now - slave.state_began)

    def work(self, slave: Slave) -> timedelta:
        """Return how long *slave* has worked on its build: what is lost if that is given up."""
        if slave.job is None or slave.build_began is None:
            return _ZERO
        return max(_ZERO, self.now - slave.build_began)

    def counts(self) -> Counter[State]:
        """Return how many slaves are in each state now."""
        now = self.now
        return Counter(slave.state_at(now) for slave in self.slaves.values())

    def alerting(self) -> int:
        """Return how many slaves have an alert now."""
        return sum(bool(slave.alerts) for slave in self.slaves.values())

    def rate(self, now: datetime) -> float:
        """Return how many builds end in an hour, as things go."""
        return sum(self._rates(now).values())

    def _rates(self, now: datetime) -> dict[str, float]:
        figures = self.figures[-1] if self.figures else None
        return eta.rates(self.builds, figures, now, self._since)

    def queues(self, now: datetime, without: Collection[int] = ()) -> list[AbiQueue]:
        """Return the queue of each ABI, as it would go on if *without* were paused."""
        hourly = self._rates(now)
        return eta.queues(self.slaves.values(), self.figures, hourly, self.now, without)

    def longest(self, n: int) -> list[Slave]:
        """Return the *n* slaves that have been at their builds for longest."""
        building = (one for one in self.slaves.values() if one.job is not None)
        return heapq.nlargest(n, building, key=self.work)

    def causes(self) -> list[str]:
        """Return what the failures of late are due to, in sentences."""
        return causes.causes(self._lately(), self.slaves.values())

    def as_events(self) -> list[Event]:
        """Return events that make a farm of the same looks, if they are folded as a replay."""
        events: list[Event] = [] if self.info is None else [self.info]
        events += self.figures
        for slave in self.slaves.values():
            events += keyframe.of_slave(slave, self.master_time(slave.heard))
        return [*events, *keyframe.of_builds(self.builds)]

    def validate(self) -> None:
        """Raise ``AssertionError`` unless all that must hold between events does."""
        for key, slave in self.slaves.items():
            assert key == slave.id  # noqa: S101
            assert (slave.job is None) == (slave.job_since is None)  # noqa: S101
            assert slave.told is not State.BUILD or slave.job is not None  # noqa: S101
            assert (slave.told is State.DEAD) == (key in self._died)  # noqa: S101
            assert slave.label == clean(slave.label)  # noqa: S101
            assert in_order([build.seen for build in slave.builds])  # noqa: S101
            assert in_order([stats.timestamp for stats in slave.stats])  # noqa: S101
        assert self._died.keys() <= self.slaves.keys()  # noqa: S101
        assert in_order([build.seen for build in self.builds])  # noqa: S101
        assert in_order([stats.timestamp for stats in self.figures])  # noqa: S101
