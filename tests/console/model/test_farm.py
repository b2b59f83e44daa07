"""The farm model, from the events of a master."""

from datetime import timedelta

import pytest

from piwheels.console.model.farm import FarmModel
from piwheels.console.model.journal import Kind
from piwheels.console.model.replies import in_words
from piwheels.console.model.slave import State
from piwheels.core.protocols import BuildOutcome, Lane
from piwheels.core.states import MasterInfo

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


def test_the_life_of_a_build(master):
    slave = master.hello(1)
    assert (slave.reported, slave.job, slave.joined) == (State.IDLE, None, master.there)
    master.build(1, "numpy", "2.3.4")
    master.wait(3 * MINUTE)
    assert (slave.reported, slave.job) == (State.BUILD, ("numpy", "2.3.4"))
    assert master.farm.elapsed(slave) == master.farm.work(slave) == 3 * MINUTE
    for name in ("numpy-a.whl", "numpy-a.whl", "numpy-b.whl"):  # the first file is requested again
        master.say(1, "SEND", name)
        master.wait(10 * SECOND)
    assert (slave.reported, slave.files, slave.file) == (State.SEND, 2, "numpy-b.whl")
    assert master.farm.elapsed(slave) == 30 * SECOND
    master.say(1, "DONE")
    assert (slave.reported, slave.job, slave.files) == (State.CLEAN, None, 0)
    assert slave.outcome == slave.builds[-1] == master.farm.builds[-1]
    assert slave.outcome[:6] == ("numpy", "2.3.4", "cp311", "ok", 3 * MINUTE, 2)
    master.say(1, "SLEEP", data=False)
    master.wait(5 * SECOND)
    master.say(1, "SLEEP", data=False)
    assert slave.reported is State.SLEEP
    assert master.farm.elapsed(slave) == 5 * SECOND  # asleep since the first SLEEP
    words = [moment.word for moment in slave.timeline]
    assert words == ["JOIN", "BUILD", "SEND", "SEND", "DONE", "SLEEP"]
    assert slave.timeline[-2].what == "numpy 2.3.4 ok, 2 files, 3m"


def test_result_of_a_build_without_files(master):
    slave = master.hello(1)
    master.finish(1, ok=False)
    assert slave.outcome.result == "failed"
    master.build(1)
    master.farm.skipped(1)
    master.say(1, "DONE")
    assert slave.outcome.result == "skipped"
    master.farm.skipped(1)  # too late: it belongs to no build
    master.finish(1, ok=False)
    assert [build.result for build in master.farm.builds] == ["failed", "skipped", "failed"]
    assert slave.failures == 2


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("result", ["ok", "failed", "skipped"])
def test_the_outcome_of_a_level_1_master_takes_precedence(master, before, result):
    slave = master.hello(1)
    master.build(1)
    master.wait(MINUTE)
    if before:
        master.outcome(1, result, build_id=48, took=55 * SECOND)
        master.say(1, "DONE")
    else:
        master.say(1, "DONE")
        master.outcome(1, result, build_id=48, took=55 * SECOND)
    assert [build[3:5] for build in master.farm.builds] == [(result, 55 * SECOND)]
    assert list(slave.builds) == list(master.farm.builds) == [slave.outcome]
    assert slave.outcome.build_id == 48
    entries = [entry for entry in master.entries() if entry[0] in (Kind.DONE, Kind.FAIL)]
    what = "numpy 1.0 cp311" + ("" if result == "failed" else f" {result}")
    assert entries == [(Kind.FAIL if result == "failed" else Kind.DONE, 1, what)]


def test_builds_that_ended_before_the_console_attached(master):
    master.past = True
    master.hello(1, at=master.there - 60 * MINUTE)
    master.build(1, at=master.there - MINUTE)
    master.outcome(1, "failed", build_id=1, ended=master.there - 50 * MINUTE)
    master.outcome(1, "ok", "lxml", build_id=2, ended=master.there - 5 * MINUTE)
    master.outcome(
        7, "ok", "scipy", build_id=3, ended=master.there - 4 * MINUTE
    )  # of a slave that left
    slave = master.farm.slaves[1]
    assert slave.job == ("numpy", "1.0")  # failed before; this is another attempt
    assert [build.package for build in slave.builds] == ["numpy", "lxml"]
    assert [build.package for build in master.farm.builds] == ["numpy", "lxml", "scipy"]
    assert master.entries() == []
    builds = list(master.farm.builds)
    for event in list(master.sent):  # repeated, after a lost link
        master.send(event)
    assert list(master.farm.builds) == builds
    master.past = False
    master.say(1, "DONE")
    assert [build.result for build in slave.builds] == ["failed", "ok", "failed"]


