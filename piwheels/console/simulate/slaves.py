"""The simulated slaves and their builds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.console.simulate.buildlog import build_log
from piwheels.core.protocols import Job, SlaveEvent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from random import Random

    from piwheels.console.simulate.boards import Board
    from piwheels.console.simulate.buildlog import BuildLog
    from piwheels.console.simulate.catalogue import Project
    from piwheels.core.states import SlaveStats

#: The longest that a build takes.
LONGEST: Final = timedelta(minutes=175)
_INSTANT: Final = timedelta(microseconds=1)


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
    _log: BuildLog | None = None

    def log(self, *, hostile: bool) -> BuildLog:
        """Return its log, to its end."""
        if self._log is None:
            ok = bool(self.files)
            self._log = build_log(self.number, *self.job, ok=ok, hostile=hostile)
        return self._log

    def said(self, now: datetime, *, hostile: bool) -> str:
        """Return the log so far."""
        log = self.log(hostile=hostile)
        return log.text[: log.said((now - self.since) / max(self.until - self.since, _INSTANT))]


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

    @property
    def builds(self) -> bool:
        """Whether it has a build that could be given up."""
        return self.work is not None and not self.sends

    def stats(self, at: datetime) -> SlaveStats:
        """Return its board's stats at a moment."""
        if self.work is None:
            return self.board.stats(at, None, 0)
        return self.board.stats(at, self.work.since, self.work.project.memory)

    def obey(self, verb: str) -> None:
        """Note a command, which bites when the slave asks for something next."""
        match verb:
            case "KILL":
                self.killed = True
            case "SKIP":
                self.skipped = True
            case "SLEEP":
                self.paused = True
            case "WAKE":
                self.killed = self.skipped = self.paused = False

    def told(self, now: datetime, stats: int) -> Iterator[SlaveEvent]:
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
    """Return a build, which takes as long on that board as chance has it, and may fail."""
    project, version = target
    failing = max(project.failing, 0.8 if board.ailment == "failing" else 0)
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
