"""Log lines that peers cause: none hides those of another, and none fills the log or the memory."""

import pytest

from clocks import StepClock
from helpers import LOGGER
from piwheels.core.repeats import PERIOD, Repeats


@pytest.fixture
def clock():
    return StepClock()


@pytest.fixture
def repeats(clock):
    return Repeats(LOGGER, clock)


def test_the_first_of_each_kind_and_peer_is_logged_and_the_others_are_summarised(
    repeats, clock, caplog
):
    for _ in range(9992):
        repeats.note("10.0.0.7", "noise", "refused noise of 10.0.0.7")
    repeats.note("10.0.0.8", "noise", "refused noise of 10.0.0.8")
    repeats.note("10.0.0.7", "other noise", "refused other noise of 10.0.0.7")
    repeats.summarise()
    assert [record.getMessage() for record in caplog.records] == [
        "refused noise of 10.0.0.7", "refused noise of 10.0.0.8", "refused other noise of 10.0.0.7",
    ]  # fmt: skip
    caplog.clear()
    clock.advance(PERIOD + 1)
    repeats.summarise()
    assert caplog.messages == [
        "... 9,991 more of this kind from 10.0.0.7 in the last minute: noise"
    ]
    clock.advance(PERIOD + 1)
    repeats.summarise()
    repeats.note("10.0.0.7", "noise", "again")
    assert caplog.messages[1:] == ["again"]


def test_a_peer_with_many_kinds_hides_no_other_peer(repeats, caplog):
    for number in range(10_000):
        repeats.note("eve", f"kind {number}", f"line {number}")
    repeats.note("alice", "kind", "the line of alice")
    assert len(caplog.records) < 30
    assert caplog.messages[-1] == "the line of alice"


def test_many_peers_fill_neither_the_log_nor_the_memory(repeats, clock, caplog):
    for number in range(20_000):
        repeats.note(f"peer {number}", "kind", "a line")
    assert len(caplog.records) < 2100
    assert len(repeats._known) < 2100
    assert len(repeats._kinds) < 2100
    clock.advance(PERIOD + 1)
    repeats.summarise()
    clock.advance(PERIOD + 1)
    repeats.summarise()
    assert not repeats._known
    assert not repeats._kinds
