"""A session with a scripted source: events, commands, requests and the journal."""

from datetime import UTC, datetime, timedelta

import pytest

from piwheels.console.model.commands import Phase, Verb
from piwheels.console.model.events import (
    Answer,
    Garbled,
    Incoming,
    Sent,
    Unsent,
    WireDown,
    WireUp,
)
from piwheels.console.model.journal import Kind
from piwheels.console.model.link import LinkState
from piwheels.console.model.slave import State
from piwheels.console.session import Session
from piwheels.core.codec import NoData
from piwheels.core.protocols import (
    BuildOutcome,
    CommandReport,
    Job,
    Lane,
    LogPart,
    Output,
    QueueHead,
    Rejection,
    SlaveEvent,
    TargetState,
    Welcome,
)
from piwheels.core.states import MasterInfo, SlaveInfo

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
INFO = MasterInfo(START - timedelta(days=12), "farm1", "Debian", "12", "", "")
HOUR = timedelta(hours=1)


def slave_info(label="one", abi="cp311"):
    return SlaveInfo(3 * HOUR, HOUR / 4, "311", abi, "linux_aarch64", label, "Debian", "12", "", "")


class Script:
    """A source with the events of a test; it stores sent messages (*asked*: from the start)."""

    name = "ipc:///x/status"

    def __init__(self):
        self.now = START
        self.coming = []
        self.sent, self.asked = [], []

    def start(self):
        pass

    def stop(self):
        pass

    def take(self):
        while self.coming:
            yield self.coming.pop(0)

    def send(self, outgoing):
        self.sent.append(outgoing)
        self.asked.append(outgoing)
        self.coming.append(Incoming(self.now, Sent(outgoing.ticket)))


class Case:
    def __init__(self, *, level=0, **how):
        self.script = Script()
        wires = ["status", "control"] + ["console"] * level
        addresses = {wire: f"ipc:///x/{wire}" for wire in wires}
        self.session = Session(self.script, who="me@here", addresses=addresses, **how)
        self.session.start(START)
        self.level = level

    def say(self, *events):
        """Add *events* at the current time."""
        for event in events:
            self.script.coming.append(Incoming(self.script.now, event))
        while self.session.pump(self.script.now):
            pass
        return self

    def send(self, slave_id, message, data=NoData):
        return self.say(SlaveEvent(slave_id, self.script.now, message, data))

    def wait(self, seconds):
        for _ in range(int(seconds * 4)):
            self.script.now += timedelta(seconds=0.25)
            self.session.pump(self.script.now)
            self.session.tick(self.script.now)
        return self

    def attach(self, *slaves, info=INFO):
        wires = ("status", "control", "console")[: 2 + self.level]
        self.say(*map(WireUp, wires)).wait(0.25)
        known = [SlaveEvent(n, info.started, "HELLO", slave_info(n)) for n in slaves]
        known = [event._replace(slave_id=n) for n, event in enumerate(known, 1)]
        if self.level:
            self.answer("HELLO", Welcome(1, info, paused=False))
            self.answer("SLAVES", known).answer("SLAVES", [])
        else:
            self.say(info, *known).wait(1.5)
        assert self.session.state is LinkState.LIVE
        self.script.sent.clear()
        return self

    def answer(self, msg, data=NoData, refused=""):
        ticket = next(m.ticket for m in reversed(self.script.sent) if m.msg == msg)
        return self.say(Answer(ticket, msg, data, refused))

    @property
    def sent(self):
        return [(message.wire, message.msg, message.data) for message in self.script.sent]

    @property
    def noted(self):
        return [(entry.kind, entry.what) for entry in self.session.journal.entries]


@pytest.fixture(params=[0, 1])
def case(request):
    return Case(level=request.param)


def test_attaching_shows_the_slaves(case):
    case.attach("one", "two")
    slaves = case.session.farm.slaves
    assert {slave.label for slave in slaves.values()} == {"one", "two"}
    assert case.session.level == case.level
    assert (Kind.LINK, "attached") in case.noted
    assert not [kind for kind, _ in case.noted if kind is Kind.JOIN]  # they joined before


def test_the_warning_of_a_master_is_shown_as_long_as_it_runs():
    case = Case(level=1)
    case.say(*map(WireUp, ("status", "control", "console"))).wait(0.25)
    case.answer("HELLO", Welcome(1, INFO, paused=False, warning="INSECURE: \x1banyone"))
    case.answer("SLAVES", [])
    shown = "INSECURE: \N{REPLACEMENT CHARACTER}anyone"
    assert (Kind.CRITICAL, shown) in case.noted
    assert case.wait(60).session.banner == shown


