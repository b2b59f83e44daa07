"""The life of a command: sent, then acknowledged, expired, refused, unknown or moot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Verb(StrEnum):
    """What an operator can tell slaves, or (``None``) the whole farm."""

    PAUSE = "pause"
    WAKE = "wake"
    SKIP = "skip"
    STOP = "stop"  # after the current build... or at the next report: the master's KILL
    KILL = "kill"  # now: KILL and SKIP
    HALT = "halt"  # the farm only: pause and skip
    QUIT = "quit"  # the master only


class Phase(StrEnum):
    """Where a command is in its life."""

    SENDING = "sending"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    MOOT = "moot"  # what it was to end has ended by itself
    EXPIRED = "expired"
    UNKNOWN = "unknown"  # the link was lost before we knew
    REFUSED = "refused"

    @property
    def pending(self) -> bool:
        """Whether the command's life goes on."""
        return self in (Phase.SENDING, Phase.SENT)


@dataclass(slots=True)
class Command:
    """A verb for one slave (``None``: the farm or the master), and what became of it.

    Times are by this machine's clock. *note* is a sentence for whoever looks closer; *limit* is
    when patience ends (``None``: it waits for the end of a build). *taken* tells that a master of
    level 1 has answered that it will do it.
    """

    batch: int
    verb: Verb
    slave_id: int | None
    label: str
    at: datetime
    phase: Phase = Phase.SENDING
    ended: datetime | None = None
    limit: datetime | None = None
    note: str = ""
    taken: bool = False
    patience: timedelta = timedelta(seconds=20)


@dataclass(slots=True)
class Batch:
    """The commands that one key press gave."""

    number: int
    verb: Verb
    at: datetime
    commands: list[Command]

    @property
    def pending(self) -> int:
        """How many of them are under way."""
        return sum(command.phase.pending for command in self.commands)
