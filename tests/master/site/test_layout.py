"""After an upgrade all pages are written again: in parts, resumable, whatever single ones raise."""

import pytest

from clocks import FixedClock
from piwheels.core.errors import DatabaseError
from piwheels.core.site import LAYOUT
from piwheels.master.site.files import Site
from piwheels.master.site.layout import LayoutUpgrade


class Farm:
    def __init__(self, folder, clock):
        self.clock = clock
        self.site = Site(folder / "www", folder / ".www.work")
        for name in ("a", "b", "c", "d"):
            (self.site.root / "project" / name).mkdir(parents=True)
        self.written, self.errors = [], {}

    def write(self, package):
        self.clock.advance(0.06)  # two in each call
        self.written.append(package)
        if package in self.errors:
            raise self.errors[package]

    def upgrade(self):
        return LayoutUpgrade(self.site, self.write, self.clock)

    @property
    def note(self):
        return self.site.read_note("layout")


@pytest.fixture
def farm(tmp_path):
    return Farm(tmp_path, FixedClock())


@pytest.mark.parametrize("found", ["", "0\n", f"{LAYOUT + 1}\n", "damaged", "0 c\n"])
def test_all_pages_are_written_again_in_parts(farm, found):
    farm.site.note("layout", found)
    upgrade = farm.upgrade()
    upgrade.work()
    assert (farm.written, farm.note) == (["a", "b"], found)
    upgrade.work()
    assert (farm.written, farm.note) == (["a", "b", "c", "d"], f"{LAYOUT}\n")
    upgrade.work()
    farm.upgrade().work()
    assert len(farm.written) == 4


def test_a_restarted_master_continues(farm):
    upgrade = farm.upgrade()
    upgrade.work()
    upgrade.note()
    farm.upgrade().work()
    assert (farm.written, farm.note) == (["a", "b", "c", "d"], f"{LAYOUT}\n")


def test_the_progress_is_noted_for_a_master_that_is_killed(farm):
    for name in ("e", "f"):
        (farm.site.root / "project" / name).mkdir()
    upgrade = farm.upgrade()
    upgrade.work()
    assert farm.note == ""
    farm.clock.advance(61)
    upgrade.work()
    assert farm.note == f"{LAYOUT} d\n"
    farm.upgrade().work()
    assert (farm.written, farm.note) == (["a", "b", "c", "d", "e", "f"], f"{LAYOUT}\n")


def test_errors_of_the_database_delay_and_others_are_skipped(farm, caplog):
    farm.errors = {"b": ValueError("strange"), "c": DatabaseError("gone")}
    upgrade = farm.upgrade()
    for _ in range(5):
        upgrade.work()
    assert farm.written == ["a", "b", "c"]
    assert "piw-rebuild project b" in caplog.text
    assert "trying again: gone" in caplog.text
    farm.clock.advance(31)
    del farm.errors["c"]
    upgrade.work()
    assert (farm.written, farm.note) == (["a", "b", "c", "c", "d"], f"{LAYOUT}\n")
