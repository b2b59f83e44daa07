"""Console time, by which a console measures all ages, limits and pauses."""

from __future__ import annotations

from datetime import datetime, timedelta

from piwheels.core.clock import SYSTEM, Clock


class ConsoleClock:
    """Console time: the date and time at the start, moved on by the monotonic clock.

    It is a :class:`~datetime.datetime` (aware, UTC), because a recording is replayed on the same
    scale, but it never steps: differences between two readings are monotonic. People read
    timestamps by the wall clock: see :meth:`piwheels.console.session.Session.shown`.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._start = clock.now()
        self._read = clock.monotonic()

    def __call__(self) -> datetime:
        """Return console time."""
        return self._start + timedelta(seconds=self._clock.monotonic() - self._read)
