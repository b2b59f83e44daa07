"""The limit of file descriptors."""

import os
import resource
import socket

import pytest

from helpers import until
from piwheels.core.host import descriptors


@pytest.fixture
def limits(monkeypatch):
    """The soft and the hard limit, which a test may change."""
    made = [1024, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(made))
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: made.__setitem__(slice(2), new))
    return made


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1024, 4096), 4096),
        ((1024, 2**20), 2**16),
        ((2**17, 2**20), 2**17),
        ((1024, resource.RLIM_INFINITY), 2**16),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), resource.RLIM_INFINITY),
    ],
)
def test_the_limit_is_raised_as_far_as_allowed(limits, before, after):
    limits[:] = before
    descriptors.raise_limit()
    assert limits == [after, before[1]]


def test_descriptors_are_scarce_before_the_last_is_used(limits, monkeypatch):
    for found, scarce, critical in ((640, False, False), (641, True, False), (769, True, True)):
        monkeypatch.setattr(descriptors, "_in_use", lambda found=found: found)
        assert (descriptors.are_scarce(), descriptors.are_critical()) == (scarce, critical)
    limits[0] = resource.RLIM_INFINITY
    assert not descriptors.are_scarce()


def test_the_open_descriptors_are_counted(monkeypatch):
    before = descriptors._in_use()
    with socket.socket(), socket.socket():
        assert descriptors._in_use() == before + 2
    monkeypatch.setattr(descriptors.Path, "stat", lambda _: os.stat_result([0] * 10))  # before 6.2
    assert before <= descriptors._in_use() <= before + 1  # the folder itself

    def fail(_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(descriptors.Path, "stat", fail)
    assert descriptors._in_use() > 10**9


def test_a_low_limit_is_checked_more_often(limits):
    intervals = []
    for limits[0] in (100, 4096, 2**16, resource.RLIM_INFINITY):
        intervals.append(descriptors.check_interval())
    assert intervals == [0.01, pytest.approx(0.05, rel=0.1), 0.25, 0.25]


def test_all_limits_together_leave_descriptors(limits):
    local = 7 * 3 * descriptors.most_local_connections()  # seven addresses, three for each
    assert local + 2 * descriptors._TOO_MANY * limits[0] < descriptors._SCARCE * limits[0]


def test_connections_of_an_address_are_counted(limits):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        clients = [socket.socket() for _ in range(3)]
        accepted = []
        assert descriptors.connections(address) == 0
        for client in clients:
            client.connect(listener.getsockname())
            accepted.append(listener.accept()[0])
        until(lambda: descriptors.connections(address) == 3)
        assert not descriptors.has_too_many(address)
        limits[0] = 32
        assert descriptors.has_too_many(address)
        for each in (*clients, *accepted):
            each.close()
