"""A healthy farm has no findings, with any options."""

import pytest

from piwheels.core.site import log_name


@pytest.mark.parametrize(
    "options",
    [
        (), ("--quick",), ("files",), ("logs", "index"), ("database",), ("-p", "spam"),
        ("-p", "Held", "-p", "eggs", "database"), ("--repair", "--yes"),
    ],
)  # fmt: skip
def test_a_healthy_farm_has_no_findings(site_farm, options):
    assert site_farm.audit(*options) == set()
    assert site_farm.audit(*options) == set()


def test_a_removed_build_causes_no_findings(farm, rewrite):
    with farm.db() as db:
        before = db.get_all_build_ids()
        db.delete_build("failing", "1.0")
        (gone,) = before - db.get_all_build_ids()
        db.add_rewrite("failing", "BOTH")
    log = farm.site / log_name(gone)
    assert log.exists()
    assert farm.audit("logs") == set()  # a master will delete it
    rewrite(farm)
    assert not log.exists()
    assert farm.audit() == set()
