"""Commands to the master itself: it survives any message on the control socket."""

import pytest
import zmq
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers import LOGGER, own_config, patience
from piwheels.core import codec
from piwheels.core.transport import Context
from piwheels.master.app import PiWheelsMaster
from piwheels.master.big_brother import BigBrother
from piwheels.master.ports import Ports
from piwheels.master.slave_driver import SlaveDriver

VERBS = ["HELLO", "KILL", "SLEEP", "SKIP", "WAKE", "QUIT", "FOO"]
COMMANDS = st.builds(
    codec.dumps, st.sampled_from(VERBS), st.none() | st.integers() | st.text(max_size=5)
)
FRAMES = st.binary(max_size=100) | COMMANDS | st.sampled_from(VERBS).map(codec.dumps)


@pytest.fixture(scope="module")
def master():
    """A master with two of its tasks, which do not run, so that their commands stay queued."""
    config = own_config(pypi_simple="https://index.example/simple")
    master = PiWheelsMaster(config)
    master.tasks = [SlaveDriver(config), BigBrother(config)]
    ports = Ports("main", config, LOGGER)
    with Context().socket(zmq.PUSH) as operator:
        operator.connect(config.control_queue)
        yield master, ports, operator
    ports.close()
    for task in master.tasks:
        task.close()


def command(app, ports):
    app._handle(ports.socket("control"), app._handlers(ports)["control"])


def commands(task):
    while task._control.poll(0):
        yield task._control.recv_msg()


@settings(max_examples=150)
@given(st.lists(st.lists(FRAMES, min_size=1, max_size=3), min_size=1, max_size=5))
@example([[b"\x9f" * 1000]])
def test_the_master_survives_any_bytes_on_the_control_socket(master, messages):
    app, ports, operator = master
    for message in [*messages, [codec.dumps("SKIP", 7)]]:
        operator.send_multipart(message)
        assert ports.socket("control").poll(patience(5))
        command(app, ports)
    received = [list(commands(task)) for task in app.tasks]
    assert received[0][-1] == ("SKIP", 7)


def test_a_task_that_reads_no_commands_does_not_block_the_caller(master):
    driver = master[0].tasks[0]
    for _ in range(3000):
        driver.sleep_slave(None)
    assert 1000 <= len(list(commands(driver))) < 3000


def test_many_programs_that_ask_at_once_get_one_answer(master):
    """Each answer repeats the events of all slaves."""
    app, ports, operator = master
    for _ in range(900):
        operator.send_multipart([codec.dumps("HELLO")])
        assert ports.socket("control").poll(patience(5))
        command(app, ports)
        app._answer_hello(ports)
    assert 1 <= [msg for msg, _ in commands(app.tasks[0])].count("HELLO") < 100
