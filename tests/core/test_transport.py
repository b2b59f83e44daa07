"""Sockets: waits in seconds, validated messages, and BadMessage for any invalid input."""

import logging
import time
import uuid
from datetime import timedelta
from pathlib import Path

import cbor2
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from helpers import patience
from piwheels.core import transport
from piwheels.core.errors import BadMessage, Fatal, Unavailable
from piwheels.core.protocols import NoData, Protocol
from piwheels.core.transport import Context, Poller, Socket, join_address, split_address

TALK = Protocol(recv={"ADD": int, "END": type(NoData)}, send={"SUM": int})


@pytest.fixture
def pair():
    """Return a maker of connected sockets: kinds and protocols of the binding and the other."""
    made = []

    def make(kind, other, protocol=None, others=None, hwm=None):
        address = f"inproc://{uuid.uuid4().hex}"
        first, second = Context().socket(kind, protocol), Context().socket(other, others)
        made.extend((first, second))
        for socket in (first, second):
            if hwm is not None:
                socket.hwm = hwm
        first.bind(address)
        second.connect(address)
        return first, second

    yield make
    for socket in made:
        socket.close()


def test_messages_are_checked_when_sent_and_when_received(pair):
    server, client = pair(zmq.ROUTER, zmq.REQ, TALK, reversed(TALK))
    client.send_msg("ADD", 3)
    addr, msg, data = server.recv_addr_msg()
    assert (msg, data) == ("ADD", 3)
    server.send_addr_msg(addr, "SUM", 4)
    assert client.recv_msg() == ("SUM", 4)
    with pytest.raises(BadMessage):
        client.send_msg("SUM", 4)
    client.send_msg("END")
    assert server.recv_addr_msg()[1:] == ("END", NoData)


def test_each_lane_of_a_peer_has_an_address(pair):
    server, client = pair(zmq.ROUTER, zmq.DEALER, TALK, reversed(TALK))
    for lane in (0, 1, 256):
        client.send_lane_msg(lane, "ADD", lane)
        address, _, number = server.recv_addr_msg()
        assert number == lane
        server.send_addr_msg(address, "SUM", lane + 1)
        assert client.recv_lane_msg() == (lane, "SUM", lane + 1)


@pytest.mark.parametrize("lane", [b"0", b"01", b"257", b"1000", b"-1", b"+1", b" 1", b"x", b"1\n"])
def test_a_hostile_lane_is_a_bad_message_of_its_peer(pair, lane):
    server, client = pair(zmq.ROUTER, zmq.DEALER, TALK)
    client.send_multipart([b"", cbor2.dumps("END")])
    peer = server.recv_addr_msg()[0]
    client.send_multipart([lane, b"", cbor2.dumps("END")])
    with pytest.raises(BadMessage, match="3 frames") as caught:
        server.recv_addr_msg()
    assert caught.value.address == peer


@given(
    st.lists(st.sampled_from([b"/", b"1", b"0", b"256", b"257", b"x"]), min_size=1).map(b"".join),
    st.sampled_from([b"", b"1", b"256"]),
)
def test_an_address_is_of_one_peer_and_lane(peer, lane):
    address = join_address(peer, lane)
    assert split_address(address) == ([peer, lane] if lane else [peer])
    assert address == peer or b"/" in address


def test_a_bad_message_names_the_peer(pair):
    server, client = pair(zmq.ROUTER, zmq.DEALER, TALK)
    for frames in ([b"", b"\xff"], [b"x", cbor2.dumps(["ADD", 1])], [cbor2.dumps("END")], [b""]):
        client.send_multipart(frames)
        with pytest.raises(BadMessage) as caught:
            server.recv_addr_msg()
        assert caught.value.address
    client.send_multipart([b"", cbor2.dumps(["ADD", True])])
    with pytest.raises(BadMessage, match="whole number"):
        server.recv_addr_msg()


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4))
def test_any_bytes_are_a_message_or_a_bad_message_on_a_socket(frames):
    address = f"inproc://{uuid.uuid4().hex}"
    with Context().socket(zmq.PULL, TALK) as pull, Context().socket(zmq.PUSH) as push:
        pull.bind(address)
        push.connect(address)
        push.send_multipart(frames)
        try:
            assert pull.recv_msg()[0] in TALK.recv
        except BadMessage as exc:
            assert str(exc)  # noqa: PT017 (both outcomes are good)


