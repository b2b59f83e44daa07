"""What is wrong with a slave, and when that is told."""

from datetime import timedelta

import pytest

from piwheels.console.model.health import disk_step
from piwheels.console.model.journal import Kind

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
GIB = 2**30


def alerts(teller, slave):
    teller.farm.tick(teller.now)
    return [(str(alert), alert.weight) for alert in slave.alerts]


@pytest.mark.parametrize(
    ("stats", "alert"),
    [
        ({}, []),  # 0 is what is not known
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
def test_stats_beyond_their_limits(teller, stats, alert):
    slave = teller.hello(1)
    teller.stats(1, **stats)
    assert alerts(teller, slave) == alert


def test_an_alert_does_not_come_and_go(teller):
    slave = teller.hello(1)
    seen = []
    for used in (84, 86, 84, 83, 86, 81, 84):
        teller.now += SECOND
        teller.stats(1, disk_size=100, disk_free=100 - used)
        seen.append([text for text, _ in alerts(teller, slave)])
    assert seen == [[], ["disk 86%"], ["disk 84%"], ["disk 83%"], ["disk 86%"], [], []]


def test_alerts_are_told_once_and_again_when_they_get_worse(teller):
    slave = teller.hello(1)
    teller.entries()
    for used in (86, 88, 87):
        teller.now += SECOND
        teller.stats(1, disk_size=100 * GIB, disk_free=(100 - used) * GIB)
        teller.farm.tick(teller.now)
    since = slave.alerts[0].since
    assert since == teller.now - 2 * SECOND
    teller.now += SECOND
    teller.stats(1, disk_size=100 * GIB, disk_free=GIB)
    teller.farm.tick(teller.now)
    told = [(entry.kind, entry.what, entry.detail) for entry in teller.farm.take_entries()]
    assert told == [
        (Kind.WARN, "disk 86%", "of 100 GiB"),
        (Kind.CRITICAL, "disk 99%", "of 100 GiB"),
    ]
    assert slave.alerts[0].since == since


def test_what_was_so_before_we_came_is_shown_but_not_told(teller):
    teller.past = True
    slave = teller.hello(1)
    teller.stats(1, disk_size=100, disk_free=1)
    assert alerts(teller, slave) == [("disk 99%", 3)]
    teller.past = False
    teller.wait(10 * SECOND)
    assert teller.entries() == []


@pytest.mark.parametrize(
    ("skew", "alert"),
    [
        (29 * SECOND, []),
        (-31 * SECOND, [("clock 31s", 1)]),
        (timedelta(days=-3), [("clock 3d00h", 2)]),
    ],
)
def test_a_clock_that_is_wrong(teller, skew, alert):
    slave = teller.hello(1)
    teller.stats(1, skew=skew)
    assert alerts(teller, slave) == alert


def test_who_joins_again_and_again(teller):
    for number in (1, 2, 3):
        slave = teller.hello(number, label="shaky", serial="s1")
        other = teller.hello(number + 10, label="shaky", serial=f"another-{number}")
        assert (alerts(teller, slave) == [("flapping x3", 2)]) is (number == 3)
        teller.wait(SECOND)
        teller.say(number, "DIE")
    assert alerts(teller, other) == []
    slave = teller.hello(4, label="shaky", serial="s1")
    assert alerts(teller, slave) == [("flapping x4", 2)]
    for _ in range(11):
        teller.wait(MINUTE)
        teller.stats(4)
    assert alerts(teller, slave) == []


def test_who_fails_and_fails(teller):
    slave = teller.hello(1)
    for package in ("a", "b"):
        teller.finish(1, package, ok=False)
    teller.build(1, "c")
    teller.farm.skipped(1)
    teller.say(1, "DONE")
    assert alerts(teller, slave) == []
    teller.finish(1, "d", ok=False)
    assert alerts(teller, slave) == [("failing x3", 2)]
    teller.finish(1, "e")
    assert alerts(teller, slave) == []


def test_what_takes_much_longer_than_elsewhere(teller):
    for number in range(1, 8):
        teller.hello(number)
        teller.finish(number, took=(9 + number % 3) * MINUTE)
    slave = teller.farm.slaves[7]
    teller.stats(7)
    teller.build(7)
    for _ in range(25):
        teller.wait(MINUTE)
        teller.stats(7)
    teller.farm.tick(teller.now)
    assert (slave.peers, slave.median, round(slave.ratio, 1)) == (7, 10 * MINUTE, 2.5)
    assert alerts(teller, slave) == []
    teller.entries()
    for _ in range(6):
        teller.wait(MINUTE)
        teller.stats(7)
    teller.farm.tick(teller.now)
    assert alerts(teller, slave) == [("slow x3.1", 1)]
    (entry,) = [e for e in teller.farm.take_entries() if e.what.startswith("slow")]
    assert (entry.slave_id, entry.detail) == (7, "numpy 1.0: 30m vs median 10m (n=7)")
    teller.say(7, "SEND", "numpy.whl")
    teller.say(7, "DONE")
    assert alerts(teller, slave) == []
    assert slave.ratio is None


def test_the_masters_disk_fills_up(teller):
    assert [
        disk_step(teller.master_stats(disk_size=1000, disk_free=free))
        for free in (500, 151, 144, 9)
    ] == [0, 0, 85, 99]
    assert disk_step(teller.master_stats()) == 0
    teller.entries()
    for free in (160, 148, 146, 144, 149, 130):
        teller.now += SECOND
        teller.tell(teller.master_stats(disk_size=1000, disk_free=free))
    assert teller.entries() == [
        (Kind.MASTER, None, "the master's disk is 85% full"),
        (Kind.MASTER, None, "the master's disk is 87% full"),
    ]
