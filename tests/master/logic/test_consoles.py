"""Attached consoles, watched slaves and recent output, with events in any order."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from piwheels.core.errors import Refused
from piwheels.core.protocols import Output
from piwheels.master.logic import consoles
from piwheels.master.logic.consoles import Consoles, OutputTails, Requester


def requester(number, ticket=1):
    return Requester(b"peer%d" % number, ticket.to_bytes(8, "big"))


def test_messages_carry_the_ticket_of_the_last_hello():
    known = Consoles()
    known.attach(requester(1, 5), "me", 0)
    known.attach(requester(2, 6), "you", 0)
    known.attach(requester(1, 7), "me", 10)
    assert list(known.all()) == [requester(1, 7), requester(2, 6)]


def test_a_silent_console_is_forgotten_with_its_watches():
    known = Consoles()
    for number in (1, 2):
        known.attach(requester(number), "me", 0)
        known.watch(requester(number, 9), 4)
    assert known.identify(requester(2), 60).who == "me"
    known.tick(91)
    assert list(known.watchers(4)) == [requester(2, 9)]
    with pytest.raises(Refused, match="HELLO"):
        known.identify(requester(1), 91)


def test_consoles_watches_and_open_requests_have_limits():
    known = Consoles()
    for number in range(consoles.MAX_CONSOLES):
        known.attach(requester(number), "me", number)
    known.attach(requester(0, 2), "me", 1000)
    known.attach(requester(1000), "me", 1000)
    assert {0, 1, 2, 1000} - {int(peer[4:]) for peer in known.attached} == {1}
    for slave_id in range(consoles.MAX_WATCHED):
        known.watch(requester(0), slave_id)
    known.watch(requester(0, 3), 0)
    with pytest.raises(Refused, match="UNWATCH"):
        known.watch(requester(0), 1000)
    known.unwatch(requester(0), 5)
    known.watch(requester(0), 1000)
    for ticket in range(consoles.MAX_OPEN_REQUESTS):
        known.open_request(requester(0, ticket))
    with pytest.raises(Refused, match="await"):
        known.open_request(requester(0, 100))
    known.close_request(requester(0, 3))
    with pytest.raises(Refused, match="ticket"):
        known.open_request(requester(0, 4))
    known.open_request(requester(0, 3))
    known.validate()


def test_a_tail_is_the_end_of_the_output():
    tails = OutputTails(limit=10)
    tails.add(Output(1, "foo", "1.0", 0, "abcdef"))
    tails.add(Output(1, "foo", "1.0", 6, "ghijkl"))
    assert tails.get(1) == Output(1, "foo", "1.0", 2, "cdefghijkl")
    tails.add(Output(1, "foo", "1.0", 20, "xyz"))  # with a gap before
    assert tails.get(1) == Output(1, "foo", "1.0", 20, "xyz")
    tails.add(Output(1, "bar", "2", 23, "new"))
    assert tails.get(1) == Output(1, "bar", "2", 23, "new")
    tails.drop(1)
    assert tails.get(1) is None


def test_all_tails_together_have_a_limit():
    tails = OutputTails(limit=10, total_limit=25)
    for slave_id in (1, 2, 1, 3):
        tails.add(Output(slave_id, "foo", "1.0", 0, "0123456789"))
    assert [slave_id for slave_id in range(5) if tails.get(slave_id)] == [1, 3]


class AnyOutput(RuleBasedStateMachine):
    """OutputTails against the plain text of each build."""

    def __init__(self):
        super().__init__()
        self.tails = OutputTails(limit=20, total_limit=50)
        self.outputs = {}

    @rule(slave_id=st.integers(1, 4), text=st.text("ab\n", max_size=30))
    def write(self, slave_id, text):
        before = self.outputs.get(slave_id, "")
        self.outputs[slave_id] = before + text
        self.tails.add(Output(slave_id, "foo", "1.0", len(before), text))
        assert self.tails.get(slave_id).offset + 20 >= len(before + text)

    @rule(slave_id=st.integers(1, 4))
    def end(self, slave_id):
        self.outputs.pop(slave_id, None)
        self.tails.drop(slave_id)

    @precondition(lambda self: self.outputs)
    @rule(data=st.data())
    def check(self, data):
        slave_id = data.draw(st.sampled_from(sorted(self.outputs)))
        tail, output = self.tails.get(slave_id), self.outputs[slave_id]
        if tail is not None:
            assert output.endswith(tail.text)
            assert tail.offset + len(tail.text) == len(output)

    @invariant()
    def invariants_hold(self):
        self.tails.validate()


class AnyConsoles(RuleBasedStateMachine):
    """Consoles that come, ask, watch and fall silent."""

    peers = st.integers(0, 3)

    def __init__(self):
        super().__init__()
        self.known = Consoles()
        self.now = 0.0
        self.last_contact = {}
        self.watched = set()

    @rule(peer=peers, ticket=st.integers(0, 20))
    def attach(self, peer, ticket):
        self.known.attach(requester(peer, ticket), "me", self.now)
        self.last_contact[peer] = self.now

    @rule(peer=peers, ticket=st.integers(0, 20), slave_id=st.integers(1, 3), watch=st.booleans())
    def request(self, peer, ticket, slave_id, watch):
        try:
            self.known.identify(requester(peer, ticket), self.now)
        except Refused:
            assert peer not in self.last_contact
            return
        self.last_contact[peer] = self.now
        if watch:
            self.known.watch(requester(peer, ticket), slave_id)
            self.watched.add((peer, slave_id))
        else:
            self.known.unwatch(requester(peer, ticket), slave_id)
            self.watched.discard((peer, slave_id))

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds):
        self.now += seconds
        self.known.tick(self.now)
        self.last_contact = {
            peer: at for peer, at in self.last_contact.items() if self.now - at <= 90
        }
        self.watched = {pair for pair in self.watched if pair[0] in self.last_contact}

    @invariant()
    def invariants_hold(self):
        self.known.validate()
        assert {each.peer for each in self.known.all()} == {
            requester(p).peer for p in self.last_contact
        }
        for slave_id in (1, 2, 3):
            watching = {requester(peer).peer for peer, of in self.watched if of == slave_id}
            assert {each.peer for each in self.known.watchers(slave_id)} == watching


TestAnyOutput = AnyOutput.TestCase
TestAnyOutput.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyConsoles = AnyConsoles.TestCase
TestAnyConsoles.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
