"""A master's side of the console's sockets, driven by hand."""

import time

import pytest
import zmq

from helpers import patience
from piwheels.core import codec
from piwheels.core.codec import NoData
from piwheels.core.protocols import console, master_control, monitor_stats
from piwheels.core.transport import Context


class Master:
    """The sockets of a master in *folder*; a test sends its messages."""

    def __init__(self, folder, *, level=1):
        self.addresses = {"status": f"ipc://{folder}/status", "control": f"ipc://{folder}/control"}
        if level:
            self.addresses["console"] = f"ipc://{folder}/console"
        self.open()

    def open(self):
        context = Context()
        self.status = context.socket(zmq.PUB, monitor_stats)
        self.status.hwm = 100_000
        self.control = context.socket(zmq.PULL, master_control)
        self.console = context.socket(zmq.ROUTER, console)
        for name, address in self.addresses.items():
            getattr(self, name).bind(address)

    def close(self):
        for each in (self.status, self.control, self.console):
            each.close()

    def say(self, msg, data=NoData):
        self.status.send_msg(msg, data)

    def next_command(self, seconds=30):
        """Return the next message on the control socket."""
        assert self.control.poll(patience(seconds)), "nothing has come"
        return self.control.recv_msg()

    def next_request(self, seconds=30):
        """Return the next request on the console socket: its sender, message and data."""
        assert self.console.poll(patience(seconds)), "nothing has come"
        peer, ticket, frame = self.console.recv_multipart()
        msg, data = codec.loads(frame)
        return (peer, ticket), msg, console.received(msg, data)

    def answer(self, where, msg, data=NoData):
        self.console.send_multipart([*where, codec.dumps(msg, console.to_send(msg, data))])


@pytest.fixture
def make_master(short_dir):
    """Return a maker of masters, each in a folder of its own; closed after the test."""
    made = []

    def make(**how):
        folder = short_dir / f"c{time.monotonic_ns() % 10**9}"
        made.append(Master(folder, **how))
        return made[-1]

    yield make
    for master in made:
        master.close()
