"""Keys on the wires: who is admitted, what belongs to whom, and what a revocation ends."""

import dataclasses
import hashlib
import os
import socket
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta

import pytest
import zmq

from helpers import LOGGER, free_port, own_config, patience, until, wheel_bytes
from hostile.wires import CONNECTIONS, HELLO, JOB, JOINS, MESSAGES, RESUME, STATS, VICTIM_ID, hello
from hostile.wires import operator as console_frames
from hostile.wires import slave as slave_frames
from peers import queue_up
from piwheels.console.model.events import WireDown, WireUp
from piwheels.console.wire.link import Link
from piwheels.core import codec
from piwheels.core.codec import NoData
from piwheels.core.errors import Fatal, Unavailable
from piwheels.core.farm import Farm
from piwheels.core.keys.files import (
    KeyFolder,
    invitation_text,
    new_invitation,
    new_pair,
    parse_invitation,
    read_pair,
)
from piwheels.core.keys.ring import Enrolled, Role
from piwheels.core.protocols import slave_driver
from piwheels.core.states import FileState, Phase
from piwheels.core.transport import Context, Socket
from piwheels.master.app import PiWheelsMaster
from piwheels.master.checking import access_problems
from piwheels.master.file_juggler import FileJuggler
from piwheels.master.messages import MasterStarted
from piwheels.master.ports import Ports, open_socket
from piwheels.master.relay import Relay
from piwheels.master.slave_driver import SlaveDriver
from piwheels.master.the_gatekeeper import TheGatekeeper, gate_of
from piwheels.master.the_operator import TheOperator
from piwheels.master.wiring import (
    WIRES,
    Guard,
    doors,
    exposed,
    guard_of,
    inner_config,
    warning_of,
)
from piwheels.slave.connection import Connection
from piwheels.slave.joining import join
from piwheels.slave.lane import SlaveRefused

NOW = datetime.now(UTC)
PUBLIC = [wire for wire in WIRES if wire.is_public(own_config())]
#: The types of sockets that connect, by the wire's pattern.
CLIENTS = {"router": zmq.DEALER, "push": zmq.PUSH, "pub": zmq.SUB}
ROLES = {
    "victim": Role.SLAVE, "other slave": Role.SLAVE, "key before rotation": Role.SLAVE,
    "revoked": Role.SLAVE, "expired": Role.SLAVE, "on a broken line": Role.SLAVE,
    "on two lines": Role.SLAVE, "viewer": Role.VIEW, "operator": Role.OPERATE,
    "administrator": Role.ADMINISTER, "logger": Role.LOG,
}  # fmt: skip


class Keys:
    """The key folder of a master with a key for each peer, and connections with these keys."""

    def __init__(self, path):
        self.folder = KeyFolder(path)
        self.pairs = {peer: new_pair(self.folder.pair().public) for peer in CONNECTIONS}
        for peer, role in ROLES.items():
            self.enrol(peer, role)
        self.change(lambda ring: ring.revoke("revoked", NOW)[0])
        self.change(
            lambda ring: ring.rotate("key-before-rotation", new_pair().public, NOW, timedelta(1))
        )
        old = f"until={NOW - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
        twice = next(
            line for line in self.folder.ring_file.read_text().splitlines() if "two-lines" in line
        )
        text = self.folder.ring_file.read_text()
        for key, ending in (("expired", f" {old}"), ("on a broken line", " nonsense")):
            line = str(self.folder.ring().keys[self.pairs[key].public])
            text = text.replace(line, line + ending)
        self.folder.ring_file.write_text(f"{text}{twice}\n")

    def enrol(self, peer, role):
        name = peer.replace(" ", "-")
        new = Enrolled(role, name, self.pairs[peer].public, NOW - timedelta(days=9))
        self.change(lambda ring: ring.enrol(new, NOW))

    def change(self, change):
        self.folder.change(change)

    def client(self, type_, peer):
        """Return a socket of *peer*, which is not connected yet."""
        made = zmq.Context.instance().socket(type_)
        made.linger = 0
        pair = self.pairs[peer]
        if peer.startswith("PLAIN"):
            made.plain_username, made.plain_password = b"victim", b"x"
        elif peer != "NULL":
            if peer == "public key of the victim":
                pair = pair._replace(public=self.pairs["victim"].public)
            made.curve_publickey, made.curve_secretkey = pair.public.encode(), pair.secret.encode()
            wrong = peer == "wrong key of the master"
            made.curve_serverkey = (new_pair().public if wrong else pair.master).encode()
        if type_ == zmq.SUB:
            made.subscribe(b"")
        return made


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "keys")


