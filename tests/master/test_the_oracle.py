"""DbClient, Seraph and TheOracle together, and the failures of each."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from helpers import LOGGER, Connected, patience, until, wire
from piwheels.core import codec
from piwheels.core.database import Database
from piwheels.core.database.rows import RewritePendingRow
from piwheels.core.errors import DatabaseError, Refused, Unavailable
from piwheels.core.states import BuildState, FileState
from piwheels.master import seraph as seraph_module
from piwheels.master import the_oracle
from piwheels.master.ports import open_socket
from piwheels.master.seraph import Seraph
from piwheels.master.the_oracle import DbClient, TheOracle

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def build(package="foo", output="log"):
    return BuildState(1, package, "1.0", "cp311", False, timedelta(seconds=1), output)


class Client(DbClient):
    """A client with a connection of its own, which can also send requests without blocking."""

    def __init__(self, config, limit=10):
        self.connection = Connected(config, "database")
        super().__init__(self.connection.ports, limit)

    def request(self, name, *args):
        results = []
        self.ask(results.append, name, *args)
        return results

    def wait(self, *asked):
        until(lambda: self.connection.all(*asked))

    def close(self):
        self.connection.close()


class FakeDatabase:
    """A fake Database that records the sizes of groups and fails on demand."""

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


def free_oracle(config):
    return open_socket(wire("oracles"), config, LOGGER, bind=False)


@pytest.fixture
def cast(monkeypatch, make_config, running):
    """A client, Seraph, and one oracle with a fake database; the latter two run."""
    monkeypatch.setattr(the_oracle, "Database", FakeDatabase)
    config = make_config()
    seraph, oracle = Seraph(config), TheOracle(config)
    client = Client(config)
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


def test_errors_come_back_with_their_type(cast):
    client, _, oracle = cast
    with pytest.raises(DatabaseError, match="it is broken"):
        client.get_version_skip("broken", "1")
    with pytest.raises(Refused, match="no such version") as caught:
        client.get_version_skip("refused", "1")
    assert caught.value.code == "NOVER"
    with pytest.raises(Refused, match="bytes"):
        client.get_all_packages()  # longer than a frame may be
    with pytest.raises(TypeError):
        client.get_version_skip("one argument too few")
    with open_socket(wire("database"), oracle.config, LOGGER, bind=False) as raw:
        for message in [
            ("no_such_method", []),
            ("close", []),
            ("get_version_skip", 1),
            ("__init__", [""]),
        ]:
            raw.send_multipart([bytes(8), codec.dumps(*message)])
            assert raw.poll(patience(30))
            assert codec.loads(raw.recv_multipart()[1])[0] == "ERROR"
    assert client.get_version_skip("foo", "1") == "foo 1"


def test_requests_are_answered_without_blocking(cast):
    client, _, oracle = cast
    waiting = client.request("get_version_skip", "wait", "1")
    others = [client.request("get_versions_deleted", "a") for _ in range(3)]
    assert not client.connection.all(waiting, *others)
    oracle.db.gate.set()
    client.wait(waiting, *others)
    assert waiting[0].get() == "wait 1"
    assert [result.get() for [result] in others] == [{"0", "1", "2"}] * 3


def test_builds_that_wait_are_logged_together(cast):
    client, _, oracle = cast
    held = client.request("get_version_skip", "wait", "1")
    tickets = [client.request("log_build", build(output="x" * n)) for n in range(20)]
    refused = client.request("log_build", build("unknown"))
    other = client.request("get_version_skip", "foo", "1")
    time.sleep(0.2)  # until Seraph has received all requests
    oracle.db.gate.set()
    client.wait(held, *tickets, refused, other)
    assert [result.get() for [result] in tickets] == list(range(20))
    assert refused[0].error.code == "NOVER"
    assert (held[0].get(), other[0].get()) == ("wait 1", "foo 1")
    assert oracle.db.groups == [16, 5]


def test_a_build_that_the_database_refuses_loses_no_other_build(cast):
    client, _, oracle = cast
    client.request("get_version_skip", "wait", "1")
    names = ["a", "b", "poison", "c"]
    asked = {name: client.request("log_build", build(name)) for name in names}
    time.sleep(0.2)  # until Seraph has received all requests
    oracle.db.gate.set()
    client.wait(*asked.values())
    failed = [name for name, [result] in asked.items() if result.error]
    assert failed == ["poison"]
    assert oracle.db.groups == [4, 1, 1, 1, 1]


def test_a_request_without_an_oracle_is_refused(monkeypatch, make_config, running):
    monkeypatch.setattr(seraph_module, "DB_LIMIT", 0.3)
    config = make_config()
    seraph = Seraph(config)
    client = Client(config)
    with running(seraph), pytest.raises(Unavailable, match="too busy"):
        client.get_pypi_serial()
    client.close()


def test_an_oracle_that_does_not_answer_is_dropped_until_it_does(monkeypatch, make_config, running):
    monkeypatch.setattr(seraph_module, "ORACLE_LIMIT", 0.3)
    config = make_config()
    seraph = Seraph(config)
    client = Client(config)
    with running(seraph), free_oracle(config) as oracle:
        oracle.send_multipart([b""])
        with pytest.raises(Unavailable, match="does not answer"):
            client.get_pypi_serial()
        late = oracle.recv_multipart()
        oracle.send_multipart([*late[:2], codec.dumps("OK", 1)])
        asked = client.request("get_pypi_serial")
        assert oracle.poll(patience(30))
        peer, mark, _ = oracle.recv_multipart()
        oracle.send_multipart([peer, mark, codec.dumps("OK", 2)])
        client.wait(asked)
        assert asked[0].get() == 2
    client.close()


def test_the_queue_of_requests_is_limited(monkeypatch, make_config, running):
    monkeypatch.setattr(seraph_module, "MAX_WAITING", 5)
    config = make_config()
    seraph = Seraph(config)
    client = Client(config)
    with running(seraph):
        asked = [client.request("get_pypi_serial") for _ in range(8)]
        client.wait(*asked[5:])
    assert asked[:5] == [[]] * 5
    assert all(isinstance(result.error, Unavailable) for [result] in asked[5:])
    client.close()


def test_the_longest_idle_oracle_gets_the_next_request(make_config, running):
    config = make_config()
    seraph = Seraph(config)
    client = Client(config)
    with running(seraph), free_oracle(config) as one, free_oracle(config) as two:
        for oracle in (one, two):
            oracle.send_multipart([b""])
            time.sleep(0.1)
        for oracle in (one, two, one, two):
            asked = client.request("get_pypi_serial")
            assert oracle.poll(patience(30))
            peer, mark, _ = oracle.recv_multipart()
            oracle.send_multipart([peer, mark, codec.dumps("OK", 2)])
            client.wait(asked)
            assert asked[0].get() == 2
    client.close()


def test_the_real_database_answers(make_config, running, db_dsn):
    config = make_config(db_dsn)
    tasks = [Seraph(config), TheOracle(config), TheOracle(config)]
    client = Client(config)
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


def test_a_build_that_the_database_rejects_loses_no_other(with_db, db, running):
    db.add_build_abi("cp311")
    db.add_new_package("foo")
    db.add_new_package_version("foo", "1.0")
    good, bad = build(), build()
    digest = "0" * 64
    file = FileState(
        "foo-1.0-py3-none-any.whl", 9, digest, "foo", "1.0", "py3", "none", "any", None, {}
    )
    file.metadata_hash = "\0"  # it spoils the text of the whole group
    bad.files[file.filename] = file
    frames = [the_oracle._call("log_build", each).frame() for each in (good, bad, good)]
    oracle = TheOracle(with_db)
    answers = [codec.loads(frame) for frame in oracle._log_builds(frames)]
    oracle.close()
    assert [msg for msg, _ in answers] == ["OK", "ERROR", "OK"]
    assert answers[1][1][0] == "FILECONFLICT"


def test_a_bug_at_one_request_is_its_answer(with_db, monkeypatch):
    def buggy(self, package):
        raise AttributeError("a bug")

    monkeypatch.setattr(Database, "test_package", buggy)
    client = Client(with_db)
    with pytest.raises(Refused, match="AttributeError: a bug"):
        client.call("test_package", "foo")
    assert client.get_all_packages() == set()
    client.close()
