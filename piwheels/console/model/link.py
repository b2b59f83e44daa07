"""The state machine of the link to a master, without input or output.

It takes events and returns messages to send. How it attaches:

====================  ==============================================================================
to a level-1 master   the sockets are up; ``HELLO`` on the console socket, ``Welcome`` back; then
                      pages of ``SLAVES`` until an empty one
to any other          ``HELLO`` on the control socket; the master publishes its own ``HELLO``, then
                      the last messages of each slave, with old timestamps
====================  ==============================================================================
"""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from piwheels.console.model.clock import is_own_time
from piwheels.console.model.events import (
    Answer,
    Event,
    Garbled,
    Outgoing,
    Unsent,
    Wire,
    WireDown,
    WireUp,
)
from piwheels.console.model.pauses import Pauses
from piwheels.console.text import short_span
from piwheels.core.codec import NoData
from piwheels.core.protocols import (
    BuildOutcome,
    CommandReport,
    Greeting,
    Output,
    SlaveEvent,
    Welcome,
)
from piwheels.core.states import MasterInfo, MasterStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class LinkState(StrEnum):
    """The state of the link: the word on the status line."""

    CONNECTING = "CONNECTING"
    ATTACHING = "ATTACHING"
    REPLAYING = "REPLAYING"
    LIVE = "LIVE"
    PAUSED = "PAUSED"
    QUIET = "QUIET"
    LOST = "LOST"
    MISMATCH = "MISMATCH"
    FILE = "REPLAY"


#: States in which the farm is shown and updated.
ATTACHED: Final = (LinkState.LIVE, LinkState.PAUSED, LinkState.QUIET, LinkState.MISMATCH)

_SECOND: Final = timedelta(seconds=1)
#: How long the console socket may connect after the others before the link does without it.
_CONSOLE_WAIT: Final = 0.5 * _SECOND
#: How long a level-1 master may take to answer HELLO before it counts as level 0.
_WELCOME_WAIT: Final = 1.5 * _SECOND
#: The pauses between repeated HELLOs; the last one repeats.
_AGAIN: Final = (3 * _SECOND, 10 * _SECOND, 30 * _SECOND)
#: A level-0 replay ends when no repeated message has come for this long, or after the second.
_REPLAY_QUIET, _REPLAY_MOST = _SECOND, 15 * _SECOND
#: A message older than the newest by more than this is a repeated one.
_PAST: Final = 5 * _SECOND
#: How long a master may repeat messages after its greeting (another console asked for a replay).
#: An old message at any other time is live: the master's clock was set back.
_REPEATS: Final = 30 * _SECOND
#: The silence that is reported, and the interval of a level-1 console's keepalive.
_QUIET, _KEEP_ALIVE = 15 * _SECOND, 30 * _SECOND
#: How long invalid frames make the console read-only.
_MISMATCH: Final = 60 * _SECOND
#: The time to connect after which the screen explains why it takes so long.
_PROMPT: Final = 2 * _SECOND
#: A replay longer than this counts as endless: the link becomes live.
_MOST_REPLAYED: Final = 1_000_000
#: The time after which a page of slaves is requested again.
_PAGE_WAIT: Final = 5 * _SECOND


