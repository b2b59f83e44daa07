"""BigBrother publishes and keeps statistics, and continues without the database."""

import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from clocks import STEPS, StepClock
from helpers import Connected
from piwheels.core.database.dsn import administer
from piwheels.core.states import DownloadState
from piwheels.master.big_brother import HISTORY, LIST_AT_LEAST, BigBrother
from piwheels.master.messages import (
    BuildsPending,
    DiskSpace,
    DownloadsCounted,
    PublishStats,
    RefreshHome,
    WriteHome,
    WriteSearch,
)


@pytest.fixture
def consoles(other_end):
    return lambda config: other_end(config, "events")


@pytest.fixture
def push_to():
    with ExitStack() as stack:
        yield lambda config: stack.enter_context(Connected(config, "stats")).push


def next_stats(consoles):
    msg, stats = consoles.take()
    assert msg == "STATS"
    return stats


def query_database(watcher):
    """Make *watcher* request the database's statistics and process the answer."""
    watcher.request_statistics()
    watcher.ports.finish("database", 10)
    assert not watcher._requested


def test_statistics_of_the_database_are_published(with_db, db, consoles, running, build_of):
    ends = consoles(with_db)
    db.add_build_abi("cp311")
    db.add_new_package("foo")
    db.add_new_package_version("foo", "1.0")
    db.add_new_package_version("foo", "2.0")
    db.log_build(build_of("foo", "1.0"))
    with running(BigBrother(with_db)):
        stats = next_stats(ends)
    assert stats.builds_pending == {"cp311": 0, "any": 1}
    assert stats.builds_last_hour == {"cp311": 1}
    assert stats.builds_time == timedelta(seconds=1)
    assert stats.disk_size > stats.disk_free > 0
    assert stats.mem_size > stats.mem_free > 0


def test_each_statistic_matches_the_rows_in_the_database(
    with_db, db, superuser_dsn, consoles, build_of
):
    """Each value of the statistics, compared with the rows that the test inserted."""
    ends = consoles(with_db)
    for tag, skip in (("cp39", ""), ("cp311", ""), ("cp310", "not now")):
        db.add_build_abi(tag, skip)
    now = datetime.now(UTC)
    for package, version, age in (
        ("foo", "1.0", timedelta(days=400)), ("foo", "2.0", timedelta(minutes=59)),
        ("bar", "1.0", timedelta(minutes=61)), ("bar", "2.0", -timedelta(minutes=5)),
        ("baz", "1.0", timedelta(seconds=1)),
    ):  # fmt: skip
        db.add_new_package(package)
        db.add_new_package_version(package, version, now - age)
    for build in (build_of("foo", "1.0", "none"), build_of("bar", "1.0", "none")):
        db.log_build(build)
    failed = build_of("foo", "2.0")
    failed.abi_tag = "cp39"
    db.log_build(failed)
    old = "UPDATE builds SET built_at = now() - interval '61 minutes' WHERE package = 'bar'"
    administer(superuser_dsn, old)
    wheel = "foo-1.0-py3-none-any.whl"
    for age in (0, 58, 62, 29 * 1440, 31 * 1440):
        when = now - timedelta(minutes=age)
        db.log_download(DownloadState(wheel, "::1", when, *[None] * 10))
        db.log_download(DownloadState("unknown.whl", "::1", when, *[None] * 10))
    db.log_download(DownloadState(wheel + ".metadata", "::1", now, *[None] * 10))
    watcher = BigBrother(with_db)
    try:
        query_database(watcher)
        stats = next_stats(ends)
    finally:
        watcher.close()
    assert stats.packages_built == 2
    assert stats.builds_last_hour == {"cp39": 1, "cp311": 1}
    assert stats.builds_time == timedelta(seconds=3)
    assert stats.builds_size == 18
    assert stats.builds_pending == {"cp39": 0, "cp311": 1, "any": 2}
    assert stats.new_last_hour == 2
    assert stats.files_count == 2
    assert stats.downloads_last_hour == 2
    assert stats.downloads_last_month == 4
    assert stats.downloads_all == 5
    assert abs(stats.timestamp - datetime.now(UTC)) < timedelta(seconds=30)
    assert stats.swap_size >= stats.swap_free >= 0
    assert stats.load_average >= 0


def test_the_package_list_is_written_when_it_may_have_changed(with_db, db, consoles, other_end):
    consoles(with_db)
    web = other_end(with_db, "web")
    watcher = BigBrother(with_db)
    clock = watcher.clock = StepClock()

    def publish():
        """Publish the statistics once; return the types of the requests to TheSecretary."""
        watcher._home_due = 0.0
        query_database(watcher)
        asked = []
        while web.socket.poll(0.1):
            asked.append(type(web.take()))
        return asked

    try:
        assert publish() == [WriteHome, WriteSearch]
        assert publish() == [WriteHome]
        db.add_build_abi("cp311")
        db.add_new_package("foo")
        db.add_new_package_version("foo", "1.0")
        assert publish() == [WriteHome, WriteSearch]
        for step in STEPS:
            clock.step(step)
            assert publish() == [WriteHome]
        clock.advance(LIST_AT_LEAST)
        assert publish() == [WriteHome, WriteSearch]
        assert publish() == [WriteHome]
    finally:
        watcher.close()


def test_statistics_from_other_tasks_are_published(
    make_config, consoles, push_to, running, other_end
):
    config = make_config(dev_mode=True)
    ends = consoles(config)
    web = other_end(config, "web")
    with running(BigBrother(config)):  # no database answers
        push = push_to(config)
        push(DiskSpace(1000, 10))
        push(BuildsPending({"cp311": 7}))
        push(DownloadsCounted(3))
        push(DownloadsCounted(4))
        push(PublishStats())
        stats = next_stats(ends)
        assert (stats.disk_size, stats.disk_free) == (1000, 10)
        assert stats.builds_pending == {"cp311": 7}
        assert stats.downloads_all == 7
        push(RefreshHome())
        assert web.take().stats["downloads_all"] == 7


def test_a_new_console_receives_the_history(make_config, consoles, running, push_to):
    config = make_config(dev_mode=True)
    ends = consoles(config)
    watcher = BigBrother(config)
    with running(watcher):
        first = next_stats(ends)
        push_to(config)(PublishStats())
        replayed = [next_stats(ends) for _ in range(2)]
    assert replayed[0] == first
    assert replayed[1].timestamp > first.timestamp
    assert watcher.history.maxlen == HISTORY


def test_big_brother_continues_when_no_task_receives_statistics(make_config, running, push_to):
    config = make_config(dev_mode=True)
    watcher = BigBrother(config)
    with running(watcher):
        push = push_to(config)
        for _ in range(50):
            push(PublishStats())
        time.sleep(0.5)
        assert watcher.is_alive()