@pytest.fixture
def keyed(keys):
    """Return a function that gives a configuration TCP addresses and keys, with a relay.

    It returns the configuration with the addresses for others, and that for the tasks.
    """
    relays = []

    def make(config, **more):
        options = {f"{wire.name}_queue": f"tcp://127.0.0.1:{free_port()}" for wire in PUBLIC}
        options = {"keys": keys.folder.path} | options | more
        made = dataclasses.replace(config, **options)
        gate = gate_of(made)
        relays.append(Relay(doors(made), gate, LOGGER))
        relays[-1].start()
        return made, dataclasses.replace(inner_config(made), gate=gate, relay=relays[-1])

    yield make
    for relay in relays:
        relay.stop()
        assert not relay.is_alive()


@pytest.fixture
def open_wires(keyed):
    """Return a function that makes the sockets of all wires, and both configurations."""
    sockets = {}

    def make(**more):
        config, inner = keyed(own_config(), **more)
        for wire in PUBLIC:
            sockets[wire.name] = open_socket(wire, inner, LOGGER, bind=True)
        return config, inner, sockets

    yield make
    for each in sockets.values():
        each.close()


HANDSHAKE = {
    zmq.EVENT_HANDSHAKE_SUCCEEDED: True,
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: False,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: False,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: False,
    zmq.EVENT_DISCONNECTED: False,
}


def admitted(client, address):
    """Connect, and return whether the handshake has succeeded."""
    with Socket(client).monitor(zmq.EVENT_ALL) as monitor:
        client.connect(address)
        while monitor.poll(patience(10)):
            event, _ = monitor.recv_event()
            if event in HANDSHAKE:
                return HANDSHAKE[event]
    raise AssertionError("neither admitted nor refused")


def test_each_key_is_admitted_where_its_role_belongs(keys, open_wires, running, caplog):
    config, inner, _ = open_wires()
    found = {}
    with running(TheGatekeeper(inner)):
        for peer in CONNECTIONS:
            found[peer] = set()
            for wire in PUBLIC:
                address = wire.address(config)
                if peer == "not ZMTP":
                    host, port = address.removeprefix("tcp://").split(":")
                    with socket.create_connection((host, int(port))) as raw:
                        raw.settimeout(patience(20))
                        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 4)
                        with suppress(ConnectionError):
                            while raw.recv(100):
                                pass
                    continue
                with keys.client(CLIENTS[wire.pattern], peer) as client:
                    if admitted(client, address):
                        found[peer].add(wire.name)
    assert found == CONNECTIONS
    assert "a key that is not enrolled (" in caplog.text
    assert "the key of revoked was revoked" in caplog.text
    assert "the key of expired has expired" in caplog.text
    assert "line 7 is ignored" in caplog.text
    seen = keys.folder.seen()
    assert seen == {}  # nobody has sent a message


def test_without_a_gatekeeper_nobody_is_admitted(keys, open_wires):
    config, *_ = open_wires()
    with keys.client(zmq.DEALER, "victim") as client:
        assert not admitted(client, config.slave_queue)


def test_a_revocation_ends_connections_at_once(keys, open_wires, running):
    config, inner, sockets = open_wires()
    with (
        running(TheGatekeeper(inner)),
        keys.client(zmq.SUB, "viewer") as viewer,
        keys.client(zmq.DEALER, "victim") as victim,
        keys.client(zmq.DEALER, "other slave") as other,
        ExitStack() as stack,
    ):
        for client, wire in ((viewer, "status"), (victim, "slave"), (other, "slave")):
            client.connect(getattr(config, f"{wire}_queue"))
            if wire == "slave":
                client.send_multipart([b"", b"x"])
            assert sockets[wire].poll(patience(10))
            sockets[wire].recv_multipart()
        monitors = [
            stack.enter_context(Socket(each).monitor(zmq.EVENT_DISCONNECTED))
            for each in (viewer, victim, other)
        ]
        for name in ("viewer", "victim"):
            keys.change(lambda ring, name=name: ring.revoke(name, NOW)[0])
        assert all(each.poll(patience(10)) for each in monitors[:2])
        other.send_multipart([b"", b"x"])
        assert sockets["slave"].poll(patience(10))
        assert sockets["slave"].recv_multipart()[-1] == b"x"
        assert sockets["slave"].sender.name == "other-slave"
        assert not monitors[2].poll(0)
    seen = keys.folder.seen()
    assert {keys.pairs[peer].public for peer in ("viewer", "victim", "other slave")} == set(seen)
    assert all(text.endswith(" 127.0.0.1") for text in seen.values())


