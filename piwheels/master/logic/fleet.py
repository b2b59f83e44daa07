"""The fleet of slaves: who is there, who builds which version, who gets the next. Pure.

Events come in, :data:`~piwheels.master.logic.effects.SlaveEffect`s come out; nothing here waits,
reads a clock or touches a socket. A slave whose reply depends on others (the database,
FileJuggler) waits: its reply is among the effects of a later event. The order of messages is
:data:`~piwheels.core.protocols.slave_conversation`.
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
from piwheels.master.logic.console_events import outcome_of, replay_of, skipped, stats_each
from piwheels.master.logic.effects import (
    BuildOutput,
    Ended,
    Grant,
    More,
    Publish,
    Release,
    Renew,
    Reply,
    SlaveEffect,
    Target,
    Warn,
)
from piwheels.master.logic.intake import Intake, Step
from piwheels.master.logic.slave_state import (
    answer,
    is_building,
    is_level_1,
    move,
    receive,
    resumed,
    target_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from piwheels.core.states import Instant, Transition
    from piwheels.master.logic.effects import IntakeEffect

#: More slaves than this are refused: the network decides how many there are, and each needs memory.
MAX_SLAVES = 10_000
#: The bounds of the two time-outs that a slave may choose: of its silence, and of its builds.
SILENCE = timedelta(seconds=10), timedelta(hours=24)
BUILD = timedelta(seconds=10), timedelta(days=7)
#: By how many seconds a build may exceed its slave's time-out before the master ends it.
GRACE = 60.0
#: The slowest link over which a file may come, in bytes a second.
SLOWEST = 50_000


class Fleet:
    """All slaves, queues and running builds. *simple_url* is where slaves get sources."""

    def __init__(self, simple_url: str) -> None:
        self.simple_url = simple_url
        self.slaves: dict[bytes, SlaveState] = {}
        self.numbers: dict[int, SlaveState] = {}
        self.intakes: dict[int, Intake] = {}
        self.queue = Queue()
        self.paused = False
        self._ids = itertools.count(1)

    def by_id(self, slave_id: int | None) -> list[SlaveState]:
        """Return the slave *slave_id* if there is one, or all slaves for ``None``."""
        if slave_id is None:
            return list(self.slaves.values())
        return [self.numbers[slave_id]] if slave_id in self.numbers else []

    # Requests of slaves ---------------------------------------------------------------------

    def receive(
        self, address: bytes, msg: str, data: Any, instant: Instant
    ) -> tuple[SlaveState | None, list[SlaveEffect]]:
        """Note a request with valid data; return its slave, updated, for the ``do_`` method.

        ``None`` instead of a slave: the request is dealt with, and the effects are all.
        """
        slave = self.slaves.get(address)
        if slave is None and msg == "HELLO":
            return self._newcomer(address, data, instant)
        if slave is None:
            # It was declared dead, or speaks to a master that was restarted. A slave of level 0
            # says HELLO by itself, after its time-out; DIE would end it for good.
            greet = is_level_1(address) and msg != "BYE"
            return None, [Reply(address, "HELLO")] if greet else []
        try:
            receive(slave, msg, data, instant)
        except BadMessage as exc:
            return None, self.protocol_error(address, str(exc), instant)
        return slave, []

    def protocol_error(self, address: bytes, why: str, instant: Instant) -> list[SlaveEffect]:
        """End the session of a slave that broke the protocol."""
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
            build_timeout=min(max(info.build_timeout, BUILD[0]), BUILD[1]),
            busy_timeout=min(max(info.busy_timeout, SILENCE[0]), SILENCE[1]),
        )
        slave = SlaveState(address, *clamped, first_seen=instant.at)
        if len(self.slaves) >= MAX_SLAVES:
            why = f"there are {MAX_SLAVES:,} slaves already"
            return None, [_warning(slave, f"is refused: {why}"), _refusal(address, why)]
        if resumed(slave) is not None:
            slave.phase = Phase.RETURNING
        receive(slave, "HELLO", info, instant)
        return slave, []

    def do_hello(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Greet a slave, and let it keep the build that it still has if nobody else has it."""
        slave.slave_id = next(self._ids)
        self.slaves[slave.address] = self.numbers[slave.slave_id] = slave
        effects: list[SlaveEffect] = [Publish(slave.slave_id, instant.at, "HELLO", slave.info)]
        if self.queue.jobs and slave.native_abi not in self.queue.jobs:
            why = f"builds for {slave.native_abi}, which is not an active ABI: nothing to do for it"
            effects.append(_warning(slave, why))
        if (job := resumed(slave)) is not None:
            effects += self._adopt(slave, job, instant)
        return [*effects, *self._reply(slave, instant, "ACK", (slave.slave_id, self.simple_url))]

    def _adopt(
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
            # The same slave at its earlier address, before it lost its connection.
            effects += self._remove(old, f"is slave {slave.slave_id} now", instant)
            self.queue.leased[target] = instant.now
        if self.queue.may_resume(target):
            self._give(slave, job, instant)
            effects.append(Publish(slave.slave_id, instant.at, "BUILD", job))
            effects.append(Grant(target, slave.label, slave.busy_timeout))
        return effects

    def do_idle(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Give a slave that has nothing to do a version to build."""
        effects: list[SlaveEffect] = self._note_stats(slave, instant)
        effects += self._drop_build(slave, instant)
        slave.commands.discard("SKIP")
        if "KILL" in slave.commands:
            return [*effects, *self._end(slave, instant)]
        if self.paused or "SLEEP" in slave.commands:
            return [*effects, *self._reply(slave, instant, "SLEEP", data=True)]
        job = self.queue.next(slave.native_abi, instant.now)
        if job is None:
            if self.queue.stale and slave.native_abi in self.queue.jobs:
                effects.append(More(len(self.queue.active)))
            return [*effects, *self._reply(slave, instant, "SLEEP", data=False)]
        self._give(slave, job, instant)
        return [
            *effects,
            *self._reply(slave, instant, "BUILD", job),
            Grant(target_of(slave), slave.label, slave.busy_timeout),
        ]

    def _give(self, slave: SlaveState, job: tuple[str, str], instant: Instant) -> None:
        slave.build = BuildState(
            slave.slave_id, *job, slave.native_abi, status=False, duration=timedelta(0), output=""
        )
        slave.build_began = instant
        self.queue.start(target_of(slave))

    def do_busy(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Let a slave go on with its build, or have it abandoned."""
        return [*self._note_stats(slave, instant), *self._go_on(slave, instant)]

    def do_output(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Publish the newest lines of a build's log; then as :meth:`do_busy`."""
        output: SlaveOutput = slave.data
        effects: list[SlaveEffect] = []
        if is_building(slave) and "SKIP" not in slave.commands:
            effects.append(BuildOutput(slave.slave_id, *target_of(slave)[:2], *output))
        return [*effects, *self._go_on(slave, instant)]

    def _go_on(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        if slave.build_began is None or "SKIP" in slave.commands:
            return [*self._drop_build(slave, instant), *self._reply(slave, instant, "DONE")]
        took = instant.now - slave.build_began.now
        if took > slave.build_timeout.total_seconds() + GRACE:
            # The slave should have ended the build. It counts as failed, or it would be tried
            # again for ever.
            duration = timedelta(seconds=took)
            return self._take_in(slave, Built(False, duration, _TOO_LONG, files=[]), instant)
        return self._reply(slave, instant, "CONT")

    def do_built(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Take in a build that has ended; its slave waits until the next step is done."""
        if slave.build is None or "SKIP" in slave.commands:
            return [*self._drop_build(slave, instant), *self._reply(slave, instant, "DONE")]
        return self._take_in(slave, slave.data, instant)

    def _take_in(self, slave: SlaveState, built: Built, instant: Instant) -> list[SlaveEffect]:
        build = slave.build
        assert build is not None  # noqa: S101
        build.status, build.output = built.status, built.output
        build.duration = min(max(built.duration, timedelta(0)), BUILD[1])
        build.files = {state.filename: state for state in built.files}
        if len(build.files) != len(built.files):
            build.files.clear()  # two files of one name: none can be published
        move(slave, Phase.CHECKING, slave.request, instant)
        intake = Intake(build, slave.native_platform, slave.label)
        self.intakes[slave.slave_id] = intake
        return _with_history(slave, intake.begin())

    def do_sent(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Have the file verified that the slave has sent."""
        intake = self.intakes[slave.slave_id]  # there is one as long as its slave is SENDING
        move(slave, Phase.CHECKING, slave.request, instant)
        return _with_history(slave, intake.sent())

    def do_bye(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        """Forget a slave that leaves; it gets no reply."""
        return self._remove(slave, "BYE", instant)

    # Answers of other tasks -----------------------------------------------------------------

    def answered(
        self, slave_id: int, result: Any, error: Exception | None, instant: Instant
    ) -> list[SlaveEffect]:
        """Take the answer to the last question of the intake of *slave_id*."""
        intake = self.intakes.get(slave_id)
        if intake is None:
            return []
        slave = self.numbers.get(slave_id)
        effects = _with_history(slave, intake.answered(result, error))
        if intake.step is Step.ENDED:
            del self.intakes[slave_id]
            stored = intake.build.build_id is not None
            self.queue.finish(intake.target, instant.now, logged=stored)
            if not stored:
                effects.append(Release(intake.target))
            effects.append(Ended(slave_id, outcome_of(intake, instant.at)))
        if slave is None or slave.phase is not Phase.CHECKING:
            return effects
        slave.heard = instant.now  # it waited for the master: its silence does not count
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

    def deletion(self, package: str, version: str | None) -> None:
        """Forget a version of *package* (``None``: all of it), and have its builds abandoned."""
        self.queue.delete(package, version)
        for slave in self.slaves.values():
            if is_building(slave) and self.queue.is_deleted(target_of(slave)[:2]):
                slave.commands.add("SKIP")

    def tick(self, instant: Instant) -> list[SlaveEffect]:
        """Declare slaves dead that are silent for too long; renew the leases of the others."""
        effects: list[SlaveEffect] = []
        for slave in list(self.slaves.values()):
            limit = _silence_limit(slave)
            if slave.phase is not Phase.CHECKING and instant.now - slave.heard > limit:
                effects.append(_warning(slave, f"is declared dead: silent for {limit:.0f} s"))
                effects += self._remove(slave, "declared dead", instant)
        self.queue.tick(instant.now)
        by_period = sorted(filter(is_building, self.slaves.values()), key=_period)
        for period, group in itertools.groupby(by_period, key=_period):
            effects.append(Renew([target_of(slave) for slave in group], period))
        for slave_id, intake in self.intakes.items():
            effects += _with_history(self.numbers.get(slave_id), intake.retry())
        return effects

    # Operators ------------------------------------------------------------------------------

    def kill(self, slave_id: int | None) -> None:
        """Have a slave (``None``: all) told to end once it has nothing to build."""
        for slave in self.by_id(slave_id):
            slave.kill()

    def skip(self, slave_id: int | None) -> None:
        """Have a slave (``None``: all) abandon the build that it has, if any."""
        for slave in filter(is_building, self.by_id(slave_id)):
            slave.commands.add("SKIP")

    def sleep(self, slave_id: int | None) -> None:
        """Give a slave nothing more to build; for ``None`` all, newcomers included."""
        if slave_id is None:
            self.paused = True
        for slave in self.by_id(slave_id):
            slave.commands.add("SLEEP")

    def wake(self, slave_id: int | None) -> None:
        """End :meth:`sleep`, and take back commands that were not carried out yet."""
        if slave_id is None:
            self.paused = False
        for slave in self.by_id(slave_id):
            slave.commands.clear()

    def command(self, verb: str, slaves: Iterable[int] | None) -> list[Rejection]:
        """Give *slaves* (``None``: all) the command *verb*; return those that reject it."""
        if slaves is None:
            COMMANDS[verb](self, None)
            return []
        rejections = []
        for slave_id in dict.fromkeys(slaves):
            slave = self.numbers.get(slave_id)
            if slave is None:
                rejections.append(Rejection(slave_id, "no such slave"))
            elif verb == "SKIP" and not is_building(slave):
                rejections.append(Rejection(slave_id, "not building"))
            else:
                COMMANDS[verb](self, slave_id)
        return rejections

    def history(self, slave_id: int) -> list[Transition]:
        """Return the last transitions of a slave, oldest first. Raises ``Refused``."""
        if slave_id not in self.numbers:
            raise Refused("HISTORY", f"there is no slave {slave_id}")
        return list(self.numbers[slave_id].history)

    def replay(self, after: int, most: int) -> list[Publish]:
        """Return the past events of the slaves that come next after number *after*.

        Of as many slaves as have not more than *most* events together, but at least of one; empty
        only if there is none (:func:`replay_of`).
        """
        events: list[Publish] = []
        stats = stats_each(len(self.numbers))
        for slave_id, slave in self.numbers.items():
            if slave_id > after:
                of_slave = replay_of(slave, stats)
                if events and len(events) + len(of_slave) > most:
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
        del self.slaves[slave.address], self.numbers[slave.slave_id]
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
            self.queue.give_up(target)
            effects += [Ended(slave.slave_id, None), Release(target)]
        # The next slave may have its version, unless an operator has skipped that.
        if target is not None and "SKIP" not in slave.commands:
            self.queue.put_back(target)
        return effects

    def _drop_build(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        if not is_building(slave):
            return []
        target = target_of(slave)
        outcome = skipped(slave, instant) if "SKIP" in slave.commands else None
        slave.build = slave.build_began = None
        if "SKIP" in slave.commands and "KILL" not in slave.commands:
            self.queue.put_off(target, instant.now)  # or this slave would get it again at once
        else:
            self.queue.give_up(target)
        return [Release(target), Ended(slave.slave_id, outcome)]

    def _note_stats(self, slave: SlaveState, instant: Instant) -> list[SlaveEffect]:
        slave.stats.append(slave.data)
        return [Publish(slave.slave_id, instant.at, "STATS", slave.data)]

    # For the tests --------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise ``AssertionError`` unless all invariants hold."""
        ids = [slave.slave_id for slave in self.slaves.values()]
        assert sorted(set(ids)) == list(self.numbers), "a replay would miss some"  # noqa: S101
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
    """Return for how many seconds *slave* may be silent: longer while it sends a file."""
    limit = slave.busy_timeout.total_seconds()
    if slave.transfer is not None:
        limit += slave.transfer.file_state.filesize / SLOWEST
    return limit


#: The method for each command of an operator.
COMMANDS: Mapping[str, Callable[[Fleet, int | None], None]] = {
    "KILL": Fleet.kill,
    "SLEEP": Fleet.sleep,
    "SKIP": Fleet.skip,
    "WAKE": Fleet.wake,
}

_TOO_LONG = "piwheels: the build exceeded its time-out, and its slave did not end it.\n"
