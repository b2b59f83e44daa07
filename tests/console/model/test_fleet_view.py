"""The rows of the fleet table: their sort order, and when they may move."""

from datetime import UTC, datetime, timedelta

import pytest

from piwheels.console.model.commands import Command, Verb
from piwheels.console.model.farm import Changes, FarmModel
from piwheels.console.model.fleet_view import SORTS, BoardKey, View
from piwheels.console.model.heat import Grouping
from piwheels.console.model.query import parse
from piwheels.console.model.slave import Alert, Slave, State
from piwheels.core.states import SlaveInfo, SlaveStats

NOW = datetime(2026, 11, 24, 12, 40, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def still_farm():
    """Return a farm to which a test adds slaves directly."""
    farm = FarmModel()
    farm.tick(NOW)
    return farm


class ViewCase:
    """A view of a farm; helpers change either."""

    def __init__(self):
        self.farm, self.now, self.commands = still_farm(), NOW, {}
        self.view = View(self.commands.get)
        self.update(epoch=True)

    def add(self, *numbers, abi="cp311", minutes=0, load=None, label=None, **more):
        for number in numbers:
            label_ = label or f"rack{number // 10}-{number % 10}"
            info = SlaveInfo(SECOND, 900 * SECOND, "311", abi, "linux", label_, "D", "12", "", "")
            since = NOW - timedelta(minutes=minutes)
            slave = Slave(number, info, label_, joined=since, since=since, last_contact=NOW, **more)
            slave.state_began = slave.build_began = since
            if load is not None:
                slave.stats.append(SlaveStats(NOW, 0, 0, 0, 0, 0, 0, load, 0))
            self.farm.slaves[number] = slave
        return set(numbers)

    def update(self, seconds=0.0, **changes):
        self.now += seconds * SECOND
        return self.view.update(self.farm, Changes(**changes), self.now)

    @property
    def keys(self):
        return self.view.keys


@pytest.fixture
def case():
    return ViewCase()


def alert(weight):
    return {"alerts": (Alert("slow", "x6", NOW, weight),)}


def test_alerts_come_first_then_the_longest_builds(case):
    case.add(1, minutes=5)
    case.add(2, minutes=50)
    case.add(3, minutes=5)
    case.add(4, **alert(1))
    case.add(5, **alert(3))
    case.update(2)
    assert case.keys == [5, 4, 2, 1, 3]


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
def test_sort_by_column(case, sort, order):
    case.add(1, label="pi10", minutes=9, abi="cp311")
    case.add(2, label="pi2", load=1.0, reported=State.SLEEP, minutes=8, abi="cp313")
    case.add(10, label="Pi9", load=2.0, reported=State.PAUSE, minutes=7, abi="cp39")
    case.view.sort = sort
    case.view.arrange(case.now)
    assert case.keys == order
    case.view.reverse = True
    case.view.arrange(case.now)
    assert case.keys == order[::-1]


def test_every_sort_key_accepts_unknown_values(case):
    case.add(1, 2)
    for case.view.sort in SORTS:
        case.view.arrange(case.now)
        assert case.keys == [1, 2]


def test_rows_keep_their_places_for_two_seconds(case):
    case.add(1, 2)
    case.update(2)
    case.farm.slaves[2].alerts = alert(1)["alerts"]
    assert not case.update(1.9, slaves={2})
    assert case.keys == [1, 2]
    assert case.update(0.1)
    assert case.keys == [2, 1]
    assert not case.update(2)


def test_rows_keep_their_places_for_three_seconds_after_a_key(case):
    case.add(1, 2)
    case.update(2)
    case.farm.slaves[2].alerts = alert(1)["alerts"]
    case.view.moved(case.now)
    assert not case.update(2.9)
    assert case.update(0.1)
    assert case.keys == [2, 1]


def test_new_rows_are_appended_between_sorts(case):
    case.add(5, 6)
    case.update(2)
    assert case.update(0.5, new=case.add(2, **alert(3)))
    assert case.keys == [5, 6, 2]
    assert not case.update(0.5, new={2})
    assert case.update(1)
    assert case.keys == [2, 5, 6]


def test_new_rows_that_do_not_match_the_filter_are_not_appended(case):
    case.view.query = parse("abi=cp39")
    case.update(2)
    case.update(0.5, new=case.add(1) | case.add(2, abi="cp39"))
    assert case.keys == [2]


def test_rows_of_slaves_that_left_stay_until_the_next_sort(case):
    case.add(1, 2)
    case.update(2)
    del case.farm.slaves[1]
    case.update(0.5, gone={1})
    assert case.keys == [1, 2]
    assert case.view.row(1).gone
    case.update(1.5)
    assert case.keys == [2]


def test_a_frozen_view_keeps_rows_and_values(case):
    case.add(1, load=1.0, reported=State.SLEEP)
    case.add(2)
    case.update(2)
    case.view.freeze()
    case.farm.slaves[1].stats.append(SlaveStats(NOW, 0, 0, 0, 0, 0, 0, 9.0, 0))
    case.farm.slaves[1].reported = State.BUILD
    case.farm.slaves[2].alerts = alert(3)["alerts"]
    case.farm.now += 60 * SECOND
    new = case.add(3)
    del case.farm.slaves[2]
    case.update(60, new=new, gone={2}, slaves={1})
    assert case.keys == [1, 2, 3]
    row = case.view.row(1)
    assert (row.state, row.slave.stats[-1].load_average) == (State.SLEEP, 1.0)
    assert row.elapsed == timedelta(0)
    assert case.view.row(2).gone
    assert not case.view.row(2).slave.alerts

    case.view.thaw(case.now)
    assert set(case.keys) == {1, 3}
    assert case.view.row(1).state is not State.SLEEP


def test_a_frozen_row_shows_a_command(case):
    case.add(1)
    case.update(2)
    case.view.freeze()
    case.commands[1] = Command(Verb.SKIP, 1, "", NOW)
    assert case.view.row(1).command is case.commands[1]


def test_a_frozen_view_can_be_filtered_and_sorted(case):
    case.add(1, load=1.0)
    case.add(2, load=2.0)
    case.update(2)
    case.view.freeze()
    case.farm.slaves[1].stats.append(SlaveStats(NOW, 0, 0, 0, 0, 0, 0, 9.0, 0))
    case.view.sort = "load"
    case.view.arrange(case.now)
    assert case.keys == [2, 1]
    case.view.query = parse("load>1.5")
    case.view.arrange(case.now)
    assert case.keys == [2]


def test_a_new_master_clears_the_view(case):
    case.add(1, 2)
    case.update(2)
    case.view.freeze()
    case.farm.slaves.clear()
    case.add(2, label="other")
    case.update(0.1, epoch=True, new={2})
    assert case.keys == [2]
    assert not case.view.frozen
    assert case.view.row(2).slave.label == "other"


def test_another_farm_is_shown_immediately(case):
    case.add(1, 2)
    case.update(2)
    case.farm = still_farm()
    case.add(7)
    assert case.update(0.1)
    assert case.keys == [7]


def test_a_group_shows_its_worst_state(case):
    case.add(11, 12)
    case.add(13, reported=State.BUILD, **alert(2))
    case.add(21, reported=State.DEAD)
    case.view.group = Grouping.RACK
    case.view.arrange(case.now)
    assert case.keys == ["rack1", "rack2"]
    one, two = case.view.groups["rack1"], case.view.groups["rack2"]
    assert (one.members, one.worst, one.alerts) == ((13, 11, 12), State.BUILD, 1)
    assert one.counts == ((State.BUILD, 1), (State.IDLE, 2))
    assert two.worst is State.DEAD
    assert case.view.members("rack1") == [13, 11, 12]
    assert case.view.shown == [13, 11, 12, 21]
    case.view.open.add("rack1")
    case.view.arrange(case.now)
    assert case.keys == ["rack1", 13, 11, 12, "rack2"]


def test_a_group_without_matching_slaves_is_hidden(case):
    case.add(11, 21)
    case.view.group = Grouping.RACK
    case.view.query = parse("label~rack2")
    case.view.arrange(case.now)
    assert case.keys == ["rack2"]
    assert case.view.members("rack1") == []


# Boards -------------------------------------------------------------------------------------------

BOARD = BoardKey("duo")


def add_boards(case):
    """Add a host with three lanes, and single slaves before and after it."""
    case.add(1, minutes=90)
    case.add(2, minutes=9, host="duo", lane=2, label="duo", abi="cp39", is_behind=True)
    case.add(3, minutes=50, host="duo", lane=3, label="duo", is_behind=True)
    case.add(4, minutes=5, host="duo", lane=1, label="duo", load=2.5)
    case.add(5, minutes=20)
    case.add(6, minutes=10, host="single", lane=1)
    case.update(2)


def test_the_lanes_of_a_board_follow_its_row_at_the_place_of_the_first(case):
    add_boards(case)
    assert case.keys == [1, BOARD, 4, 2, 3, 5, 6]
    assert [case.view.row(one).branch for one in (4, 2, 3, 6)] == ["├", "├", "└", ""]
    assert case.view.members(BOARD) == [4, 2, 3]
    assert case.view.shown == [1, 4, 2, 3, 5, 6]
    case.view.reverse = True
    case.update(2)
    assert case.keys == [BOARD, 4, 2, 3, 6, 5, 1]


def test_a_folded_board_hides_its_lanes_and_shows_all_alerts(case):
    add_boards(case)
    case.farm.slaves[3].alerts = (Alert("slow", "x6", NOW, 2), Alert("temp", "90C", NOW, 2))
    board = case.view.board(BOARD)
    assert (board.folded, board.counts, board.gone) == (False, ((State.IDLE, 3),), False)
    assert (board.first.slave.id, [str(one) for one in board.alerts]) == (4, ["temp 90C"])
    case.view.folded.add(BOARD)
    case.update(2)
    assert case.keys == [BOARD, 1, 5, 6], "its alert comes first"
    assert case.view.shown == [4, 2, 3, 1, 5, 6]
    assert [str(one) for one in case.view.board(BOARD).alerts] == ["slow x6", "temp 90C"]


def test_a_filter_shows_the_lanes_that_match_below_their_board(case):
    add_boards(case)
    case.view.query = parse("abi=cp39")
    case.update(2)
    assert case.keys == [BOARD, 2]
    assert case.view.row(2).branch == "└"
    assert case.view.members(BOARD) == [2]
    case.view.query, case.view.group = parse(""), Grouping.ABI
    case.update(2)
    assert BOARD not in case.keys
    assert {case.view.row(number).branch for number in range(1, 7)} == {""}


def test_a_board_ends_with_its_second_lane(case):
    add_boards(case)
    case.commands[2] = Command(Verb.SKIP, 2, "duo", NOW)
    assert case.view.board(BOARD).command is case.commands[2]
    case.view.freeze()
    case.farm.slaves[4].reported = State.DEAD
    assert case.view.board(BOARD).counts == ((State.IDLE, 3),)
    case.view.thaw(NOW)
    board = case.view.board(BOARD)
    assert (board.worst, board.first.slave.id) == (State.DEAD, 2)
    for number in (4, 3):
        del case.farm.slaves[number]
    case.update(2, gone={3, 4})
    assert case.keys == [1, 5, 6, 2]
    assert case.view.row(2).branch == ""
