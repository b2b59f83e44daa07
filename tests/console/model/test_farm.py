"""The farm as a fold: what is made of what a master tells."""

from datetime import timedelta

import pytest

from piwheels.console.model.farm import FarmModel
from piwheels.console.model.journal import Kind
from piwheels.console.model.slave import State
from piwheels.core.states import MasterInfo

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


def test_the_life_of_a_build(teller):
    slave = teller.hello(1)
    assert (slave.reported, slave.job, slave.joined) == (State.IDLE, None, teller.there)
    teller.build(1, "numpy", "2.3.4")
    teller.wait(3 * MINUTE)
    assert (slave.reported, slave.job) == (State.BUILD, ("numpy", "2.3.4"))
    assert teller.farm.elapsed(slave) == teller.farm.work(slave) == 3 * MINUTE
    for name in ("numpy-a.whl", "numpy-a.whl", "numpy-b.whl"):  # the first is asked for again
        teller.say(1, "SEND", name)
        teller.wait(10 * SECOND)
    assert (slave.reported, slave.files, slave.file) == (State.SEND, 2, "numpy-b.whl")
    assert teller.farm.elapsed(slave) == 30 * SECOND
    teller.say(1, "DONE")
    assert (slave.reported, slave.job, slave.files) == (State.CLEAN, None, 0)
    assert slave.outcome == slave.builds[-1] == teller.farm.builds[-1]
    assert slave.outcome[:6] == ("numpy", "2.3.4", "cp311", "ok", 3 * MINUTE, 2)
    teller.say(1, "SLEEP", data=False)
    teller.wait(5 * SECOND)
    teller.say(1, "SLEEP", data=False)
    assert slave.reported is State.SLEEP
    assert teller.farm.elapsed(slave) == 5 * SECOND  # it sleeps since it was told so first
    words = [moment.word for moment in slave.timeline]
    assert words == ["JOIN", "BUILD", "SEND", "SEND", "DONE", "SLEEP"]
    assert slave.timeline[-2].what == "numpy 2.3.4 ok, 2 files, 3m"


def test_how_a_build_ended_that_sent_nothing(teller):
    slave = teller.hello(1)
    teller.finish(1, ok=False)
    assert slave.outcome.result == "failed"
    teller.build(1)
    teller.farm.skipped(1)
    teller.say(1, "DONE")
    assert slave.outcome.result == "skipped"
    teller.farm.skipped(1)  # too late: it builds nothing, and what it builds next is another
    teller.finish(1, ok=False)
    assert [build.result for build in teller.farm.builds] == ["failed", "skipped", "failed"]
    assert slave.failures == 2


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("result", ["ok", "failed", "skipped"])
def test_a_master_of_level_1_has_the_last_word(teller, before, result):
    slave = teller.hello(1)
    teller.build(1)
    teller.wait(MINUTE)
    if before:
        teller.outcome(1, result, build_id=48, took=55 * SECOND)
        teller.say(1, "DONE")
    else:
        teller.say(1, "DONE")
        teller.outcome(1, result, build_id=48, took=55 * SECOND)
    assert [build[3:5] for build in teller.farm.builds] == [(result, 55 * SECOND)]
    assert list(slave.builds) == list(teller.farm.builds) == [slave.outcome]
    assert slave.outcome.build_id == 48
    told = [entry for entry in teller.entries() if entry[0] in (Kind.DONE, Kind.FAIL)]
    what = "numpy 1.0 cp311" + ("" if result == "failed" else f" {result}")
    assert told == [(Kind.FAIL if result == "failed" else Kind.DONE, 1, what)]


def test_builds_that_ended_before_we_came(teller):
    teller.past = True
    teller.hello(1, at=teller.there - 60 * MINUTE)
    teller.build(1, at=teller.there - MINUTE)
    teller.outcome(1, "failed", build_id=1, ended=teller.there - 50 * MINUTE)
    teller.outcome(1, "ok", "lxml", build_id=2, ended=teller.there - 5 * MINUTE)
    teller.outcome(7, "ok", "scipy", build_id=3, ended=teller.there - 4 * MINUTE)  # of one who left
    slave = teller.farm.slaves[1]
    assert slave.job == ("numpy", "1.0")  # which failed before, but this is another attempt
    assert [build.package for build in slave.builds] == ["numpy", "lxml"]
    assert [build.package for build in teller.farm.builds] == ["numpy", "lxml", "scipy"]
    assert teller.entries() == []
    builds = list(teller.farm.builds)
    for event in list(teller.told):  # asked again, after the link was lost
        teller.tell(event)
    assert list(teller.farm.builds) == builds
    teller.past = False
    teller.say(1, "DONE")
    assert [build.result for build in slave.builds] == ["failed", "ok", "failed"]


