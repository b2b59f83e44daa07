"""What a session can be fed by, and what can write down what it was fed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from piwheels.console.model.events import Incoming, Outgoing
    from piwheels.console.model.farm import Farm


class Source(Protocol):
    """Where a session's events come from, and where its messages go."""

    #: What it is, for the status line: ``ipc://...``, or a file's name.
    name: str

    def start(self) -> None:
        """Begin."""

    def take(self) -> Iterable[Incoming]:
        """Give the events that have come, oldest first; never wait."""

    def send(self, outgoing: Outgoing) -> None:
        """Have a message sent; Sent or Unsent follows, and perhaps an Answer."""

    def stop(self) -> None:
        """End, within a second or so."""


@runtime_checkable
class Recording(Protocol):
    """A source that is a recording: time can be moved in it."""

    begin: datetime
    end: datetime
    position: datetime
    speed: float
    playing: bool

    def seek(self, at: datetime) -> None:
        """Go to a moment: the picture that it begins with comes next."""

    def play(self) -> None:
        """Let time pass."""

    def pause(self) -> None:
        """Let it stand still."""


class Recorder(Protocol):
    """What notes all that comes, to be looked at later (``--record``)."""

    #: Why it does so no more, as a sentence; ``""`` while it does.
    failure: str

    def note(self, incoming: Incoming, farm: Farm) -> None:
        """Note what has come; *farm* is the picture after it."""

    def close(self) -> None:
        """End the recording."""
