"""A running SlaveDriver with slaves of level 0, a real database and a real FileJuggler.

Its decisions are tested in logic/test_fleet.py. These tests check that they are carried out.
"""

import hashlib
import time
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
from piwheels.core.database import Database
from piwheels.core.database.rows import Lease
from piwheels.core.diagnosis import Diagnosis
from piwheels.core.errors import DatabaseError
from piwheels.core.protocols import LEVEL_1_ID, NoData, slave_driver
from piwheels.core.states import BuildState
from piwheels.core.targets import NO_SLAVE, Target
from piwheels.master.file_juggler import FileJuggler
from piwheels.master.logic import effects
from piwheels.master.logic.intake import Intake
from piwheels.master.messages import (
    Ability,
    DeletePackage,
    DeleteVersion,
    FleetSeen,
    ListAbilities,
    LostSlave,
    PagesNoted,
    RowFailed,
    SlaveSuspended,
    TargetsSeen,
    WriteLog,
)
from piwheels.master.ports import open_socket
from piwheels.master.slave_driver import SlaveDriver, _remaining
from wheels import zip_wheel

CP311 = Target("linux_x86_64", "cp311")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
METADATA = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Python: >=3.9\n\n"


def wheel():
    info = "demo-1.0.dist-info"
    about = "Wheel-Version: 1.0\nTag: py3-none-any\n"
    files = {"demo.py": "x" * 1000, f"{info}/METADATA": METADATA, f"{info}/WHEEL": about}
    return "demo-1.0-py3-none-any.whl", zip_wheel(files, info)


def state_of(name, content):
    digest = hashlib.sha256(content).hexdigest()
    tags = ["demo", "1.0", "py3", "none", "any"]
    return [name, len(content), digest, *tags, None, {"apt": ["libc6"]}, "/simple"]


@pytest.fixture
def farm(with_db, db, running, other_end):
    """A running SlaveDriver with demo 1.0 to build, the tasks it needs, and the events it sends."""
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


def events(driver, seconds=0.3):
    """Return the events that consoles would have received, in sequence."""
    found = []
    while driver.events.socket.poll(seconds):
        found.append(driver.events.socket.recv_msg()[1])
    return found


def test_a_slaves_build_is_stored_and_published(farm, db, tmp_path):
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
        # After DONE the build is committed and the file published.
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
        messages = [event[2] for event in events(farm)]
    assert [m for m in messages if m != "STATS"] == [
        "HELLO", "BUILD", "SEND", "DONE", "SLEEP", "DIE",
    ] or messages.count("SLEEP") > 1  # fmt: skip
    assert messages[-1] == "DIE"


def test_a_file_of_a_slave_that_leaves_is_dropped(farm):
    name, content = wheel()
    work = farm.config_used.work_path
    with Slave(farm.config_used) as slave:
        slave.hello().work()
        assert slave.built(state_of(name, content)) == ("SEND", name)
        assert list(work.iterdir())
        slave.socket.send(codec.dumps("BYE"))
        until(lambda: not list(work.iterdir()))


def test_a_quarantine_takes_failures_back_and_survives_a_restart(farm, db, monkeypatch, running):
    for name in ("ROW", "PACKAGES", "OTHERS"):
        monkeypatch.setattr(f"piwheels.master.logic.fitness.{name}", 2 if name == "ROW" else 0)
    db.add_new_package_version("demo", "2.0", datetime.now(UTC))
    queue_up(farm.config_used, ("demo", "1.0"), ("demo", "2.0"))
    failed = [False, timedelta(0), "it broke\n", []]
    with Slave(farm.config_used) as slave:
        slave.hello().work()
        assert slave.say("BUILT", failed) == ("DONE", NoData)
        assert farm.web.take() == WriteLog(1, "it broke\n")
        assert farm.web.take() == PagesNoted("PROJECT", "demo")
        (waiting,) = db.get_second_opinions()
        assert (waiting.version, waiting.failed_by) == ("1.0", "")
        slave.work()
        assert slave.say("BUILT", failed) == ("DONE", NoData)
        while farm.web.take() != WriteLog(2, "it broke\n"):
            pass  # the pages of what was taken back may come first
        (put_off,) = until(lambda: db.get_builds([("demo", "1.0"), ("demo", "2.0")])[-1:])
        assert (put_off.version, put_off.counts) == ("2.0", False)
        until(lambda: db.get_builds([("demo", "1.0")]) == [])
        assert db.get_second_opinions() == []
        until(db.get_quarantines)
    farm.quit()
    farm.join(patience(10))
    again = SlaveDriver(farm.config_used)
    with running(again), Slave(farm.config_used) as slave:
        slave.hello()
        assert slave.stats("IDLE") == ("SLEEP", True)
        (pause,) = again.fleet.pauses(again.clock.monotonic())
        assert "in quarantine" in pause[1]
        again.fleet.wake(pause[0])
        again._tick()
        until(lambda: not db.get_quarantines())


