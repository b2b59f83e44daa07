"""DbClient, Seraph and TheOracle together, and each against what may go wrong."""

import logging
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import zmq

from helpers import patience
from piwheels.core import codec
from piwheels.core.database.rows import RewritePendingRow
from piwheels.core.errors import DatabaseError, Refused, Unavailable
from piwheels.core.states import BuildState
from piwheels.core.transport import Context
from piwheels.master import seraph as seraph_module
from piwheels.master import the_oracle
from piwheels.master.rpc import Client
from piwheels.master.seraph import Seraph
from piwheels.master.the_oracle import DbClient, TheOracle

LOGGER = logging.getLogger("test")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def build(package="foo", output="log"):
    return BuildState(1, package, "1.0", "cp311", False, timedelta(seconds=1), output)


class Pretender:
    """Stands in for Database where the test is of the way to it: counts groups, fails on demand."""

    def __init__(self, dsn):
        self.groups = []
        self.gate = threading.Event()

    def close(self):
        pass

    def get_version_skip(self, package, version):
        match package:
            case "wait":
                assert self.gate.wait(patience(10))
            case "broken":
                raise DatabaseError("it is broken")
            case "refused":
                raise Refused("NOVER", "there is no such version")
        return f"{package} {version}"

    def get_versions_deleted(self, package):
        return {str(number) for number in range(3)}

    def get_all_packages(self):
        return {"x" * (codec.MAX_FRAME + 1)}

    def load_rewrites_part(self, after, limit):
        return [] if after else [RewritePendingRow("a", NOW, "BOTH")]

    def log_build(self, build):
        return self.log_builds([build])[0]

    def log_builds(self, builds):
        self.groups.append(len(builds))
        if any(build.package == "poison" for build in builds):
            raise DatabaseError("a value that the database cannot take")
        return [
            Refused("NOVER", "no") if build.package == "unknown" else len(build.output)
            for build in builds
        ]


@pytest.fixture
def cast(monkeypatch, make_config, running):
    """A client, with Seraph and one oracle running who asks a pretender; all of the three."""
    monkeypatch.setattr(the_oracle, "Database", Pretender)
    config = make_config()
    seraph, oracle = Seraph(config), TheOracle(config)
    client = DbClient(config, LOGGER, timeout=patience(10))
    with running(seraph, oracle):
        yield client, seraph, oracle
    client.close()


def test_results_come_back_typed(cast):
    client, _, _ = cast
    assert client.get_version_skip("foo", version="1") == "foo 1"
    assert client.get_versions_deleted("foo") == {"0", "1", "2"}
    (row,) = client.load_rewrites_pending()
    assert row == RewritePendingRow("a", NOW, "BOTH")
    assert row.command == "BOTH"


def test_errors_come_back_as_what_they_were(cast):
    client, _, oracle = cast
    with pytest.raises(DatabaseError, match="it is broken"):
        client.get_version_skip("broken", "1")
    with pytest.raises(Refused, match="no such version") as caught:
        client.get_version_skip("refused", "1")
    assert caught.value.code == "NOVER"
    with pytest.raises(Refused, match="bytes"):
        client.get_all_packages()  # more than a frame may have
    with pytest.raises(TypeError):
        client.get_version_skip("one argument too few")
    raw = Client(Context(), oracle.config.db_queue, "the database", LOGGER)
    for message in [
        ("no_such_method", []),
        ("close", []),
        ("get_version_skip", 1),
        ("__init__", [""]),
    ]:
        with pytest.raises(Refused):
            raw.call(*message, timeout=patience(30))
    raw.close()
    assert client.get_version_skip("foo", "1") == "foo 1"


def test_requests_are_answered_without_waiting(cast):
    client, _, oracle = cast
    tickets = [client.request("get_version_skip", "wait", "1")]
    tickets += [client.request("get_versions_deleted", "a") for _ in range(3)]
    assert list(client.answers()) == []
    oracle.db.gate.set()
    got = {}
    deadline = time.monotonic() + patience(10)
    while len(got) < 4 and time.monotonic() < deadline:
        client.socket.poll(patience(1))
        got |= {answer.ticket: answer.result for answer in client.answers()}
    assert got == dict(zip(tickets, ["wait 1", *[{"0", "1", "2"}] * 3], strict=True))


def test_builds_that_wait_are_logged_together(cast):
    client, _, oracle = cast
    held = client.request("get_version_skip", "wait", "1")
    tickets = [client.request("log_build", build(output="x" * n)) for n in range(20)]
    refused = client.request("log_build", build("unknown"))
    other = client.request("get_version_skip", "foo", "1")
    time.sleep(0.2)  # until Seraph has them all
    oracle.db.gate.set()
    got = {}
    deadline = time.monotonic() + patience(10)
    while len(got) < 23 and time.monotonic() < deadline:
        client.socket.poll(patience(1))
        got |= {answer.ticket: answer for answer in client.answers()}
    assert [got[ticket].result for ticket in tickets] == list(range(20))
    assert got[refused].error.code == "NOVER"
    assert (got[held].result, got[other].result) == ("wait 1", "foo 1")
    assert oracle.db.groups == [16, 5]


