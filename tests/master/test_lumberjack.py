"""Lumberjack has every row noted, whatever comes and whatever the database does."""

import time
import uuid
from datetime import UTC, datetime

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import patience, until
from piwheels.core import codec
from piwheels.core.database import Database
from piwheels.core.database.dsn import administer
from piwheels.core.errors import DatabaseError
from piwheels.core.protocols import lumberjack as protocol
from piwheels.core.states import (
    DownloadState,
    JSONState,
    PageState,
    ProjectState,
    SearchState,
)
from piwheels.core.transport import Context
from piwheels.master import lumberjack, the_oracle
from piwheels.master.lumberjack import Lumberjack
from piwheels.master.seraph import Seraph
from piwheels.master.the_oracle import TheOracle

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ROWS = {
    "LOGDOWNLOAD": DownloadState("a-1-py3-none-any.whl", "::1", NOW, "armv7l", *[None] * 9),
    "LOGSEARCH": SearchState("a", "::1", NOW, *[None] * 10),
    "LOGPROJECT": ProjectState("a", "::1", NOW, "agent"),
    "LOGJSON": JSONState("a", "::1", NOW, "agent"),
    "LOGPAGE": PageState("/", "::1", NOW, "agent"),
}


class Woodpile:
    """Stands in for Database: keeps the rows, and is away as long as it is told to be."""

    rows = None
    away = False

    def __init__(self, dsn):
        type(self).rows, type(self).away = [], False

    def close(self):
        pass

    def log_many(self, entries):
        if self.away:
            raise DatabaseError("it is away")
        self.rows.append(list(entries))
        return sum(isinstance(row, DownloadState) for row in entries)

    def count(self):
        return sum(map(len, self.rows))

    def wait_for(self, count, timeout=30):
        deadline = time.monotonic() + patience(timeout)
        while self.count() < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.count()


@pytest.fixture
def pile(make_config, monkeypatch, running):
    """A socket to Lumberjack, what keeps the rows, and the configuration."""
    monkeypatch.setattr(the_oracle, "Database", Woodpile)
    monkeypatch.setattr(lumberjack, "WAIT", 0.05)
    config = make_config()
    oracle = TheOracle(config)
    with running(Seraph(config), oracle, Lumberjack(config)), Context().socket(zmq.PUSH) as socket:
        socket.connect(config.log_queue)
        yield socket, oracle.db, config


def send(socket, msg, row):
    socket.send_multipart([codec.dumps(msg, row)])


def test_rows_of_all_kinds_are_noted(pile, other_end):
    socket, db, config = pile
    stats = other_end(config, "stats")
    for msg, row in ROWS.items():
        send(socket, msg, row)
        send(socket, msg, row)
    assert db.wait_for(10) == 10
    assert sorted(str(row) for group in db.rows for row in group) == sorted(
        map(str, [*ROWS.values()] * 2)
    )
    assert all(len(set(map(type, group))) == 1 for group in db.rows)
    counted = 0
    while counted < 2:
        counted += stats.take().count


def test_many_rows_go_in_groups(pile):
    socket, db, _ = pile
    for _ in range(5000):
        send(socket, "LOGPAGE", ROWS["LOGPAGE"])
    assert db.wait_for(5000, 20) == 5000
    assert max(map(len, db.rows)) <= 1000
    assert len(db.rows) < 500


def test_rows_outlive_a_database_that_is_away(pile, caplog):
    socket, db, _ = pile
    db.away = True
    for _ in range(50):
        send(socket, "LOGPAGE", ROWS["LOGPAGE"])
    time.sleep(1)
    assert db.count() == 0
    db.away = False
    assert db.wait_for(50) == 50
    assert "wait for the database" in caplog.text


def test_what_does_not_fit_is_counted_and_told(pile, monkeypatch, caplog):
    socket, db, _ = pile
    monkeypatch.setattr(lumberjack, "MAX_WAITING", 10)
    db.away = True
    send(socket, "LOGJSON", ROWS["LOGJSON"])
    time.sleep(0.7)  # these are under way
    for _ in range(30):
        send(socket, "LOGPAGE", ROWS["LOGPAGE"])
    time.sleep(0.5)
    db.away = False
    assert db.wait_for(11) == 11
    assert "10 rows of the access log lost so far" in caplog.text