@pytest.mark.parametrize("place", ["_reason_to_hold", "begin", "_placed"])
def test_a_fault_in_an_intake_is_a_failed_build_once(farm, db, monkeypatch, caplog, place):
    """Otherwise the next slave would build the same version, and so on for ever."""

    def fail(*_):
        raise KeyError("six")

    monkeypatch.setattr(Intake, place, fail)
    name, content = wheel()
    with Slave(farm.config_used) as slave, Slave(farm.config_used, "other") as other:
        slave.hello().work()
        reply = slave.built(state_of(name, content))
        if reply[0] == "SEND":
            slave.send(content)
            reply = slave.say("SENT")
        assert reply == ("DONE", NoData)
        other.hello()
        assert other.stats("IDLE")[0] == "SLEEP"
    (build,) = db.get_builds([("demo", "1.0")])
    assert not build.status
    log, _ = db.get_build_log(build.build_id, 0, 10_000)
    assert "piwheels: a fault of piwheels, see the master's log: KeyError" in log
    assert "build of demo 1.0 for cp311 failed: a fault of piwheels" in caplog.text


def test_a_file_with_a_bad_hash_is_requested_again_and_then_refused(farm, db):
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
def test_a_huge_log_or_duration_ends_no_task(farm, db, log, duration):
    with Slave(farm.config_used) as slave:
        slave.hello().work()
        assert slave.built(status=False, log=log, duration=duration) == ("DONE", NoData)
    (build,) = db.get_builds([("demo", "1.0")])
    assert timedelta(0) <= build.duration <= timedelta(days=7)
    ((_, kept),) = db.get_unwritten_logs(1)
    assert 0 < len(kept.encode()) <= 15 * 2**20


def test_huge_file_data_ends_no_task(farm, db):
    name, content = wheel()
    state = state_of(name, content)
    state[9] = {"apt": ["\u20ac" * 200] * 10_000}
    with Slave(farm.config_used) as slave:
        slave.hello().work()
        assert slave.built(state, log="x" * (10 * 2**20 - 20_000)) == ("DONE", NoData)
    assert [build.status for build in db.get_builds([("demo", "1.0")])] == [False]


def test_an_invalid_report_of_a_build_is_a_failed_build(farm, db):
    name, content = wheel()
    state = state_of(name, content)
    state[9] = {"apt": ["x" * 201]}
    with Slave(farm.config_used) as slave:
        slave.hello().work()
        assert slave.built(state) == ("DONE", NoData)
    assert [build.status for build in db.get_builds([("demo", "1.0")])] == [False]
    assert "report of the build is invalid" in farm.web.take().text


def test_commands_of_operators_reach_slaves_and_consoles(farm):
    with Slave(farm.config_used) as slave:
        slave.hello()
        farm.sleep_slave(slave.id)
        until(
            lambda: "SLEEP" in farm.fleet.by_number[slave.id].commands
        )  # otherwise it may receive a build first
        assert slave.stats("IDLE") == ("SLEEP", True)
        farm.wake_slave(slave.id)
        assert slave.work() == ["demo", "1.0"]
        farm.skip_slave(None)
        until(lambda: slave.stats("BUSY") == ("DONE", NoData))
        farm.sleep_slave(None)
        until(lambda: slave.stats("IDLE") == ("SLEEP", True))
        events(farm)
        farm.pause()  # only commands to slaves count: this is for the other tasks
        farm.list_slaves()
        until(lambda: events(farm))  # it has handled both
        assert slave.stats("IDLE") == ("SLEEP", True)
        farm.wake_slave(None)
        until(lambda: slave.stats("IDLE") == ("SLEEP", False))
        events(farm)
        farm.list_slaves()
        replayed = [event[2] for event in events(farm)]
        assert replayed[0] == "HELLO"
        assert replayed[-1] == "SLEEP"
        assert set(replayed[1:-1]) == {"STATS"}
        farm.kill_slave(slave.id)
        until(lambda: slave.stats("IDLE") == ("DIE", NoData))
        assert "DIE" in [event[2] for event in events(farm)]


