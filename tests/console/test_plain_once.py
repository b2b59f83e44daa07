"""The console without screens: lines for pipes, a table for people, JSON for programs."""

import io
import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from piwheels.console import once, plain
from piwheels.console.model.events import (
    Answer,
    Incoming,
    Outgoing,
    Sent,
    WireDown,
    WireUp,
)
from piwheels.console.session import Session
from piwheels.console.wire.recorder import Recorder
from piwheels.console.wire.replay import Replay
from piwheels.core.codec import NoData
from piwheels.core.protocols import (
    BuildOutcome,
    CommandReport,
    Job,
    Lane,
    QueueHead,
    SlaveEvent,
    TargetState,
    Welcome,
)
from piwheels.core.states import MasterInfo, MasterStats, SlaveInfo, SlaveStats

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MASTER = MasterInfo(NOW - timedelta(days=1), "farm1", "Debian", "12", "d04170", "beef")
HEADS = [QueueHead("cp311", 2, [Job("numpy", "2.3.4"), Job("scipy", "1.16.2")])]
TARGETS = [TargetState("linux_armv7l", "cp311", 4, 0, NOW)]
STATS = MasterStats(
    NOW, 100, {"cp311": 12}, timedelta(hours=50), 10**9, {"cp311": 2}, 3, 90, 1, 2, 3,
    10**12, 10**11, 2**33, 2**32, 0, 0, 0.5, 48.0,
)  # fmt: skip


def info(label):
    return SlaveInfo(
        timedelta(hours=3), timedelta(minutes=5), "311", "cp311", "linux_aarch64", label, "Debian",
        "12", "c03115", "1234",
    )  # fmt: skip


def stats(at, temp=55.0):
    return SlaveStats(at, 10**10, 5 * 10**9, 2**32, 2**31, 0, 0, 1.5, temp)


ENDED = BuildOutcome(
    7, 1, "pi4-01", "lxml", "6.0.2", "cp311", "ok", timedelta(minutes=4), 1, NOW - 60 * SECOND
)  # fmt: skip
SLAVES = [
    SlaveEvent(1, NOW - timedelta(hours=1), "HELLO", info("pi4-01")),
    SlaveEvent(1, NOW - SECOND, "STATS", stats(NOW - SECOND)),
    SlaveEvent(1, NOW - timedelta(minutes=4), "BUILD", Job("numpy", "2.3.4")),
    SlaveEvent(2, NOW - timedelta(hours=1), "HELLO", info("[red]\u202epi\x41")),
    SlaveEvent(2, NOW - SECOND, "STATS", stats(NOW - SECOND, float("nan"))),
    SlaveEvent(2, NOW - SECOND, "SLEEP", False),
]


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += timedelta(seconds=seconds)


class FakeMaster:
    """A level-1 master as a source; it sends *news*: pairs of delay and event."""

    name = "ipc:///run/farm/status"

    def __init__(self, clock, news=(), *, answers=True):
        self._clock = clock
        self._news = list(news)
        self._answers = answers
        self._inbox = []
        self.stopped = False

    def start(self):
        if self._answers:
            self._inbox += [WireUp("status"), WireUp("control"), WireUp("console")]
        else:
            self._inbox += [WireDown("status", "nobody listens there (any more)")]

    def take(self):
        while self._news and self._clock.now >= NOW + self._news[0][0] * SECOND:
            event = self._news.pop(0)[1]
            if isinstance(event, BaseException):
                raise event
            self._inbox.append(event)
        inbox, self._inbox = self._inbox, []
        return [Incoming(self._clock.now, event) for event in inbox]

    def send(self, outgoing: Outgoing):
        answers = {
            "HELLO": Welcome(1, MASTER, False),
            "SLAVES": SLAVES if outgoing.data == 0 else [],
            "FIGURES": [STATS],
            "QUEUE": HEADS,
            "BUILDS": [ENDED],
            "TARGETS": TARGETS,
            "HOSTS": [Lane(2, "beef", 3)],
        }
        answer = answers.get(outgoing.msg, [])
        self._inbox += [Sent(outgoing.ticket), Answer(outgoing.ticket, outgoing.msg, answer)]

    def stop(self):
        self.stopped = True


ADDRESSES = {name: f"ipc:///run/farm/{name}" for name in ("status", "control", "console")}


def session_with(source):
    return Session(source, who="dave@ops", addresses=ADDRESSES)


