"""TheSecretary: it notes at once, passes on once, and loses nothing."""

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
from helpers import LOGGER, Connected, patience, until, wire
from piwheels.core.database.rows import RewritePendingRow
from piwheels.core.errors import BadMessage, DatabaseError, Refused, Unavailable
from piwheels.core.transport import Context
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


class Notes:
    """Stands in for Database: keeps the rewrites that wait; is slow, or away, as it is told to."""

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


class Scribe(threading.Thread):
    """Stands in for TheScribe: notes what it is asked, and answers as it is told to."""

    def __init__(self, config):
        super().__init__(daemon=True)
        self.seen = []
        self.answering = threading.Event()
        self.answering.set()
        self.failing = 0
        self.ending = False
        self.notes = None
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
        if self.notes is None or not hasattr(request, "package"):
            return None
        return self.notes.number(request.package)

    def asked(self, cls):
        return [request for request in self.seen if isinstance(request, cls)]


@pytest.fixture
def config(make_config):
    return make_config(output_path=Path("/nonexistent"), dev_mode=True)


@pytest.fixture
def scribe(config):
    scribe = Scribe(config)
    scribe.start()
    yield scribe
    scribe.ending = True
    scribe.join(patience(30))
    scribe.socket.close()


@pytest.fixture
def notes(config, monkeypatch, running):
    monkeypatch.setattr(the_oracle, "Database", Notes)
    oracle = TheOracle(config)
    with running(Seraph(config), oracle):
        yield oracle.db


@pytest.fixture
def secretary(config, notes, scribe):
    scribe.notes = notes
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


def test_many_requests_for_a_package_are_one_writing(secretary, client, scribe):
    secretary.start()
    for part in ("PROJECT", "BOTH", "PROJECT", "BOTH"):
        client.call(RewritePages(part, "Spam"))
    client.call(RewritePages("PROJECT", "eggs"))
    until(lambda: len(scribe.seen) == 2)
    time.sleep(0.3)
    assert scribe.seen == [RewritePages("BOTH", "spam"), RewritePages("PROJECT", "eggs")]


def test_noting_never_waits_for_the_scribe(secretary, client, scribe):
    scribe.answering.clear()
    secretary.start()
    for number in range(200):
        client.call(RewritePages("BOTH", f"p{number}"))
    until(lambda: scribe.seen)
    client.call(WriteLog(1, "text"))
    scribe.answering.set()
    until(lambda: len(scribe.asked(RewritePages)) == 200)
    assert scribe.asked(WriteLog) == [WriteLog(1, "text")]


def test_what_waits_is_noted_until_it_is_written(secretary, client, scribe, notes):
    scribe.answering.clear()
    secretary.start()
    client.call(RewritePages("BOTH", "spam"))
    until(lambda: "spam" in notes.rows)
    assert notes.rows["spam"].command == "BOTH"
    scribe.answering.set()
    until(lambda: "spam" not in notes.rows)


def test_what_an_earlier_run_left_is_written_first(secretary, scribe, notes):
    for age, name in enumerate(["b", "a"]):
        added = datetime.now(UTC) - timedelta(hours=age + 1)
        notes.note(RewritePendingRow(name, added, "BOTH"))
    secretary.start()
    until(lambda: not notes.rows)
    assert scribe.seen == [RewritePages("BOTH", "a"), RewritePages("BOTH", "b")]


def test_quitting_leaves_what_waits_in_the_database(secretary, client, scribe, notes):
    scribe.answering.clear()
    secretary.start()
    for number in range(20):
        client.call(RewritePages("PROJECT", f"p{number}"))
    secretary.quit()
    secretary.join(patience(30))
    assert len(notes.rows) == 20


def test_a_failed_page_is_tried_again(secretary, client, scribe, notes, monkeypatch):
    from piwheels.master.logic import rewrites  # noqa: PLC0415

    monkeypatch.setattr(rewrites, "_BACK_OFF", 0.01)
    scribe.failing = 2
    secretary.start()
    client.call(RewritePages("BOTH", "spam"))
    until(lambda: len(scribe.seen) == 3)
    until(lambda: not len(secretary._buffer))


def test_a_page_that_never_works_is_left_for_the_next_start(
    secretary, client, scribe, notes, monkeypatch
):
    from piwheels.master.logic import rewrites  # noqa: PLC0415

    monkeypatch.setattr(rewrites, "_BACK_OFF", 0.01)
    added = datetime.now(UTC) - timedelta(hours=1)
    notes.note(RewritePendingRow("spam", added, "BOTH"))
    scribe.failing = 100
    secretary.start()
    until(lambda: len(scribe.seen) == rewrites.ATTEMPTS and not len(secretary._buffer))
    assert "spam" in notes.rows
    scribe.failing = 0
    client.call(RewritePages("BOTH", "spam"))
    until(lambda: not notes.rows)


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


def test_a_removed_package_is_not_written_afterwards(secretary, client, scribe):
    secretary.start()
    client.call(RewritePages("BOTH", "spam"))
    client.call(DeletePackage("spam"))
    time.sleep(0.4)
    assert scribe.seen == [DeletePackage("spam")]