def test_a_replay_reaches_the_last_slave_despite_repeated_requests(farm, monkeypatch):
    monkeypatch.setattr("piwheels.master.slave_driver.REPLAY_BURST", 2)
    boards = [Slave(farm.config_used, f"board {number}").hello() for number in range(9)]
    events(farm)
    for _ in range(20):
        farm.list_slaves()
        time.sleep(0.001)
    greeted = [event[0] for event in events(farm) if event[2] == "HELLO"]
    assert greeted[:9] == [board.id for board in boards]
    assert greeted[-9:] == [board.id for board in boards]
    assert 9 <= len(greeted) <= 9 * 20
    for board in boards:
        board.socket.close()


def test_a_deleted_version_is_not_built(farm):
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


def test_a_slave_resumes_its_build_from_a_new_address(farm):
    with Slave(farm.config_used) as first:
        first.hello().work()
    with Slave(farm.config_used, resume=["demo", "1.0"]) as again:
        again.hello()
        assert again.stats("BUSY") == ("CONT", NoData)
        assert again.built(status=False) == ("DONE", NoData)


def test_an_unknown_slave_of_level_1_says_hello_again_and_keeps_its_build(farm):
    until(lambda: farm.fleet.queue.rows)
    with Slave(farm.config_used, identity=LEVEL_1_ID + b"1") as slave:
        assert slave.stats("BUSY") == ("HELLO", NoData)
        slave.features = {"resume": ["demo", "1.0"]}
        slave.hello()
        assert slave.stats("BUSY") == ("CONT", NoData)


def test_a_refused_slave_of_level_1_receives_the_reason(farm):
    with Slave(farm.config_used, identity=LEVEL_1_ID + b"1", level=1) as slave:
        slave.hello()
        assert slave.say("SENT") == ("REFUSED", "SENT is out of order (idle)")
        msg, why = slave.say("HELLO", "nonsense")
        assert (msg, "bad HELLO" in why) == ("REFUSED", True)


def test_each_request_calls_its_documented_method(farm, monkeypatch):
    """A breakpoint in a ``do_`` method is reached by each request."""
    calls = []
    for request in slave_driver.recv:
        name = f"do_{request.lower()}"
        original = getattr(SlaveDriver, name)

        def record(self, slave, request=request, original=original):
            calls.append((request, slave.request))
            return original(self, slave)

        monkeypatch.setattr(SlaveDriver, name, record)
    name, content = wheel()
    with Slave(farm.config_used, level=1) as slave:
        assert slave.hello().stats("WAIT") == ("SLEEP", False)
        slave.work()
        slave.stats("BUSY")
        slave.say("OUTPUT", [0, "text"])
        slave.built(state_of(name, content))
        slave.send(content)
        slave.say("SENT")
        slave.socket.send(codec.dumps("BYE"))
        until(lambda: ("BYE", "BYE") in calls)
    assert set(calls) == {(request, request) for request in slave_driver.recv}


def test_an_effect_without_a_case_is_an_error(farm):
    with pytest.raises(AssertionError, match="Expected code to be unreachable"):
        farm._perform(["no effect"])


def test_a_lease_lasts_at_most_as_long_as_a_slave_may_be_silent():
    """The wall clock may have been a year ahead when the lease was granted."""
    leases = [
        Lease("a", "1", *CP311, "board", NOW, NOW + timedelta(days=days)) for days in (-1, 365)
    ]
    a_day = 24 * 3600
    assert [_remaining([lease], NOW) for lease in leases] == [
        {("a", "1", CP311): -a_day},
        {("a", "1", CP311): a_day},
    ]


def test_a_version_leased_by_an_earlier_master_is_not_handed_out_again(
    with_db, db, running, other_end
):
    db.add_build_abi("cp311")
    db.add_new_package("demo")
    db.add_new_package_version("demo", "1.0", datetime.now(UTC))
    soon = datetime.now(UTC) + timedelta(seconds=60)
    assert db.grant_lease("demo", "1.0", CP311, "board", soon)
    object.__setattr__(with_db, "pypi_simple", "https://index.example/simple")
    other_end(with_db, "events")
    driver = SlaveDriver(with_db)
    with running(driver), Slave(with_db, label="other") as slave:
        queue_up(with_db, ("demo", "1.0"))
        slave.hello()
        until(lambda: driver.fleet.queue.rows)
        assert slave.stats("IDLE") == ("SLEEP", False)
        with Slave(with_db, resume=["demo", "1.0"]) as builder:
            builder.hello()
            assert builder.stats("BUSY") == ("CONT", NoData)


