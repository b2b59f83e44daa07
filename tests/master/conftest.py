"""Fixtures for tests of the master's tasks: private wires, running tasks, and their peers."""

from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256

import pytest

from helpers import LOGGER, own_config, patience, wire
from peers import FakePeer
from piwheels.core.states import BuildState, FileState
from piwheels.master.ports import open_socket
from piwheels.master.seraph import Seraph
from piwheels.master.the_oracle import TheOracle


@pytest.fixture
def make_config(tmp_path):
    """Return a function that makes configurations, each with wires of its own."""

    def make(dsn="postgresql:///nowhere", **more):
        return own_config(**{"dsn": dsn, "output_path": tmp_path} | more)

    return make


@contextmanager
def _running(*tasks):
    for task in tasks:
        task.start()
    try:
        yield tasks
    finally:
        for task in reversed(tasks):
            task.quit()
            task.join(patience(10))
    assert [task.failure for task in tasks] == [None] * len(tasks)
    assert not any(task.is_alive() for task in tasks)


@pytest.fixture
def running():
    """Return a context manager that runs tasks. None may fail, and each must end after ``quit``."""
    return _running


@pytest.fixture
def with_db(make_config, db_dsn):
    """A configuration for which Seraph and two oracles run, so that the database answers."""
    config = make_config(db_dsn)
    with _running(Seraph(config), TheOracle(config), TheOracle(config)):
        yield config


class OtherEnd:
    """The binding end of a wire: it receives messages, and answers requests."""

    def __init__(self, config, name):
        self.wire = wire(name)
        self.socket = open_socket(self.wire, config, LOGGER, bind=True)

    def take(self, timeout=30):
        """Return the next message, and answer it if it is a request; fail if none arrives."""
        assert self.socket.poll(patience(timeout)), "no message arrived"
        if self.wire.pattern == "rpc":
            ticket = self.socket.recv_ticket()
            ticket.answer()
            return ticket.request
        return self.socket.recv() if self.wire.messages else self.socket.recv_msg()

    def is_silent(self, timeout=0.2):
        return not self.socket.poll(timeout)


@pytest.fixture
def other_end():
    """Return a function that makes other ends (configuration, wire); they close after the test."""
    made = []

    def make(*args):
        made.append(OtherEnd(*args))
        return made[-1]

    yield make
    for end in made:
        end.socket.close()


@pytest.fixture
def build_of():
    """Return a function that makes builds: failed, or with one file of the ABI tag *file_abi*."""

    def make(package, version="1.0", file_abi=None, output="log"):
        files = {}
        if file_abi is not None:
            name = f"{package}-{version}-py3-{file_abi}-any.whl"
            tags = (package, version, "py3", file_abi, "any")
            files[name] = FileState(name, 9, sha256(name.encode()).hexdigest(), *tags, None, {})
        ended = bool(files), timedelta(seconds=1), output
        return BuildState(1, package, version, "cp311", *ended, files)

    return make


class FakeTask(FakePeer):
    """A fake TheSecretary or SlaveDriver that answers requests with a value and records them."""

    def __init__(self, config, name):
        super().__init__(None, socket=open_socket(wire(name), config, LOGGER, bind=True))
        self.asked, self.value, self.error = [], None, None

    def answer(self, socket):
        ticket = socket.recv_ticket()
        self.asked.append(ticket.request)
        if self.error:
            ticket.refuse(self.error)
        else:
            ticket.answer(self.value)


@pytest.fixture
def secretary(with_db):
    with FakeTask(with_db, "web") as helper:
        yield helper


@pytest.fixture
def driver(with_db):
    with FakeTask(with_db, "deletions") as helper:
        yield helper


@pytest.fixture
def fleet(with_db):
    """A SlaveDriver that is asked for its slaves."""
    with FakeTask(with_db, "fleet") as helper:
        yield helper