def ask_once(*, as_json, news=(), answers=True):
    clock, out = Clock(), io.StringIO()
    source = FakeMaster(clock, news, answers=answers)
    status = once.run(
        session_with(source), out, json=as_json, timeout=10 * SECOND, clock=clock, sleep=clock.sleep
    )
    assert source.stopped
    return status, out.getvalue()


def test_a_pause_has_its_reason(monkeypatch):
    asleep = SlaveEvent(2, NOW - SECOND, "SLEEP", True)
    monkeypatch.setitem(globals(), "SLAVES", [*SLAVES[:-1], asleep])
    full = CommandReport("the master: the disk is full", "SLEEP", None, NOW)
    ssl = CommandReport("the master: no ssl\x1b[2J", "SLEEP", [2], NOW)
    news = [(0, full), (0, ssl)]
    _, text = ask_once(as_json=True, news=news)
    picture = json.loads(text)
    assert (picture["master"]["paused"], picture["master"]["pause"]) == (True, full.who)
    assert picture["slaves"][0]["pause"] is None  # it builds
    assert (picture["slaves"][1]["state"], picture["slaves"][1]["pause"][:18]) == (
        "PAUSE", "the master: no ssl",
    )  # fmt: skip
    _, text = ask_once(as_json=False, news=news)
    assert "\npaused by the master: the disk is full\n" in text
    assert " PAUSE  by the master: no ssl" in text
    assert "\x1b" not in text


def test_json_has_the_documented_keys():
    status, text = ask_once(as_json=True)
    assert status == 0
    assert text.isascii(), "a terminal would obey it"
    picture = json.loads(text)
    for key in (
        picture.keys()
        | picture["slaves"][0].keys()
        | picture["builds"][0].keys()
        | picture["queues"][0].keys()
        | picture["targets"][0].keys()
    ):
        assert f"``{key}``" in once.__doc__, f"{key} is not documented"
    assert picture["link"] == {"state": "LIVE", "level": 1, "source": FakeMaster.name}
    assert picture["master"]["started"] == "2026-11-23T12:00:00+00:00"
    assert picture["master"]["paused"] is False
    assert picture["figures"]["builds_time"] == 180_000
    assert picture["counts"] == {"BUILD": 1, "SLEEP": 1}
    assert picture["queues"] == [
        {
            "abi": "cp311",
            "pending": 2,
            "first": [
                {"package": "numpy", "version": "2.3.4"},
                {"package": "scipy", "version": "1.16.2"},
            ],
        }
    ]
    assert picture["targets"] == [
        {
            "platform": "linux_armv7l", "abi": "cp311", "pending": 4, "slaves": 0,
            "waits_since": "2026-11-24T12:00:00+00:00", "skip": "",
        }
    ]  # fmt: skip
    assert picture["builds"][0]["duration"] == 240
    one, other = picture["slaves"]
    assert (one["id"], one["label"], one["state"]) == (1, "pi4-01", "BUILD")
    assert (one["package"], one["version"]) == ("numpy", "2.3.4")
    assert 240 <= one["elapsed"] < 245
    assert one["stats"]["disk_free"] == 5 * 10**9
    assert (one["platform"], one["host"], one["lane"]) == ("linux_aarch64", None, None)
    assert (other["host"], other["lane"]) == ("beef", 3)
    assert other["package"] is None
    assert other["stats"]["cpu_temp"] is None, "it is no figure"


def test_a_table_for_people():
    status, text = ask_once(as_json=False)
    lines = text.splitlines()
    assert status == 0
    assert lines[0] == "farm1: LIVE; 1 SLEEP, 1 BUILD"
    assert lines[1] == "queue: 2 (cp311 2)"
    assert lines[2].split() == ["ID", "LABEL", "ABI", "STATE", "TASK", "TIME", "ALERTS"]
    assert lines[3].split()[:6] == ["1", "pi4-01", "cp311", "BUILD", "numpy", "2.3.4"]
    assert "\u202e" not in text
    assert "[red]" in lines[4]


@pytest.mark.parametrize("days", [3, -3])
def test_a_slave_with_a_wrong_clock_changes_no_times(monkeypatch, days):
    """Masters repeat a slave's statistics under its own timestamp, or (later) under theirs."""
    wrong = NOW + timedelta(days=days)
    for at in (wrong, NOW - SECOND):
        slaves = [SLAVES[0], SlaveEvent(1, at, "STATS", stats(wrong)), *SLAVES[2:]]
        monkeypatch.setitem(globals(), "SLAVES", slaves)
        status, text = ask_once(as_json=False)
        assert status == 0
        one, other = text.splitlines()[3:]
        assert " 0:04:0" in one, text
        assert " 0:00:0" in other, text


