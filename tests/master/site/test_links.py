"""Pages with wrong links are written in parts, whatever single ones raise."""

import pytest

from clocks import FixedClock
from piwheels.core.errors import DatabaseError
from piwheels.master.site.links import LinkUpdates


class Farm:
    """The database, in which the pages *pending* need *six*; and the writer of pages."""

    def __init__(self):
        self.clock = FixedClock()
        self.pending, self.written, self.asked, self.errors = [], [], 0, {}
        self.links = LinkUpdates(self.write, self.clock)

    def links_changed(self, package):
        assert package == "six"
        self.pending = ["a", "b", "c"]

    def get_links_pending(self, limit):
        self.asked += 1
        return self.pending[:limit]

    def links_written(self, package):
        self.pending.remove(package)

    def write(self, package):
        self.clock.advance(0.06)  # two in each call
        self.written.append(package)
        if package in self.errors:
            raise self.errors[package]


@pytest.fixture
def farm():
    return Farm()


def test_pages_are_written_in_parts_and_the_database_is_asked_only_after_a_change(farm):
    farm.links.changed(farm, "six")
    farm.links.work(farm)
    assert (farm.written, farm.pending) == (["a", "b"], ["c"])
    for _ in range(5):
        farm.links.work(farm)
    assert (farm.written, farm.pending, farm.asked) == (["a", "b", "c"], [], 3)
    farm.links.changed(farm, "six")
    farm.links.work(farm)
    assert farm.written[3:] == ["a", "b"]


def test_pages_that_an_earlier_master_left_are_written(farm):
    farm.pending = ["z"]
    farm.links.work(farm)
    assert (farm.written, farm.pending) == (["z"], [])


def test_errors_of_the_database_delay_and_others_are_skipped(farm, caplog):
    farm.links.changed(farm, "six")
    farm.errors = {"a": ValueError("strange"), "b": DatabaseError("gone")}
    with pytest.raises(DatabaseError):
        farm.links.work(farm)
    farm.links.work(farm)
    assert (farm.written, farm.pending) == (["a", "b"], ["b", "c"])
    assert "piw-rebuild project a" in caplog.text
    farm.clock.advance(31)
    del farm.errors["b"]
    farm.links.work(farm)
    assert (farm.written, farm.pending) == (["a", "b", "b", "c"], [])
