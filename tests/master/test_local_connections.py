"""The relay between local programs and 0MQ: it limits connections, and changes nothing else."""

import socket
from pathlib import Path

import pytest
import zmq

from helpers import LOGGER, own_config, patience, until
from piwheels.core.errors import Fatal
from piwheels.core.transport import Context
from piwheels.master import local_connections
from piwheels.master.local_connections import LocalConnections, inner_config


@pytest.fixture
def config(tmp_path):
    return own_config(control_queue=f"ipc://{tmp_path}/control", log_queue="ipc://@not-a-file")


@pytest.fixture
def relay(config, monkeypatch):
    monkeypatch.setattr(local_connections, "most_local_connections", lambda: 3)
    relay = LocalConnections(config, LOGGER)
    relay.start()
    yield relay
    relay.stop()
    assert not relay.is_alive()


def test_only_addresses_with_a_file_are_relayed(config):
    inner = inner_config(config)
    assert inner.control_queue == f"{config.control_queue}~"
    assert (inner.log_queue, inner.slave_queue) == (config.log_queue, config.slave_queue)
    assert inner.token == config.token


def test_messages_pass_in_both_directions_whatever_their_size(relay, config):
    large = bytes(range(256)) * 20_000
    with Context().socket(zmq.ROUTER) as router, Context().socket(zmq.DEALER) as dealer:
        router.bind(inner_config(config).control_queue)
        dealer.connect(config.control_queue)
        for _ in range(3):
            dealer.send_multipart([large])
            assert router.poll(patience(10))
            address, got = router.recv_multipart()
            assert got == large
            router.send_multipart([address, large, b"end"])
            assert dealer.poll(patience(10))
            assert dealer.recv_multipart() == [large, b"end"]
    [address] = relay._addresses
    until(lambda: not address.connections)
    assert (Path(address.path).stat().st_mode & 0o777) == 0o700


def test_too_many_connections_wait_until_all_are_closed(relay, config, monkeypatch, caplog):
    monkeypatch.setattr(local_connections, "_FULL", 0.2)
    with Context().socket(zmq.PULL) as puller:
        puller.bind(inner_config(config).control_queue)
        flood = [socket.socket(socket.AF_UNIX) for _ in range(8)]
        for each in flood:
            each.connect(config.control_queue.removeprefix("ipc://"))
        [address] = relay._addresses
        with Context().socket(zmq.PUSH) as honest:
            honest.connect(config.control_queue)
            honest.send_multipart([b"served"])
            assert puller.poll(patience(20))
            assert len(address.connections) <= 3
        for each in flood:
            each.close()
    assert f"too many connections to {config.control_queue}: closed all of them" in caplog.text


def test_a_fault_at_one_connection_ends_no_other(relay, config, monkeypatch, caplog):
    relayed, faults = relay._relay, [KeyError("six")]

    def fail_once(end, events):
        if faults:
            raise faults.pop()
        relayed(end, events)

    with Context().socket(zmq.PULL) as puller:
        puller.bind(inner_config(config).control_queue)
        monkeypatch.setattr(relay, "_relay", fail_once)
        with Context().socket(zmq.PUSH) as client:
            client.connect(config.control_queue)
            client.send_multipart([b"served"])
            assert puller.poll(patience(10))
    assert f"a connection to {config.control_queue} has failed: KeyError" in caplog.text


def test_nobody_is_let_in_while_descriptors_are_nearly_used_up(relay, config, monkeypatch):
    critical = True
    monkeypatch.setattr(local_connections, "are_critical", lambda: critical)
    with Context().socket(zmq.PULL) as puller, Context().socket(zmq.PUSH) as client:
        puller.bind(inner_config(config).control_queue)
        client.connect(config.control_queue)
        client.send_multipart([b"late"])
        [address] = relay._addresses
        until(lambda: address.resume)
        assert not address.connections
        critical = False
        assert puller.poll(patience(10))


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


def test_an_address_that_is_in_use_is_named(relay, config):
    with pytest.raises(Fatal, match="/control is in use: stop the program that uses it"):
        LocalConnections(config, LOGGER)
