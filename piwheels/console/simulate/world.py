"""The simulated farm: time passes and commands come, out comes what consoles would be told.

No input or output, no clock: *now* is an argument. What a master does with a command is as ours
does it (``docs``, *The console*): KILL bites at the slave's next request for work, SKIP is for who
builds, WAKE takes everything back.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final

from piwheels.console.simulate.boards import make_boards
from piwheels.console.simulate.buildlog import build_log
from piwheels.console.simulate.catalogue import ABIS, a_version
from piwheels.core.codec import NoData
from piwheels.core.protocols import Job, Outcome, Output, QueueHead, SlaveEvent, Told, Untold
from piwheels.core.states import MasterInfo, MasterStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from piwheels.console.simulate.boards import Board
    from piwheels.console.simulate.buildlog import BuildLog
    from piwheels.console.simulate.catalogue import Project

    #: What consoles are told without asking.
    Event = MasterInfo | MasterStats | SlaveEvent | Outcome | Output | Told

#: How many builds are remembered, how many of a slave's figures, and of all together in a replay.
PAST, FIGURES, REPLAYED = 500, 100, 15_000
#: How often the master gives figures, and how often a build that is watched says something.
FIGURES_EVERY: Final = timedelta(seconds=10)
OUTPUT_EVERY: Final = timedelta(seconds=2)
#: The most of a running build's log that is told, in characters.
TAIL: Final = 2**16
_GIB: Final = 2**30


@dataclass(slots=True, eq=False)
class Work:
    """A build: *number* is what it will be called, *since* and *until* when it begins and ends.

    *files* are the names of the wheels that it makes; none if it fails.
    """

    number: int
    job: Job
    project: Project
    since: datetime
    until: datetime
    files: list[str]
    log: BuildLog | None = None


@dataclass(slots=True, eq=False)
class Slave:
    """A board that is attached, under a number that holds until it leaves."""

    number: int
    board: Board
    joined: datetime
    work: Work | None = None
    #: How many of its build's files it has been asked for.
    sent: int = 0
    reply: tuple[str, Any] | None = None
    replied_at: datetime | None = None
    killed: bool = False
    skipped: bool = False
    paused: bool = False
    #: When it is to vanish without a word.
    vanishes: datetime | None = None

    @property
    def sends(self) -> bool:
        """Whether its build has ended, and its files are on their way."""
        return self.reply is not None and self.reply[0] == "SEND"


@dataclass(slots=True)
class _Books:
    """What the master counts."""

    built: int = 2_731_400
    files: int = 2_655_120
    size: int = 11_400 * _GIB
    time: timedelta = timedelta(days=41_000)
    #: Builds by ABI, a Counter a minute.
    minutes: deque[tuple[int, Counter[str]]] = field(default_factory=lambda: deque(maxlen=60))

    def count(self, outcome: Outcome, now: datetime) -> None:
        self.built += 1
        self.files += outcome.files
        self.size += outcome.files * 1_400_000
        self.time += outcome.duration
        minute = int(now.timestamp() // 60)
        if not self.minutes or self.minutes[-1][0] != minute:
            self.minutes.append((minute, Counter()))
        self.minutes[-1][1][outcome.abi] += 1

    def last_hour(self, now: datetime) -> Counter[str]:
        first = int(now.timestamp() // 60) - 59
        total: Counter[str] = Counter()
        for minute, counts in self.minutes:
            if minute >= first:
                total.update(counts)
        return total


class World:
    """A farm of *count* slaves that began at *now*; *seed* decides on everything.

    Life goes *pace* times as fast as on a real farm. In a *hostile* one labels, clocks and logs are
    what foreigners could make of them.
    """

    def __init__(
        self, count: int, seed: int, now: datetime, *, pace: float = 1, hostile: bool = False
    ) -> None:
        self.random = Random(seed)  # noqa: S311 (a game)
        self.pace = pace
        self.hostile = hostile
        self.paused = False
        self.boards = make_boards(count, self.random, pace, hostile=hostile)
        self.slaves: dict[int, Slave] = {}
        self.builds: deque[Outcome] = deque(maxlen=PAST)
        self.figures: deque[MasterStats] = deque(maxlen=FIGURES)
        #: The slaves whose logs somebody follows, each with how much of it has been told.
        self.watched: dict[int, int] = {}
        self._queues: dict[str, deque[tuple[Project, str]]] = {}
        self._books = _Books()
        self._told: list[Event] = []
        self._plan: list[tuple[datetime, int, Callable[..., None], Any]] = []
        self._order = itertools.count()
        self._numbers = itertools.count(48_213_001)
        #: In the past nobody listens: what only listeners would notice is left out.
        self._past = False
        self._fill_queues()
        self._begin(now)

    # The master -------------------------------------------------------------------------------

    def _begin(self, now: datetime) -> None:
        """Begin anew, as a master does: nobody is there, and numbers begin with 1."""
        self.info = MasterInfo(now, "farm.example", "Debian", "13", "d04170", "10000000feedbeef")
        self.slaves.clear()
        self.watched.clear()
        self.paused = False
        self._plan.clear()
        self._ids = itertools.count(1)
        for index, board in enumerate(self.boards):
            self._at(now, self.random.uniform(0, min(20, 1 + index)), self._join, board)
        self._at(now, 1, self._give_figures, None)
        self._at(now, 5, self._release, None)

    def restart(self, now: datetime) -> None:
        """Let the master end and begin again: builds are lost, and all slaves come back."""
        self._told.clear()
        self._begin(now)

    def _at(self, now: datetime, seconds: float, what: Callable[..., None], whom: Any) -> None:
        """Plan *what* for *whom* in so many *seconds* of a real farm's time."""
        self._plan_at(now + timedelta(seconds=seconds / self.pace), what, whom)

    def _plan_at(self, when: datetime, what: Callable[..., None], whom: Any) -> None:
        heapq.heappush(self._plan, (when, next(self._order), what, whom))

    def step(self, now: datetime) -> list[Event]:
        """Let time pass up to *now*; return what is told, oldest first."""
        while self._plan and self._plan[0][0] <= now:
            when, _, what, whom = heapq.heappop(self._plan)
            what(whom, when)
        for number in list(self.watched):
            self._speak(number, now)
        told, self._told = self._told, []
        return told

    def live_until(self, now: datetime) -> None:
        """Let time pass up to *now* with nobody listening, which is quicker."""
        self._past = True
        self.step(now)
        self._past = False
        # Nothing was planned for who builds but the end of that.
        planned, self._plan = self._plan, []
        for when, _, what, whom in planned:
            builds = what == self._ask and whom.work is not None and not whom.sends
            first = min(when, whom.board.next_figures(now)) if builds else when
            self._plan_at(first, what, whom)

    def _tell(self, slave: Slave, now: datetime, message: str, data: Any = NoData) -> None:
        if not self._past:
            self._told.append(SlaveEvent(slave.number, now, message, data))

    def _reply(self, slave: Slave, now: datetime, message: str, data: Any = NoData) -> None:
        slave.reply, slave.replied_at = (message, data), now
        self._tell(slave, now, message, data)

    def _give_figures(self, _: None, now: datetime) -> None:
        self._plan_at(now + FIGURES_EVERY, self._give_figures, None)
        books, wave = self._books, self.random.uniform(0.9, 1.1)
        disk = 4000 * _GIB
        self.figures.append(
            MasterStats(
                now, books.built, dict(books.last_hour(now)), books.time, books.size,
                self.pending(),
                self.random.randrange(30, 60), books.files, int(41_000 * wave),
                int(28_100_000 * wave), 1_900_000_000 + books.built, disk,
                disk // 3 - books.files % 10**6 * 1000, 8 * _GIB, int(3 * _GIB * wave), 2 * _GIB,
                int(1.9 * _GIB), round(0.4 + len(self.slaves) / 400 * wave, 2), round(51 * wave, 1),
            )
        )  # fmt: skip
        self._told.append(self.figures[-1])

    # The queue --------------------------------------------------------------------------------

    def pending(self) -> dict[str, int]:
        """Return how many versions wait, by ABI."""
        return {tag: len(queue) for tag, queue in self._queues.items()}

    def heads(self, most: int) -> list[QueueHead]:
        """Return the first versions that wait, at most so many of each ABI."""
        return [
            QueueHead(
                tag, len(queue), [Job(one.name, v) for one, v in itertools.islice(queue, most)]
            )
            for tag, queue in self._queues.items()
        ]

    def _boards_of(self, tag: str) -> int:
        return sum(board.info.native_abi == tag for board in self.boards)

    def _fill_queues(self) -> None:
        for abi in ABIS:
            count = abi.begin * self._boards_of(abi.tag) + 3
            self._queues[abi.tag] = deque(a_version(self.random) for _ in range(count))
        self._rates = {abi.tag: abi.filling * self._boards_of(abi.tag) / 460 for abi in ABIS}

    def _release(self, _: None, now: datetime) -> None:
        """Let new versions appear; a build takes about 460 s, which is what the rates go by."""
        self._at(now, 20, self._release, None)
        for tag, rate in self._rates.items():
            count = int(20 * rate + self.random.random())
            self._queues[tag].extend(a_version(self.random) for _ in range(count))

    # The life of a slave ----------------------------------------------------------------------

    def _join(self, board: Board, now: datetime) -> None:
        slave = Slave(next(self._ids), board, now)
        self.slaves[slave.number] = slave
        if board.ailment == "flapping":
            slave.vanishes = now + timedelta(seconds=self.random.uniform(20, 120)) / self.pace
        self._tell(slave, now, "HELLO", board.info)
        self._at(now, self.random.uniform(0.5, 2), self._ask, slave)

    def _ask(self, slave: Slave, now: datetime) -> None:
        """Take the next request of a slave, whatever that is."""
        if self.slaves.get(slave.number) is not slave:
            return
        if slave.vanishes is not None and now >= slave.vanishes:
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
            self._figures_of(slave, now)
            self._plan_busy(slave, slave.work, now)

    def _figures_of(self, slave: Slave, now: datetime) -> None:
        if not self._past:
            self._tell(slave, now, "STATS", self._feels(slave, now))

    def _feels(self, slave: Slave, at: datetime) -> Any:
        if slave.work is None:
            return slave.board.figures(at, None, 0)
        return slave.board.figures(at, slave.work.since, slave.work.project.memory)

    def _plan_busy(self, slave: Slave, work: Work, now: datetime) -> None:
        when = work.until if self._past else min(work.until, slave.board.next_figures(now))
        self._plan_at(when, self._ask, slave)

    def _idle(self, slave: Slave, now: datetime) -> None:
        self._figures_of(slave, now)
        slave.skipped = False
        if slave.killed:
            self._leave(slave, now, self.random.uniform(200, 600))
            return
        queue = self._queues[slave.board.info.native_abi]
        if self.paused or slave.paused:
            self._reply(slave, now, "SLEEP", data=True)
        elif not queue:
            self._reply(slave, now, "SLEEP", data=False)
        else:
            self._give(slave, *queue.popleft(), now)
            return
        self._plan_at(slave.board.next_figures(now), self._ask, slave)

    def _give(self, slave: Slave, project: Project, version: str, now: datetime) -> None:
        board, random = slave.board, self.random
        failing = max(project.failing, 0.8 if board.ailment == "failing" else 0)
        ok = random.random() >= failing
        minutes = project.minutes * board.speed * random.lognormvariate(0, 0.2)
        if not ok:
            minutes *= random.uniform(0.1, 0.9)
        until = now + timedelta(minutes=min(minutes, 175)) / self.pace
        job = Job(project.name, version)
        files = [_wheel(project, version, board)] if ok else []
        slave.work = Work(next(self._numbers), job, project, now, until, files)
        slave.sent = 0
        if random.random() < (0.2 if board.ailment == "mute" else 0.0005):
            slave.vanishes = now + (until - now) * random.random()
        self._reply(slave, now, "BUILD", job)
        self._plan_busy(slave, slave.work, now)

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
        outcome = Outcome(
            None if skipped else work.number, slave.number, info.label, *work.job, info.native_abi,
            result, min(now, work.until) - work.since, 0 if skipped else len(work.files), now,
        )  # fmt: skip
        self._speak(slave.number, now, last=True)
        slave.work = None
        if not skipped:
            self.builds.append(outcome)
            self._books.count(outcome, now)
        if not self._past:
            self._told.append(outcome)
        self._reply(slave, now, "DONE")
        self._at(now, self.random.uniform(1, 3), self._ask, slave)

    def _fall_silent(self, slave: Slave, now: datetime) -> None:
        slave.vanishes = None
        if slave.board.ailment != "flapping":
            self._plan_at(now + slave.board.info.busy_timeout, self._expire, slave)
            return
        # Its connection breaks, and it comes anew; now and then it has time to say so.
        self._at(now, self.random.uniform(2, 30), self._join, slave.board)
        if self.random.random() < 0.7:
            self._leave(slave, now, None)
        else:
            self._plan_at(now + slave.board.info.busy_timeout, self._expire, slave)

    def _expire(self, slave: Slave, now: datetime) -> None:
        if self.slaves.get(slave.number) is slave:
            back = None if slave.board.ailment == "flapping" else self.random.uniform(60, 400)
            self._leave(slave, now, back)

    def _leave(self, slave: Slave, now: datetime, back_after: float | None) -> None:
        """Let a slave go; its board comes back after so many seconds, or is back already."""
        del self.slaves[slave.number]
        self.watched.pop(slave.number, None)
        if slave.work is not None and not slave.skipped:
            queue = self._queues[slave.board.info.native_abi]
            queue.appendleft((slave.work.project, slave.work.job.version))
        self._tell(slave, now, "DIE")
        if back_after is not None:
            self._at(now, back_after, self._join, slave.board)

    # Operators --------------------------------------------------------------------------------

    def command(
        self, verb: Any, slaves: Iterable[int] | None, who: str, now: datetime
    ) -> list[Untold]:
        """Give *slaves* (``None``: all) a command; return those who did not take it."""
        named = None if slaves is None else list(dict.fromkeys(slaves))
        self._told.append(Told(who, verb, named, now))
        if verb == "QUIT":
            return []
        if named is None:
            if verb in ("SLEEP", "WAKE"):
                self.paused = verb == "SLEEP"
            named = list(self.slaves)
            everyone = True
        else:
            everyone = False
        untold = []
        for number in named:
            slave = self.slaves.get(number)
            if slave is None:
                untold.append(Untold(number, "no such slave"))
            elif verb == "SKIP" and (slave.work is None or slave.sends):
                untold.append(Untold(number, "not building"))
            else:
                self._obey(slave, verb, now)
        return [] if everyone else untold

    def _obey(self, slave: Slave, verb: str, now: datetime) -> None:
        match verb:
            case "KILL":
                slave.killed = True
            case "SKIP":
                slave.skipped = True
            case "SLEEP":
                slave.paused = True
            case "WAKE":
                slave.killed = slave.skipped = slave.paused = False

    # What consoles ask ------------------------------------------------------------------------

    def replay(self, after: int, most: int, now: datetime) -> list[SlaveEvent]:
        """Return what was told of the slaves that come next after number *after*.

        Of as many as have not more than *most* events together, but at least of one.
        """
        told: list[SlaveEvent] = []
        figures = min(FIGURES, max(1, REPLAYED // max(1, len(self.slaves))))
        for number, slave in self.slaves.items():
            if number > after:
                of_slave = list(self._told_of(slave, figures, now))
                if told and len(told) + len(of_slave) > most:
                    break
                told += of_slave
        return told

    def _told_of(self, slave: Slave, figures: int, now: datetime) -> Iterator[SlaveEvent]:
        number = slave.number
        yield SlaveEvent(number, slave.joined, "HELLO", slave.board.info)
        for at in slave.board.figures_before(now, slave.joined, figures):
            yield SlaveEvent(number, at, "STATS", self._feels(slave, at))
        if slave.work is not None:
            yield SlaveEvent(number, slave.work.since, "BUILD", slave.work.job)
        if slave.reply is not None and slave.reply[0] != "BUILD":
            yield SlaveEvent(number, slave.replied_at or now, *slave.reply)

    def watch(self, number: int, now: datetime) -> Output | None:
        """Have the log of a slave's builds told from now on; return what it has said so far."""
        slave = self.slaves.get(number)
        if slave is None:
            return None
        said = self._said(slave, now)
        self.watched[number] = len(said)
        if slave.work is None or not said:
            return None
        offset = max(0, len(said) - TAIL)
        return Output(number, *slave.work.job, offset, said[offset:])

    def _speak(self, number: int, now: datetime, *, last: bool = False) -> None:
        slave = self.slaves.get(number)
        if slave is None or slave.work is None or number not in self.watched or self._past:
            return
        before = self.watched[number]
        said = self._log(slave.work).text if last and not slave.skipped else self._said(slave, now)
        if len(said) > before:
            self._told.append(Output(number, *slave.work.job, before, said[before:][:TAIL]))
        self.watched[number] = 0 if last else max(before, min(len(said), before + TAIL))

    def _said(self, slave: Slave, now: datetime) -> str:
        work = slave.work
        if work is None:
            return ""
        log = self._log(work)
        return log.text[: log.said((now - work.since) / max(work.until - work.since, _INSTANT))]

    def _log(self, work: Work) -> BuildLog:
        if work.log is None:
            ok = bool(work.files)
            work.log = build_log(work.number, *work.job, ok=ok, hostile=self.hostile)
        return work.log

    def log(self, build_id: int) -> str | None:
        """Return the log of a build that has ended, if it is one of the last."""
        for one in self.builds:
            if one.build_id == build_id:
                ok = one.result == "ok"
                job = one.package, one.version
                return build_log(build_id, *job, ok=ok, hostile=self.hostile).text
        return None


_INSTANT: Final = timedelta(microseconds=1)


def _wheel(project: Project, version: str, board: Board) -> str:
    info = board.info
    tags = (
        "py3-none-any"
        if project.pure
        else "-".join((f"cp{info.native_py_version}", info.native_abi, info.native_platform))
    )
    return f"{project.name.replace('-', '_')}-{version}-{tags}.whl"
