"""The fleet of slaves: who is there, what each builds, what comes next. Events in, effects out.

Nothing here waits, reads a clock or touches a socket: *now* is an argument, and what is to be done
comes back as a list of :mod:`~piwheels.master.logic.effects`. A slave that has asked and whose
reply depends on others (the database, FileJuggler) simply waits: its reply is among the effects of
a later event.
"""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from piwheels.core.codec import NoData
from piwheels.core.protocols import Built, SlaveOutput, Untold
from piwheels.core.states import BuildState, SlaveInfo, SlaveState
from piwheels.master.logic.effects import (
    Effect,
    Ended,
    Grant,
    More,
    Publish,
    Release,
    Renew,
    Reply,
    Spoken,
    Target,
    Warn,
)
from piwheels.master.logic.intake import Intake, Step
from piwheels.master.logic.queue import Queue
from piwheels.master.logic.slaves import allowed, resumed, target_of
from piwheels.master.logic.telling import figures_each, outcome_of, skipped, told_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: More slaves than this are turned away: their number is up to the network, our memory is not.
MAX_SLAVES = 10_000
#: Within these bounds a slave may choose how long it may be silent, and how long a build may take.
SILENCE = timedelta(seconds=10), timedelta(hours=24)
BUILD = timedelta(seconds=10), timedelta(days=7)
#: How long beyond its own time-out a build may go on before the master ends it.
GRACE = timedelta(seconds=60)
#: The slowest link on which a file may come, in bytes a second.
SLOWEST = 50_000


