"""Notifications to systemd, and none without it."""

import math
import os
import socket

import pytest

from piwheels.core.program.systemd import Notifier


@pytest.fixture
def ear(tmp_path):
    """A socket that hears as systemd does, and its address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(5)
        yield heard, str(tmp_path / "notify")


def silent(heard):
    heard.setblocking(False)
    try:
        return heard.recv(1000) == b""
    except BlockingIOError:
        return True
    finally:
        heard.settimeout(5)


def test_without_systemd_nothing_happens():
    notifier = Notifier({})
    notifier.ready("running")
    notifier.feed_watchdog()
    notifier.stopping()
    assert notifier.interval == math.inf


def test_notifications_of_the_program(ear):
    heard, address = ear
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "PATH": "/bin"}
    notifier = Notifier(environ)
    assert environ == {"PATH": "/bin"}, "what we start must not take it for its own"
    assert notifier.interval == 30
    notifier.ready("running")
    assert heard.recv(1000) == b"READY=1\nSTATUS=running"
    notifier.status("running")
    notifier.status("building six\nWATCHDOG=1")
    assert heard.recv(1000) == b"STATUS=building six WATCHDOG=1"
    notifier.feed_watchdog()
    notifier.feed_watchdog()
    assert heard.recv(1000) == b"WATCHDOG=1"
    notifier.stopping()
    assert heard.recv(1000).startswith(b"STOPPING=1\n")
    assert silent(heard), "beaten more often than every half of the time"


def test_an_abstract_address():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0piw-test-{os.getpid()}")
        heard.settimeout(5)
        Notifier({"NOTIFY_SOCKET": f"@piw-test-{os.getpid()}"}).ready("x")
        assert heard.recv(1000) == b"READY=1\nSTATUS=x"


@pytest.mark.parametrize(
    ("usec", "pid", "interval"),
    [
        ("2000000", "", 1),
        ("2000000", "ours", 1),
        ("2000000", "1", math.inf),
        ("0", "", math.inf),
        ("-5", "", math.inf),
        ("soon", "", math.inf),
        ("", "", math.inf),
    ],
)
def test_whether_the_watchdog_applies(ear, usec, pid, interval):
    heard, address = ear
    pid = str(os.getpid()) if pid == "ours" else pid
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    notifier = Notifier(environ)
    assert notifier.interval == interval
    notifier.feed_watchdog()
    assert silent(heard) == (interval == math.inf)


@pytest.mark.parametrize("address", ["vsock:2:1234", "@", "relative", "/nowhere/notify"])
def test_an_unreachable_listener_is_reported_once(address, caplog):
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.ready("running")
    notifier.status("other")
    assert len(caplog.records) == 1
    assert address in caplog.text


def test_a_listener_that_does_not_read_does_not_block(ear):
    _, address = ear
    notifier = Notifier({"NOTIFY_SOCKET": address})
    for number in range(2000):
        notifier.status(str(number))
