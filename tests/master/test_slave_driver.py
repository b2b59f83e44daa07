"""SlaveDriver as it runs: slaves of level 0 before it, real database and FileJuggler behind it.

What it decides is tested in logic/test_fleet.py; here is whether it arrives.
"""

import hashlib
import io
import time
import zipfile
from datetime import UTC, datetime, timedelta

import cbor2
import pytest
import zmq
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from helpers import LOGGER, Connected, own_config, patience, until, wire
from peers import Slave, queue_up
from piwheels.core import codec
from piwheels.core.codec import MAX_FRAME
from piwheels.core.database.rows import Lease
from piwheels.core.protocols import LEVEL_1_ID, NoData, slave_driver
from piwheels.master.file_juggler import FileJuggler
from piwheels.master.messages import DeletePackage, DeleteVersion, PagesNoted, WriteLog
from piwheels.master.ports import open_socket
from piwheels.master.slave_driver import SlaveDriver, _remaining

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
METADATA = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Python: >=3.9\n\n"


def wheel():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("demo.py", "x" * 1000)
        archive.writestr("demo-1.0.dist-info/METADATA", METADATA)
        archive.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("demo-1.0.dist-info/RECORD", "")
    return "demo-1.0-py3-none-any.whl", buffer.getvalue()


def state_of(name, content):
    digest = hashlib.sha256(content).hexdigest()
    tags = ["demo", "1.0", "py3", "none", "any"]
    return [name, len(content), digest, *tags, None, {"apt": ["libc6"]}, "/simple"]


@pytest.fixture
def farm(with_db, db, running, other_end):
    """A running SlaveDriver with demo 1.0 to build, all that it needs, and what consoles see."""
    config = with_db
    object.__setattr__(config, "pypi_simple", "https://index.example/simple")
    db.add_build_abi("cp311")
    db.add_new_package("demo")
    db.add_new_package_version("demo", "1.0", datetime.now(UTC))
    web, events = other_end(config, "web"), other_end(config, "events")
    driver = SlaveDriver(config)
    with running(FileJuggler(config), driver):
        driver.web, driver.events, driver.config_used = web, events, config
        queue_up(config, ("demo", "1.0"))
        yield driver


def seen(driver, seconds=0.3):
    """Return what the consoles have seen: the messages of each slave, in order."""
    found = []
    while driver.events.socket.poll(seconds):
        found.append(driver.events.socket.recv_msg()[1])
    return found


def test_a_build_from_hello_to_done(farm, db, tmp_path):
    name, content = wheel()
    with Slave(farm.config_used) as slave:
        slave.hello()
        assert slave.work() == ["demo", "1.0"]
        until = time.monotonic() + patience(5)
        while not (leases := db.get_leases()):
            assert time.monotonic() < until
        assert [(lease.package, lease.label) for lease in leases] == [("demo", "board")]
        assert slave.stats("BUSY") == ("CONT", NoData)
        assert slave.built(state_of(name, content)) == ("SEND", name)
        slave.send(content)
        assert slave.say("SENT") == ("DONE", NoData)
        # DONE: committed, and the file in its place.
        (build,) = db.get_builds([("demo", "1.0")])
        assert build.status
        assert db.get_leases() == []
        folder = tmp_path / "simple/demo"
        assert (folder / name).read_bytes() == content
        assert (folder / f"{name}.metadata").read_bytes() == METADATA
        assert farm.web.take() == WriteLog(1, "log\n")
        assert farm.web.take() == PagesNoted("BOTH", "demo")
        assert slave.stats("IDLE")[0] == "SLEEP"
        slave.socket.send(codec.dumps("BYE"))
        messages = [event[2] for event in seen(farm)]
    assert [m for m in messages if m != "STATS"] == [
        "HELLO", "BUILD", "SEND", "DONE", "SLEEP", "DIE",
    ] or messages.count("SLEEP") > 1  # fmt: skip
    assert messages[-1] == "DIE"


def test_a_file_that_is_not_what_was_said_is_sent_again_and_then_refused(farm, db):
    name, content = wheel()
    with Slave(farm.config_used) as slave:
        slave.hello().work()
        reply = slave.built(state_of(name, content))
        for _ in range(3):
            assert reply == ("SEND", name)
            slave.send(b"y" * len(content))
            reply = slave.say("SENT")
        assert reply == ("DONE", NoData)
    (build,) = db.get_builds([("demo", "1.0")])
    assert not build.status


def test_a_failed_build_is_logged(farm, db):
    with Slave(farm.config_used) as slave:
        slave.hello().work()
        assert slave.built(status=False, log="it broke\n") == ("DONE", NoData)
    assert [build.status for build in db.get_builds([("demo", "1.0")])] == [False]
    assert farm.web.take().text == "it broke\n"


