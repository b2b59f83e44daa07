"""The simulated farm: its events follow the protocol, and commands take effect."""

import pickle
from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piwheels.console.simulate.buildlog import build_log
from piwheels.console.simulate.hostile import frames
from piwheels.console.simulate.server import NAMES
from piwheels.console.simulate.world import KEPT_STATS, REPLAYED, World
from piwheels.core import codec
from piwheels.core.codec import NoData
from piwheels.core.errors import BadMessage, Refused
from piwheels.core.protocols import (
    BuildOutcome,
    CommandReport,
    FailuresAsked,
    Job,
    Output,
    RetryAsked,
    SlaveEvent,
    console,
    monitor_stats,
)
from piwheels.core.states import MasterInfo, MasterStats, Phase

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def check(events):
    """Send *events* over a wire and back: they must be valid and unchanged."""
    for event in events:
        name = NAMES[type(event)]
        of_status = isinstance(event, (MasterInfo, MasterStats, SlaveEvent))
        wire = reversed(monitor_stats if of_status else console)
        assert wire.received(*codec.loads(codec.dumps(name, event))) == event


def live(world, seconds, turns=20, now=NOW):
    events = []
    for turn in range(1, turns + 1):
        events += world.step(now + timedelta(seconds=seconds * turn / turns))
    return events, now + timedelta(seconds=seconds)


def replies_to(events, number):
    events_ = [each for each in events if isinstance(each, SlaveEvent) and each.slave_id == number]
    return [(each.message, each.data) for each in events_]


commands = st.lists(
    st.tuples(
        st.sampled_from(("KILL", "SLEEP", "SKIP", "WAKE")),
        st.none() | st.lists(st.integers(0, 10), max_size=5),
        st.floats(0, 400),
    ),
    max_size=8,
)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10**6), commands=commands, hosts=st.integers(0, 4), hostile=st.booleans()
)
def test_all_events_follow_the_protocol(seed, commands, hosts, hostile):
    world = World(6, seed, NOW, hosts=hosts, pace=4, hostile=hostile)
    now, after = NOW, None
    for verb, slaves, seconds in commands:
        events, now = live(world, seconds, now=now)
        check(events)
        rejections = world.command(verb, slaves, "dave", now)
        assert {one.slave_id for one in rejections} <= set(slaves or ())
        after = world.replay(0, 10_000, now)
        check(after)
        assert {event.slave_id for event in after} == set(world.slaves)
    moments = [
        event.timestamp for event in live(world, 60, now=now)[0] if type(event) is SlaveEvent
    ]
    assert moments == sorted(moments)


def test_the_same_seed_gives_the_same_events():
    lives = [live(World(30, 7, NOW, hosts=4), 600)[0] for _ in range(2)]
    assert lives[0] == lives[1] != live(World(30, 8, NOW, hosts=4), 600)[0]


def test_a_farm_builds():
    events, _ = live(World(50, 1, NOW, pace=4), 900)
    results = Counter(each.result for each in events if isinstance(each, BuildOutcome))
    assert results["ok"] > results["failed"] > 5
    messages = Counter(each.message for each in events if isinstance(each, SlaveEvent))
    assert messages["HELLO"] > 50, "no slave has joined again"
    assert messages["DIE"] > 0
    assert messages["STATS"] > messages["BUILD"] > messages["SEND"] > 0
    # each slave sends stats every 5 to 10 s, four times as fast here
    assert 50 * 900 * 4 / 11 < messages["STATS"] + messages["SLEEP"] < 50 * 900 * 4 / 4


def test_the_past_has_builds_and_stats():
    world = World(50, 1, NOW - timedelta(hours=1))
    world.live_until(NOW)
    assert len(world.builds) > 100
    assert world.stats[-1].timestamp > NOW - timedelta(seconds=11)
    assert sum(world.stats[-1].builds_last_hour.values()) > 100
    events, _ = live(world, 30)
    alive = {each.slave_id for each in events if isinstance(each, SlaveEvent)}
    assert len(alive) > 40, "building slaves send stats"


def a_slave(world, **how):
    """Return a slave without faults that builds, or does not."""
    return next(
        slave
        for slave in world.slaves.values()
        if (slave.work is not None and not slave.sends) == how["builds"]
        and slave.vanishes_at is None
        and not slave.sends
    )


@pytest.fixture(scope="module")
def stored_world():
    made = World(60, 3, NOW - timedelta(minutes=20))
    made.live_until(NOW)
    return pickle.dumps(made)


