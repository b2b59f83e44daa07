"""Honest slaves that lose their connections and return, masters that restart: nothing is lost."""

import sys
from types import SimpleNamespace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from piwheels.core.codec import NoData
from piwheels.core.database.rows import Published
from piwheels.core.protocols import LEVEL_1_ID
from piwheels.core.states import Instant, Pending
from piwheels.master.logic import effects
from piwheels.master.logic.fleet import Fleet
from piwheels.master.logic.sessions import RECONNECT
from slave_messages import (
    HASH,
    START,
    built,
    file_state,
    hello,
    request,
    rows_of,
    stats,
    target_for,
)

VERSIONS = [("foo", "1.0"), ("bar", "2"), ("baz", "3"), ("qux", "4")]
#: The longest silence of a slave, in seconds.
BUSY_TIMEOUT = 300
SLAVES = st.integers(0, 2)
#: Where to interrupt a slave: while it builds, while the master waits for one of these answers, or
#: when its build has ended.
STAGES = st.sampled_from(["BUSY", "AskPending", "Expect", "Verify", "LogBuild", "DONE"])
#: How a slave is interrupted: its connection is lost, which the master notices now or only by the
#: silence; the reply to its next request is lost, too; the connection returns by itself; or the
#: master is restarted, before or after the database has stored the builds.
BREAKS = st.sampled_from(
    ["noticed", "silent", "reply lost", "same address", "restart", "restart, stored"]
)
INTERRUPTIONS = st.tuples(STAGES, BREAKS, st.sampled_from([1, 50, 70, 350]))


def wheel(job):
    return "-".join([*job, "cp311-cp311-linux_x86_64.whl"])


