"""Floods on a piw-master: its memory, and how long honest slaves wait for answers meanwhile."""

from __future__ import annotations

import multiprocessing
import socket
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import zmq
from support import ABI, farm, fill, free_port, program
from support.slaves import identify, request

from piwheels.core.codec import loads
from piwheels.core.database import Database
from piwheels.core.keys.files import KeyFolder, new_pair
from piwheels.core.keys.ring import Enrolled, Role

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from hostile.clients import CLIENTS, GET, PAGE
from hostile.floods import FLOODS, TYPES, Flood, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piwheels.core.keys.files import KeyPair

#: How long each flood lasts, and the longest wait for an answer, in seconds.
SECONDS, LONGEST = 6.0, 60.0
#: The honest slave has another address than those who flood.
HONEST = "tcp://127.0.0.9:0;{}"


class Result(NamedTuple):
    """What a flood did: its messages, the master's greatest memory in MB, the slowest answers."""

    messages: int
    memory: float
    answer: float
    welcome: float
    ended: bool


class Honest(threading.Thread):
    """An honest slave that builds, and others that join now and then."""

    def __init__(self, address: str, pair: KeyPair | None) -> None:
        super().__init__(daemon=True)
        self._address = HONEST.format(address.removeprefix("tcp://"))
        self._pair = pair
        self.over = threading.Event()
        self.answer = self.welcome = 0.0
        self.builds = 0

    def run(self) -> None:
        """Build and join until ``over``."""
        with zmq.Context() as context, self._socket(context) as slave:
            self._ask(slave, "HELLO")
            while not self.over.is_set():
                for msg in ("IDLE", "BUSY", "BUILT"):
                    began = time.monotonic()
                    reply = self._ask(slave, msg)
                    self.answer = max(self.answer, time.monotonic() - began)
                    if reply == "SLEEP":
                        break
                    self.builds += reply == "DONE"
                began = time.monotonic()
                with self._socket(context) as newcomer:
                    self._ask(newcomer, "HELLO")
                    self.welcome = max(self.welcome, time.monotonic() - began)
                    if not self.over.is_set():
                        newcomer.send(request("BYE"))
                time.sleep(0.05)

    def _socket(self, context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
        made = context.socket(zmq.REQ)
        made.linger, made.rcvtimeo = 100, int(1000 * LONGEST)
        identify(made, self._pair)
        made.connect(self._address)
        return made

    def _ask(self, slave: zmq.Socket[bytes], msg: str) -> str:
        try:
            slave.send(request(msg))
            return loads(slave.recv())[0]
        except zmq.ZMQError:
            self.answer = LONGEST
            self.over.set()
            return "SLEEP"


def flood_at(name: str, target: Target) -> int:
    """Run the flood of this *name*; return how many messages it has sent."""
    return next(each for each in FLOODS if each.name == name).run(target)


def measure(home: Path, dsn: str, flood: Flood, pairs: tuple[KeyPair, KeyPair] | None) -> Result:
    """Run *flood* at a new master, with keys if there are *pairs* of a hostile and a good slave."""
    addresses = {wire: f"ipc://{home}/{wire}" for wire in TYPES}
    addresses |= {wire: f"tcp://127.0.0.1:{free_port()}" for wire in ("slave", "file")}
    options = [f"--{wire}-queue={address}" for wire, address in addresses.items()]
    options += [f"--dsn={dsn}", "--pypi-simple=https://index.example/simple", f"-o={home}/site"]
    options += [f"--keys={home}/keys"] if pairs is not None else []
    hostile, good = pairs or (None, None)
    with (
        program(home, "piwheels.master", *options, may_end=True) as process,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
    ):
        honest = Honest(addresses["slave"], good)
        honest.start()
        while not honest.builds and honest.is_alive():
            time.sleep(0.05)
        honest.answer = honest.welcome = 0.0
        count = pool.submit(flood_at, flood.name, Target(addresses, SECONDS, hostile)).result(600)
        honest.over.set()
        ended = process.poll() is not None
        memory = float("nan") if ended else memory_of(process.pid)
        return Result(count, memory, honest.answer, honest.welcome, ended)


def memory_of(pid: int) -> float:
    """Return the greatest memory that a process has had, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


def enrolled(home: Path) -> tuple[KeyPair, KeyPair]:
    """Return the keys of two slaves, which the master with the keys in *home* admits."""
    folder, now = KeyFolder(home / "keys"), datetime.now(UTC)
    pairs = new_pair(folder.pair().public), new_pair(folder.pair().public)
    for name, pair in zip(("hostile", "good"), pairs, strict=True):
        new = Enrolled(Role.SLAVE, name, pair.public, now)
        folder.change(lambda ring, new=new: ring.enrol(new, now))
    return pairs


def chosen() -> Iterator[tuple[Flood, bool]]:
    """Yield the floods, without and with keys."""
    for flood in FLOODS:
        if all(word in flood.name for word in sys.argv[1:]):
            yield from ((flood, keys) for keys in (False, True) if flood.works(keys=keys))


class Visitor(threading.Thread):
    """An honest client of the site at *port*: the slowest answer it gets, in seconds."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port, self.over, self.answer = port, threading.Event(), 0.0

    def run(self) -> None:
        """Ask for a page on a new connection, now and then, until ``over``."""
        while not self.over.is_set():
            began = time.monotonic()
            with socket.socket() as one:
                one.settimeout(LONGEST)
                one.bind(("127.0.0.9", 0))
                try:
                    one.connect(("127.0.0.1", self._port))
                    one.sendall(GET % PAGE)
                    good = one.recv(100).startswith(b"HTTP/1.1 200")
                except OSError:
                    good = False
            self.answer = max(self.answer, time.monotonic() - began if good else LONGEST)
            time.sleep(0.02)


def measure_site(home: Path, name: str) -> tuple[int, float, float]:
    """Run the hostile clients of this *name*; return their requests, memory, slowest answer."""
    port = free_port()
    options = [f"-o={home}/www", f"--port={port}"]
    with (
        program(home, "piwheels.serve", *options) as process,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
    ):
        pool.submit(int).result()
        while not listens(port):
            time.sleep(0.05)
        visitor = Visitor(port)
        visitor.start()
        count = pool.submit(attack_site, name, port).result(600)
        visitor.over.set()
        visitor.join(LONGEST)
        return count, memory_of(process.pid), visitor.answer


def listens(port: int) -> bool:
    """Return whether someone listens on *port*."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def attack_site(name: str, port: int) -> int:
    """Run the hostile clients of this *name*."""
    return next(each for each in CLIENTS if each.__name__ == name)(port, 2 * SECONDS)


def floods_of_the_site(home: Path) -> None:
    """Print a table of piw-serve."""
    (home / "www").mkdir()
    (home / "www" / "index.html").write_text("<home>" * 100)
    (home / "www" / "large.whl").write_bytes(bytes(60 * 10**6))
    for attack in CLIENTS:
        if all(word in attack.__name__ for word in sys.argv[1:]):
            count, memory, answer = measure_site(home, attack.__name__)
            sys.stdout.write(
                f"site: {attack.__name__:57} {count:11,} {memory:6.0f} MB {answer:6.2f} s\n"
            )
            sys.stdout.flush()


def main() -> int:
    """Run all floods (or those whose names contain the arguments), and print a table."""
    head = "flood", "keys", "sent", "memory", "answer", "welcome"
    sys.stdout.write("{:58} {:4} {:>11} {:>9} {:>8} {:>8}\n".format(*head))
    with farm() as ours:
        with Database(ours.dsn) as db:
            db.add_build_abi(ABI)
        fill(ours.superuser, 5_000, 20)
        pairs = enrolled(ours.home)
        for flood, keys in chosen():
            result = measure(ours.home, ours.dsn, flood, pairs if keys else None)
            sys.stdout.write(
                f"{flood.name:58} {'yes' if keys else 'no':4} {result.messages:11,}"
                f" {result.memory:6.0f} MB {result.answer:6.2f} s {result.welcome:6.2f} s"
                f"{' THE MASTER HAS ENDED' if result.ended else ''}\n"
            )
            sys.stdout.flush()
        floods_of_the_site(ours.home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
