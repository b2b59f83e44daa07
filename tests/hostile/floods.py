"""Floods on the sockets of a master: what strangers and enrolled slaves send to exhaust it.

Each flood is a function of its :class:`Target`, which it attacks until ``target.is_over``, and
returns how many messages (or connections) it has sent.
"""

from __future__ import annotations

import itertools
import socket
import struct
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import zmq

from piwheels.core.codec import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from piwheels.core.keys.files import KeyPair

MORE, LARGE, COMMAND = 1, 2, 4
STATS = [datetime(2026, 1, 31, tzinfo=UTC), 9, 8, 7, 6, 5, 4, 0.5, 40.0]
MIB = 2**20
#: The type of the sockets that connect to each wire.
TYPES = {
    "slave": "DEALER", "file": "DEALER", "control": "PUSH", "status": "SUB", "console": "DEALER",
    "import": "DEALER", "log": "PUSH",
}  # fmt: skip


@dataclass
class Target:
    """A master at *addresses*, by wire. *pair* is an enrolled key of a slave (None: no keys)."""

    addresses: dict[str, str]
    seconds: float
    pair: KeyPair | None = None
    begun: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.begun + self.seconds


class Flood(NamedTuple):
    """A flood, and whether it is possible at a master without keys, and at one with keys."""

    name: str
    run: Callable[[Target], int]
    without: bool = True
    with_keys: bool = True

    def works(self, *, keys: bool) -> bool:
        """Return whether it is possible."""
        return self.with_keys if keys else self.without


FLOODS: list[Flood] = []


def flood(name: str, **modes: bool) -> Callable[[Callable[[Target], int]], Any]:
    """Add a function to the list."""

    def add(function: Callable[[Target], int]) -> Callable[[Target], int]:
        FLOODS.append(Flood(name, function, **modes))
        return function

    return add


# Connections --------------------------------------------------------------------------------------


def frame(body: bytes, flags: int = 0) -> bytes:
    """Return a frame of ZMTP 3."""
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | LARGE]) + len(body).to_bytes(8, "big") + body


def ready(socket_type: str) -> bytes:
    """Return greeting and handshake of a client without a key."""
    greeting = b"\xff" + bytes(7) + b"\x01\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
    kind = socket_type.encode()
    about = b"\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
    return greeting + frame(b"\x05READY" + about, COMMAND)


PING = frame(b"\x04PING\x00\x00", COMMAND)


def plain(address: str) -> socket.socket:
    """Return a connection of the system to *address*."""
    if address.startswith("ipc://"):
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(2)
        try:
            made.connect(address.removeprefix("ipc://"))
        except OSError:
            made.close()
            raise
        return made
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=2)


def greeted(address: str, socket_type: str) -> socket.socket:
    """Return a connection without a key, after the handshake."""
    made = plain(address)
    try:
        shake_hands(made, ready(socket_type))
    except OSError:
        made.close()
        raise
    return made


def shake_hands(connection: socket.socket, handshake: bytes) -> None:
    """Send a *handshake*, and wait for that of the other end: 0MQ accepts no message before."""
    connection.sendall(handshake)
    answer = b""
    while b"READY" not in answer:
        part = connection.recv(4096)
        if not part:
            raise ConnectionError("refused")
        answer += part


