"""The buffer of pages that wait: each package once, the oldest first, a few at a time."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from piwheels.core.database.rows import RewritePendingRow
from piwheels.master.logic.rewrites import ATTEMPTS, Rewrites

START = datetime(2026, 11, 1, tzinfo=UTC)
DELAY = timedelta(seconds=60)


def at(seconds):
    return START + timedelta(seconds=seconds)


def handed(buffer, now):
    return [(rewrite.package, rewrite.command) for rewrite in buffer.due(now)]


def test_requests_for_a_package_are_one_after_the_delay():
    buffer = Rewrites(DELAY)
    buffer.add("spam", "PROJECT", at(0))
    buffer.add("spam", "BOTH", at(30))
    buffer.add("spam", "PROJECT", at(40))
    assert handed(buffer, at(59)) == []
    assert handed(buffer, at(60)) == [("spam", "BOTH")]
    assert handed(buffer, at(600)) == []


def test_the_oldest_come_first_and_few_at_a_time():
    buffer = Rewrites(DELAY, room=2)
    for number, name in enumerate("cab"):
        buffer.add(name, "PROJECT", at(number))
    first = buffer.due(at(100))
    assert [rewrite.package for rewrite in first] == ["c", "a"]
    assert buffer.due(at(100)) == []
    buffer.done(first[0])
    assert handed(buffer, at(100)) == [("b", "PROJECT")]


def test_what_is_asked_for_while_it_is_written_is_written_again():
    buffer = Rewrites(DELAY)
    buffer.add("spam", "BOTH", at(0))
    [out] = buffer.due(at(60))
    buffer.add("spam", "PROJECT", at(61))
    assert handed(buffer, at(200)) == []
    buffer.done(out)
    assert "spam" in buffer
    [out] = buffer.due(at(200))
    assert (out.command, out.handed_at) == ("PROJECT", at(200))
    buffer.done(out)
    assert "spam" not in buffer
    assert len(buffer) == 0


def test_a_failure_is_tried_again_ever_later_and_then_given_up():
    buffer = Rewrites(timedelta(0))
    buffer.add("spam", "BOTH", at(0))
    now, waits = at(0), []
    while True:
        [out] = buffer.due(now)
        if not buffer.failed(out, now):
            break
        waits.append((out.due - now).total_seconds())
        assert buffer.due(out.due - timedelta(seconds=1)) == []
        now = out.due
    assert waits == [10, 20, 40]
    assert out.attempts == ATTEMPTS
    assert len(buffer) == 0


def test_a_failure_joins_what_was_asked_for_meanwhile():
    buffer = Rewrites(DELAY)
    buffer.add("spam", "BOTH", at(0))
    [out] = buffer.due(at(60))
    buffer.add("spam", "PROJECT", at(70))
    assert buffer.failed(out, at(80))
    assert len(buffer) == 1
    assert handed(buffer, at(130)) == [("spam", "BOTH")]


def test_what_the_database_noted_is_due_at_once_oldest_first():
    buffer = Rewrites(DELAY)
    rows = [RewritePendingRow("b", at(-5), "BOTH"), RewritePendingRow("a", at(-9), "PROJECT")]
    buffer.load(rows, at(0))
    assert handed(buffer, at(0)) == [("a", "PROJECT"), ("b", "BOTH")]


def test_what_is_known_keeps_its_turn_when_the_database_is_looked_through():
    buffer = Rewrites(DELAY)
    buffer.add("out", "BOTH", at(-60))
    assert handed(buffer, at(0)) == [("out", "BOTH")]
    buffer.add("known", "PROJECT", at(-30))
    rows = [RewritePendingRow(name, at(-40), "BOTH") for name in ("out", "known", "new")]
    assert buffer.load(rows, at(0)) == 1
    assert handed(buffer, at(0)) == [("new", "BOTH")]
    assert handed(buffer, at(30)) == [("known", "BOTH")]
    assert len(buffer) == 3


def test_what_stands_for_a_request_says_whether_the_database_knows():
    buffer = Rewrites(DELAY)
    buffer.load([RewritePendingRow("spam", at(-5), "PROJECT")], at(0))
    assert buffer.add("spam", "PROJECT", at(1)).saved
    more, other = buffer.add("spam", "BOTH", at(2)), buffer.add("eggs", "PROJECT", at(3))
    assert (more.saved, other.saved) == (False, False)
    assert more.row == RewritePendingRow("spam", at(-5), "BOTH")
    assert other.row == RewritePendingRow("eggs", at(3), "PROJECT")


def test_how_long_there_is_nothing_to_hand_out():
    buffer = Rewrites(DELAY, room=2)
    assert buffer.wait(at(0)) == math.inf
    buffer.add("a", "BOTH", at(0))
    buffer.add("b", "BOTH", at(10))
    assert buffer.wait(at(20)) == 40
    assert buffer.wait(at(61)) == 0
    [first] = buffer.due(at(61))
    assert buffer.wait(at(61)) == 9
    buffer.add("a", "BOTH", at(70), urgent=True)  # not while it is out
    assert buffer.wait(at(70)) == 0
    buffer.due(at(70))
    assert buffer.wait(at(70)) == math.inf  # there is no room
    buffer.done(first)
    assert buffer.wait(at(70)) == 0


def test_what_never_ends_is_overdue():
    buffer = Rewrites(timedelta(0))
    buffer.add("spam", "BOTH", at(0))
    [out] = buffer.due(at(0))
    limit = timedelta(minutes=5)
    assert buffer.overdue(at(300), limit) == []
    assert buffer.overdue(at(301), limit) == [out]


def test_a_removed_package_waits_no_more():
    buffer = Rewrites(DELAY)
    buffer.add("spam", "BOTH", at(0))
    buffer.drop("spam")
    buffer.drop("eggs")
    assert handed(buffer, at(100)) == []


@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.sampled_from(["PROJECT", "BOTH"]))
        | st.sampled_from(["done", "failed", "wait"]),
        max_size=60,
    )
)
def test_nothing_is_lost_and_never_twice_at_once(steps):
    """Whatever happens, each request is followed by a writing that is at least as large."""
    buffer, seconds, out = Rewrites(DELAY, room=2), 0, []
    wanted: dict[str, set[str]] = {}

    def hand_out():
        for rewrite in buffer.due(at(seconds)):
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
                if buffer.failed(rewrite, at(seconds)):
                    wanted.setdefault(rewrite.package, set()).add(rewrite.command)
            case (package, command):
                buffer.add(package, command, at(seconds))
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
