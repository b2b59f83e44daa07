"""TheSecretary stores requests immediately, merges and passes them on, and loses none."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clocks import STEPS, StepClock
from helpers import LOGGER, Connected, patience, reject_rows, until, wire
from piwheels.core.database.rows import RewritePendingRow
from piwheels.core.errors import BadMessage, DatabaseError, Refused, Unavailable
from piwheels.core.transport import Context
from piwheels.core.wheels.tags import canonical
from piwheels.master import the_oracle, the_secretary
from piwheels.master.logic.rewrites import Rewrites
from piwheels.master.messages import (
    DeletePackage,
    DeleteVersion,
    PagesNoted,
    RewritePages,
    WriteHome,
    WriteLog,
    WriteSearch,
)
from piwheels.master.ports import open_socket
from piwheels.master.seraph import Seraph
from piwheels.master.the_oracle import TheOracle
from piwheels.master.the_secretary import TheSecretary

NUMBERS = itertools.count(1)


class FakeDatabase:
    """A fake Database with the pending rewrites. It blocks until *ready*, and raises *error*."""

    def __init__(self, dsn):
        self.rows = {}
        self.numbers = {}
        self.saves = []
        self.error = None
        self.ready = threading.Event()
        self.ready.set()

    def close(self):
        pass

    def _check(self):
        assert self.ready.wait(patience(30))
        if self.error is not None:
            raise self.error

    def load_rewrites_part(self, after, limit):
        self._check()
        return [self.rows[name] for name in sorted(self.rows) if name > after][:2]

    def save_rewrites_pending(self, queue):
        self._check()
        self.saves.append(len(queue))
        for row in queue:
            known = self.rows.setdefault(row.package, row)
            self.note(known._replace(command=min(row.command, known.command)))

    def note(self, row):
        self.rows[row.package] = row
        self.numbers[row.package] = next(NUMBERS)

    def number(self, package):
        return self.numbers[package] if package in self.rows else None

    def rewrite_done(self, package, note):
        self._check()
        if self.number(package) == note:
            del self.rows[package]


class FakeScribe(threading.Thread):
    """A fake TheScribe that records requests. It answers while *answering*, and can fail."""

    def __init__(self, config):
        super().__init__(daemon=True)
        self.seen = []
        self.answering = threading.Event()
        self.answering.set()
        self.failing = 0
        self.ending = False
        self.fake_db = None
        self.socket = open_socket(wire("scribe"), config, LOGGER, bind=True)

    def run(self):
        while not self.ending:
            if not self.socket.poll(0.02):
                continue
            ticket = self.socket.recv_ticket()
            note = self._note(ticket.request)
            self.seen.append(ticket.request)
            while not self.answering.wait(0.02):
                if self.ending:
                    return
            if self.failing:
                self.failing -= 1
                ticket.refuse(Refused("ERROR", "full disk"))
            else:
                ticket.answer(note)

    def _note(self, request):
        if self.fake_db is None or not hasattr(request, "package"):
            return None
        return self.fake_db.number(request.package)

    def asked(self, cls):
        return [request for request in self.seen if isinstance(request, cls)]


@pytest.fixture
def config(make_config):
    return make_config(output_path=Path("/nonexistent"), dev_mode=True)


@pytest.fixture
def scribe(config):
    scribe = FakeScribe(config)
    scribe.start()
    yield scribe
    scribe.ending = True
    scribe.join(patience(30))
    scribe.socket.close()


@pytest.fixture
def fake_db(config, monkeypatch, running):
    monkeypatch.setattr(the_oracle, "Database", FakeDatabase)
    oracle = TheOracle(config)
    with running(Seraph(config), oracle):
        yield oracle.db


@pytest.fixture
def secretary(config, fake_db, scribe):
    scribe.fake_db = fake_db
    task = TheSecretary(config)
    yield task
    if task.is_alive():
        task.quit()
        task.join(patience(10))
    assert task.failure is None


@pytest.fixture
def client(config, secretary):
    client = Connected(config, "web")
    yield client
    client.close()


def test_requests_for_a_package_are_merged_into_one_rewrite(secretary, client, scribe):
    secretary.start()
    for part in ("PROJECT", "BOTH", "PROJECT", "BOTH"):
        client.call(RewritePages(part, "Spam"))
    client.call(RewritePages("PROJECT", "eggs"))
    until(lambda: len(scribe.seen) == 2)
    time.sleep(0.3)
    assert scribe.seen == [RewritePages("BOTH", "spam"), RewritePages("PROJECT", "eggs")]


def test_storing_requests_does_not_wait_for_the_scribe(secretary, client, scribe):
    scribe.answering.clear()
    secretary.start()
    for number in range(200):
        client.call(RewritePages("BOTH", f"p{number}"))
    until(lambda: scribe.seen)
    client.call(WriteLog(1, "text"))
    scribe.answering.set()
    until(lambda: len(scribe.asked(RewritePages)) == 200)
    assert scribe.asked(WriteLog) == [WriteLog(1, "text")]


def test_a_pending_rewrite_is_stored_until_it_is_written(secretary, client, scribe, fake_db):
    scribe.answering.clear()
    secretary.start()
    client.call(RewritePages("BOTH", "spam"))
    until(lambda: "spam" in fake_db.rows)
    assert fake_db.rows["spam"].command == "BOTH"
    scribe.answering.set()
    until(lambda: "spam" not in fake_db.rows)


def test_rewrites_of_an_earlier_run_are_written_first(secretary, scribe, fake_db):
    for age, name in enumerate(["b", "a"]):
        added = datetime.now(UTC) - timedelta(hours=age + 1)
        fake_db.note(RewritePendingRow(name, added, "BOTH"))
    secretary.start()
    until(lambda: not fake_db.rows)
    assert scribe.seen == [RewritePages("BOTH", "a"), RewritePages("BOTH", "b")]


def test_quit_leaves_pending_rewrites_in_the_database(secretary, client, scribe, fake_db):
    scribe.answering.clear()
    secretary.start()
    for number in range(20):
        client.call(RewritePages("PROJECT", f"p{number}"))
    secretary.quit()
    secretary.join(patience(30))
    assert len(fake_db.rows) == 20


def test_a_failed_page_is_tried_again(secretary, client, scribe, fake_db, monkeypatch):
    from piwheels.master.logic import rewrites  # noqa: PLC0415

    monkeypatch.setattr(rewrites, "_BACK_OFF", 0.01)
    scribe.failing = 2
    secretary.start()
    client.call(RewritePages("BOTH", "spam"))
    until(lambda: len(scribe.seen) == 3)
    until(lambda: not len(secretary._buffer))


def test_a_page_that_always_fails_is_kept_for_the_next_start(
    secretary, client, scribe, fake_db, monkeypatch
):
    from piwheels.master.logic import rewrites  # noqa: PLC0415

    monkeypatch.setattr(rewrites, "_BACK_OFF", 0.01)
    added = datetime.now(UTC) - timedelta(hours=1)
    fake_db.note(RewritePendingRow("spam", added, "BOTH"))
    scribe.failing = 100
    secretary.start()
    until(lambda: len(scribe.seen) == rewrites.ATTEMPTS and not len(secretary._buffer))
    assert "spam" in fake_db.rows
    scribe.failing = 0
    client.call(RewritePages("BOTH", "spam"))
    until(lambda: not fake_db.rows)


def test_removals_are_answered_when_they_are_done(secretary, client, scribe):
    scribe.answering.clear()
    secretary.start()
    first, second = client.ask(DeletePackage("spam")), client.ask(DeleteVersion("eggs", "1.0"))
    until(lambda: scribe.seen)
    assert not client.all(first)
    assert not second
    scribe.failing = 1
    scribe.answering.set()
    until(lambda: client.all(first, second))
    assert isinstance(first[0].error, Refused)
    assert second[0].error is None


def test_a_removed_package_is_not_written_later(secretary, client, scribe):
    secretary.start()
    client.call(RewritePages("BOTH", "spam"))
    client.call(DeletePackage("spam"))
    time.sleep(0.4)
    assert scribe.seen == [DeletePackage("spam")]


def test_a_removal_completes_rewrites_that_were_stored_before(secretary, client, scribe, fake_db):
    secretary.start()
    client.call(RewritePages("PROJECT", "spam"))  # the stored rewrites are loaded before this
    fake_db.note(RewritePendingRow("eggs", datetime.now(UTC), "BOTH"))
    client.call(DeleteVersion("eggs", "1.0"))
    until(lambda: fake_db.rows == {})
    assert RewritePages("BOTH", "eggs") not in scribe.seen


@pytest.mark.parametrize("step", STEPS)
def test_a_clock_step_delays_no_pending_rewrite(secretary, client, scribe, step):
    clock = secretary.clock = StepClock()
    secretary._buffer = Rewrites(60.0)
    secretary.start()
    client.call(RewritePages("BOTH", "spam"))
    clock.advance(30)
    clock.step(step)
    client.call(RewritePages("BOTH", "eggs"))
    assert 0 < secretary._buffer.seconds_until_due(clock.monotonic()) <= 30
    assert scribe.seen == []
    clock.advance(30)
    until(lambda: scribe.seen == [RewritePages("BOTH", "spam")])
    clock.step(-step)
    clock.advance(30)
    until(lambda: scribe.seen == [RewritePages("BOTH", "spam"), RewritePages("BOTH", "eggs")])


@pytest.mark.parametrize("skew", [timedelta(hours=-1), timedelta(hours=1)])
def test_clocks_that_differ_neither_lose_nor_keep_stored_rewrites(
    secretary, client, scribe, fake_db, skew
):
    secretary.clock = StepClock()
    secretary.clock.step(skew)
    scribe.answering.clear()
    secretary.start()
    client.call(RewritePages("BOTH", "spam"))
    client.call(RewritePages("BOTH", "eggs"))
    until(lambda: scribe.seen)
    # Another program stores a rewrite after TheScribe has read it, without a message.
    fake_db.note(RewritePendingRow("spam", datetime.now(UTC), "BOTH"))
    scribe.answering.set()
    until(lambda: set(fake_db.rows) == {"spam"} and not len(secretary._buffer))


def test_rewrites_that_other_programs_store_are_found(
    config, scribe, fake_db, running, monkeypatch
):
    monkeypatch.setattr(the_secretary, "_SCAN_INTERVAL", timedelta(seconds=0.2))
    scribe.fake_db = fake_db
    with running(TheSecretary(config)):
        for name in ("spam", "eggs", "ham"):
            fake_db.note(RewritePendingRow(name, datetime.now(UTC), "BOTH"))
            until(lambda: not fake_db.rows)
    assert scribe.seen == [RewritePages("BOTH", name) for name in ("spam", "eggs", "ham")]


def test_other_requests_are_passed_on_immediately(secretary, client, scribe):
    secretary.start()
    client.call(WriteHome({"packages_built": 1}))
    client.call(WriteSearch())
    until(lambda: len(scribe.seen) == 2)
    assert scribe.seen[0] == WriteHome({"packages_built": 1})


def test_logs_in_flight_are_limited(secretary, client, scribe, monkeypatch):
    monkeypatch.setattr(the_secretary, "_MAX_LOGS", 1000)
    scribe.answering.clear()
    secretary.start()
    for number in range(10):
        client.call(WriteLog(number, "x" * 300))
    scribe.answering.set()
    until(lambda: not secretary._log_size)
    assert len(scribe.asked(WriteLog)) == 3
    client.call(WriteLog(99, "x" * 900))
    until(lambda: len(scribe.asked(WriteLog)) == 4)


def test_a_paused_secretary_passes_nothing_on(secretary, client, scribe):
    secretary.start()
    secretary.pause()
    until(lambda: secretary.paused)
    client.call(RewritePages("BOTH", "spam"))
    time.sleep(0.4)
    assert scribe.seen == []
    secretary.resume()
    until(lambda: scribe.seen == [RewritePages("BOTH", "spam")])


def test_without_a_database_pages_are_still_written(secretary, client, scribe, fake_db):
    fake_db.error = DatabaseError("away")
    secretary.start()
    with pytest.raises(Unavailable, match="away; the pages will be written, unless"):
        client.call(RewritePages("BOTH", "spam"))
    until(lambda: scribe.seen == [RewritePages("BOTH", "spam")])


def test_requests_that_could_not_be_stored_are_stored_later(config, secretary, client, fake_db):
    secretary._buffer = Rewrites(3600.0)
    fake_db.error = DatabaseError("away")
    secretary.start()
    for name in ("spam", "eggs"):
        with pytest.raises(Unavailable, match="away"):
            client.call(RewritePages("BOTH", name))
    fake_db.error = None
    until(lambda: set(fake_db.rows) == {"spam", "eggs"})


def test_a_request_is_answered_after_it_is_stored(secretary, client, scribe, fake_db):
    secretary._buffer = Rewrites(3600.0)
    secretary.start()
    client.call(RewritePages("PROJECT", "spam"))
    assert fake_db.rows["spam"].command == "PROJECT"
    fake_db.ready.clear()
    client.call(RewritePages("PROJECT", "Spam"))  # stored already
    asked = [client.ask(RewritePages("BOTH", f"p{number}")) for number in range(50)]
    asked += [client.ask(RewritePages("BOTH", "spam")), client.ask(RewritePages("PROJECT", "spam"))]
    scribe.answering.clear()
    home = client.ask(WriteHome({"packages_built": 1}))  # is accepted: the task does not block
    until(lambda: scribe.seen)
    until(lambda: client.all(home))
    assert not any(asked)
    fake_db.ready.set()
    until(lambda: client.all(*asked))
    assert fake_db.rows["spam"].command == "BOTH"
    assert set(fake_db.rows) == {"spam", *(f"p{number}" for number in range(50))}
    assert len(fake_db.saves) <= 4  # in groups


def test_a_stored_request_is_not_stored_again(secretary, client, scribe, fake_db):
    secretary.start()
    client.call(PagesNoted("PROJECT", "Spam"))
    client.call(PagesNoted("BOTH", "spam"))
    until(lambda: scribe.seen == [RewritePages("BOTH", "spam")])
    assert fake_db.saves == []
    with pytest.raises(BadMessage):
        client.call(PagesNoted("HOME", "spam"))


def test_a_request_that_is_stored_late_is_still_removed(secretary, client, scribe, fake_db):
    fake_db.ready.clear()
    secretary.start()
    asked = client.ask(RewritePages("BOTH", "spam"))
    until(lambda: scribe.seen == [RewritePages("BOTH", "spam")])  # before it is stored
    until(lambda: not len(secretary._buffer))
    fake_db.ready.set()
    until(lambda: client.all(asked))
    until(lambda: fake_db.saves and not fake_db.rows)


def test_a_lost_answer_times_out(secretary, client, scribe, monkeypatch):
    monkeypatch.setattr(the_secretary, "_LIMIT", 0.0)
    scribe.answering.clear()
    secretary.start()
    client.call(RewritePages("BOTH", "spam"))
    until(lambda: scribe.seen)
    asked = client.ask(DeletePackage("eggs"))
    until(lambda: client.all(asked))
    assert "not answered within" in str(asked[0].error)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(frames=st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_the_secretary_survives_any_bytes(secretary, client, config, frames):
    if not secretary.is_alive():
        secretary.start()
    with Context().socket(zmq.DEALER) as hostile:
        hostile.connect(wire("web").address(config))
        hostile.send_multipart(frames)
        client.call(RewritePages("PROJECT", "spam"))


def test_an_urgent_rewrite_is_not_delayed(config, scribe, running):
    secretary = TheSecretary(replace(config, dev_mode=False))  # with the real delay of one minute
    with running(secretary), Connected(config, "web") as client:
        for how, name in (("BOTH", "spam"), ("BOTH", "eggs"), ("URGENT", "Spam")):
            client.call(PagesNoted(how, name))
        until(lambda: scribe.seen == [RewritePages("BOTH", "spam")])


def test_a_note_that_the_database_rejects_stops_no_other(with_db, running, db, superuser_dsn):
    reject_rows(superuser_dsn, "rewrites_pending", "package <> 'bad'")
    with running(TheSecretary(with_db)), Connected(with_db, "web") as client:
        asked = [client.ask(RewritePages("BOTH", name)) for name in ("a", "bad", "b")]
        until(lambda: client.all(*asked))
        assert [result.error for (result,) in asked] == [None] * 3
    assert [row.package for row in db.load_rewrites_pending()] == ["a", "b"]


def test_a_bug_at_one_request_ends_only_that(secretary, client, monkeypatch, caplog):
    def buggy(name):
        if name == "bad":
            raise RuntimeError("a bug")
        return canonical(name)

    monkeypatch.setattr(the_secretary, "canonical", buggy)
    secretary.start()
    with pytest.raises(Refused, match="a bug"):
        client.call(RewritePages("BOTH", "bad"))
    client.call(RewritePages("BOTH", "good"))
    assert "a fault of piwheels, please report it" in caplog.text
