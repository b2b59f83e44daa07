"""What people read of a failure in one line."""

import pytest

from piwheels.core.diagnosis import Diagnosis
from piwheels.core.diagnosis.words import headline


@pytest.mark.parametrize(
    ("diagnosis", "line"),
    [
        (
            Diagnosis("missing-header", "tin.h", "x.c:1: no tin.h"),
            "missing header: x.c:1: no tin.h",
        ),
        (Diagnosis("missing-header", "tin.h"), "missing header: the end"),
        (Diagnosis("unknown", "", "cause"), "cause"),
        (Diagnosis(""), "the end"),
        (Diagnosis("of-the-future", "tin", ""), "the end"),
    ],
)
def test_a_failure_is_one_line(diagnosis, line):
    assert headline(diagnosis, "the end") == line


def test_a_failure_of_which_nothing_is_known_has_a_line():
    assert headline(Diagnosis("")) == "unknown"
    assert headline(Diagnosis("missing-header", "tin.h")) == "missing header: tin.h"
