"""No message ends or stalls the master: every wire of the table, and every answer."""

import logging
import threading
from collections import Counter
from dataclasses import dataclass

import pytest

from helpers import LOGGER, own_config, until
from piwheels.core.errors import DatabaseError
from piwheels.core.states import Count
from piwheels.core.tasks import NonStopTask
from piwheels.core.transport import Context
from piwheels.master import app, ports
from piwheels.master.app import CAST, PiWheelsMaster
from piwheels.master.messages import Request
from piwheels.master.ports import SOCKET_TYPES, Ports, handle
from piwheels.master.wiring import WIRES, Wire

#: Nobody sends anything to the master on this wire.
SEND_ONLY = {"status"}
#: The wires between its tasks on which a message has frames before the message itself.
TICKETS = {"rpc": [b"12345678"], "router": [b"12345678"], "push": []}


class Injected:
    """Has the handlers of wires fail: those of :attr:`armed` once, after they have read."""

    def __init__(self):
        self.armed, self.handled, self.readers = set(), Counter(), {}

    def handle(self, queue, handler, unexpected):
        def wrapped(inbox):
            name = threading.current_thread().name
            self.readers.setdefault(inbox.wire, set()).add(name)
            try:
                handler(inbox)
            finally:
                if inbox.wire in self.armed:
                    self.armed.discard(inbox.wire)
                    raise ZeroDivisionError(f"injected: {inbox.wire}")
                self.handled[inbox.wire] += 1

        handle(queue, wrapped, unexpected)


@pytest.fixture
def injected(monkeypatch):
    made = Injected()
    for module in (app, ports):
        monkeypatch.setattr(module, "handle", made.handle)
    return made


def test_no_message_on_any_wire_ends_a_task(injected, db_dsn, tmp_path, caplog):
    """The next message is handled, and the log has the first one."""
    caplog.set_level(logging.ERROR)
    index = "https://index.example/simple"
    config = own_config(dsn=db_dsn, output_path=tmp_path, dev_mode=True, pypi_simple=index)
    master = PiWheelsMaster(config)
    thread = threading.Thread(target=master.main_loop, name="main")
    thread.start()
    try:
        until(lambda: master._ready)
        for wire in WIRES:
            if wire.name not in SEND_ONLY:
                break_handler_of(wire, injected, config, caplog)
        assert {task.name for task in master.tasks} == {cls.name for cls in CAST}
        assert all(task.is_alive() for task in master.tasks)
    finally:
        master.stop()
        thread.join(30)
    assert not thread.is_alive()
    assert [task.failure for task in master.tasks] == [None] * len(master.tasks)
    names = {cls.__name__: cls.name for cls in CAST} | {"main": "main"}
    for wire in WIRES:
        if wire.name not in SEND_ONLY:
            assert names[wire.binds] in injected.readers[wire.name], injected.readers


def break_handler_of(wire, injected, config, caplog):
    with Context().socket(SOCKET_TYPES[wire.pattern][1]) as sender:
        sender.connect(wire.address(config))

        def send():
            if wire.name != "oracles":  # it would be taken for an oracle; real answers suffice
                sender.send_multipart([*TICKETS[wire.pattern], b"\xff garbage"])

        injected.armed.add(wire.name)
        send()
        until(lambda: f"injected: {wire.name}" in caplog.text, why=f"{wire.name} is not served")
        [line] = [each for each in caplog.messages if f"injected: {wire.name}" in each]
        assert line.startswith("a fault of piwheels, please report it: a message on the wire")
        assert f"{wire.name}: " in line
        before = injected.handled[wire.name]
        send()
        until(lambda: injected.handled[wire.name] > before, why=f"{wire.name} has stalled")


@dataclass(frozen=True)
class Echo(Request[Count]):
    number: Count


TOY = Wire("toy", "rpc", "Maker", ("Asker",), (Echo,))


class Asker(NonStopTask):
    """Asks twice; the first answer makes its callback fail."""

    name = "asker"

    def __init__(self, config, error):
        super().__init__(config)
        self.ports = Ports("Asker", config, self.logger, self, wires=[TOY])
        self.error, self.got = error, []

    def once(self):
        for number in (1, 2):
            self.ports.ask("toy", Echo(number), self.take)

    def take(self, result):
        if result.value == 1:
            raise self.error
        self.got.append(result.value)


class Maker(NonStopTask):
    name = "maker"

    def __init__(self, config):
        super().__init__(config)
        self.ports = Ports("Maker", config, self.logger, self, wires=[TOY])
        self.ports.serve("toy", self.echo)

    def echo(self, queue):
        ticket = queue.recv_ticket()
        ticket.answer(ticket.request.number)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (KeyError("six"), "a fault of piwheels, please report it: the answer to Echo(number=1): 1"),
        (DatabaseError("it is down"), "could not handle the answer to Echo(number=1): 1: it is"),
    ],
)
def test_an_answer_that_cannot_be_handled_ends_no_task(running, caplog, error, line):
    config = own_config()
    maker, asker = Maker(config), Asker(config, error)
    with running(maker, asker):
        until(lambda: asker.got == [2])
    assert line in caplog.text


def test_a_handler_that_fails_without_a_message_ends_its_task():
    """It would be called again at once, for ever."""
    with (
        Ports("Maker", own_config(), LOGGER, wires=[TOY]).socket("toy") as queue,
        pytest.raises(ZeroDivisionError),
    ):
        handle(queue, lambda _: 1 / 0, pytest.fail)
