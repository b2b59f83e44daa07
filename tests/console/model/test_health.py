"""The alerts of slaves, and their journal entries."""

from datetime import timedelta

import pytest

from piwheels.console.model.health import disk_step
from piwheels.console.model.journal import Kind

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
GIB = 2**30


def alerts(master, slave):
    master.farm.tick(master.now)
    return [(str(alert), alert.weight) for alert in slave.alerts]


@pytest.mark.parametrize(
    ("stats", "alert"),
    [
        ({}, []),  # 0 means unknown
        ({"disk_size": 1000, "disk_free": 160}, []),
        ({"disk_size": 1000, "disk_free": 140}, [("disk 86%", 1)]),
        ({"disk_size": 1000, "disk_free": 40}, [("disk 96%", 3)]),
        ({"mem_size": 1000, "mem_free": 70}, [("mem 93%", 1)]),
        ({"swap_size": 1000, "swap_free": 50}, [("swap 95%", 2)]),
        ({"load_average": 7.9}, []),
        ({"load_average": 9.04}, [("load 9.0", 1)]),
        ({"cpu_temp": 79.4}, [("temp 79C", 1)]),
        (
            {"cpu_temp": 86.0, "disk_size": 1000, "disk_free": 1},
            [("disk 100%", 3), ("temp 86C", 2)],
        ),
        ({"cpu_temp": float("nan"), "load_average": float("inf")}, [("load inf", 2)]),
    ],
)
def test_stats_beyond_their_limits(master, stats, alert):
    slave = master.hello(1)
    master.stats(1, **stats)
    assert alerts(master, slave) == alert


def test_two_slaves_with_one_label_have_an_alert(master):
    slaves = [master.hello(number, label="board") for number in (1, 2)]
    other = master.hello(3, label="other")
    assert alerts(master, slaves[0]) == []
    master.now += 20 * SECOND
    master.stats(2)  # one that reconnected: its earlier number is silent
    assert alerts(master, slaves[0]) == alerts(master, slaves[1]) == []
    master.stats(1)
    assert alerts(master, slaves[0]) == alerts(master, slaves[1]) == [("label twice", 2)]
    assert alerts(master, other) == []
    assert (Kind.WARN, 1, "label twice") in master.entries()
    master.say(1, "DIE")
    assert alerts(master, slaves[1]) == []


def test_an_alert_does_not_flicker(master):
    slave = master.hello(1)
    seen = []
    for used in (84, 86, 84, 83, 86, 81, 84):
        master.now += SECOND
        master.stats(1, disk_size=100, disk_free=100 - used)
        seen.append([text for text, _ in alerts(master, slave)])
    assert seen == [[], ["disk 86%"], ["disk 84%"], ["disk 83%"], ["disk 86%"], [], []]


def test_an_alert_is_reported_once_and_again_when_it_gets_worse(master):
    slave = master.hello(1)
    master.entries()
    for used in (86, 88, 87):
        master.now += SECOND
        master.stats(1, disk_size=100 * GIB, disk_free=(100 - used) * GIB)
        master.farm.tick(master.now)
    since = slave.alerts[0].since
    assert since == master.now - 2 * SECOND
    master.now += SECOND
    master.stats(1, disk_size=100 * GIB, disk_free=GIB)
    master.farm.tick(master.now)
    entries = [(entry.kind, entry.what, entry.detail) for entry in master.farm.take_entries()]
    assert entries == [
        (Kind.WARN, "disk 86%", "of 100 GiB"),
        (Kind.CRITICAL, "disk 99%", "of 100 GiB"),
    ]
    assert slave.alerts[0].since == since


def test_an_alert_from_before_the_console_attached_is_shown_but_not_reported(master):
    master.past = True
    slave = master.hello(1)
    master.stats(1, disk_size=100, disk_free=1)
    assert alerts(master, slave) == [("disk 99%", 3)]
    master.past = False
    master.wait(10 * SECOND)
    assert master.entries() == []


@pytest.mark.parametrize(
    ("skew", "alert"),
    [
        (29 * SECOND, []),
        (-31 * SECOND, [("clock 31s", 1)]),
        (timedelta(days=-3), [("clock 3d00h", 2)]),
    ],
)
def test_a_wrong_clock_causes_an_alert(master, skew, alert):
    slave = master.hello(1)
    master.stats(1, skew=skew)
    assert alerts(master, slave) == alert


def test_a_slave_that_joins_repeatedly_is_flapping(master):
    for number in (1, 2, 3):
        slave = master.hello(number, label="shaky", serial="s1")
        other = master.hello(number + 10, label="shaky", serial=f"another-{number}")
        assert (alerts(master, slave) == [("flapping x3", 2)]) is (number == 3)
        master.wait(SECOND)
        master.say(number, "DIE")
    assert alerts(master, other) == []
    slave = master.hello(4, label="shaky", serial="s1")
    assert alerts(master, slave) == [("flapping x4", 2)]
    for _ in range(11):
        master.wait(MINUTE)
        master.stats(4)
    assert alerts(master, slave) == []


def test_three_failures_in_a_row_cause_an_alert(master):
    slave = master.hello(1)
    for package in ("a", "b"):
        master.finish(1, package, ok=False)
    master.build(1, "c")
    master.farm.skipped(1)
    master.say(1, "DONE")
    assert alerts(master, slave) == []
    master.finish(1, "d", ok=False)
    assert alerts(master, slave) == [("failing x3", 2)]
    master.finish(1, "e")
    assert alerts(master, slave) == []


def test_a_build_that_takes_much_longer_than_its_peers_is_slow(master):
    for number in range(1, 8):
        master.hello(number)
        master.finish(number, took=(9 + number % 3) * MINUTE)
    slave = master.farm.slaves[7]
    master.stats(7)
    master.build(7)
    for _ in range(25):
        master.wait(MINUTE)
        master.stats(7)
    master.farm.tick(master.now)
    assert (slave.peers, slave.median, round(slave.ratio, 1)) == (7, 10 * MINUTE, 2.5)
    assert alerts(master, slave) == []
    master.entries()
    for _ in range(6):
        master.wait(MINUTE)
        master.stats(7)
    master.farm.tick(master.now)
    assert alerts(master, slave) == [("slow x3.1", 1)]
    (entry,) = [e for e in master.farm.take_entries() if e.what.startswith("slow")]
    assert (entry.slave_id, entry.detail) == (7, "numpy 1.0: 30m vs median 10m (n=7)")
    master.say(7, "SEND", "numpy.whl")
    master.say(7, "DONE")
    assert alerts(master, slave) == []
    assert slave.ratio is None


def test_a_full_disk_of_the_master_is_reported(master):
    assert [
        disk_step(master.master_stats(disk_size=1000, disk_free=free))
        for free in (500, 151, 144, 9)
    ] == [0, 0, 85, 99]
    assert disk_step(master.master_stats()) == 0
    master.entries()
    for free in (160, 148, 146, 144, 149, 130):
        master.now += SECOND
        master.send(master.master_stats(disk_size=1000, disk_free=free))
    assert master.entries() == [
        (Kind.MASTER, None, "the master's disk is 85% full"),
        (Kind.MASTER, None, "the master's disk is 87% full"),
    ]
