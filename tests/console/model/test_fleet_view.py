"""The order of the fleet's rows: by what they are sorted, and when they may move."""

from datetime import UTC, datetime, timedelta

import pytest

from piwheels.console.model.commands import Command, Verb
from piwheels.console.model.farm import Changes, FarmModel
from piwheels.console.model.fleet_view import SORTS, View
from piwheels.console.model.heat import Grouping
from piwheels.console.model.query import parse
from piwheels.console.model.slave import Alert, Slave, State
from piwheels.core.states import SlaveInfo, SlaveStats

NOW = datetime(2026, 11, 24, 12, 40, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def still_farm():
    """Return a farm whose slaves are put there by hand."""
    farm = FarmModel()
    farm.tick(NOW)
    return farm


class Sight:
    """A view of a farm, and what is done to both."""

    def __init__(self):
        self.farm, self.now, self.commands = still_farm(), NOW, {}
        self.view = View(self.commands.get)
        self.look(epoch=True)

    def add(self, *numbers, abi="cp311", minutes=0, load=None, label=None, **more):
        for number in numbers:
            label_ = label or f"rack{number // 10}-{number % 10}"
            info = SlaveInfo(SECOND, 900 * SECOND, "311", abi, "linux", label_, "D", "12", "", "")
            since = NOW - timedelta(minutes=minutes)
            slave = Slave(number, info, label_, joined=since, since=since, heard=NOW, **more)
            slave.state_began = slave.build_began = since
            if load is not None:
                slave.stats.append(SlaveStats(NOW, 0, 0, 0, 0, 0, 0, load, 0))
            self.farm.slaves[number] = slave
        return set(numbers)

    def look(self, seconds=0.0, **changes):
        self.now += seconds * SECOND
        return self.view.update(self.farm, Changes(**changes), self.now)

    @property
    def keys(self):
        return self.view.keys


@pytest.fixture
def sight():
    return Sight()


def alert(weight):
    return {"alerts": (Alert("slow", "x6", NOW, weight),)}


def test_trouble_is_on_top_and_then_what_takes_longest(sight):
    sight.add(1, minutes=5)
    sight.add(2, minutes=50)
    sight.add(3, minutes=5)
    sight.add(4, **alert(1))
    sight.add(5, **alert(3))
    sight.look(2)
    assert sight.keys == [5, 4, 2, 1, 3]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("label", [2, 10, 1]),
        ("load", [10, 2, 1]),
        ("id", [1, 2, 10]),
        ("abi", [10, 1, 2]),
        ("state", [10, 1, 2]),
        ("time", [1, 2, 10]),
    ],
)
def test_sorts(sight, sort, order):
    sight.add(1, label="pi10", minutes=9, abi="cp311")
    sight.add(2, label="pi2", load=1.0, reported=State.SLEEP, minutes=8, abi="cp313")
    sight.add(10, label="Pi9", load=2.0, reported=State.PAUSE, minutes=7, abi="cp39")
    sight.view.sort = sort
    sight.view.arrange(sight.now)
    assert sight.keys == order
    sight.view.reverse = True
    sight.view.arrange(sight.now)
    assert sight.keys == order[::-1]


def test_all_sorts_take_slaves_of_which_nothing_is_known(sight):
    sight.add(1, 2)
    for sight.view.sort in SORTS:
        sight.view.arrange(sight.now)
        assert sight.keys == [1, 2]


def test_the_order_stands_for_two_seconds(sight):
    sight.add(1, 2)
    sight.look(2)
    sight.farm.slaves[2].alerts = alert(1)["alerts"]
    assert not sight.look(1.9, slaves={2})
    assert sight.keys == [1, 2]
    assert sight.look(0.1)
    assert sight.keys == [2, 1]
    assert not sight.look(2)


def test_the_order_stands_for_three_seconds_after_a_key(sight):
    sight.add(1, 2)
    sight.look(2)
    sight.farm.slaves[2].alerts = alert(1)["alerts"]
    sight.view.moved(sight.now)
    assert not sight.look(2.9)
    assert sight.look(0.1)
    assert sight.keys == [2, 1]


def test_new_rows_are_appended_while_the_order_stands(sight):
    sight.add(5, 6)
    sight.look(2)
    assert sight.look(0.5, new=sight.add(2, **alert(3)))
    assert sight.keys == [5, 6, 2]
    assert not sight.look(0.5, new={2})
    assert sight.look(1)
    assert sight.keys == [2, 5, 6]


