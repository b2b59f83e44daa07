"""The state machine of the link: attaching, silence, restarts."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.console.model.events import Answer, Garbled, Unsent, WireDown, WireUp
from piwheels.console.model.link import LinkMachine, LinkState
from piwheels.core.codec import NoData
from piwheels.core.protocols import CommandReport, Greeting, SlaveEvent, Welcome
from piwheels.core.states import MasterInfo, MasterStats

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
INFO = MasterInfo(NOW - timedelta(days=12), "farm1", "Debian", "12", "", "")
LATER = INFO._replace(started=NOW)
STATS = MasterStats(NOW, 0, {}, timedelta(), 0, {}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0)


class Case:
    """A link machine with a clock that is moved by hand."""

    def __init__(self, *, console=False):
        self.machine = LinkMachine("me@here", console=console)
        self.now = NOW
        self.sent = []

    def on(self, *events):
        for event in events:
            self.sent += self.machine.handle(event, self.now)
        return self

    def wait(self, seconds):
        """Let time pass, in steps of a quarter of a second."""
        for _ in range(int(seconds * 4)):
            self.now += timedelta(seconds=0.25)
            self.sent += self.machine.tick(self.now)
        return self

    def take(self):
        sent, self.sent = self.sent, []
        return [(message.wire, message.msg, message.data) for message in sent]

    def answer(self, msg, data, refused=""):
        ticket = next(m.ticket for m in reversed(self.sent) if m.msg == msg)
        return self.on(Answer(ticket, msg, data, refused))

    @property
    def state(self):
        return self.machine.state


def slave(message="STATS", data=None, *, ago=0, slave_id=1):
    return SlaveEvent(slave_id, NOW - timedelta(seconds=ago), message, data)


def attached():
    case = Case().on(WireUp("status"), WireUp("control")).wait(0.5).on(INFO).wait(1.5)
    assert case.state is LinkState.LIVE
    case.take()
    return case


def test_nothing_is_sent_before_both_sockets_are_up():
    case = Case().on(WireUp("status")).wait(5)
    assert case.state is LinkState.CONNECTING
    assert case.take() == []
    case.on(WireUp("control")).wait(0.25)
    assert case.state is LinkState.ATTACHING
    assert case.take() == [("control", "HELLO", NoData)]


def test_hello_is_repeated_until_it_is_answered():
    case = Case().on(WireUp("status"), WireUp("control")).wait(60)
    assert case.state is LinkState.ATTACHING
    assert len(case.take()) == 4  # at 0, 3, 13 and 43 s
    assert "does not answer" in case.machine.advice({}, case.now)[0]
    case.on(INFO)
    assert case.state is LinkState.REPLAYING


def test_a_level_0_replay_ends_after_the_last_repeated_message():
    case = Case().on(WireUp("status"), WireUp("control")).wait(0.25).on(INFO)
    for ago in range(100, 0, -10):
        case.on(slave(ago=ago), slave("HELLO", ago=ago)).wait(0.25)
        assert case.machine.is_past(slave())
    assert case.state is LinkState.REPLAYING
    assert case.machine.replayed == 20
    for _ in range(6):  # live messages do not extend it
        case.on(slave()).wait(0.25)
    assert case.state is LinkState.LIVE
    assert not case.machine.is_past(slave())
    assert case.machine.is_past(slave(ago=60))  # requested by another console


def test_an_endless_replay_is_ended():
    case = Case().on(WireUp("status"), WireUp("control")).wait(0.25).on(INFO)
    for ago in range(100, 30, -1):
        case.on(slave(), slave(ago=ago)).wait(0.25)
    assert case.state is LinkState.LIVE


def test_attach_to_a_level_1_master():
    case = Case(console=True).on(WireUp("status"), WireUp("control"), WireUp("console")).wait(0.25)
    assert case.take() == [("console", "HELLO", Greeting(1, "me@here"))]
    case = Case(console=True).on(WireUp("status"), WireUp("control"), WireUp("console")).wait(0.25)
    case.answer("HELLO", Welcome(1, INFO, paused=True))
    assert case.state is LinkState.REPLAYING
    case.answer("SLAVES", [slave("HELLO", slave_id=4), slave(slave_id=4)])
    case.answer("SLAVES", [slave("HELLO", slave_id=9)])
    case.answer("SLAVES", [])
    assert [data for _, msg, data in case.take() if msg == "SLAVES"] == [0, 4, 9]
    assert (case.state, case.machine.level) == (LinkState.LIVE, 1)
    case.wait(1)
    assert case.state is LinkState.PAUSED
    case.on(CommandReport("you", "WAKE", None, NOW)).wait(1)
    assert case.state is LinkState.LIVE
    case.take()
    case.on(STATS).wait(31)
    assert ("console", "HELLO", Greeting(1, "me@here")) in case.take()  # a keepalive


def test_a_lost_page_is_requested_again():
    case = Case(console=True).on(WireUp("status"), WireUp("console")).wait(0.25)
    case.answer("HELLO", Welcome(1, INFO, paused=False))
    case.on(Unsent(case.sent[-1].ticket, "no")).wait(0.25)
    case.answer("SLAVES", [slave("HELLO", slave_id=4)]).wait(6)
    assert [data for _, msg, data in case.take() if msg == "SLAVES"] == [0, 0, 4, 4]


@pytest.mark.parametrize("up", [True, False])
def test_a_master_without_a_console_socket_is_level_0(up):
    case = Case(console=True).on(WireUp("status"), WireUp("control"))
    if up:  # another program's socket, which never answers
        case.on(WireUp("console"))
    case.wait(3)
    assert case.take()[-1] == ("control", "HELLO", NoData)
    case.on(INFO).wait(1.5)
    assert (case.state, case.machine.level) == (LinkState.LIVE, 0)


@pytest.mark.parametrize("after", [0, 0.75, 5])
def test_a_late_console_socket_is_used(after):
    case = Case(console=True).on(WireUp("status"), WireUp("control")).wait(1)
    assert case.take() == [("control", "HELLO", NoData)]
    case.on(INFO).wait(after).on(WireUp("console"))
    case.answer("HELLO", Welcome(1, INFO, paused=False))
    assert case.machine.level == 1
    assert case.state is LinkState.REPLAYING
    case.answer("SLAVES", [])
    assert case.state is LinkState.LIVE


def test_a_lost_master_comes_back():
    case = attached()
    case.on(WireDown("status", "gone"), WireDown("control", "gone"))
    assert case.state is LinkState.LOST
    assert "LOST" in case.machine.text(case.now, lambda at: at)
    lines = case.machine.advice({"status": "ipc:///x/status"}, case.now)
    assert any("ipc:///x/status – gone" in line for line in lines)
    case.wait(30).on(WireUp("control"), WireUp("status")).wait(0.25)
    assert case.take() == [("control", "HELLO", NoData)]
    assert case.state is LinkState.LOST  # until it sends a message
    case.on(LATER)
    assert case.state is LinkState.REPLAYING
    assert case.machine.epoch == NOW
    assert case.wait(2).state is LinkState.LIVE


def test_an_unnoticed_restart_is_detected():
    case = attached()
    case.on(INFO)
    assert case.state is LinkState.LIVE  # another console has requested it
    case.on(LATER)
    assert case.state is LinkState.REPLAYING


def test_silence_is_reported():
    case = attached().on(STATS).wait(14)
    assert case.state is LinkState.LIVE
    assert case.wait(2).state is LinkState.QUIET
    assert case.machine.text(case.now, lambda at: at) == "quiet 16s"
    assert case.on(STATS).wait(0.25).state is LinkState.LIVE


def test_a_pause_is_inferred_at_level_0():
    case = attached().on(STATS, slave("SLEEP", data=True))
    for _ in range(16):
        case.on(slave()).wait(1)
    assert case.state is LinkState.PAUSED
    assert case.on(STATS).wait(1).state is LinkState.LIVE


def test_an_invalid_frame_forbids_commands_for_a_minute():
    case = attached().on(Garbled("status", "unknown message 'FOO'", b"\x82"), STATS).wait(0.25)
    assert case.state is LinkState.MISMATCH
    assert "FOO" in case.machine.advice({}, case.now)[0]
    for _ in range(61):
        case.on(STATS).wait(1)
    assert case.state is LinkState.LIVE


def test_old_messages_after_a_greeting_are_a_replay_for_another_console():
    case = attached().on(slave()).on(INFO)
    assert case.on(slave(ago=3600)).machine.is_past(slave(ago=3600))
    case.wait(31)
    assert not case.on(slave(ago=3600)).machine.is_past(slave(ago=3600))


def test_old_messages_at_any_other_time_mean_that_the_clock_was_set_back():
    case = attached().wait(31).on(slave())
    assert not case.on(slave(ago=3600)).machine.is_past(slave(ago=3600))


def test_reattach():
    case = attached()
    case.sent += case.machine.reattach(case.now)
    assert case.take() == [("control", "HELLO", NoData)]
    assert case.state is LinkState.ATTACHING
    assert case.on(INFO).wait(1.5).state is LinkState.LIVE


EVENTS = st.sampled_from(
    [
        *(kind(wire) for kind in (WireUp, WireDown) for wire in ("status", "control", "console")),
        INFO, LATER, STATS, slave(), slave(ago=90), slave("SLEEP", data=True),
        Garbled("status", "x", b"x"), CommandReport("x", "SLEEP", None, NOW), Unsent(2, "x"),
        *(Answer(ticket, "HELLO", Welcome(1, INFO, paused=False)) for ticket in (1, 2, 3)),
        *(Answer(ticket, "SLAVES", []) for ticket in (2, 3, 4)),
        Answer(2, "SLAVES", NoData, "refused"),
    ]
)  # fmt: skip


@given(st.lists(st.one_of(EVENTS, st.integers(1, 40)), max_size=40), st.booleans())
def test_any_events_keep_the_link_consistent(events, console):
    case = Case(console=console)
    for event in events:
        case.wait(event) if isinstance(event, int) else case.on(event)
        case.machine.text(case.now, lambda at: at)
        case.machine.advice({"status": "ipc:///x"}, case.now)
    up = [WireUp("status"), WireUp("control")]
    case.on(WireDown("status"), WireDown("control"), WireDown("console"), *up)
    case.wait(4).on(INFO).wait(70)
    assert case.machine.attached  # it always finds a master that sends messages


def test_pages_without_new_slaves_end_the_replay():
    case = Case(console=True).on(WireUp("status"), WireUp("control"), WireUp("console")).wait(0.5)
    case.answer("HELLO", Welcome(1, INFO, False))
    case.answer("SLAVES", [slave("HELLO", slave_id=4)])
    case.answer("SLAVES", [slave("HELLO", slave_id=4)])
    assert case.state is LinkState.LIVE
    assert [data for _, msg, data in case.take() if msg == "SLAVES"] == [0, 4]


def test_the_earliest_date_is_valid():
    case = attached()
    first = SlaveEvent(1, datetime.min.replace(tzinfo=UTC), "STATS", None)
    assert not case.on(first).machine.is_past(first)
    assert case.on(slave()).machine.is_past(first)