@pytest.mark.parametrize(
    ("log", "duration"),
    [
        ("x" * (15 * 2**20), timedelta(1)),
        ("\u20ac" * (5 * 2**20), timedelta.max),
        ("\x00\x1b" * 1000, timedelta.min),
        ("\x01" * (15 * 2**20), timedelta(0)),
    ],
)
def test_no_log_however_long_or_odd_ends_a_task(farm, db, log, duration):
    with Slave(farm.config_used) as slave:
        slave.hello().work()
        assert slave.built(status=False, log=log, duration=duration) == ("DONE", NoData)
    (build,) = db.get_builds([("demo", "1.0")])
    assert timedelta(0) <= build.duration <= timedelta(days=7)
    ((_, kept),) = db.get_unwritten_logs(1)
    assert 0 < len(kept.encode()) <= 15 * 2**20


def test_files_without_number_end_no_task(farm, db):
    name, content = wheel()
    state = state_of(name, content)
    state[9] = {"apt": ["\u20ac" * 200] * 10_000}
    with Slave(farm.config_used) as slave:
        slave.hello().work()
        assert slave.built(state, log="x" * (10 * 2**20 - 20_000)) == ("DONE", NoData)
    assert [build.status for build in db.get_builds([("demo", "1.0")])] == [False]


def test_commands_of_operators(farm):
    with Slave(farm.config_used) as slave:
        slave.hello()
        farm.sleep_slave(slave.id)
        until(
            lambda: "SLEEP" in farm.fleet.by_number[slave.id].commands
        )  # or it may be given work before
        assert slave.stats("IDLE") == ("SLEEP", True)
        farm.wake_slave(slave.id)
        assert slave.work() == ["demo", "1.0"]
        farm.skip_slave(None)
        until(lambda: slave.stats("BUSY") == ("DONE", NoData))
        farm.sleep_slave(None)
        until(lambda: slave.stats("IDLE") == ("SLEEP", True))
        farm.pause()
        farm.resume()  # only commands to slaves count: these are for the other tasks
        until(lambda: not farm.paused)
        assert slave.stats("IDLE") == ("SLEEP", True)
        farm.wake_slave(None)
        until(lambda: slave.stats("IDLE") == ("SLEEP", False))
        seen(farm)
        farm.list_slaves()
        replayed = [event[2] for event in seen(farm)]
        assert replayed[0] == "HELLO"
        assert replayed[-1] == "SLEEP"
        assert set(replayed[1:-1]) == {"STATS"}
        farm.kill_slave(slave.id)
        until(lambda: slave.stats("IDLE") == ("DIE", NoData))
        assert "DIE" in [event[2] for event in seen(farm)]


def test_a_replay_reaches_the_last_slave_though_consoles_ask_again_and_again(farm, monkeypatch):
    monkeypatch.setattr("piwheels.master.slave_driver.REPLAY_BURST", 2)
    boards = [Slave(farm.config_used, f"board {number}").hello() for number in range(9)]
    seen(farm)
    for _ in range(20):
        farm.list_slaves()
        time.sleep(0.001)
    told = [event[0] for event in seen(farm) if event[2] == "HELLO"]
    assert told[:9] == [board.id for board in boards]
    assert told[-9:] == [board.id for board in boards]
    assert 9 <= len(told) <= 9 * 20
    for board in boards:
        board.socket.close()


def test_what_is_deleted_is_not_built(farm):
    config = farm.config_used
    client = Connected(config, "deletions")
    with Slave(config) as slave:
        slave.hello().work()
        client.call(DeleteVersion("demo", "1.0"))
        assert slave.stats("BUSY") == ("DONE", NoData)
        queue_up(config, ("demo", "2.0"), ("demo", "3.0"))
        time.sleep(0.1)
        client.call(DeletePackage("demo"))
        assert slave.stats("IDLE") == ("SLEEP", False)
    client.close()


def test_a_lost_slave_goes_on_with_its_build_under_a_new_address(farm):
    with Slave(farm.config_used) as first:
        first.hello().work()
    with Slave(farm.config_used, resume=["demo", "1.0"]) as again:
        again.hello()
        assert again.stats("BUSY") == ("CONT", NoData)
        assert again.built(status=False) == ("DONE", NoData)


def test_an_unknown_slave_of_level_1_is_greeted_again_and_keeps_its_build(farm):
    until(lambda: farm.fleet.queue.jobs)
    with Slave(farm.config_used, identity=LEVEL_1_ID + b"1") as slave:
        assert slave.stats("BUSY") == ("HELLO", NoData)
        slave.features = {"resume": ["demo", "1.0"]}
        slave.hello()
        assert slave.stats("BUSY") == ("CONT", NoData)