def test_a_build_whose_end_was_missed(master):
    slave = master.hello(1)
    master.build(1)
    master.wait(MINUTE)
    master.past = True
    master.build(1, "lxml")
    assert [build[:5] for build in slave.builds] == [("numpy", "1.0", "cp311", "", None)]
    master.outcome(1, "ok", build_id=5, ended=master.there - 30 * SECOND)
    assert [build.result for build in slave.builds] == ["ok"]
    assert [build.build_id for build in master.farm.builds] == [5]
    assert slave.job == ("lxml", "1.0")


def test_a_replay_is_no_news(master):
    """A replay for another console leaves the farm unchanged."""
    master.hello(1, at=master.there)
    master.stats(1, mem_size=100, mem_free=60)
    master.finish(1, ok=False)
    master.finish(1)
    master.build(1, "scipy")
    master.hello(2)
    master.say(2, "SLEEP", data=True)
    master.wait(MINUTE)

    def picture():
        return [
            (s.reported, s.since, s.job, s.job_since, s.files, s.last_contact, list(s.stats),
             list(s.builds),
             list(s.timeline), s.skew)
            for s in master.farm.slaves.values()
        ]  # fmt: skip

    before, builds = picture(), list(master.farm.builds)
    master.entries()
    master.past = True
    for event in list(master.sent):
        master.send(event)
    assert picture() == before
    assert list(master.farm.builds) == builds
    assert master.entries() == []
    master.farm.validate()


def test_the_earlier_start_of_a_build_counts(master):
    master.wait(SECOND)
    master.past = True
    slave = master.hello(1, at=master.there - 60 * MINUTE)
    master.build(1, at=master.there - 40 * MINUTE)
    master.build(1, at=master.there - SECOND)  # a level-0 master sends the time of its last message
    assert master.farm.work(slave) == 40 * MINUTE


@pytest.mark.parametrize("ahead", [-3 * DAY, -1000 * DAY, timedelta(), 3 * DAY, 20_000 * DAY])
def test_ages_are_right_if_clocks_differ_by_days(new_master, ahead):
    master = new_master(ahead=ahead)
    master.past = True
    slave = master.hello(1, at=master.there - DAY)
    silent = master.hello(2, at=master.there - DAY)
    master.build(1, at=master.there - 10 * MINUTE)
    master.stats(1, at=master.there - 5 * SECOND)
    master.stats(2, at=master.there - 5 * MINUTE)
    master.past = False
    master.wait(5 * SECOND)
    master.stats(1, skew=-400 * DAY)
    assert master.farm.elapsed(slave) == 10 * MINUTE + 5 * SECOND
    assert master.farm.master_time(master.now) == master.there
    assert slave.skew == -400 * DAY
    assert (slave.state_at(master.now), silent.state_at(master.now)) == (State.BUILD, State.SILENT)
    master.ahead += 2 * DAY  # the master's clock is set back
    master.wait(5 * MINUTE)
    assert master.farm.elapsed(slave) == 15 * MINUTE + 5 * SECOND
    master.ahead -= 2 * DAY
    master.wait(SECOND)
    assert master.farm.elapsed(slave) == 15 * MINUTE + 6 * SECOND


def test_a_slave_with_a_wrong_clock_does_not_change_the_master_s_time(master):
    """Statistics that are repeated under the slave's own timestamp say nothing of the master."""
    slave = master.hello(1)
    master.build(1)
    wrong = master.there + 3 * DAY
    for past in (True, False):  # while attaching, and later, for another console
        master.past = past
        master.stats(1, at=wrong)
        master.farm.tick(master.now)
        assert master.farm.elapsed(slave) < SECOND
        assert master.farm.master_time(master.now) == master.there
        master.past = False
        master.wait(SECOND)
        master.build(1)


def test_network_delay_does_not_change_the_master_s_time(master):
    """A late message does not change the estimate of the master's clock."""
    slave = master.hello(1)
    master.build(1)
    for late in (3, 0, 9, 4):
        master.stats(1, at=master.there - late * SECOND)
    master.wait(10 * SECOND)
    assert master.farm.elapsed(slave) == 10 * SECOND


