"""The life of a command: sent, then acknowledged, expired, refused, unknown or moot.

A master of level 0 answers nothing: what it did is seen in what it then tells its slaves. One of
level 1 says at once whom it could not tell; what became of the command is seen in the same way.
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
    """What an operator can tell slaves, or (``None``) the whole farm."""

    PAUSE = "pause"
    WAKE = "wake"
    SKIP = "skip"
    STOP = "stop"  # once it has nothing to do: after its build
    KILL = "kill"  # now
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
    level 1 has said that it will do it.
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
        """Note what became of it."""
        self.phase, self.ended, self.limit = phase, now, None
        self.note = note or self.note


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


class Target(NamedTuple):
    """A slave that a command is for: whether it *builds* decides how long to wait for it."""

    slave_id: int
    label: str
    builds: bool


#: The messages of each verb (``protocols.md``, *control*), in the order of sending.
MESSAGES: Final[dict[Verb, tuple[str, ...]]] = {
    Verb.PAUSE: ("SLEEP",),
    Verb.WAKE: ("WAKE",),
    Verb.SKIP: ("SKIP",),
    Verb.STOP: ("KILL",),
    Verb.KILL: ("SKIP", "KILL"),
    Verb.HALT: ("SLEEP", "SKIP"),
    Verb.QUIT: ("QUIT",),
}

#: How long each verb may take to be seen done, where no build has to end first: for a slave, and
#: for the farm.
_PATIENCE: Final = timedelta(seconds=20)
_PATIENCE_OF: Final = {Verb.KILL: timedelta(seconds=40), Verb.QUIT: timedelta(seconds=60)}
_FARM_PATIENCE: Final = timedelta(seconds=30)
#: Verbs that wait for the end of what a slave builds.
_AFTER_BUILD: Final = (Verb.PAUSE, Verb.WAKE, Verb.STOP)
#: Verbs that a WAKE takes back as long as they have not been acted on.
_UNDONE: Final = (Verb.PAUSE, Verb.SKIP, Verb.STOP, Verb.KILL, Verb.HALT)
#: For how long the end of a command is shown in its slave's row, if it was not a good one.
SHOWN: Final = timedelta(seconds=60)

_LAPSED: Final = {
    Verb.PAUSE: "no sign of it: masters of other makes ignore a pause of single slaves",
    Verb.QUIT: "the master still answers: look at its log",
}


def _patience(verb: Verb, slave_id: int | None) -> timedelta:
    usual = _FARM_PATIENCE if slave_id is None else _PATIENCE
    return _PATIENCE_OF.get(verb, usual)


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
        """Begin a command for *targets*; return it with what is to be sent.

        With *everyone* it is one for the whole farm. Then a STOP or KILL is noted for each of
        *targets*, since each of them is seen to end; all other verbs are noted once.
        """
        if everyone and verb not in (Verb.STOP, Verb.KILL):
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
        limit = now + _patience(verb, slave_id)
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
        """Note a command that is not sent at all, and *why*; no *targets* stand for the farm."""
        whom: list[tuple[int | None, str]] = [(one.slave_id, one.label) for one in targets]
        whom = whom or [(None, "")]
        batch = self._batch(verb, [self._begin(verb, *one, now) for one in whom], now)
        self._end_all(batch.commands, Phase.REFUSED, now, why)
        return batch

    # What comes back --------------------------------------------------------------------------

    def sent(self, ticket: int) -> None:
        """Note that a message has gone out."""
        for command in self._of_ticket.get(ticket, ()):
            if command.phase is Phase.SENDING:
                command.phase = Phase.SENT

    def unsent(self, ticket: int, why: str, now: datetime) -> None:
        """Note that a message will never go out."""
        self._end_all(self._of_ticket.pop(ticket, ()), Phase.REFUSED, now, why)

    def answered(self, answer: Answer, now: datetime) -> None:
        """Note what a master of level 1 says of a command."""
        commands = self._of_ticket.pop(answer.ticket, None)
        if commands is None:  # it is of something else, and too late
            return
        if answer.refused:
            self._end_all(commands, Phase.REFUSED, now, clean(answer.refused))
            return
        untold = {} if answer.data is NoData else {one.slave_id: one.why for one in answer.data}
        for command in commands:
            if command.slave_id in untold:
                # To kill is to skip as well, which an idle slave has no need of.
                if command.verb is not Verb.KILL or answer.msg == "KILL":
                    self._end(command, Phase.REFUSED, now, clean(untold[command.slave_id]))
                continue
            command.taken = True
            if command.verb is not Verb.QUIT and command.slave_id is None:
                self._end(command, Phase.ACKNOWLEDGED, now)
            elif command.verb is Verb.WAKE and command.limit is None:
                self._end(command, Phase.ACKNOWLEDGED, now, "it builds, and goes on after that")
        self._settle()

    def heard(self, slave_id: int, msg: str, data: Any, now: datetime) -> None:
        """Take what a slave was told, for what it says of the commands under way."""
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
            case (Verb.WAKE, "BUILD"):
                self._end(command, Phase.ACKNOWLEDGED, now)
            case (Verb.WAKE, "SLEEP") if data is False:
                self._end(command, Phase.ACKNOWLEDGED, now)
            case (Verb.SKIP, "DONE"):
                self._end(command, Phase.ACKNOWLEDGED, now)
            case (Verb.SKIP, "SEND"):
                self._end(command, Phase.MOOT, now, "the build had ended by itself")
            case (Verb.STOP | Verb.KILL, "DIE"):
                self._end(command, Phase.ACKNOWLEDGED, now)
            case (Verb.SKIP | Verb.PAUSE | Verb.WAKE, "DIE") if command.slave_id is not None:
                self._end(command, Phase.MOOT, now, "the slave has left")
            case (_, "DONE") if command.limit is None:
                command.limit = now + _patience(command.verb, command.slave_id)

    def ended_by_itself(self, slave_id: int, now: datetime) -> None:
        """Note that the build of a slave has ended in order: there was nothing left to skip."""
        for command in self._pending.get(slave_id, ()):
            if command.verb is Verb.SKIP:
                self._end(command, Phase.MOOT, now, "the build had ended by itself")
        self._settle()

    def taken_back(
        self, slaves: Iterable[int] | None, before: datetime, now: datetime, note: str
    ) -> None:
        """Note that a WAKE of *slaves* (``None``: all) has undone what was given *before*."""
        chosen = None if slaves is None else set(slaves)
        for command in self._all():
            meant = chosen is None or command.slave_id in chosen
            if meant and command.verb in _UNDONE and command.at < before:
                self._end(command, Phase.MOOT, now, note)
        self._settle()

    def is_skipping(self, slave_id: int) -> bool:
        """Whether a skip or kill is under way for a slave."""
        verbs = (Verb.SKIP, Verb.KILL)
        ours = any(command.verb in verbs for command in self._pending.get(slave_id, ()))
        return ours or any(one.verb is Verb.HALT for one in self._pending.get(None, ()))

    def lost(self, now: datetime) -> None:
        """Note that the link is lost: a master told to quit has; of the rest we know nothing."""
        for command in self._all():
            if command.verb is Verb.QUIT and command.phase is Phase.SENT:
                self._end(command, Phase.ACKNOWLEDGED, now)
            else:
                self._end(command, Phase.UNKNOWN, now, "the link was lost before it was seen done")
        self._of_ticket.clear()
        self._settle()

    def forget_slaves(self) -> None:
        """Note that another master has come, which gives the slaves' numbers anew."""
        self._newest.clear()

    def tick(self, now: datetime) -> None:
        """Let patience end."""
        for command in self._all():
            if command.limit is not None and now > command.limit:
                note = _LAPSED.get(command.verb, "no sign of it")
                self._end(command, Phase.EXPIRED, now, note)
        self._settle()

    # What is shown ----------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """How many commands are under way."""
        return sum(map(len, self._pending.values()))

    def of(self, slave_id: int, now: datetime) -> Command | None:
        """Return the newest command for a slave: one under way, or one that came to no good."""
        command = self._newest.get(slave_id)
        if command is None or command.phase.pending:
            return command
        good = command.phase in (Phase.ACKNOWLEDGED, Phase.MOOT)
        old = command.ended is not None and now - command.ended > SHOWN
        return None if good or old else command

    def take_ended(self) -> list[Command]:
        """Return the commands that have ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    # The books --------------------------------------------------------------------------------

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
            if command.verb is Verb.WAKE and phase is Phase.ACKNOWLEDGED:
                whom = None if command.slave_id is None else [command.slave_id]
                self.taken_back(whom, command.at, now, "taken back by a wake")

    def _settle(self) -> None:
        """Drop what has ended from what is under way."""
        for slave_id, commands in list(self._pending.items()):
            left = [command for command in commands if command.phase.pending]
            if left:
                self._pending[slave_id] = left
            else:
                del self._pending[slave_id]
        for ticket, commands in list(self._of_ticket.items()):
            if not any(command.phase.pending for command in commands):
                del self._of_ticket[ticket]