def test_a_ring_that_is_lost_locks_nobody_out(keys, open_wires, running, caplog):
    config, inner, _ = open_wires()
    with running(TheGatekeeper(inner)):
        keys.folder.ring_file.unlink()
        until(lambda: "the keys stay as they are" in caplog.text)
        with keys.client(zmq.DEALER, "victim") as client:
            assert admitted(client, config.slave_queue)


@pytest.mark.parametrize(("networks", "good"), [(["127.0.0.0/8"], True), (["192.0.2.7"], False)])
def test_slaves_without_keys_come_from_listed_addresses(keys, open_wires, running, networks, good):
    place = f"tcp://127.0.0.1:{free_port()}"
    config, inner, sockets = open_wires(keyless_slave_queue=place, allow_from=networks)
    with running(TheGatekeeper(inner)), keys.client(zmq.DEALER, "NULL") as client:
        assert admitted(client, place) is good
        if good:
            client.send_multipart([b"", b"x"])
            assert sockets["slave"].poll(patience(10))
            sockets["slave"].recv_multipart()
            assert sockets["slave"].sender == ("address 127.0.0.1", Role.SLAVE)
        with keys.client(zmq.DEALER, "NULL") as other:
            assert not admitted(other, config.slave_queue)


def test_an_insecure_master_knows_its_slaves_by_their_addresses(keys, open_wires, running):
    config, inner, sockets = open_wires(keys=None, insecure=True)
    with running(TheGatekeeper(inner)), keys.client(zmq.DEALER, "NULL") as client:
        client.connect(config.slave_queue)
        client.send_multipart([b"", b"x"])
        assert sockets["slave"].poll(patience(10))
        sockets["slave"].recv_multipart()
        assert sockets["slave"].sender == ("address 127.0.0.1", Role.ADMINISTER)


@pytest.mark.parametrize(
    ("options", "open_to_all", "guard"),
    [
        ({}, [], Guard.NONE),
        ({"slave_queue": "tcp://*:5555"}, ["tcp://*:5555"], Guard.NONE),
        ({"slave_queue": "tcp://127.0.0.2:1"}, [], Guard.NONE),
        ({"slave_queue": "tcp://[::1]:1"}, [], Guard.NONE),
        ({"slave_queue": "tcp://localhost:1"}, [], Guard.NONE),
        ({"slave_queue": "tcp://farm.example:1"}, ["tcp://farm.example:1"], Guard.NONE),
        ({"slave_queue": "tcp://*:1", "insecure": True}, ["tcp://*:1"], Guard.ADDRESSES),
        ({"slave_queue": "tcp://127.0.0.1:1", "insecure": True}, [], Guard.ADDRESSES),
        ({"control_queue": "tcp://*:1", "insecure": True}, ["tcp://*:1"], Guard.NONE),
        ({"slave_queue": "tcp://*:1", "allow_from": ["192.0.2.0/24"]}, [], Guard.ADDRESSES),
        ({"slave_queue": "tcp://*:1", "keys": "x"}, [], Guard.KEYS),
        ({"slave_queue": "tcp://*:1", "keys": "x", "allow_from": ["192.0.2.0/24"]}, [], Guard.KEYS),
        ({"control_queue": "tcp://*:1", "allow_from": ["192.0.2.0/24"]}, ["tcp://*:1"], Guard.NONE),
        ({"keyless_file_queue": "tcp://*:1"}, [], Guard.NONE),
    ],
)
def test_only_keys_addresses_or_a_promise_open_a_master_to_others(options, open_to_all, guard):
    config = own_config(**options)
    assert exposed(config) == open_to_all
    assert guard_of(config.slave_queue, config) is guard


