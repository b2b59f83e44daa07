"""A slave, as the console sees it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from piwheels.core.states import SlaveInfo, SlaveStats


class State(StrEnum):
    """What a slave is at: the word of the STATE column."""

    IDLE = "IDLE"
    SLEEP = "SLEEP"
    BUILD = "BUILD"
    SEND = "SEND"
    CLEAN = "CLEAN"
    PAUSE = "PAUSE"
    SILENT = "SILNT"
    EXPIRED = "EXPIR"
    DEAD = "DEAD"


class Alert(NamedTuple):
    """Why a slave wants attention: ``disk``, ``slow``, ...; *value* is shown beside it."""

    reason: str
    value: str
    since: datetime
    #: 1 to be looked at some time, 2 soon, 3 now.
    weight: int = 1

    def __str__(self) -> str:
        return f"{self.reason} {self.value}".rstrip()


class PastBuild(NamedTuple):
    """A build that has ended, as far as the console knows: *result* is ``""`` if it does not.

    *ended* is by the master's clock. *build_id* is known from masters of level 1.
    """

    package: str
    version: str
    abi: str
    result: str  # "ok", "failed", "skipped", ""
    duration: timedelta | None
    files: int
    ended: datetime
    slave_id: int
    label: str
    build_id: int | None = None


class Moment(NamedTuple):
    """A line of a slave's timeline: when (master's clock), a word, what."""

    at: datetime
    word: str
    what: str


@dataclass(slots=True, eq=False)
class Slave:
    """What is known of one slave. Times are by the master's clock, but for *heard*."""

    id: int
    info: SlaveInfo
    #: As *info* has it, but fit to be shown (:func:`piwheels.console.text.clean`).
    label: str
    joined: datetime
    #: What it was last told: one of the states but SILENT and EXPIRED (see :meth:`state_at`).
    told: State = State.IDLE
    since: datetime = None  # type: ignore[assignment]  # set with joined
    #: When a message about it last came, by this machine's clock, and which.
    heard: datetime = None  # type: ignore[assignment]
    heard_what: str = ""
    job: tuple[str, str] | None = None
    job_since: datetime | None = None
    #: How many files of the build were asked for so far.
    files: int = 0
    file: str = ""
    outcome: PastBuild | None = None
    stats: deque[SlaveStats] = field(default_factory=lambda: deque(maxlen=100))
    builds: deque[PastBuild] = field(default_factory=lambda: deque(maxlen=50))
    timeline: deque[Moment] = field(default_factory=lambda: deque(maxlen=100))
    #: How far its clock is ahead of the master's; ``None``: not known.
    skew: timedelta | None = None
    alerts: tuple[Alert, ...] = ()
    #: How long the build took so far, as a multiple of its peers' median; of how many peers.
    ratio: float | None = None
    peers: int = 0
    median: timedelta | None = None
    eta: timedelta | None = None
    #: Raised by whatever changes how the slave is shown, but for the passing of time.
    version: int = 0

    @property
    def abi(self) -> str:
        """The ABI tag that it builds for."""
        return self.info.native_abi

    def state_at(self, now: datetime) -> State:
        """Return the state at *now* (this machine's clock): silence is told by its absence."""
        if self.told is State.DEAD:
            return State.DEAD
        silence = now - self.heard
        limit = self.info.busy_timeout
        if silence > limit:
            return State.EXPIRED
        quiet = limit / 2 if self.told in (State.SEND, State.CLEAN) else timedelta(seconds=30)
        return State.SILENT if silence > min(quiet, limit) else self.told