# Hostile input ------------------------------------------------------------------------------------

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
def isolated():
    """A SlaveDriver without other tasks, except a database without quarantines and leases."""
    config = own_config(pypi_simple="https://index.example/simple")
    driver = SlaveDriver(config)
    driver.start()
    with open_socket(wire("database"), config, LOGGER, bind=True) as database:
        request = b""
        while b"get_leases" not in request:
            peer, ticket, request = database.recv_multipart()
            database.send_multipart([peer, ticket, codec.dumps("OK", [])])
        yield driver
    driver.quit()
    driver.join(patience(10))
    assert driver.failure is None
    assert not driver.is_alive()


def test_the_sentinel_learns_of_the_slaves_and_of_lost_ones(make_config, other_end):
    config = make_config(pypi_simple="https://index.example/simple")
    driver, sentinel = SlaveDriver(config), other_end(config, "monitor")
    try:
        info = [timedelta(hours=1), timedelta(minutes=5), "311", "cp311", "linux_x86_64"]
        for address, label in ((b"a", "here"), (b"b", "lost")):
            more = [label, "Debian", "12", "", ""]
            hello = slave_driver.received("HELLO", [*info, *more])
            slave, _ = driver.fleet.receive(address, "HELLO", hello, driver._instant())
            driver.do_hello(slave)
        slave.heard -= 1e6
        driver._tick()
        assert sentinel.take() == FleetSeen({"idle": 1}, [LostSlave(slave.slave_id, "lost")])
        driver._tick()
        assert sentinel.take() == FleetSeen({"idle": 1}, [])
    finally:
        driver.close()


def test_the_sentinel_learns_of_suspended_slaves_and_of_faults_of_the_farm(make_config, other_end):
    config = make_config(pypi_simple="https://index.example/simple")
    driver, sentinel = SlaveDriver(config), other_end(config, "monitor")
    try:
        info = [timedelta(hours=1), timedelta(minutes=5), "311", "cp311", "linux_x86_64"]
        hello = slave_driver.received("HELLO", [*info, "pi", "Debian", "12", "", ""])
        slave, _ = driver.fleet.receive(b"a", "HELLO", hello, driver._instant())
        build = BuildState(1, "demo", "1.0", "cp311", False, timedelta(0), "", {})
        build.platform, build.diagnosis = "linux_x86_64", Diagnosis("disk-full")
        driver._perform(
            [
                effects.ReportPause(slave, "disk full", "gets no work"),
                effects.ReportPause(slave, "disk full", ""),  # another slave of its owner
                effects.ReportPause(None, "no room on the site", "no work"),
                effects.ReportRow(build, ["a", "b", "c"]),
            ]
        )
        assert sentinel.take() == SlaveSuspended(slave.slave_id, "pi", "disk full")
        assert sentinel.take() == RowFailed(
            "demo", "1.0", "linux_x86_64", "cp311", ["a", "b", "c"], "disk-full",
            build.diagnosis.sentence,
        )  # fmt: skip
    finally:
        driver.close()


def test_a_target_without_a_slave_is_reported(farm, db, other_end, monkeypatch, caplog):
    monkeypatch.setattr("piwheels.master.logic.unserved.UNSERVED", timedelta(0))
    db.add_targets([Target("linux_riscv64", "cp311")])
    sentinel = other_end(farm.config_used, "monitor")
    with Slave(farm.config_used) as slave:
        slave.hello().work()
        slave.built(status=False)
        until(lambda: any(row.pending for row in db.get_targets()))
        farm._read_targets()
        until(lambda: isinstance(seen := sentinel.take(), TargetsSeen) and seen.late and seen)
    assert "linux_riscv64/cp311 has 1 version to build, and no slave: start one" in caplog.text


BOARD = Target("linux_armv7l", "cp311")


def active(db):
    return {Target(row.platform, row.abi_tag) for row in db.get_targets() if not row.skip}


def greeting(config, *platforms):
    return Slave(config, level=1, offers=[["311", "cp311", each] for each in platforms])


