"""FileJuggler publishes files completely or not at all, whatever its sockets receive."""

import hashlib
import os
import time
import uuid
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clocks import STEPS, StepClock
from helpers import LOGGER, patience, until, wire
from hostile.slaves import PROMISES
from peers import Files
from piwheels.core import codec
from piwheels.core.errors import Refused
from piwheels.core.states import FileState
from piwheels.core.transfers import CHUNK_SIZE, CREDIT, FIRST_CHUNK, MIN_CHUNK
from piwheels.core.transport import Context
from piwheels.core.wheels import built
from piwheels.master.file_juggler import FileJuggler
from piwheels.master.incoming_file import IncomingFile
from piwheels.master.messages import VerifyFile
from piwheels.master.ports import open_socket
from slow_link import SlowLink
from wheels import zip_wheel

NAME = "Some_Thing-1.0-py3-none-any.whl"
METADATA = b"Metadata-Version: 2.1\nName: some.thing\nVersion: 1.0\nRequires-Python: >=3.9\n\n"


def wheel(blob=b"x" * 10, metadata=METADATA):
    info = "some_thing-1.0.dist-info"
    about = {f"{info}/METADATA": metadata, f"{info}/WHEEL": "Wheel-Version: 1.0\n"}
    return zip_wheel({"some_thing/blob": blob, **about}, info)


def state_of(content, name=NAME, **changes):
    state = FileState(
        name,
        len(content),
        hashlib.sha256(content).hexdigest(),
        "Some_Thing",
        "1.0",
        "py3",
        "none",
        "any",
        None,
        {},
    )
    for key, value in changes.items():
        setattr(state, key, value)
    return state


class Slave:
    """The slave's side of the file wire, as the protocol defines it."""

    def __init__(self, address):
        self.socket = Context().socket(zmq.DEALER)
        self.socket.connect(address)

    def send(self, *frames):
        self.socket.send_multipart([f if isinstance(f, bytes) else str(f).encode() for f in frames])

    def receive(self, timeout=30):
        return self.socket.recv_multipart() if self.socket.poll(patience(timeout)) else None

    def transfer(self, slave_id, content):
        self.send("HELLO", slave_id)
        while (received := self.receive()) not in (None, [b"DONE"]):
            start, length = int(received[1]), int(received[2])
            self.send("CHUNK", start, content[start : start + length])
        assert received == [b"DONE"]


@pytest.fixture
def config(make_config, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    return make_config(output_path=site, file_queue="tcp://127.0.0.1:*")


@pytest.fixture
def running(config):
    """A running FileJuggler, a client that sends it requests, and a slave that sends it files."""
    stats = open_socket(wire("stats"), config, LOGGER, bind=True)
    juggler = FileJuggler(config)
    slave = Slave(juggler.ports.socket("file").address)
    fs = Files(config)
    juggler.start()
    yield SimpleNamespace(juggler=juggler, slave=slave, fs=fs, stats=stats)
    juggler.quit()
    juggler.join(patience(10))
    slave.socket.close()
    fs.close()
    stats.close()
    assert juggler.failure is None
    assert not list(config.work_path.glob("*"))


@contextmanager
def without_thread(config):
    """A FileJuggler without a thread: the test runs its loop."""
    juggler = FileJuggler(config)
    slave = Slave(juggler.config.file_queue)
    try:
        yield juggler, slave
    finally:
        slave.socket.close()
        juggler.close()


@pytest.fixture
def unthreaded(config):
    with without_thread(replace(config, file_queue=f"inproc://file-{uuid.uuid4().hex}")) as (
        juggler,
        slave,
    ):
        yield juggler, slave


def run_loop(juggler):
    while juggler.ports.socket("file").poll(0):
        juggler.poll(0)


def received(slave):
    return list(iter(lambda: slave.receive(0), None))


def tree(root):
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}


def refused(code):
    return pytest.raises(Refused, check=lambda exc: exc.code == code)


