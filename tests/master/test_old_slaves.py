"""Unmodified slaves of level 0 outlive restarts of the master and long outages, without a human.

The slave here follows docs/protocols.md, level 0, and nothing else: it abandons a conversation
after a time-out, ends for good at ``DIE``, and repeats the ``HELLO`` of a transfer for ever.
"""

import hashlib
import socket
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import zmq

from clocks import StepClock
from helpers import free_port, until, wheel_bytes
from peers import queue_up
from piwheels.core import codec
from piwheels.core.codec import NoData
from piwheels.core.states import FileState
from piwheels.master.file_juggler import FileJuggler
from piwheels.master.slave_driver import SlaveDriver

CONTENT = wheel_bytes("demo", blob=b"x" * 1000)
NAME = "demo-1.0-py3-none-any.whl"
HASH = hashlib.sha256(CONTENT).hexdigest()
TAGS = "demo", "1.0", "py3", "none", "any"
#: The time-out of the old slave in seconds (five minutes, were it real), and its other pauses.
TIMEOUT, PAUSE = 2.0, 0.05


class GaveUp(Exception):
    """The master has not replied in time: the old slave begins again."""


class OldSlave(threading.Thread):
    """A slave of level 0. *held* is the request before which it stops until :meth:`go_on`."""

    def __init__(self, config, held=""):
        super().__init__(daemon=True)
        self.config, self.held = config, held
        self.said, self.died, self.ending = [], False, False
        self.reached, self._released = threading.Event(), threading.Event()

    def go_on(self):
        self._released.set()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ending = True
        self.go_on()
        self.join(30)
        assert not self.is_alive()

    def run(self):
        while not self.ending and not self.died:
            with zmq.Context() as context, context.socket(zmq.REQ) as queue:
                queue.linger = 0
                queue.connect(self.config.slave_queue)
                try:
                    self.talk(context, queue)
                except GaveUp:
                    continue

    def ask(self, queue, msg, data=NoData):
        if msg == self.held and not self._released.is_set():
            self.reached.set()
            self._released.wait(60)
        self.said.append(msg)
        queue.send(codec.dumps(msg, data))
        if not self.wait_for(queue, TIMEOUT):
            raise GaveUp
        return codec.loads(queue.recv())

    def wait_for(self, queue, seconds):
        for _ in range(round(seconds / PAUSE)):
            if self.ending:
                raise GaveUp
            if queue.poll(PAUSE * 1000):
                return True
        return False

    def talk(self, context, queue):
        waits = timedelta(hours=3), timedelta(minutes=5)
        info = [*waits, "311", "cp311", "linux_x86_64", "old", "Debian", "12", "", ""]
        msg, data = self.ask(queue, "HELLO", info)
        while not self.ending:
            stats = [datetime.now(UTC), 9, 8, 7, 6, 5, 4, 0.5, 40.0]
            match msg:
                case "ACK":
                    number = data[0]
                    msg, data = self.ask(queue, "IDLE", stats)
                case "SLEEP" | "DONE":
                    threading.Event().wait(PAUSE)
                    msg, data = self.ask(queue, "IDLE", stats)
                case "BUILD":
                    msg, data = self.ask(queue, "BUSY", stats)
                case "CONT":
                    state = FileState(NAME, len(CONTENT), HASH, *TAGS, None, {}).as_message()
                    took = timedelta(seconds=1)
                    msg, data = self.ask(queue, "BUILT", [True, took, "log\n", [state]])
                case "SEND":
                    self.send(context, number)
                    msg, data = self.ask(queue, "SENT")
                case _:
                    self.died = True
                    return

    def send(self, context, number):
        """Send the file. Without an answer, HELLO is repeated for ever (here: often)."""
        with context.socket(zmq.DEALER) as files:
            files.linger = 0
            files.connect(self.config.file_queue)
            files.send_multipart([b"HELLO", b"%d" % number])
            while True:
                if not self.wait_for(files, 4 * PAUSE):
                    files.send_multipart([b"HELLO", b"%d" % number])
                    continue
                match files.recv_multipart():
                    case [b"DONE"]:
                        return
                    case [b"FETCH", offset, length]:
                        if self.held == "CHUNK" and not self._released.is_set():
                            self.reached.set()
                            self._released.wait(60)
                            continue  # the request was lost with the connection
                        end = int(offset) + int(length)
                        data = CONTENT[int(offset) : end]
                        files.send_multipart([b"CHUNK", offset, data])


@pytest.fixture
def config(with_db, db, other_end):
    """The configuration of masters on TCP, one after another; demo 1.0 has to be built."""
    for queue in ("slave_queue", "file_queue"):
        object.__setattr__(with_db, queue, f"tcp://127.0.0.1:{free_port()}")
    object.__setattr__(with_db, "pypi_simple", "https://index.example/simple")
    for name in ("web", "events"):
        other_end(with_db, name)
    db.add_build_abi("cp311")
    db.add_new_package("demo")
    db.add_new_package_version("demo", "1.0", datetime.now(UTC))
    return with_db


def is_free(address):
    """Return whether 0MQ has closed the socket of the last master at *address*."""
    try:
        socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))).close()
    except OSError:
        return False
    return True


@contextmanager
def a_master(config, running, clock):
    for address in (config.slave_queue, config.file_queue):
        until(lambda address=address: is_free(address))
    driver = SlaveDriver(config)
    driver.clock = clock
    with running(FileJuggler(config), driver):
        queue_up(config, ("demo", "1.0"))
        yield driver


def is_stored(db, clock):
    """Return whether the build is stored; let a second pass for the limits of the master."""
    clock.advance(1)
    return [one.status for one in db.get_builds([("demo", "1.0")])] == [True]


@pytest.mark.parametrize("phase", ["HELLO", "IDLE", "BUSY", "BUILT", "CHUNK", "SENT"])
def test_a_restart_of_the_master_in_any_phase(config, db, running, phase):
    """The slave is about to send *phase* when the master stops; a new one starts before it does."""
    clock = StepClock()
    with OldSlave(config, held=phase) as slave:
        with a_master(config, running, clock):
            until(slave.reached.is_set, 30)
        with a_master(config, running, clock) as driver:
            until(lambda: driver.fleet.queue.rows)
            clock.advance(301)  # the lease of the lost build ends
            slave.go_on()
            until(lambda: is_stored(db, clock), 20, lambda: slave.said[:30], pause=0.1)
        assert not slave.died


def test_an_outage_of_more_than_five_minutes(config, db, running):
    clock = StepClock()
    with OldSlave(config, held="BUSY") as slave, a_master(config, running, clock) as driver:
        until(slave.reached.is_set, 30)
        clock.advance(301)
        until(lambda: not driver.fleet.slaves, 30)  # declared dead
        slave.go_on()
        until(lambda: is_stored(db, clock), 20, lambda: slave.said[:30], pause=0.1)
        assert not slave.died
        assert slave.said.count("HELLO") == 2


@pytest.mark.parametrize("msg", ["SENT", "nonsense"])
def test_a_message_that_the_master_refuses_does_not_end_the_slave(config, db, running, msg):
    clock = StepClock()
    with OldSlave(config) as slave, a_master(config, running, clock):
        ask = slave.ask

        def ask_once(queue, request, data=NoData):
            if request == "BUSY" and slave.said.count("BUSY") == 0:
                slave.said.append("BUSY")
                return ask(queue, msg, data)
            return ask(queue, request, data)

        slave.ask = ask_once
        until(lambda: is_stored(db, clock), 20, lambda: slave.said[:30], pause=0.1)
        assert not slave.died
