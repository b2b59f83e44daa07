"""TheOperator and its consoles, valid and hostile, with a real SlaveDriver and database."""

import gzip
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from helpers import Connected, own_config, patience, until
from peers import Console, Slave, queue_up
from piwheels.core import codec
from piwheels.core.protocols import CommandReport, NoData, console
from piwheels.core.states import MasterInfo, MasterStats
from piwheels.core.targets import Target
from piwheels.master import the_operator
from piwheels.master.logic.consoles import MAX_CONSOLES, MAX_WATCHED
from piwheels.master.messages import (
    CommandGiven,
    CommandMaster,
    MasterStarted,
    PagesNoted,
    StatsPublished,
)
from piwheels.master.slave_driver import SlaveDriver
from piwheels.master.the_operator import TheOperator

START = datetime(2026, 11, 24, tzinfo=UTC)
INFO = MasterInfo(START, "farm.example", "Debian", "12", "", "")
FIGURES = MasterStats(
    START,
    1,
    {},
    timedelta(),
    0,
    {"cp311": 7, "cp39": 2},
    0,
    0,
    0,
    0,
    0,
    9,
    8,
    7,
    6,
    5,
    4,
    0.5,
    40.0,
)


@pytest.fixture
def farm(with_db, db, running, other_end):
    """A running TheOperator and SlaveDriver with demo 1.0 to build, and their other ends."""
    config = with_db
    object.__setattr__(config, "pypi_simple", "https://index.example/simple")
    db.add_build_abi("cp311")
    db.add_new_package("demo")
    for number in range(1, 4):
        db.add_new_package_version("demo", f"{number}.0", START + timedelta(days=number))
    web, main, events = (other_end(config, name) for name in ("web", "commands", "events"))
    driver, operator = SlaveDriver(config), TheOperator(config)
    with Connected(config, "console_events") as news, running(driver, operator):
        news.push(MasterStarted(INFO))
        operator.web, operator.main, operator.events, operator.news = web, main, events, news
        operator.driver = driver
        queue_up(config, *(("demo", f"{number}.0") for number in range(1, 4)))
        until(lambda: driver.fleet.queue.rows)
        yield operator


@pytest.fixture
def me(farm):
    with Console(farm.config.console_queue) as one:
        yield one.hello()


@pytest.fixture
def you(farm):
    with Console(farm.config.console_queue, "you") as one:
        yield one.hello()


@pytest.fixture
def slave(farm):
    with Slave(farm.config, output=True) as one:
        yield one.hello()


def test_a_welcome_describes_the_master_and_whether_it_is_paused(farm, me):
    assert me.welcome == (1, INFO, False, "")
    farm.pause()
    until(lambda: farm.paused)
    assert me.hello().welcome.paused


def test_a_console_is_refused_before_hello(farm):
    with Console(farm.config.console_queue) as stranger:
        kind, why = stranger.ask("FIGURES")
        assert (kind, "HELLO" in why) == ("REFUSED", True)


def test_every_request_is_answered(me, slave):
    requests = {
        "HELLO": [1, "me"], "SLAVES": 0, "HISTORY": slave.id, "FIGURES": NoData, "QUEUE": 5,
        "BUILDS": 5, "LOG": [1, 0], "WATCH": slave.id, "UNWATCH": slave.id, "QUIT": NoData,
        "KILL": [], "SLEEP": [], "SKIP": [], "WAKE": [], "HOSTS": 0, "TARGETS": NoData,
        "POSITION": ["demo", "1.0"], "FAILURES": 7, "FAILED": [7, "unknown", ""],
        "RETRY": ["demo", "1.0"], "FIRST": ["demo", "1.0"], "WHY": ["demo", "1.0"],
    }  # fmt: skip
    assert requests.keys() == console.recv.keys()
    for msg, data in requests.items():
        answer = me.ask(msg, data)
        refused = isinstance(answer, tuple) and answer[0] == "REFUSED"
        assert not refused or answer[1] == "there is no log of build 1", (msg, answer)


