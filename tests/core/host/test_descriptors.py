"""The limit of file descriptors."""

import os
import resource
import socket

import pytest

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
        ((1024, 2**20), 2**18),
        ((2**19, 2**20), 2**19),
        ((1024, resource.RLIM_INFINITY), 2**18),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), resource.RLIM_INFINITY),
    ],
)
def test_the_limit_is_raised_as_far_as_allowed(limits, before, after):
    limits[:] = before
    descriptors.raise_limit()
    assert limits == [after, before[1]]


def test_descriptors_are_critical_before_the_last_is_used(limits, monkeypatch):
    for found, critical in ((768, False), (769, True)):
        monkeypatch.setattr(descriptors, "_in_use", lambda found=found: found)
        assert descriptors.are_critical() is critical
    limits[0] = resource.RLIM_INFINITY
    assert not descriptors.are_critical()


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
