"""The simulated farm: it takes time and commands, and returns the events for consoles.

No input or output, no clock: *now* is an argument. Commands act as on our master: KILL acts at the
slave's next request for work, SKIP on a running build, and WAKE withdraws both and a pause.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final

from piwheels.console.simulate.boards import make_boards
from piwheels.console.simulate.books import Books, Queues
from piwheels.console.simulate.buildlog import build_log
from piwheels.console.simulate.slaves import Slave, Work, begin_work
from piwheels.core.codec import NoData
from piwheels.core.protocols import CommandReport, Outcome, Output, QueueHead, Rejection, SlaveEvent
from piwheels.core.states import MasterInfo, MasterStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from piwheels.console.simulate.boards import Board

    #: The events that consoles receive.
    Event = MasterInfo | MasterStats | SlaveEvent | Outcome | Output | CommandReport

#: How many builds are remembered, how many of a slave's stats, and of all together in a replay.
PAST, KEPT_STATS, REPLAYED = 500, 100, 15_000
#: How often the master gives stats, and how often builds that are watched say something.
STATS_EVERY: Final = timedelta(seconds=10)
OUTPUT_EVERY: Final = timedelta(seconds=2)
#: How often new versions appear, in seconds of a real farm's time.
RELEASE_EVERY: Final = 20
#: The longest tail of a running build's log, in characters.
TAIL: Final = 2**16


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
        self.stats: deque[MasterStats] = deque(maxlen=KEPT_STATS)
        #: The slaves whose logs are followed, each with the length that was sent.
        self.watched: dict[int, int] = {}
        boards = Counter(board.info.native_abi for board in self.boards)
        self._queues = Queues(boards, self.random)
        self._books = Books()
        self._told: list[Event] = []
        self._plan: list[tuple[datetime, int, Callable[..., None], Any]] = []
        self._order = itertools.count()
        self._numbers = itertools.count(48_213_001)
        #: While the past is simulated, events that only consoles notice are left out.
        self._past = False
        self._spoke = now
        self._begin(now)

    # The master -------------------------------------------------------------------------------

    def _begin(self, now: datetime) -> None:
        """Start as a master does: without slaves, and with numbers from 1."""
        self.info = MasterInfo(now, "farm.example", "Debian", "13", "d04170", "10000000feedbeef")
        self.slaves.clear()
        self.watched.clear()
        self.paused = False
        self._plan.clear()
        self._ids = itertools.count(1)
        for index, board in enumerate(self.boards):
            self._at(now, self.random.uniform(0, min(20, 1 + index)), self._join, board)
        self._at(now, 1, self._publish_master_stats, None)
        self._at(now, 5, self._release, None)

    def restart(self, now: datetime) -> None:
        """Restart the master: builds are lost, and all slaves join again."""
        self._told.clear()
        self._begin(now)

    def _at(self, now: datetime, seconds: float, what: Callable[..., None], whom: Any) -> None:
        """Schedule *what* for *whom* in *seconds* of simulated time."""
        self._plan_at(now + timedelta(seconds=seconds / self.pace), what, whom)

    def _plan_at(self, when: datetime, what: Callable[..., None], whom: Any) -> None:
        heapq.heappush(self._plan, (when, next(self._order), what, whom))

    def step(self, now: datetime) -> list[Event]:
        """Advance to *now*; return the events, oldest first."""
        while self._plan and self._plan[0][0] <= now:
            when, _, what, whom = heapq.heappop(self._plan)
            what(whom, when)
        if now - self._spoke >= OUTPUT_EVERY:
            self._spoke = now
            for number in list(self.watched):
                self._speak(number, now)
        told, self._told = self._told, []
        return told

    def live_until(self, now: datetime) -> None:
        """Advance to *now* without events, which is faster."""
        self._past = True
        self.step(now)
        self._past = False
        # Nothing was planned for who builds but the end of that.
        planned, self._plan = self._plan, []
        for when, _, what, whom in planned:
            builds = what == self._ask and whom.work is not None and not whom.sends
            first = min(when, whom.board.next_stats(now)) if builds else when
            self._plan_at(first, what, whom)

    def _tell(self, slave: Slave, now: datetime, message: str, data: Any = NoData) -> None:
        if not self._past:
            self._told.append(SlaveEvent(slave.number, now, message, data))

    def _reply(self, slave: Slave, now: datetime, message: str, data: Any = NoData) -> None:
        slave.reply, slave.replied_at = (message, data), now
        self._tell(slave, now, message, data)

    def _publish_master_stats(self, _: None, now: datetime) -> None:
        self._plan_at(now + STATS_EVERY, self._publish_master_stats, None)
        pending = self._queues.pending()
        self.stats.append(self._books.stats(now, pending, len(self.slaves), self.random))
        self._told.append(self.stats[-1])

    def _release(self, _: None, now: datetime) -> None:
        self._at(now, RELEASE_EVERY, self._release, None)
        self._queues.release(RELEASE_EVERY)

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
            self._publish_slave_stats(slave, now)
            self._plan_busy(slave, slave.work, now)

    def _publish_slave_stats(self, slave: Slave, now: datetime) -> None:
        if not self._past:
            self._tell(slave, now, "STATS", slave.stats(now))

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
        elif (following := self._queues.next(slave.board.info.native_abi)) is None:
            self._reply(slave, now, "SLEEP", data=False)
        else:
            number = next(self._numbers)
            work = begin_work(
                number, following, slave.board, now, random=self.random, pace=self.pace
            )
            self._give(slave, work, now)
            return
        self._plan_at(slave.board.next_stats(now), self._ask, slave)

    def _give(self, slave: Slave, work: Work, now: datetime) -> None:
        slave.work, slave.sent = work, 0
        if self.random.random() < (0.2 if slave.board.ailment == "mute" else 0.0005):
            slave.vanishes = now + (work.until - now) * self.random.random()
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
        # Its connection breaks and it joins again; sometimes it leaves properly first.
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
            abi, work = slave.board.info.native_abi, slave.work
            self._queues.put_back(abi, work.project, work.job.version)
        self._tell(slave, now, "DIE")
        if back_after is not None:
            self._at(now, back_after, self._join, slave.board)

    # Operators --------------------------------------------------------------------------------

    def command(
        self, verb: Any, slaves: Iterable[int] | None, who: str, now: datetime
    ) -> list[Rejection]:
        """Give *slaves* (``None``: all) a command; return those who did not take it."""
        named = None if slaves is None else list(dict.fromkeys(slaves))
        self._told.append(CommandReport(who, verb, named, now))
        if named is None:
            if verb in ("SLEEP", "WAKE"):
                self.paused = verb == "SLEEP"
            for slave in self.slaves.values():
                if verb != "SKIP" or slave.builds:
                    slave.obey(verb)
            return []
        untold = []
        for number in named:
            one = self.slaves.get(number)
            if one is None:
                untold.append(Rejection(number, "no such slave"))
            elif verb == "SKIP" and not one.builds:
                untold.append(Rejection(number, "not building"))
            else:
                one.obey(verb)
        return untold

    # What consoles ask ------------------------------------------------------------------------

    def replay(self, after: int, most: int, now: datetime) -> list[SlaveEvent]:
        """Return the past events of the slaves that follow number *after*.

        At most *most* events, but all of at least one slave.
        """
        told: list[SlaveEvent] = []
        stats = min(KEPT_STATS, max(1, REPLAYED // max(1, len(self.slaves))))
        for number, slave in self.slaves.items():
            if number > after:
                of_slave = list(slave.told(now, stats))
                if told and len(told) + len(of_slave) > most:
                    break
                told += of_slave
        return told

    def heads(self, most: int) -> list[QueueHead]:
        """Return the first versions that wait, at most so many of each ABI."""
        return self._queues.heads(most)

    def watch(self, number: int, now: datetime) -> Output | None:
        """Follow the log of a slave's builds; return the log so far."""
        slave = self.slaves.get(number)
        if slave is None:
            return None
        self.watched[number] = 0
        if slave.work is None:
            return None
        said = slave.work.said(now, hostile=self.hostile)
        self.watched[number] = len(said)
        offset = max(0, len(said) - TAIL)
        return Output(number, *slave.work.job, offset, said[offset:]) if said else None

    def _speak(self, number: int, now: datetime, *, last: bool = False) -> None:
        slave = self.slaves.get(number)
        if slave is None or slave.work is None or number not in self.watched or self._past:
            return
        before = self.watched[number]
        whole = last and not slave.skipped
        said = slave.work.said(slave.work.until if whole else now, hostile=self.hostile)
        if len(said) > before:
            self._told.append(Output(number, *slave.work.job, before, said[before:][:TAIL]))
        self.watched[number] = 0 if last else max(before, min(len(said), before + TAIL))

    def log(self, build_id: int) -> str | None:
        """Return the log of a build that has ended, if it is one of the last."""
        for one in self.builds:
            if one.build_id == build_id:
                ok, job = one.result == "ok", (one.package, one.version)
                return build_log(build_id, *job, ok=ok, hostile=self.hostile).text
        return None