def test_waits_are_in_seconds_and_drain_empties(pair):
    pull, push = pair(zmq.PULL, zmq.PUSH)
    begin = time.monotonic()
    assert pull.poll(0.1) is False
    assert time.monotonic() - begin >= 0.09
    assert pull.poll(-1) is False  # a deadline that has passed is no reason to wait for ever
    for number in range(5):
        push.send_msg("ADD", number)
    assert pull.poll(patience(1)) is True
    assert push.poll(1, zmq.POLLOUT) is True
    pull.drain()
    assert pull.poll(0) is False


def test_the_high_water_mark_holds(pair):
    pull, push = pair(zmq.PULL, zmq.PUSH, hwm=2)
    assert pull.hwm == push.hwm == 2
    taken = 0
    while push.poll(0, zmq.POLLOUT):
        push.send_msg("ADD", 1, zmq.DONTWAIT)
        taken += 1
    assert taken == 4  # two at each end
    with pytest.raises(Unavailable):
        push.send_msg("ADD", 1, zmq.DONTWAIT)
    pull.drain()


def test_queued_messages_are_sent_within_the_linger_time(tmp_path):
    address = f"ipc://{tmp_path}/folder/socket"
    with Context().socket(zmq.PULL) as pull:
        pull.bind(address)
        assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700
        assert pull.address == address
        with Context().socket(zmq.PUSH) as push:
            push.connect(address)
            push.send_msg("END")
            push.close(linger=2)
        assert pull.poll(patience(2))


def test_subscriptions(pair):
    pub, sub = pair(zmq.PUB, zmq.SUB)

    def heard(topic):
        pub.send_multipart([topic])
        return sub.poll(0.02) and sub.recv_multipart() == [topic]

    sub.subscribe("b")
    assert any(heard(b"b") for _ in range(50))
    sub.unsubscribe("b")
    sub.subscribe("a")
    assert any(heard(b"a") for _ in range(50))
    sub.drain()
    assert not heard(b"b")


def test_frames_have_a_maximum_size():
    with Context().socket(zmq.PULL) as pull, zmq.Context.instance().socket(zmq.PUSH) as push:
        pull.bind("tcp://127.0.0.1:*")
        pull.setsockopt(zmq.MAXMSGSIZE, 1000)
        push.linger = 0
        push.connect(pull.address)
        push.send(b"x" * 10_000_000)
        assert not pull.poll(0.2) or len(pull.recv_multipart()[0]) <= 16 * 2**20
    with Context().socket(zmq.PULL) as pull:
        assert pull._socket.getsockopt(zmq.MAXMSGSIZE) == 16 * 2**20


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("tcp://192.0.2.1:5555", "not an address of this machine"),
        ("ipc:///proc/none/socket", "cannot make the folder"),
        ("ipc:///tmp/" + "x" * 200, "shorter"),
        ("carrier-pigeon://x", "cannot listen"),
        ("tcp://127.0.0.1:port", "cannot listen"),
    ],
)
def test_an_unusable_address_is_reported_in_a_sentence(address, words):
    with Context().socket(zmq.PULL) as socket, pytest.raises(Fatal, match=words):
        socket.bind(address)


def test_an_address_in_use_and_an_invalid_one():
    with Context().socket(zmq.PULL) as first, Context().socket(zmq.PULL) as second:
        first.bind("tcp://127.0.0.1:*")
        with pytest.raises(Fatal, match="in use"):
            second.bind(first.address)
        with pytest.raises(Fatal, match="cannot connect"):
            second.connect("nowhere")