def test_a_command_is_acknowledged(case):
    case.attach("one", "two")
    batch = case.session.command(Verb.PAUSE, [2])
    wire = "console" if case.level else "control"
    assert case.sent == [(wire, "SLEEP", [2] if case.level else 2)]
    case.send(1, "SLEEP", data=True)
    assert case.session.command_of(2) is batch.commands[0]
    case.send(2, "SLEEP", data=True)
    assert batch.commands[0].phase is Phase.ACKNOWLEDGED
    assert case.session.command_of(2) is None
    assert (Kind.COMMAND, "pause by you") in case.noted
    assert (Kind.ACK, "pause acknowledged") in case.noted


def test_nothing_is_sent_to_missing_slaves(case):
    case.attach("one")
    case.send(1, "DIE")
    case.session.command(Verb.SKIP, [1, 77])
    assert case.sent in ([], [("console", "SKIP", [])])


@pytest.mark.parametrize(
    ("happening", "why"),
    [
        (WireDown("status", "gone"), "there is no master"),
        (Garbled("status", "what?", b"\xff"), "does not understand"),
        (INFO._replace(started=START), "not yet attached"),
    ],
)
def test_an_impossible_command_is_refused_and_not_delivered_later(case, happening, why):
    case.attach("one")
    case.say(happening).wait(0.25)
    case.script.sent.clear()
    case.session.farm.fold(SlaveEvent(1, START, "HELLO", slave_info()), START)
    assert why in case.session.why_not(Verb.ABORT)
    batch = case.session.command(Verb.ABORT, [1])
    assert {command.phase for command in batch.commands} == {Phase.REFUSED}
    assert not [sent for sent in case.sent if sent[1] in ("KILL", "SKIP")]


def test_a_read_only_session():
    case = Case(read_only=True).attach("one")
    for verb in Verb:
        assert "read-only" in case.session.why_not(verb)
        assert case.session.command(verb, None).pending == 0
    assert case.sent == []


def test_a_message_that_the_socket_refused(case):
    case.attach("one")
    batch = case.session.command(Verb.PAUSE, [1])
    case.say(Unsent(case.script.sent[-1].ticket, "the peer does not accept messages"))
    assert batch.commands[0].phase is Phase.REFUSED


def test_a_lost_link_leaves_commands_unknown_and_the_farm_unchanged(case):
    case.attach("one")
    batch = case.session.command(Verb.PAUSE, [1])
    case.wait(0.25).say(WireDown("control"), WireDown("console"), WireDown("status"))
    assert batch.commands[0].phase is Phase.UNKNOWN
    assert list(case.session.farm.slaves) == [1]
    assert case.session.state is LinkState.LOST
    assert (Kind.CRITICAL, "lost the master") in case.noted


def test_a_restarted_master_has_new_slaves(case):
    case.attach("one", "two")
    downs = [WireDown(wire) for wire in ("status", "control", "console")]
    case.say(*downs).wait(3).attach("three", info=INFO._replace(started=START))
    assert [slave.label for slave in case.session.farm.slaves.values()] == ["three"]
    assert "2 slaves" in case.session.banner
    assert case.wait(30).session.banner == ""


def test_pause_and_resume_of_the_farm(case):
    case.attach("one")
    batch = case.session.command(Verb.PAUSE, None)
    if case.level:
        case.answer("SLEEP", [])
    case.send(1, "SLEEP", data=True).wait(1)
    assert batch.commands[0].phase is Phase.ACKNOWLEDGED
    assert case.session.paused
    case.session.command(Verb.RESUME, None)
    if case.level:
        case.answer("WAKE", [])
    case.send(1, "SLEEP", data=False).wait(1)
    assert not case.session.paused
    links = [what for kind, what in case.noted if kind is Kind.LINK]
    assert links == ["attached", "the farm is paused", "the farm is resumed"]


def test_a_skipped_build_is_no_failure(case):
    case.attach("one")
    case.send(1, "BUILD", Job("six", "1.0"))
    case.session.command(Verb.SKIP, [1])
    case.send(1, "DONE")
    assert case.session.farm.slaves[1].outcome.result == "skipped"
    case.send(1, "BUILD", Job("six", "1.1")).send(1, "DONE")
    assert case.session.farm.slaves[1].outcome.result == "failed"


