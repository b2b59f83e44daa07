"""Steps of a clock, on this machine or on the master's, change no age and no state."""

from datetime import UTC, datetime, timedelta

import pytest

from console_stage import Stage, slave_info, slave_stats
from piwheels.console.clock import ConsoleClock
from piwheels.console.model.link import LinkState
from piwheels.console.model.slave import State
from piwheels.core.codec import NoData
from piwheels.core.protocols import Job, SlaveEvent

SECOND = timedelta(seconds=1)
STEPS = [timedelta(minutes=10), timedelta(days=1), -timedelta(hours=1)]


class FakeClock:
    """The clocks of a machine, moved by hand."""

    def __init__(self):
        self.passed = 0.0
        self.wall = datetime(2026, 11, 24, tzinfo=UTC)

    def monotonic(self):
        return self.passed

    def now(self):
        return self.wall

    def wait(self, seconds):
        self.passed += seconds
        self.wall += timedelta(seconds=seconds)


class BuildingFarm(Stage):
    """An attached session; twelve slaves build. *ahead*: the step of the master's clock."""

    def __init__(self, level, **how):
        super().__init__(level, **how)
        self.ahead = timedelta()
        for number in range(1, 13):
            self.join(number, label=f"rack1-{number:02}")
            self.build(number)

    def send(self, slave_id, message, data=None):
        at = self.now + getattr(self, "ahead", timedelta())
        self.master.say(SlaveEvent(slave_id, at, message, data))
        self.pump()

    def live(self, seconds):
        """Let time pass; each slave reports every ten seconds, as slaves do."""
        for second in range(seconds):
            self.wait()
            if second % 10 == 0:
                for number in range(1, 13):
                    sent = self.now + self.ahead - timedelta(milliseconds=5)
                    self.send(number, "STATS", slave_stats(sent))

    @property
    def states(self):
        return set(self.session.farm.counts())

    @property
    def ages(self):
        farm = self.session.farm
        return {farm.work(slave) for slave in farm.slaves.values()}


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_console_time_does_not_step(step):
    machine = FakeClock()
    clock = ConsoleClock(machine)
    began = clock()
    machine.wait(5)
    machine.wall += step
    machine.wait(5)
    assert clock() - began == 10 * SECOND


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_times_for_people_follow_the_wall_clock(step):
    machine = FakeClock()
    stage = Stage(wall=machine.now)
    noted = stage.now
    machine.wall = stage.now + step
    stage.wait(0)
    assert stage.session.shown(noted) == noted + step


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_step_of_the_master_s_clock(step, level):
    farm = BuildingFarm(level)
    farm.live(100)
    before, uptime = farm.ages, farm.session.farm.uptime(farm.now)
    joined = {farm.now - slave.appeared for slave in farm.session.farm.slaves.values()}
    farm.ahead = step
    farm.live(100)
    assert farm.states == {State.BUILD}
    assert {farm.now - slave.appeared for slave in farm.session.farm.slaves.values()} == {
        age + 100 * SECOND for age in joined
    }
    assert farm.session.farm.uptime(farm.now) == uptime + 100 * SECOND
    assert farm.ages == {age + 100 * SECOND for age in before}
    assert farm.session.state is LinkState.LIVE
    assert {slave.ratio for slave in farm.session.farm.slaves.values()} == {None}


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_events_right_after_a_step_of_the_master_s_clock(step):
    farm = BuildingFarm(1)
    farm.live(100)
    farm.ahead = step
    farm.send(1, "SEND", "a.whl")
    farm.wait(5)
    farm.send(1, "DONE", NoData)
    farm.send(2, "DONE", NoData)
    farm.wait(5)
    farm.send(2, "BUILD", Job("numpy", "2.0"))
    farm.wait(7)
    slaves = farm.session.farm.slaves
    assert (slaves[1].reported, slaves[2].job) == (State.CLEAN, ("numpy", "2.0"))
    assert slaves[1].builds[-1].duration == 100 * SECOND
    assert slaves[2].builds[-1].duration == 105 * SECOND
    assert farm.session.farm.work(slaves[2]) == 7 * SECOND
    assert farm.session.farm.rate(farm.now) > 0
    farm.session.farm.validate()


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_console_that_attaches_after_a_step_sees_no_dead_slave(step, monkeypatch):
    stage = Stage()
    old, new = stage.now - 50 * SECOND, stage.now + step
    replay = []
    for number in (1, 2):
        replay += [
            SlaveEvent(number, old, "HELLO", slave_info(f"rack1-{number:02}")),
            SlaveEvent(number, old, "BUILD", Job("numpy", "2.0")),
            SlaveEvent(number, new, "STATS", slave_stats(new)),
        ]
    answer = stage.master._answer

    def answers(msg, data):
        return (replay, "") if (msg, data) == ("SLAVES", 0) else answer(msg, data)

    monkeypatch.setattr(stage.master, "_answer", answers)
    stage.session.reattach()
    for _ in range(5):
        stage.wait()
    stage.master.say(SlaveEvent(1, new + 5 * SECOND, "STATS", slave_stats(new + 5 * SECOND)))
    stage.wait()
    assert stage.session.state is LinkState.LIVE
    assert set(stage.session.farm.counts()) == {State.BUILD}


def test_ages_after_a_console_was_suspended():
    farm = BuildingFarm(1)
    farm.live(100)
    farm.ahead = timedelta(hours=1)  # console time stood still for an hour
    farm.session.farm.redate()
    farm.live(1)
    assert farm.ages == {timedelta(hours=1, seconds=101)}
