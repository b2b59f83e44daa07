"""What operators may send to the master itself: anything, and it lives."""

import pytest
import zmq
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers import own_wires, patience
from piwheels.core import codec
from piwheels.core.protocols import master_control, monitor_stats
from piwheels.core.transport import Context
from piwheels.master import wiring
from piwheels.master.app import PiWheelsMaster
from piwheels.master.big_brother import BigBrother
from piwheels.master.slave_driver import SlaveDriver

VERBS = ["HELLO", "KILL", "SLEEP", "SKIP", "WAKE", "QUIT", "FOO"]
COMMANDS = st.builds(
    codec.dumps, st.sampled_from(VERBS), st.none() | st.integers() | st.text(max_size=5)
)
FRAMES = st.binary(max_size=100) | COMMANDS | st.sampled_from(VERBS).map(codec.dumps)


@pytest.fixture(scope="module")
def master():
    """A master with two of its tasks, which note what they are told and do nothing."""
    config = wiring.MasterConfig(pypi_simple="https://index.example/simple", **own_wires())
    master = PiWheelsMaster(config)
    master.tasks = [SlaveDriver(config), BigBrother(config)]
    with (
        Context().socket(zmq.PULL, master_control) as control,
        Context().socket(zmq.PUB, monitor_stats) as status,
        Context().socket(zmq.PUSH, reversed(wiring.news)) as news,
        Context().socket(zmq.PUSH) as operator,
    ):
        news.connect(config.news_queue)
        control.bind(config.control_queue)
        operator.connect(config.control_queue)
        yield master, (control, status, news), operator
    for task in master.tasks:
        task.close()


def heard(task):
    while task._control.poll(0):
        yield task._control.recv_msg()


@settings(max_examples=150)
@given(st.lists(st.lists(FRAMES, min_size=1, max_size=3), min_size=1, max_size=5))
@example([[b"\x9f" * 1000]])
def test_any_bytes_on_the_control_socket(master, messages):
    app, sockets, operator = master
    for message in [*messages, [codec.dumps("SKIP", 7)]]:
        operator.send_multipart(message)
        assert sockets[0].poll(patience(5))
        app._command(*sockets)
    told = [list(heard(task)) for task in app.tasks]
    assert told[0][-1] == ("SKIP", 7)


def test_a_task_that_hears_no_command_stops_nobody(master):
    driver = master[0].tasks[0]
    for _ in range(3000):
        driver.sleep_slave(None)
    assert 1000 <= len(list(heard(driver))) < 3000