def test_the_list_of_slaves_is_sent_in_pages_to_the_console_that_asks(farm, me, you, monkeypatch):
    monkeypatch.setattr("piwheels.master.slave_driver.PAGE", 3)
    boards = [Slave(farm.config, f"board {number}").hello() for number in range(5)]
    for board in boards:
        board.stats("IDLE")
    seen, after, pages = [], 0, 0
    while page := me.ask("SLAVES", after):
        seen, after, pages = seen + page, page[-1].slave_id, pages + 1
    assert pages == 5
    assert [event.data.label for event in seen if event.message == "HELLO"] == [
        board.label for board in boards
    ]
    assert [event.message for event in seen[:3]] == ["HELLO", "STATS", "BUILD"]
    assert seen[-1][1:] == (seen[-1].timestamp, "SLEEP", False)
    assert you.has_no_events()
    for board in boards:
        board.socket.close()


def test_a_console_gets_the_history_of_a_slave(farm, me):
    with Slave(farm.config) as board:
        board.hello().work()
        greeted, handed_out = me.ask("HISTORY", board.id)
        assert greeted[1:] == ("idle", "HELLO: ACK")
        assert handed_out[1:] == ("building", "IDLE: BUILD demo 1.0")
        assert me.ask("HISTORY", 99) == ("REFUSED", "there is no slave 99")


def test_statistics_and_queue_are_sent_on_request(farm, me):
    assert me.ask("FIGURES") == []
    assert me.ask("QUEUE", 1) == [("cp311", 3, [("demo", "1.0")]), ("any", 0, [])]
    for number in range(120):
        farm.news.push(StatsPublished(FIGURES._replace(packages_built=number)))
    until(lambda: farm.stats and farm.stats[-1].packages_built == 119)
    stats = me.ask("FIGURES")
    assert [one.packages_built for one in stats] == list(range(20, 120))
    assert me.ask("QUEUE", 2) == [
        ("cp311", 7, [("demo", "1.0"), ("demo", "2.0")]), ("cp39", 2, []), ("any", 0, []),
    ]  # fmt: skip
    assert [len(head.first) for head in me.ask("QUEUE", 2**62)] == [3, 0, 0]


def test_lanes_are_reported(farm, me, slave):
    with Slave(farm.config, "duo", lane=3) as lane:
        lane.features["identity"] = "f" * 32
        lane.hello()
        [(number, host, index)] = me.ask("HOSTS", 0)
        assert (number, index) == (lane.id, 3)
        assert host != lane.features["identity"]
        assert me.ask("HOSTS", lane.id) == []


def test_targets_are_reported_with_their_slaves(farm, db, me, slave):
    db.add_targets([Target("linux_x86_64", "cp311"), Target("linux_riscv64", "cp313")])
    db.retire_targets([Target("linux_riscv64", "cp313")], "no board")
    farm.driver._read_targets()
    until(lambda: len(farm.driver.targets) > 1)
    targets = {one[:2]: one[2:] for one in me.ask("TARGETS")}
    assert targets["linux_x86_64", "cp311"] == (0, 1, None, "")
    assert targets["linux_riscv64", "cp313"] == (0, 0, None, "no board")


def test_the_place_of_a_version_is_explained(db, me):
    first, *others = me.ask("POSITION", ["demo", "2.0"])
    assert (first[:4], others) == (("any", "any", 2, 3), [])
    assert first.why[-1] == "it has no build yet: a slave of any target may begin"
    assert me.ask("POSITION", ["demo", "99"]) == []