@pytest.fixture
def world(stored_world):
    return pickle.loads(stored_world)  # noqa: S301


def test_skip_ends_a_build(world):
    slave = a_slave(world, builds=True)
    work = slave.work
    assert world.command("SKIP", [slave.number], "dave", NOW) == []
    events, _ = live(world, 12)
    outcome = next(
        each for each in events if isinstance(each, BuildOutcome) and each.result == "skipped"
    )
    assert (outcome.build_id, outcome.package, outcome.files) == (None, work.job.package, 0)
    assert ("DONE", NoData) in replies_to(events, slave.number)
    assert CommandReport("dave", "SKIP", [slave.number], NOW) in events


def test_skip_of_an_idle_slave_is_rejected(world):
    world.command("SLEEP", None, "dave", NOW)
    _, now = live(world, 7200)
    idle = a_slave(world, builds=False)
    rejections = world.command("SKIP", [idle.number, 9999], "dave", now)
    assert [(one.slave_id, one.why) for one in rejections] == [
        (idle.number, "not building"),
        (9999, "no such slave"),
    ]
    assert world.command("SKIP", None, "dave", now) == []


def test_kill_waits_for_the_end_of_the_build(world):
    slave = a_slave(world, builds=True)
    left = (slave.work.until - NOW).total_seconds()
    world.command("KILL", [slave.number], "dave", NOW)
    events, now = live(world, left - 1)
    assert "DIE" not in dict(replies_to(events, slave.number))
    events, _ = live(world, 60, now=now)
    assert replies_to(events, slave.number)[-1] == ("DIE", NoData)
    assert slave.number not in world.slaves


def test_wake_withdraws_all_commands(world):
    slave = a_slave(world, builds=True)
    for verb in ("KILL", "SLEEP", "SKIP", "WAKE"):
        world.command(verb, [slave.number], "dave", NOW)
    left = (slave.work.until - NOW).total_seconds()
    events, _ = live(world, left + 100)
    events_ = [message for message, _ in replies_to(events, slave.number) if message != "STATS"]
    assert "DIE" not in events_
    assert ("SLEEP", True) not in replies_to(events, slave.number)


def test_a_pause_of_one_slave_does_not_pause_the_farm(world):
    slave = a_slave(world, builds=False)
    world.command("SLEEP", [slave.number], "dave", NOW)
    events, now = live(world, 15)
    assert ("SLEEP", True) in replies_to(events, slave.number)
    assert not world.paused
    world.command("SLEEP", None, "dave", now)
    events, now = live(world, 600, now=now)
    assert world.paused
    begun = [each for each in events if isinstance(each, SlaveEvent) and each.message == "BUILD"]
    assert not begun


def test_a_restart_renumbers_the_slaves(world):
    before = world.info
    world.restart(NOW)
    assert world.info.started == NOW != before.started
    assert not world.slaves
    live(world, 60)
    assert sorted(world.slaves)[0] == 1
    assert len(world.slaves) >= 55


def test_a_replay_repeats_the_events(world):
    events, now = live(world, 60)
    again = {
        (each.slave_id, each.data)
        for each in world.replay(0, 10**6, now)
        if each.message == "STATS"
    }
    events_ = {
        (each.slave_id, each.data)
        for each in events
        if isinstance(each, SlaveEvent)
        and each.message == "STATS"
        and (slave := world.slaves.get(each.slave_id)) is not None
        and slave.work is not None
        and slave.work.since < NOW
        and not slave.sends
    }
    assert len(events_) > 100
    same = sum(one in again for one in events_)
    assert same > len(events_) * 0.95


def test_history_has_the_last_transitions(world):
    events, _ = live(world, 1200, turns=200)
    number = next(
        each.slave_id for each in reversed(events) if getattr(each, "message", "") == "SEND"
    )
    history = world.history(number)
    assert history == sorted(history, key=lambda one: one.when)
    assert {"idle", "building", "sending"} <= {one.state for one in history} <= set(Phase)
    assert any(one.cause.startswith("IDLE: BUILD ") for one in history)
    assert world.history(9999) is None


def test_replays_of_large_farms_are_limited():
    world = World(1000, 1, NOW)
    _, now = live(world, 180, turns=2)
    events = world.replay(0, 10**6, now)
    stats = Counter(each.slave_id for each in events if each.message == "STATS")
    assert max(stats.values()) <= REPLAYED // len(world.slaves) + 1 < KEPT_STATS
    page = world.replay(100, 50, now)
    assert page[0].slave_id == 101
    assert len(page) <= 50
    assert world.replay(10**6, 50, now) == []