def test_silence_and_death(master):
    slave = master.hello(1)
    master.build(1)
    master.entries()
    master.wait(35 * SECOND)
    assert master.farm.counts() == {State.SILENT: 1}
    assert [str(alert) for alert in slave.alerts] == ["no msg 30s"]
    assert master.entries() == [(Kind.WARN, 1, "silent")]
    master.wait(15 * MINUTE)
    assert master.farm.counts() == {State.EXPIRED: 1}
    assert master.entries() == [(Kind.CRITICAL, 1, "expired")]
    master.say(1, "DIE")
    assert master.farm.counts() == {State.DEAD: 1}
    assert master.entries() == [(Kind.LEFT, 1, "expired")]
    assert slave.builds[-1].result == ""
    master.wait(29 * SECOND)
    assert 1 in master.farm.slaves
    master.farm.take_changes()
    master.wait(2 * SECOND)
    assert not master.farm.slaves
    assert master.farm.take_changes().gone == {1}
    assert list(master.farm.left) == [slave]


def test_silence_of_a_slave_with_a_short_timeout(master):
    slave = master.hello(1)
    slave.info = slave.info._replace(busy_timeout=10 * SECOND)
    master.wait(7 * SECOND)
    assert [str(alert) for alert in slave.alerts] == ["no msg 7s"]
    master.wait(5 * SECOND)
    assert [str(alert) for alert in slave.alerts] == ["expired 12s"]


def test_a_slave_that_leaves_in_order(master):
    master.hello(1)
    master.say(1, "DIE")
    assert master.entries() == [(Kind.JOIN, 1, "joined for cp311"), (Kind.LEFT, 1, "left")]


def test_slaves_are_not_silent_if_the_master_is(master):
    """After a lost link the slaves keep their last states."""
    slave = master.hello(1)
    master.say(1, "SLEEP", data=False)
    for seconds in range(600):
        master.farm.tick(master.now + seconds * SECOND)
    assert master.farm.counts() == {State.SLEEP: 1}
    assert master.farm.elapsed(slave) == 15 * SECOND


def test_a_restarted_master_clears_the_farm(master):
    master.hello(1)
    master.finish(1)
    master.build(1)
    master.say(2, "STATS")
    master.hello(3)
    master.say(3, "DIE")
    master.farm.take_changes()
    master.send(MasterInfo(master.there, "farm.example", "Debian", "12", "d04170", "1"))
    assert not master.farm.slaves
    assert master.farm.take_changes().epoch
    assert [build.result for build in master.farm.builds] == ["ok"]
    master.wait(MINUTE)
    slave = master.hello(1, label="another")
    assert (slave.label, slave.reported, len(slave.builds)) == ("another", State.IDLE, 0)
    assert master.farm.take_changes().new == {1}
    master.send(master.farm.info)  # repeated: no change
    assert list(master.farm.slaves) == [1]
    master.farm.validate()


def test_messages_about_unknown_slaves_are_counted(master):
    for message, data in (("BUILD", ("a", "1")), ("SLEEP", True), ("DONE", None), ("DIE", None)):
        master.say(99, message, data)
    assert master.farm.unknown == 4
    assert not master.farm.slaves


def test_an_id_can_be_used_again(master):
    old = master.hello(1, label="old")
    master.build(1)
    master.wait(MINUTE)
    new = master.hello(1, label="new")
    assert new is not old
    assert (new.label, new.job) == ("new", None)


def test_hostile_labels_are_sanitised(master):
    master.past = False
    slave = master.hello(1, label="\x1b[2J[red]\u202e\u05e9\u202c")
    master.build(1, "nu\x07mpy")
    master.say(1, "DONE")
    texts = [slave.label, slave.outcome.package, *(moment.what for moment in slave.timeline)]
    master.farm.tick(master.now)
    texts += [text for entry in master.farm.take_entries() for text in (entry.label, entry.what)]
    assert not set("".join(texts)) & set("\x1b\u202e\u05e9\u202c\x07")
    assert slave.info.label.startswith("\x1b")


