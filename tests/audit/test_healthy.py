"""A farm without fault has no findings, whatever is asked."""

import pytest

from piwheels.core.site import log_name


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


def test_nothing_is_found_of_a_build_that_was_removed(farm, rewrite):
    with farm.db() as db:
        before = db.get_all_build_ids()
        db.delete_build("failing", "1.0")
        (gone,) = before - db.get_all_build_ids()
        db.add_rewrite("failing", "BOTH")
    log = farm.site / log_name(gone)
    assert log.exists()
    assert farm.audit("logs") == set()  # a master will see to it
    rewrite(farm)
    assert not log.exists()
    assert farm.audit() == set()
