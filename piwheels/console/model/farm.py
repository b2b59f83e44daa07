"""The farm as the console sees it: a fold over what the master tells."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from piwheels.console.model.events import Event
    from piwheels.console.model.slave import PastBuild, Slave, State
    from piwheels.core.states import MasterInfo, MasterStats


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

    *now* is this machine's clock, everywhere; :meth:`master_time` converts it into the master's.
    """

    def __init__(self) -> None:
        self.info: MasterInfo | None = None
        self.figures: deque[MasterStats] = deque(maxlen=100)
        self.slaves: dict[int, Slave] = {}
        #: Slaves that have left, the newest last.
        self.left: deque[Slave] = deque(maxlen=500)
        #: Builds that have ended, of all slaves, the newest last.
        self.builds: deque[PastBuild] = deque(maxlen=2000)
        #: The last moment that the farm was told of, by this machine's clock.
        self.now: datetime = None  # type: ignore[assignment]

    def fold(self, event: Event, now: datetime, *, replay: bool = False) -> None:
        """Take *event*; in a *replay* nothing is new: no alerts, no journal entries follow."""
        raise NotImplementedError

    def tick(self, now: datetime) -> None:
        """Let time pass: silence, alerts, peers; rows of the dead go after 30 s."""
        raise NotImplementedError

    def take_changes(self) -> Changes:
        """Return what has changed since the last call."""
        raise NotImplementedError

    def master_time(self, now: datetime) -> datetime:
        """Return the time of the master's clock at *now*, estimated from what has come live."""
        raise NotImplementedError

    def elapsed(self, slave: Slave) -> timedelta:
        """Return how long *slave* has been at what it is at (never negative): the TIME column."""
        raise NotImplementedError

    def counts(self) -> Counter[State]:
        """Return how many slaves are in each state now."""
        raise NotImplementedError

    def alerting(self) -> int:
        """Return how many slaves have an alert now."""
        raise NotImplementedError