class FakeMaster(PiWheelsMaster):
    """The part of a master that reads the control socket."""

    def __init__(self, config):
        super().__init__(config)
        self.carried_out = []

    def _carry_out(self, msg, slave_id):
        self.carried_out.append((msg, slave_id))


@pytest.fixture
def farm(with_db, db, keyed, running, other_end):
    """A master with keys: the victim builds demo 1.0, and is asked for its file."""
    config, inner = keyed(with_db, pypi_simple="https://index.example/simple")
    db.add_build_abi("cp311")
    db.add_new_package("demo")
    for version in ("1.0", "2.0"):
        db.add_new_package_version("demo", version, NOW)
    other_end(inner, "web")
    ports, master = Ports("main", inner, LOGGER), FakeMaster(config)
    ports.push("console_events", MasterStarted(master._info))
    tasks = SlaveDriver(inner), FileJuggler(inner), TheGatekeeper(inner), TheOperator(inner)
    try:
        with running(*tasks):
            queue_up(inner, JOB)
            yield dataclasses.replace(config, gate=inner.gate), ports, master, tasks[0].fleet
    finally:
        ports.close()


class Victim:
    """The slave whose build and file others want."""

    def __init__(self, keys, config, routing_id=VICTIM_ID):
        self.socket = keys.client(zmq.REQ, "victim")
        self.socket.routing_id = routing_id
        self.socket.connect(config.slave_queue)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, msg, data=NoData):
        self.socket.send(codec.dumps(msg, data))
        assert self.socket.poll(patience(30) * 1000), msg
        return codec.loads(self.socket.recv())


def answers(client, frames):
    """Send *frames*; return the name of the answer, or "" if none arrives in a moment."""
    client.send_multipart(frames)
    if not client.poll(300):
        return ""
    return codec.loads(client.recv_multipart()[-1])[0]


def test_no_message_reaches_what_belongs_to_another_key(farm, keys):
    config, ports, master, fleet = farm
    content = wheel_bytes("demo")
    name = "demo-1.0-py3-none-any.whl"
    digest = hashlib.sha256(content).hexdigest()
    state = FileState(name, len(content), digest, *name[:-4].split("-"), None, {}).as_message()
    with Victim(keys, config) as victim:
        assert victim.ask("HELLO", hello(identity="one"))[0] == "ACK"
        until(lambda: victim.ask("IDLE", STATS) == ("BUILD", JOB))
        built = [True, timedelta(seconds=1), "log\n", [state]]
        assert victim.ask("BUILT", built) == ("SEND", name)
        for attack in MESSAGES:
            wire = next(each for each in WIRES if each.name == attack.wire)
            with keys.client(CLIENTS[wire.pattern], attack.peer) as client:
                client.routing_id = attack.routing_id or os.urandom(8)
                client.connect(wire.address(config))
                for frames, answer in attack.says:
                    if wire.name == "control":
                        client.send_multipart(frames)
                        assert ports.socket("control").poll(patience(10))
                        master._handle(ports.socket("control"), lambda _: master._command(ports))
                    else:
                        assert answers(client, frames) == answer, attack.name
            assert fleet.by_number[1].phase is Phase.SENDING, attack.name
            assert fleet.by_number[1].owner == "victim"
            assert not fleet.by_number[1].commands, attack.name
        assert master.carried_out == []
        with keys.client(zmq.DEALER, "victim") as files:
            files.connect(config.file_queue)
            files.send_multipart([b"HELLO", b"1"])
            assert files.poll(patience(10) * 1000)
            assert files.recv_multipart() == [b"FETCH", b"0", b"%d" % len(content)]
            files.send_multipart([b"CHUNK", b"0", content])
            assert files.poll(patience(10) * 1000)
            assert files.recv_multipart() == [b"DONE"]
        assert victim.ask("SENT") == ("DONE", NoData)
    published = config.output_path / "simple/demo" / name
    assert published.read_bytes() == content