def test_a_file_is_published_with_its_metadata(running, config):
    content = wheel(os.urandom(3 * CHUNK_SIZE * CREDIT + 5))
    running.fs.expect(5, state_of(content))
    running.slave.transfer(5, content)
    assert running.fs.verify(5, "some-thing") == {
        "filename": NAME,
        "metadata_hash": hashlib.sha256(METADATA).hexdigest(),
        "requires_python": ">=3.9",
    }
    folder = config.output_path / "simple/some-thing"
    assert (folder / NAME).read_bytes() == content
    assert (folder / f"{NAME}.metadata").read_bytes() == METADATA
    with refused("UNKNOWN"):
        running.fs.verify(5, "some-thing")


def test_a_file_may_be_published_under_a_build_tag(running, config):
    content = wheel()
    target = "Some_Thing-1.0-2-py3-none-any.whl"
    running.fs.expect(5, state_of(content), target)
    running.slave.transfer(5, content)
    assert running.fs.verify(5, "some-thing")["filename"] == target
    assert tree(config.output_path) == {
        f"simple/some-thing/{target}",
        f"simple/some-thing/{target}.metadata",
    }


def test_a_file_with_a_bad_hash_can_be_sent_again(running, config):
    good, bad = wheel(b"good"), wheel(b"evil")
    for content, expected in [(bad, False), (good, True)]:
        running.fs.expect(5, state_of(good))
        running.slave.transfer(5, content)
        if expected:
            running.fs.verify(5, "some-thing")
        else:
            with refused("BADHASH"):
                running.fs.verify(5, "some-thing")
            assert tree(config.output_path) == set()
            assert tree(config.work_path) == set()
    assert (config.output_path / "simple/some-thing" / NAME).read_bytes() == good


@pytest.mark.parametrize(
    ("content", "package"),
    [
        (b"no zip at all", "some-thing"),
        (b"", "some-thing"),
        (wheel(), "other-thing"),
        (wheel(blob=b"\x7fELF\2\1\1"), "some-thing"),  # for any machine
        (wheel(metadata=METADATA.replace(b"some.thing", b"other")), "some-thing"),
        (wheel(metadata=METADATA.replace(b"1.0", b"1.1")), "some-thing"),
    ],
)
def test_a_file_that_is_not_a_wheel_of_the_package_is_refused(running, config, content, package):
    running.fs.expect(5, state_of(content))
    running.slave.transfer(5, content)
    with refused("BADWHEEL"):
        running.fs.verify(5, package)
    assert tree(config.output_path) == set()
    assert tree(config.work_path) == set()


def test_an_incomplete_file_does_not_verify(running, config):
    content = wheel()
    running.fs.expect(5, state_of(content))
    with refused("BADHASH"):
        running.fs.verify(5, "some-thing")
    assert tree(config.work_path) == set()


def test_several_slaves_can_send_at_the_same_time(running, config):
    contents = {n: wheel(os.urandom(CHUNK_SIZE * 2 + n)) for n in range(1, 6)}
    slaves = {n: Slave(running.juggler.ports.socket("file").address) for n in contents}
    for n, content in contents.items():
        running.fs.expect(n, state_of(content), f"Some_Thing-1.0-{n}-py3-none-any.whl")
        slaves[n].send("HELLO", n)
    waiting = set(contents)
    while waiting:
        for n in list(waiting):
            msg, *place = slaves[n].receive()
            if msg == b"DONE":
                waiting.discard(n)
            else:
                start, length = map(int, place)
                slaves[n].send("CHUNK", start, contents[n][start : start + length])
    asked = [running.fs.ask(VerifyFile(n, "some-thing")) for n in contents]
    until(lambda: running.fs.all(*asked))
    assert [result.error for [result] in asked] == [None] * len(contents)
    assert len(tree(config.output_path)) == 10
    for slave in slaves.values():
        slave.socket.close()


def test_disk_space_is_reported(running):
    disk = running.stats.recv()
    assert disk.size > disk.free > 0


def test_invalid_requests_are_answered(running):
    bad = VerifyFile(1, "some-thing")
    for data in ([1], [-1, "some-thing"], [1, "../etc"], None):
        object.__setattr__(bad, "frame", partial(codec.dumps, "VerifyFile", data))
        with pytest.raises(Refused):
            running.fs.call(bad)