def test_no_master(capsys):
    status, text = ask_once(as_json=True, answers=False)
    assert (status, text) == (1, "")
    err = capsys.readouterr().err
    assert "no master has answered within 10 s" in err
    assert "nobody listens there" in err


def test_once_of_a_recording_is_its_end(tmp_path):
    recorder = Recorder(tmp_path / "farm")
    clock = Clock()
    source = FakeMaster(
        clock, [(30, SlaveEvent(1, NOW + 30 * SECOND, "DIE", NoData)), (40, EOFError())]
    )
    session = Session(source, addresses=ADDRESSES, recorder=recorder)
    with pytest.raises(EOFError):
        plain.run(session, io.StringIO(), clock, clock.sleep)
    out = io.StringIO()
    session = Session(Replay(tmp_path / "farm", clock))
    assert once.run(session, out, json=True, timeout=SECOND, clock=clock, sleep=clock.sleep) == 0
    picture = json.loads(out.getvalue())
    assert picture["link"]["state"] == "REPLAY"
    assert picture["at"].startswith("2026-11-24T12:00:3")
    assert picture["counts"]["DEAD"] == 1
    assert picture["queues"][0]["pending"] == 2


# Lines --------------------------------------------------------------------------------------------


def lines_of(news, seconds=60, answers=True):
    clock, out = Clock(), io.StringIO()
    source = FakeMaster(clock, [*news, (seconds, EOFError())], answers=answers)
    with pytest.raises(EOFError):
        plain.run(session_with(source), out, clock, clock.sleep)
    assert source.stopped
    return out.getvalue().splitlines()


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_events_are_written_as_lines():
    later = NOW + 10 * SECOND
    lines = lines_of(
        [
            (10, SlaveEvent(3, later, "HELLO", info("pi5-[b]07"))),
            (11, SlaveEvent(3, later + SECOND, "BUILD", Job("lxml", "6.0.2"))),
            (12, SlaveEvent(3, later + 2 * SECOND, "SEND", "lxml-6.0.2-py3-none-any.whl")),
            (13, SlaveEvent(3, later + 3 * SECOND, "DONE", NoData)),
            (14, SlaveEvent(3, later + 4 * SECOND, "DIE", NoData)),
            (20, WireDown("console", "the connection has ended")),
        ]
    )
    assert lines[0] == "2026-11-24 12:00:00 LINK: asking the master at ipc:///run/farm/status"
    text = "\n".join(lines)
    assert "LINK: attached (level 1)" in text
    assert "12:00:10 JOIN: pi5-[b]07 (#3), " in text
    assert "12:00:14 LEFT: pi5-[b]07 (#3), " in text
    (built,) = (line for line in lines if " DONE: " in line)
    assert built.startswith("2026-11-24 12:00:13 DONE: pi5-[b]07 (#3), lxml 6.0.2 cp311 ok")
    assert any("CRIT: lost the master" in line for line in lines)
    assert all(line.isprintable() for line in lines)


def test_similar_events_become_one_line():
    news = [(10 + n / 50, SlaveEvent(10 + n, NOW, "HELLO", info(f"pi-{n}"))) for n in range(40)]
    joins = [line for line in lines_of(news) if " JOIN: " in line]
    assert len(joins) == 1
    assert "40 slaves" in joins[0]


def test_a_missing_master_is_reported_once():
    lines = lines_of([], seconds=300, answers=False)
    assert sum("No master answers" in line for line in lines) == 1
    assert any("nobody listens there" in line for line in lines)


def test_each_line_is_flushed():
    class Pipe(io.StringIO):
        def flush(self):
            flushed.append(self.getvalue())

    flushed, clock = [], Clock()
    out = Pipe()
    with pytest.raises(EOFError):
        plain.run(session_with(FakeMaster(clock, [(9, EOFError())])), out, clock, clock.sleep)
    assert [text.count("\n") for text in flushed] == list(range(1, len(flushed) + 1))


def test_a_closed_pipe_ends_it():
    class Closed(io.StringIO):
        def write(self, _):
            raise BrokenPipeError

    clock = Clock()
    source = FakeMaster(clock)
    with pytest.raises(BrokenPipeError):
        plain.run(session_with(source), Closed(), clock, clock.sleep)
    assert source.stopped
