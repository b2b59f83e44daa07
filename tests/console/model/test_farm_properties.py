"""The farm model with random events: it never raises, and keeps its invariants."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from piwheels.console.model.farm import FarmModel
from piwheels.console.model.slave import State
from piwheels.console.text import clean
from piwheels.core.codec import NoData
from piwheels.core.protocols import BuildOutcome, Job, SlaveEvent
from piwheels.core.states import MasterInfo, MasterStats, SlaveInfo, SlaveStats

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ALL_TIMES = st.datetimes(timezones=st.just(UTC))
TIMES = st.integers(-300, 300).map(lambda seconds: NOW + timedelta(seconds=seconds)) | ALL_TIMES
SPANS = st.timedeltas() | st.integers(0, 900).map(lambda seconds: timedelta(seconds=seconds))
COUNTS = st.integers(0, 2**63 - 1)
FLOATS = st.floats() | st.integers(0, 90).map(float)
IDS = st.integers(1, 4)
TEXTS = st.sampled_from(["numpy", "lxml", "\x1b[2J", "\u202e[red]", ""]) | st.text(max_size=8)
ABIS = st.sampled_from(["cp39", "cp311"])

STATS = st.builds(SlaveStats, TIMES, *[COUNTS] * 6, FLOATS, FLOATS)
INFOS = st.builds(SlaveInfo, SPANS, SPANS, *[ABIS] * 2, *[TEXTS] * 6, st.none())
JOBS = st.builds(Job, TEXTS, st.sampled_from(["1", "2"]))
PENDING = st.dictionaries(ABIS, COUNTS)
DATA = {
    "HELLO": INFOS, "STATS": STATS, "BUILD": JOBS, "SLEEP": st.booleans(), "SEND": TEXTS,
    "DONE": st.just(NoData), "DIE": st.just(NoData),
}  # fmt: skip
SLAVE_EVENTS = st.sampled_from(list(DATA)).flatmap(
    lambda message: st.builds(SlaveEvent, IDS, TIMES, st.just(message), DATA[message])
)
OUTCOMES = st.builds(
    BuildOutcome, st.none() | st.integers(1, 9), st.integers(0, 4), TEXTS, TEXTS,
    st.sampled_from(["1", "2"]), ABIS, st.sampled_from(["ok", "failed", "skipped"]), SPANS,
    COUNTS, TIMES, reason=st.sampled_from(["", "disk-full", "new class"]), subject=TEXTS,
    cause=TEXTS, retry_at=st.none() | TIMES,
)  # fmt: skip
MASTER_STATS = st.builds(
    MasterStats, TIMES, COUNTS, PENDING, SPANS, COUNTS, PENDING, *[COUNTS] * 11, FLOATS, FLOATS
)
MASTERS = st.builds(MasterInfo, st.sampled_from([NOW, NOW - timedelta(days=1)]), *[TEXTS] * 5)
EVENTS = SLAVE_EVENTS | SLAVE_EVENTS | SLAVE_EVENTS | OUTCOMES | MASTER_STATS | MASTERS
#: An event or (None) a second that passes; the delay before it; whether it is a replay.
STEPS = st.lists(st.tuples(EVENTS | st.none(), st.integers(-1, 400), st.booleans()), max_size=60)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_any_events(steps):
    """To draw the events takes longer than to fold them, so all properties share them."""
    any_events_keep_the_invariants(steps)
    a_repeated_replay_changes_nothing(steps)
    slaves_that_left_are_removed_after_a_while(steps)


def any_events_keep_the_invariants(steps):
    farm, now = FarmModel(), NOW
    farm.tick(now)
    for event, seconds, past in steps:
        now += timedelta(seconds=seconds)
        if event is None:
            farm.tick(now)
        else:
            farm.fold(event, now, replay=past)
        farm.validate()
    farm.tick(now)
    farm.validate()
    assert farm.counts().total() == len(farm.slaves)
    assert all(farm.elapsed(slave) >= timedelta() for slave in farm.slaves.values())
    assert all(entry.what == clean(entry.what) for entry in farm.take_entries())
    assert all(queue.pending >= 0 for queue in farm.queues(now, without=[1, 2]))
    farm.longest(2)
    farm.causes()
    other = FarmModel()
    for event in farm.as_events():
        other.fold(event, now, replay=True)
    assert other.slaves.keys() == farm.slaves.keys()


def a_repeated_replay_changes_nothing(steps):
    """A replay of all events leaves the farm unchanged."""
    farm, now = FarmModel(), NOW
    for event, seconds, past in steps:
        now += timedelta(seconds=abs(seconds) + 1)
        if isinstance(event, SlaveEvent):
            event = event._replace(timestamp=now)  # noqa: PLW2901 (the master's clock continues)
        elif isinstance(event, BuildOutcome):
            event = event._replace(ended=now)  # noqa: PLW2901
        if event is not None:
            farm.fold(event, now, replay=past)

    def looks():
        return {
            slave.id: (
                slave.reported, slave.since, slave.job, slave.job_since, slave.files, slave.joined,
                [one.timestamp for one in slave.stats], list(slave.timeline),
            )
            for slave in farm.slaves.values()
        }  # fmt: skip

    before = looks()
    for event in farm.as_events():
        farm.fold(event, now, replay=True)
    assert looks() == before


def slaves_that_left_are_removed_after_a_while(steps):
    farm, now = FarmModel(), NOW
    for event, _, past in steps:
        if event is not None:
            farm.fold(event, now, replay=past)
    stay = {slave.id for slave in farm.slaves.values() if slave.reported is not State.DEAD}
    stats = MasterStats(now, 0, {}, timedelta(), 0, {}, *[0] * 13)
    for seconds in (0, 14, 28, 42):
        now = NOW + timedelta(seconds=seconds)
        farm.fold(stats, now)
        farm.tick(now)
    assert farm.slaves.keys() == stay
