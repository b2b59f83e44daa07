"""SlaveDriver: serves the build slaves.

:mod:`piwheels.master.logic.fleet` decides. This task never blocks on another task: it sends a
request and continues. The slave gets its reply when the answer arrives, or after a time-out.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Literal, assert_never, cast

import zmq

from piwheels.core.errors import BadMessage, Refused, Unavailable, one_line
from piwheels.core.host.pip_config import default_index
from piwheels.core.keys.ring import Role
from piwheels.core.protocols import CommandReport, Output
from piwheels.core.states import Instant, offers_of, platforms_of
from piwheels.core.targets import Target
from piwheels.core.tasks import NonStopTask, TaskControl
from piwheels.core.text import clean, shortened
from piwheels.core.words import counted
from piwheels.master.connections import Connections
from piwheels.master.fs_client import FsClient
from piwheels.master.in_order import InOrder
from piwheels.master.logic import effects
from piwheels.master.logic.fleet import BUSY_TIMEOUT, Fleet, pauser
from piwheels.master.logic.hosts import lanes
from piwheels.master.logic.offered import to_add
from piwheels.master.logic.unserved import Unserved, target_states
from piwheels.master.messages import (
    Ability,
    BuildEnded,
    BuildQueue,
    CommandGiven,
    CommandSlaves,
    DeletePackage,
    DeleteVersion,
    Deletion,
    EnrolSlave,
    FleetRequest,
    FleetSeen,
    ListAbilities,
    ListLanes,
    ListPauses,
    ListQueue,
    ListSlaves,
    ListTargets,
    LostSlave,
    OutputReceived,
    PagesNoted,
    PinPlatforms,
    QueueEmpty,
    RowFailed,
    SlaveHistory,
    SlaveSuspended,
    TargetsSeen,
    WriteLog,
)
from piwheels.master.ports import Ports
from piwheels.master.the_oracle import DbClient
from piwheels.master.wiring import MasterConfig, driver_control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from piwheels.core.database.rows import Lease, Quarantine, TargetRow
    from piwheels.core.protocols import TargetState
    from piwheels.core.states import BuildState, SlaveState
    from piwheels.core.transport import Socket
    from piwheels.master.logic.effects import Assignment, SlaveEffect
    from piwheels.master.messages import Part
    from piwheels.master.ports import Inbox
    from piwheels.master.result import Result

#: How many requests of slaves are handled before other sockets are served.
BURST = 100
#: How many events of a replay are published before slaves are served; how many one answer to a
#: console contains.
REPLAY_BURST, PAGE = 200, 2000
#: How much of a log is kept: its beginning and its end, in characters. Each takes the memory of a
#: few copies until it is stored.
MOST_LOG = 2 * 2**20


class SlaveDriver(NonStopTask):
    """Hands versions to the slaves, and receives their builds.

    It answers the requests of slaves from its queues. It receives the queues from TheArchitect,
    deletions, and commands of operators. It asks the database and FileJuggler, publishes events to
    consoles, and requests pages from TheSecretary.
    """

    name = "slave_driver"
    #: The seconds that another task may take to answer.
    patience: ClassVar[float] = 120.0

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config, driver_control)
        self.fleet = Fleet(config.pypi_simple or default_index())
        #: The slaves by address.
        self.slaves = self.fleet.slaves
        self.ports = Ports("SlaveDriver", config, self.logger, self, clock=self.clock)
        self._connections = Connections(self.ports.socket("slave"))
        self.own(self._connections)
        self.register(self._connections.events, self.handle_lost)
        self.ports.serve("builds", self.handle_build)
        self.ports.serve("deletions", self.handle_delete)
        self.ports.serve("fleet", self.handle_request)  # "slave" follows when the leases are known
        self._db = DbClient(self.ports, self.patience)
        self._in_order = InOrder(self._db.ask)
        self._fs = FsClient(self.ports, self.patience)
        #: The last slave of the running replay (``None``: none runs); whether another one follows.
        self._replayed: int | None = None
        self._replay_again = False
        #: The targets, as last read from the database, and those without a slave.
        self.targets: list[TargetRow] = []
        #: Those that were added because a slave offers them.
        self._added: set[Target] = set()
        self.unserved = Unserved()
        self.every(timedelta(seconds=10), self._tick)
        self.every(timedelta(minutes=1), self._read_targets)

    def once(self) -> None:
        """Request what an earlier master has stored. Requests of slaves wait until it is known."""
        self._ask_quarantines()

    def poll(self, timeout: float = 1) -> None:
        """Do one cycle, and continue a running replay."""
        if self._replayed is not None:
            self._replay(self._replayed)
            timeout = 0
        super().poll(timeout)

    # Slaves ---------------------------------------------------------------------------------

    def handle_slave(self, queue: Inbox[Any]) -> None:
        """Pass the requests of slaves to the ``do_`` methods, and perform the effects."""
        for _ in range(BURST):
            if not queue.poll(0):
                return
            try:
                address, msg, data = queue.recv_addr_msg()
                owner = queue.sender.name
                if queue.sender.role is Role.JOIN:
                    self._join(address, msg, data, queue.origin.user or "")
                    continue
                if not self.fleet.is_owner(address, owner):
                    raise BadMessage(f"{msg} of {owner} for a slave with another key")
                self._note_connection(address, queue.origin.descriptor)
            except BadMessage as exc:
                self.note_bad_message(exc)
                if exc.address is not None and self.fleet.is_owner(exc.address, queue.sender.name):
                    self._note_connection(exc.address, queue.origin.descriptor)
                    why, now = str(exc)[:200], self._instant()
                    self._perform(self.fleet.invalid(exc.address, exc.message, why, now))
                continue
            if self._is_for_platform(address, msg, data, queue):
                self._receive(address, msg, data, owner)

    def _receive(self, address: bytes, msg: str, data: Any, owner: str) -> None:
        if msg == "BUILT":
            data = data._replace(output=shortened(data.output, MOST_LOG))
        try:
            slave, decided = self.fleet.receive(address, msg, data, self._instant(), owner)
            if slave is not None:
                decided = getattr(self, f"do_{msg.lower()}")(slave)
            self._perform(decided)
        except BadMessage:
            raise
        except Exception as exc:  # noqa: BLE001 (one slave never ends the task)
            why = str(self.unexpected(f"{msg} of a slave", exc))
            self._perform(self.fleet.failed_at(address, msg, why, self._instant()))

    def _is_for_platform(self, address: bytes, msg: str, data: Any, queue: Inbox[Any]) -> bool:
        """Return whether the sender's key is for all that its slave offers; else refuse the slave.

        The greeting of a key without platforms is handled later, when its platforms are pinned.
        """
        slave, user, owner = self.slaves.get(address), queue.origin.user, queue.sender.name
        gate, hello = self.config.gate, msg == "HELLO"
        key = gate.ring.keys.get(user) if gate is not None and user is not None else None
        if key is None or (slave is None and not hello):
            return True
        platforms = platforms_of(offers_of(data) if slave is None or hello else slave.offers)

        def refuse(why: str) -> None:
            self.note_bad_message(BadMessage(f"{msg} of {owner}: {why}"))
            self._perform(self.fleet.protocol_error(address, why, self._instant()))

        def then(result: Result[None]) -> None:
            if result.error is None:
                self._receive(address, msg, data, owner)
            else:
                refuse(one_line(result.error))

        if why := key.why_not_for(*platforms):
            refuse(why)
        elif key.platforms or not hello:
            return True
        else:
            self.ports.ask("keys", PinPlatforms(key.public, platforms), then)
        return False

    def _join(self, address: bytes, msg: str, data: Any, invitation: str) -> None:
        """Have the key enrolled that an invited slave names in its HELLO."""
        public = (data.features or {}).get("join") if msg == "HELLO" else None
        if not isinstance(public, str):
            raise BadMessage(f"{msg} with the key of an invitation")

        def then(result: Result[None]) -> None:
            reply = effects.Reply(address, "HELLO")
            if result.error is not None:
                reply = effects.Reply(address, "REFUSED", one_line(result.error))
            self._perform([reply])

        self.ports.ask("keys", EnrolSlave(invitation, public[:200]), then)

    def _note_connection(self, address: bytes, connection: int | None) -> None:
        for before in self._connections.note(address, connection):
            self.fleet.disconnected(before, self._instant())

    def handle_lost(self, _: Socket) -> None:
        """Record which slaves have lost their connections."""
        gate = self.config.gate
        for address in self._connections.lost():
            self.fleet.disconnected(address, self._instant())
            slave = self.slaves.get(address)
            if gate is not None and slave is not None and not gate.is_valid(slave.owner):
                why = f"the key of {slave.owner} is not valid any more"
                self._perform(self.fleet.expel(address, why, self._instant()))

    def do_hello(self, slave: SlaveState) -> list[SlaveEffect]:
        """Handle ``HELLO``, the greeting of a slave, which may still have a build."""
        is_wanted = bool(self._to_add(slave))
        if is_wanted:
            self._read_targets()
        return self.fleet.do_hello(slave, self._instant(), expects_target=is_wanted)

    def do_idle(self, slave: SlaveState) -> list[SlaveEffect]:
        """Handle ``IDLE``, a request for work."""
        return self.fleet.do_idle(slave, self._instant())

    def do_wait(self, slave: SlaveState) -> list[SlaveEffect]:
        """Handle ``WAIT``, a heartbeat of a slave that can begin no build now."""
        return self.fleet.do_wait(slave, self._instant())

    def do_busy(self, slave: SlaveState) -> list[SlaveEffect]:
        """Handle ``BUSY``, a heartbeat during a build."""
        return self.fleet.do_busy(slave, self._instant())

    def do_output(self, slave: SlaveState) -> list[SlaveEffect]:
        """Handle ``OUTPUT``, new lines of a build's log and a heartbeat."""
        return self.fleet.do_output(slave, self._instant())

    def do_built(self, slave: SlaveState) -> list[SlaveEffect]:
        """Handle ``BUILT``, the end of a build."""
        return self.fleet.do_built(slave, self._instant())

    def do_sent(self, slave: SlaveState) -> list[SlaveEffect]:
        """Handle ``SENT``, the end of a transfer."""
        return self.fleet.do_sent(slave, self._instant())

    def do_bye(self, slave: SlaveState) -> list[SlaveEffect]:
        """Handle ``BYE``, with which a slave leaves."""
        return self.fleet.do_bye(slave, self._instant())

    def _instant(self) -> Instant:
        return Instant(self.clock.monotonic(), self.clock.now())

    # Other tasks ----------------------------------------------------------------------------

    def handle_build(self, queue: Inbox[BuildQueue]) -> None:
        """Replace the queues with those that TheArchitect has read."""
        message = queue.recv()
        rows = chain.from_iterable(message.rows)
        self.fleet.queue.replace(message.targets, rows, self._instant())

    def handle_delete(self, queue: Inbox[Deletion]) -> None:
        """Forget a package or version that was deleted upstream or by an administrator."""
        ticket = queue.recv_ticket()
        match ticket.request:
            case DeletePackage(package):
                self.fleet.delete(package, None)
            case DeleteVersion(package, version):
                self.fleet.delete(package, version)
            case never:
                assert_never(never)
        ticket.answer()

    def _tick(self) -> None:
        before = set(self.slaves.values())
        self._perform(self.fleet.tick(self._instant()))
        now = set(self.slaves.values())
        lost = [LostSlave(slave.slave_id, slave.label) for slave in before - now]
        by_state = Counter(slave.phase.name.lower() for slave in now)
        self.ports.push("monitor", FleetSeen(dict(by_state), lost))
        self._fs.free_space(self._got_free_space)

    def _got_free_space(self, result: Result[tuple[int, int]]) -> None:
        if result.error is None:  # else FileJuggler logs why it cannot tell
            self._perform(self.fleet.disk_space(*result.value))

    def _read_targets(self) -> None:
        self._db.ask(self._got_targets, "get_targets")

    def _got_targets(self, result: Result[list[TargetRow]]) -> None:
        """Take the queues of the targets; report those that wait for a slave."""
        if result.error is not None:
            self.logger.warning("the targets are not known, asking again soon: %s", result.error)
            return
        self.targets = result.value
        self._add_targets()
        new = self.unserved.take(self._target_states(), self._instant())
        states = self._target_states()
        late = [state for state in states if Target(*state[:2]) in new]
        for state in late:
            target = Target(*state[:2])
            self.logger.warning(
                "%s has %s to build, and no slave: start one for it, or retire it"
                " (piw-targets retire %s)", target, counted(state.pending, "version"), target,
            )  # fmt: skip
        self.ports.push("monitor", TargetsSeen(states, len(self.unserved.late), late))

    def _to_add(self, *slaves: SlaveState) -> list[Target]:
        """Return the targets to add that only *slaves* know so far."""
        offered = (offer.target for slave in slaves for offer in slave.offers)
        is_wanted = self.config.targets_of_slaves
        return to_add(self.targets, self._added, offered) if is_wanted else []

    def _add_targets(self) -> None:
        """Build for what slaves offer, if the farm adds that."""
        new = self._to_add(*self.slaves.values())
        if not new:
            return
        by_target = {o.target: slave for slave in self.slaves.values() for o in slave.offers}
        self._added.update(new)

        def then(result: Result[list[Target]]) -> None:
            if result.error is not None:
                self._added.difference_update(new)
                self.logger.warning("targets of slaves are added later: %s", result.error)
                return
            for target in result.value:
                slave = by_target[target]
                self.logger.info(
                    "builds for %s from now on: slave %d (%s) offers it",
                    target, slave.slave_id, slave.label,
                )  # fmt: skip
            self._read_targets()

        self._db.ask(then, "add_targets", new)

    def _target_states(self) -> list[TargetState]:
        return target_states(self.targets, self.slaves.values(), self.unserved)

    # Operators ------------------------------------------------------------------------------

    def handle_control(self, queue: Socket) -> None:
        """Carry out an operator's command, or a message to every task."""
        try:
            super().handle_control(queue)
        except TaskControl as command:
            if command.msg == "HELLO":
                # Replays never overlap; otherwise repeated HELLOs would only show the first slaves.
                if self._replayed:
                    self._replay_again = True
                else:
                    self._replayed = 0
                return
            one = command.data
            self.fleet.command(command.msg, None if one is None else [one])
            whom = "all slaves" if one is None else f"slave {one}"
            self.logger.warning("an operator said %s to %s", command.msg, whom)

    def handle_request(self, queue: Inbox[FleetRequest]) -> None:
        """Answer one request of TheOperator or MrChase."""
        ticket = queue.recv_ticket()
        match ticket.request:
            case SlaveHistory(slave_id):
                try:
                    ticket.answer(self.fleet.history(slave_id))
                except Refused as exc:
                    ticket.refuse(exc)
            case ListSlaves(after):
                ticket.answer(self.fleet.replay(after, PAGE))
            case ListQueue(most):
                ticket.answer(self.fleet.queue.by_abi(most))
            case ListLanes(after):
                ticket.answer(lanes(each for each in self.slaves.values() if each.slave_id > after))
            case ListTargets():
                ticket.answer(self._target_states())
            case CommandSlaves(verb, slaves):
                ticket.answer(self.fleet.command(verb, slaves))
            case ListPauses():
                pauses = self.fleet.pauses(self.clock.monotonic())
                ticket.answer([self._pause("SLEEP", *each) for each in pauses[:PAGE]])
            case ListAbilities():
                ticket.answer(self._abilities())
            case never:
                assert_never(never)

    def _abilities(self) -> list[Ability]:
        targets = {offer.target for slave in self.slaves.values() for offer in slave.offers}
        places = [(target, self.fleet.place_of(target)) for target in sorted(targets)]
        return [
            Ability(*target, sorted(place.features), place.memory, place.release)
            for target, place in places
        ]

    def _replay(self, after: int) -> None:
        events = self.fleet.replay(after, REPLAY_BURST)
        self._perform(events)
        if events:
            self._replayed = events[-1].slave_id
        else:
            self._replayed = 0 if self._replay_again else None
            self._replay_again = False

    def kill_slave(self, slave_id: int | None) -> None:
        """Have a slave (``None``: all) end after its build; for any thread."""
        self.send_control("KILL", slave_id)

    def skip_slave(self, slave_id: int | None) -> None:
        """Have a slave (``None``: all) abandon its build; for any thread."""
        self.send_control("SKIP", slave_id)

    def sleep_slave(self, slave_id: int | None) -> None:
        """Hand no version to a slave (``None``: all); for any thread."""
        self.send_control("SLEEP", slave_id)

    def wake_slave(self, slave_id: int | None) -> None:
        """End :meth:`sleep_slave`; for any thread."""
        self.send_control("WAKE", slave_id)

    def list_slaves(self) -> None:
        """Publish the past events of all slaves again; for any thread."""
        self.send_control("HELLO")

    # Effects --------------------------------------------------------------------------------

    def _perform(self, decided: Iterable[SlaveEffect]) -> None:  # noqa: PLR0912 (a branch an effect)
        for effect in decided:
            match effect:
                case effects.Reply(address, msg, data):
                    self.ports.socket("slave").send_addr_msg(address, msg, data)
                case effects.Publish(slave_id, timestamp, msg, data):
                    self._publish(slave_id, timestamp, msg, data)
                case effects.PublishOutput():
                    self.ports.push("console_events", OutputReceived(Output(*effect)))
                case effects.PublishEnd(slave_id, outcome):
                    for wire in ("console_events", "monitor"):
                        self.ports.push(wire, BuildEnded(slave_id, outcome))
                case effects.Warn():
                    self._warn(effect)
                case effects.ReadQueue(active):
                    self.ports.push("architect", QueueEmpty(active))
                case effects.GrantLease(assignment, label, period, holder):
                    self._change_lease(
                        "grant_lease", assignment, label, self._until(period), holder
                    )
                case effects.RenewLeases(assignments, period):
                    then = self._warn_unless_stored("renew_leases")
                    self._db.ask(then, "renew_leases", assignments, self._until(period))
                case effects.ReleaseLease(assignment):
                    self._change_lease("release_lease", assignment)
                case effects.AskPending(slave_id, package, version):
                    asked = [(package, version)]
                    self._db.ask(self._continue(slave_id), "get_pending", asked)
                case effects.AskPublished(slave_id, package, version):
                    self._db.ask(self._continue(slave_id), "get_published", package, version)
                case effects.LogBuild(slave_id, build):
                    assignment = build.package, build.version, build.target
                    self._in_order.ask(assignment, self._continue(slave_id), "log_build", build)
                case effects.Expect(slave_id, state, publish_as):
                    owner = self.fleet.by_number[slave_id].owner
                    self._fs.expect(slave_id, state, publish_as, self._continue(slave_id), owner)
                case effects.Verify(slave_id, package):
                    self._fs.verify(slave_id, package, self._continue(slave_id))
                case effects.BuildStored(build):
                    self._stored(build)
                case effects.ReportPause():
                    self._report_pause(effect)
                case effects.ReportRow(build, slaves):
                    self._report_row(build, slaves)
                case effects.TakeBack(builds):
                    self._take_back(builds)
                case effects.SaveQuarantines(quarantines):
                    self._db.ask(self._quarantines_saved, "save_quarantines", quarantines)
                case effects.DropFile(slave_id):
                    self._fs.drop(slave_id)
                case _:
                    assert_never(effect)

    def _until(self, period: timedelta) -> datetime:
        """Return the expiry of a lease as the database stores it: a timestamp."""
        return self.clock.now() + period

    def _warn(self, effect: effects.Warn) -> None:
        self.logger.warning("slave %d (%s) %s", effect.slave_id, effect.label, effect.text)
        if effect.history:
            history = ", ".join(map(str, effect.history))
            self.logger.warning(
                "slave %d (%s): its phases were %s", effect.slave_id, effect.label, history
            )

    def _publish(self, slave_id: int, timestamp: datetime, msg: str, data: Any) -> None:
        try:
            event = [slave_id, timestamp, msg, data]
            self.ports.socket("events").send_msg("SLAVE", event, zmq.DONTWAIT)
        except Unavailable:
            self.logger.debug("an event for consoles is lost: the main thread does not read them")

    def _report_pause(self, effect: effects.ReportPause) -> None:
        slave = effect.slave
        who = "" if slave is None else f"slave {slave.slave_id} ({slave.label}) "
        if effect.text:
            self.logger.warning("%s%s", who, effect.text)
            if slave is not None and effect.reason:
                reason = clean(effect.reason, 8192)
                self.ports.push("monitor", SlaveSuspended(slave.slave_id, slave.label, reason))
        verb: Literal["SLEEP", "WAKE"] = "SLEEP" if effect.reason else "WAKE"
        slave_id = None if slave is None else slave.slave_id
        report = self._pause(verb, slave_id, pauser(effect.reason))
        self.ports.push("console_events", CommandGiven(report))

    def _report_row(self, build: BuildState, slaves: list[str]) -> None:
        found = build.diagnosis
        about = build.package, build.version, build.platform, build.abi_tag, slaves
        sentence = clean(found.sentence, 8192)
        self.ports.push("monitor", RowFailed(*about, clean(found.reason), sentence))

    def _pause(
        self, verb: Literal["SLEEP", "WAKE"], slave_id: int | None, who: str
    ) -> CommandReport:
        """Return a pause, or its end, as a command, which consoles show."""
        return CommandReport(who, verb, None if slave_id is None else [slave_id], self.clock.now())

    def _take_back(self, builds: Sequence[int]) -> None:
        def then(result: Result[list[str]]) -> None:
            if result.error is not None:
                self.logger.warning("failures are taken back later: %s", result.error)
                self.fleet.fitness.taken_back += builds
                return
            self.logger.warning(
                "took back %s of slaves in quarantine", counted(len(result.value), "failure")
            )
            for package in sorted(set(result.value)):
                self.ports.ask("web", PagesNoted("PROJECT", package), _ignore_result)

        self._db.ask(then, "take_back", builds)

    def _quarantines_saved(self, result: Result[None]) -> None:
        if result.error is not None:
            self.logger.warning("quarantines are stored later: %s", result.error)
            self.fleet.fitness.changed = True

    def _stored(self, build: BuildState) -> None:
        word = "built" if build.status else "failed to build"
        what = f"{build.package} {build.version}"
        self.logger.info("slave %d %s %s for %s", build.slave_id, word, what, build.target)
        self.ports.ask("web", WriteLog(cast("int", build.build_id), build.output), _ignore_result)
        # The transaction that stored the build has noted the pages already.
        part: Part = "BOTH" if build.files else "PROJECT"
        self.ports.ask("web", PagesNoted(part, build.package), _ignore_result)

    def _continue(self, slave_id: int) -> Callable[[Result[Any]], None]:
        """Return a callback that continues the intake of the slave's build with an answer."""
        intake = self.fleet.intakes.get(slave_id)

        def then(result: Result[Any]) -> None:
            # Otherwise the intake has been dropped in the meantime.
            if self.fleet.intakes.get(slave_id) is intake:
                value, error = result
                try:
                    self._perform(self.fleet.answered(slave_id, value, error, self._instant()))
                except Exception as exc:  # noqa: BLE001 (one build never ends the task)
                    self._end_build(slave_id, exc)

        return then

    def _end_build(self, slave_id: int, exc: Exception) -> None:
        """End the intake of a build that has caused an unexpected error, or its slave's session."""
        why = str(self.unexpected(f"the build of slave {slave_id}", exc))
        if slave_id in self.fleet.intakes:
            self._perform(self.fleet.fault(slave_id, why, self._instant()))
            return
        for address, slave in list(self.slaves.items()):
            if slave.slave_id == slave_id:
                self._perform(self.fleet.protocol_error(address, why, self._instant()))

    def _change_lease(self, method: str, assignment: Assignment, *args: Any) -> None:
        self._in_order.ask(assignment, self._warn_unless_stored(method), method, *assignment, *args)

    def _warn_unless_stored(self, method: str) -> Callable[[Result[None]], None]:
        """Return a callback that handles only the failure to change leases by *method*."""

        def then(result: Result[None]) -> None:
            if result.error is not None:
                self.logger.warning("%s was not stored in the database: %s", method, result.error)

        return then

    def _ask_quarantines(self) -> None:
        def then(result: Result[list[Quarantine]]) -> None:
            if result.error is not None:
                error = result.error
                self.logger.warning(
                    "slaves have to wait until the quarantines are known: %s", error
                )
                self._ask_quarantines()
            else:
                self.fleet.fitness.restore(result.value, self.clock.monotonic())
                self._ask_leases()

        self._db.ask(then, "get_quarantines")

    def _ask_leases(self) -> None:
        def then(result: Result[list[Lease]]) -> None:
            if result.error is not None:
                error = result.error
                self.logger.warning("slaves have to wait until the leases are known: %s", error)
                self._ask_leases()
            else:
                now, at = self._instant()
                self.ports.serve("slave", self.handle_slave)
                self.fleet.queue.take_leases(_remaining(result.value, at), now)
                for each in result.value:
                    assignment = each.package, each.version, Target(each.platform, each.abi_tag)
                    self.fleet.grants.add(assignment, each.holder, now)
                self._read_targets()

        self._db.ask(then, "get_leases")


def _ignore_result(_: Result[Any]) -> None:
    """Ignore an answer: TheSecretary logs its own errors."""


def _remaining(leases: Iterable[Lease], at: datetime) -> dict[Assignment, float]:
    """Return the remaining seconds of each lease, at most the longest silence of a slave."""
    longest = BUSY_TIMEOUT[1].total_seconds()
    return {
        (lease.package, lease.version, Target(lease.platform, lease.abi_tag)): min(
            (lease.expires - at).total_seconds(), longest
        )
        for lease in leases
    }
