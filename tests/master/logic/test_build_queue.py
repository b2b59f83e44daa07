"""The build queue hands out each build once, and what excludes another one after it."""

from __future__ import annotations

from datetime import timedelta
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.core.states import Instant, Pending
from piwheels.core.targets import FIRST, Target
from piwheels.master.logic.build_queue import MAX_QUEUE_AGE, Queue
from slave_messages import START

ARM39, ARM311 = Target("linux_armv7l", "cp39"), Target("linux_armv7l", "cp311")
INTEL311, ANY311 = Target("linux_x86_64", "cp311"), Target("any", "cp311")
TARGETS = (ARM39, ARM311, INTEL311)
NOW = Instant(1000.0, START)


def row(package, target=FIRST, exclusive="version", due=0, **about):
    return Pending(package, "1", *target, exclusive, due, **about)


def queue_of(*rows, targets=TARGETS):
    queue = Queue()
    queue.replace(targets, rows, NOW)
    return queue


def take(queue, *targets, now=NOW.now):
    """Hand out the next build; return its package and target."""
    found = queue.next(targets, now)
    if found is not None:
        queue.start(found)
    return found and (found[0], found[2])


def test_a_version_without_builds_begins_once_with_any_target():
    queue = queue_of(row("foo"))
    assert take(queue, INTEL311) == ("foo", INTEL311)
    queue.replace(TARGETS, [row("foo")], NOW)  # it was read before
    assert take(queue, ARM39) is None
    queue.abandon(("foo", "1", INTEL311))
    assert take(queue, ARM39) == ("foo", ARM39)


def test_who_builds_for_no_active_target_gets_nothing():
    queue = queue_of(row("foo"), targets=[ANY311])
    assert take(queue, ARM39) is None
    assert take(queue, ARM39, ARM311) == ("foo", ARM311)


@pytest.mark.parametrize(
    ("exclusive", "both"),
    [
        ("version", []),
        ("platform", [(ARM39, INTEL311), (ARM311, INTEL311)]),
        ("", [(ARM39, ARM311), (ARM39, INTEL311), (ARM311, INTEL311)]),
    ],
)
def test_exclusive_builds_wait_for_each_other(exclusive, both):
    found = []
    for first, second in combinations(TARGETS, 2):
        queue = queue_of(*(row("foo", target, exclusive) for target in TARGETS))
        assert take(queue, first) == ("foo", first)
        if take(queue, second) is not None:
            found.append((first, second))
    assert found == both


def test_a_wheel_for_any_platform_is_made_once():
    queue = queue_of(row("foo", ANY311, ""), targets=[ANY311])
    assert take(queue, INTEL311) == ("foo", INTEL311)
    queue.replace([ANY311], [row("foo", ANY311, "")], NOW)
    assert take(queue, ARM311) is None


def test_after_a_build_its_version_waits_for_the_database():
    rows = [row("foo", ARM39, "platform"), row("foo", ARM311, "platform"), row("bar", ARM311, "")]
    queue = queue_of(*rows)
    assert take(queue, ARM39) == ("foo", ARM39)
    queue.finish(("foo", "1", ARM39), NOW.now, logged=True)
    assert take(queue, ARM311) == ("bar", ARM311)
    queue.replace(TARGETS, rows[:2], NOW)  # read before
    assert queue.stale
    assert take(queue, ARM311) is None
    queue.replace(TARGETS, rows[:2], NOW._replace(now=NOW.now + MAX_QUEUE_AGE))
    assert take(queue, ARM311) == ("foo", ARM311)


def test_the_first_of_all_rows_for_several_targets_is_next():
    queue = queue_of(
        row("a", ARM39, "", due=3), row("b", INTEL311, "", due=1), row("c", due=2),
        row("d", ARM311, "", due=4),
    )  # fmt: skip
    assert queue.sorted([INTEL311, ARM311, ARM39]) == [ARM39, ARM311, INTEL311]
    given_out = [take(queue, *TARGETS) for _ in range(5)]
    assert given_out == [("b", INTEL311), ("c", ARM39), ("a", ARM39), ("d", ARM311), None]


def test_what_a_lost_slave_had_returns_to_its_place():
    queue = queue_of(row("a", due=1), row("b", due=2))
    assert take(queue, ARM39) == ("a", ARM39)
    queue.abandon(("a", "1", ARM39))
    queue.put_back(("a", "1", ARM39), NOW.now)
    assert take(queue, ARM311) == ("a", ARM311)


events = st.lists(
    st.tuples(st.sampled_from(["take", "lose", "finish", "replace"]), st.integers(0, 5)),
    max_size=40,
)


@given(
    kinds=st.lists(st.sampled_from(["", "platform", "version"]), min_size=1, max_size=3),
    events=events,
)
def test_no_two_slaves_have_builds_that_exclude_each_other(kinds, events):
    rows = [
        row(f"p{number}", target, kind, due=number)
        for number, kind in enumerate(kinds) for target in TARGETS
    ]  # fmt: skip
    queue, has, now = queue_of(*rows), [], NOW.now
    for event, which in events:
        now += 1
        if event == "take" and (found := queue.next([TARGETS[which % 3]], now)):
            queue.start(found)
            has.append(found)
        elif event == "replace":
            queue.replace(TARGETS, rows, Instant(now, START))
        elif event != "take" and has:
            one = has.pop(which % len(has))
            if event == "finish":
                queue.finish(one, now, logged=True)
            else:
                queue.abandon(one)
                queue.put_back(one, now)
        assert len(set(has)) == len(has)
        for one, two in product(has, has):
            if one is not two and one[0] == two[0]:
                kind = kinds[int(one[0][1:])]
                assert kind != "version"
                assert kind == "" or one[2].platform != two[2].platform
        assert sum(queue.active.values()) == len(has)


def test_an_owner_does_not_confirm_its_own_failure_for_a_day():
    about = {"failed_by": "anna", "failed_at": START - timedelta(hours=23)}
    queue = queue_of(row("a", ARM39, "", due=1, **about), row("b", ARM39, "", due=2))
    assert queue.next([ARM39], NOW.now, owner="anna") == ("b", "1", ARM39)
    found = queue.next([ARM39], NOW.now, owner="ben")
    assert found == ("a", "1", ARM39)
    queue.put_back(found, NOW.now)
    assert queue.next([ARM39], NOW.now, owner="anna") is None
    later = Instant(NOW.now + 3600, START + timedelta(hours=1))
    queue.replace(TARGETS, [row("a", ARM39, "", due=1, **about)], later)
    assert queue.next([ARM39], later.now, owner="anna") == found
