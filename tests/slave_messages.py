"""Messages of slaves, and a fleet that a test drives, for tests of the decisions on slaves."""

from datetime import UTC, datetime, timedelta

from piwheels.core.codec import NoData
from piwheels.core.protocols import slave_driver
from piwheels.core.states import Instant, Pending
from piwheels.core.targets import Target
from piwheels.master.logic.effects import Reply
from piwheels.master.logic.fleet import Fleet

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
HASH = "a" * 64


def target_for(abi):
    """The target of a slave by :func:`hello`."""
    return Target("linux_x86_64", abi)


def rows_of(queues, **about):
    """The rows of a queue in which these versions come in this order, by ABI."""
    return [
        Pending(*job, *target_for(abi), due=due)._replace(**about)
        for abi, jobs in queues.items()
        for due, job in enumerate(jobs)
    ]


def hello(label="board", abi="cp311", resume=None, **timeouts):
    info = [
        timedelta(seconds=timeouts.get("build", 3600)),
        timedelta(seconds=timeouts.get("busy", 300)),
        abi[2:], abi, timeouts.get("platform", "linux_x86_64"), label, "Debian", "12", "", "",
    ]  # fmt: skip
    features = {key: timeouts[key] for key in ("level", "identity") if key in timeouts}
    if resume is not None:
        features |= {"level": 1, "resume": list(resume)}
    if features:
        info.append(features)
    return slave_driver.received("HELLO", info)


def stats(now=START):
    return slave_driver.received("IDLE", [now, 1, 1, 1, 1, 0, 0, 0.5, 40.0])


def file_state(name="foo-1.0-cp311-cp311-linux_x86_64.whl", filehash=HASH):
    return [name, 10, filehash, "x", "1", "x", "x", "x", None, {"apt": []}, "/simple"]


def built(*files, status=True):
    return slave_driver.received("BUILT", [status, timedelta(seconds=5), "log\n", list(files)])


def failed(log, *more):
    return slave_driver.received("BUILT", [False, timedelta(seconds=5), log, [], *more])


def request(fleet, address, msg, data, instant):
    """Handle a request as SlaveDriver does."""
    slave, made = fleet.receive(address, msg, data, instant)
    return made if slave is None else getattr(fleet, f"do_{msg.lower()}")(slave, instant)


class Farm:
    """A fleet with two clocks, which a test moves."""

    def __init__(self, queues=None):
        self.seconds, self.at = 1000.0, START
        self.fleet = Fleet("https://index.example/simple", chance=lambda: 1.0)
        self.replace(queues if queues is not None else {"cp311": [("foo", "1.0"), ("bar", "2")]})

    @property
    def instant(self):
        return Instant(self.seconds, self.at)

    def replace(self, queues):
        """Replace the queue: lists of versions by ABI."""
        rows = rows_of(queues)
        self.fleet.queue.replace([target_for(abi) for abi in queues], rows, self.instant)

    def wait(self, seconds):
        self.seconds += seconds
        self.at += timedelta(seconds=seconds)

    def say(self, address, msg, data=NoData):
        made = request(self.fleet, address, msg, data, self.instant)
        self.fleet.validate()
        return made

    def answer(self, slave_id, result=None, error=None):
        made = self.fleet.answered(slave_id, result, error, self.instant)
        self.fleet.validate()
        return made

    def tick(self):
        made = self.fleet.tick(self.instant)
        self.fleet.validate()
        return made

    def join(self, address=b"a", **about):
        (reply,) = replies(self.say(address, "HELLO", hello(**about)))
        assert reply.msg == "ACK"
        return reply.data[0]

    def build(self, address=b"a", **about):
        slave_id = self.join(address, **about)
        (reply,) = replies(self.say(address, "IDLE", stats()))
        assert reply.msg == "BUILD"
        return slave_id


def replies(made):
    return [effect for effect in made if isinstance(effect, Reply)]


def of(cls, made):
    return [effect for effect in made if isinstance(effect, cls)]
