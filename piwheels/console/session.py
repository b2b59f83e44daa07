"""A session with a farm: a console without its looks.

The screens, ``--plain`` and ``--once`` are shells over a :class:`Session`. It folds the events of
a *source* (the link to a master, a recording, or a test's own) into the model, and sends messages.
"""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.console.model import events
from piwheels.console.model.commands import (
    MESSAGES,
    Batch,
    Command,
    CommandTracker,
    Phase,
    Target,
    Verb,
)
from piwheels.console.model.farm import Changes, FarmModel
from piwheels.console.model.journal import Journal, Kind
from piwheels.console.model.link import LinkMachine, LinkState
from piwheels.console.model.slave import State
from piwheels.console.source import Recording
from piwheels.console.text import clean, short_span
from piwheels.console.tickets import Tickets
from piwheels.core.codec import NoData
from piwheels.core.errors import should_log
from piwheels.core.protocols import (
    UNSERVED,
    BuildOutcome,
    CommandReport,
    Lane,
    Output,
    QueueHead,
    SlaveEvent,
    TargetState,
)
from piwheels.core.states import MasterInfo, MasterStats
from piwheels.core.wheels.tags import canonical
from piwheels.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from piwheels.console.model.events import Answer, Incoming, Outgoing
    from piwheels.console.source import Recorder, Source
    from piwheels.console.tickets import Then

#: The number of versions of each queue and of builds that a level-1 master is asked for, and the
#: interval.
_HEADS, _BUILDS = 20, 200
_QUEUE_EVERY: Final = timedelta(seconds=10)
#: How a master begins the refusal of a request that it does not know.
NOT_UNDERSTOOD: Final = "not understood"
#: How long the flash line shows a restart of the master.
_BANNER: Final = timedelta(seconds=20)

_KINDS: Final = {
    Phase.ACKNOWLEDGED: Kind.ACK,
    Phase.SUPERSEDED: Kind.ACK,
    Phase.EXPIRED: Kind.WARN,
    Phase.UNKNOWN: Kind.WARN,
    Phase.REFUSED: Kind.WARN,
}
#: The journal's text when a state other than a lost link ends.
_BACK: Final = {
    LinkState.PAUSED: ("the farm is resumed", ""),
    LinkState.QUIET: ("the master sends again", ""),
}
#: The console's verb for each message of the wire.
_VERBS: Final = {
    msg: verb for verb, messages in MESSAGES.items() if len(messages) == 1 for msg in messages
}


def _whole(verb: Verb) -> str:
    return "the master" if verb is Verb.QUIT else "the farm"


