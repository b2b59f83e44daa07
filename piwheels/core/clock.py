"""The clocks of a process: one for decisions, one for the timestamps that people read.

Limits, leases, silences, retries and schedules use :meth:`Clock.monotonic`. A step of the machine's
clock (NTP, an administrator) does not move it. It stands still while the process is suspended
(``SIGSTOP``, a laptop that sleeps): a process that did not run heard nobody, so the silence of its
peers does not count. :meth:`Clock.now` is for timestamps only; no decision depends on it.

Code takes its clock as a parameter; :data:`SYSTEM` is the default. This is the only module that
reads the clocks of the standard library (the linter forbids it everywhere else).
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Final

#: The longest time between two readings that counts, in seconds. Every loop reads the clock at
#: least once a second, so a longer gap means that the process was suspended (or starved).
MAX_GAP: Final = 5.0


class Clock:
    """The machine's clocks, as one process sees them. Safe to read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read = time.monotonic()
        self._suspended = 0.0

    def monotonic(self) -> float:
        """Return the seconds for which this process has run, from an arbitrary start."""
        with self._lock:
            read = time.monotonic()
            self._suspended += max(0.0, read - self._read - MAX_GAP)
            self._read = read
            return read - self._suspended

    def since_boot(self) -> float:
        """Return the seconds since the machine booted, suspended or not.

        It tells for how long *others* have heard nothing from this process.
        """
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def now(self) -> datetime:
        """Return the date and time in UTC, for people to read."""
        return datetime.now(UTC)


def file_age(timestamp: float) -> float:
    """Return the age in seconds of a file with this *timestamp* (``st_mtime``, ``st_ctime``).

    File systems know only wall-clock time. After a step backwards a file may seem to come from the
    future: its age is the difference all the same, so that it does not stay new for ever.
    """
    return abs(time.time() - timestamp)


#: The clock of this process.
SYSTEM: Final = Clock()
