"""The life of a command."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from piwheels.console.model.commands import MESSAGES, CommandTracker, Phase, Target, Verb
from piwheels.console.model.events import Answer
from piwheels.core.codec import NoData
from piwheels.core.protocols import Rejection

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
IDLE, BUSY = Target(1, "one", builds=False), Target(2, "two", builds=True)


def give(verb, *targets, level=0, everyone=False):
    """Give a command; return the tracker, its batch, and the messages sent."""
    tracker = CommandTracker(itertools.count(1))
    batch, messages = tracker.issue(verb, targets, NOW, everyone=everyone, level=level)
    for message in messages:
        tracker.sent(message.ticket)
    return tracker, batch, messages


def said(messages):
    return [(message.wire, message.msg, message.data) for message in messages]


@pytest.mark.parametrize(
    ("verb", "sent"),
    [
        (Verb.PAUSE, ["SLEEP"]),
        (Verb.RESUME, ["WAKE"]),
        (Verb.SKIP, ["SKIP"]),
        (Verb.KILL, ["KILL"]),
        (Verb.ABORT, ["SKIP", "KILL"]),
    ],
)
def test_messages_of_a_verb(verb, sent):
    _, _, messages = give(verb, IDLE, BUSY)
    assert said(messages) == [("control", msg, one) for msg in sent for one in (1, 2)]
    _, _, messages = give(verb, IDLE, BUSY, level=1)
    assert said(messages) == [("console", msg, [1, 2]) for msg in sent]
    _, _, messages = give(verb, IDLE, everyone=True)
    assert said(messages) == [("control", msg, None) for msg in sent]


@pytest.mark.parametrize("whole", [False, True])
def test_a_resume_takes_back_commands_without_effect_so_far(whole):
    tracker, batch, _ = give(Verb.KILL, BUSY, level=1)
    later = NOW + SECOND
    wake, messages = tracker.issue(Verb.RESUME, [BUSY], later, everyone=whole, level=1)
    after, _ = tracker.issue(Verb.KILL, [BUSY], later + SECOND, everyone=False, level=1)
    tracker.answered(Answer(messages[0].ticket, "WAKE", [], ""), later + SECOND)
    assert wake.commands[0].phase is Phase.ACKNOWLEDGED
    assert (batch.commands[0].phase, batch.commands[0].note) == (
        Phase.SUPERSEDED,
        "taken back by a resume",
    )
    assert after.commands[0].phase.pending
    tracker.observe(2, "DONE", NoData, later + 9 * SECOND)
    tracker.tick(later + 60 * SECOND)
    assert batch.commands[0].phase is Phase.SUPERSEDED


def test_commands_for_the_farm_only():
    assert said(give(Verb.HALT, everyone=True)[2]) == [
        ("control", "SLEEP", None),
        ("control", "SKIP", None),
    ]
    assert said(give(Verb.QUIT, everyone=True, level=1)[2]) == [("console", "QUIT", NoData)]


@pytest.mark.parametrize(
    ("verb", "target", "msg", "data", "phase"),
    [
        (Verb.PAUSE, IDLE, "SLEEP", True, Phase.ACKNOWLEDGED),
        (Verb.PAUSE, IDLE, "SLEEP", False, Phase.SENT),
        (Verb.RESUME, IDLE, "SLEEP", False, Phase.ACKNOWLEDGED),
        (Verb.RESUME, IDLE, "BUILD", ("a", "1"), Phase.ACKNOWLEDGED),
        (Verb.RESUME, IDLE, "SLEEP", True, Phase.SENT),
        (Verb.SKIP, BUSY, "DONE", NoData, Phase.ACKNOWLEDGED),
        (Verb.SKIP, BUSY, "SEND", "a.whl", Phase.SUPERSEDED),
        (Verb.SKIP, BUSY, "DIE", NoData, Phase.SUPERSEDED),
        (Verb.KILL, BUSY, "DONE", NoData, Phase.SENT),
        (Verb.KILL, BUSY, "DIE", NoData, Phase.ACKNOWLEDGED),
        (Verb.ABORT, BUSY, "DONE", NoData, Phase.SENT),
        (Verb.ABORT, BUSY, "DIE", NoData, Phase.ACKNOWLEDGED),
    ],
)
def test_effect_that_acknowledges_a_verb(verb, target, msg, data, phase):
    tracker, batch, _ = give(verb, target)
    tracker.observe(99, msg, data, NOW)  # another slave
    assert batch.commands[0].phase is Phase.SENT
    tracker.observe(target.slave_id, msg, data, NOW + SECOND)
    assert batch.commands[0].phase is phase
    assert bool(tracker.pending) == phase.pending


def test_an_unsent_command_is_not_acknowledged():
    tracker = CommandTracker(itertools.count(1))
    batch, (message,) = tracker.issue(Verb.KILL, [IDLE], NOW, everyone=False, level=0)
    tracker.observe(1, "DIE", NoData, NOW)
    assert batch.commands[0].phase is Phase.SENDING
    tracker.unsent(message.ticket, "nobody there", NOW)
    assert (batch.commands[0].phase, batch.commands[0].note) == (Phase.REFUSED, "nobody there")


def test_an_overdue_command_expires():
    tracker, batch, _ = give(Verb.PAUSE, IDLE, BUSY)
    idle, busy = batch.commands
    tracker.tick(NOW + 21 * SECOND)
    assert (idle.phase, busy.phase) == (Phase.EXPIRED, Phase.SENT)
    assert tracker.of(1, NOW + 22 * SECOND) is idle  # shown for a while
    assert tracker.of(1, NOW + 120 * SECOND) is None
    tracker.observe(2, "DONE", NoData, NOW + 7200 * SECOND)  # its build has ended
    tracker.tick(NOW + 7210 * SECOND)
    assert busy.phase is Phase.SENT
    tracker.tick(NOW + 7221 * SECOND)
    assert busy.phase is Phase.EXPIRED


def test_a_pause_of_the_farm_is_acknowledged_by_the_first_slave():
    tracker, batch, _ = give(Verb.PAUSE, everyone=True)
    tracker.observe(7, "SLEEP", False, NOW)
    tracker.observe(8, "SLEEP", True, NOW)
    assert batch.commands[0].phase is Phase.ACKNOWLEDGED


def test_a_kill_of_all_slaves_is_tracked_for_each():
    tracker, batch, messages = give(Verb.KILL, IDLE, BUSY, everyone=True)
    assert len(messages) == 1
    tracker.observe(2, "DIE", NoData, NOW)
    assert [command.phase for command in batch.commands] == [Phase.SENT, Phase.ACKNOWLEDGED]
    assert batch.pending == 1


def test_answers_of_a_level_1_master():
    tracker, batch, (message,) = give(Verb.SKIP, IDLE, BUSY, level=1)
    tracker.answered(Answer(message.ticket, "SKIP", [Rejection(1, "not building")]), NOW)
    idle, busy = batch.commands
    assert (idle.phase, idle.note) == (Phase.REFUSED, "not building")
    assert (busy.phase, busy.taken) == (Phase.SENT, True)
    tracker, batch, (skip, kill) = give(Verb.ABORT, IDLE, level=1)
    tracker.answered(Answer(skip.ticket, "SKIP", [Rejection(1, "not building")]), NOW)
    tracker.answered(Answer(kill.ticket, "KILL", []), NOW)
    assert batch.commands[0].phase is Phase.SENT
    tracker, batch, (message,) = give(Verb.RESUME, BUSY, level=1)
    tracker.answered(Answer(message.ticket, "WAKE", []), NOW)
    assert batch.commands[0].phase is Phase.ACKNOWLEDGED
    tracker, batch, (message,) = give(Verb.PAUSE, everyone=True, level=1)
    tracker.answered(Answer(message.ticket, "SLEEP", NoData, "not now\x1b"), NOW)
    assert batch.commands[0].phase is Phase.REFUSED
    assert "\x1b" not in batch.commands[0].note


def test_a_skip_is_superseded_when_the_build_ends_by_itself():
    tracker, batch, _ = give(Verb.SKIP, BUSY)
    tracker.ended_by_itself(2, NOW)
    assert batch.commands[0].phase is Phase.SUPERSEDED


def test_commands_are_unknown_after_a_lost_link():
    tracker, batch, _ = give(Verb.PAUSE, IDLE)
    tracker.lost(NOW)
    assert batch.commands[0].phase is Phase.UNKNOWN
    tracker, batch, _ = give(Verb.QUIT, everyone=True)
    tracker.lost(NOW)
    assert batch.commands[0].phase is Phase.ACKNOWLEDGED


def test_refused_commands_end_immediately():
    tracker = CommandTracker(itertools.count(1))
    batch = tracker.refuse(Verb.ABORT, [IDLE, BUSY], NOW, "there is no master")
    assert {command.phase for command in batch.commands} == {Phase.REFUSED}
    assert len(tracker.take_ended()) == 2
    assert tracker.take_ended() == []
    (farm,) = tracker.refuse(Verb.QUIT, [], NOW, "no").commands
    assert farm.slave_id is None


class Anything(RuleBasedStateMachine):
    """In any sequence of events, a command ends once, and the counts are right."""

    def __init__(self):
        super().__init__()
        self.tracker = CommandTracker(itertools.count(1))
        self.now = NOW
        self.tickets = [0]
        self.ended = 0

    @rule(
        verb=st.sampled_from(sorted(MESSAGES)),
        ids=st.sets(st.integers(1, 4), max_size=3),
        everyone=st.booleans(),
        level=st.integers(0, 1),
    )
    def issue(self, verb, ids, everyone, level):
        targets = [Target(one, str(one), builds=one % 2 == 0) for one in sorted(ids)]
        everyone = everyone or verb in (Verb.HALT, Verb.QUIT)
        _, sent = self.tracker.issue(verb, targets, self.now, everyone=everyone, level=level)
        self.tickets += [message.ticket for message in sent]

    @rule(data=st.data())
    def sent(self, data):
        self.tracker.sent(data.draw(st.sampled_from(self.tickets)))

    @rule(data=st.data())
    def unsent(self, data):
        self.tracker.unsent(data.draw(st.sampled_from(self.tickets)), "no", self.now)

    @rule(
        data=st.data(), rejections=st.lists(st.integers(1, 4)), refused=st.sampled_from(["", "no"])
    )
    def answered(self, data, rejections, refused):
        ticket = data.draw(st.sampled_from(self.tickets))
        said = [Rejection(one, "no") for one in rejections]
        self.tracker.answered(Answer(ticket, "KILL", said, refused), self.now)

    @rule(
        slave_id=st.integers(1, 4),
        reply=st.sampled_from(
            [("SLEEP", True), ("SLEEP", False), ("BUILD", ("a", "1")), ("DONE", NoData),
             ("SEND", "a.whl"), ("DIE", NoData), ("STATS", None), ("HELLO", None)]
        ),
    )  # fmt: skip
    def replied(self, slave_id, reply):
        self.tracker.observe(slave_id, *reply, self.now)

    @rule(seconds=st.integers(0, 100))
    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.tracker.tick(self.now)

    @rule()
    def lost(self):
        self.tracker.lost(self.now)
        assert self.tracker.pending == 0

    @invariant()
    def books(self):
        commands = [one for batch in self.tracker.batches for one in batch.commands]
        pending = [one for one in commands if one.phase.pending]
        assert self.tracker.pending == len(pending)
        assert all((one.ended is None) == one.phase.pending for one in commands)
        for command in self.tracker.take_ended():
            assert not command.phase.pending
            self.ended += 1


TestAnything = Anything.TestCase
