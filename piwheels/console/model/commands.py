"""The life of a command: sent, then acknowledged, expired, refused, unknown or superseded.

A level-0 master does not answer: its effect shows in the replies to its slaves. A level-1 master
answers at once which slaves it could not command; the effect shows in the same way.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from piwheels.console.model.events import Answer, Outgoing
from piwheels.console.text import clean
from piwheels.core.codec import NoData

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Verb(StrEnum):
    """The commands of an operator, for slaves or for the whole farm."""

    PAUSE = "pause"
    RESUME = "resume"
    SKIP = "skip"
    KILL = "kill"  # ends the slave after its build
    ABORT = "abort"  # skip and kill: ends the slave now
    HALT = "halt"  # pause and skip, for the farm only
    QUIT = "quit"  # ends the master


class Phase(StrEnum):
    """The phase of a command's life."""

    SENDING = "sending"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    SUPERSEDED = "superseded"  # the build ended by itself, or another command took its place
    EXPIRED = "expired"
    UNKNOWN = "unknown"  # the link was lost before its effect was seen
    REFUSED = "refused"

    @property
    def pending(self) -> bool:
        """Whether the outcome is still open."""
        return self in (Phase.SENDING, Phase.SENT)


@dataclass(slots=True)
class Command:
    """A command for one slave (``None``: the farm or the master), and its outcome.

    Times are console time. *note* is a sentence with details. At *limit* the command expires
    (``None``: it waits for the end of a build). *taken*: a level-1 master has accepted it.
    """

    verb: Verb
    slave_id: int | None
    label: str
    at: datetime
    phase: Phase = Phase.SENDING
    ended: datetime | None = None
    limit: datetime | None = None
    note: str = ""
    taken: bool = False

    def end(self, phase: Phase, now: datetime, note: str = "") -> None:
        """Set the outcome."""
        self.phase, self.ended, self.limit = phase, now, None
        self.note = note or self.note


@dataclass(slots=True)
class Batch:
    """The commands of one key press."""

    number: int
    verb: Verb
    at: datetime
    commands: list[Command]

    @property
    def pending(self) -> int:
        """The number of commands that are under way."""
        return sum(command.phase.pending for command in self.commands)


class Target(NamedTuple):
    """A slave that a command is for; if it *builds*, the command may wait for the end of that."""

    slave_id: int
    label: str
    builds: bool


#: The messages of each verb (``protocols.md``, *control*), in the order of sending.
MESSAGES: Final[dict[Verb, tuple[str, ...]]] = {
    Verb.PAUSE: ("SLEEP",),
    Verb.RESUME: ("WAKE",),
    Verb.SKIP: ("SKIP",),
    Verb.KILL: ("KILL",),
    Verb.ABORT: ("SKIP", "KILL"),
    Verb.HALT: ("SLEEP", "SKIP"),
    Verb.QUIT: ("QUIT",),
}

#: How long the effect of each verb may take where no build has to end first: for a slave, and for
#: the farm.
_LIMIT: Final = timedelta(seconds=20)
_LIMITS: Final = {Verb.ABORT: timedelta(seconds=40), Verb.QUIT: timedelta(seconds=60)}
_FARM_LIMIT: Final = timedelta(seconds=30)
#: Verbs that wait for the end of the slave's build.
_AFTER_BUILD: Final = (Verb.PAUSE, Verb.RESUME, Verb.KILL)
#: Verbs that a resume takes back as long as they have had no effect.
_UNDONE: Final = (Verb.PAUSE, Verb.SKIP, Verb.KILL, Verb.ABORT, Verb.HALT)
#: How long a slave's row shows a command that failed.
SHOWN: Final = timedelta(seconds=60)

_EXPIRED_NOTES: Final = {
    Verb.PAUSE: "no effect seen: some masters ignore a pause of single slaves",
    Verb.QUIT: "the master still answers: look at its log",
}


def _time_limit(verb: Verb, slave_id: int | None) -> timedelta:
    usual = _FARM_LIMIT if slave_id is None else _LIMIT
    return _LIMITS.get(verb, usual)


