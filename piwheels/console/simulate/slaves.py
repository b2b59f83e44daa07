"""The simulated slaves and their builds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.console.simulate.buildlog import build_log
from piwheels.core.protocols import Job, SlaveEvent
from piwheels.core.states import HISTORY, Phase, Transition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from random import Random

    from piwheels.console.simulate.boards import Board
    from piwheels.console.simulate.buildlog import BuildLog
    from piwheels.console.simulate.inventory import Project
    from piwheels.core.states import SlaveStats

#: The longest duration of a build.
LONGEST: Final = timedelta(minutes=175)
_INSTANT: Final = timedelta(microseconds=1)
#: The phase after each reply, and the requests that it answers: the second one if files are sent.
_PHASES: Final = {
    "ACK": (Phase.IDLE, ["HELLO"]),
    "SLEEP": (Phase.ASLEEP, ["IDLE"]),
    "BUILD": (Phase.BUILDING, ["IDLE"]),
    "SEND": (Phase.SENDING, ["BUILT", "SENT"]),
    "DONE": (Phase.IDLE, ["BUILT", "SENT"]),
}


@dataclass(slots=True, eq=False)
class Work:
    """A build from *since* to *until*; *number* is its future build id.

    *files* are the names of the wheels that it makes; none if it fails.
    """

    number: int
    job: Job
    project: Project
    since: datetime
    until: datetime
    files: list[str]
    _log: BuildLog | None = None

    def log(self, *, hostile: bool) -> BuildLog:
        """Return its complete log."""
        if self._log is None:
            ok = bool(self.files)
            self._log = build_log(self.number, *self.job, ok=ok, hostile=hostile)
        return self._log

    def output(self, now: datetime, *, hostile: bool) -> str:
        """Return the log so far."""
        log = self.log(hostile=hostile)
        return log.text[
            : log.length_at((now - self.since) / max(self.until - self.since, _INSTANT))
        ]


@dataclass(slots=True, eq=False)
class Slave:
    """A slave on a board, with its number on the master."""

    number: int
    board: Board
    joined: datetime
    work: Work | None = None
    #: The number of the build's files that the master has requested.
    sent: int = 0
    reply: tuple[str, Any] | None = None
    replied_at: datetime | None = None
    #: The last transitions, oldest first.
    history: deque[Transition] = field(default_factory=lambda: deque(maxlen=HISTORY))
    killed: bool = False
    skipped: bool = False
    paused: bool = False
    #: All slaves of its machine, if it is one of several lanes.
    lanes: list[Slave] = field(default_factory=list)
    #: When it will fall silent.
    vanishes_at: datetime | None = None

    @property
    def sends(self) -> bool:
        """Whether it is sending the files of its build."""
        return self.reply is not None and self.reply[0] == "SEND"

    @property
    def builds(self) -> bool:
        """Whether it has a build that can be skipped."""
        return self.work is not None and not self.sends

    def stats(self, at: datetime) -> SlaveStats:
        """Return its stats at *at*."""
        works = [each.work for each in self.lanes or (self,) if each.work is not None]
        since = min((work.since for work in works), default=None)
        return self.board.stats(at, since, sum(work.project.memory for work in works))

    def receive(self, message: str, data: Any, now: datetime) -> None:
        """Store a reply of the master, and the transition that it causes."""
        self.move(message, data, now)
        self.reply, self.replied_at = (message, data), now

    def move(self, message: str, data: Any, now: datetime) -> None:
        """Store the transition that a reply of the master causes, if any."""
        phase, requests = _PHASES[message]
        request = requests[-1 if self.sends else 0]
        if not self.history or self.history[-1].state != phase:
            about = " ".join([message, *data]) if message == "BUILD" else message
            self.history.append(Transition(now, phase, f"{request}: {about}"))

    def apply(self, verb: str) -> None:
        """Store a command, which takes effect at the slave's next request."""
        match verb:
            case "KILL":
                self.killed = True
            case "SKIP":
                self.skipped = True
            case "SLEEP":
                self.paused = True
            case "WAKE":
                self.killed = self.skipped = self.paused = False

    def events(self, now: datetime, stats: int) -> Iterator[SlaveEvent]:
        """Yield the slave's past events, with a limited number of its stats."""
        yield SlaveEvent(self.number, self.joined, "HELLO", self.board.info)
        for at in self.board.stats_before(now, self.joined, stats):
            yield SlaveEvent(self.number, at, "STATS", self.stats(at))
        if self.work is not None:
            yield SlaveEvent(self.number, self.work.since, "BUILD", self.work.job)
        if self.reply is not None and self.reply[0] != "BUILD":
            yield SlaveEvent(self.number, self.replied_at or now, *self.reply)


def begin_work(
    number: int,
    target: tuple[Project, str],
    board: Board,
    now: datetime,
    *,
    random: Random,
    pace: float,
) -> Work:
    """Return a build of *target* on *board* with a random duration and result."""
    project, version = target
    failing = max(project.failing, 0.8 if board.fault == "failing" else 0)
    ok = random.random() >= failing
    time = timedelta(minutes=project.minutes * board.speed * random.lognormvariate(0, 0.2))
    if not ok:
        time *= random.uniform(0.1, 0.9)
    files = [_wheel(project, version, board)] if ok else []
    until = now + min(time, LONGEST) / pace
    return Work(number, Job(project.name, version), project, now, until, files)


def _wheel(project: Project, version: str, board: Board) -> str:
    info = board.info
    tags = f"cp{info.native_py_version}-{info.native_abi}-{info.native_platform}"
    if project.pure:
        tags = "py3-none-any"
    return f"{project.name.replace('-', '_')}-{version}-{tags}.whl"
