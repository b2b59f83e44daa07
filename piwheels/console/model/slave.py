"""The model of one slave."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from piwheels.console.text import clean
from piwheels.core.diagnosis import Diagnosis

if TYPE_CHECKING:
    from piwheels.core.protocols import BuildOutcome
    from piwheels.core.states import SlaveInfo, SlaveStats

#: The silence after which a slave counts as silent, and a silence that never counts.
QUIET: Final = timedelta(seconds=30)
_BRIEF: Final = timedelta(seconds=1)


class State(StrEnum):
    """The state of a slave: the word in the STATE column."""

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
    """A reason why a slave needs attention: ``disk``, ``slow``, ...; *value* is shown with it."""

    reason: str
    value: str
    since: datetime
    #: How urgent it is: 1 some time, 2 soon, 3 now.
    weight: int = 1

    def __str__(self) -> str:
        return f"{self.reason} {self.value}".rstrip()


#: Without the cache: the line of a log may be long.
_clean = clean.__wrapped__
#: How screens describe a failure that has to be confirmed.
AGAIN: Final = "to be tried again"


class PastBuild(NamedTuple):
    """A build that has ended; *result* is ``""`` if it is unknown.

    *ended* is the master's timestamp. Level-1 masters report the *build_id*.
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
    #: Whether a failure has to be confirmed.
    again: bool = False
    platform: str = ""
    #: The diagnosis of a failure (``Diagnosis`` in :mod:`piwheels.core.diagnosis`).
    reason: str = ""
    subject: str = ""
    cause: str = ""
    #: ``False``: a failure of the farm, and none of the package's.
    counts: bool = True
    #: What its recipe says.
    recipe: str = ""
    #: When a failure is tried again, by the master's clock.
    retry_at: datetime | None = None

    @classmethod
    def of(cls, outcome: BuildOutcome, seen: datetime) -> Self:
        """Return a build as a master of level 1 describes it, cleaned for display."""
        texts = clean(outcome.package), clean(outcome.version), outcome.abi, outcome.result
        rest = outcome.files, outcome.ended, outcome.slave_id, clean(outcome.label)
        return cls(
            *texts,
            outcome.duration,
            *rest,
            seen,
            outcome.build_id,
            outcome.again,
            platform=clean(outcome.platform),
            reason=outcome.reason,
            subject=clean(outcome.subject),
            cause=_clean(outcome.cause),
            counts=outcome.counts,
            recipe=clean(outcome.recipe),
            retry_at=outcome.retry_at,
        )

    @property
    def outcome(self) -> str:
        """The result in words: a failure that does not count is ``put off``."""
        return "put off" if self.result == "failed" and not self.counts else self.result

    @property
    def about(self) -> str:
        """The class of a failure and what it is about: ``missing header ssl.h``; or ``""``."""
        return f"{self._diagnosis.about.title} {self.subject}".rstrip() if self.reason else ""

    @property
    def sentence(self) -> str:
        """What its maintainer or the operator should do about a failure; or ``""``."""
        return self._diagnosis.sentence if self.reason else ""

    @property
    def _diagnosis(self) -> Diagnosis:
        return Diagnosis(self.reason, self.subject, self.cause)

    @property
    def follows(self) -> str:
        """When a failure is tried again, in words; ``""``: it is not, as far as is known."""
        if self.retry_at is None:
            return AGAIN if self.again else ""
        if self.retry_at <= self.ended:
            return AGAIN
        try:
            at, ended = self.retry_at.astimezone(), self.ended.astimezone()
        except (OverflowError, ValueError):  # no date here
            return AGAIN
        return f"{AGAIN} at {at:{'%H:%M' if at.date() == ended.date() else '%Y-%m-%d %H:%M'}}"

    def is_same(self, other: PastBuild) -> bool:
        """Whether *other* is a record of the same build, perhaps without a result."""
        if self.build_id is not None and other.build_id is not None:
            return self.build_id == other.build_id
        if self[:3] != other[:3] or self.slave_id != other.slave_id:
            return False
        apart = self.ended - other.ended
        return abs(apart) <= _SAME or (self.result == "" and apart > _NONE)


