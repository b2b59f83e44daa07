"""Notifies systemd of a service's state (sd_notify(3)): ready, its status, alive, stopping.

It does nothing unless the environment has systemd's variables. It removes them from the
environment, so that child processes do not notify systemd as well.
"""

from __future__ import annotations

import faulthandler
import logging
import math
import os
import socket
import sys
from typing import TYPE_CHECKING, Final

from piwheels.core.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import MutableMapping

logger = logging.getLogger("systemd")

_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Sends notifications to the socket that *environ* names in ``NOTIFY_SOCKET``.

    Call :meth:`feed_watchdog` at least every :attr:`interval` seconds (``inf``: no watchdog).
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        found = {name: environ.pop(name, "") for name in _VARIABLES}
        self._address = _address(found["NOTIFY_SOCKET"])
        self.interval = math.inf
        usec, pid = found["WATCHDOG_USEC"], found["WATCHDOG_PID"]
        if self._address and usec.isdecimal() and int(usec) and pid in {"", str(os.getpid())}:
            self.interval = int(usec) / 2_000_000
            if sys.__stderr__ is not None:
                faulthandler.enable(sys.__stderr__)  # the watchdog's SIGABRT shows every thread
        self._due = -math.inf
        self._status = ""

    def ready(self, status: str) -> None:
        """Report that the service has started, with its *status* (one line for people)."""
        self._status = status
        self._notify("READY=1", f"STATUS={_line(status)}")

    def status(self, status: str) -> None:
        """Report *status*, if it has changed."""
        if status != self._status:
            self._status = status
            self._notify(f"STATUS={_line(status)}")

    def feed_watchdog(self) -> None:
        """Report that the service is alive; does nothing if the last report is recent."""
        now = SYSTEM.since_boot()  # systemd also counts time in which this process is suspended
        if self.interval < math.inf and now >= self._due:
            self._due = now + self.interval
            self._notify("WATCHDOG=1")

    def stopping(self) -> None:
        """Report that the service is stopping."""
        self._notify("STOPPING=1", "STATUS=stopping")

    def _notify(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except BlockingIOError:  # its queue is full: a later notification will do
            logger.debug("systemd does not accept %s now", lines[0])
        except OSError as exc:
            logger.warning("cannot notify systemd at %r, not trying again: %s", self._address, exc)
            self._address = ""


def _address(text: str) -> str:
    """Return the address of the socket *text*; ``@`` stands for the abstract namespace."""
    if text.startswith("@") and len(text) > 1:
        return "\0" + text[1:]
    if text and not text.startswith("/"):
        logger.warning("NOTIFY_SOCKET is %r, which is not a valid address", text)
    return text if text.startswith("/") else ""


def _line(text: str) -> str:
    return " ".join(text.split())[:500]