class CommandTracker:
    """All commands of a session. *tickets* gives the numbers of outgoing messages."""

    def __init__(self, tickets: Iterator[int]) -> None:
        self.batches: deque[Batch] = deque(maxlen=200)
        self._tickets = tickets
        self._pending: dict[int | None, list[Command]] = {}
        self._newest: dict[int, Command] = {}
        self._of_ticket: dict[int, list[Command]] = {}
        self._numbers = itertools.count(1)
        self._ended: list[Command] = []

    # What goes out ----------------------------------------------------------------------------

    def issue(
        self, verb: Verb, targets: Sequence[Target], now: datetime, *, everyone: bool, level: int
    ) -> tuple[Batch, list[Outgoing]]:
        """Begin a command for *targets*; return it with the messages to send.

        *everyone*: one command for the whole farm. A kill or abort is then tracked for each of
        *targets*, since each slave ends visibly; all other verbs are tracked once.
        """
        if everyone and verb not in (Verb.KILL, Verb.ABORT):
            targets = ()
            commands = [self._begin(verb, None, "", now)]
        else:
            commands = [self._begin(verb, one.slave_id, one.label, now) for one in targets]
        for command, target in zip(commands, targets, strict=False):
            if target.builds and verb in _AFTER_BUILD:
                command.limit, command.note = None, "after its build"
        batch = self._batch(verb, commands, now)
        return batch, list(self._messages(batch, everyone=everyone, level=level))

    def _batch(self, verb: Verb, commands: list[Command], now: datetime) -> Batch:
        batch = Batch(next(self._numbers), verb, now, commands)
        self.batches.append(batch)
        return batch

    def _begin(self, verb: Verb, slave_id: int | None, label: str, now: datetime) -> Command:
        limit = now + _time_limit(verb, slave_id)
        command = Command(verb, slave_id, label, now, limit=limit)
        self._pending.setdefault(slave_id, []).append(command)
        if slave_id is not None:
            self._newest[slave_id] = command
        return command

    def _messages(self, batch: Batch, *, everyone: bool, level: int) -> Iterator[Outgoing]:
        for msg in MESSAGES[batch.verb]:
            if msg == "QUIT":
                yield self._message(level, msg, NoData, batch.commands)
            elif everyone:
                yield self._message(level, msg, None, batch.commands)
            elif level > 0:
                ids = [command.slave_id for command in batch.commands]
                yield self._message(level, msg, ids, batch.commands)
            else:
                for command in batch.commands:
                    yield self._message(level, msg, command.slave_id, [command])

    def _message(self, level: int, msg: str, data: Any, commands: list[Command]) -> Outgoing:
        ticket = next(self._tickets)
        self._of_ticket[ticket] = commands
        return Outgoing("console" if level > 0 else "control", ticket, msg, data)

    def refuse(self, verb: Verb, targets: Sequence[Target], now: datetime, why: str) -> Batch:
        """Record a command that is not sent, and *why*; without *targets* it is for the farm."""
        whom: list[tuple[int | None, str]] = [(one.slave_id, one.label) for one in targets]
        whom = whom or [(None, "")]
        batch = self._batch(verb, [self._begin(verb, *one, now) for one in whom], now)
        self._end_all(batch.commands, Phase.REFUSED, now, why)
        return batch

    # What comes back --------------------------------------------------------------------------

    def sent(self, ticket: int) -> None:
        """Record that a message was sent."""
        for command in self._of_ticket.get(ticket, ()):
            if command.phase is Phase.SENDING:
                command.phase = Phase.SENT

    def unsent(self, ticket: int, why: str, now: datetime) -> None:
        """Record that a message could not be sent, and never will be."""
        self._end_all(self._of_ticket.pop(ticket, ()), Phase.REFUSED, now, why)

    def answered(self, answer: Answer, now: datetime) -> None:
        """Take a level-1 master's answer to a command."""
        commands = self._of_ticket.pop(answer.ticket, None)
        if commands is None:  # a late answer to something else
            return
        if answer.refused:
            self._end_all(commands, Phase.REFUSED, now, clean(answer.refused))
            return
        rejected = {} if answer.data is NoData else {one.slave_id: one.why for one in answer.data}
        for command in commands:
            if command.slave_id in rejected:
                # An abort is also a skip, which an idle slave may reject.
                if command.verb is not Verb.ABORT or answer.msg == "KILL":
                    self._end(command, Phase.REFUSED, now, clean(rejected[command.slave_id]))
                continue
            command.taken = True
            if command.verb is not Verb.QUIT and command.slave_id is None:
                self._end(command, Phase.ACKNOWLEDGED, now)
            elif command.verb is Verb.RESUME and command.limit is None:
                self._end(command, Phase.ACKNOWLEDGED, now, "it builds, and continues after that")
        self._settle()

    def observe(self, slave_id: int, msg: str, data: Any, now: datetime) -> None:
        """Look for the effect of commands in the master's reply to a slave."""
        ended = len(self._ended)
        for command in [*self._pending.get(slave_id, ()), *self._pending.get(None, ())]:
            if command.phase is not Phase.SENDING:
                self._judge(command, msg, data, now)
        if len(self._ended) > ended:
            self._settle()

    def _judge(self, command: Command, msg: str, data: Any, now: datetime) -> None:
        match command.verb, msg:
            case (Verb.PAUSE | Verb.HALT, "SLEEP") if data is True:
                self._end(command, Phase.ACKNOWLEDGED, now)
            case (Verb.RESUME, "BUILD"):
                self._end(command, Phase.ACKNOWLEDGED, now)
            case (Verb.RESUME, "SLEEP") if data is False:
                self._end(command, Phase.ACKNOWLEDGED, now)
            case (Verb.SKIP, "DONE"):
                self._end(command, Phase.ACKNOWLEDGED, now)
            case (Verb.SKIP, "SEND"):
                self._end(command, Phase.SUPERSEDED, now, "the build had already ended")
            case (Verb.KILL | Verb.ABORT, "DIE"):
                self._end(command, Phase.ACKNOWLEDGED, now)
            case (Verb.SKIP | Verb.PAUSE | Verb.RESUME, "DIE") if command.slave_id is not None:
                self._end(command, Phase.SUPERSEDED, now, "the slave has left")
            case (_, "DONE") if command.limit is None:
                command.limit = now + _time_limit(command.verb, command.slave_id)

    def ended_by_itself(self, slave_id: int, now: datetime) -> None:
        """Record that a slave's build ended normally: there is nothing left to skip."""
        for command in self._pending.get(slave_id, ()):
            if command.verb is Verb.SKIP:
                self._end(command, Phase.SUPERSEDED, now, "the build had already ended")
        self._settle()

    def taken_back(
        self, slaves: Iterable[int] | None, before: datetime, now: datetime, note: str
    ) -> None:
        """Record that a resume of *slaves* (``None``: all) undid the commands given *before*."""
        chosen = None if slaves is None else set(slaves)
        for command in self._all():
            meant = chosen is None or command.slave_id in chosen
            if meant and command.verb in _UNDONE and command.at < before:
                self._end(command, Phase.SUPERSEDED, now, note)
        self._settle()

    def is_skipping(self, slave_id: int) -> bool:
        """Whether a skip, abort or halt is under way for a slave."""
        verbs = (Verb.SKIP, Verb.ABORT)
        ours = any(command.verb in verbs for command in self._pending.get(slave_id, ()))
        return ours or any(one.verb is Verb.HALT for one in self._pending.get(None, ()))

    def lost(self, now: datetime) -> None:
        """Record the loss of the link: a quit has worked; the outcome of all others is unknown."""
        for command in self._all():
            if command.verb is Verb.QUIT and command.phase is Phase.SENT:
                self._end(command, Phase.ACKNOWLEDGED, now)
            else:
                self._end(
                    command, Phase.UNKNOWN, now, "the link was lost before an effect was seen"
                )
        self._of_ticket.clear()
        self._settle()

    def forget_slaves(self) -> None:
        """Forget which slave has which command: a new master numbers the slaves again."""
        self._newest.clear()

    def tick(self, now: datetime) -> None:
        """Expire overdue commands."""
        for command in self._all():
            if command.limit is not None and now > command.limit:
                note = _EXPIRED_NOTES.get(command.verb, "no effect seen")
                self._end(command, Phase.EXPIRED, now, note)
        self._settle()

    # What is shown ----------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """The number of commands that are under way."""
        return sum(map(len, self._pending.values()))

    def of(self, slave_id: int, now: datetime) -> Command | None:
        """Return a slave's newest command if it is under way, or has failed recently."""
        command = self._newest.get(slave_id)
        if command is None or command.phase.pending:
            return command
        good = command.phase in (Phase.ACKNOWLEDGED, Phase.SUPERSEDED)
        old = command.ended is not None and now - command.ended > SHOWN
        return None if good or old else command

    def take_ended(self) -> list[Command]:
        """Return the commands that have ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    # Bookkeeping --------------------------------------------------------------------------------

    def _all(self) -> list[Command]:
        return [command for commands in self._pending.values() for command in commands]

    def _end_all(self, commands: Iterable[Command], phase: Phase, now: datetime, why: str) -> None:
        for command in commands:
            self._end(command, phase, now, why)
        self._settle()

    def _end(self, command: Command, phase: Phase, now: datetime, note: str = "") -> None:
        if command.phase.pending:
            command.end(phase, now, note)
            self._ended.append(command)
            if command.verb is Verb.RESUME and phase is Phase.ACKNOWLEDGED:
                whom = None if command.slave_id is None else [command.slave_id]
                self.taken_back(whom, command.at, now, "taken back by a resume")

    def _settle(self) -> None:
        """Remove commands that have ended from the tables of open ones."""
        for slave_id, commands in list(self._pending.items()):
            left = [command for command in commands if command.phase.pending]
            if left:
                self._pending[slave_id] = left
            else:
                del self._pending[slave_id]
        for ticket, commands in list(self._of_ticket.items()):
            if not any(command.phase.pending for command in commands):
                del self._of_ticket[ticket]