def test_the_address_of_a_lost_connection_is_of_no_use_to_another_key(farm, keys):
    config, _, _, fleet = farm
    with Victim(keys, config) as victim:
        assert victim.ask("HELLO", hello(identity="one"))[0] == "ACK"
        until(lambda: victim.ask("IDLE", STATS) == ("BUILD", JOB))
    until(lambda: fleet.by_number[1].lost)
    with keys.client(zmq.DEALER, "other slave") as client:
        client.routing_id = VICTIM_ID
        client.connect(config.slave_queue)
        for msg, data in (("BUSY", STATS), ("BYE", NoData), ("HELLO", RESUME), ("BUILT", 7)):
            assert answers(client, slave_frames(msg, data)) == ""
    assert fleet.by_number[1].build is not None
    with Victim(keys, config, VICTIM_ID + b"2") as victim:
        assert victim.ask("HELLO", RESUME)[1][0] == 1
        assert victim.ask("BUSY", STATS) == ("CONT", NoData)


def test_a_slave_keeps_its_build_when_its_key_is_rotated(farm, keys, db):
    config, _, _, fleet = farm
    with Victim(keys, config) as victim:
        assert victim.ask("HELLO", hello(identity="one"))[0] == "ACK"
        until(lambda: victim.ask("IDLE", STATS) == ("BUILD", JOB))
    until(lambda: [lease.holder for lease in db.get_leases()] == ["victim"])
    until(lambda: fleet.by_number[1].lost)
    keys.pairs["victim"] = new_pair(keys.folder.pair().public)
    public = keys.pairs["victim"].public
    keys.change(lambda ring: ring.rotate("victim", public, NOW, timedelta(days=1)))
    until(lambda: public in config.gate.ring.keys)
    with Victim(keys, config, VICTIM_ID + b"2") as victim:
        assert victim.ask("HELLO", RESUME)[1][0] == 1
        assert victim.ask("BUSY", STATS) == ("CONT", NoData)


def test_a_key_is_for_the_platform_of_its_first_greeting(farm, keys, caplog):
    config, _, _, fleet = farm
    public = keys.pairs["victim"].public
    with Victim(keys, config) as victim:
        assert victim.ask("HELLO", hello("linux_armv7l since"))[0] == "REFUSED"
    with Victim(keys, config, VICTIM_ID + b"1") as victim:
        assert victim.ask("HELLO", hello("linux_armv7l"))[0] == "ACK"
    assert keys.folder.ring().keys[public].platforms == ("linux_armv7l",)
    assert "victim builds for linux_armv7l from now on" in caplog.text
    with Victim(keys, config, VICTIM_ID + b"2") as victim:
        msg, why = victim.ask("HELLO", hello("linux_aarch64"))
        assert (msg, "run piw-keys platform victim --platform linux_aarch64" in why) == (
            "REFUSED", True,
        )  # fmt: skip
    assert why in caplog.text
    keys.change(lambda ring: ring.move("victim", ("linux_aarch64", "linux_armv7l")))
    until(lambda: len(config.gate.ring.keys[public].platforms) == 2)
    with Victim(keys, config, VICTIM_ID + b"3") as victim:
        assert victim.ask("HELLO", hello("linux_aarch64"))[0] == "ACK"
        keys.change(lambda ring: ring.move("victim", ("linux_armv7l",)))
        until(lambda: len(config.gate.ring.keys[public].platforms) == 1)
        assert victim.ask("IDLE", STATS)[0] == "REFUSED"  # in the middle of its session
    assert {slave.native_platform for slave in fleet.slaves.values()} <= {"linux_armv7l"}


def test_a_key_is_for_all_that_its_slave_offers(farm, keys):
    config, public = farm[0], keys.pairs["victim"].public
    both = [["311", "cp311", each] for each in ("linux_armv7l", "linux_aarch64")]
    with Victim(keys, config) as victim:
        assert victim.ask("HELLO", hello("linux_aarch64", offers=both))[0] == "ACK"
    assert keys.folder.ring().keys[public].platforms == ("linux_aarch64", "linux_armv7l")
    with Victim(keys, config, VICTIM_ID + b"1") as victim:
        more = [*both, ["312", "cp312", "musllinux_1_2_x86_64"]]
        msg, why = victim.ask("HELLO", hello("linux_aarch64", offers=more))
        assert (msg, "not for musllinux_1_2_x86_64" in why) == ("REFUSED", True)
    with Victim(keys, config, VICTIM_ID + b"2") as victim:
        assert victim.ask("HELLO", hello("linux_armv7l"))[0] == "ACK"
        keys.change(lambda ring: ring.move("victim", ("linux_aarch64",)))
        until(lambda: len(config.gate.ring.keys[public].platforms) == 1)
        assert victim.ask("IDLE", STATS)[0] == "REFUSED"