def test_an_oversized_frame_closes_only_its_connection(running, config):
    content = wheel()
    running.fs.expect(5, state_of(content))
    rude = Slave(running.juggler.ports.socket("file").address)
    rude.send("HELLO", 5)
    rude.receive()
    rude.send("CHUNK", 0, bytes(40 * 2**20))
    rude.socket.close()
    running.juggler.takeover = 0.0
    running.slave.transfer(5, content)
    running.fs.verify(5, "some-thing")


# Expected files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "changes", "target"),
    [
        ("TOOBIG", {"filesize": 2**31 + 1}, None),
        ("BADWHEEL", {}, "Other-1.0-py3-none-any.whl"),
        ("BADWHEEL", {}, "Some_Thing-1.1-py3-none-any.whl"),
    ],
)
def test_an_invalid_expectation_is_refused(unthreaded, code, changes, target):
    juggler, _ = unthreaded
    with refused(code):
        juggler.do_expect(1, state_of(b"x", **changes), target)
    assert not juggler.pending


def test_a_full_disk_is_reported_before_the_transfer(unthreaded, monkeypatch):
    juggler, _ = unthreaded
    monkeypatch.setattr(juggler, "reserve", 2**62)
    with refused("NOROOM"):
        juggler.do_expect(1, state_of(b"x"))
    assert tree(juggler.site.work) == set()


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.name)
def test_promises_of_one_owner_leave_room_for_others(unthreaded, monkeypatch, promise):
    juggler, _ = unthreaded
    free = int(promise.room * 2**30) + juggler.reserve
    disk = SimpleNamespace(f_blocks=1, f_bavail=free, f_frsize=1)
    monkeypatch.setattr("piwheels.master.file_juggler.os.statvfs", lambda _: disk)
    for number, (size, code) in enumerate(zip(promise.sizes, promise.refused, strict=True), 1):
        announced = state_of(b"x", filesize=int(size * 2**30))
        with refused(code) if code else nullcontext():
            juggler.do_expect(number, announced, owner="eve")
    juggler.do_expect(1000, state_of(b"x"), owner="anna")
    for number in list(juggler.pending):
        juggler._drop(number)
    assert tree(juggler.site.work) == set()
    assert juggler._free_space() == free


def test_a_slow_transfer_is_abandoned(unthreaded, caplog):
    juggler, _ = unthreaded
    juggler.do_expect(1, state_of(b"x" * 40_000))
    for age, ends in ((juggler.patience + 9, False), (2, True)):
        juggler.pending[1].began -= age
        juggler.expire()
        assert (1 not in juggler.pending) == ends
    assert "did not arrive within 310 s" in caplog.text


def test_a_write_error_is_reported_at_verification(unthreaded):
    juggler, slave = unthreaded
    juggler.do_expect(1, state_of(b"xyz"))
    juggler.pending[1].file.close()
    juggler.pending[1].file = os.fdopen(os.open("/dev/full", os.O_RDWR), "r+b", buffering=0)
    slave.send("HELLO", 1)
    run_loop(juggler)
    slave.send("CHUNK", 0, b"xyz")
    run_loop(juggler)
    assert received(slave)[-1] == [b"DONE"]
    with refused("NOROOM"):
        juggler.do_verify(1, "some-thing")
    assert tree(juggler.site.work) == set()


def test_a_new_expectation_replaces_the_old_one(unthreaded):
    juggler, slave = unthreaded
    juggler.do_expect(1, state_of(bytes(100)))
    slave.send("HELLO", 1)
    run_loop(juggler)
    juggler.do_expect(1, state_of(bytes(50)))
    assert len(tree(juggler.site.work)) == 1
    assert not juggler.transfers
    slave.send("HELLO", 1)
    run_loop(juggler)
    assert received(slave) == [[b"FETCH", b"0", b"100"], [b"FETCH", b"0", b"50"]]


# Sequence, silence and expiry ------------------------------------------------------------------


def fetched(slave):
    return [int(start) for _, start, _ in received(slave)]


