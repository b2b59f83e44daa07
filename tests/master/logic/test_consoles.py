"""Who is attached, who watches, and the tails of what builds say: in any order."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from piwheels.core.errors import Refused
from piwheels.core.protocols import Output
from piwheels.master.logic import consoles
from piwheels.master.logic.consoles import Asker, Consoles, Tails


def asker(number, ticket=1):
    return Asker(b"peer%d" % number, ticket.to_bytes(8, "big"))


def test_a_console_is_told_under_the_ticket_of_its_last_hello():
    known = Consoles()
    known.greet(asker(1, 5), "me", 0)
    known.greet(asker(2, 6), "you", 0)
    known.greet(asker(1, 7), "me", 10)
    assert list(known.everyone()) == [asker(1, 7), asker(2, 6)]


def test_who_is_silent_is_forgotten_with_all_that_it_watched():
    known = Consoles()
    for number in (1, 2):
        known.greet(asker(number), "me", 0)
        known.watch(asker(number, 9), 4)
    assert known.heard(asker(2), 60).who == "me"
    known.tick(91)
    assert list(known.watchers(4)) == [asker(2, 9)]
    with pytest.raises(Refused, match="HELLO"):
        known.heard(asker(1), 91)


def test_there_is_an_end_to_what_consoles_may_want():
    known = Consoles()
    for number in range(consoles.MAX_CONSOLES):
        known.greet(asker(number), "me", number)
    known.greet(asker(0, 2), "me", 1000)
    known.greet(asker(1000), "me", 1000)
    assert {0, 1, 2, 1000} - {int(peer[4:]) for peer in known.attached} == {1}
    for slave_id in range(consoles.MAX_WATCHED):
        known.watch(asker(0), slave_id)
    known.watch(asker(0, 3), 0)
    with pytest.raises(Refused, match="UNWATCH"):
        known.watch(asker(0), 1000)
    known.unwatch(asker(0), 5)
    known.watch(asker(0), 1000)
    for ticket in range(consoles.MAX_OPEN):
        known.opened(asker(0, ticket))
    with pytest.raises(Refused, match="await"):
        known.opened(asker(0, 100))
    known.closed(asker(0, 3))
    with pytest.raises(Refused, match="ticket"):
        known.opened(asker(0, 4))
    known.opened(asker(0, 3))
    known.validate()


def test_a_tail_is_the_end_of_what_was_said():
    tails = Tails(each=10)
    tails.add(Output(1, "foo", "1.0", 0, "abcdef"))
    tails.add(Output(1, "foo", "1.0", 6, "ghijkl"))
    assert tails.of(1) == Output(1, "foo", "1.0", 2, "cdefghijkl")
    tails.add(Output(1, "foo", "1.0", 20, "xyz"))  # with a gap before
    assert tails.of(1) == Output(1, "foo", "1.0", 20, "xyz")
    tails.add(Output(1, "bar", "2", 23, "new"))
    assert tails.of(1) == Output(1, "bar", "2", 23, "new")
    tails.drop(1)
    assert tails.of(1) is None


def test_all_tails_together_have_a_limit_too():
    tails = Tails(each=10, all_of_them=25)
    for slave_id in (1, 2, 1, 3):
        tails.add(Output(slave_id, "foo", "1.0", 0, "0123456789"))
    assert [slave_id for slave_id in range(5) if tails.of(slave_id)] == [1, 3]


class Anything(RuleBasedStateMachine):
    """Tails against the plain text of each build."""

    def __init__(self):
        super().__init__()
        self.tails = Tails(each=20, all_of_them=50)
        self.said = {}

    @rule(slave_id=st.integers(1, 4), text=st.text("ab\n", max_size=30))
    def say(self, slave_id, text):
        before = self.said.get(slave_id, "")
        self.said[slave_id] = before + text
        self.tails.add(Output(slave_id, "foo", "1.0", len(before), text))
        assert self.tails.of(slave_id).offset + 20 >= len(before + text)

    @rule(slave_id=st.integers(1, 4))
    def end(self, slave_id):
        self.said.pop(slave_id, None)
        self.tails.drop(slave_id)

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def look(self, data):
        slave_id = data.draw(st.sampled_from(sorted(self.said)))
        tail, said = self.tails.of(slave_id), self.said[slave_id]
        if tail is not None:
            assert said.endswith(tail.text)
            assert tail.offset + len(tail.text) == len(said)

    @invariant()
    def holds(self):
        self.tails.validate()


class AnyConsoles(RuleBasedStateMachine):
    """Consoles that come, ask, watch and fall silent."""

    peers = st.integers(0, 3)

    def __init__(self):
        super().__init__()
        self.known = Consoles()
        self.now = 0.0
        self.last = {}
        self.watched = set()

    @rule(peer=peers, ticket=st.integers(0, 20))
    def greet(self, peer, ticket):
        self.known.greet(asker(peer, ticket), "me", self.now)
        self.last[peer] = self.now

    @rule(peer=peers, ticket=st.integers(0, 20), slave_id=st.integers(1, 3), watch=st.booleans())
    def ask(self, peer, ticket, slave_id, watch):
        try:
            self.known.heard(asker(peer, ticket), self.now)
        except Refused:
            assert peer not in self.last
            return
        self.last[peer] = self.now
        if watch:
            self.known.watch(asker(peer, ticket), slave_id)
            self.watched.add((peer, slave_id))
        else:
            self.known.unwatch(asker(peer, ticket), slave_id)
            self.watched.discard((peer, slave_id))

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds):
        self.now += seconds
        self.known.tick(self.now)
        self.last = {peer: at for peer, at in self.last.items() if self.now - at <= 90}
        self.watched = {pair for pair in self.watched if pair[0] in self.last}

    @invariant()
    def holds(self):
        self.known.validate()
        assert {each.peer for each in self.known.everyone()} == {asker(p).peer for p in self.last}
        for slave_id in (1, 2, 3):
            watching = {asker(peer).peer for peer, of in self.watched if of == slave_id}
            assert {each.peer for each in self.known.watchers(slave_id)} == watching


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyConsoles = AnyConsoles.TestCase
TestAnyConsoles.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