class Fleet:
    """Every slave, every queue, every build under way. *simple_url* is where slaves get sources."""

    def __init__(self, simple_url: str) -> None:
        self.simple_url = simple_url
        self.slaves: dict[bytes, SlaveState] = {}
        self.numbers: dict[int, SlaveState] = {}
        self.intakes: dict[int, Intake] = {}
        self.queue = Queue()
        self.paused = False
        self._ids = itertools.count(1)

    # Who builds what ------------------------------------------------------------------------

    def by_id(self, slave_id: int | None) -> list[SlaveState]:
        """Return the slave *slave_id*, or all for ``None``, or nobody."""
        if slave_id is None:
            return list(self.slaves.values())
        return [self.numbers[slave_id]] if slave_id in self.numbers else []

    # Requests of slaves ---------------------------------------------------------------------

    def request(self, address: bytes, msg: str, data: Any, now: datetime) -> list[Effect]:
        """Take a request of a slave that has passed the checks of its protocol."""
        slave = self.slaves.get(address)
        if slave is None:
            if msg == "HELLO":
                return self._newcomer(address, data, now)
            # It may have been taken for dead, or speak to a master that has been restarted.
            return [] if msg == "BYE" else [Reply(address, "DIE")]
        if msg not in allowed(slave):
            return self.protocol_error(address, f"{msg} is out of order", now)
        slave.last_seen = now
        slave.request = msg, data
        slave.reply = None
        return HANDLERS[msg](self, slave, now)

    def protocol_error(self, address: bytes, why: str, now: datetime) -> list[Effect]:
        """End the session of a slave that broke the protocol; strangers are only told to go."""
        slave = self.slaves.get(address)
        if slave is None:
            return [Reply(address, "DIE")]
        return [
            Warn(slave.slave_id, slave.label, f"broke the protocol ({why}): told to end"),
            Reply(address, "DIE"),
            *self._remove(slave, now),
        ]

    def _newcomer(self, address: bytes, info: SlaveInfo, now: datetime) -> list[Effect]:
        if len(self.slaves) >= MAX_SLAVES:
            return [
                Warn(0, info.label, f"turned away: there are {MAX_SLAVES:,} slaves already"),
                Reply(address, "DIE"),
            ]
        clamped = info._replace(
            build_timeout=min(max(info.build_timeout, BUILD[0]), BUILD[1]),
            busy_timeout=min(max(info.busy_timeout, SILENCE[0]), SILENCE[1]),
        )
        slave = SlaveState(
            address, *clamped, slave_id=next(self._ids), first_seen=now, last_seen=now
        )
        slave.request = "HELLO", info
        self.slaves[address] = self.numbers[slave.slave_id] = slave
        return self.do_hello(slave, now)

    def do_hello(self, slave: SlaveState, now: datetime) -> list[Effect]:
        """Welcome a slave, and let it go on with the build it had if that is still its own."""
        effects: list[Effect] = [Publish(slave.slave_id, now, "HELLO", slave.info)]
        if self.queue.jobs and slave.native_abi not in self.queue.jobs:
            why = f"builds for {slave.native_abi}, which is not an active ABI: nothing to do for it"
            effects.append(Warn(slave.slave_id, slave.label, why))
        if (job := resumed(slave)) is not None:
            effects += self._adopt(slave, job, now)
        return [*effects, *self._reply(slave, now, "ACK", (slave.slave_id, self.simple_url))]

    def _adopt(self, slave: SlaveState, job: tuple[str, str], now: datetime) -> list[Effect]:
        target: Target = (*job, slave.native_abi)
        effects: list[Effect] = []
        for old in list(self.slaves.values()):
            if old is slave or old.job is None or target_of(old) != target:
                continue
            if old.label != slave.label:
                return [Warn(slave.slave_id, slave.label, f"{job[0]} {job[1]} is another's by now")]
            # The same slave under its earlier address, before it lost its connection.
            effects += self._remove(old, now)
            self.queue.leased[target] = now
        if self.queue.may_resume(target):
            self._give(slave, job, now)
            effects.append(Publish(slave.slave_id, now, "BUILD", job))
            effects.append(Grant(target, slave.label, now + slave.busy_timeout))
        return effects

    def do_idle(self, slave: SlaveState, now: datetime) -> list[Effect]:
        """Give a slave that has nothing to do a version to build."""
        self._note_stats(slave)
        effects: list[Effect] = [Publish(slave.slave_id, now, "STATS", slave.request[1])]
        effects += self._drop_job(slave, now)
        slave.skipped = False
        if slave.killed:
            return [*effects, *self._end(slave, now)]
        if self.paused or slave.paused:
            return [*effects, *self._reply(slave, now, "SLEEP", data=True)]
        job = self.queue.next(slave.native_abi, now)
        if job is None:
            if self.queue.stale and slave.native_abi in self.queue.jobs:
                effects.append(More(len(self.queue.active)))
            return [*effects, *self._reply(slave, now, "SLEEP", data=False)]
        self._give(slave, job, now)
        return [
            *effects,
            *self._reply(slave, now, "BUILD", job),
            Grant(target_of(slave), slave.label, now + slave.busy_timeout),
        ]

    def _give(self, slave: SlaveState, job: tuple[str, str], now: datetime) -> None:
        slave.job, slave.job_since = job, now
        self.queue.start(target_of(slave))

    def do_busy(self, slave: SlaveState, now: datetime) -> list[Effect]:
        """Let a slave go on with its build, or have it given up."""
        self._note_stats(slave)
        stats = Publish(slave.slave_id, now, "STATS", slave.request[1])
        return [stats, *self._go_on(slave, now)]

    def do_output(self, slave: SlaveState, now: datetime) -> list[Effect]:
        """Pass on the newest lines of a build's log; else as :meth:`do_busy`."""
        said: SlaveOutput = slave.request[1]
        effects: list[Effect] = []
        if slave.job is not None and not slave.skipped:
            effects.append(Spoken(slave.slave_id, *slave.job, *said))
        return [*effects, *self._go_on(slave, now)]

    def _go_on(self, slave: SlaveState, now: datetime) -> list[Effect]:
        if slave.job is None or slave.skipped:
            return [*self._drop_job(slave, now), *self._reply(slave, now, "DONE")]
        since = slave.job_since or now
        if now - since > slave.build_timeout + GRACE:
            # The slave should have ended the build itself. So that it is not tried for ever:
            built = Built(status=False, duration=now - since, output=_TOO_LONG, files=[])
            return self._take_in(slave, built, now)
        return self._reply(slave, now, "CONT")

    def do_built(self, slave: SlaveState, now: datetime) -> list[Effect]:
        """Take in a build that has ended; its slave's reply comes with the end of the next step."""
        if slave.job is None or slave.skipped:
            return [*self._drop_job(slave, now), *self._reply(slave, now, "DONE")]
        return self._take_in(slave, slave.request[1], now)

    def _take_in(self, slave: SlaveState, built: Built, now: datetime) -> list[Effect]:
        package, version, abi = target_of(slave)
        since = slave.job_since or now
        slave.job = slave.job_since = None
        build = BuildState(
            slave.slave_id, package, version, abi, built.status,
            min(max(built.duration, timedelta(0)), BUILD[1]), built.output,
            {state.filename: state for state in built.files},
        )  # fmt: skip
        if len(build.files) != len(built.files):
            build.files.clear()  # two files of one name: nothing that we could publish
        intake = self.intakes[slave.slave_id] = Intake(
            build, slave.native_platform, slave.label, since
        )
        return intake.begin()

    def do_sent(self, slave: SlaveState, now: datetime) -> list[Effect]:
        """Have the file verified that the slave has sent."""
        intake = self.intakes.get(slave.slave_id)
        if intake is None or intake.step is not Step.SENT:
            return [*self._end_intake(slave.slave_id), *self._reply(slave, now, "DONE")]
        return intake.sent()

    def do_bye(self, slave: SlaveState, now: datetime) -> list[Effect]:
        """Forget a slave that leaves; nothing is sent back."""
        return self._remove(slave, now)

    # Answers of other tasks -----------------------------------------------------------------

    def answered(
        self, slave_id: int, result: Any, error: Exception | None, now: datetime
    ) -> list[Effect]:
        """Go on with the answer to what an effect asked on behalf of *slave_id*'s build."""
        intake = self.intakes.get(slave_id)
        if intake is None:
            return []
        effects = intake.answered(result, error)
        slave = self.numbers.get(slave_id)
        if intake.step is Step.ENDED:
            del self.intakes[slave_id]
            self.queue.finish(intake.target, now, logged=intake.build.build_id is not None)
            effects.append(Ended(slave_id, outcome_of(intake, now)))
        if slave is None or slave.reply is not None:
            return effects
        slave.last_seen = now  # it waited for us: its silence was not its fault
        if intake.step is Step.ENDED:
            effects += self._end(slave, now) if slave.killed else self._reply(slave, now, "DONE")
        elif intake.step is Step.SENT:
            effects += self._reply(slave, now, "SEND", intake.build.next_file)
        return effects

    # Queues, leases and time ----------------------------------------------------------------

    def deletion(self, package: str, version: str | None) -> None:
        """Forget a version of *package*, or all of it: cancel what is being built of it."""
        self.queue.delete(package, version)
        for slave in self.slaves.values():
            if slave.job is not None and self.queue.is_deleted(slave.job):
                slave.skipped = True

    def tick(self, now: datetime) -> list[Effect]:
        """Remove the slaves that are silent for too long; renew the leases of the others."""
        effects: list[Effect] = []
        for slave in list(self.slaves.values()):
            limit = self._patience(slave)
            if slave.reply is not None and now - (slave.last_seen or now) > limit:
                text = f"has been silent for {limit}: taken for dead"
                effects += [Warn(slave.slave_id, slave.label, text), *self._remove(slave, now)]
        self.queue.tick(now)
        building = (slave for slave in self.slaves.values() if slave.job is not None)
        by_limit = sorted(building, key=lambda slave: slave.busy_timeout)
        for limit, group in itertools.groupby(by_limit, key=lambda slave: slave.busy_timeout):
            effects.append(Renew([target_of(slave) for slave in group], now + limit))
        for intake in self.intakes.values():
            effects += intake.again()
        return effects

    def _patience(self, slave: SlaveState) -> timedelta:
        """Return for how long *slave* may be silent: longer while it sends a file."""
        intake = self.intakes.get(slave.slave_id)
        if intake is None or intake.step is not Step.SENT:
            return slave.busy_timeout
        return slave.busy_timeout + timedelta(seconds=intake.current.filesize / SLOWEST)

    # Operators ------------------------------------------------------------------------------

    def kill(self, slave_id: int | None) -> None:
        """Have a slave, or all (``None``), told to end once it has nothing to do.

        What it builds is finished first, unless :meth:`skip` is asked for as well.
        """
        for slave in self.by_id(slave_id):
            slave.kill()

    def skip(self, slave_id: int | None) -> None:
        """Have a slave give up what it builds; does nothing to one that builds nothing."""
        for slave in self.by_id(slave_id):
            slave.skipped = slave.job is not None

    def sleep(self, slave_id: int | None) -> None:
        """Give a slave nothing more to build; for ``None`` nobody, newcomers included."""
        self._pause(slave_id, paused=True)

    def wake(self, slave_id: int | None) -> None:
        """End :meth:`sleep`, and take back a :meth:`kill` or :meth:`skip` not yet acted on."""
        self._pause(slave_id, paused=False)
        for slave in self.by_id(slave_id):
            slave.killed = slave.skipped = False

    def _pause(self, slave_id: int | None, *, paused: bool) -> None:
        if slave_id is None:
            self.paused = paused
        for slave in self.by_id(slave_id):
            slave.paused = paused

    def command(self, verb: str, slaves: Iterable[int] | None) -> list[Untold]:
        """Give *slaves* (``None``: all) the command *verb*; return those who did not take it."""
        if slaves is None:
            COMMANDS[verb](self, None)
            return []
        untold = []
        for slave_id in dict.fromkeys(slaves):
            slave = self.numbers.get(slave_id)
            if slave is None:
                untold.append(Untold(slave_id, "no such slave"))
            elif verb == "SKIP" and slave.job is None:
                untold.append(Untold(slave_id, "not building"))
            else:
                COMMANDS[verb](self, slave_id)
        return untold

    def replay(self, after: int, most: int) -> list[Publish]:
        """Return what the consoles were told of the slaves that come next after number *after*.

        Of as many slaves as have not more than *most* events together, but at least of one; empty
        only if there is none. Of each it is the greeting, figures (:func:`figures_each`), the
        begin of what it builds or sends, and the last reply.
        """
        told: list[Publish] = []
        figures = figures_each(len(self.numbers))
        for slave_id, slave in self.numbers.items():
            if slave_id > after:
                of_slave = told_of(slave, self.intakes.get(slave_id), figures)
                if told and len(told) + len(of_slave) > most:
                    break
                told += of_slave
        return told

    # What replies have in common ------------------------------------------------------------

    def _reply(
        self, slave: SlaveState, now: datetime, msg: str, data: Any = NoData
    ) -> list[Effect]:
        slave.reply = (msg, data)
        if slave.replied != slave.reply:
            slave.replied, slave.replied_at = slave.reply, now
        effects: list[Effect] = [Reply(slave.address, msg, data)]
        if msg not in ("ACK", "CONT"):
            effects.append(Publish(slave.slave_id, now, msg, data))
        return effects

    def _end(self, slave: SlaveState, now: datetime) -> list[Effect]:
        return [Reply(slave.address, "DIE"), *self._remove(slave, now)]

    def _remove(self, slave: SlaveState, now: datetime) -> list[Effect]:
        del self.slaves[slave.address], self.numbers[slave.slave_id]
        target = target_of(slave) if slave.job is not None else None
        effects = [*self._drop_job(slave, now), Publish(slave.slave_id, now, "DIE")]
        intake = self.intakes.get(slave.slave_id)
        if intake is not None and intake.needs_slave:
            target = intake.target
            effects += [*self._end_intake(slave.slave_id), Release(target)]
        # The next slave may have what it was at, unless an operator did not want it built.
        if target is not None and not slave.skipped:
            self.queue.put_back(target)
        return effects

    def _end_intake(self, slave_id: int) -> list[Effect]:
        intake = self.intakes.pop(slave_id, None)
        if intake is None:
            return []
        self.queue.give_up(intake.target)
        return [Ended(slave_id, None)]

    def _drop_job(self, slave: SlaveState, now: datetime) -> list[Effect]:
        if slave.job is None:
            return []
        target = target_of(slave)
        outcome = skipped(slave, now) if slave.skipped else None
        slave.job = slave.job_since = None
        if slave.skipped and not slave.killed:
            self.queue.put_off(target, now)  # else whoever skips what hangs would get it again
        else:
            self.queue.give_up(target)
        return [Release(target), Ended(slave.slave_id, outcome)]

    def _note_stats(self, slave: SlaveState) -> None:
        slave.stats.append(slave.request[1])

    # For the tests --------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise ``AssertionError`` unless all that must hold between events does."""
        ids = [slave.slave_id for slave in self.slaves.values()]
        assert len(ids) == len(set(ids))  # noqa: S101
        jobs = [target_of(slave) for slave in self.slaves.values() if slave.job is not None]
        assert len(jobs) == len(set(jobs)), "one version is built twice"  # noqa: S101
        taken_in = {intake.target for intake in self.intakes.values()}
        assert self.queue.active == taken_in.union(jobs)  # noqa: S101
        assert sorted(ids) == list(self.numbers), "a replay would miss some"  # noqa: S101
        for slave_id, intake in self.intakes.items():
            assert intake.step is not Step.ENDED  # noqa: S101
            assert not intake.needs_slave or slave_id in ids, "an intake waits for nobody"  # noqa: S101
        for slave in self.slaves.values():
            waits_for_us = slave.reply is None
            assert not waits_for_us or slave.slave_id in self.intakes, "never answered"  # noqa: S101


#: What handles each request, once it is known to be in order.
HANDLERS: Mapping[str, Callable[[Fleet, SlaveState, datetime], list[Effect]]] = {
    "IDLE": Fleet.do_idle,
    "BUSY": Fleet.do_busy,
    "OUTPUT": Fleet.do_output,
    "BUILT": Fleet.do_built,
    "SENT": Fleet.do_sent,
    "BYE": Fleet.do_bye,
}

#: What does each command of an operator.
COMMANDS: Mapping[str, Callable[[Fleet, int | None], None]] = {
    "KILL": Fleet.kill,
    "SLEEP": Fleet.sleep,
    "SKIP": Fleet.skip,
    "WAKE": Fleet.wake,
}

_TOO_LONG = "piwheels: the build went on beyond its time-out, and its slave did not end it.\n"