def test_events_of_a_level_1_master():
    case = Case(level=1).attach("one")
    case.send(1, "BUILD", Job("six", "1.0"))
    case.wait(1)
    case.answer("QUEUE", [QueueHead("cp311", 2, [Job("a", "1"), Job("b", "2")])])
    assert case.session.queue[0].pending == 2
    ended = BuildOutcome(7, 1, "one", "six", "1.0", "cp311", "failed", HOUR, 0, case.script.now)
    case.say(ended).send(1, "DONE")
    assert case.session.farm.slaves[1].outcome.build_id == 7
    assert case.session.recent[0] is ended
    case.say(
        CommandReport("you@there", "SLEEP", [1], START),
        CommandReport("me@here", "SLEEP", [1], START),
    )
    assert [what for kind, what in case.noted if kind is Kind.COMMAND] == ["pause by you@there"]


def test_a_resume_by_another_operator_supersedes_commands():
    case = Case(level=1).attach("one", "two")
    case.send(1, "BUILD", Job("six", "1.0")).send(2, "BUILD", Job("six", "2.0"))
    pauses = case.session.command(Verb.PAUSE, [1, 2]).commands
    case.answer("SLEEP", []).wait(1)
    case.say(CommandReport("you@there", "WAKE", [1], case.script.now)).wait(1)
    assert [(one.phase, one.note) for one in pauses] == [
        (Phase.SUPERSEDED, "taken back by you@there"),
        (Phase.SENT, "after its build"),
    ]
    assert case.session.command_of(1) is None


def test_requests_and_answers():
    case = Case(level=1).attach("one")
    received = []
    assert case.session.ask("LOG", [7, 0], lambda data, why: received.append((data, why)))
    case.answer("LOG", LogPart(0, "text", 4))
    assert case.session.ask("LOG", [8, 0], lambda data, why: received.append((data, why)))
    case.answer("LOG", refused="no such build")
    assert case.session.ask("LOG", [9, 0], lambda data, why: received.append((data, why)))
    case.wait(11)
    assert received == [
        (LogPart(0, "text", 4), ""),
        (None, "no such build"),
        (None, "the master does not answer"),
    ]
    assert not Case().attach("one").session.ask("LOG", [7, 0], lambda *_: None)


def test_a_late_answer_is_ignored():
    case = Case(level=1).attach("one")
    case.wait(1)
    late = next(message.ticket for message in case.script.sent if message.msg == "QUEUE")
    case.wait(30).say(Answer(late, "QUEUE", [QueueHead("cp311", 2, [Job("a", "1")])]))
    assert case.session.queue == []


def test_output_of_a_running_build():
    case = Case(level=1).attach("one")
    received = []
    assert case.session.watch(1, lambda offset, text: received.append((offset, text)))
    case.say(Output(1, "six", "1.0", 5, "text"), Output(2, "six", "1.0", 5, "another's"))
    case.session.unwatch(1)
    case.say(Output(1, "six", "1.0", 9, "too late"))
    assert received == [(5, "text")]
    assert [msg for _, msg, _ in case.sent if "WATCH" in msg] == ["WATCH", "UNWATCH"]


def test_refusals_of_the_master():
    case = Case(level=1).attach("one", "two")
    batch = case.session.command(Verb.SKIP, [1, 2])
    case.answer("SKIP", [Rejection(1, "not building")])
    assert [command.phase for command in batch.commands] == [Phase.REFUSED, Phase.SENT]
    assert case.session.command_of(1).note == "not building"


def test_invalid_frames_are_counted_and_shown_once(case):
    case.attach("one")
    for _ in range(25):
        case.say(Garbled("status", "unknown message 'FOO'", b"\x82\x63FOO\x01"))
    entries = [entry for entry in case.session.journal.entries if "invalid frame" in entry.what]
    assert len(entries) == 2  # the first, and the tenth
    assert "82 63 46 4f 4f 01" in entries[0].detail


def test_hostile_labels_are_sanitised(case):
    case.attach("\u202eevil\u0000\x1b[31m[red]", "\u05d0\u05d1")
    for slave in case.session.farm.slaves.values():
        assert slave.label.isprintable()
        assert "\x1b" not in slave.label
    case.say(CommandReport("\x1b]0;x\x07", "KILL", None, START))
    assert all(entry.what.isprintable() for entry in case.session.journal.entries)


