"""The fleet: all slaves, the builds that they have, and the versions to hand out. Pure.

Methods take events and return each :data:`~piwheels.master.logic.effects.SlaveEffect` to perform.
If the reply to a slave depends on an answer of another task (the database, FileJuggler), the reply
is among the effects of that answer. :data:`~piwheels.core.conversations.slave_conversation` defines
the order of messages.
"""

from __future__ import annotations

import itertools
import random
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.errors import BadMessage, one_line
from piwheels.core.protocols import Built, Rejection, SlaveOutput
from piwheels.core.recipes import PLAIN
from piwheels.core.states import Phase, SlaveInfo, SlaveState, TransferState
from piwheels.core.transfers import MIN_RATE
from piwheels.core.words import size_text
from piwheels.master.logic import cures
from piwheels.master.logic.build_queue import serving
from piwheels.master.logic.builds import MAX_DURATION, Builds, lease_of, warning, with_history
from piwheels.master.logic.effects import (
    AskPending,
    Publish,
    PublishOutput,
    ReadQueue,
    RenewLeases,
    Reply,
    ReportPause,
    SlaveEffect,
)
from piwheels.master.logic.fitness import shortage
from piwheels.master.logic.intake import Step
from piwheels.master.logic.sessions import RECONNECT
from piwheels.master.logic.slave_state import (
    assignment_of,
    build_to_resume,
    carries_out,
    emulated_by,
    is_level_1,
    lacks_of,
    move,
    receive,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Set

    from piwheels.core.states import Instant, Offer, Pending
    from piwheels.core.targets import Target
    from piwheels.master.logic.effects import Assignment

#: The most slaves; more are refused, because each needs memory, and anyone on the network can join.
MAX_SLAVES = 10_000
#: The bounds of the time-outs that a slave may choose: for its silence, and for a build.
BUSY_TIMEOUT = timedelta(seconds=10), timedelta(hours=24)
BUILD_TIMEOUT = timedelta(seconds=10), MAX_DURATION
#: The seconds by which a build may exceed its slave's time-out before the master ends it.
GRACE = 60.0


class Fleet(Builds):
    """All slaves, queues and running builds. *simple_url* is the index where slaves get sources.

    *chance* returns a random number from 0 to 1.
    """

    def __init__(self, simple_url: str, chance: Callable[[], float] = random.random) -> None:
        super().__init__(chance)
        self.simple_url = simple_url
        self.paused = False
        #: Why the master hands out no work at all; ``""``: it does.
        self.closed = ""

    # Requests of slaves ---------------------------------------------------------------------

    def receive(
        self, address: bytes, msg: str, data: Any, instant: Instant, owner: str = ""
    ) -> tuple[SlaveState | None, list[SlaveEffect]]:
        """Record a request with valid data; return its slave, to be passed to the ``do_`` method.

        *owner* is the holder of the sender's key, which is that of the slave. If the slave is
        ``None``, the request needs nothing but the returned effects.
        """
        slave = self.slaves.get(address)
        if slave is None and msg == "HELLO":
            return self._newcomer(address, data, instant, owner)
        if slave is None:
            # It was declared dead, or the master was restarted.
            greet = is_level_1(address) and msg != "BYE"
            return None, [Reply(address, "HELLO")] if greet else []
        try:
            receive(slave, msg, data, instant)
        except BadMessage as exc:
            return None, self.protocol_error(address, str(exc), instant)
        return slave, []

    def invalid(self, address: bytes, msg: str, why: str, instant: Instant) -> list[SlaveEffect]:
        """Handle the message *msg* with invalid data. An invalid report is that of a failed build.

        Otherwise each slave would build that version, and be refused, one after another.
        """
        slave = self.slaves.get(address)
        if slave is None or msg != "BUILT" or not self._is_building(slave):
            return self.protocol_error(address, why, instant)
        receive(slave, msg, None, instant)
        text = f"piwheels: the slave's report of the build is invalid: {why}\n"
        built = Built(False, timedelta(0), text, files=[])
        return [
            warning(slave, f"sent an invalid report: {why}"),
            *self._record(slave, built, instant),
        ]

    def failed_at(self, address: bytes, msg: str, why: str, instant: Instant) -> list[SlaveEffect]:
        """Handle the message *msg* at which an unexpected error has occurred."""
        slave = self.slaves.get(address)
        if slave is not None and slave.phase is Phase.CHECKING and slave.slave_id in self.intakes:
            return self.fault(slave.slave_id, why, instant)
        return self.invalid(address, msg, why, instant)

    def expel(self, address: bytes, why: str, instant: Instant) -> list[SlaveEffect]:
        """End the session of a slave that may not return."""
        slave = self.slaves[address]
        return [warning(slave, f"is expelled: {why}"), *self._remove(slave, why, instant)]

    def protocol_error(self, address: bytes, why: str, instant: Instant) -> list[SlaveEffect]:
        """End the session of a slave that has broken the protocol."""
        slave = self.slaves.get(address)
        if slave is None:
            return _refusal(address, why)
        warned = warning(slave, f"broke the protocol, and is refused: {why}")
        removal = self._remove(slave, f"protocol error: {why}", instant)
        return [warned, *_refusal(address, why), *removal]

    def _newcomer(
        self, address: bytes, info: SlaveInfo, instant: Instant, owner: str
    ) -> tuple[SlaveState | None, list[SlaveEffect]]:
        clamped = info._replace(
            build_timeout=min(max(info.build_timeout, BUILD_TIMEOUT[0]), BUILD_TIMEOUT[1]),
            busy_timeout=min(max(info.busy_timeout, BUSY_TIMEOUT[0]), BUSY_TIMEOUT[1]),
        )
        slave = SlaveState(address, *clamped, first_seen=instant.at, owner=owner)
        if len(self.slaves) >= MAX_SLAVES:
            why = f"there are {MAX_SLAVES:,} slaves already"
            return None, [warning(slave, f"is refused: {why}"), *_refusal(address, why)]
        if (excess := self.quotas.greet(owner, self.connected(owner), instant.now)) is not None:
            why = f"{excess.reason}: greet again in {excess.wait:.0f} s"
            return None, [*self._excess(slave, excess.reason, instant), *_refusal(address, why)]
        if build_to_resume(slave) is not None:
            slave.phase = Phase.RETURNING
        receive(slave, "HELLO", info, instant)
        return slave, []

    def do_hello(
        self, slave: SlaveState, instant: Instant, *, expects_target: bool = False
    ) -> list[SlaveEffect]:
        """Greet a slave. It continues its session, if it has one, and its build in any case.

        With *expects_target*, the farm is about to build for a target that it offers.
        """
        job = build_to_resume(slave)
        assignment = None if job is None else (*job, slave.target)
        old = self._earlier_session(slave, assignment)
        if old is not None and old.build is None and old.slave_id in self.intakes:
            old = None  # its last build is being stored under that number
        effects: list[SlaveEffect] = []
        for lost in self._lost_builds(slave, assignment):
            effects += self._remove(lost, "returns without its build", instant)
        self._add(slave, old, instant)
        effects.append(Publish(slave.slave_id, instant.at, "HELLO", slave.info))
        targets = [offer.target for offer in slave.offers]
        is_useful = expects_target or any(map(self.queue.is_active, targets))
        if self.queue.rows and not is_useful:
            names = ", ".join(map(str, targets))
            why = f"builds for {names}: no active target (piw-targets), so there is no work for it"
            effects.append(warning(slave, why))
        if lacks := lacks_of(slave):
            effects.append(warning(slave, f"reports that some builds will fail: {lacks}"))
        if assignment is not None and self._was_given(assignment, slave.owner):
            effects += self._resume(slave, assignment[:2], instant)
        elif assignment is not None:
            what = " ".join(assignment[:2])
            why = f"returns with {what}, which its key was not given: not accepted"
            effects.append(warning(slave, why))
        return [*effects, *self._reply(slave, instant, "ACK", (slave.slave_id, self.simple_url))]

    def _was_given(self, assignment: Assignment, owner: str) -> bool:
        package, version, target = assignment
        return any(self.grants.has((package, version, where), owner) for where in serving(target))

    def _resume(
        self, slave: SlaveState, job: tuple[str, str], instant: Instant
    ) -> list[SlaveEffect]:
        effects: list[SlaveEffect] = []
        if slave.build is None:
            # Its version may have been handed out again, or built. The first valid build wins.
            self._assign(slave, job, instant)
            slave.doubtful = True
            effects.append(AskPending(slave.slave_id, *job))
        began = instant if slave.build_began is None else slave.build_began
        return [Publish(slave.slave_id, began.at, "BUILD", job), lease_of(slave), *effects]

    def do_idle(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Hand a version to an idle slave, or reply why there is none."""
        effects: list[SlaveEffect] = self._record_stats(slave, instant)
        effects += self._drop_build(slave, instant)
        slave.commands.discard("SKIP")
        if slave.slave_id in self.intakes:  # its last build is still being stored
            return [*effects, *self._reply(slave, instant, "SLEEP", data=False)]
        if "KILL" in slave.commands:
            return [*effects, *self._end(slave, instant)]
        offers = self._open_offers(slave, instant.now)
        if self.paused or self.closed or not offers or "SLEEP" in slave.commands:
            return [*effects, *self._reply(slave, instant, "SLEEP", data=True)]
        if (why := self.quotas.lease(slave.owner, instant.now)) is not None:
            sleep = self._reply(slave, instant, "SLEEP", data=False)
            return [*effects, *self._excess(slave, why, instant), *sleep]
        found = self._next_build(slave, offers, instant.now)
        if found is None:
            if self.queue.stale and any(self.queue.is_active(offer.target) for offer in offers):
                effects.append(ReadQueue(len(self.queue.active)))
            return [*effects, *self._reply(slave, instant, "SLEEP", data=False)]
        job, offer = found
        if offer != slave.offer:
            slave.take_up(offer)
            effects.append(Publish(slave.slave_id, instant.at, "HELLO", slave.info))
        self._assign(slave, job, instant)
        self.quotas.leased(slave.owner, instant.now)
        assert slave.build is not None  # noqa: S101 (it was assigned)
        recipe = slave.build.recipe
        order = job if len(slave.offers) == 1 and not recipe.features else (*job, *offer[1:])
        order = (*order, recipe) if recipe.features else order
        return [*effects, *self._reply(slave, instant, "BUILD", order), lease_of(slave)]

    def _open_offers(self, slave: SlaveState, now: float) -> list[Offer]:
        """Return the offers of *slave* for which it may get work, the native ones first."""
        offers = [
            each for each in slave.offers if not self.fitness.suspension(slave, now, each.abi)
        ]
        emulated = emulated_by(slave)
        native = [offer for offer in offers if offer.platform not in emulated]
        idle = self._idle_natives() if len(native) < len(offers) else frozenset()
        return native + [
            offer for offer in offers if offer not in native and offer.target not in idle
        ]

    def _idle_natives(self) -> Set[Target]:
        """Return the targets for which a slave waits for work without emulating their platform."""
        return {
            offer.target
            for slave in self.slaves.values()
            if slave.phase in (Phase.IDLE, Phase.ASLEEP)
            and slave.lost is None
            and not slave.commands
            and slave.request != "WAIT"  # it has no room
            for offer in slave.offers
            if offer.platform not in emulated_by(slave)
        }

    def _next_build(
        self, slave: SlaveState, offers: list[Offer], now: float
    ) -> tuple[tuple[str, str], Offer] | None:
        """Return the version that *slave* gets, and for which of its *offers*."""
        avoid: set[Assignment] = set()
        for offer in offers:
            avoid |= self.fitness.tried(slave, offer.abi)
        by_target = {offer.target: offer for offer in reversed(offers)}
        emulated = emulated_by(slave)
        order = sorted(
            self.queue.sorted(by_target), key=lambda each: by_target[each].platform in emulated
        )
        can = partial(self._can, slave)
        found = self.queue.next(order, now, avoid, slave.owner, can)
        if found is None and avoid and not self._has_others(slave, now):
            # Nobody else can try these again; but what is new comes first.
            found = self.queue.next(order, now, (), slave.owner, can)
        return None if found is None else (found[:2], by_target[found[2]])

    def _can(self, slave: SlaveState, row: Pending) -> bool:
        """Return whether *slave* can build *row* with its recipe, or should without.

        A recipe that worked for another version is left out if no slave can carry it out.
        """
        if carries_out(slave, row.recipe):
            return True
        return row.attempt.tried == (cures.PROJECT,) and not any(
            carries_out(other, row.recipe) for other in self.slaves.values()
        )

    def do_wait(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Reply to the heartbeat of a slave that can begin no build now."""
        effects = [*self._record_stats(slave, instant), *self._drop_build(slave, instant)]
        slave.commands.discard("SKIP")
        if "KILL" in slave.commands:
            return [*effects, *self._end(slave, instant)]
        paused = self.paused or bool(self.closed) or "SLEEP" in slave.commands
        return [*effects, *self._reply(slave, instant, "SLEEP", data=paused)]

    def do_busy(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Reply to a heartbeat: the slave continues its build, or abandons it."""
        return [*self._record_stats(slave, instant), *self._continue_build(slave, instant)]

    def do_output(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Publish new lines of a build's log, then reply as :meth:`do_busy` does."""
        output: SlaveOutput = slave.data
        effects: list[SlaveEffect] = []
        if self._is_building(slave) and "SKIP" not in slave.commands:
            effects.append(PublishOutput(slave.slave_id, *assignment_of(slave)[:2], *output))
        return [*effects, *self._continue_build(slave, instant)]

    def _continue_build(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        if slave.slave_id in self.intakes:  # it returned: it will report its build once more
            return self._reply(slave, instant, "CONT")
        if slave.build_began is None or "SKIP" in slave.commands:
            return [*self._drop_build(slave, instant), *self._reply(slave, instant, "DONE")]
        took = instant.now - slave.build_began.now
        limit = max(slave.build_timeout, self._recipe_timeout(slave))
        if took > limit.total_seconds() + GRACE:
            # The slave should have ended the build. It counts as failed; otherwise it would be
            # repeated for ever.
            duration = timedelta(seconds=took)
            return self._begin_intake(slave, Built(False, duration, _TOO_LONG, files=[]), instant)
        return self._reply(slave, instant, "CONT")

    def _recipe_timeout(self, slave: SlaveState) -> timedelta:
        recipe = slave.build.recipe if slave.build is not None else PLAIN
        return recipe.timeout or timedelta(0)

    def do_built(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Begin or continue the intake of a finished build. Its slave waits for the reply."""
        intake = self.intakes.get(slave.slave_id)
        if intake is not None:  # it returned in the middle of the intake
            move(slave, Phase.CHECKING, slave.request, instant)
            if intake.step is Step.VERIFY:
                slave.transfer = TransferState(slave.slave_id, intake.current)
            return self._request_file(slave, intake, instant)
        return self._record(slave, slave.data, instant)

    def _record(self, slave: SlaveState, built: Built, instant: Instant) -> list[SlaveEffect]:
        if slave.build is None or "SKIP" in slave.commands:
            return [*self._drop_build(slave, instant), *self._reply(slave, instant, "DONE")]
        return self._begin_intake(slave, built, instant)

    def do_sent(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Have the file verified that the slave has just sent."""
        intake = self.intakes[slave.slave_id]  # there is one as long as its slave is SENDING
        move(slave, Phase.CHECKING, slave.request, instant)
        return self._proceed(intake, intake.sent(), instant)

    def do_bye(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Forget a slave that leaves. It gets no reply."""
        return self._remove(slave, "BYE", instant)

    # Queues, leases and time ----------------------------------------------------------------

    def delete(self, package: str, version: str | None) -> None:
        """Forget a version of *package* (``None``: all versions), and have its builds abandoned."""
        self.queue.delete(package, version)
        for slave in self.slaves.values():
            if self._is_building(slave) and self.queue.is_deleted(assignment_of(slave)[:2]):
                slave.commands.add("SKIP")

    def tick(self, instant: Instant) -> list[SlaveEffect]:
        """Remove slaves that are silent or have gone, renew leases, and retry failed requests."""
        effects: list[SlaveEffect] = []
        for slave in list(self.slaves.values()):
            if slave.phase is not Phase.CHECKING and (why := _why_gone(slave, instant.now)):
                effects.append(warning(slave, f"is declared dead: {why}"))
                effects += self._remove(slave, "declared dead", instant)
        effects += [warning(slave, why) for slave, why in self.twins()]
        self.queue.tick(instant.now)
        self.quotas.tick(instant.now)
        effects += self._report_fitness(None, instant)
        have_builds = (slave for slave in self.slaves.values() if slave.build is not None)
        for period, group in itertools.groupby(sorted(have_builds, key=_period), key=_period):
            effects.append(RenewLeases([assignment_of(slave) for slave in group], period))
        for slave_id, intake in self.intakes.items():
            if intake.step is Step.PENDING and intake.unanswered:
                intake.unanswered = False
                effects.append(AskPending(slave_id, *intake.assignment[:2]))
            else:
                effects += with_history(self.by_number.get(slave_id), intake.retry())
        return effects

    def disk_space(self, free: int, reserve: int) -> list[SlaveEffect]:
        """Stop handing out work while the master's disk has less *free* bytes than its *reserve*.

        No build could be stored.
        """
        if not shortage(free, reserve, closed=bool(self.closed)):
            if not self.closed:
                return []
            self.closed = ""
            return [ReportPause(None, "", "the disk of the site has room again: handing out work")]
        if self.closed:
            return []
        self.closed = f"the disk of the site has {size_text(free)} free, and needs"
        self.closed += f" {size_text(reserve)}"
        text = f"handing out no work: {self.closed}; make room, and the farm continues by itself"
        return [ReportPause(None, self.closed, text)]

    # Operators ------------------------------------------------------------------------------

    def kill(self, slave_id: int | None) -> None:
        """Have a slave (``None``: all) end after its current build."""
        for slave in self.select(slave_id):
            slave.kill()

    def skip(self, slave_id: int | None) -> None:
        """Have a slave (``None``: all) abandon its current build, if it has one."""
        for slave in filter(self._is_building, self.select(slave_id)):
            slave.commands.add("SKIP")

    def sleep(self, slave_id: int | None) -> None:
        """Hand no version to a slave (``None``: to any slave, those that join later included)."""
        if slave_id is None:
            self.paused = True
        for slave in self.select(slave_id):
            slave.commands.add("SLEEP")

    def wake(self, slave_id: int | None) -> None:
        """End :meth:`sleep`, and withdraw commands that have not been carried out."""
        if slave_id is None:
            self.paused = False
        for slave in self.select(slave_id):
            slave.commands.clear()
            self.fitness.resume(slave)

    def pauses(self, now: float) -> list[tuple[int | None, str]]:
        """Return the slaves (``None``: all) that get no work, and who pauses them, and why."""
        found: list[tuple[int | None, str]] = []
        if self.closed:
            found.append((None, pauser(self.closed)))
        if self.paused:
            found.append((None, AN_OPERATOR))
        for slave in self.slaves.values():
            if reason := self.fitness.reason(slave, now):
                found.append((slave.slave_id, pauser(reason)))
            if "SLEEP" in slave.commands and not self.paused:
                found.append((slave.slave_id, AN_OPERATOR))
        return found

    def command(self, verb: str, slaves: Iterable[int] | None) -> list[Rejection]:
        """Give *slaves* (``None``: all) the command *verb*; return the rejections."""
        if slaves is None:
            COMMANDS[verb](self, None)
            return []
        rejections = []
        for slave_id in dict.fromkeys(slaves):
            slave = self.by_number.get(slave_id)
            if slave is None:
                rejections.append(Rejection(slave_id, "no such slave"))
            elif verb == "SKIP" and not self._is_building(slave):
                rejections.append(Rejection(slave_id, "not building"))
            else:
                COMMANDS[verb](self, slave_id)
        return rejections

    # Common to several requests -------------------------------------------------------------

    def _excess(self, slave: SlaveState, why: str, instant: Instant) -> list[SlaveEffect]:
        """Log now and then that the owner of *slave* has exceeded a quota."""
        if not self.quotas.should_log(slave.owner, instant.now):
            return []
        text = (
            f"has to wait: {why}; see what runs there, or give the slaves several keys (piw-keys)"
        )
        return [warning(slave, text)]

    def _record_stats(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        slave.stats.append((instant.at, slave.data))
        return [Publish(slave.slave_id, instant.at, "STATS", slave.data)]


def pauser(reason: str) -> str:
    """Return how consoles name the master when it pauses slaves itself for a *reason*."""
    return f"the master: {reason}"[:200] if reason else "the master"


def _refusal(address: bytes, why: str) -> list[SlaveEffect]:
    """Return the reply that refuses a slave.

    At level 0 there is none: DIE would end the slave for good, whereas without a reply it sends
    HELLO again after its time-out.
    """
    return [Reply(address, "REFUSED", one_line(why))] if is_level_1(address) else []


def _period(slave: SlaveState) -> timedelta:
    return slave.busy_timeout


def _why_gone(slave: SlaveState, now: float) -> str | None:
    """Return why *slave* has gone, or ``None``. It may be silent for longer in a transfer."""
    if slave.lost is not None and now - slave.lost > RECONNECT:
        return f"its connection is lost, and it has not returned for {RECONNECT:.0f} s"
    limit = slave.busy_timeout.total_seconds()
    if slave.transfer is not None:
        limit += slave.transfer.file_state.filesize / MIN_RATE
    return f"silent for {limit:.0f} s" if now - slave.heard > limit else None


#: Consoles that attach later are not told which operator has paused a slave.
AN_OPERATOR: Final = "an operator"

#: The method for each command of an operator.
COMMANDS: Mapping[str, Callable[[Fleet, int | None], None]] = {
    "KILL": Fleet.kill,
    "SLEEP": Fleet.sleep,
    "SKIP": Fleet.skip,
    "WAKE": Fleet.wake,
}

_TOO_LONG = "piwheels: the build exceeded its time-out, and its slave did not end it.\n"