def test_new_rows_that_the_filter_holds_back_are_not_appended(sight):
    sight.view.query = parse("abi=cp39")
    sight.look(2)
    sight.look(0.5, new=sight.add(1) | sight.add(2, abi="cp39"))
    assert sight.keys == [2]


def test_rows_of_those_that_left_stay_until_the_order_may_change(sight):
    sight.add(1, 2)
    sight.look(2)
    del sight.farm.slaves[1]
    sight.look(0.5, gone={1})
    assert sight.keys == [1, 2]
    assert sight.view.row(1).gone
    sight.look(1.5)
    assert sight.keys == [2]


def test_what_is_frozen_stands_in_order_and_values(sight):
    sight.add(1, load=1.0, reported=State.SLEEP)
    sight.add(2)
    sight.look(2)
    sight.view.freeze()
    sight.farm.slaves[1].stats.append(SlaveStats(NOW, 0, 0, 0, 0, 0, 0, 9.0, 0))
    sight.farm.slaves[1].reported = State.BUILD
    sight.farm.slaves[2].alerts = alert(3)["alerts"]
    sight.farm.now += 60 * SECOND
    new = sight.add(3)
    del sight.farm.slaves[2]
    sight.look(60, new=new, gone={2}, slaves={1})
    assert sight.keys == [1, 2, 3]
    row = sight.view.row(1)
    assert (row.state, row.slave.stats[-1].load_average) == (State.SLEEP, 1.0)
    assert row.elapsed == timedelta(0)
    assert sight.view.row(2).gone
    assert not sight.view.row(2).slave.alerts

    sight.view.thaw(sight.now)
    assert set(sight.keys) == {1, 3}
    assert sight.view.row(1).state is not State.SLEEP


def test_a_command_is_seen_in_a_frozen_row(sight):
    sight.add(1)
    sight.look(2)
    sight.view.freeze()
    sight.commands[1] = Command(Verb.SKIP, 1, "", NOW)
    assert sight.view.row(1).command is sight.commands[1]


def test_what_is_frozen_can_be_filtered_and_sorted(sight):
    sight.add(1, load=1.0)
    sight.add(2, load=2.0)
    sight.look(2)
    sight.view.freeze()
    sight.farm.slaves[1].stats.append(SlaveStats(NOW, 0, 0, 0, 0, 0, 0, 9.0, 0))
    sight.view.sort = "load"
    sight.view.arrange(sight.now)
    assert sight.keys == [2, 1]
    sight.view.query = parse("load>1.5")
    sight.view.arrange(sight.now)
    assert sight.keys == [2]


def test_another_master_clears_everything(sight):
    sight.add(1, 2)
    sight.look(2)
    sight.view.freeze()
    sight.farm.slaves.clear()
    sight.add(2, label="other")
    sight.look(0.1, epoch=True, new={2})
    assert sight.keys == [2]
    assert not sight.view.frozen
    assert sight.view.row(2).slave.label == "other"


def test_another_farm_is_shown_at_once(sight):
    sight.add(1, 2)
    sight.look(2)
    sight.farm = still_farm()
    sight.add(7)
    assert sight.look(0.1)
    assert sight.keys == [7]


def test_groups_tell_of_the_worst(sight):
    sight.add(11, 12)
    sight.add(13, reported=State.BUILD, **alert(2))
    sight.add(21, reported=State.DEAD)
    sight.view.group = Grouping.RACK
    sight.view.arrange(sight.now)
    assert sight.keys == ["rack1", "rack2"]
    one, two = sight.view.groups["rack1"], sight.view.groups["rack2"]
    assert (one.members, one.worst, one.alerts) == ((13, 11, 12), State.BUILD, 1)
    assert one.counts == ((State.BUILD, 1), (State.IDLE, 2))
    assert two.worst is State.DEAD
    assert sight.view.members("rack1") == [13, 11, 12]
    assert sight.view.shown == [13, 11, 12, 21]
    sight.view.open.add("rack1")
    sight.view.arrange(sight.now)
    assert sight.keys == ["rack1", 13, 11, 12, "rack2"]


def test_a_group_that_the_filter_empties_is_gone(sight):
    sight.add(11, 21)
    sight.view.group = Grouping.RACK
    sight.view.query = parse("label~rack2")
    sight.view.arrange(sight.now)
    assert sight.keys == ["rack2"]
    assert sight.view.members("rack1") == []
