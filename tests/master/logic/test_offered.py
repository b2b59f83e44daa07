from datetime import UTC, datetime

import pytest

from piwheels.core.database.rows import TargetRow
from piwheels.core.targets import NO_SLAVE, Target
from piwheels.master.logic.offered import MOST, to_add

PC, BOARD = Target("linux_x86_64", "cp311"), Target("linux_armv7l", "cp311")


def row(target, skip=""):
    return TargetRow(*target, 0, skip, "", datetime(2026, 1, 1, tzinfo=UTC), 0)


@pytest.mark.parametrize(
    ("rows", "added"),
    [
        ([], [BOARD]),
        ([row(PC)], [BOARD]),
        ([row(BOARD)], []),
        ([row(BOARD, NO_SLAVE)], [BOARD]),
        ([row(PC), row(BOARD, "broken")], []),
        ([row(PC, "out of support")], []),
        ([row(PC, "slow"), row(Target("any", "cp311"))], [BOARD]),
        ([row(PC, NO_SLAVE)], [BOARD]),
    ],
)
def test_a_target_is_added_unless_an_operator_has_retired_it(rows, added):
    assert to_add(rows, (), [BOARD, BOARD]) == added
    assert to_add(rows, [BOARD], [BOARD]) == []


def test_no_more_than_100_are_added():
    many = [Target("linux_armv7l", f"cp{number}") for number in range(300, 500)]
    expected = [each for each in many if each != BOARD][: MOST - 2]
    assert to_add([row(PC)], [BOARD], many) == expected
    full = [row(PC), *map(row, many[:MOST]), row(BOARD, NO_SLAVE)]
    assert to_add(full, (), [Target("linux_s390x", "cp311"), BOARD]) == [BOARD]


@pytest.mark.parametrize(
    "name",
    ["any/cp311", "linux_armv7l/none", "linux_armv8l/cp311", "LINUX/cp311", "/cp311", "a/b/c"],
)
def test_what_is_no_target_is_not_added(name):
    assert to_add([], (), [Target(*name.split("/", 1))]) == []