class Session:
    """The state and the actions of a console. *read_only* refuses commands; *who*: the operator.

    *addresses*: of the sockets (for advice; with ``console`` among them, level 1 is tried). Time is
    console time (:mod:`piwheels.console.clock`): *now* is an argument of :meth:`pump` and
    :meth:`tick`, and holds until the next. *wall* reads the wall clock, for :meth:`shown` only.
    """

    def __init__(
        self,
        source: Source,
        *,
        read_only: bool = False,
        who: str = "",
        addresses: dict[events.Wire, str] | None = None,
        recorder: Recorder | None = None,
        wall: Callable[[], datetime] | None = None,
    ) -> None:
        self.source = source
        self.read_only = read_only
        self.who = who
        self.addresses: dict[events.Wire, str] = addresses or {}
        self.recorder = recorder
        self.farm = FarmModel()
        self.journal = Journal()
        #: The master's queue as last reported; empty at level 0.
        self.queue: list[QueueHead] = []
        #: The master's targets as last reported, and those without a slave for too long.
        self.targets: list[TargetState] = []
        self.unserved: list[TargetState] = []
        #: The last builds as reported by the master, newest first.
        self.recent: list[BuildOutcome] = []
        self._banner = ""
        self._banner_until: datetime | None = None
        self._tickets = itertools.count(1)
        self.link = LinkMachine(who, self._tickets, console="console" in self.addresses)
        self.tracker = CommandTracker(self._tickets)
        if isinstance(source, Recording):
            self.link.state = LinkState.FILE
        self._now: datetime | None = None
        self._wall = wall
        self._stepped = timedelta()
        self._changes = Changes()
        self._asked = Tickets(self._tickets)
        self._queue_due: datetime | None = None
        #: The number after which slaves are new: which of them are lanes is not known yet.
        self._lanes_after: int | None = None
        self._awaits_lanes = False
        #: Requests that this master does not know.
        self._unknown: set[str] = set()

    @property
    def now(self) -> datetime:
        """The moment of the last :meth:`start`, :meth:`pump` or :meth:`tick`."""
        assert self._now is not None, "the session has not begun"  # noqa: S101
        return self._now

    def shown(self, at: datetime) -> datetime:
        """Return console time *at* by the wall clock, for people to read."""
        return at + self._stepped

    @property
    def recording(self) -> Recording | None:
        """The recording, if one is shown."""
        return self.source if isinstance(self.source, Recording) else None

    # Time and events --------------------------------------------------------------------------

    def start(self, now: datetime) -> None:
        """Start to attach."""
        self._now = now
        self.farm.tick(now)
        self.source.start()

    def pump(self, now: datetime, most: int = 2000) -> bool:
        """Fold up to *most* events; return whether there may be more."""
        self._now = now
        taken = 0
        for incoming in itertools.islice(self.source.take(), most):
            taken += 1
            self._take(incoming)
        self._tick_link(now)
        if self._lanes_after is not None and not self._awaits_lanes:
            after, self._lanes_after = self._lanes_after, None
            self._awaits_lanes = self.ask_newer("HOSTS", after, self._got_lanes)
        return taken == most

    def tick(self, now: datetime) -> None:
        """Let time pass; call it once a second."""
        self._now = now
        if self._wall is not None:
            self._stepped = self._wall() - now
        self._tick_link(now)
        self.farm.tick(now)
        self.tracker.tick(now)
        self._note_ended()
        self._note_entries()
        self._asked.tick(now)
        if self._banner_until is not None and now > self._banner_until:
            self._banner, self._banner_until = "", None
        if self.recorder is not None and self.recorder.failure:
            what = "the recording has ended"
            self.journal.note(now, Kind.CRITICAL, what, detail=self.recorder.failure)
            self._changes.journal = True
            self.recorder.close()
            self.recorder = None
        if self._queue_due is None or now >= self._queue_due:
            self._queue_due = now + _QUEUE_EVERY
            self.ask("QUEUE", _HEADS, self._got_queue)
            self.ask_newer("TARGETS", NoData, self._got_targets)
            self._awaits_lanes = False

    def take_changes(self) -> Changes:
        """Return the changes since the last call."""
        changes, self._changes = self._changes, Changes()
        folded = self.farm.take_changes()
        for name in Changes.__slots__:
            mine, theirs = getattr(changes, name), getattr(folded, name)
            setattr(changes, name, mine | theirs)
        return changes

    def close(self) -> None:
        """Stop the source, and finish the recording."""
        self.source.stop()
        if self.recorder is not None:
            self.recorder.close()

    def seek(self, at: datetime) -> None:
        """Move to a moment of the recording."""
        if self.recording is not None:
            self.recording.seek(at)
            self.farm, self.journal = FarmModel(), Journal()
            self.farm.tick(at)
            self._now = at
            self._changes = Changes(epoch=True, journal=True, stats=True)

    def _take(self, incoming: Incoming) -> None:
        now, event = incoming.at, incoming.event
        before = self.link.state
        self._send(self.link.handle(event, now))
        self._follow_link(before)
        past = incoming.past or self._is_past(event)
        match event:
            case MasterInfo():
                self._fold_info(event, now)
            case SlaveEvent():
                self._fold_slave(event, now, past=past)
            case BuildOutcome():
                self._ended_by_itself(event, now)
                self.farm.fold(event, now, replay=past)
                self.recent.insert(0, event)
                del self.recent[_BUILDS:]
                self._changes.answers = True
            case Output():
                self._asked.deliver(event)
            case CommandReport():
                self._note_report(event, now)
            case events.Sent(ticket):
                self.tracker.sent(ticket)
                self._changes.commands = True
            case events.Unsent(ticket, why):
                self.tracker.unsent(ticket, why, now)
                self._changes.commands = True
                self._asked.answer(ticket, None, why)
            case events.Answer():
                self._answered(event, now)
            case events.Garbled(wire, why, sample):
                self._note_garbled(wire, why, sample, now)
            case events.WireUp() | events.WireDown():
                self._changes.link = True
            case _:
                self.farm.fold(event, now, replay=past)
        if self.recorder is not None:
            self.recorder.note(events.Incoming(now, event, past), self.farm)
        self._note_ended()
        self._note_entries()

    def _is_past(self, event: events.Event) -> bool:
        if isinstance(event, SlaveEvent):
            return self.link.is_past(event)
        return isinstance(event, MasterStats) and self.state is LinkState.REPLAYING

    def _fold_info(self, info: MasterInfo, now: datetime) -> None:
        old = len(self.farm.slaves)
        restarted = self.farm.info is not None and self.farm.info.started != info.started
        self.farm.fold(info, now)
        if restarted:
            self.tracker.lost(now)
            self.tracker.forget_slaves()
            self._asked.fail_all("the master was restarted")
            what = f"the master was restarted at {info.started.astimezone():%H:%M:%S}"
            detail = f"{old:,} slaves from before are cleared" if old else ""
            self.journal.note(now, Kind.MASTER, what, detail=detail)
            self._banner = f"{what}; {detail}".rstrip("; ")
            self._banner_until = now + _BANNER
            self._changes.journal = self._changes.link = True

    def _fold_slave(self, event: SlaveEvent, now: datetime, *, past: bool) -> None:
        if not past:
            if event.message == "DONE" and self.tracker.is_skipping(event.slave_id):
                self.farm.skipped(event.slave_id)
            if event.message == "HELLO":
                after = max(0, event.slave_id - 1)
                known = after if self._lanes_after is None else self._lanes_after
                self._lanes_after = min(after, known)
            self.tracker.observe(event.slave_id, event.message, event.data, now)
        self.farm.fold(event, now, replay=past)

    def _ended_by_itself(self, outcome: BuildOutcome, now: datetime) -> None:
        if outcome.result != "skipped":
            self.tracker.ended_by_itself(outcome.slave_id, now)

    def _tick_link(self, now: datetime) -> None:
        before = self.link.state
        self._send(self.link.tick(now))
        self._follow_link(before)

    def _follow_link(self, before: LinkState) -> None:
        state = self.link.state
        if state is before:
            return
        now = self.now
        self._changes.link = True
        if state is LinkState.LOST:
            self.tracker.lost(now)
            self._asked.fail_all("the link was lost")
        words = {
            LinkState.LIVE: _BACK.get(before, ("attached", f"level {self.level}")),
            LinkState.LOST: ("lost the master", "trying to reach it again"),
            LinkState.QUIET: ("the master is silent", "connected, but no message for 15s"),
            LinkState.PAUSED: ("the farm is paused", ""),
        }
        if state in words:
            kind = Kind.CRITICAL if state is LinkState.LOST else Kind.LINK
            what, detail = words[state]
            self.journal.note(now, kind, what, detail=detail)
            self._changes.journal = True
        if state is LinkState.LIVE and before is LinkState.REPLAYING and self.link.warning:
            self.journal.note(now, Kind.CRITICAL, clean(self.link.warning))
        if state is LinkState.LIVE and before is LinkState.REPLAYING and self.level > 0:
            self.ask("BUILDS", _BUILDS, self._got_builds)
            self.ask("FIGURES", NoData, self._got_stats)
            self._unknown.clear()
            self._lanes_after, self._awaits_lanes = 0, False
            self._queue_due = None

    # Journal ----------------------------------------------------------------------------

    def _note_entries(self) -> None:
        for entry in self.farm.take_entries():
            self.journal.add(entry)
            self._changes.journal = True

    def _note_ended(self) -> None:
        for command in self.tracker.take_ended():
            self._changes.commands = self._changes.journal = True
            if command.slave_id is not None:
                self._changes.slaves.add(command.slave_id)
            took = short_span((command.ended or command.at) - command.at)
            self.journal.note(
                self.now,
                _KINDS[command.phase],
                f"{command.verb} {command.phase}",
                slave_id=command.slave_id,
                label=command.label or _whole(command.verb),
                detail=f"{took}: {command.note}" if command.note else took,
            )
            done = command.slave_id is None and command.phase is Phase.ACKNOWLEDGED
            if done and command.verb in (Verb.PAUSE, Verb.HALT, Verb.RESUME):
                self.link.paused = command.verb is not Verb.RESUME or bool(self.why_paused(None))

    def _note_report(self, report: CommandReport, now: datetime) -> None:
        if report.who == self.who:
            return
        count = "all slaves" if report.slaves is None else f"{len(report.slaves)} slaves"
        slave_id = report.slaves[0] if report.slaves and len(report.slaves) == 1 else None
        slave = self.farm.slaves.get(slave_id) if slave_id is not None else None
        label = slave.label if slave is not None else count
        who = clean(report.who)
        if report.verb == "WAKE":
            self.tracker.taken_back(report.slaves, now, now, f"taken back by {who}")
        what = f"{_VERBS[report.verb]} by {who}"
        self.journal.note(now, Kind.COMMAND, what, slave_id=slave_id, label=label)
        self._changes.journal = True

    def _note_garbled(self, wire: str, why: str, sample: bytes, now: datetime) -> None:
        self._changes.link = True
        if should_log(self.link.garbled):
            what = f"invalid frame on {wire}"
            detail = f"{clean(why)}; {self.link.garbled:,} so far; begins {sample.hex(' ')}"
            self.journal.note(now, Kind.LINK, what, detail=detail)
            self._changes.journal = True

    # The link ---------------------------------------------------------------------------------

    @property
    def banner(self) -> str:
        """An urgent message for every screen: the master was restarted, or has a warning."""
        return self._banner or clean(self.link.warning)

    @property
    def state(self) -> LinkState:
        """The state of the link."""
        return self.link.state

    @property
    def level(self) -> int:
        """The protocol level of the link (0 until it is known to be 1)."""
        return self.link.level

    @property
    def paused(self) -> bool:
        """Whether the farm as a whole is known to be paused."""
        return self.link.paused or self.state is LinkState.PAUSED

    def why_paused(self, slave_id: int | None) -> str:
        """Return who pauses a slave (``None``: the farm), and why; ``""`` if that is unknown."""
        return clean(self.link.pauses.why(slave_id))

    def link_text(self) -> str:
        """Return the link's state for the status line: ``LIVE``, ``LOST 12:40:58 (9s)``."""
        return self.link.text(self.now, self.shown)

    def advice(self) -> list[str]:
        """Return what is wrong with the link and what to do about it, in lines; or ``[]``."""
        return self.link.advice(self.addresses, self.now)

    def reattach(self) -> None:
        """Ask the master for a full replay."""
        self._send(self.link.reattach(self.now))
        self._changes.link = True

    def _send(self, messages: Iterable[Outgoing]) -> None:
        for outgoing in messages:
            self.source.send(outgoing)

    # Commands ---------------------------------------------------------------------------------

    def why_not(self, verb: str) -> str:
        """Return why *verb* cannot be given now, in a sentence; ``""`` if it can."""
        if self.recording is not None:
            return "this is a recording: it takes no commands"
        if self.read_only:
            return "this console is read-only"
        match self.state:
            case LinkState.LIVE | LinkState.PAUSED | LinkState.QUIET:
                return ""
            case LinkState.MISMATCH:
                return "the master sends what this console does not understand"
            case LinkState.REPLAYING | LinkState.ATTACHING:
                return f"not yet attached to the master: {verb} again in a moment"
        return "there is no master: nothing was sent, now or later"

    def command(self, verb: Verb, slaves: Sequence[int] | None) -> Batch:
        """Give a command to *slaves* (``None``: the farm, or the master itself).

        A command that cannot be sent now is REFUSED; it is never sent later.
        """
        everyone = slaves is None
        living = [one for one in self.farm.slaves.values() if one.reported is not State.DEAD]
        if slaves is not None:
            wanted = set(slaves)
            living = [one for one in living if one.id in wanted]
        targets = [Target(one.id, one.label, one.job is not None) for one in living]
        self._changes.commands = self._changes.journal = True
        self._changes.slaves.update(target.slave_id for target in targets)
        if why := self.why_not(verb):
            batch = self.tracker.refuse(verb, [] if everyone else targets, self.now, why)
            self._note_ended()
            return batch
        batch, messages = self.tracker.issue(
            verb, targets, self.now, everyone=everyone, level=self.level
        )
        if targets or everyone:
            one = targets[0] if len(targets) == 1 and not everyone else None
            label = _whole(verb) if everyone else one.label if one else f"{len(targets)} slaves"
            number = None if one is None else one.slave_id
            self.journal.note(
                self.now, Kind.COMMAND, f"{verb} by you", slave_id=number, label=label
            )
            self._send(messages)
        return batch

    def command_of(self, slave_id: int) -> Command | None:
        """Return the command that the CMD column shows for a slave."""
        return self.tracker.of(slave_id, self.now)

    @property
    def batches(self) -> Sequence[Batch]:
        """The batches of this session, oldest first."""
        return self.tracker.batches

    # Requests (level 1) ---------------------------------------------------------------------

    def ask(self, msg: str, data: Any, then: Then) -> bool:
        """Ask the master; *then* gets the answer, or ``None`` and the reason.

        Return whether the request was sent: a level-0 master takes none. See
        :data:`piwheels.core.protocols.console`: QUEUE, BUILDS, LOG.
        """
        if self.level == 0 or not self.link.attached:
            return False
        self.source.send(self._asked.ask(msg, data, then, self.now))
        return True

    def change(self, msg: str, data: Any, then: Then, about: str = "") -> str:
        """Ask the master to change its queue; *then* gets the answer.

        Return why that is not possible now; ``""``: it was asked. The journal notes what it is
        *about*.
        """
        if why := self.why_not(msg.lower()):
            return why
        if not self.ask_newer(msg, data, then):
            return "only a newer master does that"
        if about:
            self.journal.note(self.now, Kind.COMMAND, f"{msg.lower()} by you", detail=about)
            self._changes.journal = True
        return ""

    def ask_newer(self, msg: str, data: Any, then: Then) -> bool:
        """Ask what earlier masters of level 1 do not know: no more after their refusal.

        Otherwise it is like :meth:`ask`.
        """

        def answered(answer: Any, why: str) -> None:
            if why.startswith(NOT_UNDERSTOOD):
                self._unknown.add(msg)
            then(answer, why)

        return msg not in self._unknown and self.ask(msg, data, answered)

    @property
    def awaits_answers(self) -> bool:
        """Whether the master still has to answer a request."""
        return self._asked.are_open

    def watch(self, slave_id: int, then: Callable[[int, str], None]) -> bool:
        """Follow a running build's log: *then* is called with offset and text of each part."""
        if not self.ask("WATCH", slave_id, lambda _data, _why: None):
            return False
        self._asked.watch(slave_id, then)
        return True

    def unwatch(self, slave_id: int) -> None:
        """End :meth:`watch`."""
        if self._asked.unwatch(slave_id):
            self.ask("UNWATCH", slave_id, lambda _data, _why: None)

    def _answered(self, answer: Answer, now: datetime) -> None:
        if answer.msg == "SLAVES" and not answer.refused:
            for event in answer.data:
                self.farm.fold(event, now, replay=True)
        elif answer.msg == "HELLO" and not answer.refused:
            self._fold_info(answer.data.info, now)
        elif self.recording is not None:
            got: dict[str, Then] = {"QUEUE": self._got_queue, "TARGETS": self._got_targets}
            got[answer.msg](answer.data, "")
        elif not self._asked.answer(answer.ticket, answer.data, clean(answer.refused)):
            self.tracker.answered(answer, now)
            self._changes.commands = True

    def _got_queue(self, heads: list[QueueHead] | None, _why: str) -> None:
        if heads is not None:
            self.queue = heads
            self._changes.answers = True

    def _got_lanes(self, lanes: list[Lane] | None, _why: str) -> None:
        if lanes is None:
            self._lanes_after = 0  # once more, with the next request for the queue
            return
        self._awaits_lanes = False
        for lane in lanes:
            self.farm.fold(lane, self.now)

    def _got_targets(self, targets: list[TargetState] | None, _why: str) -> None:
        if targets is None:
            return
        self.targets, before = targets, {one[:2] for one in self.unserved}
        self.farm.offered = frozenset(one.abi for one in targets if one.slaves)
        late = self.farm.master_time(self.now) - UNSERVED
        self.unserved = [one for one in targets if one.waits_since and one.waits_since <= late]
        for one in self.unserved if self.recording is None else ():
            if one[:2] not in before:
                what = f"no slave for {clean(one.platform)}/{clean(one.abi)}"
                detail = f"{counted(one.pending, 'version')} waiting for one"
                self.journal.note(self.now, Kind.WARN, what, detail=detail)
                self._changes.journal = True
        self._changes.answers = True

    def _got_builds(self, builds: list[BuildOutcome] | None, _why: str) -> None:
        if builds is not None:
            self.recent = builds
            for outcome in reversed(builds):
                self.farm.fold(outcome, self.now, replay=True)
            self._changes.answers = True

    def _got_stats(self, stats: list[Any] | None, _why: str) -> None:
        for one in stats or ():
            self.farm.fold(one, self.now, replay=True)

    def version_of(self, package: str) -> str:
        """Return a version of *package* that waits, is built, or was built last; ``""``: none."""
        known: Iterable[tuple[str, str]] = itertools.chain(
            (job for head in self.queue for job in head.first),
            (slave.job for slave in self.farm.slaves.values() if slave.job is not None),
            ((build.package, build.version) for build in self.recent),
        )
        name = canonical(package)
        return next((version for each, version in known if canonical(each) == name), "")

    # Estimates --------------------------------------------------------------------------------

    def affected_builds(self, slaves: Sequence[int]) -> tuple[int, timedelta]:
        """Return how many of *slaves* build, and the sum of their work so far."""
        building = [
            slave
            for slave in map(self.farm.slaves.get, slaves)
            if slave is not None and slave.job is not None
        ]
        return len(building), sum(map(self.farm.work, building), timedelta())
