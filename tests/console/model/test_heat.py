"""The heat map's levels, groups and clusters; comparisons of two moments."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from piwheels.console.model.compare import Seen, Snapshot, compare
from piwheels.console.model.heat import Grouping, Metric, clusters, group_of, groups, level, scale
from piwheels.console.model.slave import Slave, State
from piwheels.core.states import SlaveInfo, SlaveStats

NOW = datetime(2026, 11, 24, 12, 40, tzinfo=UTC)
HOUR = timedelta(hours=1)


def make_slave(number, label, *, abi="cp311", system="Debian", **more):
    info = SlaveInfo(3 * HOUR, HOUR / 4, "311", abi, "linux_aarch64", label, system, "12", "", "")
    return Slave(number, info, label, joined=NOW, since=NOW, last_contact=NOW, **more)


@pytest.mark.parametrize(
    ("label", "rack"),
    [
        ("pi4-rack1-03", "pi4-rack1"),
        ("rack3-02", "rack3"),
        ("board7", "board"),
        ("attic", "attic"),
        ("12", "12"),
        ("", ""),
    ],
)
def test_a_rack_is_a_label_without_its_number(label, rack):
    assert group_of(make_slave(1, label)) == rack


def test_groups_and_slaves_are_sorted_by_number():
    slaves = [make_slave(n, label) for n, label in enumerate(["r10-1", "r2-10", "r2-9", "r2-1"])]
    found = groups(slaves, Grouping.RACK)
    assert [(group.name, [slave.label for slave in group.slaves]) for group in found] == [
        ("r2", ["r2-1", "r2-9", "r2-10"]),
        ("r10", ["r10-1"]),
    ]


def test_slaves_are_grouped_by_abi_and_system():
    slaves = [make_slave(1, "a", abi="cp39"), make_slave(2, "b", system="Raspbian")]
    assert [group.name for group in groups(slaves, Grouping.ABI)] == ["cp39", "cp311"]
    assert [group.name for group in groups(slaves, Grouping.OS)] == ["Debian 12", "Raspbian 12"]


def test_levels():
    hot = make_slave(1, "a", job=("numpy", "2.3.4"), ratio=2.5)
    hot.stats.append(SlaveStats(NOW, 0, 0, 0, 0, 0, 0, 0.2, 78.0))
    levels = {metric: level(hot, metric, 2 * HOUR) for metric in Metric}
    assert levels == {
        Metric.STATE: None,
        Metric.TEMP: 4,
        Metric.LOAD: 0,
        Metric.AGE: 2,
        Metric.SLOW: 2,
    }
    assert scale(Metric.TEMP) == "50 60 70 78"
    assert scale(Metric.STATE) == ""


def test_an_unknown_value_has_no_level():
    blank = make_slave(1, "a")
    assert {level(blank, metric, HOUR) for metric in Metric} == {None}
    blank.stats.append(SlaveStats(NOW, 0, 0, 0, 0, 0, 0, 0.0, 0.0))
    assert level(blank, Metric.TEMP, HOUR) is None


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ([{State.BUILD: 40, State.SILENT: 7}, {State.BUILD: 48}], [True, False]),
        ([{State.BUILD: 40, State.SILENT: 7}, {State.BUILD: 40, State.DEAD: 7}], [False, False]),
        ([{State.BUILD: 1, State.SILENT: 2}, {State.BUILD: 48}], [False, False]),
        ([{State.SILENT: 3}], [True]),
        ([{}], [False]),
        ([], []),
    ],
)
def test_a_cluster_is_a_group_that_fails_more_than_others(counts, found):
    assert clusters([Counter(count) for count in counts]) == found


# Two moments --------------------------------------------------------------------------------------


def picture(minute, slaves, pending=None):
    return Snapshot(NOW.replace(minute=minute), slaves, pending)


def rack(number, count, state):
    return {
        100 * number + each: Seen(f"rack{number}-{each}", f"rack{number}", state)
        for each in range(count)
    }


def test_comparison_names_a_silent_rack():
    before = picture(10, rack(3, 7, State.BUILD) | rack(2, 2, State.SLEEP), 2426)
    after = picture(40, rack(3, 7, State.SILENT) | rack(2, 2, State.BUILD), 2300)
    expected = ["7 went silent, all rack3", "the queue went from 2,426 to 2,300"]
    assert compare(before, after) == expected
    assert compare(after, before) == expected, "the order of the moments is of no account"


def test_comparison_of_joined_and_left_slaves():
    before = picture(10, rack(1, 1, State.BUILD) | rack(2, 5, State.EXPIRED))
    after = picture(40, rack(2, 5, State.IDLE) | rack(3, 3, State.PAUSE))
    assert compare(before, after) == [
        "1 died or left: rack1-0",
        "5 came back, all rack2",
        "3 joined: rack3-0, rack3-1, rack3-2",
    ]


def test_comparison_names_most_of_a_rack():
    before = picture(10, rack(1, 4, State.BUILD) | rack(2, 1, State.BUILD))
    after = picture(40, rack(1, 4, State.PAUSE) | rack(2, 1, State.PAUSE))
    assert compare(before, after) == ["5 were paused, 4 of them rack1"]
    assert compare(before, before) == [
        "no slave joined, left, fell silent, came back, was paused or resumed"
    ]