def test_the_last_rows_are_noted_when_the_master_stops(make_config, monkeypatch, running):
    monkeypatch.setattr(the_oracle, "Database", Woodpile)
    monkeypatch.setattr(lumberjack, "WAIT", 100)
    config = make_config()
    last = ROWS["LOGPAGE"]._replace(page="last")
    with running(Seraph(config), TheOracle(config)):
        jack = Lumberjack(config)
        with Context().socket(zmq.PUSH) as socket:
            socket.connect(config.log_queue)
            jack.quit()  # it comes first: all rows are left for the end
            for row in [ROWS["LOGPAGE"]] * 2500 + [last]:
                send(socket, "LOGPAGE", row)
            with running(jack):
                pass
        assert sum(map(len, Woodpile.rows)) == 2501
        assert Woodpile.rows[-1][-1] == last


def test_what_cannot_be_noted_at_the_end_is_told(make_config, running, caplog, monkeypatch):
    monkeypatch.setattr(lumberjack, "LAST", 0.2)
    config = make_config()  # nobody answers for the database
    with running(Lumberjack(config)), Context().socket(zmq.PUSH) as socket:
        socket.connect(config.log_queue)
        send(socket, "LOGPAGE", ROWS["LOGPAGE"])
    assert "1 rows of the access log are lost" in caplog.text


def test_rows_that_are_too_much_for_one_message_go_in_several(pile):
    socket, db, _ = pile
    widest = ROWS["LOGPAGE"]._replace(user_agent="\U0001f40d" * 8192)
    for _ in range(1200):
        send(socket, "LOGPAGE", widest)
    assert db.wait_for(1200) == 1200
    assert max(map(len, db.rows)) <= 512


frames = st.lists(st.binary(max_size=30), min_size=1, max_size=4)
messages = st.builds(
    codec.dumps,
    st.sampled_from([*protocol.recv, "HELLO"]),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63)
        | st.floats()
        | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=14) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=20,
    ),
).map(lambda frame: [frame])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(frames | messages, max_size=8))
def test_any_bytes_are_survived(pile, hostile):
    socket, db, _ = pile
    for parts in hostile:
        socket.send_multipart(parts)
    mark = PageState(uuid.uuid4().hex, "::1", NOW, "agent")
    send(socket, "LOGPAGE", mark)
    deadline = time.monotonic() + patience(10)
    while not any(mark in group for group in db.rows):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_real_database_keeps_them(with_db, running, superuser_dsn, build_of, other_end):
    with Database(with_db.dsn) as db:
        db.add_build_abi("cp311")
        db.add_new_package("a")
        db.add_new_package_version("a", "1.0")
        db.log_build(build_of("a", file_abi="none"))
    stats = other_end(with_db, "stats")
    wheel = ROWS["LOGDOWNLOAD"]._replace(filename="a-1.0-py3-none-any.whl")
    with running(Lumberjack(with_db)), Context().socket(zmq.PUSH) as socket:
        socket.connect(with_db.log_queue)
        for msg, row in [*ROWS.items(), ("LOGDOWNLOAD", wheel), ("LOGDOWNLOAD", wheel)]:
            for year in (1, 2026, 9999):
                send(socket, msg, row._replace(timestamp=row.timestamp.replace(year=year)))
        metadata = wheel._replace(filename=wheel.filename + ".metadata")
        send(socket, "LOGDOWNLOAD", metadata)
        count = (
            "SELECT (SELECT count(*) FROM downloads), (SELECT count(*) FROM metadata_downloads),"
            " (SELECT count(*) FROM searches), (SELECT count(*) FROM project_page_hits),"
            " (SELECT count(*) FROM project_json_downloads), (SELECT count(*) FROM web_page_hits)"
        )
        until(lambda: administer(superuser_dsn, count) == [(9, 1, 3, 3, 3, 3)])
        told = 0
        while told < 6:  # of a file that we have
            told += stats.take().count
        assert stats.is_silent()
        assert told == 6
    with Database(with_db.dsn) as db:
        assert db.get_search_index() == {"a": (0, 6)}