def test_a_build_that_the_database_cannot_take_loses_no_other(cast):
    client, _, oracle = cast
    client.request("get_version_skip", "wait", "1")
    names = ["a", "b", "poison", "c"]
    tickets = {client.request("log_build", build(name)): name for name in names}
    time.sleep(0.2)  # until Seraph has them all
    oracle.db.gate.set()
    got = {}
    while len(got) < 5 and client.socket.poll(10):
        got |= {answer.ticket: answer for answer in client.answers()}
    failed = [name for ticket, name in tickets.items() if got[ticket].error]
    assert failed == ["poison"]
    assert oracle.db.groups == [4, 1, 1, 1, 1]


def test_without_an_oracle_the_asker_is_told(monkeypatch, make_config, running):
    monkeypatch.setattr(seraph_module, "DB_LIMIT", 0.3)
    config = make_config()
    seraph = Seraph(config)
    client = DbClient(config, LOGGER, timeout=patience(10))
    with running(seraph), pytest.raises(Unavailable, match="no time"):
        client.get_pypi_serial()
    client.close()


def test_an_oracle_that_never_answers_is_given_up_and_taken_back(monkeypatch, make_config, running):
    monkeypatch.setattr(seraph_module, "ORACLE_LIMIT", 0.3)
    config = make_config()
    seraph = Seraph(config)
    client = DbClient(config, LOGGER, timeout=patience(10))
    ctx = Context()
    with running(seraph), ctx.socket(zmq.DEALER) as oracle:
        oracle.connect(config.oracle_queue)
        oracle.send_multipart([b""])
        with pytest.raises(Unavailable, match="does not answer"):
            client.get_pypi_serial()
        late = oracle.recv_multipart()
        oracle.send_multipart([*late[:2], codec.dumps("OK", 1)])
        ticket = client.request("get_pypi_serial")
        assert oracle.poll(patience(30))
        peer, mark, _ = oracle.recv_multipart()
        oracle.send_multipart([peer, mark, codec.dumps("OK", 2)])
        assert client.socket.poll(patience(30))
        assert [(a.ticket, a.result) for a in client.answers()] == [(ticket, 2)]
    client.close()


def test_the_queue_is_bounded(monkeypatch, make_config, running):
    monkeypatch.setattr(seraph_module, "MAX_WAITING", 5)
    config = make_config()
    seraph = Seraph(config)
    client = DbClient(config, LOGGER)
    with running(seraph):
        tickets = [client.request("get_pypi_serial") for _ in range(8)]
        refused = []
        while len(refused) < 3 and client.socket.poll(30):
            refused += client.answers()
    assert [answer.ticket for answer in refused] == tickets[5:]
    assert all(isinstance(answer.error, Unavailable) for answer in refused)
    client.close()


def test_the_oracle_that_idled_longest_is_asked_first(make_config, running):
    config = make_config()
    seraph = Seraph(config)
    client = DbClient(config, LOGGER)
    ctx = Context()
    with running(seraph), ctx.socket(zmq.DEALER) as one, ctx.socket(zmq.DEALER) as two:
        for oracle in (one, two):
            oracle.connect(config.oracle_queue)
            oracle.send_multipart([b""])
            time.sleep(0.1)
        for oracle in (one, two, one, two):
            client.request("get_pypi_serial")
            assert oracle.poll(patience(30))
            peer, mark, _ = oracle.recv_multipart()
            oracle.send_multipart([peer, mark, codec.dumps("OK", 2)])
            assert client.socket.poll(patience(30))
            assert [a.result for a in client.answers()] == [2]
    client.close()


def test_the_real_database_is_asked(make_config, running, db_dsn):
    config = make_config(db_dsn)
    tasks = [Seraph(config), TheOracle(config), TheOracle(config)]
    client = DbClient(config, LOGGER, timeout=patience(10))
    with running(*tasks):
        assert client.add_new_package("foo", description="Foo\0bar")
        assert client.add_new_package_version("foo", "1.0", released=NOW)
        assert not client.add_new_package("foo")
        client.add_build_abi("cp311")
        assert client.get_build_queue() == {"cp311": [("foo", "1.0")]}
        assert client.log_build(build()) > 0
        with pytest.raises(Refused) as caught:
            client.log_build(build("unknown"))
        assert caught.value.code == "NOVER"
        assert client.get_build_queue() == {"cp311": []}
        assert client.get_all_packages() == {"foo"}
        assert client.get_project_data("foo")["releases"]["1.0"]["released"] == NOW
        assert client.get_simple_project("nothing") is None
    client.close()