def test_the_state_of_a_slave(case):
    """A slave falls silent; when the master does, the slaves keep their states."""
    case.attach("one", "two")
    case.send(1, "BUILD", Job("six", "1.0"))
    for _ in range(4):
        case.wait(8).send(2, "SLEEP", data=False)
    counts = case.session.farm.counts()
    assert counts == {State.SILENT: 1, State.SLEEP: 1}
    assert case.wait(3600).session.farm.counts() == counts
    for _ in range(120):
        case.wait(8).send(2, "SLEEP", data=False)
    assert case.session.farm.counts() == {State.EXPIRED: 1, State.SLEEP: 1}


def test_a_refused_command_for_the_farm_is_in_the_journal():
    case = Case()
    for verb in Verb:
        (command,) = case.session.command(verb, None).commands
        assert command.phase is Phase.REFUSED
    assert len(case.noted) == len(Verb)


# Lanes and targets --------------------------------------------------------------------------------


def asked(case, msg):
    return [one.data for one in case.script.asked if one.msg == msg]


def answer_last(case, msg, data, refused=""):
    ticket = [one.ticket for one in case.script.asked if one.msg == msg][-1]
    case.say(Answer(ticket, msg, data, refused))


def test_the_master_is_asked_which_new_slaves_are_lanes():
    case = Case(level=1).attach()
    assert asked(case, "HOSTS") == [0]
    case.send(7, "HELLO", slave_info())
    case.send(5, "HELLO", slave_info())
    assert asked(case, "HOSTS") == [0], "one request at a time"
    answer_last(case, "HOSTS", [Lane(5, "beef", 1)])
    assert asked(case, "HOSTS") == [0, 4]
    answer_last(case, "HOSTS", [Lane(5, "beef", 1), Lane(7, "beef", 2)])
    assert [slave.host for slave in case.session.farm.slaves.values()] == ["beef", "beef"]
    assert asked(case, "HOSTS") == [0, 4]
    case.wait(1)
    case.send(9, "HELLO", slave_info())
    answer_last(case, "HOSTS", None, "16 requests wait already")
    case.wait(1)
    assert asked(case, "HOSTS") == [0, 4, 8], "it would be busy again"
    case.wait(10)
    assert asked(case, "HOSTS") == [0, 4, 8, 0]


def test_a_master_that_does_not_know_a_request_is_asked_once():
    case = Case(level=1).attach()
    answer_last(case, "HOSTS", None, "not understood: unknown message 'HOSTS'")
    case.send(5, "HELLO", slave_info())
    case.wait(60)
    assert asked(case, "HOSTS") == [0]
    assert len(asked(case, "TARGETS")) > 1
    case.session.reattach()
    case.attach()
    assert asked(case, "HOSTS") == [0, 0], "it may have been upgraded"


def test_a_target_that_waits_without_a_slave_is_an_alert():
    case = Case(level=1).attach()
    there = case.session.farm.master_time(case.session.now)
    served = TargetState("linux_x86_64", "cp311", 9, 3)
    waits = TargetState("linux_armv7l", "cp311", 41, 0, there - HOUR / 4)
    young = waits._replace(abi="cp313", waits_since=there - HOUR / 12)
    case.wait(1)
    for _ in range(2):
        answer_last(case, "TARGETS", [served, waits, young])
        case.wait(10)
    assert case.session.targets == [served, waits, young]
    assert case.session.unserved == [waits]
    entries = [entry[1:] for entry in case.session.journal.entries if entry.kind is Kind.WARN]
    what = "no slave for linux_armv7l/cp311"
    assert entries == [(Kind.WARN, None, "", what, "41 versions waiting for one", 1)]
    answer_last(case, "TARGETS", [served])
    assert case.session.unserved == []


def test_the_version_of_a_package_is_one_that_waits_is_built_or_was_built():
    case = Case(level=1).attach()
    case.send(1, "HELLO", slave_info())
    case.wait(1)
    answer_last(case, "QUEUE", [QueueHead("cp311", 2, [Job("Zope.Interface", "8.0")])])
    case.send(1, "BUILD", Job("scipy", "1.2"))
    found = [case.session.version_of(name) for name in ("zope-interface", "SciPy", "numpy")]
    assert found == ["8.0", "1.2", ""]