def test_operators_are_known_by_their_keys(farm, keys, caplog):
    config, ports, master, fleet = farm
    with keys.client(zmq.DEALER, "operator") as client:
        client.connect(config.console_queue)
        assert answers(client, HELLO[0]) == "OK"
        client.send_multipart(console_frames("SLEEP", None))
        until(lambda: fleet.paused)
    assert "operator (eve) said SLEEP to all slaves" in caplog.text
    with keys.client(zmq.PUSH, "administrator") as client:
        client.connect(config.control_queue)
        client.send(codec.dumps("KILL", 7))
        assert ports.socket("control").poll(patience(10))
        master._handle(ports.socket("control"), lambda _: master._command(ports))
    assert master.carried_out == [("KILL", 7)]
    assert "administrator said KILL to [7]" in caplog.text


@pytest.mark.parametrize(("peer", "answer"), [("viewer", "REFUSED"), ("operator", "OK")])
def test_a_viewer_may_look_at_failures_and_change_nothing(farm, keys, db, peer, answer):
    config = farm[0]
    with keys.client(zmq.DEALER, peer) as client:
        client.connect(config.console_queue)
        assert answers(client, HELLO[0]) == "OK"
        assert answers(client, console_frames("FAILURES", 7)) == "OK"
        assert answers(client, console_frames("FIRST", ["demo", "2.0"])) == answer
        assert answers(client, console_frames("RETRY", ["demo", "2.0"])) == answer
    assert (db.explain_position("demo", "2.0")[0].urgency == "first") is (answer == "OK")


def test_a_peer_with_several_keys_of_the_master_finds_the_right_one(keys, open_wires, running):
    config, inner, _ = open_wires()
    wires = {"slave": zmq.REQ, "file": zmq.DEALER, "status": zmq.SUB, "control": zmq.PUSH}
    with running(TheGatekeeper(inner)):
        for wire, kind in wires.items():
            pair = keys.pairs["victim" if wire == "slave" else "administrator"]
            pair = pair._replace(master=f"{new_pair().public},{pair.master}")
            with (
                Context().socket(kind) as client,
                client.monitor(zmq.EVENT_HANDSHAKE_SUCCEEDED) as admitted,
            ):
                client.identify(pair)
                client.connect(getattr(config, f"{wire}_queue"))
                assert admitted.poll(patience(10)), wire


REFUSALS = {
    "stranger": "does not admit this key: enrol it there",
    "NULL": "admits only enrolled keys: make one with piw-keys create",
    "wrong key of the master": "has another key than --master-key",
    "victim": "uses no keys: start it with --keys",
}


@pytest.mark.parametrize("peer", REFUSALS)
def test_clients_say_why_they_are_refused(keys, open_wires, running, peer):
    config, inner, _ = open_wires(keys=None) if peer == "victim" else open_wires()
    pair = None if peer == "NULL" else keys.pairs[peer]
    if peer == "wrong key of the master":
        pair = pair._replace(master=new_pair().public)
    with (
        running(TheGatekeeper(inner)),
        Farm(config.import_queue, key=pair, patience=1.0) as farm,
        Context().socket(zmq.REQ, reversed(slave_driver)) as queue,
    ):
        with pytest.raises(Unavailable, match=f"refuses this program: it {REFUSALS[peer]}"):
            farm.watch("demo")
        connection = Connection(config.slave_queue, LOGGER, pair=pair)
        with connection.open(queue), pytest.raises(SlaveRefused, match=REFUSALS[peer]):
            until(connection.check)


def test_a_console_connects_when_its_key_is_enrolled(keys, open_wires, running):
    config, inner, _ = open_wires()
    addresses = {name: getattr(config, f"{name}_queue") for name in ("status", "console")}
    link = Link(addresses, lambda: NOW, keys.pairs["stranger"])
    found = []
    with running(TheGatekeeper(inner)):
        link.start()
        try:
            until(lambda: found.extend(each.event for each in link.take()) or len(found) >= 2)
            assert {type(each) for each in found} == {WireDown}
            assert all("does not admit this key" in each.why for each in found)
            keys.enrol("stranger", Role.VIEW)
            found.clear()
            until(lambda: found.extend(each.event for each in link.take())
                  or {WireUp("status"), WireUp("console")} <= set(found))  # fmt: skip
        finally:
            link.stop()