def reset(connection: socket.socket) -> None:
    """Close *connection* by a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def client(target: Target, wire: str, context: zmq.Context[Any]) -> zmq.Socket[Any]:
    """Return a socket of 0MQ that is connected to *wire*."""
    made = context.socket(getattr(zmq, TYPES[wire]))
    made.linger, made.sndtimeo, made.rcvtimeo = 0, 500, 2000
    if target.pair is not None and target.addresses[wire].startswith("tcp"):
        public, secret, server = (each.encode() for each in target.pair)
        made.curve_publickey, made.curve_secretkey, made.curve_serverkey = public, secret, server
    made.connect(target.addresses[wire])
    return made


def attempts(target: Target, pause: float = 0.0) -> Iterator[int]:
    """Count until the flood is over; errors of connections are expected."""
    for number in itertools.count(1):
        if target.is_over:
            return
        yield number
        if pause:
            time.sleep(pause)


def on_each_wire(target: Target, attack: Callable[[str, str], int]) -> int:
    """Attack one wire after the other; return the sum."""
    count = 0
    wires = list(TYPES)
    for number, wire in enumerate(wires, 1):
        end = target.begun + target.seconds * number / len(wires)
        while time.monotonic() < end:
            with suppress(OSError):
                count += attack(target.addresses[wire], TYPES[wire])
            if time.monotonic() < end:
                time.sleep(0.01)
    return count


def hello(**features: Any) -> list[Any]:
    """Return the data of a HELLO of a slave."""
    about = ["311", "cp311", "linux_x86_64", "flood", "Debian", "12", "", ""]
    return [timedelta(hours=1), timedelta(minutes=5), *about, {"level": 1, **features}]


# What is sent without keys, in bare frames --------------------------------------------------------

#: While 0MQ waits for room after one of the requests, a PING is among those that it has read.
REQUESTS = ((frame(b"", MORE) + frame(dumps("NOISE"))) * 10 + PING) * 2000


@flood("20,000 refused requests, PINGs, reset", with_keys=False)
def refused_requests(target: Target) -> int:
    def attack(address: str, kind: str) -> int:
        with greeted(address, kind) as connection:
            with suppress(OSError):
                connection.sendall(REQUESTS)
            reset(connection)
        return 20_000

    return on_each_wire(target, attack)


@flood("one message of endless frames", with_keys=False)
def endless_frames(target: Target) -> int:
    part = frame(bytes(60_000), MORE)

    def attack(address: str, kind: str) -> int:
        count = 0
        with greeted(address, kind) as connection, suppress(OSError):
            for _ in range(10_000):
                connection.sendall(part)
                count += 1
        return count

    return on_each_wire(target, attack)


@flood("a message of a million empty frames", with_keys=False)
def empty_frames(target: Target) -> int:
    parts = frame(b"", MORE) * 50_000

    def attack(address: str, kind: str) -> int:
        with greeted(address, kind) as connection, suppress(OSError):
            for _ in range(20):
                connection.sendall(parts)
        return 1_000_000

    return on_each_wire(target, attack)


@flood("a million subscriptions", with_keys=False)
def subscriptions(target: Target) -> int:
    count = 0
    for number in attempts(target):
        with suppress(OSError), greeted(target.addresses["status"], "SUB") as connection:
            for _ in range(100):
                topics = (b"%d-%d" % (number, each) for each in range(count, count + 1000))
                connection.sendall(b"".join(frame(b"\x01" + topic * 8) for topic in topics))
                count += 1000
    return count


@flood("PINGs", with_keys=False)
def pings(target: Target) -> int:
    def attack(address: str, kind: str) -> int:
        with greeted(address, kind) as connection, suppress(OSError):
            for _ in range(20):
                connection.sendall(PING * 5000)
        return 100_000

    return on_each_wire(target, attack)


@flood("replies that nobody reads", with_keys=False)
def unread_replies(target: Target) -> int:
    """Send requests from many connections, and read nothing."""
    request = frame(b"", MORE) + frame(dumps("NOISE"))
    queue = frame(bytes(8), MORE) + frame(dumps("HELLO", [1, "eve"]))
    lots = frame(bytes(8), MORE) + frame(dumps("FIGURES"))
    count = 0
    with ExitStack() as stack:
        found = []
        for wire, text in (("slave", request), ("console", queue + lots), ("import", request)):
            for _ in range(30):
                with suppress(OSError):
                    one = stack.enter_context(greeted(target.addresses[wire], "DEALER"))
                    one.setblocking(False)
                    found.append((one, text))
        for number in attempts(target):
            one, text = found[number % len(found)]
            with suppress(OSError):
                one.send(text * 20)
                count += 20
    return count


@flood("subscribers that read nothing", with_keys=False)
def unread_events(target: Target) -> int:
    """Subscribe from many connections, and cause events."""
    count = 0
    with ExitStack() as stack:
        for _ in range(100):
            with suppress(OSError):
                one = stack.enter_context(greeted(target.addresses["status"], "SUB"))
                one.sendall(frame(b"\x01"))
        control = None
        for _ in attempts(target):
            try:
                control = control or stack.enter_context(
                    greeted(target.addresses["control"], "PUSH")
                )
                control.sendall(frame(dumps("HELLO")) * 100)
                count += 100
            except OSError:
                control = None
    return count


# Connections --------------------------------------------------------------------------------------


@flood("connections that say nothing, half a greeting, half a message")
def silent(target: Target) -> int:
    count = 0
    with ExitStack() as stack:
        halves = (b"", ready("DEALER")[:20], ready("DEALER"), ready("DEALER") + b"\x02\0\0\0\0\0")
        for number in attempts(target):
            wire = list(TYPES)[number % len(TYPES)]
            if number > 3000:
                time.sleep(0.1)
                continue
            with suppress(OSError):
                one = stack.enter_context(plain(target.addresses[wire]))
                one.sendall(halves[number % len(halves)])
                count += 1
    return count


@flood("greetings of a byte a second")
def slow_greetings(target: Target) -> int:
    count = 0
    with ExitStack() as stack:
        found = []
        for number in range(300):
            with suppress(OSError):
                wire = list(TYPES)[number % len(TYPES)]
                found.append(stack.enter_context(plain(target.addresses[wire])))
                count += 1
        for at in attempts(target, 1.0):
            for one in found:
                with suppress(OSError):
                    one.sendall(ready("DEALER")[at - 1 : at])
    return count


@flood("connections opened and closed at once")
def short_connections(target: Target) -> int:
    count = 0
    for number in attempts(target):
        wire = list(TYPES)[number % len(TYPES)]
        with suppress(OSError), plain(target.addresses[wire]) as one:
            one.sendall(ready("DEALER"))
            count += 1
    return count


@flood("strangers' keys", without=False)
def strange_keys(target: Target) -> int:
    count = 0
    with zmq.Context() as context:
        for _ in attempts(target):
            public, secret = zmq.curve_keypair()
            with context.socket(zmq.DEALER) as one:
                one.linger = 0
                one.curve_publickey, one.curve_secretkey = public, secret
                one.curve_serverkey = target.pair.master.encode()
                one.connect(target.addresses["slave"])
                one.poll(20)
            count += 1
    return count


# Messages of the protocols ------------------------------------------------------------------------


@flood("messages of 14 MiB from 1 connection, then from 150")
def large_messages(target: Target) -> int:
    """Send reports of builds that were not handed out."""
    data = dumps("BUILT", [False, timedelta(seconds=1), "x" * 14 * MIB, []])
    count = 0
    with zmq.Context() as context, ExitStack() as stack:
        found = []
        for number in range(150):
            one = stack.enter_context(client(target, "slave", context))
            one.sndhwm = 1
            found.append(one)
            for _ in range(75 if number == 0 else 1):
                with suppress(zmq.Again):
                    if not target.is_over:
                        one.send_multipart([b"", data], zmq.DONTWAIT if number else 0)
                        count += 1
        while not target.is_over:
            time.sleep(0.1)
    return count


@flood("logs of 14 MiB of builds that were handed out")
def large_logs(target: Target) -> int:
    report = dumps("BUILT", [False, timedelta(seconds=1), "x" * 14 * MIB, []])
    count = 0
    with zmq.Context() as context, ExitStack() as stack:
        found = []
        for _ in range(30):
            one = stack.enter_context(client(target, "slave", context))
            with suppress(zmq.Again):
                one.send_multipart([b"", dumps("HELLO", hello())])
                one.recv_multipart()
                one.send_multipart([b"", dumps("IDLE", STATS)])
                if loads(one.recv_multipart()[-1])[0] == "BUILD":
                    found.append(one)
        for one in found:
            with suppress(zmq.Again):
                one.send_multipart([b"", report])
                count += 1
        while not target.is_over:
            time.sleep(0.1)
    return count


@flood("13 MiB of features")
def features(target: Target) -> int:
    data = dumps("HELLO", hello(more=["x" * 1000] * 9000, **{"y" * 90: "x" * 4 * MIB}))
    count = 0
    with zmq.Context() as context, ExitStack() as stack:
        for _ in attempts(target):
            if count < 40:
                one = stack.enter_context(client(target, "slave", context))
                with suppress(zmq.Again):
                    one.send_multipart([b"", data])
                    count += 1
            else:
                time.sleep(0.1)
    return count


def _hellos(target: Target, connections: int) -> int:
    frames = {
        "slave": [b"", dumps("HELLO", hello())], "console": [bytes(8), dumps("HELLO", [1, "eve"])],
        "control": [dumps("HELLO")], "log": [dumps("HELLO")], "import": [b"", dumps("HELLO")],
        "file": [b"HELLO", b"7"],
    }  # fmt: skip
    count = 0
    with zmq.Context() as context, ExitStack() as stack:
        context.set(zmq.MAX_SOCKETS, 10_000)
        found = [
            (stack.enter_context(client(target, wire, context)), message)
            for wire, message in frames.items()
            if target.pair is None or wire in ("slave", "file")
            for _ in range(connections)
        ]
        for number in attempts(target):
            one, message = found[number % len(found)]
            with suppress(zmq.ZMQError):
                one.send_multipart(message, zmq.DONTWAIT)
                count += 1
    return count


@flood("HELLO from one connection to each socket")
def hellos_of_one(target: Target) -> int:
    return _hellos(target, 1)


@flood("HELLO from 150 connections to each socket")
def hellos_of_many(target: Target) -> int:
    return _hellos(target, 150)


@flood("chunks that nobody expects")
def chunks(target: Target) -> int:
    count = 0
    with zmq.Context() as context, client(target, "file", context) as one:
        data = bytes(256 * 1024)
        for _ in attempts(target):
            with suppress(zmq.ZMQError):
                one.send_multipart([b"CHUNK", b"0", data])
                count += 1
    return count


@flood("HELLO with a new routing id each time")
def routing_ids(target: Target) -> int:
    count = 0
    message = [b"", dumps("HELLO", hello())]
    with zmq.Context() as context:
        for number in attempts(target):
            one = context.socket(zmq.DEALER)
            one.linger, one.routing_id = 200, b"piw1-%d" % number
            if target.pair is not None:
                public, secret, server = (each.encode() for each in target.pair)
                one.curve_publickey, one.curve_secretkey = public, secret
                one.curve_serverkey = server
            one.connect(target.addresses["slave"])
            with suppress(zmq.ZMQError):
                one.send_multipart(message)
                one.poll(50)
                count += 1
            one.close()
    return count


@flood("a message of 100,000 frames", without=False)
def many_frames(target: Target) -> int:
    count = 0
    with zmq.Context() as context:
        for _ in attempts(target):
            with client(target, "slave", context) as one, suppress(zmq.ZMQError):
                one.send_multipart([bytes(1000)] * 100_000)
                count += 1
                one.poll(2000)
    return count


@flood("valid rows of the access log", with_keys=False)
def log_rows(target: Target) -> int:
    row = dumps("LOGSEARCH", ["demo", "192.0.2.7", STATS[0], *["x" * 5000] * 10])
    count = 0
    with zmq.Context() as context, client(target, "log", context) as one:
        for _ in attempts(target):
            with suppress(zmq.ZMQError):
                one.send(row)
                count += 1
    return count