def test_a_second_hello_fetches_the_missing_chunks_only_when_they_must_be_lost(unthreaded):
    juggler, slave = unthreaded
    clock = juggler.clock = StepClock()
    juggler.do_expect(1, state_of(bytes(2 * FIRST_CHUNK)))
    slave.send("HELLO", 1)
    run_loop(juggler)
    assert fetched(slave) == [0]
    clock.advance(5)  # a slow link
    slave.send("CHUNK", 0, bytes(FIRST_CHUNK))
    run_loop(juggler)
    assert fetched(slave) == [FIRST_CHUNK + start for start in range(0, FIRST_CHUNK, MIN_CHUNK)]
    slave.send("CHUNK", FIRST_CHUNK, bytes(MIN_CHUNK))
    for _ in range(3):
        slave.send("HELLO", 1)
        run_loop(juggler)
        clock.advance(5)
    assert fetched(slave) == []
    clock.advance(150)
    slave.send("HELLO", 1)
    run_loop(juggler)
    assert fetched(slave) == [2 * FIRST_CHUNK - left * MIN_CHUNK for left in (3, 2, 1)]


def test_another_connection_fetches_the_missing_chunks_at_once(unthreaded):
    juggler, slave = unthreaded
    clock = juggler.clock = StepClock()
    other = Slave(juggler.config.file_queue)
    juggler.do_expect(1, state_of(bytes(FIRST_CHUNK * 3)))
    slave.send("HELLO", 1)
    run_loop(juggler)
    slave.send("CHUNK", 0, bytes(FIRST_CHUNK))
    run_loop(juggler)
    assert fetched(slave) == [0, FIRST_CHUNK]
    clock.advance(juggler.takeover)
    other.send("HELLO", 1)
    run_loop(juggler)
    assert fetched(other) == [FIRST_CHUNK]
    other.socket.close()


def test_a_slow_link_carries_every_byte_once(running, tmp_path, monkeypatch):
    monkeypatch.setattr(built, "HELLO_SECONDS", 0.1)  # an impatient sender
    content = wheel(os.urandom(3_000_000))
    path = tmp_path / NAME
    path.write_bytes(content)
    running.fs.expect(1, state_of(content))
    port = int(running.juggler.ports.socket("file").address.rpartition(":")[2])
    with SlowLink(port, 1_000_000) as link, Context().socket(zmq.DEALER) as queue:
        queue.hwm = 10
        queue.connect(link.address)
        sent = []
        built.Wheel(path).transfer(queue, 1, sent=sent.append)
    assert running.fs.verify(1, "some-thing")["filename"] == NAME
    assert sum(sent) <= 1.05 * len(content)


def test_another_address_takes_over_only_after_silence(unthreaded):
    juggler, slave = unthreaded
    other = Slave(juggler.config.file_queue)
    juggler.do_expect(1, state_of(b"xyz"))
    slave.send("HELLO", 1)
    run_loop(juggler)
    other.send("HELLO", 1)
    run_loop(juggler)
    assert received(other) == []
    juggler.pending[1].heard -= juggler.takeover
    other.send("HELLO", 1)
    run_loop(juggler)
    assert received(other) == [[b"FETCH", b"0", b"3"]]
    slave.send("CHUNK", 0, b"abc")  # this address has lost the transfer
    run_loop(juggler)
    assert juggler.pending[1].state.missing == 3
    other.socket.close()


def test_a_silent_transfer_expires_with_its_temporary_file(unthreaded, caplog):
    juggler, slave = unthreaded
    juggler.do_expect(1, state_of(b"xyz"))
    juggler.do_expect(2, state_of(b"xyz"))
    slave.send("HELLO", 1)
    run_loop(juggler)
    juggler.pending[1].progress -= juggler.patience + 1
    juggler.expire()
    assert list(juggler.pending) == [2]
    assert not juggler.transfers
    assert len(tree(juggler.site.work)) == 1
    assert "slave 1" in caplog.text


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_the_clock_ends_no_transfer(unthreaded, step):
    juggler, slave = unthreaded
    clock = juggler.clock = StepClock()
    content = wheel()
    juggler.do_expect(1, state_of(content))
    clock.step(step)
    slave.send("HELLO", 1)
    run_loop(juggler)
    juggler.expire()
    clock.step(-step)
    slave.send("CHUNK", 0, content)
    run_loop(juggler)
    juggler.expire()
    assert received(slave)[-1] == [b"DONE"]
    verified = []
    juggler.do_verify(1, "some-thing", verified.append)
    until(lambda: juggler._pool.run() or verified)
    assert verified[0].get()["filename"] == NAME
    juggler.do_expect(2, state_of(content))
    clock.advance(juggler.patience + 1)
    juggler.expire()
    assert not juggler.pending