def test_a_build_whose_end_we_missed(teller):
    slave = teller.hello(1)
    teller.build(1)
    teller.wait(MINUTE)
    teller.past = True
    teller.build(1, "lxml")
    assert [build[:5] for build in slave.builds] == [("numpy", "1.0", "cp311", "", None)]
    teller.outcome(1, "ok", build_id=5, ended=teller.there - 30 * SECOND)
    assert [build.result for build in slave.builds] == ["ok"]
    assert [build.build_id for build in teller.farm.builds] == [5]
    assert slave.job == ("lxml", "1.0")


def test_a_replay_says_nothing_new(teller):
    """Another console has attached: everything is told once more, and ends in the same picture."""
    teller.hello(1, at=teller.there)
    teller.stats(1, mem_size=100, mem_free=60)
    teller.finish(1, ok=False)
    teller.finish(1)
    teller.build(1, "scipy")
    teller.hello(2)
    teller.say(2, "SLEEP", data=True)
    teller.wait(MINUTE)

    def picture():
        return [
            (s.reported, s.since, s.job, s.job_since, s.files, s.last_contact, list(s.stats),
             list(s.builds),
             list(s.timeline), s.skew)
            for s in teller.farm.slaves.values()
        ]  # fmt: skip

    before, builds = picture(), list(teller.farm.builds)
    teller.entries()
    teller.past = True
    for event in list(teller.told):
        teller.tell(event)
    assert picture() == before
    assert list(teller.farm.builds) == builds
    assert teller.entries() == []
    teller.farm.validate()


def test_the_true_start_of_a_build_is_the_earlier(teller):
    teller.wait(SECOND)
    teller.past = True
    slave = teller.hello(1, at=teller.there - 60 * MINUTE)
    teller.build(1, at=teller.there - 40 * MINUTE)
    teller.build(1, at=teller.there - SECOND)  # a master of level 0 tells when it last said so
    assert teller.farm.work(slave) == 40 * MINUTE


@pytest.mark.parametrize("ahead", [-3 * DAY, -1000 * DAY, timedelta(), 3 * DAY, 20_000 * DAY])
def test_clocks_that_disagree_by_days(make_teller, ahead):
    teller = make_teller(ahead=ahead)
    teller.past = True
    slave = teller.hello(1, at=teller.there - DAY)
    silent = teller.hello(2, at=teller.there - DAY)
    teller.build(1, at=teller.there - 10 * MINUTE)
    teller.stats(1, at=teller.there - 5 * SECOND)
    teller.stats(2, at=teller.there - 5 * MINUTE)
    teller.past = False
    teller.wait(5 * SECOND)
    teller.stats(1, skew=-400 * DAY)
    assert teller.farm.elapsed(slave) == 10 * MINUTE + 5 * SECOND
    assert teller.farm.master_time(teller.now) == teller.there
    assert slave.skew == -400 * DAY
    assert (slave.state_at(teller.now), silent.state_at(teller.now)) == (State.BUILD, State.SILENT)
    teller.ahead += 2 * DAY  # the master's clock is put back
    teller.wait(5 * MINUTE)
    assert teller.farm.elapsed(slave) == 15 * MINUTE + 5 * SECOND
    teller.ahead -= 2 * DAY
    teller.wait(SECOND)
    assert teller.farm.elapsed(slave) == 15 * MINUTE + 6 * SECOND


def test_delay_is_not_time(teller):
    """What comes late does not make us think that the master's clock is slow."""
    slave = teller.hello(1)
    teller.build(1)
    for late in (3, 0, 9, 4):
        teller.stats(1, at=teller.there - late * SECOND)
    teller.wait(10 * SECOND)
    assert teller.farm.elapsed(slave) == 10 * SECOND


