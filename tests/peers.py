"""Peers of the master for its tests: build slaves, importers and consoles."""

import itertools
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import zmq

from helpers import Connected, patience
from piwheels.core import codec
from piwheels.core.protocols import CONSOLE_ANSWERS, NoData, console, mr_chase
from piwheels.core.schema import schema_of
from piwheels.core.states import Pending
from piwheels.core.transport import Context
from piwheels.master.messages import BuildQueue, ExpectFile, VerifyFile
from slave_messages import target_for


class Slave:
    """A level 0 slave: a REQ socket and bare frames; *features* make it one of level 1."""

    def __init__(self, config, label="board", abi="cp311", identity=None, **features):
        self.config, self.label, self.abi, self.features = config, label, abi, features
        self.socket = zmq.Context.instance().socket(zmq.REQ)
        self.socket.linger = 0
        if identity is not None:
            self.socket.setsockopt(zmq.IDENTITY, identity)
        self.socket.connect(config.slave_queue)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def say(self, msg, data=NoData, timeout=30):
        self.socket.send(codec.dumps(msg, data))
        assert self.socket.poll(patience(timeout) * 1000), f"no answer to {msg}"
        return codec.loads(self.socket.recv())

    def hello(self):
        waits = timedelta(seconds=3600), timedelta(seconds=300)
        info = [*waits, self.abi[2:], self.abi, "linux_x86_64", self.label, "Debian", "12", "", ""]
        if self.features:
            info.append({"level": 1, **self.features})
        msg, (self.id, url) = self.say("HELLO", info)
        assert (msg, url) == ("ACK", "https://index.example/simple")
        return self

    def stats(self, msg):
        return self.say(msg, [datetime.now(UTC), 9, 8, 7, 6, 5, 4, 0.5, 40.0])

    def work(self):
        """Ask until there is a build."""
        for _ in range(100):
            msg, data = self.stats("IDLE")
            if msg == "BUILD":
                return data
            assert msg == "SLEEP"
            time.sleep(0.02)
        pytest.fail("there is nothing to build")

    def built(self, *files, status=True, log="log\n", duration=timedelta(seconds=2)):
        return self.say("BUILT", [status, duration, log, list(files)])

    def send(self, content):
        send_file(self.config, self.id, content)


def send_file(config, number, content):
    """Send a file like a level 0 slave or importer with this number; return when it is complete."""
    with zmq.Context.instance().socket(zmq.DEALER) as files:
        files.linger = 0
        files.connect(config.file_queue)
        files.send_multipart([b"HELLO", b"%d" % number])
        while True:
            assert files.poll(patience(20_000)), "nothing is fetched"
            match files.recv_multipart():
                case [b"DONE"]:
                    return
                case [b"FETCH", offset, length]:
                    start = int(offset)
                    data = content[start : start + int(length)]
                    files.send_multipart([b"CHUNK", offset, data])


def queue_up(config, *jobs, abi="cp311"):
    # A push socket of the real wire lets go of its message when it is closed: wait for the reader.
    with Connected(config, "builds") as builds:
        target = target_for(abi)
        rows = [Pending(*job, *target, due=due) for due, job in enumerate(jobs)]
        builds.push(BuildQueue([target], [rows]))
        builds.ports.socket("builds").close(linger=1)


class Files(Connected):
    """Sends requests to FileJuggler like SlaveDriver, but waits for the answers."""

    def __init__(self, config):
        super().__init__(config, "files")

    def expect(self, number, state, publish_as=None):
        self.call(ExpectFile(number, state, publish_as))

    def verify(self, number, package):
        return self.call(VerifyFile(number, package))


class Console:
    """A console: it sends requests, keeps other messages in *events*, and validates everything."""

    def __init__(self, address, who="me"):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(address)
        self.who = who
        self.events = []
        self._tickets = itertools.count(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, msg, data=NoData):
        ticket = next(self._tickets)
        self.socket.send_multipart([ticket.to_bytes(8, "big"), codec.dumps(msg, data)])
        return ticket

    def recv(self, seconds=30):
        assert self.socket.poll(patience(seconds) * 1000), "nothing has come"
        ticket, frame = self.socket.recv_multipart()
        msg, data = codec.loads(frame)
        return int.from_bytes(ticket, "big"), msg, reversed(console).received(msg, data)

    def answer(self, ticket, msg):
        """Return the answer under *ticket*, or why there is none (as ``(msg, why)``)."""
        while True:
            got, kind, data = self.recv()
            if kind == "REFUSED" and got == ticket:
                return kind, data
            if kind == "OK" and got == ticket:
                return schema_of(CONSOLE_ANSWERS[msg]).validate(data)
            self.events.append((got, kind, data))

    def ask(self, msg, data=NoData):
        return self.answer(self.send(msg, data), msg)

    def hello(self):
        self.welcome = self.ask("HELLO", [1, self.who])
        return self

    def event(self, kind):
        """Wait for the next unrequested message of this *kind*; return its ticket and data."""
        while not (found := [one for one in self.events if one[1] == kind]):
            self.events.append(self.recv())
        self.events.remove(found[0])
        return found[0][0], found[0][2]

    def has_no_events(self):
        self.ask("FIGURES")
        return not self.events


class FakePeer(threading.Thread):
    """Answers the messages to a ROUTER at *address*; subclasses define the answers."""

    def __init__(self, address, protocol=None, socket=None):
        super().__init__(daemon=True)
        self.address = address
        self._over = threading.Event()
        self._socket = socket
        if socket is None:
            self._socket = Context().socket(zmq.ROUTER, protocol)
            self._socket.hwm = 10_000
            self._socket.bind(address)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._over.set()
        self.join(patience(30))

    def run(self):
        while not self._over.is_set():
            if self._socket.poll(0.05):
                self.answer(self._socket)
        self._socket.close()

    def answer(self, socket):
        raise NotImplementedError


class FakeMrChase(FakePeer):
    """Replaces MrChase: records the requests of tools, and sends prepared answers.

    *answers* has a reply for each message, or a list of replies to send in turn.
    """

    def __init__(self, address):
        super().__init__(address, mr_chase)
        self.asked, self.answers = [], {}

    def answer(self, socket):
        address, msg, data = socket.recv_addr_msg()
        self.asked.append((msg, data))
        reply = self.answers[msg]
        reply = reply.pop(0) if isinstance(reply, list) else reply
        if reply is not None:
            socket.send_addr_msg(address, *reply)
