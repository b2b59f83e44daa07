"""The buffer of pending rewrites: each package once, the oldest first, a few at a time."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from piwheels.core.database.rows import RewritePendingRow
from piwheels.master.logic.rewrites import ATTEMPTS, Rewrites

START = datetime(2026, 11, 1, tzinfo=UTC)
DELAY = 60.0


def timestamp(seconds):
    return START + timedelta(seconds=seconds)


def add(buffer, package, command, seconds, **how):
    return buffer.add(package, command, seconds, timestamp(seconds), **how)


def due(buffer, now):
    return [(rewrite.package, rewrite.command) for rewrite in buffer.take_due(now)]


def test_requests_for_a_package_are_merged_until_the_delay_ends():
    buffer = Rewrites(DELAY)
    add(buffer, "spam", "PROJECT", 0)
    add(buffer, "spam", "BOTH", 30)
    add(buffer, "spam", "PROJECT", 40)
    assert due(buffer, 59) == []
    assert due(buffer, 60) == [("spam", "BOTH")]
    assert due(buffer, 600) == []


def test_the_oldest_rewrites_come_first_and_few_at_a_time():
    buffer = Rewrites(DELAY, limit=2)
    for number, name in enumerate("cab"):
        add(buffer, name, "PROJECT", number)
    first = buffer.take_due(100)
    assert [rewrite.package for rewrite in first] == ["c", "a"]
    assert buffer.take_due(100) == []
    buffer.done(first[0])
    assert due(buffer, 100) == [("b", "PROJECT")]


def test_a_package_that_is_requested_during_its_rewrite_is_rewritten_again():
    buffer = Rewrites(DELAY)
    add(buffer, "spam", "BOTH", 0)
    [out] = buffer.take_due(60)
    add(buffer, "spam", "PROJECT", 61)
    assert due(buffer, 200) == []
    buffer.done(out)
    assert "spam" in buffer
    [out] = buffer.take_due(200)
    assert out.command == "PROJECT"
    buffer.done(out)
    assert "spam" not in buffer
    assert len(buffer) == 0


def test_a_failed_rewrite_is_retried_with_growing_pauses_and_a_limit():
    buffer = Rewrites(0.0)
    add(buffer, "spam", "BOTH", 0)
    now, waits = 0, []
    while True:
        [out] = buffer.take_due(now)
        if not buffer.failed(out, now):
            break
        waits.append(out.due - now)
        assert buffer.take_due(out.due - 1) == []
        now = out.due
    assert waits == [10, 20, 40]
    assert out.attempts == ATTEMPTS
    assert len(buffer) == 0


def test_a_failed_rewrite_is_merged_with_a_new_request():
    buffer = Rewrites(DELAY)
    add(buffer, "spam", "BOTH", 0)
    [out] = buffer.take_due(60)
    add(buffer, "spam", "PROJECT", 70)
    assert buffer.failed(out, 80)
    assert len(buffer) == 1
    assert due(buffer, 130) == [("spam", "BOTH")]


def test_rewrites_from_the_database_are_due_immediately_oldest_first():
    buffer = Rewrites(DELAY)
    rows = [
        RewritePendingRow("b", timestamp(-5), "BOTH"),
        RewritePendingRow("a", timestamp(-9), "PROJECT"),
    ]
    buffer.load(rows, 0)
    assert due(buffer, 0) == [("a", "PROJECT"), ("b", "BOTH")]


def test_known_rewrites_keep_their_position_when_the_database_is_read():
    buffer = Rewrites(DELAY)
    add(buffer, "out", "BOTH", -60)
    assert due(buffer, 0) == [("out", "BOTH")]
    add(buffer, "known", "PROJECT", -30)
    rows = [RewritePendingRow(name, timestamp(-40), "BOTH") for name in ("out", "known", "new")]
    assert buffer.load(rows, 0) == 1
    assert due(buffer, 0) == [("new", "BOTH")]
    assert due(buffer, 30) == [("known", "BOTH")]
    assert len(buffer) == 3


def test_a_pending_rewrite_records_whether_the_database_has_it():
    buffer = Rewrites(DELAY)
    buffer.load([RewritePendingRow("spam", timestamp(-5), "PROJECT")], 0)
    assert add(buffer, "spam", "PROJECT", 1).saved
    more, other = add(buffer, "spam", "BOTH", 2), add(buffer, "eggs", "PROJECT", 3)
    assert (more.saved, other.saved) == (False, False)
    assert more.row == RewritePendingRow("spam", timestamp(-5), "BOTH")
    assert other.row == RewritePendingRow("eggs", timestamp(3), "PROJECT")


def test_seconds_until_due_depends_on_delay_and_room():
    buffer = Rewrites(DELAY, limit=2)
    assert buffer.seconds_until_due(0) == math.inf
    add(buffer, "a", "BOTH", 0)
    add(buffer, "b", "BOTH", 10)
    assert buffer.seconds_until_due(20) == 40
    assert buffer.seconds_until_due(61) == 0
    [first] = buffer.take_due(61)
    assert buffer.seconds_until_due(61) == 9
    add(buffer, "a", "BOTH", 70, urgent=True)  # not while it is being written
    assert buffer.seconds_until_due(70) == 0
    buffer.take_due(70)
    assert buffer.seconds_until_due(70) == math.inf  # too many are being written
    buffer.done(first)
    assert buffer.seconds_until_due(70) == 0


def test_a_dropped_package_is_not_rewritten():
    buffer = Rewrites(DELAY)
    add(buffer, "spam", "BOTH", 0)
    buffer.drop("spam")
    buffer.drop("eggs")
    assert due(buffer, 100) == []


@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.sampled_from(["PROJECT", "BOTH"]))
        | st.sampled_from(["done", "failed", "wait"]),
        max_size=60,
    )
)
def test_no_request_is_lost_and_no_package_is_rewritten_twice_at_a_time(steps):
    """In any sequence of events, each request is followed by a rewrite that covers it."""
    buffer, seconds, out = Rewrites(DELAY, limit=2), 0, []
    wanted: dict[str, set[str]] = {}

    def hand_out():
        for rewrite in buffer.take_due(seconds):
            want = wanted.pop(rewrite.package)
            assert rewrite.command == ("BOTH" if "BOTH" in want else "PROJECT")
            out.append(rewrite)
        assert len(out) <= 2
        assert len({rewrite.package for rewrite in out}) == len(out)

    for step in steps:
        seconds += 25
        match step:
            case "wait":
                seconds += 100
            case "done" if out:
                buffer.done(out.pop(0))
            case "failed" if out:
                rewrite = out.pop(0)
                if buffer.failed(rewrite, seconds):
                    wanted.setdefault(rewrite.package, set()).add(rewrite.command)
            case (package, command):
                add(buffer, package, command, seconds)
                wanted.setdefault(package, set()).add(command)
        hand_out()
    for _ in range(100):
        seconds += 1000
        while out:
            buffer.done(out.pop())
        hand_out()
    assert not wanted
    assert not out
    assert len(buffer) == 0
