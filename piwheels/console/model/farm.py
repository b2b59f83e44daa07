"""The model of a farm: a fold over the master's messages."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from piwheels.console.model import entries, eta, failures, health, keyframe
from piwheels.console.model.clock import MasterClock, is_own_time, without
from piwheels.console.model.flapping import JoinHistory
from piwheels.console.model.history import add_stats, insert, is_sorted, merge
from piwheels.console.model.journal import Entry, Kind
from piwheels.console.model.peers import Peers
from piwheels.console.model.replies import When, apply
from piwheels.console.model.slave import Moment, PastBuild, Slave, State
from piwheels.console.text import clean
from piwheels.core.protocols import BuildOutcome, Lane, SlaveEvent
from piwheels.core.states import MasterInfo, MasterStats

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from piwheels.console.model.eta import AbiQueue
    from piwheels.console.model.events import Event
    from piwheels.core.states import SlaveInfo

#: How long the row of a slave that left stays.
ROW_STAYS: Final = timedelta(seconds=30)
#: The most slaves at a time, and the most dead ones among them: hostile messages cannot exhaust
#: memory.
MOST, _MOST_DEAD = 50_000, 5000
#: After this silence of the master, the model's time stands still: slaves are not silent
#: if the console receives nothing.
_SILENCE: Final = timedelta(seconds=15)
#: Unchanged slaves are checked once in this many ticks, but at least this many in each tick.
_ROUND, _FEW = 5, 100
#: The number of builds in which causes of failures are searched.
_RECENT: Final = 200
_ZERO: Final = timedelta()
#: Two slaves with one label are two, and not one that reconnected, if the earlier one is heard this
#: long after the later one appeared.
_BOTH: Final = timedelta(seconds=10)
#: The longest time between the greeting of a slave and the event that reports it.
_MOMENT: Final = timedelta(seconds=1)
#: The fields of a slave's HELLO that say what it builds for.
_NATIVE: Final = ("native_py_version", "native_abi", "native_platform")


@dataclass(slots=True)
class Changes:
    """Changes since the last call."""

    #: A new master, or a restarted one: all slaves are gone and all ids are free.
    epoch: bool = False
    #: Ids of new slaves, and of slaves that look different.
    new: set[int] = field(default_factory=set)
    slaves: set[int] = field(default_factory=set)
    #: Slaves whose rows disappear (some time after they left).
    gone: set[int] = field(default_factory=set)
    #: The master's stats; the link; commands; the journal; the queue, builds or other answers.
    stats: bool = False
    link: bool = False
    commands: bool = False
    journal: bool = False
    answers: bool = False

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


class FarmModel:
    """The state of a farm. :meth:`fold` takes an event, :meth:`tick` lets time pass.

    *now* is always console time; :meth:`master_time` converts it to the master's clock.
    """

    def __init__(self) -> None:
        self.info: MasterInfo | None = None
        self.stats: deque[MasterStats] = deque(maxlen=100)
        #: The ABIs for which some slave can build, as far as the master has reported.
        self.offered: frozenset[str] = frozenset()
        self.slaves: dict[int, Slave] = {}
        #: The numbers of the slaves with each label.
        self._by_label: defaultdict[str, set[int]] = defaultdict(set)
        #: The numbers of the lanes of each host.
        self._by_host: defaultdict[str, set[int]] = defaultdict(set)
        #: The slave with each label and serial that has joined last.
        self._newest: dict[tuple[str, str], Slave] = {}
        #: Slaves that have left, newest last.
        self.left: deque[Slave] = deque(maxlen=500)
        #: Builds that have ended, newest last.
        self.builds: deque[PastBuild] = deque(maxlen=2000)
        #: Console time, but at most some seconds after the last message.
        self.now: datetime = None  # type: ignore[assignment]
        #: The number of messages about unknown slaves.
        self.unknown = 0
        self._last_contact: datetime | None = None
        self._clock = MasterClock()
        self._peers = Peers()
        self._changes = Changes()
        self._journal: list[Entry] = []
        #: Slaves whose builds an operator has skipped.
        self._skipped: set[int] = set()
        #: When each dead slave died, by console time.
        self._died: dict[int, datetime] = {}
        #: Slaves to check, and whether to check them without journal entries.
        self._due: dict[int, bool] = {}
        self._round: deque[int] = deque()
        #: The master's timestamp of each slave's last message in a replay.
        self._last_stamps: dict[int, datetime] = {}
        #: Builds that have ended since the last tick, by slave; their results may follow.
        self._ended: dict[int, tuple[datetime, PastBuild]] = {}
        self._joins = JoinHistory()
        #: Slaves whose times are estimates, made before a live message gave the master's time.
        self._undated: set[int] = set()
        #: The console time from which all builds are known.
        self._since: datetime | None = None
        #: Packages that fail everywhere and were reported.
        self._broken: set[str] = set()
        self._disk_step = 0
        #: When the master started, by console time, and whether that is more than an estimate made
        #: before a live message gave the master's time.
        self._started: datetime | None = None
        self._started_dated = False

    # What happened ----------------------------------------------------------------------------

    def fold(self, event: Event, now: datetime, *, replay: bool = False) -> None:
        """Take *event*. A *replay* is no news: it causes no alerts and no journal entries."""
        self.now = self._last_contact = now
        match event:
            case SlaveEvent():
                if not is_own_time(event):
                    self._clock.note(now, event.timestamp, past=replay)
                if self._clock.sure:
                    self._date()
                self._slave_event(event, replay)
            case BuildOutcome():
                self._outcome(event, replay)
            case Lane():
                self._lane(event)
            case MasterStats():
                self._clock.note(now, event.timestamp, past=replay)
                self._master_stats(event, replay)
            case MasterInfo():
                self._info(event)

    def _info(self, info: MasterInfo) -> None:
        if self.info is not None and self.info.started != info.started:
            for of_slaves in (self.slaves, self._died, self._due, self._last_stamps, self._ended):
                of_slaves.clear()
            self._by_label.clear()
            self._by_host.clear()
            self._newest.clear()
            for others in (self.left, self._round, self._skipped, self._undated):
                others.clear()
            self.builds = deque((one for one in self.builds if one.result), self.builds.maxlen)
            self._clock, self._joins, self._since = MasterClock(), JoinHistory(), None
            self._changes = Changes(epoch=True, stats=True)
            self._started = None
        self.info = info

    def _master_stats(self, stats: MasterStats, replay: bool) -> None:
        add_stats(self.stats, stats, set_back=not replay)
        self._changes.stats = True
        step = health.disk_step(self.stats[-1])
        if step > self._disk_step and not replay:
            self._journal.append(
                Entry(self.now, Kind.MASTER, None, "", f"the master's disk is {step}% full")
            )
        self._disk_step = step

    def _slave_event(self, event: SlaveEvent, replay: bool) -> None:
        slave_id, at, message, data = event
        here = self._clock.here(at, self.now) if replay else self.now
        slave = self.slaves.get(slave_id)
        if message == "HELLO":
            if slave is None and len(self.slaves) >= MOST:
                self.unknown += 1
                return
            slave = self._hello(slave, event, here, replay)
        elif slave is None:
            self.unknown += 1
            return
        elif message == "STATS":
            add_stats(slave.stats, data, set_back=not replay)
            if not is_own_time(event):
                slave.skew = data.timestamp - at
            elif slave.skew is not None:
                at = without(at, slave.skew)
        else:
            self._reply(slave, event, here, replay)
        if replay:
            self._undated.add(slave_id)
            self._last_stamps[slave_id] = max(at, self._last_stamps.get(slave_id, at))
        else:
            slave.last_contact, slave.last_message = self.now, message
            self._since = self._since or self.now
        self._touch(slave, quiet=replay)

    def _touch(self, slave: Slave, *, quiet: bool) -> None:
        self._due[slave.id] = quiet or self._due.get(slave.id, False)
        slave.version += 1
        self._changes.slaves.add(slave.id)

    def _hello(self, slave: Slave | None, event: SlaveEvent, here: datetime, replay: bool) -> Slave:
        """Return the slave that introduces itself: a new one, or the one that is known."""
        slave_id, at, _, info = event
        label = clean(info.label)
        if slave is not None and slave.label == label:
            # A replay has the time of the greeting, which came a moment before its event.
            again = abs(at - slave.joined) <= (_MOMENT if replay else _ZERO)
            if again or _takes_up_target(slave, info):
                if slave.info != info:
                    what = f"{info.native_abi} {info.native_platform}"
                    slave.timeline.append(Moment(max(at, slave.joined), "ABI", what))
                slave.info = info
                return slave
        slave = Slave(
            slave_id, info, label, joined=at, reported_at=at, since=at, last_contact=self.now
        )
        slave.appeared = slave.state_began = here
        slave.joins = self._count_joins(slave)
        slave.timeline.append(Moment(at, "JOIN", slave.abi))
        if (before := self.slaves.get(slave_id)) is not None:
            self._forget_names(before)
        self.slaves[slave_id] = slave
        self._by_label[label].add(slave_id)
        self._died.pop(slave_id, None)
        self._changes.new.add(slave_id)
        if not replay:
            self._journal.append(entries.joined(slave, self.now))
        return slave

    def _count_joins(self, slave: Slave) -> int:
        """Return how often the slave's board has joined recently. Its lanes join together, once."""
        serial = slave.info.board_serial
        before = self._newest.get((slave.label, serial)) if serial else None
        self._newest[slave.label, serial] = slave
        if before is not None and _joined_together(before, slave):
            return before.joins
        return self._joins.add(slave.label, serial, slave.joined, slave.appeared)

    def _lane(self, lane: Lane) -> None:
        """Learn which host a slave is a lane of."""
        slave = self.slaves.get(lane.slave_id)
        if slave is None or not lane.host or (slave.host, slave.lane) == lane[1:]:
            return
        if slave.host:
            _discard(self._by_host, slave.host, slave.id)
        slave.host, slave.lane = lane.host, lane.lane
        self._by_host[slave.host].add(slave.id)
        self._touch(slave, quiet=False)

    def _forget_names(self, slave: Slave) -> None:
        _discard(self._by_label, slave.label, slave.id)
        if slave.host:
            _discard(self._by_host, slave.host, slave.id)
        about = slave.label, slave.info.board_serial
        if self._newest.get(about) is slave:
            del self._newest[about]

    def _reply(self, slave: Slave, event: SlaveEvent, here: datetime, replay: bool) -> None:
        slave_id, at, message, data = event
        skipped = slave_id in self._skipped
        ended = apply(slave, message, data, When(at, here, replay), skipped=skipped)
        if message in ("DONE", "BUILD"):
            self._skipped.discard(slave_id)
        if ended is not None:
            insert(self.builds, ended)
            self._add_build(ended, None, replay)
        if slave.reported is not State.DEAD:
            self._died.pop(slave_id, None)
        elif slave_id not in self._died:
            self._died[slave_id] = self.now
            if not replay:
                self._journal.append(entries.left(slave, self.now, builds=ended is not None))

    # Builds -----------------------------------------------------------------------------------

    def skipped(self, slave_id: int) -> None:
        """Record that an operator skips a slave's build."""
        self._skipped.add(slave_id)

    def _outcome(self, outcome: BuildOutcome, replay: bool) -> None:
        """Take the outcome of a build, which a level-1 master sends before or after DONE."""
        here = self._clock.here(outcome.ended, self.now) if replay else self.now
        build = PastBuild.of(outcome, here)
        slave = self.slaves.get(outcome.slave_id)
        if slave is not None and slave.label == build.label:
            merge(slave.builds, build)
            slave.outcome = slave.builds[-1]
            self._touch(slave, quiet=replay)
        if replay and (self._since is None or build.seen < self._since):
            self._since = build.seen
        self._add_build(build, merge(self.builds, build), replay)

    def _add_build(self, build: PastBuild, before: PastBuild | None, replay: bool) -> None:
        """Learn from a build; *before*: an earlier, less complete record of it."""
        known = "" if before is None else before.result
        if build.result == "ok" != known and build.duration is not None:
            self._peers.add(build.abi, build.package, build.duration)
        waits = self._ended.get(build.slave_id)
        if waits is not None and waits[1] == before:
            self._ended[build.slave_id] = waits[0], build
        elif not replay and build.result not in ("", known):
            if waits is not None:
                self._journal.append(entries.ended(waits[1], waits[0]))
            self._ended[build.slave_id] = self.now, build

    def _report_builds(self) -> None:
        """Add entries for the ended builds whose outcomes have had time to arrive."""
        ended = [entries.ended(build, at) for at, build in self._ended.values()]
        self._ended.clear()
        self._journal += ended
        if any(entry.kind is Kind.FAIL for entry in ended):
            found = failures.packages(self._recent_builds())
            for package in found.keys() - self._broken:
                self._journal.append(Entry(self.now, Kind.WARN, None, "", found[package]))
            self._broken = set(found)

    def _recent_builds(self) -> Iterator[PastBuild]:
        return itertools.islice(reversed(self.builds), _RECENT)

    # Time -------------------------------------------------------------------------------------

    def tick(self, now: datetime) -> None:
        """Update silences, alerts and estimates; remove the rows of dead slaves after 30 s."""
        self.now = now if self._last_contact is None else min(now, self._last_contact + _SILENCE)
        self._date()
        self._report_builds()
        over = len(self._died) - _MOST_DEAD
        dead = enumerate(self._died.items())
        for slave_id in [
            one for at, (one, died) in dead if at < over or self.now - died > ROW_STAYS
        ]:
            del self._died[slave_id]
            gone = self.slaves.pop(slave_id)
            self.left.append(gone)
            self._forget_names(gone)
            self._changes.gone.add(slave_id)
        if self._clock.sure and self._last_stamps:
            self._estimate_contacts()
        due, self._due = self._due, {}
        for slave_id, quiet in due.items():
            self._check(slave_id, quiet=quiet)
        if not self._round:
            self._round.extend(self.slaves)
        for _ in range(min(len(self._round), max(_FEW, len(self.slaves) // _ROUND))):
            self._check(self._round.popleft(), quiet=False)

    def redate(self) -> None:
        """Estimate all ages again from the master's timestamps, as soon as a live message comes.

        For a console that was suspended: its time stood still, and the master's did not.
        """
        self._clock = MasterClock()
        self._undated.update(self.slaves)
        self._started_dated = False

    def _date(self) -> None:
        """Find when the master started, and when states and builds began.

        For those that are known from a replay only, until a live message gives the master's time.
        """
        if self.info is not None and not (self._started and self._started_dated):
            self._started = self._clock.here(self.info.started, self.now)
            self._started_dated = self._clock.sure
        for slave in filter(None, map(self.slaves.get, self._undated)):
            slave.appeared = self._clock.here(slave.joined, self.now)
            slave.state_began = self._clock.here(slave.since, self.now)
            if slave.job_since is not None:
                slave.build_began = self._clock.here(slave.job_since, self.now)
        if self._clock.sure:
            self._undated.clear()

    def _estimate_contacts(self) -> None:
        """Estimate the last contact of slaves that are known only from a replay.

        A slave that was silent beyond its limit would be gone: then its timestamps are wrong.
        """
        for slave_id, stamped in self._last_stamps.items():
            slave = self.slaves.get(slave_id)
            if slave is None:
                continue
            contact = self._clock.here(stamped, self.now)
            if slave.last_message:
                slave.last_contact = max(contact, slave.last_contact)
            elif slave.skew is not None or self.now - contact < slave.info.busy_timeout:
                slave.last_contact = contact
        self._last_stamps.clear()

    def _check(self, slave_id: int, *, quiet: bool) -> None:
        """Compare a slave with its peers and limits; report new alerts unless *quiet*."""
        slave = self.slaves.get(slave_id)
        if slave is None:
            return
        alerts, ratio, rest = slave.alerts, slave.ratio, slave.eta
        elapsed = self._compare(slave)
        if slave.joins > 2:
            slave.joins = self._joins.count(slave.label, slave.info.board_serial, self.now)
        slave.twin = any(map(partial(_are_two, slave), self._same_label(slave)))
        slave.is_behind = any(map(partial(_is_before, slave), self.lanes(slave)))
        slave.alerts = health.judge(slave, self.now)
        if alerts == slave.alerts and ratio == slave.ratio and rest == slave.eta:
            return
        slave.version += 1
        self._changes.slaves.add(slave_id)
        if not quiet:
            self._journal += entries.alerts(slave, alerts, elapsed, self.now)

    def _same_label(self, slave: Slave) -> Iterator[Slave]:
        return (self.slaves[one] for one in self._by_label[slave.label] if one != slave.id)

    def lanes(self, slave: Slave) -> Iterator[Slave]:
        """Yield the lanes of the slave's host that are known; none if it is no lane."""
        return (self.slaves[one] for one in self._by_host.get(slave.host, ()))

    def _compare(self, slave: Slave) -> timedelta:
        """Compare the slave's build with its peers; return how long it has taken so far."""
        if slave.job is None:
            if slave.peers:
                slave.peers, slave.median, slave.ratio, slave.eta = 0, None, None, None
            return _ZERO
        elapsed = self.work(slave)
        found = self._peers.compare(slave.abi, clean(slave.job[0]), elapsed)
        slave.peers, slave.median, slave.ratio, slave.slow_from, slave.eta = found
        if slave.reported is State.SEND:
            slave.eta = None
        return elapsed

    # What can be read -----------------------------------------------------------------------

    def take_changes(self) -> Changes:
        """Return what has changed since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    def take_entries(self) -> list[Entry]:
        """Return the journal entries since the last call."""
        taken, self._journal = self._journal, []
        return taken

    def master_time(self, now: datetime) -> datetime:
        """Return the time of the master's clock at *now*, estimated from live messages."""
        return now - self._clock.ahead

    def uptime(self, now: datetime) -> timedelta:
        """Return how long the master has run."""
        return _ZERO if self._started is None else max(_ZERO, now - self._started)

    def elapsed(self, slave: Slave) -> timedelta:
        """Return how long *slave* has been in its state (never negative): the TIME column."""
        if slave.reported is State.BUILD:
            return self.work(slave)
        return max(_ZERO, self.now - slave.state_began)

    def work(self, slave: Slave) -> timedelta:
        """Return how long *slave* has built: the work that a skip loses."""
        if slave.job is None or slave.build_began is None:
            return _ZERO
        return max(_ZERO, self.now - slave.build_began)

    def counts(self) -> Counter[State]:
        """Return the number of slaves in each state."""
        now = self.now
        return Counter(slave.state_at(now) for slave in self.slaves.values())

    def alerting(self) -> int:
        """Return the number of slaves with alerts."""
        return sum(bool(slave.alerts) for slave in self.slaves.values())

    def rate(self, now: datetime) -> float:
        """Return the builds per hour at the current rate."""
        return sum(self._rates(now).values())

    def _rates(self, now: datetime) -> dict[str, float]:
        stats = self.stats[-1] if self.stats else None
        return eta.rates(self.builds, stats, now, self._since)

    def queues(self, now: datetime, without: Collection[int] = ()) -> list[AbiQueue]:
        """Return the queue of each ABI, as if *without* were paused."""
        hourly = self._rates(now)
        slaves, offered = self.slaves.values(), self.offered
        return eta.queues(slaves, self.stats, hourly, self.now, without, offered=offered)

    def longest(self, n: int) -> list[Slave]:
        """Return the *n* slaves with the longest running builds."""
        building = (one for one in self.slaves.values() if one.job is not None)
        return heapq.nlargest(n, building, key=self.work)

    def causes(self) -> list[str]:
        """Return the causes of recent failures, in sentences."""
        return failures.explain(self._recent_builds(), self.slaves.values())

    def as_events(self) -> list[Event]:
        """Return events that recreate this farm when they are folded as a replay."""
        events: list[Event] = [] if self.info is None else [self.info]
        events += self.stats
        for slave in self.slaves.values():
            events += keyframe.of_slave(slave, self.master_time(slave.last_contact))
            if slave.host:
                events.append(Lane(slave.id, slave.host, slave.lane))
        return [*events, *keyframe.of_builds(self.builds)]

    def validate(self) -> None:
        """Raise ``AssertionError`` if an invariant is broken."""
        for key, slave in self.slaves.items():
            assert key == slave.id  # noqa: S101
            assert (slave.job is None) == (slave.job_since is None)  # noqa: S101
            assert slave.reported is not State.BUILD or slave.job is not None  # noqa: S101
            assert (slave.reported is State.DEAD) == (key in self._died)  # noqa: S101
            assert slave.label == clean(slave.label)  # noqa: S101
            assert not slave.host or key in self._by_host[slave.host]  # noqa: S101
            assert is_sorted([build.seen for build in slave.builds])  # noqa: S101
            assert is_sorted([stats.timestamp for stats in slave.stats])  # noqa: S101
        for names in (self._by_label, self._by_host):
            assert self.slaves.keys() >= set().union(*names.values())  # noqa: S101
        assert self._died.keys() <= self.slaves.keys()  # noqa: S101
        assert is_sorted([build.seen for build in self.builds])  # noqa: S101
        assert is_sorted([stats.timestamp for stats in self.stats])  # noqa: S101


def _discard(known: defaultdict[str, set[int]], name: str, slave_id: int) -> None:
    known[name].discard(slave_id)
    if not known[name]:
        del known[name]


def _takes_up_target(slave: Slave, info: SlaveInfo) -> bool:
    """Return whether a HELLO only says that *slave*, which is here, builds for another target."""
    return (
        _lives(slave)
        and info != slave.info
        and slave.info == info._replace(**{name: getattr(slave.info, name) for name in _NATIVE})
    )


def _lives(slave: Slave) -> bool:
    return slave.reported is not State.DEAD


def _joined_together(one: Slave, other: Slave) -> bool:
    """Return whether *other* has just joined, soon after *one*, which is still there."""
    soon = abs(other.appeared - one.appeared) <= _BOTH
    return soon and one.id != other.id and _lives(one)


def _is_before(slave: Slave, other: Slave) -> bool:
    """Return whether the lane *other* comes before *slave* among those that live."""
    return _lives(other) and (other.lane, other.id) < (slave.lane, slave.id)


def _are_two(one: Slave, other: Slave) -> bool:
    """Return whether both slaves are alive, and not lanes of one host."""
    if one.host and one.host == other.host:
        return False
    heard = min(one.last_contact, other.last_contact)
    return _lives(one) and _lives(other) and heard > max(one.appeared, other.appeared) + _BOTH