def test_a_removal_settles_what_was_noted_before(secretary, client, scribe, notes):
    secretary.start()
    client.call(RewritePages("PROJECT", "spam"))  # then it has looked for notes
    notes.note(RewritePendingRow("eggs", datetime.now(UTC), "BOTH"))
    client.call(DeleteVersion("eggs", "1.0"))
    until(lambda: notes.rows == {})
    assert RewritePages("BOTH", "eggs") not in scribe.seen


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_the_clock_moves_no_page_that_waits(secretary, client, scribe, step):
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
def test_clocks_that_disagree_lose_no_note_and_leave_none(secretary, client, scribe, notes, skew):
    secretary.clock = StepClock()
    secretary.clock.step(skew)
    scribe.answering.clear()
    secretary.start()
    client.call(RewritePages("BOTH", "spam"))
    client.call(RewritePages("BOTH", "eggs"))
    until(lambda: scribe.seen)
    # Noted by somebody else since TheScribe has looked; nobody tells TheSecretary.
    notes.note(RewritePendingRow("spam", datetime.now(UTC), "BOTH"))
    scribe.answering.set()
    until(lambda: set(notes.rows) == {"spam"} and not len(secretary._buffer))


def test_notes_that_nobody_tells_of_are_found(config, scribe, notes, running, monkeypatch):
    monkeypatch.setattr(the_secretary, "_SCAN_INTERVAL", timedelta(seconds=0.2))
    scribe.notes = notes
    with running(TheSecretary(config)):
        for name in ("spam", "eggs", "ham"):
            notes.note(RewritePendingRow(name, datetime.now(UTC), "BOTH"))
            until(lambda: not notes.rows)
    assert scribe.seen == [RewritePages("BOTH", name) for name in ("spam", "eggs", "ham")]


def test_the_rest_is_passed_on_at_once(secretary, client, scribe):
    secretary.start()
    client.call(WriteHome({"packages_built": 1}))
    client.call(WriteSearch())
    until(lambda: len(scribe.seen) == 2)
    assert scribe.seen[0] == WriteHome({"packages_built": 1})


def test_logs_under_way_are_bounded(secretary, client, scribe, monkeypatch):
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


def test_paused_it_notes_and_passes_nothing_on(secretary, client, scribe):
    secretary.start()
    secretary.pause()
    until(lambda: secretary.paused)
    client.call(RewritePages("BOTH", "spam"))
    time.sleep(0.4)
    assert scribe.seen == []
    secretary.resume()
    until(lambda: scribe.seen == [RewritePages("BOTH", "spam")])


def test_without_a_database_pages_are_still_written(secretary, client, scribe, notes):
    notes.error = DatabaseError("away")
    secretary.start()
    with pytest.raises(Unavailable, match="away; the pages will be written, unless"):
        client.call(RewritePages("BOTH", "spam"))
    until(lambda: scribe.seen == [RewritePages("BOTH", "spam")])


def test_what_could_not_be_noted_is_noted_later(config, secretary, client, notes):
    secretary._buffer = Rewrites(3600.0)
    notes.error = DatabaseError("away")
    secretary.start()
    for name in ("spam", "eggs"):
        with pytest.raises(Unavailable, match="away"):
            client.call(RewritePages("BOTH", name))
    notes.error = None
    until(lambda: set(notes.rows) == {"spam", "eggs"})


def test_an_answer_means_that_the_database_knows(secretary, client, scribe, notes):
    secretary._buffer = Rewrites(3600.0)
    secretary.start()
    client.call(RewritePages("PROJECT", "spam"))
    assert notes.rows["spam"].command == "PROJECT"
    notes.ready.clear()
    client.call(RewritePages("PROJECT", "Spam"))  # that it knows already
    asked = [client.ask(RewritePages("BOTH", f"p{number}")) for number in range(50)]
    asked += [client.ask(RewritePages("BOTH", "spam")), client.ask(RewritePages("PROJECT", "spam"))]
    scribe.answering.clear()
    home = client.ask(WriteHome({"packages_built": 1}))  # is taken: the task does not wait
    until(lambda: scribe.seen)
    until(lambda: client.all(home))
    assert not any(asked)
    notes.ready.set()
    until(lambda: client.all(*asked))
    assert notes.rows["spam"].command == "BOTH"
    assert set(notes.rows) == {"spam", *(f"p{number}" for number in range(50))}
    assert len(notes.saves) <= 4  # in groups


def test_what_is_noted_already_is_not_noted_again(secretary, client, scribe, notes):
    secretary.start()
    client.call(PagesNoted("PROJECT", "Spam"))
    client.call(PagesNoted("BOTH", "spam"))
    until(lambda: scribe.seen == [RewritePages("BOTH", "spam")])
    assert notes.saves == []
    with pytest.raises(BadMessage):
        client.call(PagesNoted("HOME", "spam"))


def test_a_note_that_comes_late_is_removed_all_the_same(secretary, client, scribe, notes):
    notes.ready.clear()
    secretary.start()
    asked = client.ask(RewritePages("BOTH", "spam"))
    until(lambda: scribe.seen == [RewritePages("BOTH", "spam")])  # sooner than it was noted
    until(lambda: not len(secretary._buffer))
    notes.ready.set()
    until(lambda: client.all(asked))
    until(lambda: notes.saves and not notes.rows)


def test_a_lost_answer_is_given_up(secretary, client, scribe, monkeypatch):
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
def test_no_bytes_end_it(secretary, client, config, frames):
    if not secretary.is_alive():
        secretary.start()
    with Context().socket(zmq.DEALER) as raw:
        raw.connect(wire("web").address(config))
        raw.send_multipart(frames)
        client.call(RewritePages("PROJECT", "spam"))


def test_what_is_urgent_waits_for_nothing(config, scribe, running):
    secretary = TheSecretary(replace(config, dev_mode=False))  # a minute, in earnest
    with running(secretary), Connected(config, "web") as client:
        for how, name in (("BOTH", "spam"), ("BOTH", "eggs"), ("URGENT", "Spam")):
            client.call(PagesNoted(how, name))
        until(lambda: scribe.seen == [RewritePages("BOTH", "spam")])
