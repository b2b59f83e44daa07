"""Telling systemd how we are (sd_notify(3)): ready, what we are at, alive, ending.

Without its variables in the environment nothing happens. They are taken out of it, so that no
process that we start takes them for its own.
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
    """Says to the service manager that *environ* names what it wants to hear.

    Have :meth:`feed_watchdog` called at least every :attr:`interval` seconds (``inf``: nobody watches).
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
        self._said = ""

    def ready(self, status: str) -> None:
        """Say that we have started, and what we are at."""
        self._said = status
        self._tell("READY=1", f"STATUS={_line(status)}")

    def status(self, status: str) -> None:
        """Say what we are at, if that is something new."""
        if status != self._said:
            self._said = status
            self._tell(f"STATUS={_line(status)}")

    def feed_watchdog(self) -> None:
        """Say that we are alive, if it is time for that."""
        now = SYSTEM.since_boot()  # the service manager does not stand still with us
        if self.interval < math.inf and now >= self._due:
            self._due = now + self.interval
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that we are ending."""
        self._tell("STOPPING=1", "STATUS=stopping")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except BlockingIOError:  # its queue is full: the next one counts as much
            logger.debug("systemd has no time for %s", lines[0])
        except OSError as exc:
            logger.warning(
                "cannot notify systemd at %r, and do not try again: %s", self._address, exc
            )
            self._address = ""


def _address(text: str) -> str:
    """Return where to send to; ``@`` stands for the abstract name space."""
    if text.startswith("@") and len(text) > 1:
        return "\0" + text[1:]
    if text and not text.startswith("/"):
        logger.warning("NOTIFY_SOCKET is %r, which is no address that we can notify", text)
    return text if text.startswith("/") else ""


def _line(text: str) -> str:
    return " ".join(text.split())[:500]