class LinkMachine:
    """The state of the link. *who*: the operator; *console*: level 1 may be tried."""

    def __init__(self, who: str, tickets: Iterator[int] | None = None, *, console: bool) -> None:
        self.who = who
        self.state = LinkState.CONNECTING
        self.since: datetime | None = None
        self.level = 0
        #: The master's start: after a restart all slaves have new numbers.
        self.epoch: datetime | None = None
        self.last_contact: datetime | None = None
        #: Why each socket is down, as far as is known.
        self.why: dict[Wire, str] = {}
        self.replayed = 0
        self.garbled = 0
        self.garbled_what = ""
        #: Whether the farm as a whole is paused, as far as is known.
        self.paused = False
        #: What the master says to each operator.
        self.warning = ""
        self.pauses = Pauses()
        #: The number of times the link was lost.
        self.losses = 0
        self._console = console
        self._tickets = tickets or itertools.count(1)
        self._up: set[Wire] = set()
        self._up_at: datetime | None = None
        self._try_console = console
        self._hellos = 0
        self._hello_at: datetime | None = None
        self._hello_ticket = 0
        self._page_ticket, self._page_after = 0, 0
        self._page_at: datetime | None = None
        self._past_at: datetime | None = None
        self._newest: datetime | None = None
        #: When the master last greeted: the answer to a console that asks for a replay.
        self._asked_at: datetime | None = None
        self._garbled_at: datetime | None = None
        self._stats_at: datetime | None = None
        self._reported_paused = False

    # Queries ----------------------------------------------------------------------

    @property
    def attached(self) -> bool:
        """Whether there is a master to take commands."""
        return self.state in ATTACHED

    def age(self, now: datetime) -> timedelta | None:
        """Return the time since the master's last message; ``None``: there was none."""
        return None if self.last_contact is None else now - self.last_contact

    # Events -----------------------------------------------------------------------------------

    def handle(self, event: Event, now: datetime) -> list[Outgoing]:
        """Take *event*; return messages to send."""
        if isinstance(event, CommandReport):
            self.pauses.note(event)
        if self.state is LinkState.FILE:
            self._note_contact(now)
            return []
        match event:
            case WireUp(wire):
                return self._came(wire, now)
            case WireDown(wire, why):
                return self._down(wire, why, now)
            case Garbled(wire, why, _):
                self.garbled += 1
                self.garbled_what = why
                self._garbled_at = now
            case Answer():
                self._note_contact(now)
                return self._answered(event, now)
            case Unsent(ticket, _) if ticket == self._page_ticket:
                self._page_at = None
            case MasterInfo():
                self._note_contact(now)
                self._greeted(event, now)
            case SlaveEvent():
                self._note_contact(now)
                self._timed(event, now)
            case MasterStats():
                self._note_contact(now)
                self._stats_at = now
            case CommandReport(_, verb, None, _) if verb in ("SLEEP", "WAKE"):
                self._note_contact(now)
                self.paused = bool(self.pauses.why(None))
            case BuildOutcome() | Output() | CommandReport():
                self._note_contact(now)
        return []

    def _note_contact(self, now: datetime) -> None:
        self.last_contact = now

    def _came(self, wire: Wire, now: datetime) -> list[Outgoing]:
        self._up.add(wire)
        self.why.pop(wire, None)
        if self._connected() and self._up_at is None:
            self._up_at = now
        if wire == "console" and self._hellos and self.level == 0:
            # A master that starts: its console socket appears after the others.
            self._try_console = self._console
            return [self._greet(now)]
        return []

    def _down(self, wire: Wire, why: str, now: datetime) -> list[Outgoing]:
        self.why[wire] = why
        if wire not in self._up:
            return []
        self._up.discard(wire)
        needed = {"status", "console" if self.level > 0 else "control"}
        if wire in needed and self.state is not LinkState.CONNECTING:
            self._go(LinkState.LOST, now)
            self.losses += 1
        if not self._connected() or wire in needed:
            self._up_at = now if self._connected() else None
            self.pauses = Pauses()  # the master reports them again
            self._restart()
        return []

    def _restart(self) -> None:
        self.level, self._hellos, self._hello_at = 0, 0, None
        self._try_console = self._console
        self._page_ticket, self._page_at, self._page_after = 0, None, 0

    def _connected(self) -> bool:
        return "status" in self._up and not self._up.isdisjoint({"control", "console"})

    def _answered(self, answer: Answer, now: datetime) -> list[Outgoing]:
        if answer.ticket == self._hello_ticket and isinstance(answer.data, Welcome):
            self.warning = answer.data.warning
            self.paused = answer.data.paused or bool(self.pauses.why(None))
            if self.level == 0 or self.epoch != answer.data.info.started:
                self.level = 1
                self._greeted(answer.data.info, now)
                self._go(LinkState.REPLAYING, now)
                return [self._page(0, now)]
        elif answer.ticket == self._page_ticket and answer.msg == "SLAVES":
            if answer.refused:
                self._page_at = None
                return []
            self.replayed += len(answer.data)
            last = max((event.slave_id for event in answer.data), default=0)
            if last <= self._page_after or self.replayed > _MOST_REPLAYED:
                self._page_ticket, self._page_at = 0, None
                self._go(LinkState.LIVE, now)
                return []
            return [self._page(last, now)]
        return []

    def _page(self, after: int, now: datetime) -> Outgoing:
        self._page_ticket, self._page_at, self._page_after = next(self._tickets), now, after
        return Outgoing("console", self._page_ticket, "SLAVES", after)

    def _greeted(self, info: MasterInfo, now: datetime) -> None:
        """Take the master's greeting: a replay follows."""
        restarted = self._epoch(info)
        self._asked_at = now
        if self.state in (LinkState.ATTACHING, LinkState.LOST) or restarted:
            self.replayed = 0
            self._past_at = self._newest = None
            self._go(LinkState.REPLAYING, now)

    def _epoch(self, info: MasterInfo) -> bool:
        before, self.epoch = self.epoch, info.started
        return before is not None and before != info.started

    def is_past(self, event: SlaveEvent) -> bool:
        """Whether *event* repeats something old, which is no news."""
        if self.state is LinkState.REPLAYING:
            return True
        return self._newest is not None and self._newest - event.timestamp > _PAST

    def _timed(self, event: SlaveEvent, now: datetime) -> None:
        if self.state is LinkState.REPLAYING:
            self.replayed += 1
        if is_own_time(event):
            self._past_at = now
            return
        asked = self._asked_at is not None and now - self._asked_at <= _REPEATS
        if self._newest is None or event.timestamp > self._newest or not asked:
            self._newest = event.timestamp
        if self._newest - event.timestamp > _PAST or event.message == "HELLO":
            self._past_at = now
        elif event.message in ("SLEEP", "BUILD"):
            self._reported_paused = event.data is True

    # Time -------------------------------------------------------------------------------------

    def tick(self, now: datetime) -> list[Outgoing]:
        """Let time pass; return messages to send."""
        self.since = self.since or now
        match self.state:
            case LinkState.CONNECTING | LinkState.LOST:
                if self._up_at is not None:
                    if self.state is LinkState.CONNECTING or self._hello_at is None:
                        return self._attach(now)
                    return self._hello_again(now)
            case LinkState.ATTACHING:
                return self._hello_again(now)
            case LinkState.REPLAYING:
                return self._replay_tick(now)
            case LinkState.FILE:
                pass
            case _:
                self._settle(now)
                if self.level > 0 and now - (self._hello_at or now) >= _KEEP_ALIVE:
                    return [self._greet(now)]
        return []

    def _attach(self, now: datetime) -> list[Outgoing]:
        waited = now - (self._up_at or now)
        if self._try_console and "console" not in self._up and "control" in self._up:
            if waited < _CONSOLE_WAIT:
                return []
            self._try_console = False
        if self.state is LinkState.CONNECTING:
            self._go(LinkState.ATTACHING, now)
        return self._hello(now)

    def _hello(self, now: datetime) -> list[Outgoing]:
        self._hellos += 1
        self._hello_at = now
        if self._try_console and "console" in self._up:
            return [self._greet(now)]
        if "control" not in self._up:
            return []
        return [Outgoing("control", next(self._tickets), "HELLO", NoData)]

    def _greet(self, now: datetime) -> Outgoing:
        self._hello_at, self._hello_ticket = now, next(self._tickets)
        return Outgoing("console", self._hello_ticket, "HELLO", Greeting(1, self.who))

    def _hello_again(self, now: datetime) -> list[Outgoing]:
        waited = now - (self._hello_at or now)
        if self._try_console and waited >= _WELCOME_WAIT and "control" in self._up:
            self._try_console = False  # level 0, or busy: the control socket will do
            return self._hello(now)
        if waited >= _AGAIN[min(max(self._hellos - 1, 0), len(_AGAIN) - 1)]:
            return self._hello(now)
        return []

    def _replay_tick(self, now: datetime) -> list[Outgoing]:
        since = self.since or now
        if self.level > 0:
            if self._page_at is None or now - self._page_at >= _PAGE_WAIT:
                return [self._page(self._page_after, now)]
            return []
        quiet = now - max(self._past_at or since, since)
        if quiet >= _REPLAY_QUIET or now - since >= _REPLAY_MOST:
            self._go(LinkState.LIVE, now)
        return []

    def _settle(self, now: datetime) -> None:
        """Choose among LIVE and the states that qualify it."""
        state = LinkState.LIVE
        if self._garbled_at is not None and now - self._garbled_at < _MISMATCH:
            state = LinkState.MISMATCH
        elif self.last_contact is not None and now - self.last_contact >= _QUIET:
            state = LinkState.QUIET
        elif self.paused or (self._reported_paused and self._has_no_stats(now)):
            state = LinkState.PAUSED
        self._go(state, now)

    def _has_no_stats(self, now: datetime) -> bool:
        """Whether the master's stats have stopped, as some masters' do while paused."""
        return self._stats_at is not None and now - self._stats_at >= _QUIET

    def _go(self, state: LinkState, now: datetime) -> None:
        if state is not self.state:
            self.state, self.since = state, now

    def reattach(self, now: datetime) -> list[Outgoing]:
        """Ask the master for a full replay."""
        if not self.attached:
            return []
        self._restart()
        self._up_at = now
        self._go(LinkState.ATTACHING, now)
        return self._hello(now)

    # Words ------------------------------------------------------------------------------------

    def text(self, now: datetime, shown: Callable[[datetime], datetime]) -> str:
        """Return the status line's words on the link; *shown* gives times by the wall clock."""
        since = self.since or now
        age = short_span(now - since)
        clock = f"{shown(since).astimezone():%H:%M:%S}"
        match self.state:
            case LinkState.CONNECTING:
                return f"connecting ({age})"
            case LinkState.ATTACHING:
                return "attaching"
            case LinkState.REPLAYING:
                return f"replay {self.replayed:,}"
            case LinkState.PAUSED:
                return f"PAUSED since {clock[:5]}"
            case LinkState.QUIET:
                return f"quiet {short_span(self.age(now) or timedelta())}"
            case LinkState.LOST:
                return f"LOST {clock} ({age})"
            case LinkState.MISMATCH:
                return f"protocol: {self.garbled:,} invalid frames"
            case state:
                return state.value

    def advice(self, addresses: dict[Wire, str], now: datetime) -> list[str]:
        """Return what is wrong and what to do about it, in lines; ``[]`` if all is well."""
        explain = bool(self.why) or now - (self.since or now) >= _PROMPT
        match self.state:
            case LinkState.CONNECTING | LinkState.LOST if explain and not self._connected():
                lines = ["No master answers. This console keeps trying."]
                for wire in ("status", "control"):
                    if wire not in self._up and wire in addresses:
                        why = self.why.get(wire, "")
                        lines.append(f"{wire}: {addresses[wire]}" + (f" – {why}" if why else ""))
                lines += [
                    "Is piw-master (or piw-up) running, as this user or on that host?",
                    "Other addresses: --status-queue and --control-queue.",
                ]
                return lines
            case LinkState.ATTACHING | LinkState.LOST if self._hellos > 1:
                return [
                    "A master is there, but does not answer HELLO.",
                    "It may be very busy, or these addresses are not its status and control queue.",
                ]
            case LinkState.MISMATCH:
                return [
                    f"{self.garbled:,} invalid messages, last: {self.garbled_what}",
                    "Commands are refused until a minute passes without one.",
                    "Is this console as new as the master? The Events screen shows the bytes.",
                ]
        return []