def test_stats_are_kept_once_and_sorted(master):
    slave = master.hello(1)
    for seconds in (10, 30, 20, 30, 10, 40):
        master.stats(1, at=master.there + seconds * SECOND)
        master.send(master.master_stats(timestamp=master.there + seconds * SECOND))
    times = [(stats.timestamp - master.there).seconds for stats in slave.stats]
    assert times == [10, 20, 30, 40]
    assert [(stats.timestamp - master.there).seconds for stats in master.farm.stats] == times
    master.stats(1, skew=-DAY)  # its clock is corrected: later stats are removed
    assert [stats.timestamp for stats in slave.stats] == [master.there - DAY]
    master.past = True
    for seconds in range(1, 300):
        master.stats(1, at=master.there + seconds * SECOND)
    assert len(slave.stats) == 100


def test_the_events_of_a_farm_recreate_it(new_master):
    master = new_master(ahead=DAY)
    for number, message, data in [
        (2, "SLEEP", True), (3, "SLEEP", False), (4, "BUILD", ("a", "1")), (5, "DIE", None),
    ]:  # fmt: skip
        master.hello(number)
        master.say(number, message, data)
    master.hello(1)
    master.hello(6)
    master.finish(6)
    master.finish(6, "lxml", ok=False)
    master.hello(7)
    master.build(7)
    for number in (2, 6):
        master.stats(number, skew=100 * DAY, mem_size=100, mem_free=3)
    master.wait(40 * SECOND)
    master.stats(4)
    master.say(3, "SLEEP", data=False)
    master.say(7, "SEND", "numpy.whl")
    master.wait(20 * SECOND)

    other = FarmModel()
    for event in master.farm.as_events():
        other.fold(event, master.now, replay=True)
    assert other.take_entries() == []
    for farm in (master.farm, other):
        farm.fold(master.master_stats(), master.now)
        farm.tick(master.now)
        farm.validate()

    def looks(farm):
        return {
            s.id: (
                s.label, s.reported, s.state_at(farm.now), s.job, s.files, farm.elapsed(s),
                farm.work(s), list(s.stats), list(s.builds), s.outcome,
                [alert[:2] for alert in s.alerts],
            )
            for s in farm.slaves.values()
        }  # fmt: skip

    assert looks(other) == looks(master.farm)
    assert {s.state_at(other.now) for s in other.slaves.values()} > {State.SILENT, State.SLEEP}
    assert list(other.builds) == [build for build in master.farm.builds if build.result]
    assert (other.info, list(other.stats)) == (master.farm.info, list(master.farm.stats))


def test_changes_name_what_to_repaint(master):
    slave = master.hello(1)
    master.hello(2)
    assert master.farm.take_changes().new == {1, 2}
    master.wait(SECOND)
    master.farm.take_changes()
    assert not master.farm.take_changes()
    version = slave.version
    master.stats(1)
    changes = master.farm.take_changes()
    assert (changes.slaves, changes.new, changes.epoch) == ({1}, set(), False)
    assert slave.version > version
    master.send(master.master_stats())
    assert master.farm.take_changes().stats


def test_ten_thousand_slaves(new_master):
    master = new_master()
    for number in range(1, 10_001):
        master.hello(number, abi=f"cp3{number % 7}")
        master.build(number, f"package-{number % 300}")
        master.stats(number, mem_size=100, mem_free=1)
    for second in range(8):
        master.farm.tick(master.now + second * SECOND)
    assert master.farm.counts() == {State.BUILD: 10_000}
    assert master.farm.alerting() == 10_000
    assert len(master.farm.longest(5)) == 5
    master.farm.validate()


def test_endless_joins_do_not_fill_the_memory(master, monkeypatch):
    monkeypatch.setattr("piwheels.console.model.farm.MOST", 50)
    monkeypatch.setattr("piwheels.console.model.farm._MOST_DEAD", 5)
    farm, info = master.farm, master.hello(1).info
    for number in range(2, 61):
        master.say(number, "HELLO", info)
    assert list(farm.slaves) == list(range(1, 51))
    assert farm.unknown == 10
    for number in range(1, 51):
        master.say(number, "DIE")
    master.wait(SECOND)
    assert list(farm.slaves) == list(range(46, 51))  # the first to leave are removed first


def test_the_journal_says_that_a_failure_is_tried_again(master):
    master.hello(1)
    master.build(1)
    about = 48, 1, "board", "numpy", "1.0", "cp311", "failed", MINUTE, 0, master.there
    master.send(BuildOutcome(*about, again=True))
    master.farm.tick(master.now)
    details = [each.detail for each in master.farm.take_entries() if each.kind is Kind.FAIL]
    assert details == ["1m, no files, to be tried again"]
    assert in_words(master.farm.builds[-1]) == "numpy 1.0 failed, 1m, to be tried again"


