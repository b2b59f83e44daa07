"""The simulated farm: it takes time and commands, and returns the events for consoles.

No input or output, no clock: *now* is an argument. Commands act as on our master: KILL acts at the
slave's next request for work, SKIP on a running build; WAKE withdraws both and a pause.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict, deque
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final

from piwheels.console.simulate.boards import make_boards, make_hosts
from piwheels.console.simulate.buildlog import build_log, diagnosis_of
from piwheels.console.simulate.counters import Counters
from piwheels.console.simulate.inventory import PROJECTS
from piwheels.console.simulate.queues import Queues
from piwheels.console.simulate.slaves import Slave, Work, begin_work
from piwheels.core.codec import NoData
from piwheels.core.diagnosis import Diagnosis
from piwheels.core.errors import BadMessage, Refused
from piwheels.core.protocols import (
    AskWhy,
    BuildOutcome,
    CommandReport,
    FailureCount,
    FailuresAsked,
    Job,
    Lane,
    Output,
    Position,
    Rejection,
    RetryAsked,
    SlaveEvent,
    TargetState,
    Why,
    WhyAnswer,
)
from piwheels.core.states import MasterInfo, MasterStats
from piwheels.core.targets import Target, family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from piwheels.console.simulate.boards import Board
    from piwheels.console.simulate.inventory import Project
    from piwheels.core.protocols import WhyState
    from piwheels.core.states import Transition

    #: The events that consoles receive.
    Event = MasterInfo | MasterStats | SlaveEvent | BuildOutcome | Output | CommandReport

#: The number of builds that are kept, of stats in the replay of a slave, and of all in a replay.
PAST, KEPT_STATS, REPLAYED = 500, 100, 15_000
#: How often the master publishes stats, and how often the output of watched builds.
STATS_EVERY: Final = timedelta(seconds=10)
OUTPUT_EVERY: Final = timedelta(seconds=2)
#: How often new versions appear, in seconds of a real farm's time.
RELEASE_EVERY: Final = 20
#: The longest tail of a running build's log, in characters.
TAIL: Final = 2**16
#: The requests that :meth:`World.answer` answers.
ANSWERED: Final = (
    "FIGURES", "QUEUE", "BUILDS", "HOSTS", "TARGETS", "POSITION", "FAILURES", "FAILED", "RETRY",
    "FIRST", "WHY",
)  # fmt: skip
_PROJECTS: Final = {project.name: project for project in PROJECTS}


class World:
    """A farm of *count* slaves that started at *now*; *seed* determines all events.

    It has so many *hosts* of several lanes, too; then there is a target without a slave. It runs
    *pace* times as fast as a real farm. In a *hostile* one, labels, clocks and logs are so.
    """

    def __init__(
        self,
        count: int,
        seed: int,
        now: datetime,
        *,
        hosts: int = 0,
        pace: float = 1,
        hostile: bool = False,
    ) -> None:
        self.random = Random(seed)  # noqa: S311 (a game)
        self.pace = pace
        self.hostile = hostile
        self.paused = False
        self.boards = make_boards(count, self.random, pace, hostile=hostile)
        self.boards += make_hosts(hosts, self.random, pace)
        self.slaves: dict[int, Slave] = {}
        #: The slaves of each host with several lanes.
        self._lanes: defaultdict[str, list[Slave]] = defaultdict(list)
        self.builds: deque[BuildOutcome] = deque(maxlen=PAST)
        self.stats: deque[MasterStats] = deque(maxlen=KEPT_STATS)
        #: The slaves whose logs are followed, each with the length that was sent.
        self.watched: dict[int, int] = {}
        boards: defaultdict[str, float] = defaultdict(float)
        for board in self.boards:
            abis = [offer.abi for offer in board.offers] or [board.info.native_abi]
            for abi in abis:
                boards[abi] += 1 / (len(abis) * board.speed if board.offers else 1)
        self._queues = Queues(boards, self.random)
        self._counters = Counters()
        self._events: list[Event] = []
        self._plan: list[tuple[datetime, int, Callable[..., None], Any]] = []
        self._sequence = itertools.count()
        self._numbers = itertools.count(48_213_001)
        #: While the past is simulated, no events are kept for consoles.
        self._past = False
        self._output_sent = now
        self._begin(now)

    # The master -------------------------------------------------------------------------------

    def _begin(self, now: datetime) -> None:
        """Start the master: without slaves, and with numbers from 1."""
        self.info = MasterInfo(now, "farm.example", "Debian", "13", "d04170", "10000000feedbeef")
        self.slaves.clear()
        self._lanes.clear()
        self.watched.clear()
        self.paused = False
        self._plan.clear()
        self._ids = itertools.count(1)
        for index, board in enumerate(self.boards):
            self._at(now, self.random.uniform(0, min(20, 1 + index)), self._join, board)
        self._at(now, 1, self._publish_master_stats, None)
        self._at(now, 5, self._release, None)

    def restart(self, now: datetime) -> None:
        """Restart the master: all builds are lost, and all slaves join again."""
        self._events.clear()
        self._begin(now)

    def _at(self, now: datetime, seconds: float, what: Callable[..., None], whom: Any) -> None:
        """Schedule *what* for *whom* in *seconds* of simulated time."""
        self._plan_at(now + timedelta(seconds=seconds / self.pace), what, whom)

    def _plan_at(self, when: datetime, what: Callable[..., None], whom: Any) -> None:
        heapq.heappush(self._plan, (when, next(self._sequence), what, whom))

    def step(self, now: datetime) -> list[Event]:
        """Advance to *now*; return the events, oldest first."""
        while self._plan and self._plan[0][0] <= now:
            when, _, what, whom = heapq.heappop(self._plan)
            what(whom, when)
        if now - self._output_sent >= OUTPUT_EVERY:
            self._output_sent = now
            for number in list(self.watched):
                self._send_output(number, now)
        events, self._events = self._events, []
        return events

    def live_until(self, now: datetime) -> None:
        """Advance to *now* without events, which is faster."""
        self._past = True
        self.step(now)
        self._past = False
        # Only the ends of running builds were scheduled: add the stats before them.
        planned, self._plan = self._plan, []
        for when, _, what, whom in planned:
            builds = what == self._ask and whom.work is not None and not whom.sends
            first = min(when, whom.board.next_stats(now)) if builds else when
            self._plan_at(first, what, whom)

    def _publish(self, slave: Slave, now: datetime, message: str, data: Any = NoData) -> None:
        if not self._past:
            self._events.append(SlaveEvent(slave.number, now, message, data))

    def _reply(self, slave: Slave, now: datetime, message: str, data: Any = NoData) -> None:
        slave.receive(message, data, now)
        self._publish(slave, now, message, data)

    def _publish_master_stats(self, _: None, now: datetime) -> None:
        self._plan_at(now + STATS_EVERY, self._publish_master_stats, None)
        pending = self._queues.pending()
        self.stats.append(self._counters.stats(now, pending, len(self.slaves), self.random))
        self._events.append(self.stats[-1])

    def _release(self, _: None, now: datetime) -> None:
        self._at(now, RELEASE_EVERY, self._release, None)
        self._queues.release(RELEASE_EVERY)

    # The life of a slave ----------------------------------------------------------------------

    def _join(self, board: Board, now: datetime) -> None:
        slave = Slave(next(self._ids), board, now)
        self.slaves[slave.number] = slave
        if board.host:
            slave.lanes = self._lanes[board.host]
            slave.lanes.append(slave)
        if board.fault == "flapping":
            slave.vanishes_at = now + timedelta(seconds=self.random.uniform(20, 120)) / self.pace
        slave.move("ACK", NoData, now)
        self._publish(slave, now, "HELLO", board.info)
        self._at(now, self.random.uniform(0.5, 2), self._ask, slave)

    def _ask(self, slave: Slave, now: datetime) -> None:
        """Handle the next request of a slave, which depends on its state."""
        if self.slaves.get(slave.number) is not slave:
            return
        if slave.vanishes_at is not None and now >= slave.vanishes_at:
            self._fall_silent(slave, now)
        elif slave.work is None:
            self._idle(slave, now)
        elif slave.sends:
            self._sent(slave, slave.work, now)
        elif slave.skipped:
            self._end_work(slave, slave.work, now, "skipped")
        elif now >= slave.work.until:
            self._built(slave, slave.work, now)
        else:
            self._publish_slave_stats(slave, now)
            self._plan_busy(slave, slave.work, now)

    def _publish_slave_stats(self, slave: Slave, now: datetime) -> None:
        if not self._past:
            self._publish(slave, now, "STATS", slave.stats(now))

    def _plan_busy(self, slave: Slave, work: Work, now: datetime) -> None:
        when = work.until if self._past else min(work.until, slave.board.next_stats(now))
        self._plan_at(when, self._ask, slave)

    def _idle(self, slave: Slave, now: datetime) -> None:
        self._publish_slave_stats(slave, now)
        slave.skipped = False
        if slave.killed:
            self._leave(slave, now, self.random.uniform(200, 600))
            return
        if self.paused or slave.paused:
            self._reply(slave, now, "SLEEP", data=True)
        elif (following := self._next(slave, now)) is None:
            self._reply(slave, now, "SLEEP", data=False)
        else:
            number = next(self._numbers)
            work = begin_work(
                number, following, slave.board, now, random=self.random, pace=self.pace
            )
            self._start_build(slave, work, now)
            return
        self._plan_at(slave.board.next_stats(now), self._ask, slave)

    def _next(self, slave: Slave, now: datetime) -> tuple[Project, str] | None:
        """Take the next version for a slave. Often a lane builds it for another target."""
        board = slave.board
        if board.offers and self.random.random() < 0.5:
            target = self.random.choice(board.offers)._asdict()
            board.info = board.info._replace(**{f"native_{key}": it for key, it in target.items()})
            self._publish(slave, now, "HELLO", board.info)
        return self._queues.next(board.info.native_abi)

    def _start_build(self, slave: Slave, work: Work, now: datetime) -> None:
        slave.work, slave.sent = work, 0
        if self.random.random() < (0.2 if slave.board.fault == "unresponsive" else 0.0005):
            slave.vanishes_at = now + (work.until - now) * self.random.random()
        self._reply(slave, now, "BUILD", work.job)
        self._plan_busy(slave, work, now)

    def _built(self, slave: Slave, work: Work, now: datetime) -> None:
        if not work.files:
            self._end_work(slave, work, now, "failed")
            return
        slave.sent = 1
        self._reply(slave, now, "SEND", work.files[0])
        self._at(now, self.random.uniform(1, 15), self._ask, slave)

    def _sent(self, slave: Slave, work: Work, now: datetime) -> None:
        if slave.sent < len(work.files):
            slave.sent += 1
            self._reply(slave, now, "SEND", work.files[slave.sent - 1])
            self._at(now, self.random.uniform(1, 15), self._ask, slave)
        else:
            self._end_work(slave, work, now, "ok")

    def _end_work(self, slave: Slave, work: Work, now: datetime, result: Any) -> None:
        info = slave.board.info
        skipped = result == "skipped"
        outcome = BuildOutcome(
            None if skipped else work.number, slave.number, info.label, *work.job, info.native_abi,
            result, min(now, work.until) - work.since, 0 if skipped else len(work.files), now,
            platform=family(info.native_platform),
        )  # fmt: skip
        if result == "failed":
            outcome = self._diagnosed(outcome, work.number, now)
        self._send_output(slave.number, now, last=True)
        slave.work = None
        if not skipped:
            self.builds.append(outcome)
            self._counters.count(outcome, now)
        if not self._past:
            self._events.append(outcome)
        self._reply(slave, now, "DONE")
        self._at(now, self.random.uniform(1, 3), self._ask, slave)

    def _diagnosed(self, outcome: BuildOutcome, number: int, now: datetime) -> BuildOutcome:
        """Return the outcome of a failed build with its diagnosis, and with what follows."""
        found = diagnosis_of(number)
        counts = found.about.fault != "farm"
        return outcome._replace(
            reason=found.reason, subject=found.subject, cause=found.cause, counts=counts,
            retry_at=None if counts else now + timedelta(minutes=10),
        )  # fmt: skip

    def _fall_silent(self, slave: Slave, now: datetime) -> None:
        slave.vanishes_at = None
        if slave.board.fault != "flapping":
            self._plan_at(now + slave.board.info.busy_timeout, self._expire, slave)
            return
        # Its connection breaks and it joins again; usually it leaves in order first.
        self._at(now, self.random.uniform(2, 30), self._join, slave.board)
        if self.random.random() < 0.7:
            self._leave(slave, now, None)
        else:
            self._plan_at(now + slave.board.info.busy_timeout, self._expire, slave)

    def _expire(self, slave: Slave, now: datetime) -> None:
        if self.slaves.get(slave.number) is slave:
            back = None if slave.board.fault == "flapping" else self.random.uniform(60, 400)
            self._leave(slave, now, back)

    def _leave(self, slave: Slave, now: datetime, back_after: float | None) -> None:
        """Remove a slave; its board joins again after *back_after* seconds (``None``: it has)."""
        del self.slaves[slave.number]
        if slave.board.host:
            slave.lanes.remove(slave)
        self.watched.pop(slave.number, None)
        if slave.work is not None and not slave.skipped:
            abi, work = slave.board.info.native_abi, slave.work
            self._queues.put_back(abi, work.project, work.job.version)
        self._publish(slave, now, "DIE")
        if back_after is not None:
            self._at(now, back_after, self._join, slave.board)

    # Commands ---------------------------------------------------------------------------------

    def command(
        self, verb: Any, slaves: Iterable[int] | None, who: str, now: datetime
    ) -> list[Rejection]:
        """Give *slaves* (``None``: all) a command; return the rejections."""
        named = None if slaves is None else list(dict.fromkeys(slaves))
        self._events.append(CommandReport(who, verb, named, now))
        if named is None:
            if verb in ("SLEEP", "WAKE"):
                self.paused = verb == "SLEEP"
            for slave in self.slaves.values():
                if verb != "SKIP" or slave.builds:
                    slave.apply(verb)
            return []
        rejections = []
        for number in named:
            one = self.slaves.get(number)
            if one is None:
                rejections.append(Rejection(number, "no such slave"))
            elif verb == "SKIP" and not one.builds:
                rejections.append(Rejection(number, "not building"))
            else:
                one.apply(verb)
        return rejections

    # Answers ----------------------------------------------------------------------------------

    def replay(self, after: int, most: int, now: datetime) -> list[SlaveEvent]:
        """Return the past events of the slaves that follow number *after*.

        At most *most* events, but all of at least one slave.
        """
        events: list[SlaveEvent] = []
        stats = min(KEPT_STATS, max(1, REPLAYED // max(1, len(self.slaves))))
        for number, slave in self.slaves.items():
            if number > after:
                of_slave = list(slave.events(now, stats))
                if events and len(events) + len(of_slave) > most:
                    break
                events += of_slave
        return events

    def history(self, number: int) -> list[Transition] | None:
        """Return a slave's last transitions, oldest first; ``None``: there is no such slave."""
        slave = self.slaves.get(number)
        return None if slave is None else list(slave.history)

    def answer(self, msg: str, data: Any) -> Any:
        """Return the answer to a request about the farm as it is, or about its queue."""
        match msg:
            case "FIGURES":
                return list(self.stats)
            case "QUEUE":
                return self._queues.heads(min(data, 1000))
            case "BUILDS":
                return list(reversed(self.builds))[:data]
            case "WHY":
                return self.why(data)
            case "FAILURES":
                return self.failures()
            case "FAILED":
                return self.failed(data)[:200]
            case "RETRY":
                return self.retry(data)
            case "FIRST":
                self.put_first(data)
                return NoData
            case "HOSTS":
                return self.lanes(data)
            case "TARGETS":
                return self.targets()
            case "POSITION":
                return self.position(data)
        raise BadMessage(f"{msg} has no handler")

    def failures(self) -> list[FailureCount]:
        """Return how many builds have failed, by reason and subject, most first."""
        rows: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for one in self.builds:
            if one.result == "failed":
                rows[one.reason, one.subject].append(one.package)
        counts = [FailureCount(*key, len(each), len(set(each))) for key, each in rows.items()]
        return sorted(counts, key=lambda count: -count.builds)

    def failed(self, what: Job | FailuresAsked) -> list[BuildOutcome]:
        """Return the failed builds of a version, or those with a reason, newest first."""
        if isinstance(what, FailuresAsked):
            found = [one for one in self.builds if (one.reason, one.subject) == what[1:]]
        else:
            found = [one for one in self.builds if (one.package, one.version) == what]
        return [one for one in reversed(found) if one.result == "failed"]

    def retry(self, what: Job | RetryAsked) -> int:
        """Put failed builds into the queue again, or only count them; return their number."""
        chosen = self.failed(what.failures if isinstance(what, RetryAsked) else what)
        if not (isinstance(what, RetryAsked) and what.preview):
            for one in chosen:
                self.builds.remove(one)
                self._queues.put_back(one.abi, _PROJECTS[one.package], one.version)
        return len(chosen)

    def put_first(self, job: Job) -> None:
        """Move a version to the head of its queues. Raises ``Refused`` if it does not wait."""
        if not self._queues.put_first(job):
            raise Refused("FIRST", f"{' '.join(job)} does not wait")

    def lanes(self, after: int) -> list[Lane]:
        """Return the slaves with numbers above *after* that are lanes of hosts."""
        return [
            Lane(number, slave.board.host, slave.board.lane)
            for number, slave in self.slaves.items()
            if slave.board.host and number > after
        ]

    def targets(self) -> list[TargetState]:
        """Return the queue of each target: that of its ABI. Nobody builds for the last one."""
        pending, offered = self._queues.pending(), self._offered()
        found = [
            TargetState(platform, abi, pending[abi], count)
            for (platform, abi), count in sorted(offered.items())
        ]
        if any(board.host for board in self.boards):
            found.append(TargetState("linux_riscv64", "cp314", 37, 0, self.info.started))
            found.append(TargetState("linux_i686", "cp39", 0, 0, skip="EOL"))
        return found

    def _offered(self) -> Counter[Target]:
        """Return how many slaves offer each target."""
        offered: Counter[Target] = Counter()
        for slave in self.slaves.values():
            own = slave.board.info[2:5]
            offered.update({Target(family(one[2]), one[1]) for one in slave.board.offers or [own]})
        return offered

    def position(self, job: Job) -> list[Position]:
        """Return the place of a version in the queue of each target."""
        places, pending = self._queues.find(job), self._queues.pending()
        why = ["waits for 2h10", "4,210 downloads a month"]
        return [
            Position(*target, places[target.abi], pending[target.abi], why)
            for target in sorted(self._offered())
            if places[target.abi]
        ]

    def why(self, asked: AskWhy) -> WhyAnswer:
        """Return for each target whether there is a wheel of a version, or why there is none."""
        builds = [one for one in self.builds if one.package == asked.package]
        versions = [asked.version] if asked.version else sorted({one.version for one in builds})
        lines = []
        for version in versions[:20]:
            places = self._queues.find(Job(asked.package, version))
            last = {one.abi: one for one in builds if one.version == version}
            for target in sorted(self._offered()):
                build, place = last.get(target.abi), places[target.abi]
                state: WhyState = "waiting"
                text, number = f"waiting, place {place:,}" if place else "waiting", 0
                if build is not None:
                    number = build.build_id or 0
                    state, text = "built", "built"
                    if build.result == "failed":
                        state = "failed" if build.counts else "put-off"
                        text = Diagnosis(build.reason, build.subject).sentence
                detail = "" if build is None else build.cause
                lines.append(Why(version, *target, state, text, detail, number))
        return WhyAnswer(lines, max(0, len(versions) - 20))

    def watch(self, number: int, now: datetime) -> Output | None:
        """Follow the log of a slave's builds; return the log so far."""
        slave = self.slaves.get(number)
        if slave is None:
            return None
        self.watched[number] = 0
        if slave.work is None:
            return None
        output = slave.work.output(now, hostile=self.hostile)
        self.watched[number] = len(output)
        offset = max(0, len(output) - TAIL)
        return Output(number, *slave.work.job, offset, output[offset:]) if output else None

    def _send_output(self, number: int, now: datetime, *, last: bool = False) -> None:
        slave = self.slaves.get(number)
        if slave is None or slave.work is None or number not in self.watched or self._past:
            return
        before = self.watched[number]
        whole = last and not slave.skipped
        output = slave.work.output(slave.work.until if whole else now, hostile=self.hostile)
        if len(output) > before:
            self._events.append(Output(number, *slave.work.job, before, output[before:][:TAIL]))
        self.watched[number] = 0 if last else max(before, min(len(output), before + TAIL))

    def log(self, build_id: int) -> str | None:
        """Return the log of a build, if it is one of the last that have ended."""
        for one in self.builds:
            if one.build_id == build_id:
                ok, job = one.result == "ok", (one.package, one.version)
                return build_log(build_id, *job, ok=ok, hostile=self.hostile).text
        return None
