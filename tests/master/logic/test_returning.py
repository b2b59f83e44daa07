"""Honest slaves that lose their connections and return, masters that restart: nothing is lost."""

from types import SimpleNamespace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from piwheels.core.codec import NoData
from piwheels.core.database.rows import Published
from piwheels.core.protocols import LEVEL_1_ID
from piwheels.core.states import Instant
from piwheels.master.logic import effects
from piwheels.master.logic.fleet import Fleet
from piwheels.master.logic.sessions import RECONNECT
from slave_messages import HASH, START, built, file_state, hello, request, stats

VERSIONS = [("foo", "1.0"), ("bar", "2"), ("baz", "3")]
SLAVES = st.integers(0, 2)


def wheel(job):
    return "-".join([*job, "cp311-cp311-linux_x86_64.whl"])


class Honest(RuleBasedStateMachine):
    """Three slaves, a database that answers truthfully, and connections that break.

    - No build is abandoned unless its version has been stored.
    - No version is handed out while a slave has it that was heard in the last minute.
    - No version is stored twice.
    - In the end, every version is stored.
    """

    def __init__(self):
        super().__init__()
        self.now, self.connections, self.stored, self.leases = 0.0, 0, set(), {}
        self.slaves = [
            SimpleNamespace(
                name=n, address=None, job=None, finished=False, say=None, asked=None, heard=0.0
            )
            for n in range(3)
        ]
        self.restart()

    @property
    def instant(self):
        return Instant(self.now, START)

    @rule()
    def restart(self):
        """The master is restarted."""
        self.fleet, self.asked = Fleet("url"), []
        left = {target: end - self.now for target, end in self.leases.items()}
        self.fleet.queue.take_leases(left, self.now)
        for slave in self.slaves:
            slave.address = None

    @rule()
    def read_queue(self):
        jobs = [job for job in VERSIONS if job not in self.stored]
        self.fleet.queue.replace({"cp311": jobs})

    @rule(n=SLAVES, noticed=st.booleans())
    def cut(self, n, noticed):
        """A connection is lost; the master notices it now or only by the silence."""
        slave = self.slaves[n]
        if noticed and slave.address is not None:
            self.fleet.disconnected(slave.address, self.instant)
        slave.address = None

    @rule(n=SLAVES)
    def finish(self, n):
        self.slaves[n].finished = True

    @rule(n=SLAVES)
    def act(self, n):
        """A slave sends its next request, unless it waits for a reply."""
        slave = self.slaves[n]
        if slave.address is None:
            self.connections += 1
            slave.address, slave.asked = LEVEL_1_ID + b"%d" % self.connections, None
            slave.say = "HELLO"
        if slave.asked is None:
            data = {"IDLE": stats(), "BUSY": stats()}.get(slave.say, NoData)
            if slave.say == "HELLO":
                about = {"level": 1, "identity": f"id {slave.name}"}
                data = hello("one label", resume=slave.job, **about)
            if slave.say == "BUILT":
                data = built(file_state(wheel(slave.job)))
            slave.asked = slave.say
            made = request(self.fleet, slave.address, slave.asked, data, self.instant)
            if slave.address in self.fleet.slaves:
                slave.heard = self.now
            self.take(made)

    @rule(first=st.booleans())
    def answer(self, first):
        """The database or FileJuggler answers a request."""
        if not self.asked:
            return
        effect, intake = self.asked.pop(0 if first else -1)
        if self.fleet.intakes.get(effect.slave_id) is not intake:
            return  # as SlaveDriver does
        match effect:
            case effects.AskPending(_, package, version):
                waits = (package, version) not in self.stored
                result = [(package, version, "cp311")] if waits else []
            case effects.AskPublished():
                result = Published({}, {})
            case effects.Expect():
                result = None
            case effects.Verify():
                name = intake.current.filename
                result = {"filename": name, "metadata_hash": HASH, "requires_python": None}
            case effects.LogBuild(_, build):
                assert build.status
                assert (build.package, build.version) not in self.stored, "stored twice"
                self.stored.add((build.package, build.version))
                result = len(self.stored)
        self.take(self.fleet.answered(effect.slave_id, result, None, self.instant))

    @rule(seconds=st.sampled_from([1, 20, 50, 70, 350]))
    def wait(self, seconds):
        while seconds > 0:
            self.now += min(seconds, 50)
            seconds -= 50
            self.take(self.fleet.tick(self.instant))

    def take(self, made):
        self.fleet.validate()
        for effect in made:
            match effect:
                case effects.Reply(address, msg, data):
                    for slave in self.slaves:
                        if slave.address == address:
                            self.hear(slave, msg, data)
                case effects.GrantLease(target, _, period):
                    self.leases[target] = self.now + period.total_seconds()
                case effects.RenewLeases(targets, period):
                    end = self.now + period.total_seconds()
                    self.leases.update((each, end) for each in targets if each in self.leases)
                case effects.ReleaseLease(target):
                    self.leases.pop(target, None)
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
            case "BUILD":
                for other in self.slaves:
                    if other.job == data:
                        assert self.now - other.heard >= RECONNECT, "another slave has it"
                slave.job, slave.finished = data, False
            case "DONE":
                assert slave.job is None or slave.job in self.stored, "a build is abandoned"
                slave.job = None
            case _:
                assert msg in ("ACK", "CONT", "SLEEP"), msg
        slave.say = "IDLE" if slave.job is None else "BUILT" if slave.finished else "BUSY"

    def teardown(self):
        """All connections work again: soon every version has been stored."""
        for _ in range(60):
            if len(self.stored) == len(VERSIONS) and not any(one.job for one in self.slaves):
                return
            self.read_queue()
            for n in range(3):
                self.slaves[n].finished = True
                self.act(n)
                while self.asked:
                    self.answer(first=True)
            self.wait(10)
        raise AssertionError(f"only {self.stored} are stored")


TestHonest = Honest.TestCase
TestHonest.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
