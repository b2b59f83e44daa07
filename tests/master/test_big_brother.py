"""BigBrother publishes what it was told, keeps it, and goes on without the database."""

import time
from datetime import timedelta

import pytest
import zmq

from piwheels.core.protocols import monitor_stats
from piwheels.core.transport import Context
from piwheels.master.big_brother import HISTORY, BigBrother
from piwheels.master.wiring import big_brother


@pytest.fixture
def consoles(other_end):
    return lambda config: other_end(zmq.PULL, config.events_queue, reversed(monitor_stats))


@pytest.fixture
def tell(make_config):
    with Context().socket(zmq.PUSH, reversed(big_brother)) as socket:

        def to(config, msg, *data):
            if not socket.address:
                socket.connect(config.stats_queue)
            socket.send_msg(msg, *data)

        yield to


def figures(consoles):
    msg, stats = consoles.take()
    assert msg == "STATS"
    return stats


def test_the_databases_figures_are_published(with_db, db, consoles, running, build_of):
    ends = consoles(with_db)
    db.add_build_abi("cp311")
    db.add_new_package("foo")
    db.add_new_package_version("foo", "1.0")
    db.add_new_package_version("foo", "2.0")
    db.log_build(build_of("foo", "1.0"))
    with running(BigBrother(with_db)):
        stats = figures(ends)
    assert stats.builds_pending == {"cp311": 1}
    assert stats.builds_last_hour == {"cp311": 1}
    assert stats.builds_time == timedelta(seconds=1)
    assert stats.disk_size > stats.disk_free > 0
    assert stats.mem_size > stats.mem_free > 0


def test_what_other_tasks_tell_is_published(make_config, consoles, tell, running, other_end):
    config = make_config(dev_mode=True)
    ends = consoles(config)
    web = other_end(zmq.ROUTER, config.web_queue)
    with running(BigBrother(config)):  # nobody answers for the database
        tell(config, "STATFS", [1000, 10])
        tell(config, "STATBQ", {"cp311": 7})
        tell(config, "LOGDOWNLOAD", 3)
        tell(config, "LOGDOWNLOAD", 4)
        tell(config, "HELLO")
        stats = figures(ends)
        assert (stats.disk_size, stats.disk_free) == (1000, 10)
        assert stats.builds_pending == {"cp311": 7}
        assert stats.downloads_all == 7
        tell(config, "HOME")
        msg, data = web.take()
        assert msg == "HOME"
        assert data["downloads_all"] == 7


def test_a_console_that_attaches_sees_what_was(make_config, consoles, running):
    config = make_config(dev_mode=True)
    ends = consoles(config)
    watcher = BigBrother(config)
    with running(watcher):
        first = figures(ends)
        watcher.replay()
        replayed = [figures(ends) for _ in range(2)]
    assert replayed[0] == first
    assert replayed[1].timestamp > first.timestamp
    assert watcher.history.maxlen == HISTORY


def test_it_goes_on_when_nobody_takes_the_figures(make_config, running, tell):
    config = make_config(dev_mode=True)
    watcher = BigBrother(config)
    with running(watcher):
        for _ in range(50):
            tell(config, "HELLO")
        time.sleep(0.5)
        assert watcher.is_alive()