class Honest(RuleBasedStateMachine):
    """Three slaves, a database that answers truthfully, and connections that break.

    - No build is abandoned unless its version has been stored.
    - No version is handed out while a slave has it that was heard in the last minute, or while it
      is leased.
    - A slave that returns within a minute after the master noticed its loss keeps its number.
    - No version is stored twice.
    - In the end, every version is stored.
    """

    def __init__(self):
        super().__init__()
        self.now, self.connections, self.stored, self.leases = 0.0, 0, set(), {}
        self.asked = []
        self.slaves = [
            SimpleNamespace(
                name=n, address=None, job=None, finished=False, say=None, asked=None, heard=0.0,
                number=None, until=-1,
            )
            for n in range(3)
        ]  # fmt: skip
        self.restart(stored=False)
        self.read_queue()

    @property
    def instant(self):
        return Instant(self.now, START)

    def restart(self, *, stored):
        """The master is restarted. The database has *stored* what it was asked to, or not."""
        for effect, _ in self.asked if stored else ():
            if isinstance(effect, effects.LogBuild):
                self.store(effect.build)
        self.fleet, self.asked = Fleet("url", chance=lambda: 1.0), []
        left = {assignment: end - self.now for assignment, end in self.leases.items()}
        self.fleet.queue.take_leases(left, self.now)
        for slave in self.slaves:
            slave.address, slave.number, slave.until = None, None, -1

    @rule()
    def read_queue(self):
        jobs = [job for job in VERSIONS if job not in self.stored]
        rows = rows_of({"cp311": jobs})
        self.fleet.queue.replace([target_for("cp311")], rows, self.instant)

    def cut(self, n, how):
        """A slave is interrupted."""
        slave = self.slaves[n]
        if how.startswith("restart"):
            self.restart(stored=how == "restart, stored")
            self.read_queue()
        elif slave.address is not None:
            if how == "reply lost":
                self.act(n, arrives=False)
            if how in ("noticed", "same address") and slave.address in self.fleet.slaves:
                slave.until = min(self.now + RECONNECT, slave.heard + BUSY_TIMEOUT)
                self.fleet.disconnected(slave.address, self.instant)
            if how != "same address":
                slave.address = None

    def work(self, n, stage):
        """A slave works, and the other tasks answer about it, until it is at a stage."""
        slave, job = self.slaves[n], None
        for _ in range(20):
            ended = stage == "DONE" and job is not None and slave.job != job
            job = slave.job
            mine = [each for each in self.asked if each[0].slave_id == slave.number]
            reached = any(type(effect).__name__ == stage for effect, _ in mine)
            if reached or ended or stage == slave.say == "BUSY":
                return
            if slave.job is not None:
                slave.finished = stage != "BUSY"
            if slave.address is None or slave.asked is None:
                self.act(n)
                if slave.say == "ASLEEP":
                    return
            elif mine:
                self.answer(self.asked.index(mine[0]))
            else:
                return  # its build waits for that of another slave

    @rule(n=SLAVES, interruptions=st.lists(INTERRUPTIONS, min_size=1, max_size=3), end=STAGES)
    def interrupt(self, n, interruptions, end):
        """A slave works, but is interrupted, and away for some seconds each time."""
        for stage, how, seconds in interruptions:
            self.work(n, stage)
            self.cut(n, how)
            self.wait(seconds)
        self.work(n, end)

    @rule(n=SLAVES, other=SLAVES, stage=STAGES, interruption=INTERRUPTIONS)
    def build_twice(self, n, other, stage, interruption):
        """A slave was away for too long: another one gets its version, and is interrupted later."""
        self.work(n, "BUSY")
        self.cut(n, "noticed")
        self.wait(70)
        other_stage, how, seconds = interruption
        self.work(other, other_stage)
        self.work(n, stage)
        self.cut(other, how)
        self.wait(seconds)

    @rule(n=SLAVES)
    def act(self, n, *, arrives=True):
        """A slave sends its next request, unless it waits for a reply, which may be lost."""
        slave = self.slaves[n]
        if slave.address is None:
            self.connections += 1
            slave.address, slave.asked = LEVEL_1_ID + b"%d" % self.connections, None
            slave.say = "HELLO"
        if slave.asked is not None:
            return
        slave.asked = "IDLE" if slave.say == "ASLEEP" else slave.say
        data = {"IDLE": stats(), "BUSY": stats()}.get(slave.asked, NoData)
        if slave.asked != "HELLO":
            slave.until = -1  # the connection is well, as far as the master knows
        else:
            about = {"level": 1, "identity": f"id {slave.name}", "busy": BUSY_TIMEOUT}
            data = hello("one label", resume=slave.job, **about)
        if slave.asked == "BUILT":
            data = built(file_state(wheel(slave.job)))
        before, slave.heard = slave.heard, self.now
        made = request(self.fleet, slave.address, slave.asked, data, self.instant)
        if slave.address not in self.fleet.slaves:
            slave.heard = before  # it was forgotten
        if not arrives:
            slave.address = None
        self.take(made)

    @precondition(lambda self: self.asked)
    @rule(place=st.sampled_from([0, -1]))
    def answer(self, place):
        """The database or FileJuggler answers a request."""
        effect, intake = self.asked.pop(place)
        match effect:
            case effects.AskPending(_, package, version):
                waits = (package, version) not in self.stored
                result = [Pending(package, version, *target_for("cp311"))] if waits else []
            case effects.AskPublished():
                result = Published({}, {})
            case effects.Expect():
                result = None
            case effects.Verify():
                name = intake.current.filename
                result = {"filename": name, "metadata_hash": HASH, "requires_python": None}
            case effects.LogBuild(_, build):
                result = self.store(build)
        if self.fleet.intakes.get(effect.slave_id) is intake:  # as in SlaveDriver
            self.take(self.fleet.answered(effect.slave_id, result, None, self.instant))

    def store(self, build):
        assert build.status
        assert (build.package, build.version) not in self.stored, "stored twice"
        self.stored.add((build.package, build.version))
        return len(self.stored)

    def wait(self, seconds):
        """Time passes. Slaves that build and are connected send heartbeats."""
        while seconds > 0:
            self.now += min(seconds, 50)
            seconds -= 50
            for slave in self.slaves:
                if slave.address is not None and slave.say == "BUSY":
                    self.act(slave.name)
            self.take(self.fleet.tick(self.instant))

    def take(self, made):
        self.fleet.validate()
        for effect in made:
            match effect:
                case effects.Reply(address, msg, data):
                    for slave in self.slaves:
                        if slave.address == address:
                            self.hear(slave, msg, data)
                case effects.GrantLease(assignment, _, period):
                    self.leases[assignment] = self.now + period.total_seconds()
                case effects.RenewLeases(assignments, period):
                    end = self.now + period.total_seconds()
                    self.leases.update((each, end) for each in assignments if each in self.leases)
                case effects.ReleaseLease(assignment):
                    self.leases.pop(assignment, None)
                case (
                    effects.AskPending()
                    | effects.AskPublished()
                    | effects.Expect()
                    | effects.Verify()
                    | effects.LogBuild()
                ):
                    self.asked.append((effect, self.fleet.intakes.get(effect.slave_id)))

    def hear(self, slave, msg, data):
        slave.asked = None
        match msg:
            case "HELLO":
                slave.say = "HELLO"
                return
            case "SEND":
                slave.say = "SENT"
                return
            case "SLEEP":
                slave.say = "ASLEEP"
                return
            case "ACK":
                assert data[0] == slave.number or self.now > slave.until, "its session has ended"
                slave.number, slave.until = data[0], -1
            case "BUILD":
                for other in self.slaves:
                    if other.job == data:
                        assert self.now - other.heard >= RECONNECT, "another slave has it"
                assert self.leases.get((*data, "cp311"), 0) <= self.now, "it is leased"
                slave.job, slave.finished = data, False
            case "DONE":
                assert slave.job is None or slave.job in self.stored, "a build is abandoned"
                slave.job = None
            case _:
                assert msg == "CONT", msg
        slave.say = "IDLE" if slave.job is None else "BUILT" if slave.finished else "BUSY"

    def teardown(self):
        """All connections work again: soon every version has been stored."""
        if sys.exc_info()[0] is not None:
            return  # a rule has found a fault
        for _ in range(60):
            if len(self.stored) == len(VERSIONS) and not any(one.job for one in self.slaves):
                return
            self.read_queue()
            for n in range(3):
                self.slaves[n].finished = True
                self.act(n)
                while self.asked:
                    self.answer(0)
            self.wait(10)
        raise AssertionError(f"only {self.stored} are stored")


TestHonest = Honest.TestCase
TestHonest.settings = settings(max_examples=100, stateful_step_count=12, deadline=None)