def test_failures_are_counted_listed_and_repeated(farm, db, me, slave, caplog):
    for log in ("fatal error: ssl.h: No such file or directory\n", "fatal error: a.h: no file\n"):
        slave.work()
        slave.built(status=False, log=log)
    ended = [me.event("OUTCOME")[1] for _ in range(2)]
    counts = me.ask("FAILURES", 7)
    assert {one[:2] for one in counts} == {(one.reason, one.subject) for one in ended}
    assert sum(one.builds for one in counts) == 2
    chosen = [7, ended[0].reason, ended[0].subject]
    failed = me.ask("FAILED", chosen)
    assert [one.build_id for one in failed][-1] == ended[0].build_id
    assert me.ask("RETRY", [chosen, True]) == len(failed) == len(me.ask("FAILED", chosen))
    assert me.ask("RETRY", [chosen, False]) == len(failed)
    for _ in range(4):
        farm.web.take()  # a log and a page of each build
    assert farm.web.take() == PagesNoted("PROJECT", "demo")
    assert me.ask("FAILED", chosen) == []
    assert f"me said RETRY to {ended[0].reason}" in caplog.text
    assert me.ask("FAILURES", 0) == []
    assert me.ask("FAILURES", 2**60) == [one for one in counts if list(one[:2]) != chosen[1:]]


def test_a_version_is_tried_again(farm, db, me, slave):
    slave.work()
    slave.built(status=False)
    me.event("OUTCOME")
    assert me.ask("RETRY", ["Demo", "1.0"]) == 1
    assert db.get_all_build_ids() == set()
    assert me.ask("RETRY", ["demo", "1.0"]) == 0


def test_consoles_are_told_why_there_is_no_wheel(farm, me, slave):
    slave.work()
    slave.built(status=False, log="a.c:1:10: fatal error: ssl.h: No such file or directory\n")
    me.event("OUTCOME")
    answer = me.ask("WHY", ["Demo", "1.0"])
    assert {(line.version, line.abi, line.state) for line in answer.lines} == {
        ("1.0", "cp311", "failed")
    }
    assert answer.left_out == 0
    assert {line.version for line in me.ask("WHY", ["demo", ""]).lines} == {"1.0", "2.0", "3.0"}
    assert me.ask("WHY", ["demo", "9"]) == ("REFUSED", "the farm does not know demo 9")
    assert me.ask("WHY", ["none", "9"]) == ("REFUSED", "the farm does not know none")


def test_a_version_is_put_first(db, me):
    assert me.ask("FIRST", ["Demo", "3.0"]) is NoData
    assert me.ask("POSITION", ["demo", "3.0"])[0][2:4] == (1, 3)
    assert me.ask("FIRST", ["demo", "9"]) == ("REFUSED", "there is no demo 9")


def test_finished_builds_are_announced_and_listed(farm, db, me, slave):
    slave.work()
    until(db.get_leases)  # the lease keeps the slave's label
    slave.built(status=False)
    ticket, ended = me.event("OUTCOME")
    assert ticket == 1  # the ticket of its HELLO
    assert ended[1:7] == (slave.id, "board", "demo", "1.0", "cp311", "failed")
    assert me.ask("BUILDS", 10) == [ended._replace(ended=me.ask("BUILDS", 1)[0].ended)]
    slave.work()
    assert me.ask("SKIP", [slave.id]) == []
    assert slave.stats("BUSY")[0] == "DONE"
    _, ended = me.event("OUTCOME")
    assert (ended.build_id, ended.version, ended.result) == (None, "2.0", "skipped")
    assert len(me.ask("BUILDS", 2**60)) == 1


def test_a_suspended_slave_is_reported_with_its_reason_also_to_later_consoles(farm, db, me, slave):
    slave.work()
    slave.built(status=False, log="the ssl module in Python is not available\n")
    who, *about = me.event("COMMAND")[1][:3]
    assert who.startswith("the master: slave broken (Repair the slave: ")
    assert about == ["SLEEP", [slave.id]]
    assert slave.stats("IDLE") == ("SLEEP", True)
    assert [each.counts for each in db.get_builds([("demo", "1.0")])] == [False]
    with Console(farm.config.console_queue, "late") as late:
        assert late.hello().event("COMMAND")[1][:3] == (who, "SLEEP", [slave.id])
        assert late.hello().has_no_events()
    assert me.ask("WAKE", [slave.id]) == []
    assert slave.work() == ["demo", "2.0"]