def test_silence_and_death(teller):
    slave = teller.hello(1)
    teller.build(1)
    teller.entries()
    teller.wait(35 * SECOND)
    assert teller.farm.counts() == {State.SILENT: 1}
    assert [str(alert) for alert in slave.alerts] == ["no msg 30s"]
    assert teller.entries() == [(Kind.WARN, 1, "silent")]
    teller.wait(15 * MINUTE)
    assert teller.farm.counts() == {State.EXPIRED: 1}
    assert teller.entries() == [(Kind.CRITICAL, 1, "expired")]
    teller.say(1, "DIE")
    assert teller.farm.counts() == {State.DEAD: 1}
    assert teller.entries() == [(Kind.LEFT, 1, "expired")]
    assert slave.builds[-1].result == ""
    teller.wait(29 * SECOND)
    assert 1 in teller.farm.slaves
    teller.farm.take_changes()
    teller.wait(2 * SECOND)
    assert not teller.farm.slaves
    assert teller.farm.take_changes().gone == {1}
    assert list(teller.farm.left) == [slave]


def test_silence_of_an_impatient_slave(teller):
    slave = teller.hello(1)
    slave.info = slave.info._replace(busy_timeout=10 * SECOND)
    teller.wait(7 * SECOND)
    assert [str(alert) for alert in slave.alerts] == ["no msg 7s"]
    teller.wait(5 * SECOND)
    assert [str(alert) for alert in slave.alerts] == ["expired 12s"]


def test_a_slave_that_leaves_in_order(teller):
    teller.hello(1)
    teller.say(1, "DIE")
    assert teller.entries() == [(Kind.JOIN, 1, "joined for cp311"), (Kind.LEFT, 1, "left")]


def test_who_does_not_hear_does_not_know_of_silence(teller):
    """The link is lost: the last picture stays, and does not become a farm of the dead."""
    slave = teller.hello(1)
    teller.say(1, "SLEEP", data=False)
    for seconds in range(600):
        teller.farm.tick(teller.now + seconds * SECOND)
    assert teller.farm.counts() == {State.SLEEP: 1}
    assert teller.farm.elapsed(slave) == 15 * SECOND


def test_another_epoch(teller):
    teller.hello(1)
    teller.finish(1)
    teller.build(1)
    teller.say(2, "STATS")
    teller.hello(3)
    teller.say(3, "DIE")
    teller.farm.take_changes()
    teller.tell(MasterInfo(teller.there, "farm.example", "Debian", "12", "d04170", "1"))
    assert not teller.farm.slaves
    assert teller.farm.take_changes().epoch
    assert [build.result for build in teller.farm.builds] == ["ok"]
    teller.wait(MINUTE)
    slave = teller.hello(1, label="another")
    assert (slave.label, slave.reported, len(slave.builds)) == ("another", State.IDLE, 0)
    assert teller.farm.take_changes().new == {1}
    teller.tell(teller.farm.info)  # said again: nothing new
    assert list(teller.farm.slaves) == [1]
    teller.farm.validate()


def test_strangers_are_counted(teller):
    for message, data in (("BUILD", ("a", "1")), ("SLEEP", True), ("DONE", None), ("DIE", None)):
        teller.say(99, message, data)
    assert teller.farm.unknown == 4
    assert not teller.farm.slaves


def test_an_id_that_another_slave_has_now(teller):
    old = teller.hello(1, label="old")
    teller.build(1)
    teller.wait(MINUTE)
    new = teller.hello(1, label="new")
    assert new is not old
    assert (new.label, new.job) == ("new", None)


def test_hostile_labels_are_fit_to_be_shown(teller):
    teller.past = False
    slave = teller.hello(1, label="\x1b[2J[red]\u202e\u05e9\u202c")
    teller.build(1, "nu\x07mpy")
    teller.say(1, "DONE")
    texts = [slave.label, slave.outcome.package, *(moment.what for moment in slave.timeline)]
    teller.farm.tick(teller.now)
    texts += [text for entry in teller.farm.take_entries() for text in (entry.label, entry.what)]
    assert not set("".join(texts)) & set("\x1b\u202e\u05e9\u202c\x07")
    assert slave.info.label.startswith("\x1b")