def test_a_slave_of_level_1_learns_why_it_is_refused(farm):
    with Slave(farm.config_used, identity=LEVEL_1_ID + b"1", level=1) as slave:
        slave.hello()
        assert slave.say("SENT") == ("REFUSED", "SENT is out of order (idle)")
        msg, why = slave.say("HELLO", "nonsense")
        assert (msg, "bad HELLO" in why) == ("REFUSED", True)


def test_each_request_passes_through_its_documented_method(farm, monkeypatch):
    """A breakpoint in a ``do_`` method stops at each request."""
    passed = []
    for request in slave_driver.recv:
        name = f"do_{request.lower()}"
        original = getattr(SlaveDriver, name)

        def note(self, slave, request=request, original=original):
            passed.append((request, slave.request))
            return original(self, slave)

        monkeypatch.setattr(SlaveDriver, name, note)
    name, content = wheel()
    with Slave(farm.config_used, level=1) as slave:
        slave.hello().work()
        slave.stats("BUSY")
        slave.say("OUTPUT", [0, "text"])
        slave.built(state_of(name, content))
        slave.send(content)
        slave.say("SENT")
        slave.socket.send(codec.dumps("BYE"))
        until(lambda: ("BYE", "BYE") in passed)
    assert set(passed) == {(request, request) for request in slave_driver.recv}


def test_an_effect_without_a_case_is_an_error(farm):
    with pytest.raises(AssertionError, match="Expected code to be unreachable"):
        farm._perform(["no effect"])


def test_a_lease_holds_for_no_longer_than_a_slave_may_be_silent():
    """The clock may have been a year ahead when the lease was granted."""
    leases = [
        Lease("a", "1", "cp311", "board", NOW, NOW + timedelta(days=days)) for days in (-1, 365)
    ]
    a_day = 24 * 3600
    assert [_remaining([lease], NOW) for lease in leases] == [
        {("a", "1", "cp311"): -a_day},
        {("a", "1", "cp311"): a_day},
    ]


def test_what_an_earlier_master_handed_out_is_not_handed_out_again(with_db, db, running, other_end):
    db.add_build_abi("cp311")
    db.add_new_package("demo")
    db.add_new_package_version("demo", "1.0", datetime.now(UTC))
    soon = datetime.now(UTC) + timedelta(seconds=60)
    assert db.grant_lease("demo", "1.0", "cp311", "board", soon)
    object.__setattr__(with_db, "pypi_simple", "https://index.example/simple")
    other_end(with_db, "events")
    driver = SlaveDriver(with_db)
    with running(driver), Slave(with_db, label="other") as slave:
        queue_up(with_db, ("demo", "1.0"))
        slave.hello()
        until(lambda: driver.fleet.queue.jobs)
        assert slave.stats("IDLE") == ("SLEEP", False)
        with Slave(with_db, resume=["demo", "1.0"]) as builder:
            builder.hello()
            assert builder.stats("BUSY") == ("CONT", NoData)


# Enemies ------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["HELLO", "IDLE", "BUSY", "BUILT", "SENT", "BYE", "ACK", "DIE", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.binary(max_size=8) | st.timedeltas().map(lambda t: cbor2.CBORTag(2001, [t.days, 0, 0])),
    lambda inner: st.lists(inner, max_size=11) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=15,
)  # fmt: skip
FRAMES = (
    st.binary(max_size=80)
    | NAMES.map(cbor2.dumps)
    | st.tuples(NAMES, VALUES).map(lambda pair: cbor2.dumps(list(pair)))
)


@pytest.fixture(scope="module")
def lonely():
    """A SlaveDriver with nobody behind it but who says that nothing is leased."""
    config = own_config(pypi_simple="https://index.example/simple")
    driver = SlaveDriver(config)
    driver.start()
    with open_socket(wire("database"), config, LOGGER, bind=True) as database:
        peer, ticket, _ = database.recv_multipart()
        database.send_multipart([peer, ticket, codec.dumps("OK", [])])
        yield driver
    driver.quit()
    driver.join(patience(10))
    assert driver.failure is None
    assert not driver.is_alive()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(FRAMES, min_size=1, max_size=4), min_size=1, max_size=6), st.booleans())
@example([[b""]], False)
@example([[b"", b"", b""]], False)
@example([[b"\x9f" * 1000]], True)
@example([[b"x" * MAX_FRAME]], True)
def test_whatever_comes_a_good_slave_gets_its_welcome(lonely, messages, by_the_book):
    config = lonely.config
    with zmq.Context.instance().socket(zmq.DEALER) as enemy:
        enemy.linger = 0
        enemy.connect(config.slave_queue)
        for frames in messages:
            enemy.send_multipart([b"", *frames[:1]] if by_the_book else frames)
        with Slave(config) as slave:
            slave.hello()
            assert slave.stats("IDLE")[0] == "SLEEP"
            slave.socket.send(codec.dumps("BYE"))
    assert lonely.is_alive()
