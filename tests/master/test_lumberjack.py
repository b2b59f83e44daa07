"""Lumberjack stores every row, whatever it receives and whatever the database does."""

import time
import uuid
from datetime import UTC, datetime

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import patience, reject_rows, until
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


class FakeDatabase:
    """A fake Database that keeps the rows, and fails while *away* is true."""

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
def jack(make_config, monkeypatch, running):
    """A socket to Lumberjack, the database with the rows, and the configuration."""
    monkeypatch.setattr(the_oracle, "Database", FakeDatabase)
    monkeypatch.setattr(lumberjack, "WAIT", 0.05)
    config = make_config()
    oracle = TheOracle(config)
    with running(Seraph(config), oracle, Lumberjack(config)), Context().socket(zmq.PUSH) as socket:
        socket.connect(config.log_queue)
        yield socket, oracle.db, config


def send(socket, msg, row):
    socket.send_multipart([codec.dumps(msg, row)])


def test_rows_of_all_kinds_are_stored(jack, other_end):
    socket, db, config = jack
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


def test_many_rows_are_stored_in_groups(jack):
    socket, db, _ = jack
    for _ in range(5000):
        send(socket, "LOGPAGE", ROWS["LOGPAGE"])
    assert db.wait_for(5000, 20) == 5000
    assert max(map(len, db.rows)) <= 1000
    assert len(db.rows) < 500


def test_rows_are_kept_while_the_database_is_unavailable(jack, caplog):
    socket, db, _ = jack
    db.away = True
    for _ in range(50):
        send(socket, "LOGPAGE", ROWS["LOGPAGE"])
    time.sleep(1)
    assert db.count() == 0
    db.away = False
    assert db.wait_for(50) == 50
    assert "wait for the database" in caplog.text


def test_lost_rows_are_counted_and_logged(jack, monkeypatch, caplog):
    socket, db, _ = jack
    monkeypatch.setattr(lumberjack, "MAX_WAITING", 10 * lumberjack._size_of(ROWS["LOGPAGE"]))
    db.away = True
    send(socket, "LOGJSON", ROWS["LOGJSON"])
    time.sleep(0.7)  # these rows are in flight
    for _ in range(30):
        send(socket, "LOGPAGE", ROWS["LOGPAGE"])
    time.sleep(0.5)
    db.away = False
    assert db.wait_for(11) == 11
    assert "10 rows of the access log lost so far" in caplog.text


def test_the_last_rows_are_stored_when_the_master_stops(make_config, monkeypatch, running):
    monkeypatch.setattr(the_oracle, "Database", FakeDatabase)
    monkeypatch.setattr(lumberjack, "WAIT", 100)
    config = make_config()
    last = ROWS["LOGPAGE"]._replace(page="last")
    with running(Seraph(config), TheOracle(config)):
        jack = Lumberjack(config)
        with Context().socket(zmq.PUSH) as socket:
            socket.connect(config.log_queue)
            jack.quit()  # before any row arrives, so that all rows are stored at the end
            for row in [ROWS["LOGPAGE"]] * 2500 + [last]:
                send(socket, "LOGPAGE", row)
            with running(jack):
                pass
        assert sum(map(len, FakeDatabase.rows)) == 2501
        assert FakeDatabase.rows[-1][-1] == last


def test_rows_that_are_lost_at_the_end_are_logged(make_config, running, caplog, monkeypatch):
    monkeypatch.setattr(lumberjack, "LAST", 0.2)
    config = make_config()  # no database answers
    with running(Lumberjack(config)), Context().socket(zmq.PUSH) as socket:
        socket.connect(config.log_queue)
        send(socket, "LOGPAGE", ROWS["LOGPAGE"])
    assert "1 rows of the access log are lost" in caplog.text


def test_rows_that_exceed_a_message_are_sent_in_several(jack):
    socket, db, _ = jack
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
def test_lumberjack_survives_any_bytes(jack, hostile):
    socket, db, _ = jack
    for parts in hostile:
        socket.send_multipart(parts)
    mark = PageState(uuid.uuid4().hex, "::1", NOW, "agent")
    send(socket, "LOGPAGE", mark)
    deadline = time.monotonic() + patience(10)
    while not any(mark in group for group in db.rows):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_real_database_stores_the_rows(with_db, running, superuser_dsn, build_of, other_end):
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
        counted = 0
        while counted < 6:  # of a published file
            counted += stats.take().count
        assert stats.is_silent()
        assert counted == 6
    with Database(with_db.dsn) as db:
        assert db.get_search_index() == {"a": (0, 6)}


def test_a_row_that_the_database_rejects_loses_no_other(with_db, running, superuser_dsn, caplog):
    reject_rows(superuser_dsn, "web_page_hits", "page <> '/bad'")
    with running(Lumberjack(with_db)), Context().socket(zmq.PUSH) as socket:
        socket.connect(with_db.log_queue)
        for page in ("/a", "/bad", "/b", "/c"):
            send(socket, "LOGPAGE", ROWS["LOGPAGE"]._replace(page=page))
        pages = "SELECT page FROM web_page_hits ORDER BY page"
        until(lambda: administer(superuser_dsn, pages) == [("/a",), ("/b",), ("/c",)])
    assert caplog.text.count("left out what the database rejects") == 1
    assert "wait for the database" not in caplog.text
