"""A session with a farm: all that a console is, but for how it looks.

The screens, ``--plain`` and ``--once`` are shells over a :class:`Session`. It has a *source* (the
link to a master, a recording, or a test's own), folds what comes into the model, and says what
is to be sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from piwheels.console.model.farm import Changes, Farm
from piwheels.console.model.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime, timedelta

    from piwheels.console.model.commands import Batch, Command, Verb
    from piwheels.console.model.events import Incoming, Outgoing
    from piwheels.console.model.link import LinkState
    from piwheels.core.protocols import Outcome, QueueHead


class Source(Protocol):
    """Where a session's events come from, and where its messages go."""

    #: What it is, for the status line: ``ipc://...``, or a file's name.
    name: str

    def start(self) -> None:
        """Begin."""

    def take(self) -> Iterator[Incoming]:
        """Give the events that have come, oldest first; never wait."""

    def send(self, outgoing: Outgoing) -> None:
        """Have a message sent; Sent or Unsent follows, and perhaps an Answer."""

    def stop(self) -> None:
        """End, within a second or so."""


class Session:
    """What a console knows and does. *read_only* refuses all commands; *who* operates it.

    Nothing here looks at a clock: *now* (aware, this machine's) is an argument throughout.
    """

    def __init__(self, source: Source, *, read_only: bool = False, who: str = "") -> None:
        self.source = source
        self.read_only = read_only
        self.who = who
        self.farm = Farm()
        self.journal = Journal()
        #: What the master (level 1) last told of its queue, and when; empty at level 0.
        self.queue: list[QueueHead] = []
        #: What it told of the builds that ended last, newest first.
        self.recent: list[Outcome] = []

    # Time and events --------------------------------------------------------------------------

    def start(self, now: datetime) -> None:
        """Begin to attach."""

    def pump(self, now: datetime, most: int = 2000) -> bool:
        """Fold up to *most* events that have come; return whether there may be more."""
        raise NotImplementedError

    def tick(self, now: datetime) -> None:
        """Let time pass: to be called once a second, and after each pump."""
        raise NotImplementedError

    def take_changes(self) -> Changes:
        """Return what has changed since the last call."""
        raise NotImplementedError

    def close(self) -> None:
        """Let the source end."""

    # The link ---------------------------------------------------------------------------------

    @property
    def state(self) -> LinkState:
        """Where the link stands."""
        raise NotImplementedError

    @property
    def level(self) -> int:
        """The protocol level that the master speaks with us (0 until it is known to be 1)."""
        raise NotImplementedError

    @property
    def paused(self) -> bool:
        """Whether the farm as a whole is paused, as far as is known."""
        raise NotImplementedError

    def link_text(self) -> str:
        """Return the status line's words on the link: ``LIVE``, ``LOST 12:40:58 (9s)``."""
        raise NotImplementedError

    def advice(self) -> list[str]:
        """Return what is wrong with the link and what to do about it, in lines; or nothing."""
        raise NotImplementedError

    # Commands ---------------------------------------------------------------------------------

    def why_not(self, verb: Verb) -> str:
        """Return why *verb* cannot be given now, as a sentence; ``""`` if it can."""
        raise NotImplementedError

    def order(self, verb: Verb, slaves: Sequence[int] | None) -> Batch:
        """Give a command to *slaves* (``None``: the farm, or the master itself).

        What cannot be sent is REFUSED at once, and never later.
        """
        raise NotImplementedError

    def command_of(self, slave_id: int) -> Command | None:
        """Return the newest command for a slave that the CMD column should show."""
        raise NotImplementedError

    @property
    def batches(self) -> Sequence[Batch]:
        """The batches of this session, oldest first."""
        raise NotImplementedError

    # Questions (level 1) ----------------------------------------------------------------------

    def ask(self, msg: str, data: Any, then: Callable[[Any, str], None]) -> bool:
        """Ask the master; *then* gets the answer, or ``None`` and why there is none.

        Return whether it was asked: a master of level 0 cannot be. See
        :data:`piwheels.core.protocols.console`: QUEUE, BUILDS, LOG.
        """
        raise NotImplementedError

    def watch(self, slave_id: int, then: Callable[[int, str], None]) -> bool:
        """Have *then* called with offset and text of the running build's log, as it comes."""
        raise NotImplementedError

    def unwatch(self, slave_id: int) -> None:
        """End :meth:`watch`."""
        raise NotImplementedError

    # Estimates --------------------------------------------------------------------------------

    def blast(self, slaves: Sequence[int]) -> tuple[int, timedelta]:
        """Return how many of *slaves* build, and how much work that is in all."""
        raise NotImplementedError