# Lanes --------------------------------------------------------------------------------------------


def test_the_lanes_of_a_host_are_no_repeated_joins_and_no_twins(master):
    lanes = master.lanes(1, 2, 3, 4)
    for _ in range(3):
        master.wait(20 * SECOND)
        for number in range(1, 5):
            master.stats(number)
    assert [slave.alerts for slave in lanes] == [()] * 4
    assert [slave.name for slave in lanes] == ["board/1", "board/2", "board/3", "board/4"]
    twin = master.hello(5, label="board", serial="beef")
    master.wait(20 * SECOND)
    for number in range(1, 6):
        master.stats(number)
    master.wait(SECOND)
    assert [alert.reason for alert in twin.alerts] == ["label"]


def test_a_host_that_joins_again_and_again_is_flapping(master):
    for start in (1, 3, 5):
        master.lanes(start, start + 1)
        master.wait(15 * SECOND)
        for number in (start, start + 1):
            master.say(number, "DIE")
    last = master.lanes(7, 8)
    master.wait(SECOND)
    assert last[0].joins == 4
    assert [alert.reason for slave in last for alert in slave.alerts] == ["flapping", "flapping"]


def test_one_lane_has_the_alerts_of_the_machine(master):
    one, two, three = master.lanes(1, 2, 3)
    for number in (1, 2, 3):
        master.stats(number, cpu_temp=90.0)
    master.wait(SECOND)
    assert [[str(alert) for alert in slave.alerts] for slave in (one, two, three)] == [
        ["temp 90C"], [], [],
    ]  # fmt: skip
    warned = [entry[:2] for entry in master.entries() if "temp" in entry[2]]
    assert warned == [(Kind.WARN, 1)]
    master.say(1, "DIE")
    master.stats(2, cpu_temp=90.0)
    master.wait(SECOND)
    assert [str(alert) for alert in two.alerts] == ["temp 90C"]
    assert (one.alerts, three.alerts) == ((), ())


def test_a_lane_that_builds_for_another_target_is_the_same_slave(master):
    slave, _ = master.lanes(1, 2)
    master.finish(1)
    master.entries()
    info = slave.info._replace(native_abi="cp313", native_py_version="313")
    master.wait(SECOND)
    joined, at = slave.joined, master.there
    master.say(1, "HELLO", info)
    master.build(1, "scipy")
    assert master.farm.slaves[1] is slave
    assert (slave.abi, slave.joined, slave.host) == ("cp313", joined, "host of board")
    assert len(slave.builds) == 1
    assert (at, "ABI", "cp313 linux_armv7l") in slave.timeline
    assert master.entries() == []
    master.say(1, "DIE")
    master.say(1, "HELLO", info._replace(native_abi="cp314"))
    assert master.farm.slaves[1] is not slave, "it had left"


def test_a_slave_that_joins_again_as_another_one_is_no_lane(master):
    slave, _ = master.lanes(1, 2)
    again = master.hello(1, label="other")
    assert (again.host, list(master.farm.lanes(slave))) == ("", [master.farm.slaves[2]])
    master.send(Lane(99, "host of board", 3))  # has left in the meantime
    master.farm.validate()


def test_the_events_of_a_farm_recreate_its_lanes(master, new_master):
    master.lanes(1, 2)
    again = new_master()
    again.past = True
    for event in master.farm.as_events():
        again.send(event)
    assert [(one.host, one.lane) for one in again.farm.slaves.values()] == [
        ("host of board", 1), ("host of board", 2),
    ]  # fmt: skip


def test_a_replay_of_slaves_that_are_known_changes_nothing(master):
    slave, _ = master.lanes(1, 2)
    master.finish(1)
    master.past = True
    master.say(1, "HELLO", slave.info, at=slave.joined - timedelta(microseconds=200))
    master.say(2, "HELLO", slave.info._replace(native_abi="cp39"), at=slave.joined - DAY)
    assert master.farm.slaves[1] is slave
    assert (slave.host, len(slave.builds), slave.joins) == ("host of board", 1, 1)
    assert (master.farm.slaves[2].abi, master.farm.slaves[2].lane) == ("cp39", 2)
    master.say(1, "HELLO", slave.info, at=slave.joined + MINUTE)
    assert master.farm.slaves[1] is not slave, "it joined again while the console was away"
