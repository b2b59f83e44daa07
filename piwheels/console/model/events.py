"""Events of a console: the master's messages, and changes of the connection.

Messages are values of :mod:`piwheels.core.protocols`; all other events are defined here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from piwheels.core.protocols import BuildOutcome, CommandReport, Lane, Output, SlaveEvent
from piwheels.core.states import MasterInfo, MasterStats

if TYPE_CHECKING:
    from datetime import datetime

#: The console's sockets.
Wire = Literal["status", "control", "console"]


@dataclass(frozen=True, slots=True)
class WireUp:
    """A socket has shaken hands with the master's."""

    wire: Wire


@dataclass(frozen=True, slots=True)
class WireDown:
    """A socket has lost the master, or cannot reach it; *why* is a sentence, or ``""``."""

    wire: Wire
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """The message with *ticket* was sent."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Unsent:
    """The message with *ticket* could not be sent and never will be; *why* is a sentence."""

    ticket: int
    why: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The master's answer (level 1) to the request *msg* of *ticket*.

    Its *data* is described in :data:`~piwheels.core.protocols.CONSOLE_ANSWERS`; *refused* is the
    reason if there is none.
    """

    ticket: int
    msg: str
    data: Any
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Garbled:
    """An invalid frame: *why*, and its first bytes (*sample*, up to 64)."""

    wire: Wire
    why: str
    sample: bytes


#: All events.
Event = (
    MasterInfo  # the master's HELLO
    | MasterStats
    | SlaveEvent
    | Lane  # from an answer
    | BuildOutcome
    | Output
    | CommandReport
    | WireUp
    | WireDown
    | Sent
    | Unsent
    | Answer
    | Garbled
)


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event with the console time of its arrival.

    *past*: it is part of the snapshot with which a recording begins, so it is no news.
    """

    at: datetime
    event: Event
    past: bool = False


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to the master: *msg* with *data* on *wire*, under *ticket* (unique, positive)."""

    wire: Literal["control", "console"]
    ticket: int
    msg: str
    data: Any