#: The largest difference between two timestamps of the end of one build.
_SAME: Final = timedelta(minutes=1)
_NONE: Final = timedelta()


class Moment(NamedTuple):
    """A line of a slave's timeline: the master's timestamp, a word, details."""

    at: datetime
    word: str
    what: str


@dataclass(slots=True, eq=False)
class Slave:
    """The state of one slave. Times are the master's timestamps, unless stated otherwise."""

    id: int
    info: SlaveInfo
    #: The label of *info*, cleaned for display (:func:`piwheels.console.text.clean`).
    label: str
    joined: datetime
    #: The state that the master last reported (never SILENT or EXPIRED, see :meth:`state_at`), and
    #: when it last did.
    reported: State = State.IDLE
    reported_at: datetime = None  # type: ignore[assignment]  # set with joined
    since: datetime = None  # type: ignore[assignment]  # set with joined
    #: When a message about it last came, by console time, and which.
    last_contact: datetime = None  # type: ignore[assignment]
    last_message: str = ""
    job: tuple[str, str] | None = None
    job_since: datetime | None = None
    #: When it joined, and when the state and the build began, by console time: a step of the
    #: master's clock does not change ages.
    appeared: datetime = None  # type: ignore[assignment]  # set with joined
    state_began: datetime = None  # type: ignore[assignment]  # set with joined
    build_began: datetime | None = None
    #: The number of the build's files that were requested so far, and the last one.
    files: int = 0
    file: str = ""
    outcome: PastBuild | None = None
    stats: deque[SlaveStats] = field(default_factory=lambda: deque(maxlen=100))
    builds: deque[PastBuild] = field(default_factory=lambda: deque(maxlen=50))
    timeline: deque[Moment] = field(default_factory=lambda: deque(maxlen=100))
    #: How far its clock is ahead of the master's; ``None``: unknown.
    skew: timedelta | None = None
    alerts: tuple[Alert, ...] = ()
    #: The duration of the build so far as a multiple of its peers' median; the number of peers.
    ratio: float | None = None
    peers: int = 0
    median: timedelta | None = None
    eta: timedelta | None = None
    #: The multiple from which the build is slow.
    slow_from: float = inf
    #: How often a slave with this label and board has joined within the last minutes.
    joins: int = 1
    #: Whether another slave that is alive has this label.
    twin: bool = False
    #: The host that it is a lane of (``""``: it is none, or that is not known yet), and its number.
    host: str = ""
    lane: int = 0
    #: Whether another lane stands for the machine: only one has the alerts of the machine.
    is_behind: bool = False
    #: Increased by each change that is visible, except for the passing of time.
    version: int = 0

    @property
    def abi(self) -> str:
        """The ABI tag that it builds for."""
        return self.info.native_abi

    def state_at(self, now: datetime) -> State:
        """Return the state at *now* (console time), which may be silence."""
        silence = now - self.last_contact
        if silence <= _BRIEF or self.reported is State.DEAD:
            return self.reported
        limit = self.info.busy_timeout
        if silence > limit:
            return State.EXPIRED
        quiet = limit / 2 if self.reported in (State.SEND, State.CLEAN) else min(QUIET, limit / 2)
        return State.SILENT if silence > quiet else self.reported

    @property
    def name(self) -> str:
        """The label, with the number of a lane: ``pi5-01/2``."""
        return f"{self.label}/{self.lane}" if self.host else self.label

    @property
    def failures(self) -> int:
        """The number of failures in a row; skipped builds do not count."""
        count = 0
        for build in reversed(self.builds):
            if build.result == "failed":
                count += 1
            elif build.result == "ok":
                break
        return count
