"""Simulated slaves, many of them in one thread, which build nothing."""

from __future__ import annotations

import hashlib
import heapq
import io
import select
import time
import zipfile
from base64 import urlsafe_b64encode
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import zmq

from piwheels.core.codec import NoData, dumps, loads

from . import ABI, LOG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from piwheels.core.keys.files import KeyPair

#: The next request of a slave for each reply, where there is a choice.
BUILDING = {"BUILD": "BUSY", "CONT": "BUILT"}
HEARTBEATS = {"BUILD": "BUSY", "CONT": "BUSY"}
NAP = 0.1  # seconds between two requests of a slave after SLEEP


def request(msg: str, *files: Sequence[Any]) -> bytes:
    """Return the frame of a slave's request; a build with *files* has succeeded."""
    hours, statistics = timedelta(hours=3), [10**11, 10**10, 10**9, 10**9, 0, 0, 0.5, 45.0]
    match msg:
        case "HELLO":
            here = ["linux_x86_64", "bench", "Debian", "13", "", ""]
            return dumps(msg, [hours, hours, ABI[2:], ABI, *here])
        case "BUILT":
            return dumps(msg, [bool(files), timedelta(seconds=5), LOG, files])
        case "IDLE" | "BUSY":
            return dumps(msg, [datetime.now(UTC), *statistics])
    return dumps(msg, NoData)


class Crowd:
    """*count* slaves, each with its connection; ``latency`` has seconds by (request, reply).

    They share the keys *pairs*, if there are any: an owner has 100 slaves at most.
    """

    def __init__(
        self,
        address: str,
        count: int,
        plan: Mapping[str, str],
        pause: float = 0,
        pairs: Sequence[KeyPair] = (),
    ) -> None:
        self.latency: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._next = {"ACK": "IDLE", "SLEEP": "IDLE", "DONE": "IDLE", **plan}
        self._pause = pause
        self._frames = {msg: request(msg) for msg in ("HELLO", "IDLE", "BUSY", "BUILT")}
        self._ctx = zmq.Context()
        self._ctx.set(zmq.MAX_SOCKETS, 2 * count + 100)
        self._sockets: dict[int, zmq.Socket[bytes]] = {}
        self._asked: dict[int, tuple[str, float]] = {}
        self._later: list[tuple[float, int, str]] = []
        self._epoll = select.epoll()
        for number in range(count):
            sock = self._ctx.socket(zmq.DEALER)
            identify(sock, pairs[number % len(pairs)] if pairs else None)
            sock.connect(address)
            self._sockets[sock.fileno()] = sock
            self._epoll.register(sock.fileno(), select.EPOLLIN)
            # Spread the heartbeats over a pause.
            heapq.heappush(
                self._later, (time.monotonic() + pause * number / count, sock.fileno(), "HELLO")
            )

    def run(self, seconds: float) -> float:
        """Run for *seconds* with an empty ``latency``; return the actual duration."""
        self.latency.clear()
        start = time.monotonic()
        while (now := time.monotonic()) < start + seconds:
            while self._later and self._later[0][0] <= now:
                self._ask(*heapq.heappop(self._later)[1:])
            wait = self._later[0][0] - now if self._later else 0.1
            for fd, _ in self._epoll.poll(min(0.1, max(0.0, wait))):
                self._receive(fd)
        return time.monotonic() - start

    def close(self) -> None:
        """Send BYE and close the connections."""
        for sock in self._sockets.values():
            sock.send_multipart([b"", request("BYE")])
        self._epoll.close()
        self._ctx.destroy(linger=1000)

    def _ask(self, fd: int, msg: str) -> None:
        self._asked[fd] = msg, time.perf_counter()
        self._sockets[fd].send_multipart([b"", self._frames[msg]])

    def _receive(self, fd: int) -> None:
        sock = self._sockets[fd]
        frame = None
        while sock.poll(0):  # read everything: the descriptor signals only changes
            frame = sock.recv_multipart()[-1]
        if frame is None:
            return
        now = time.perf_counter()
        asked, since = self._asked[fd]
        msg, _ = loads(frame)
        self.latency[asked, msg].append(now - since)
        pause = NAP if msg == "SLEEP" else self._pause
        if pause:
            heapq.heappush(self._later, (time.monotonic() + pause, fd, self._next[msg]))
        else:
            self._ask(fd, self._next[msg])


def wheel(package: str, version: str, blob: bytes) -> tuple[list[Any], bytes]:
    """Return the file state and the bytes of a wheel that contains *blob*, uncompressed."""
    tags, info = ("cp311", ABI, "linux_x86_64"), f"{package}-{version}.dist-info"
    about = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    tagged = f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {'-'.join(tags)}\n"
    files = {f"{package}/blob.bin": blob}
    files |= {f"{info}/METADATA": about.encode(), f"{info}/WHEEL": tagged.encode()}
    record = "".join(
        f"{name},sha256={urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b'=').decode()},"
        f"{len(text)}\n"
        for name, text in files.items()
    )
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    content = data.getvalue()
    name = f"{package}-{version}-{'-'.join(tags)}.whl"
    digest = hashlib.sha256(content).hexdigest()
    state: list[Any] = [name, len(content), digest, package, version, *tags, None, {}, "/simple"]
    return state, content


def identify(sock: zmq.Socket[bytes], pair: KeyPair | None) -> None:
    """Have *sock* use a key *pair* (``None``: none)."""
    if pair is not None:
        sock.curve_publickey, sock.curve_secretkey, sock.curve_serverkey = map(str.encode, pair)


def send_wheels(
    slaves: str, files: str, blob: bytes, seconds: float, pair: KeyPair | None
) -> list[list[float]]:
    """Send wheels that contain *blob*, one after the other, for *seconds*.

    Return for each its size in bytes, the seconds of its transfer, and those from SENT to DONE.
    """
    end, measured, ctx = time.monotonic() + seconds, [], zmq.Context()

    def ask(frame: bytes) -> tuple[str, Any]:
        talk.send(frame)
        return loads(talk.recv())

    with ctx.socket(zmq.REQ) as talk, ctx.socket(zmq.DEALER) as wire:
        for sock, address in (talk, slaves), (wire, files):
            sock.linger, sock.rcvtimeo = 1000, 30_000
            identify(sock, pair)
            sock.connect(address)
        slave_id, _ = ask(request("HELLO"))[1]
        while time.monotonic() < end:
            msg, job = ask(request("IDLE"))
            if msg != "BUILD":
                time.sleep(NAP)
                continue
            state, content = wheel(job[0], job[1], blob)
            msg, _ = ask(request("BUILT", state))
            start = time.perf_counter()
            while msg == "SEND":
                _send(wire, slave_id, memoryview(content))
                sent = time.perf_counter()
                msg, _ = ask(request("SENT"))
                measured.append([len(content), sent - start, time.perf_counter() - sent])
        talk.send(request("BYE"))
    ctx.destroy(linger=1000)
    return measured


def _send(wire: zmq.Socket[bytes], slave_id: int, content: memoryview) -> None:
    wire.send_multipart([b"HELLO", str(slave_id).encode()])
    while True:
        msg, *args = wire.recv_multipart()
        if msg == b"DONE":
            return
        start = int(args[0])
        wire.send_multipart([b"CHUNK", args[0], content[start : start + int(args[1])]])