def test_messages_out_of_order_are_counted_and_dropped(unthreaded):
    juggler, slave = unthreaded
    slave.send("CHUNK", 0, b"x")
    slave.send("HELLO", 1)
    slave.send("GOODBYE")
    for _ in range(3):
        run_loop(juggler)
    assert juggler.bad_messages.seen == 3
    assert received(slave) == []


# Arbitrary bytes -------------------------------------------------------------------------------

number = st.one_of(
    st.integers(-3, 2**70).map(lambda n: str(n).encode()),
    st.sampled_from(
        [
            b"1",
            b"0",
            b"2",
            b"9" * 5000,
            b"+1",
            b" 1",
            b"1_0",
            "\u0661".encode(),
            b"1.0",
            b"1\n",
            b"",
        ]
    ),
)
frame = st.one_of(
    st.sampled_from([b"HELLO", b"CHUNK", b"FETCH", b"DONE", b"", b"hello"]),
    number,
    st.binary(max_size=40),
)
message = st.one_of(
    st.lists(frame, min_size=1, max_size=6),
    st.tuples(st.just(b"HELLO"), number),
    st.tuples(st.just(b"CHUNK"), number, st.binary(max_size=120)),
    st.tuples(st.just(b"CHUNK"), st.just(b"0"), st.just(b"z" * 64)),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2), message), max_size=12))
def test_arbitrary_bytes_do_not_stop_a_valid_transfer(unthreaded, messages):
    juggler, _ = unthreaded
    clock = juggler.clock = StepClock()
    before = tree(juggler.site.root.parent)
    juggler.do_expect(1, state_of(b"y" * 64))
    juggler.do_expect(2, state_of(b"y" * 1000))
    peers = [Slave(juggler.config.file_queue) for _ in range(3)]
    try:
        for index, frames in messages:
            peers[index].send(*frames)
        deadline = time.monotonic() + patience(5)
        while juggler.ports.socket("file").poll(0) and time.monotonic() < deadline:
            juggler.poll(0)
        mine = {each.path.name: each.state.file_state.filesize for each in juggler.pending.values()}
        grown = {Path(name) for name in tree(juggler.site.root.parent) - before}
        assert {path.name for path in grown} == mine.keys()
        assert all(
            each.path.stat().st_size <= mine[each.path.name] for each in juggler.pending.values()
        )
        assert juggler.pending.keys() == {1, 2}
        assert len(juggler.transfers) <= 2
        # A valid slave can still send its file.
        clock.advance(150)  # what the messages made it request must be lost
        valid = peers[0]
        received(valid)
        valid.send("HELLO", 2)
        run_loop(juggler)
        if not juggler.pending[2].state.done:
            assert received(valid)[-1][0] == b"FETCH"
    finally:
        for slave_id in (1, 2):
            juggler._drop(slave_id)
        for peer in peers:
            peer.socket.close()


def test_a_bug_at_one_file_refuses_only_that(running, monkeypatch):
    content = wheel()
    with monkeypatch.context() as patch:
        patch.setattr(IncomingFile, "publish", lambda *_: [].nothing)
        running.fs.expect(5, state_of(content))
        running.slave.transfer(5, content)
        with refused("BADWHEEL"):
            running.fs.verify(5, "some-thing")
    running.fs.expect(5, state_of(content))
    running.slave.transfer(5, content)
    assert running.fs.verify(5, "some-thing")["filename"] == NAME
