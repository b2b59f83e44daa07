"""The pauses of operators and of the master itself end independently."""

import pytest

from piwheels.console.model.pauses import Pauses
from piwheels.core.protocols import CommandReport

MASTER, DAVE = "the master: no ssl", "dave@ops"


def pauses(*reports):
    result = Pauses()
    for who, verb, slaves in reports:
        result.note(CommandReport(who, verb, slaves, None))
    return result


@pytest.mark.parametrize(
    ("reports", "farm", "one"),
    [
        ([], "", ""),
        ([(DAVE, "SLEEP", None)], DAVE, DAVE),
        ([(DAVE, "SLEEP", [1, 2])], "", DAVE),
        ([(MASTER, "SLEEP", [1]), (DAVE, "SLEEP", None)], DAVE, MASTER),
        # The master stays without room, but tries a slave again.
        ([(MASTER, "SLEEP", None), (DAVE, "WAKE", None)], MASTER, MASTER),
        ([(MASTER, "SLEEP", [1]), (DAVE, "WAKE", None)], "", ""),
        ([(MASTER, "SLEEP", [1]), (DAVE, "WAKE", [1])], "", ""),
        ([(DAVE, "SLEEP", None), (MASTER, "SLEEP", None), (MASTER, "WAKE", None)], DAVE, DAVE),
        ([(DAVE, "SLEEP", [1]), (MASTER, "SLEEP", [1]), (MASTER, "WAKE", [1])], "", DAVE),
        ([(DAVE, "SLEEP", [1]), (DAVE, "KILL", [1]), (DAVE, "WAKE", [2])], "", DAVE),
    ],
)
def test_who_pauses(reports, farm, one):
    found = pauses(*reports)
    assert (found.why(None), found.why(1)) == (farm, one)
