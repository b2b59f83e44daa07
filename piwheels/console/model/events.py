"""What can happen to a console: messages of the master, and news of the connection.

The messages are the values that :mod:`piwheels.core.protocols` gives for them. All else is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from piwheels.core.protocols import CommandReport, Outcome, Output, SlaveEvent
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
    """A socket has lost the master, or could not reach it; *why* is a sentence, perhaps empty."""

    wire: Wire
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """What was to be sent under *ticket* has gone out."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Unsent:
    """What was to be sent under *ticket* has not gone out, and never will; *why* is a sentence."""

    ticket: int
    why: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The master's answer (level 1) to the request *msg* of *ticket*.

    *data* is as :data:`~piwheels.core.protocols.CONSOLE_ANSWERS` says; *refused* is why there is
    none.
    """

    ticket: int
    msg: str
    data: Any
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Garbled:
    """A frame that is not of the protocol: *why*, and how it begins (*sample*, up to 64 bytes)."""

    wire: Wire
    why: str
    sample: bytes


#: Whatever can come in.
Event = (
    MasterInfo  # the master's HELLO
    | MasterStats
    | SlaveEvent
    | Outcome
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
    """An event with the moment at which it came (aware, by this machine's clock).

    One that is *past* is part of a picture that a recording begins with: it is nothing new.
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
