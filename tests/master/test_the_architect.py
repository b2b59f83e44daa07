"""TheArchitect sends the build queue soon after it changes, but not too often."""

import time
from datetime import UTC, datetime

import pytest

from piwheels.core.database.dsn import administer
from piwheels.core.errors import Unavailable
from piwheels.core.targets import FIRST, Target
from piwheels.master.messages import BuildQueue, BuildsPending
from piwheels.master.the_architect import ROWS, TheArchitect

CP311 = Target("any", "cp311")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def ends(with_db, db, other_end, running):
    """The wires to SlaveDriver and BigBrother, while TheArchitect runs for a farm with one ABI."""
    db.add_build_abi("cp311")
    driver, stats = other_end(with_db, "builds"), other_end(with_db, "stats")
    with running(TheArchitect(with_db)):
        yield driver, stats


def test_the_queue_is_sent_at_start_and_when_it_changes(ends, db):
    driver, stats = ends
    assert driver.take() == BuildQueue([CP311], [])
    assert stats.take() == BuildsPending({"cp311": 0, "any": 0})
    db.add_new_package("foo")
    db.add_new_package_version("foo", "1.0", NOW)
    db.add_new_package_version("foo", "0.9", NOW.replace(year=2025))
    rows = []
    while len(rows) < 2:
        rows = [row for rows in driver.take().rows for row in rows]
    assert [row[:4] for row in rows] == [("foo", which, *FIRST) for which in ("1.0", "0.9")]
    while stats.take() != BuildsPending({"cp311": 0, "any": 2}):
        pass


def test_many_changes_are_sent_once_a_second(ends, db):
    driver, _ = ends
    driver.take()
    db.add_new_package("foo")
    deadline = time.monotonic() + 2
    count = 0
    while time.monotonic() < deadline:
        db.add_new_package_version("foo", f"1.{count}", NOW)
        count += 1
    sent = 0
    while not driver.is_silent(1.2):
        rows = [row for rows in driver.take().rows for row in rows]
        sent += 1
    assert sent <= 4
    assert len(rows) == min(count, ROWS // 2)


def test_an_invalid_name_is_left_out_of_the_queue(ends, db):
    driver, _ = ends
    driver.take()
    for name in ("fine", "not fine", "-x"):
        db.add_new_package(name)
        db.add_new_package_version(name, "1.0", NOW)
    db.add_new_package_version("fine", "2.0 beta", NOW)
    rows = []
    while not rows or not driver.is_silent(1.2):
        rows = [row for rows in driver.take().rows for row in rows]
    assert [row[:2] for row in rows] == [("fine", "1.0")]


def test_the_architect_continues_without_receivers_and_database(
    make_config, db_dsn, running, monkeypatch
):
    monkeypatch.setattr("piwheels.master.the_architect.DB_TIMEOUT", 0.1)
    architect = TheArchitect(make_config(db_dsn))
    with running(architect):
        time.sleep(0.5)
        assert architect.is_alive()


def test_the_architect_reads_the_queue_again_soon_after_a_failure(
    with_db, other_end, running, monkeypatch
):
    monkeypatch.setattr("piwheels.master.the_architect.RETRY", 0.5)
    architect = TheArchitect(with_db)
    read, answers = architect.db.get_target_queue, iter([Unavailable("the database is away")])

    def fail_once(limit):
        for failure in answers:
            raise failure
        return read(limit)

    architect.db.get_target_queue = fail_once
    driver = other_end(with_db, "builds")
    with running(architect):
        assert driver.take() == BuildQueue([], [])


def test_many_targets_with_long_queues_fit(ends, db, superuser_dsn):
    driver, _ = ends
    driver.take()
    targets = [Target(f"linux_m{number}", "cp311") for number in range(60)]
    db.add_targets(targets)
    administer(
        superuser_dsn,
        "INSERT INTO build_queue SELECT 'p' || n, '1', t.platform, t.abi_tag, '', n"
        " FROM targets t, generate_series(1, 300) AS n",
    )
    rows = []
    while len(rows) < 61:
        rows = driver.take().rows
    assert {len(each) for each in rows} == {100}
