"""A farm without fault has no findings, whatever is asked."""

import pytest


@pytest.mark.parametrize(
    "options",
    [
        (), ("--quick",), ("files",), ("logs", "index"), ("database",), ("-p", "spam"),
        ("-p", "Held", "-p", "eggs", "database"), ("--repair", "--yes"),
    ],
)  # fmt: skip
def test_nothing_is_found(farm, options):
    assert farm.audit(*options) == set()
    assert farm.audit(*options) == set()