ABOUT = hello()[:-1]


@pytest.fixture
def invite(farm, keys):
    """Return a function that makes invitations, valid for so many seconds."""

    def make(name, seconds=3600):
        pair = new_invitation(keys.folder.pair().public)
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        new = Enrolled(Role.JOIN, name, pair.public, NOW, end)
        keys.change(lambda ring: ring.enrol(new, NOW))
        until(lambda: pair.public in farm[0].gate.ring.keys)
        return parse_invitation(invitation_text(pair))

    return make


def test_a_slave_joins_once_with_an_invitation(farm, keys, invite, tmp_path, caplog):
    config, *_ = farm
    invitation, path = invite("board7"), tmp_path / "slave.key"
    pair = join(invitation, path, config.slave_queue, ABOUT)
    assert read_pair(path) == pair
    keys.pairs["board7"] = pair
    with keys.client(zmq.DEALER, "board7") as client:
        client.connect(config.slave_queue)
        assert answers(client, slave_frames("HELLO", hello())) == "ACK"
    assert "board7 has joined, with the key" in caplog.text
    # The same slave starts again with the same command; no other one can use it.
    until(lambda: "does not admit" in _refused(keys, config, invitation))
    assert join(invitation, path, config.slave_queue, ABOUT) == pair
    with pytest.raises(Fatal, match="does not accept the invitation"):
        join(invitation, tmp_path / "thief.key", config.slave_queue, ABOUT)
    assert not (tmp_path / "thief.key").exists()
    with pytest.raises(Fatal, match="is the key for another master"):
        join(invitation._replace(master=new_pair().public), path, config.slave_queue, ABOUT)


def _refused(keys, config, pair):
    with (
        Farm(config.slave_queue, key=pair, patience=0.5) as farm,
        pytest.raises(Unavailable) as exc,
    ):
        farm.watch("demo")
    return str(exc.value)


def test_an_expired_invitation_is_refused(farm, keys, invite, tmp_path):
    config, *_ = farm
    invitation = invite("board7", seconds=-1)
    with pytest.raises(Fatal, match="does not accept the invitation"):
        join(invitation, tmp_path / "slave.key", config.slave_queue, ABOUT)


def test_an_invitation_is_good_for_nothing_else(farm, keys, invite):
    config, _, _, fleet = farm
    keys.pairs["guest"] = invite("board7")
    with keys.client(zmq.DEALER, "guest") as client:
        client.connect(config.slave_queue)
        for attack in JOINS:
            assert answers(client, slave_frames(*attack.request)) == attack.answer, attack.name
    assert not fleet.slaves


def test_an_invitation_cannot_take_the_key_of_another(farm, keys, invite):
    config, *_ = farm
    keys.pairs["guest"] = invite("board7")
    with keys.client(zmq.DEALER, "guest") as client:
        client.connect(config.slave_queue)
        of_victim = hello(join=keys.pairs["victim"].public)
        assert answers(client, slave_frames("HELLO", of_victim)) == "REFUSED"
    assert keys.folder.ring().keys[keys.pairs["victim"].public].name == "victim"


def test_no_other_text_is_an_invitation():
    good = invitation_text(new_invitation(new_pair().public))
    for text in ("", "x", good[:-1], good + "A", good[:-1] + "!", "é" * 86):
        with pytest.raises(ValueError, match="is not an invitation"):
            parse_invitation(text)


def test_operators_are_warned_of_an_insecure_master():
    assert warning_of(own_config()) == ""
    config = own_config(slave_queue="tcp://*:5555", insecure=True)
    assert warning_of(config).startswith("INSECURE: anyone who can reach tcp://*:5555 can publish")
    assert list(access_problems(config)) == []
    assert "exclude each other" in next(access_problems(dataclasses.replace(config, keys="x")))
    config = own_config(slave_queue="tcp://*:5555", keyless_file_queue="tcp://*:5556")
    exposed_, nobody = access_problems(config)
    assert "give --keys DIR" in exposed_
    assert "nobody is admitted at --keyless-file-queue" in nobody