def test_output_of_a_watched_build(world):
    slave = a_slave(world, builds=True)
    first = world.watch(slave.number, NOW)
    work = slave.work
    left = (work.until - NOW).total_seconds()
    events, _ = live(world, left + 20, turns=200)
    parts = [each for each in events if isinstance(each, Output) and each[1:3] == work.job]
    check(parts)
    text = first.text
    for part in parts:
        assert part.offset == len(text)
        text += part.text
    ended = next(
        each for each in events if isinstance(each, BuildOutcome) and each[1] == slave.number
    )
    assert world.log(ended.build_id) == text
    assert world.watch(9999, NOW) is None


def test_a_log_is_always_the_same():
    log = build_log(17, "numpy", "2.3.4", ok=False, hostile=False)
    assert log == build_log(17, "numpy", "2.3.4", ok=False, hostile=False)
    assert log.length_at(-1) == 0
    assert log.length_at(0.5) < log.length_at(1) == len(log.text)
    assert "Failed building wheel for numpy" in log.text
    assert log.text.isascii() or "━" in log.text


def test_hostile_frames_break_the_protocol():
    wire = reversed(monitor_stats)
    refused = 0
    source = frames(Random(1))  # noqa: S311
    for _ in range(500):
        try:
            wire.received(*codec.loads(next(source)))
        except BadMessage:
            refused += 1
    assert refused == 500


def test_the_lanes_of_a_host_build_for_several_targets_and_share_its_machine():
    world = World(0, 1, NOW, hosts=4, pace=10)
    events, now = live(world, 900)
    lanes = world.answer("HOSTS", 0)
    assert Counter(Counter(lane.host for lane in lanes).values()) == {4: 1, 3: 1, 2: 1}
    assert len(world.slaves) == 10, "one host has a single lane, which is none"
    assert world.answer("HOSTS", lanes[0].slave_id) == lanes[1:]
    hellos = [each for each in events if type(each) is SlaveEvent and each.message == "HELLO"]
    targets = Counter((each.slave_id, each.data.native_abi) for each in hellos)
    assert max(Counter(number for number, _ in targets).values()) > 1
    first, *others = (world.slaves[one.slave_id] for one in lanes if one.host == lanes[0].host)
    assert {slave.stats(now) for slave in others} == {first.stats(now)}


def test_failures_are_counted_and_tried_again():
    world = World(30, 3, NOW - timedelta(hours=6))
    world.live_until(NOW)
    counts = world.answer("FAILURES", 7)
    failed = [one for one in world.builds if one.result == "failed"]
    assert sum(one.builds for one in counts) == len(failed) > 5
    assert {one.counts for one in failed} == {True, False}
    assert all(one.cause in world.log(one.build_id) for one in failed)
    chosen = FailuresAsked(7, *counts[0][:2])
    builds = world.answer("FAILED", chosen)
    assert len(builds) == counts[0].builds == world.answer("RETRY", RetryAsked(chosen, True))
    before = world.answer("QUEUE", 1)
    assert world.answer("RETRY", RetryAsked(chosen, False)) == len(builds)
    after = world.answer("QUEUE", 1)
    assert sum(one.pending for one in after) - sum(one.pending for one in before) == len(builds)
    assert world.answer("FAILED", chosen) == []
    assert world.answer("RETRY", Job(failed[-1].package, "none")) == 0


def test_a_version_is_put_first():
    world = World(4, 1, NOW)
    live(world, 60)
    head = next(head for head in world.answer("QUEUE", 9) if len(head.first) > 4)
    world.answer("FIRST", head.first[4])
    after = {one.abi: one for one in world.answer("QUEUE", 1)}
    assert after[head.abi].first == [head.first[4]]
    with pytest.raises(Refused, match="does not wait"):
        world.answer("FIRST", Job("nothing", "1.0"))


def test_targets_and_positions_are_those_of_the_queues():
    world = World(4, 1, NOW, hosts=2)
    live(world, 60)
    targets = world.answer("TARGETS", NoData)
    assert {one.abi: one.pending for one in targets if one.slaves} == {
        head.abi: head.pending for head in world.answer("QUEUE", 1)
    }
    assert [one.platform for one in targets if one.waits_since] == ["linux_riscv64"]
    head = next(head for head in world.answer("QUEUE", 9) if len(head.first) > 4)
    places = world.answer("POSITION", head.first[4])
    assert {(one.place, one.of) for one in places if one.abi == head.abi} == {(5, head.pending)}