def test_a_master_without_room_is_reported_to_consoles(farm, me, slave):
    farm.driver.fleet.disk_space(1, 2)
    assert slave.stats("IDLE") == ("SLEEP", True)
    with Console(farm.config.console_queue, "late") as late:
        report = late.hello().event("COMMAND")[1]
    assert report.who == "the master: the disk of the site has 1 bytes free, and needs 2 bytes"
    assert (report.verb, report.slaves) == ("SLEEP", None)


def test_a_later_console_is_told_of_pauses_by_operators(farm, me, slave):
    def pauses():
        with Console(farm.config.console_queue, "late") as late:
            return late.hello().event("COMMAND")[1][:3]

    assert me.ask("SLEEP", [slave.id]) == []
    assert pauses() == ("an operator", "SLEEP", [slave.id])
    assert me.ask("SLEEP", None) == []
    assert pauses() == ("an operator", "SLEEP", None)


def test_a_log_is_read_from_the_database_and_later_from_the_site(farm, db, me, slave, monkeypatch):
    monkeypatch.setattr(the_operator, "LOG_PART", 10)
    log = "0123456789" * 2 + "\u20ac end\n"
    slave.work()
    slave.built(status=False, log=log)
    build_id = me.event("OUTCOME")[1].build_id

    def read():
        text, size = "", 1
        while len(text) < size:
            offset, part, size = me.ask("LOG", [build_id, len(text)])
            assert offset == len(text)
            assert 0 < len(part) <= 10
            text += part
        return text

    assert read() == log
    farm.site.sync([farm.site.write_log(build_id, log)])
    db.logs_written([build_id])
    assert read() == log
    assert me.ask("LOG", [build_id, 1000]) == (1000, "", len(log))
    assert me.ask("LOG", [2**62, 2**62])[0] == "REFUSED"
    farm.site.log_path(build_id + 1).symlink_to("/etc/passwd")
    kind, why = me.ask("LOG", [build_id + 1, 0])
    assert (kind, "cannot be read" in why) == ("REFUSED", True)


def test_build_output_is_sent_to_the_consoles_that_watch(farm, me, you, slave):
    assert slave.work() == ["demo", "1.0"]
    assert slave.say("OUTPUT", [0, "one\n"]) == ("CONT", NoData)
    until(lambda: farm.tails.get(slave.id))
    watch = me.send("WATCH", slave.id)
    assert me.answer(watch, "WATCH") is NoData
    assert me.event("OUTPUT") == (watch, (slave.id, "demo", "1.0", 0, "one\n"))
    slave.say("OUTPUT", [4, "two\n"])
    assert me.event("OUTPUT") == (watch, (slave.id, "demo", "1.0", 4, "two\n"))
    again = me.send("WATCH", slave.id)
    assert me.event("OUTPUT") == (again, (slave.id, "demo", "1.0", 0, "one\ntwo\n"))
    assert me.ask("UNWATCH", slave.id) is NoData
    slave.say("OUTPUT", [8, "three\n"])
    until(lambda: farm.tails.get(slave.id).offset + len(farm.tails.get(slave.id).text) == 14)
    assert you.has_no_events()
    assert not [one for one in me.events if one[1] == "OUTPUT"]
    slave.built(status=False)
    until(lambda: farm.tails.get(slave.id) is None)


def test_output_from_a_slave_of_level_0_is_refused(farm):
    with Slave(farm.config) as old, Slave(farm.config, "new") as new:
        assert old.hello().work() == ["demo", "1.0"]
        old.socket.send(codec.dumps("OUTPUT", [0, "text"]))
        assert new.hello().work() == ["demo", "1.0"]  # it is free again
        assert not old.socket.poll(100)  # it greets again after its time-out; DIE would end it