def test_a_poller_returns_our_sockets(pair):
    pull, push = pair(zmq.PULL, zmq.PUSH)
    poller = Poller()
    poller.register(pull)
    assert poller.poll(0) == {}
    assert poller.poll(-1) == {}
    assert poller.poll(0.05) == {}
    push.send_msg("END")
    assert poller.poll(patience(1)) == {pull: zmq.POLLIN}
    poller.unregister(pull)
    assert poller.poll(0) == {}


def test_messages_are_logged_at_debug_level(caplog):
    address = f"inproc://{uuid.uuid4().hex}"
    logger = logging.getLogger("toy")
    with (
        caplog.at_level(logging.DEBUG, "toy"),
        Context().socket(zmq.PULL, None, logger) as pull,
        Context().socket(zmq.PUSH, None, logger) as push,
    ):
        pull.bind(address)
        push.connect(address)
        push.send_msg("LOG", ["x" * 100_000, timedelta(1)])
        assert pull.recv_msg()[1][1] == timedelta(1)
    said = [record.getMessage() for record in caplog.records]
    assert [line.split()[:2] for line in said] == [["sent", "LOG"], ["received", "LOG"]]
    assert max(map(len, said)) < 200
    assert isinstance(pull, Socket)


def test_the_end_of_a_monitor_leaves_all_other_sockets_alive():
    for _ in range(5):
        with Context().socket(zmq.ROUTER) as router, Context().socket(zmq.DEALER) as dealer:
            router.bind("tcp://127.0.0.1:*")
            with dealer.monitor(zmq.EVENT_ALL) as monitor:
                dealer.connect(router.address)
                assert monitor.poll(patience(1))
                dealer.send_multipart([b"x"])
                assert router.poll(patience(1))
            router.close()  # an event that no one receives
            assert dealer.poll(0.05) is False
    with Context().socket(zmq.PULL) as pull, Context().socket(zmq.PUSH) as push:
        pull.bind("tcp://127.0.0.1:*")
        push.connect(pull.address)
        push.send_multipart([b"alive"])
        assert pull.poll(patience(2))


def test_a_listener_is_not_replaced_by_a_second_one(short_dir):
    address = f"ipc://{short_dir}/door"
    with Context().socket(zmq.PULL) as first:
        first.bind(address)
        with Context().socket(zmq.PULL) as second, pytest.raises(Fatal, match="is in use"):
            second.bind(address)
        with Context().socket(zmq.PUSH) as peer:
            peer.connect(address)
            peer.send_msg("HELLO")
            assert first.poll(patience(2))
    # The remains of a closed listener are in no one's way.
    with Context().socket(zmq.PULL) as third:
        third.bind(address)


def test_the_system_notices_a_lost_connection_and_no_heartbeat_does():
    with Context().socket(zmq.DEALER) as socket:
        raw = socket._socket
        assert raw.getsockopt(zmq.HEARTBEAT_IVL) == 0
        assert raw.getsockopt(zmq.TCP_KEEPALIVE) == 1
        idle, pause, count = (
            raw.getsockopt(option)
            for option in (zmq.TCP_KEEPALIVE_IDLE, zmq.TCP_KEEPALIVE_INTVL, zmq.TCP_KEEPALIVE_CNT)
        )
        assert idle + pause * count == 30
        assert raw.getsockopt(zmq.TCP_MAXRT) == 30_000
        socket.lost_after(8)
        assert raw.getsockopt(zmq.TCP_KEEPALIVE_IDLE) == 2
        assert raw.getsockopt(zmq.TCP_MAXRT) == 8_000


def test_no_other_module_makes_sockets_or_heartbeats():
    package = Path(transport.__file__).parents[1]
    for path in package.rglob("*.py"):
        text = path.read_text()
        assert "zmq.HEARTBEAT" not in text, path
        if path.name not in ("transport.py", "ports.py"):  # ports.py wraps its own in a Socket
            assert ".Context.instance()" not in text, path
