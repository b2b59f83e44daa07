"""The relay between other programs and 0MQ: it limits what they use, and changes nothing else."""

from contextlib import suppress
from pathlib import Path

import pytest
import zmq

from helpers import LOGGER, free_port, own_config, patience, until, wire
from hostile.floods import MORE, PING, frame, greeted, plain, ready, reset
from piwheels.core.errors import Fatal
from piwheels.core.transport import Context
from piwheels.master import relay as relay_module
from piwheels.master.ports import open_socket
from piwheels.master.relay import Relay
from piwheels.master.wiring import doors, inner_config

REQUEST = frame(b"", MORE) + frame(b"x" * 20)


@pytest.fixture
def config(tmp_path):
    return own_config(
        control_queue=f"ipc://{tmp_path}/control", log_queue="ipc://@not-a-file",
        slave_queue=f"tcp://127.0.0.1:{free_port()}",
    )  # fmt: skip


@pytest.fixture
def relay(config):
    made = Relay(doors(config), None, LOGGER)
    made.start()
    yield made
    made.stop()
    assert not made.is_alive()


@pytest.fixture
def slaves(relay, config):
    """The master's socket for slaves."""
    inner = inner_config(config)
    object.__setattr__(inner, "relay", relay)
    with open_socket(wire("slave"), inner, LOGGER, bind=True) as made:
        yield made


@pytest.fixture
def control(relay, config):
    with Context().socket(zmq.PULL) as made:
        made.bind(inner_config(config).control_queue)
        yield made


def clients(relay, name):
    [listener] = [each for each in relay._listeners if each.door.wire.name == name]
    return listener.clients


def test_only_addresses_for_other_programs_are_relayed(config):
    inner = inner_config(config)
    assert inner.control_queue == f"{config.control_queue}~"
    assert inner.slave_queue.startswith("ipc://")
    assert (inner.log_queue, inner.file_queue) == (config.log_queue, config.file_queue)
    assert inner.token == config.token


@pytest.mark.parametrize("size", [100, 5 * 2**20])
def test_messages_pass_in_both_directions_whatever_their_size(slaves, config, relay, size):
    large = bytes(range(256)) * (size // 256)
    with Context().socket(zmq.DEALER) as dealer:
        dealer.connect(config.slave_queue)
        for _ in range(3):
            dealer.send_multipart([b"", large])
            assert slaves.poll(patience(10))
            address, _, got = slaves.recv_multipart()
            assert got == large
            assert slaves.peer == "127.0.0.1"
            slaves.send_multipart([address, large, b"end"])
            assert dealer.poll(patience(10))
            assert dealer.recv_multipart() == [large, b"end"]
    until(lambda: not clients(relay, "slave"))
    assert relay._shared.size == relay._shared.frames == relay._shared.large == 0


def test_the_private_sockets_are_only_for_this_user(control, config):
    for address in (config.control_queue, inner_config(config).control_queue):
        assert (Path(address.removeprefix("ipc://")).stat().st_mode & 0o777) == 0o700


def test_a_peer_that_floods_and_resets_ends_nothing(slaves, config, relay):
    with greeted(config.slave_queue, "DEALER") as flood:
        flood.settimeout(0.2)
        with suppress(TimeoutError):  # the relay reads no more than there is room for
            while True:
                flood.sendall(REQUEST * 1000 + PING * 100)
        until(lambda: relay._full)
        reset(flood)
    with greeted(config.slave_queue, "DEALER") as honest:
        honest.sendall(frame(b"", MORE) + frame(b"honest"))
        found = []
        while b"honest" not in found or slaves.poll(0.2):
            assert slaves.poll(patience(5))
            found.append(slaves.recv_multipart()[-1])
        assert 100 < len(found) < 50_000
    until(lambda: not clients(relay, "slave"))
    assert relay._shared.size == relay._shared.frames == 0


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (frame(b"x", MORE) * 10, "a message of more than 3 frames"),
        (b"\x02" + (2**40).to_bytes(8, "big"), "a frame of 1,099,511,627,776 bytes"),
        (b"\x99\x99", "no frame of ZMTP 3"),
    ],
)
def test_who_breaks_the_rules_is_cut_and_named(slaves, config, data, why, caplog):
    with greeted(config.slave_queue, "DEALER") as flood:
        flood.sendall(data)
        flood.settimeout(patience(5))
        with suppress(ConnectionError):
            while flood.recv(100):
                pass
    until(lambda: f"cut a connection of 127.0.0.1 to {config.slave_queue}: {why}" in caplog.text)