def test_stats_are_kept_once_and_in_order(teller):
    slave = teller.hello(1)
    for seconds in (10, 30, 20, 30, 10, 40):
        teller.stats(1, at=teller.there + seconds * SECOND)
        teller.tell(teller.master_stats(timestamp=teller.there + seconds * SECOND))
    times = [(stats.timestamp - teller.there).seconds for stats in slave.stats]
    assert times == [10, 20, 30, 40]
    assert [(stats.timestamp - teller.there).seconds for stats in teller.farm.stats] == times
    teller.stats(1, skew=-DAY)  # its clock is put right: what was ahead is of no worth
    assert [stats.timestamp for stats in slave.stats] == [teller.there - DAY]
    teller.past = True
    for seconds in range(1, 300):
        teller.stats(1, at=teller.there + seconds * SECOND)
    assert len(slave.stats) == 100


def test_the_events_of_a_farm_make_the_same_farm(make_teller):
    teller = make_teller(ahead=DAY)
    for number, message, data in [
        (2, "SLEEP", True), (3, "SLEEP", False), (4, "BUILD", ("a", "1")), (5, "DIE", None),
    ]:  # fmt: skip
        teller.hello(number)
        teller.say(number, message, data)
    teller.hello(1)
    teller.hello(6)
    teller.finish(6)
    teller.finish(6, "lxml", ok=False)
    teller.hello(7)
    teller.build(7)
    for number in (2, 6):
        teller.stats(number, skew=100 * DAY, mem_size=100, mem_free=3)
    teller.wait(40 * SECOND)
    teller.stats(4)
    teller.say(3, "SLEEP", data=False)
    teller.say(7, "SEND", "numpy.whl")
    teller.wait(20 * SECOND)

    other = FarmModel()
    for event in teller.farm.as_events():
        other.fold(event, teller.now, replay=True)
    assert other.take_entries() == []
    for farm in (teller.farm, other):
        farm.fold(teller.master_stats(), teller.now)
        farm.tick(teller.now)
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

    assert looks(other) == looks(teller.farm)
    assert {s.state_at(other.now) for s in other.slaves.values()} > {State.SILENT, State.SLEEP}
    assert list(other.builds) == [build for build in teller.farm.builds if build.result]
    assert (other.info, list(other.stats)) == (teller.farm.info, list(teller.farm.stats))


def test_changes_tell_what_to_paint_again(teller):
    slave = teller.hello(1)
    teller.hello(2)
    assert teller.farm.take_changes().new == {1, 2}
    teller.wait(SECOND)
    teller.farm.take_changes()
    assert not teller.farm.take_changes()
    version = slave.version
    teller.stats(1)
    changes = teller.farm.take_changes()
    assert (changes.slaves, changes.new, changes.epoch) == ({1}, set(), False)
    assert slave.version > version
    teller.tell(teller.master_stats())
    assert teller.farm.take_changes().stats


def test_ten_thousand_slaves(make_teller):
    teller = make_teller()
    for number in range(1, 10_001):
        teller.hello(number, abi=f"cp3{number % 7}")
        teller.build(number, f"package-{number % 300}")
        teller.stats(number, mem_size=100, mem_free=1)
    for second in range(8):
        teller.farm.tick(teller.now + second * SECOND)
    assert teller.farm.counts() == {State.BUILD: 10_000}
    assert teller.farm.alerting() == 10_000
    assert len(teller.farm.longest(5)) == 5
    teller.farm.validate()


def test_who_comes_and_goes_without_end_does_not_fill_the_memory(teller, monkeypatch):
    monkeypatch.setattr("piwheels.console.model.farm.MOST", 50)
    monkeypatch.setattr("piwheels.console.model.farm._MOST_DEAD", 5)
    farm, info = teller.farm, teller.hello(1).info
    for number in range(2, 61):
        teller.say(number, "HELLO", info)
    assert list(farm.slaves) == list(range(1, 51))
    assert farm.unknown == 10
    for number in range(1, 51):
        teller.say(number, "DIE")
    teller.wait(SECOND)
    assert list(farm.slaves) == list(range(46, 51))  # those that left first have gone first
