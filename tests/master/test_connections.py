"""Slaves that lose their connections: what the master notices, and what it keeps for them."""

import hashlib
import itertools
from datetime import UTC, datetime

import pytest
import zmq

from clocks import StepClock
from helpers import LOGGER, free_port, patience, until, wheel_bytes
from peers import Slave, queue_up
from piwheels.core.codec import NoData
from piwheels.core.protocols import LEVEL_1_ID
from piwheels.core.states import FileState
from piwheels.core.transfers import CHUNK_SIZE
from piwheels.core.transport import Context
from piwheels.master.connections import Connections
from piwheels.master.file_juggler import FileJuggler
from piwheels.master.in_order import InOrder
from piwheels.master.result import Result
from piwheels.master.slave_driver import SlaveDriver

NAME = "demo-1.0-py3-none-any.whl"
JOB = ["demo", "1.0"]
_numbers = itertools.count()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:*", "ipc://{}/socket"])
def test_a_lost_connection_is_reported_with_the_address_of_its_peer(tmp_path, address):
    with Context().socket(zmq.ROUTER, None, LOGGER) as router:
        router.bind(address.format(tmp_path))
        connections = Connections(router)
        peers = [zmq.Context.instance().socket(zmq.REQ) for _ in range(3)]
        known = []
        for peer in peers:
            peer.linger = 0
            peer.connect(router.address)
            peer.send(b"\x61x")
            assert router.poll(patience(10))
            known.append(router.recv_addr_msg()[0])
            assert not connections.note(known[-1], router.origin.descriptor)
        for index in (1, 0):
            peers[index].close()
            assert connections.events.poll(patience(10))
            assert list(connections.lost()) == [known[index]]
        # Its descriptor is used again before the event is read.
        assert list(connections.note(b"next", router.origin.descriptor)) == [known[2]]
        peers[2].close()
        connections.close()


def test_a_lost_connection_loses_all_its_lanes(tmp_path):
    with Context().socket(zmq.ROUTER, None, LOGGER) as router:
        router.bind(f"ipc://{tmp_path}/socket")
        connections = Connections(router)
        peer = zmq.Context.instance().socket(zmq.DEALER)
        peer.linger = 0
        peer.setsockopt(zmq.ROUTING_ID, b"host")
        peer.connect(router.address)
        known = []
        for lane in (1, 256, 1):
            peer.send_multipart([b"%d" % lane, b"", b"\x61x"])
            assert router.poll(patience(10))
            known.append(router.recv_addr_msg()[0])
            assert not connections.note(known[-1], router.origin.descriptor)
        assert known == [b"host/1", b"host/256", b"host/1"]
        router.send_addr_msg(b"host/256", "y")
        assert peer.recv_multipart() == [b"256", b"", b"\x61y"]
        peer.close()
        assert connections.events.poll(patience(10))
        assert list(connections.lost()) == [b"host/1", b"host/256"]
        connections.close()


def test_connections_within_the_process_have_no_number():
    with Context().socket(zmq.ROUTER) as router:
        router.bind("inproc://connections")
        with zmq.Context.instance().socket(zmq.REQ) as peer:
            peer.linger = 0
            peer.connect("inproc://connections")
            peer.send(b"\x61x")
            router.recv_addr_msg()
            assert router.origin.descriptor is None


def test_requests_about_one_version_keep_their_order():
    sent, answered = [], []
    requests = InOrder(lambda then, *call: sent.append((then, *call)))
    one, other = ("foo", "1", "cp311"), ("bar", "1", "cp311")
    for name in ("grant_lease", "log_build"):
        requests.ask(one, lambda result, name=name: answered.append((name, result)), name, 7)
    requests.ask(other, answered.append, "grant_lease")
    assert [call[1:] for call in sent] == [("grant_lease", 7), ("grant_lease",)]
    sent[0][0](Result(1))
    assert [call[1:] for call in sent[2:]] == [("log_build", 7)]
    sent[2][0](Result(2))
    assert answered == [("grant_lease", Result(1)), ("log_build", Result(2))]
    requests.ask(one, answered.append, "release_lease")
    assert sent[-1][1:] == ("release_lease",)


@pytest.fixture
def farm(with_db, db, running, other_end):
    """A SlaveDriver on TCP with demo 1.0 to build."""
    config = with_db
    for queue in ("slave_queue", "file_queue"):
        object.__setattr__(config, queue, f"tcp://127.0.0.1:{free_port()}")
    object.__setattr__(config, "pypi_simple", "https://index.example/simple")
    db.add_build_abi("cp311")
    db.add_new_package("demo")
    db.add_new_package_version("demo", "1.0", datetime.now(UTC))
    for name in ("web", "events"):
        other_end(config, name)
    driver = SlaveDriver(config)
    driver.clock = StepClock()
    with running(FileJuggler(config), driver):
        queue_up(config, JOB)
        driver.config_used = config
        yield driver


def level_1(farm, label="board", **features):
    routing_id = LEVEL_1_ID + b"%d" % next(_numbers)
    slave = Slave(farm.config_used, label, identity=routing_id)
    slave.features = {"level": 1, **features}
    return slave


def test_the_version_of_a_slave_that_has_gone_is_free_after_a_minute(farm):
    with level_1(farm, identity="one") as slave:
        slave.hello().work()
    (gone,) = farm.fleet.slaves.values()
    until(lambda: gone.lost)
    with level_1(farm, "other", identity="two") as other:
        other.hello()
        assert other.stats("IDLE") == ("SLEEP", False)
        farm.clock.advance(61)
        until(lambda: other.stats("IDLE") == ("BUILD", JOB), pause=0.1)


def test_a_returning_slave_continues_its_transfer_with_the_missing_bytes(farm, db, monkeypatch):
    monkeypatch.setattr(FileJuggler, "takeover", 0.1)
    blob = bytes(itertools.islice(itertools.cycle(range(251)), 40 * CHUNK_SIZE))
    content = wheel_bytes("demo", blob=blob)
    digest = hashlib.sha256(content).hexdigest()
    state = FileState(NAME, len(content), digest, *NAME[:-4].split("-"), None, {}).as_message()
    sent = []
    for resume, most in ((None, 25), (JOB, 10**6)):
        with level_1(farm, identity="one", resume=resume) as slave:
            slave.hello()
            if resume is None:
                slave.work()
            assert slave.built(state) == ("SEND", NAME)
            sent.append(send_part(farm.config_used, slave.id, content, most))
            if resume is not None:
                assert slave.say("SENT") == ("DONE", NoData)
    assert sum(sent) == len(content)
    assert 0 < sent[0] < len(content)
    (build,) = db.get_recent_builds()
    assert (build.status, build.label) == (True, "board")


def send_part(config, number, content, most):
    """Send at most so many chunks of a file; return the number of bytes."""
    count = 0
    with zmq.Context.instance().socket(zmq.DEALER) as files:
        files.linger = 1000
        files.connect(config.file_queue)
        files.send_multipart([b"HELLO", b"%d" % number])
        for _ in range(most):
            if not files.poll(300):
                files.send_multipart([b"HELLO", b"%d" % number])
                assert files.poll(patience(20_000)), "nothing is fetched"
            match files.recv_multipart():
                case [b"DONE"]:
                    return count
                case [b"FETCH", offset, length]:
                    data = content[int(offset) : int(offset) + int(length)]
                    files.send_multipart([b"CHUNK", offset, data])
                    count += len(data)
    return count
