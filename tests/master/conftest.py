"""What the tests of the master's tasks share: wires of their own, tasks that run, other ends."""

from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256

import pytest
import zmq

from helpers import own_wires, patience
from peers import StandIn
from piwheels.core.states import BuildState, FileState
from piwheels.core.transport import Context
from piwheels.master.rpc import recv_request, send_error, send_result
from piwheels.master.seraph import Seraph
from piwheels.master.the_oracle import TheOracle
from piwheels.master.wiring import MasterConfig, delete, web


@pytest.fixture
def make_config(tmp_path):
    """Return a maker of configurations, each of which has all wires to itself."""

    def make(dsn="postgresql:///nowhere", **more):
        return MasterConfig(**{"dsn": dsn, "output_path": tmp_path} | own_wires() | more)

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
    """Return a context manager that runs tasks; none may fail, and each must end when told to."""
    return _running


@pytest.fixture
def with_db(make_config, db_dsn):
    """A configuration whose database answers: Seraph and two oracles run."""
    config = make_config(db_dsn)
    with _running(Seraph(config), TheOracle(config), TheOracle(config)):
        yield config


class OtherEnd:
    """The other end of a wire, bound to *address*: it notes what comes, and answers questions."""

    def __init__(self, kind, address, protocol=None):
        self.socket = Context().socket(kind, protocol)
        self.socket.bind(address)

    def take(self, timeout=30):
        """Return the next message, answered if it is a question; fail if none comes."""
        assert self.socket.poll(patience(timeout)), "nothing has come"
        if self.socket._socket.type == zmq.ROUTER:
            request = recv_request(self.socket)
            send_result(self.socket, request)
            return request.msg, request.data
        return self.socket.recv_msg()

    def is_silent(self, timeout=0.2):
        return not self.socket.poll(timeout)


@pytest.fixture
def other_end():
    """Return a maker of other ends (kind of socket, address, protocol), closed after the test."""
    made = []

    def make(*args):
        made.append(OtherEnd(*args))
        return made[-1]

    yield make
    for end in made:
        end.socket.close()


@pytest.fixture
def build_of():
    """Return a maker of builds: failed ones, or with one file if its ABI tag is given."""

    def make(package, version="1.0", file_abi=None, output="log"):
        files = {}
        if file_abi is not None:
            name = f"{package}-{version}-py3-{file_abi}-any.whl"
            tags = (package, version, "py3", file_abi, "any")
            files[name] = FileState(name, 9, sha256(name.encode()).hexdigest(), *tags, None, {})
        ended = bool(files), timedelta(seconds=1), output
        return BuildState(1, package, version, "cp311", *ended, files)

    return make


class Helper(StandIn):
    """Stands in for TheSecretary or SlaveDriver: answers, and notes what was asked."""

    def __init__(self, address, checks):
        super().__init__(address)
        self.asked, self.error, self._checks = [], None, checks

    def answer(self, socket):
        request = recv_request(socket)
        self.asked.append((request.msg, self._checks.received(request.msg, request.data)))
        if self.error:
            send_error(socket, request, self.error)
        else:
            send_result(socket, request)


@pytest.fixture
def secretary(with_db):
    with Helper(with_db.web_queue, web) as helper:
        yield helper


@pytest.fixture
def driver(with_db):
    with Helper(with_db.delete_queue, delete) as helper:
        yield helper
