"""Clocks for tests, whose time steps and advances on request."""

from datetime import timedelta

from piwheels.core.clock import Clock

#: The steps that every part of the farm has to survive.
STEPS = [timedelta(minutes=10), timedelta(days=1), timedelta(hours=-1)]


class StepClock(Clock):
    """The machine's clock, moved by :meth:`step` and :meth:`advance`."""

    def __init__(self):
        super().__init__()
        self._stepped = timedelta(0)
        self._ahead = 0.0

    def step(self, by):
        """Step the wall clock, as NTP or an administrator does."""
        self._stepped += by

    def advance(self, seconds):
        """Let *seconds* pass, on all clocks."""
        self._ahead += seconds
        self._stepped += timedelta(seconds=seconds)

    def monotonic(self):
        return super().monotonic() + self._ahead

    def since_boot(self):
        return super().since_boot() + self._ahead

    def now(self):
        return super().now() + self._stepped


class FixedClock(Clock):
    """A clock that only the test moves."""

    def __init__(self):
        self.seconds = 1000.0

    def monotonic(self):
        return self.seconds

    def advance(self, seconds):
        self.seconds += seconds
