"""The limit of file descriptors."""

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
    for found, scarce in ((100, False), (512, False), (513, True)):
        monkeypatch.setattr("os.listdir", lambda _, found=found: [""] * found)
        assert descriptors.are_scarce() is scarce
    limits[0] = resource.RLIM_INFINITY
    assert not descriptors.are_scarce()


def test_a_folder_that_cannot_be_opened_means_that_none_is_left(limits, monkeypatch):
    def fail(_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("os.listdir", fail)
    assert descriptors.are_scarce()


@pytest.mark.parametrize("kind", ["ipc", "tcp"])
def test_connections_of_an_address_are_counted(kind, limits, short_dir):
    if kind == "ipc":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(short_dir / "there"))
        listener.listen()
        address = f"ipc://{short_dir}/there"
    else:
        listener = socket.create_server(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    clients = [socket.socket(listener.family) for _ in range(3)]
    accepted = []
    assert descriptors.connections(address) == 0
    for client in clients:
        client.connect(listener.getsockname())
        accepted.append(listener.accept()[0])
    until(lambda: descriptors.connections(address) == 3)
    assert not descriptors.has_too_many(address)
    limits[0] = 32
    assert descriptors.has_too_many(address)
    for each in (*clients, *accepted, listener):
        each.close()
