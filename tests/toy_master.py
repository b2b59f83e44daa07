"""A master for real slaves, controlled by a test."""

import time

import pytest
import zmq

from helpers import free_port, patience, until
from piwheels.core.codec import NoData
from piwheels.core.errors import Fatal
from piwheels.core.protocols import slave_driver
from piwheels.core.transport import Context

#: The file of the version that it has slaves build.
NAME = "demo-1.0-py3-none-any.whl"


class Master:
    """The master as the test plays it, on both wires; it can vanish and come back."""

    def __init__(self):
        self.ports = [free_port(), free_port()]
        self.queue = self.files = None
        self.back()

    def back(self):
        self.context = zmq.Context()
        ctx = Context(self.context)
        self.queue = ctx.socket(zmq.ROUTER, slave_driver)
        self.files = ctx.socket(zmq.ROUTER)
        for socket, address in zip((self.queue, self.files), self.addresses, strict=True):
            until(lambda: _binds(socket, address))  # noqa: B023 (it is called at once)

    def vanish(self):
        self.queue.close()
        self.files.close()
        self.context.term()  # then the ports are free

    @property
    def addresses(self):
        return [f"tcp://127.0.0.1:{port}" for port in self.ports]

    def receive(self, *expected, seconds=30):
        """Return the data of the next request, which must be one of those expected."""
        assert self.queue.poll(patience(seconds)), f"no {expected} within {seconds} s"
        self.peer, msg, data = self.queue.recv_addr_msg()
        assert msg in expected, (msg, data)
        self.received = msg
        return data

    def say(self, msg, data=NoData):
        self.queue.send_addr_msg(self.peer, msg, data)

    def raw(self, *frames):
        self.queue.send_multipart([self.peer, *frames])

    def welcome(self):
        info = self.receive("HELLO")
        self.say("ACK", (7, ""))
        return info

    def welcome_id(self):
        """Welcome a slave; return its routing id."""
        self.welcome()
        return self.peer

    def give_build(self):
        self.welcome()
        self.receive("IDLE")
        self.say("BUILD", ("demo", "1.0"))

    def output_with(self, text, seconds=20):
        """Reply CONT until an OUTPUT has *text*; leave that one without a reply."""
        end = time.monotonic() + patience(seconds)
        while time.monotonic() < end:
            data = self.receive("BUSY", "OUTPUT")  # pip may be slow to say something
            if self.received == "OUTPUT" and text in data.text:
                return data
            self.say("CONT")
        pytest.fail(f"no OUTPUT has {text}")

    def built(self, *others, seconds=60):
        """Reply CONT until the build has ended; return the data of BUILT."""
        end = time.monotonic() + patience(seconds)
        while time.monotonic() < end:
            data = self.receive("BUSY", "BUILT", *(others or ["OUTPUT"]))
            match self.received:
                case "BUILT":
                    return data
                case "HELLO":
                    self.say("ACK", (7, ""))
                case _:
                    self.say("CONT")
        pytest.fail("the build does not end")

    def fetch(self, size, number=b"7"):
        assert self.files.poll(patience(30))
        peer, *frames = self.files.recv_multipart()
        assert frames == [b"HELLO", number]
        self.files.send_multipart([peer, b"FETCH", b"0", b"%d" % size])
        assert self.files.poll(patience(30))
        _, *frames = self.files.recv_multipart()
        assert frames[:2] == [b"CHUNK", b"0"]
        self.files.send_multipart([peer, b"DONE"])
        return frames[2]


def _binds(socket, address):
    """Bind *socket*; return whether *address* is free: the one before may be closed a bit later."""
    try:
        socket.bind(address)
    except Fatal:
        return False
    return True
