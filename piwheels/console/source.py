"""The interfaces of a session's source and recorder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from piwheels.console.model.events import Incoming, Outgoing
    from piwheels.console.model.farm import FarmModel


class Source(Protocol):
    """The origin of a session's events, and the destination of its messages."""

    #: Its name for the status line: ``ipc://...``, or a file's name.
    name: str

    def start(self) -> None:
        """Start."""

    def take(self) -> Iterable[Incoming]:
        """Yield the events that have come, oldest first; never block."""

    def send(self, outgoing: Outgoing) -> None:
        """Send a message; Sent or Unsent follows, and perhaps an Answer."""

    def stop(self) -> None:
        """Stop, within about a second."""


@runtime_checkable
class Recording(Protocol):
    """A source that replays a recording, from any moment."""

    begin: datetime
    end: datetime
    position: datetime
    speed: float
    playing: bool

    def seek(self, at: datetime) -> None:
        """Move to a moment: the last keyframe before it comes next."""

    def play(self) -> None:
        """Let time pass."""

    def pause(self) -> None:
        """Stop time."""


class Recorder(Protocol):
    """Records all events (``--record``)."""

    #: Why it has stopped, as a sentence; ``""`` while it records.
    failure: str

    def note(self, incoming: Incoming, farm: FarmModel) -> None:
        """Record an event; *farm*: the model after it."""

    def close(self) -> None:
        """Finish the recording."""