def test_a_handshake_must_end(slaves, config, relay, monkeypatch, caplog):
    monkeypatch.setattr(relay_module, "_HANDSHAKE", 0.2)
    with plain(config.slave_queue) as slow:
        slow.sendall(ready("DEALER")[:40])
        slow.settimeout(patience(5))
        while slow.recv(100):
            pass
    assert "it does not complete its handshake" in caplog.text


def test_one_process_leaves_room_for_others(control, relay, config, monkeypatch, caplog):
    [listener] = [each for each in relay._listeners if each.door.wire.name == "control"]
    listener.most = 3
    mute = [plain(config.control_queue) for _ in range(8)]
    until(lambda: "too many connections" in caplog.text)
    assert len(listener.clients) == 3
    monkeypatch.setattr(relay_module, "_place", lambda *_: ("another process", "process 7"))
    with Context().socket(zmq.PUSH) as honest:
        honest.connect(config.control_queue)
        honest.send_multipart([b"served"])
        assert control.poll(patience(20))
    assert len(listener.clients) <= 3
    for each in mute:
        each.close()


def test_a_client_that_reads_nothing_is_cut(slaves, config, monkeypatch, caplog):
    monkeypatch.setattr(relay_module, "_UNREAD", 2**20)
    with greeted(config.slave_queue, "DEALER") as mute:
        mute.sendall(REQUEST)
        assert slaves.poll(patience(5))
        address = slaves.recv_multipart()[0]
        until(
            lambda: (
                slaves.send_multipart([address, bytes(2**18)])
                or "it does not read what it gets" in caplog.text
            )
        )


def test_a_fault_at_one_connection_ends_no_other(control, relay, config, monkeypatch, caplog):
    passed, faults = relay._pass, [KeyError("six")]

    def fail_once(client, data):
        if faults:
            raise faults.pop()
        passed(client, data)

    monkeypatch.setattr(relay, "_pass", fail_once)
    with Context().socket(zmq.PUSH) as client:
        client.connect(config.control_queue)
        client.send_multipart([b"served"])
        assert control.poll(patience(10))
    assert f"a connection to {config.control_queue} has failed: KeyError" in caplog.text


def test_nobody_is_let_in_while_descriptors_are_nearly_used_up(config, relay, control, monkeypatch):
    critical = True
    monkeypatch.setattr(relay_module, "are_critical", lambda: critical)
    [listener] = [each for each in relay._listeners if each.door.wire.name == "control"]
    until(lambda: not listener.is_accepting)
    with Context().socket(zmq.PUSH) as client:
        client.connect(config.control_queue)
        client.send_multipart([b"late"])
        assert not control.poll(0.1)
        critical = False
        assert control.poll(patience(10))


def test_the_last_bytes_are_sent_before_the_end(relay, config):
    with Context().socket(zmq.PUB) as publisher, Context().socket(zmq.SUB) as subscriber:
        publisher.bind(inner_config(config).control_queue)
        subscriber.subscribe()
        subscriber.connect(config.control_queue)

        def arrives():
            publisher.send_multipart([b"first"])
            return subscriber.poll(0.05)

        until(arrives)
        subscriber.drain()
        publisher.send_multipart([b"last"])
        publisher.close(linger=1)
        relay.stop()
        until(lambda: subscriber.poll(0) and subscriber.recv_multipart() == [b"last"])


@pytest.mark.parametrize("name", ["control", "slave"])
def test_an_address_that_is_in_use_is_named(relay, config, name):
    address = getattr(config, f"{name}_queue")
    with pytest.raises(Fatal, match=f"{address} is in use: stop the program that uses it"):
        Relay([each for each in doors(config) if each.wire.name == name], None, LOGGER)
