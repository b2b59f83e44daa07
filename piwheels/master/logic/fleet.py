"""The fleet: all slaves, the builds that they have, and the versions to hand out. Pure.

Methods take events and return each :data:`~piwheels.master.logic.effects.SlaveEffect` to perform.
If the reply to a slave depends on an answer of another task (the database, FileJuggler), the reply
is among the effects of that answer. :data:`~piwheels.core.protocols.slave_conversation` defines the
order of messages.
"""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from piwheels.core.codec import NoData
from piwheels.core.errors import BadMessage, Refused, one_line
from piwheels.core.protocols import Built, Rejection, SlaveOutput
from piwheels.core.states import BuildState, Phase, SlaveInfo, SlaveState, TransferState
from piwheels.master.logic.build_queue import Queue
from piwheels.master.logic.console_events import (
    outcome_of,
    replay_of,
    skipped_outcome,
    stats_per_slave,
)
from piwheels.master.logic.effects import (
    GrantLease,
    Publish,
    PublishEnd,
    PublishOutput,
    ReadQueue,
    ReleaseLease,
    RenewLeases,
    Reply,
    SlaveEffect,
    Target,
    Warn,
)
from piwheels.master.logic.intake import Intake, Step
from piwheels.master.logic.slave_state import (
    answer,
    build_to_resume,
    is_building,
    is_level_1,
    move,
    receive,
    target_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from piwheels.core.states import Instant, Transition
    from piwheels.master.logic.effects import IntakeEffect

#: The most slaves; more are refused, because each needs memory, and anyone on the network can join.
MAX_SLAVES = 10_000
#: The bounds of the time-outs that a slave may choose: for its silence, and for a build.
BUSY_TIMEOUT = timedelta(seconds=10), timedelta(hours=24)
BUILD_TIMEOUT = timedelta(seconds=10), timedelta(days=7)
#: The seconds by which a build may exceed its slave's time-out before the master ends it.
GRACE = 60.0
#: The lowest rate at which a slave may send a file, in bytes per second.
MIN_RATE = 50_000


class Fleet:
    """All slaves, queues and running builds. *simple_url* is the index where slaves get sources."""

    def __init__(self, simple_url: str) -> None:
        self.simple_url = simple_url
        self.slaves: dict[bytes, SlaveState] = {}
        self.by_number: dict[int, SlaveState] = {}
        self.intakes: dict[int, Intake] = {}
        self.queue = Queue()
        self.paused = False
        self._ids = itertools.count(1)

    def select(self, slave_id: int | None) -> list[SlaveState]:
        """Return the slave *slave_id* if there is one, or all slaves for ``None``."""
        if slave_id is None:
            return list(self.slaves.values())
        return [self.by_number[slave_id]] if slave_id in self.by_number else []

    # Requests of slaves ---------------------------------------------------------------------

    def receive(
        self, address: bytes, msg: str, data: Any, instant: Instant
    ) -> tuple[SlaveState | None, list[SlaveEffect]]:
        """Record a request with valid data; return its slave, to be passed to the ``do_`` method.

        If the slave is ``None``, the request needs nothing but the returned effects.
        """
        slave = self.slaves.get(address)
        if slave is None and msg == "HELLO":
            return self._newcomer(address, data, instant)
        if slave is None:
            # It was declared dead, or the master was restarted. A slave of level 0 sends HELLO
            # after its time-out without being asked; DIE would end it for good.
            greet = is_level_1(address) and msg != "BYE"
            return None, [Reply(address, "HELLO")] if greet else []
        try:
            receive(slave, msg, data, instant)
        except BadMessage as exc:
            return None, self.protocol_error(address, str(exc), instant)
        return slave, []

    def protocol_error(self, address: bytes, why: str, instant: Instant) -> list[SlaveEffect]:
        """End the session of a slave that has broken the protocol."""
        slave = self.slaves.get(address)
        if slave is None:
            return [_refusal(address, why)]
        warning = _warning(slave, f"broke the protocol, and is refused: {why}")
        removal = self._remove(slave, f"protocol error: {why}", instant)
        return [warning, _refusal(address, why), *removal]

    def _newcomer(
        self, address: bytes, info: SlaveInfo, instant: Instant
    ) -> tuple[SlaveState | None, list[SlaveEffect]]:
        clamped = info._replace(
            build_timeout=min(max(info.build_timeout, BUILD_TIMEOUT[0]), BUILD_TIMEOUT[1]),
            busy_timeout=min(max(info.busy_timeout, BUSY_TIMEOUT[0]), BUSY_TIMEOUT[1]),
        )
        slave = SlaveState(address, *clamped, first_seen=instant.at)
        if len(self.slaves) >= MAX_SLAVES:
            why = f"there are {MAX_SLAVES:,} slaves already"
            return None, [_warning(slave, f"is refused: {why}"), _refusal(address, why)]
        if build_to_resume(slave) is not None:
            slave.phase = Phase.RETURNING
        receive(slave, "HELLO", info, instant)
        return slave, []

    def do_hello(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Greet a slave. It keeps the build that it still has, unless another slave has it."""
        slave.slave_id = next(self._ids)
        self.slaves[slave.address] = self.by_number[slave.slave_id] = slave
        effects: list[SlaveEffect] = [Publish(slave.slave_id, instant.at, "HELLO", slave.info)]
        if self.queue.jobs and slave.native_abi not in self.queue.jobs:
            why = f"builds for {slave.native_abi}, which is not an active ABI: nothing to do for it"
            effects.append(_warning(slave, why))
        if (job := build_to_resume(slave)) is not None:
            effects += self._resume(slave, job, instant)
        return [*effects, *self._reply(slave, instant, "ACK", (slave.slave_id, self.simple_url))]

    def _resume(
        self, slave: SlaveState, job: tuple[str, str], instant: Instant
    ) -> list[SlaveEffect]:
        target: Target = (*job, slave.native_abi)
        effects: list[SlaveEffect] = []
        for old in list(self.slaves.values()):
            holds = is_building(old) or old.phase is Phase.SENDING
            if old is slave or not holds or target_of(old) != target:
                continue
            if old.label != slave.label:
                return [_warning(slave, f"loses {job[0]} {job[1]}: slave {old.slave_id} builds it")]
            # The same slave, at the address that it had before it lost its connection.
            effects += self._remove(old, f"is slave {slave.slave_id} now", instant)
            self.queue.leased[target] = instant.now
        if self.queue.may_resume(target):
            self._assign(slave, job, instant)
            effects.append(Publish(slave.slave_id, instant.at, "BUILD", job))
            effects.append(GrantLease(target, slave.label, slave.busy_timeout))
        return effects

    def do_idle(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Hand a version to an idle slave, or reply why there is none."""
        effects: list[SlaveEffect] = self._record_stats(slave, instant)
        effects += self._drop_build(slave, instant)
        slave.commands.discard("SKIP")
        if "KILL" in slave.commands:
            return [*effects, *self._end(slave, instant)]
        if self.paused or "SLEEP" in slave.commands:
            return [*effects, *self._reply(slave, instant, "SLEEP", data=True)]
        job = self.queue.next(slave.native_abi, instant.now)
        if job is None:
            if self.queue.stale and slave.native_abi in self.queue.jobs:
                effects.append(ReadQueue(len(self.queue.active)))
            return [*effects, *self._reply(slave, instant, "SLEEP", data=False)]
        self._assign(slave, job, instant)
        return [
            *effects,
            *self._reply(slave, instant, "BUILD", job),
            GrantLease(target_of(slave), slave.label, slave.busy_timeout),
        ]

    def _assign(self, slave: SlaveState, job: tuple[str, str], instant: Instant) -> None:
        slave.build = BuildState(
            slave.slave_id, *job, slave.native_abi, status=False, duration=timedelta(0), output=""
        )
        slave.build_began = instant
        self.queue.start(target_of(slave))

    def do_busy(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Reply to a heartbeat: the slave continues its build, or abandons it."""
        return [*self._record_stats(slave, instant), *self._continue_build(slave, instant)]

    def do_output(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Publish new lines of a build's log, then reply as :meth:`do_busy` does."""
        output: SlaveOutput = slave.data
        effects: list[SlaveEffect] = []
        if is_building(slave) and "SKIP" not in slave.commands:
            effects.append(PublishOutput(slave.slave_id, *target_of(slave)[:2], *output))
        return [*effects, *self._continue_build(slave, instant)]

    def _continue_build(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        if slave.build_began is None or "SKIP" in slave.commands:
            return [*self._drop_build(slave, instant), *self._reply(slave, instant, "DONE")]
        took = instant.now - slave.build_began.now
        if took > slave.build_timeout.total_seconds() + GRACE:
            # The slave should have ended the build. It counts as failed; otherwise it would be
            # repeated for ever.
            duration = timedelta(seconds=took)
            return self._begin_intake(slave, Built(False, duration, _TOO_LONG, files=[]), instant)
        return self._reply(slave, instant, "CONT")

    def do_built(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Begin the intake of a finished build. Its slave waits for the reply."""
        if slave.build is None or "SKIP" in slave.commands:
            return [*self._drop_build(slave, instant), *self._reply(slave, instant, "DONE")]
        return self._begin_intake(slave, slave.data, instant)

    def _begin_intake(self, slave: SlaveState, built: Built, instant: Instant) -> list[SlaveEffect]:
        build = slave.build
        assert build is not None  # noqa: S101
        build.status, build.output = built.status, built.output
        build.duration = min(max(built.duration, timedelta(0)), BUILD_TIMEOUT[1])
        build.files = {state.filename: state for state in built.files}
        if len(build.files) != len(built.files):
            build.files.clear()  # two files with one name: neither can be published
        move(slave, Phase.CHECKING, slave.request, instant)
        intake = Intake(build, slave.native_platform, slave.label)
        self.intakes[slave.slave_id] = intake
        return _with_history(slave, intake.begin())

    def do_sent(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Have the file verified that the slave has just sent."""
        intake = self.intakes[slave.slave_id]  # there is one as long as its slave is SENDING
        move(slave, Phase.CHECKING, slave.request, instant)
        return _with_history(slave, intake.sent())

    def do_bye(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Forget a slave that leaves. It gets no reply."""
        return self._remove(slave, "BYE", instant)

    # Answers of other tasks -----------------------------------------------------------------

    def answered(
        self, slave_id: int, result: Any, error: Exception | None, instant: Instant
    ) -> list[SlaveEffect]:
        """Continue the intake of *slave_id* with the answer to its last request."""
        intake = self.intakes.get(slave_id)
        if intake is None:
            return []
        slave = self.by_number.get(slave_id)
        effects = _with_history(slave, intake.answered(result, error))
        if intake.step is Step.ENDED:
            del self.intakes[slave_id]
            stored = intake.build.build_id is not None
            self.queue.finish(intake.target, instant.now, logged=stored)
            if not stored:
                effects.append(ReleaseLease(intake.target))
            effects.append(PublishEnd(slave_id, outcome_of(intake, instant.at)))
        if slave is None or slave.phase is not Phase.CHECKING:
            return effects
        slave.heard = instant.now  # it was silent because it waited for the master
        if intake.step is not Step.VERIFY:
            slave.transfer = None
        if intake.step is Step.ENDED:
            slave.build = slave.build_began = None
            if "KILL" in slave.commands:
                return [*effects, *self._end(slave, instant)]
            return [*effects, *self._reply(slave, instant, "DONE")]
        if intake.step is Step.SENT:
            slave.transfer = TransferState(slave_id, intake.current)
            effects += self._reply(slave, instant, "SEND", intake.current.filename)
        return effects

    # Queues, leases and time ----------------------------------------------------------------

    def delete(self, package: str, version: str | None) -> None:
        """Forget a version of *package* (``None``: all versions), and have its builds abandoned."""
        self.queue.delete(package, version)
        for slave in self.slaves.values():
            if is_building(slave) and self.queue.is_deleted(target_of(slave)[:2]):
                slave.commands.add("SKIP")

    def tick(self, instant: Instant) -> list[SlaveEffect]:
        """Declare silent slaves dead, renew the leases of the others, and retry failed commits."""
        effects: list[SlaveEffect] = []
        for slave in list(self.slaves.values()):
            limit = _silence_limit(slave)
            if slave.phase is not Phase.CHECKING and instant.now - slave.heard > limit:
                effects.append(_warning(slave, f"is declared dead: silent for {limit:.0f} s"))
                effects += self._remove(slave, "declared dead", instant)
        self.queue.tick(instant.now)
        by_period = sorted(filter(is_building, self.slaves.values()), key=_period)
        for period, group in itertools.groupby(by_period, key=_period):
            effects.append(RenewLeases([target_of(slave) for slave in group], period))
        for slave_id, intake in self.intakes.items():
            effects += _with_history(self.by_number.get(slave_id), intake.retry())
        return effects

    # Operators ------------------------------------------------------------------------------

    def kill(self, slave_id: int | None) -> None:
        """Have a slave (``None``: all) end after its current build."""
        for slave in self.select(slave_id):
            slave.kill()

    def skip(self, slave_id: int | None) -> None:
        """Have a slave (``None``: all) abandon its current build, if it has one."""
        for slave in filter(is_building, self.select(slave_id)):
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
            elif verb == "SKIP" and not is_building(slave):
                rejections.append(Rejection(slave_id, "not building"))
            else:
                COMMANDS[verb](self, slave_id)
        return rejections

    def history(self, slave_id: int) -> list[Transition]:
        """Return the last transitions of a slave, oldest first. Raises ``Refused``."""
        if slave_id not in self.by_number:
            raise Refused("HISTORY", f"there is no slave {slave_id}")
        return list(self.by_number[slave_id].history)

    def replay(self, after: int, limit: int) -> list[Publish]:
        """Return the past events (:func:`replay_of`) of the slaves with numbers above *after*.

        They are those of the next slaves that together have at most *limit* events, but at least
        those of one slave. The list is empty only if there are no further slaves.
        """
        events: list[Publish] = []
        stats = stats_per_slave(len(self.by_number))
        for slave_id, slave in self.by_number.items():
            if slave_id > after:
                of_slave = replay_of(slave, stats)
                if events and len(events) + len(of_slave) > limit:
                    break
                events += of_slave
        return events

    # Common to several requests -------------------------------------------------------------

    def _reply(
        self, slave: SlaveState, instant: Instant, msg: str, data: Any = NoData
    ) -> list[SlaveEffect]:
        answer(slave, msg, data, instant)
        effects: list[SlaveEffect] = [Reply(slave.address, msg, data)]
        if msg not in ("ACK", "CONT"):
            effects.append(Publish(slave.slave_id, instant.at, msg, data))
        return effects

    def _end(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        return [Reply(slave.address, "DIE"), *self._remove(slave, "KILL", instant)]

    def _remove(self, slave: SlaveState, cause: str, instant: Instant) -> list[SlaveEffect]:
        del self.slaves[slave.address], self.by_number[slave.slave_id]
        target = target_of(slave) if is_building(slave) else None
        effects = [
            *self._drop_build(slave, instant),
            Publish(slave.slave_id, instant.at, "DIE"),
        ]
        move(slave, Phase.GONE, cause, instant)
        intake = self.intakes.get(slave.slave_id)
        if intake is not None and intake.needs_slave:
            target = intake.target
            del self.intakes[slave.slave_id]
            self.queue.abandon(target)
            effects += [PublishEnd(slave.slave_id, None), ReleaseLease(target)]
        # The next slave may have its version, unless an operator has skipped the build.
        if target is not None and "SKIP" not in slave.commands:
            self.queue.put_back(target)
        return effects

    def _drop_build(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        if not is_building(slave):
            return []
        target = target_of(slave)
        outcome = skipped_outcome(slave, instant) if "SKIP" in slave.commands else None
        slave.build = slave.build_began = None
        if "SKIP" in slave.commands and "KILL" not in slave.commands:
            self.queue.postpone(
                target, instant.now
            )  # otherwise the slave would receive it again at once
        else:
            self.queue.abandon(target)
        return [ReleaseLease(target), PublishEnd(slave.slave_id, outcome)]

    def _record_stats(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        slave.stats.append((instant.at, slave.data))
        return [Publish(slave.slave_id, instant.at, "STATS", slave.data)]

    # For the tests --------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise ``AssertionError`` unless all invariants hold."""
        ids = [slave.slave_id for slave in self.slaves.values()]
        assert sorted(set(ids)) == list(self.by_number), "a replay would miss slaves"  # noqa: S101
        jobs = [target_of(slave) for slave in filter(is_building, self.slaves.values())]
        assert len(jobs) == len(set(jobs)), "two slaves build one version"  # noqa: S101
        in_intake = {intake.target for intake in self.intakes.values()}
        assert self.queue.active == in_intake.union(jobs)  # noqa: S101
        for slave_id, intake in self.intakes.items():
            assert intake.step is not Step.ENDED  # noqa: S101
            assert not intake.needs_slave or slave_id in ids, "its slave has gone"  # noqa: S101
        for slave in self.slaves.values():
            _validate_slave(slave, self.intakes.get(slave.slave_id))


def _validate_slave(slave: SlaveState, intake: Intake | None) -> None:
    phase, waits = slave.phase, slave.phase is Phase.CHECKING
    assert bool(slave.replies) == waits, "a request has no reply"  # noqa: S101
    assert (intake is not None) == (phase in (Phase.CHECKING, Phase.SENDING))  # noqa: S101
    assert (slave.build is None) == (slave.build_began is None)  # noqa: S101
    if phase is not Phase.RESUMING:
        has_build = phase in (Phase.BUILDING, Phase.SENDING, Phase.CHECKING)
        assert (slave.build is not None) == has_build, phase  # noqa: S101
    verifies = waits and intake is not None and intake.step is Step.VERIFY
    assert (slave.transfer is not None) == (phase is Phase.SENDING or verifies)  # noqa: S101
    assert slave.history, "a slave has no history"  # noqa: S101
    assert slave.history[-1].state == phase  # noqa: S101


def _refusal(address: bytes, why: str) -> Reply:
    if is_level_1(address):
        return Reply(address, "REFUSED", one_line(why))
    return Reply(address, "DIE")


def _warning(slave: SlaveState, text: str) -> Warn:
    return Warn(slave.slave_id, slave.label, text, tuple(slave.history))


def _with_history(slave: SlaveState | None, effects: Iterable[IntakeEffect]) -> list[SlaveEffect]:
    history = () if slave is None else tuple(slave.history)
    return [
        effect._replace(history=history) if isinstance(effect, Warn) else effect
        for effect in effects
    ]


def _period(slave: SlaveState) -> timedelta:
    return slave.busy_timeout


def _silence_limit(slave: SlaveState) -> float:
    """Return the seconds for which *slave* may be silent; more while it sends a file."""
    limit = slave.busy_timeout.total_seconds()
    if slave.transfer is not None:
        limit += slave.transfer.file_state.filesize / MIN_RATE
    return limit


#: The method for each command of an operator.
COMMANDS: Mapping[str, Callable[[Fleet, int | None], None]] = {
    "KILL": Fleet.kill,
    "SLEEP": Fleet.sleep,
    "SKIP": Fleet.skip,
    "WAKE": Fleet.wake,
}

_TOO_LONG = "piwheels: the build exceeded its time-out, and its slave did not end it.\n"