def test_a_builds_output_is_dropped_however_it_ends(farm, me, slave):
    slave.work()
    slave.say("OUTPUT", [0, "text"])
    until(lambda: farm.tails.get(slave.id))
    assert me.ask("KILL", [slave.id]) == []
    assert slave.say("OUTPUT", [4, "more"]) == ("CONT", NoData)  # the build continues
    slave.socket.send(codec.dumps("BYE"))
    until(lambda: farm.tails.get(slave.id) is None)
    assert not any(kind == "OUTCOME" for _, kind, _ in me.events)


def test_commands_are_answered_and_reported_to_all_consoles(farm, me, you, slave):
    assert me.ask("SLEEP", [slave.id, 99]) == [(99, "no such slave")]
    report = you.event("COMMAND")[1]
    assert report[:3] == ("me", "SLEEP", [slave.id, 99])
    assert me.event("COMMAND")[1] == report
    assert slave.stats("IDLE") == ("SLEEP", True)
    assert me.ask("SKIP", [slave.id]) == [(slave.id, "not building")]
    assert me.ask("WAKE", [slave.id]) == []
    slave.work()
    assert me.ask("SKIP", None) == []
    assert slave.stats("BUSY") == ("DONE", NoData)
    assert me.ask("KILL", None) == []
    assert slave.stats("IDLE") == ("DIE", NoData)
    assert me.ask("KILL", [slave.id]) == [(slave.id, "no such slave")]
    assert [you.event("COMMAND")[1].verb for _ in range(5)] == [
        "SKIP",
        "WAKE",
        "SKIP",
        "KILL",
        "KILL",
    ]


def test_commands_for_all_tasks_are_passed_to_the_master(farm, me):
    for verb, answer in (("SLEEP", []), ("SLEEP", []), ("WAKE", [])):
        assert me.ask(verb, None) == answer
        assert farm.main.take() == CommandMaster(verb)
    assert me.ask("QUIT") is NoData
    assert farm.main.take() == CommandMaster("QUIT")
    assert [me.event("COMMAND")[1].verb for _ in range(4)] == ["SLEEP", "SLEEP", "WAKE", "QUIT"]


def test_commands_to_all_slaves_are_carried_out_in_sequence(farm, me, slave):
    slave.stats("IDLE")
    # main has not passed on a command yet: a late WAKE must not withdraw the SKIP.
    for verb in ("SLEEP", "WAKE", "SLEEP", "SKIP"):
        assert me.ask(verb, None) == []
    assert slave.stats("BUSY") == ("DONE", NoData)
    assert slave.stats("IDLE") == ("SLEEP", True)


def test_commands_on_the_control_socket_are_reported_too(farm, me):
    farm.news.push(CommandGiven(CommandReport("control", "KILL", [3], START)))
    assert me.event("COMMAND") == (1, ("control", "KILL", [3], START))


# Hostile input ------------------------------------------------------------------------------------


def test_a_console_with_too_many_requests_is_refused_and_delays_no_other(farm, me, you):
    watches = [me.ask("WATCH", number) for number in range(MAX_WATCHED + 3)]
    assert [one is NoData for one in watches[MAX_WATCHED - 1 :]] == [True, False, False, False]
    tickets = [me.send("LOG", [number, 0]) for number in range(500)]
    begin = time.monotonic()
    assert you.ask("SLAVES", 0) == []
    assert time.monotonic() - begin < patience(5)
    answers = {ticket: reason for ticket, _, reason in (me.recv() for _ in tickets)}
    assert set(answers) == set(tickets)
    reasons = set(answers.values())
    assert "there is no log of build 0" in reasons
    assert any("await" in reason for reason in reasons)


