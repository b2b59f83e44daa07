"""A slave, as the console sees it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from piwheels.console.text import clean

if TYPE_CHECKING:
    from piwheels.core.protocols import Outcome
    from piwheels.core.states import SlaveInfo, SlaveStats

#: How long a slave that reports every few seconds may say nothing, and for how long nobody wonders.
QUIET: Final = timedelta(seconds=30)
_BRIEF: Final = timedelta(seconds=1)


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
    #: When it ended, by console time: builds are kept in this order.
    seen: datetime
    build_id: int | None = None

    @classmethod
    def of(cls, outcome: Outcome, seen: datetime) -> Self:
        """Return a build as a master of level 1 describes it, cleaned for display."""
        texts = clean(outcome.package), clean(outcome.version), outcome.abi, outcome.result
        rest = outcome.files, outcome.ended, outcome.slave_id, clean(outcome.label)
        return cls(*texts, outcome.duration, *rest, seen, outcome.build_id)

    def is_same(self, other: PastBuild) -> bool:
        """Whether *other* is the same build, told in another way, perhaps of an unknown result."""
        if self.build_id is not None and other.build_id is not None:
            return self.build_id == other.build_id
        if self[:3] != other[:3] or self.slave_id != other.slave_id:
            return False
        apart = self.ended - other.ended
        return abs(apart) <= _SAME or (self.result == "" and apart > _NONE)


#: Two reports of one build's end are not further apart.
_SAME: Final = timedelta(minutes=1)
_NONE: Final = timedelta()


class Moment(NamedTuple):
    """A line of a slave's timeline: when (master's clock), a word, what."""

    at: datetime
    word: str
    what: str


@dataclass(slots=True, eq=False)
class Slave:
    """The state of one slave. Times are the master's timestamps, unless stated otherwise."""

    id: int
    info: SlaveInfo
    #: As *info* has it, but fit to be shown (:func:`piwheels.console.text.clean`).
    label: str
    joined: datetime
    #: What it was last told: one of the states but SILENT and EXPIRED (see :meth:`state_at`), and
    #: when it was told so last.
    told: State = State.IDLE
    told_at: datetime = None  # type: ignore[assignment]  # set with joined
    since: datetime = None  # type: ignore[assignment]  # set with joined
    #: When a message about it last came, by console time, and which.
    heard: datetime = None  # type: ignore[assignment]
    heard_what: str = ""
    job: tuple[str, str] | None = None
    job_since: datetime | None = None
    #: When the state and the build began, by console time: a step of the master's clock does not
    #: change ages.
    state_began: datetime = None  # type: ignore[assignment]  # set with joined
    build_began: datetime | None = None
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
    #: The multiple from which on it is slow beyond what its peers' builds differ by.
    slow_from: float = inf
    #: How often a slave of its name and board has joined within the last minutes.
    joins: int = 1
    #: Raised by whatever changes how the slave is shown, but for the passing of time.
    version: int = 0

    @property
    def abi(self) -> str:
        """The ABI tag that it builds for."""
        return self.info.native_abi

    def state_at(self, now: datetime) -> State:
        """Return the state at *now* (console time), which may be silence."""
        silence = now - self.heard
        if silence <= _BRIEF or self.told is State.DEAD:
            return self.told
        limit = self.info.busy_timeout
        if silence > limit:
            return State.EXPIRED
        quiet = limit / 2 if self.told in (State.SEND, State.CLEAN) else min(QUIET, limit / 2)
        return State.SILENT if silence > quiet else self.told

    @property
    def failures(self) -> int:
        """How many of its last builds have failed in a row; what was skipped does not count."""
        count = 0
        for build in reversed(self.builds):
            if build.result == "failed":
                count += 1
            elif build.result == "ok":
                break
        return count