def known(driver):
    return {Target(row.platform, row.abi_tag): row.skip for row in driver.targets}


def test_the_abilities_of_all_slaves_for_a_target_count(farm):
    client = Connected(farm.config_used, "fleet")
    other, size = Target("linux_x86_64", "cp313"), 2**30
    offers = [["311", "cp311", "linux_x86_64"], ["313", "cp313", "linux_x86_64"]]
    with (
        Slave(farm.config_used, "one", level=1, recipes=["apt", "wings"], memory=size) as one,
        Slave(farm.config_used, "two", level=1, recipes=["hosts"], offers=offers) as two,
    ):
        assert client.call(ListAbilities()) == []
        one.hello()
        two.hello()
        assert client.call(ListAbilities()) == [
            Ability(*CP311, ["apt", "hosts"], size, ""), Ability(*other, ["hosts"], 0, ""),
        ]  # fmt: skip
    client.close()


def test_the_targets_of_a_slave_are_added_if_that_is_wanted(farm, db, caplog):
    caplog.set_level("INFO")
    until(lambda: farm.targets)
    before = active(db)
    with greeting(farm.config_used, "linux_armv7l", "linux_x86_64") as board:
        board.hello().work()
    assert active(db) == before
    object.__setattr__(farm.config_used, "targets_of_slaves", True)
    with greeting(farm.config_used, "linux_armv7l", "linux_x86_64") as board:
        board.hello()
        until(lambda: known(farm).keys() == {*before, BOARD, CP311})
    assert f"builds for {BOARD} from now on: slave {board.id} (board) offers it" in caplog.text


@pytest.mark.parametrize(("reason", "comes_back"), [(NO_SLAVE, True), ("too slow", False)])
def test_only_a_target_that_no_operator_has_retired_comes_back(farm, db, reason, comes_back):
    db.add_targets([BOARD])
    db.retire_targets([BOARD], reason)
    farm._read_targets()
    until(lambda: known(farm).get(BOARD) == reason)
    object.__setattr__(farm.config_used, "targets_of_slaves", True)
    with greeting(farm.config_used, "linux_armv7l", "linux_riscv64") as board:
        board.hello()
        until(lambda: Target("linux_riscv64", "cp311") in active(db))
        assert (BOARD in active(db)) == comes_back


def test_targets_are_added_later_if_the_database_fails(farm, db, monkeypatch, caplog):
    def fail(*_):
        raise DatabaseError("it hangs")

    object.__setattr__(farm.config_used, "targets_of_slaves", True)
    with monkeypatch.context() as failing:
        failing.setattr(Database, "add_targets", fail)
        with greeting(farm.config_used, "linux_armv7l") as board:
            board.hello()
            until(lambda: "targets of slaves are added later: it hangs" in caplog.text)
            failing.undo()
            farm._read_targets()
            until(lambda: BOARD in active(db))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(FRAMES, min_size=1, max_size=4), min_size=1, max_size=6), st.booleans())
@example([[b""]], False)
@example([[b"", b"", b""]], False)
@example([[b"1", b"", b"\xff"], [b"257", b"", b""], [b"1", b"1", b"", b""]], False)
@example([[b"\x9f" * 1000]], True)
@example([[b"x" * MAX_FRAME]], True)
def test_a_valid_slave_is_welcomed_despite_hostile_messages(isolated, messages, well_framed):
    config = isolated.config
    with zmq.Context.instance().socket(zmq.DEALER) as hostile:
        hostile.linger = 0
        hostile.connect(config.slave_queue)
        for frames in messages:
            hostile.send_multipart([b"", *frames[:1]] if well_framed else frames)
        with Slave(config) as slave:
            slave.hello()
            assert slave.stats("IDLE")[0] == "SLEEP"
            slave.socket.send(codec.dumps("BYE"))
    assert isolated.is_alive()


@pytest.mark.parametrize("method", ["do_built", "answered"])
def test_a_bug_at_one_build_ends_only_its_session(method, farm, monkeypatch, caplog):
    def buggy(*_):
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch, Slave(farm.config_used) as slave:
        slave.hello().work()
        patch.setattr(type(farm.fleet), method, buggy)
        slave.socket.send(codec.dumps("BUILT", [False, timedelta(0), "it broke\n", []]))
        until(lambda: "RuntimeError: a bug" in caplog.text)
    with Slave(farm.config_used, label="other") as slave:
        slave.hello()