def test_a_console_that_never_reads_is_dropped(farm, you, slave):
    with Console(farm.config.console_queue) as unresponsive:
        unresponsive.socket.rcvhwm = 1
        unresponsive.hello()
        slave.work()
        unresponsive.ask("WATCH", slave.id)
        offset = 0
        while len(farm.consoles.attached) > 1:
            assert offset < 2**30
            assert slave.say("OUTPUT", [offset, "x" * 2**16])[0] == "CONT"
            offset += 2**16
        assert you.ask("SLAVES", 0)
        until(lambda: farm.bad_messages.seen == 1)


def test_a_new_console_replaces_the_oldest_when_there_are_too_many(farm):
    many = [Console(farm.config.console_queue).hello() for _ in range(MAX_CONSOLES)]
    with Console(farm.config.console_queue).hello() as late:
        assert late.ask("FIGURES") == []
        assert many[0].ask("FIGURES")[0] == "REFUSED"
        assert many[0].hello().ask("FIGURES") == []
        for one in many:
            one.socket.close()

        def all_gone():  # a closed console is noticed at the next event
            farm.news.push(CommandGiven(CommandReport("control", "SKIP", None, START)))
            return len(farm.consoles.attached) == 1

        until(all_gone)


VERBS = [*console.recv, "FOO", ""]
VALUES = (
    st.none() | st.integers() | st.text(max_size=5) | st.just(NoData)
    | st.lists(st.integers() | st.text(max_size=3), max_size=3)
)  # fmt: skip
FRAMES = (
    st.binary(max_size=80)
    | st.binary(min_size=8, max_size=8)
    | st.tuples(st.sampled_from([verb for verb in VERBS if verb != "QUIT"]), VALUES).map(
        lambda pair: codec.dumps(*pair)
    )
)


@pytest.fixture(scope="module")
def isolated():
    """A TheOperator without other tasks."""
    operator = TheOperator(own_config())
    operator.start()
    with Connected(operator.config, "console_events") as news:
        news.push(MasterStarted(INFO))
        yield operator
    operator.quit()
    operator.join(patience(10))
    assert operator.failure is None
    assert not operator.is_alive()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(FRAMES, min_size=1, max_size=3), min_size=1, max_size=6), st.booleans())
@example([[b""]], False)
@example([[b"x" * 2**24]], True)
@example([[codec.dumps("KILL", list(range(10_001)))]], True)
@example([[b"\x9f" * 1000]], True)
def test_a_valid_console_is_welcomed_despite_hostile_messages(isolated, messages, well_framed):
    with (
        Console(isolated.config.console_queue) as hostile,
        Console(isolated.config.console_queue) as valid,
    ):
        if well_framed:
            hostile.hello()
        for number, frames in enumerate(messages):
            ticket = [number.to_bytes(8, "big")] if well_framed else []
            hostile.socket.send_multipart([*ticket, *frames])
        assert valid.hello().welcome.info == INFO
        assert valid.ask("FIGURES") == []
    assert isolated.is_alive()
    isolated.consoles.validate()


def test_a_log_that_decompresses_to_too_much_is_truncated(farm, me):
    path = farm.site.log_path(5)
    path.parent.mkdir(parents=True)
    with gzip.open(path, "wb") as file:
        for _ in range(200):
            file.write(bytes(2**20))
    _, text, size = me.ask("LOG", [5, 0])
    assert (len(text), size) == (2**19, 15 * 2**20)
    path.write_bytes(path.read_bytes()[:1000])
    assert me.ask("LOG", [5, 0])[0] == 0  # cached from the last request
    farm._last_log = None, ""
    assert "cannot be read" in me.ask("LOG", [5, 0])[1]


def test_a_bug_at_one_request_is_answered(farm, me, monkeypatch):
    def buggy(*_, **_how):
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(farm, "_watch", buggy)
        patch.setitem(
            the_operator._OF_DATABASE, "BUILDS", (buggy, "get_recent_builds", lambda *_: ())
        )
        for request in (("WATCH", 1), ("BUILDS", 5)):
            kind, why = me.ask(*request)
            assert (kind, "a bug" in why) == ("REFUSED", True)
    assert me.ask("BUILDS", 5) == []
