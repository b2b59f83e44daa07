"""A farm model, and a fake master that sends it events."""

from datetime import UTC, datetime, timedelta

import pytest

from piwheels.console.model.farm import FarmModel
from piwheels.core.codec import NoData
from piwheels.core.protocols import BuildOutcome, Job, Lane, SlaveEvent
from piwheels.core.states import MasterInfo, MasterStats, SlaveInfo, SlaveStats

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


class FakeMaster:
    """Sends events to *farm*; *ahead*: console time minus the master's.

    With *past*, events are a replay. *sent* has all events so far.
    """

    def __init__(self, farm=None, ahead=timedelta()):
        self.farm, self.ahead, self.now, self.past = farm or FarmModel(), ahead, NOW, False
        self.sent = []
        self.send(MasterInfo(self.there - MINUTE, "farm.example", "Debian", "12", "d04170", "1"))

    @property
    def there(self):
        return self.now - self.ahead

    def send(self, event):
        self.sent.append(event)
        self.farm.fold(event, self.now, replay=self.past)

    def say(self, number, message, data=NoData, *, at=None):
        self.send(SlaveEvent(number, at or self.there, message, data))

    def wait(self, time):
        """Let time pass, one second per tick; the master keeps sending stats."""
        end = self.now + time
        while self.now < end:
            self.now = min(end, self.now + SECOND)
            self.farm.fold(self.master_stats(), self.now)
            self.farm.tick(self.now)
        return self.farm

    def hello(self, number, *, label=None, abi="cp311", serial="", at=None):
        label = f"rack-{number}" if label is None else label
        limits = timedelta(hours=3), 15 * MINUTE
        info = SlaveInfo(*limits, "311", abi, "linux_armv7l", label, "D", "12", "c03115", serial)
        self.say(number, "HELLO", info, at=at)
        return self.farm.slaves[number]

    def lanes(self, *numbers, label="board"):
        """Have the lanes of a host join together, and tell that they are lanes."""
        joined = [self.hello(number, label=label, serial="beef") for number in numbers]
        self.farm.tick(self.now)
        for lane, number in enumerate(numbers, 1):
            self.send(Lane(number, f"host of {label}", lane))
        return joined

    def stats(self, number, *, at=None, skew=timedelta(), **stats):
        known = dict.fromkeys(SlaveStats._fields, 0) | {"load_average": 0.0, "cpu_temp": 0.0}
        at = at or self.there
        self.say(number, "STATS", SlaveStats(**known | stats | {"timestamp": at + skew}), at=at)

    def build(self, number, package="numpy", version="1.0", *, at=None):
        self.say(number, "BUILD", Job(package, version), at=at)

    def finish(self, number, package="numpy", took=MINUTE, *, ok=True, files=1):
        """Run a build from its start to its end."""
        self.build(number, package)
        self.wait(took)
        for count in range(files if ok else 0):
            self.say(number, "SEND", f"{package}-1.0-{count}.whl")
        self.say(number, "DONE")
        self.wait(SECOND)

    def outcome(self, number, result, package="numpy", *, build_id=1, ended=None, took=MINUTE):
        slave = self.farm.slaves.get(number)
        label = slave.info.label if slave else ""
        about = build_id, number, label, package, "1.0", "cp311", result
        self.send(BuildOutcome(*about, took, 1 if result == "ok" else 0, ended or self.there))

    def master_stats(self, **stats):
        known = dict.fromkeys(MasterStats._fields, 0)
        known |= {"builds_last_hour": {}, "builds_pending": {}, "builds_time": timedelta()}
        return MasterStats(**known | {"timestamp": self.there} | stats)

    def entries(self):
        """Return the new journal entries, without times."""
        self.farm.tick(self.now)
        return [(entry.kind, entry.slave_id, entry.what) for entry in self.farm.take_entries()]


@pytest.fixture
def master():
    return FakeMaster()


@pytest.fixture
def new_master():
    return FakeMaster
