"""Requests and messages between tasks, on sockets from the table of wires."""

import threading
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from helpers import LOGGER, own_config, patience, until
from piwheels.core import codec
from piwheels.core.errors import BadMessage, DatabaseError, Fatal, Refused, Unavailable
from piwheels.core.states import Count, Package
from piwheels.master.messages import Message, Request
from piwheels.master.ports import Ports
from piwheels.master.wiring import Limits, Wire


@dataclass(frozen=True)
class Echo(Request[Count | None]):
    number: Count | None


@dataclass(frozen=True)
class Fail(Request[None]):
    how: Package


@dataclass(frozen=True)
class Hello(Message):
    name_: Package


@dataclass(frozen=True)
class Stranger(Message):
    number: Count


WIRES = (
    Wire("toys", "rpc", "TheToymaker", ("Child", "Other"), (Echo, Fail)),
    Wire("greetings", "push", "TheToymaker", ("Child",), (Hello,), Limits(2, 2)),
)


class Loop:
    """A loop that runs one round each time the test calls ``turn``."""

    def __init__(self):
        self.handlers, self.owned = [], []

    def register(self, queue, handler):
        self.handlers.append((queue, handler))

    def every(self, interval, handler):
        pass

    def own(self, thing):
        self.owned.append(thing)

    def turn(self):
        for queue, handler in self.handlers:
            while queue.poll(0):
                handler(queue)


@pytest.fixture
def config():
    return own_config()


@pytest.fixture
def ends(config):
    """The ports of a child, its loop, and the ports of TheToymaker."""
    now = [1000.0]
    loop = Loop()
    clock = SimpleNamespace(monotonic=lambda: now[0])
    maker = Ports("TheToymaker", config, LOGGER, wires=WIRES)
    child = Ports("Child", config, LOGGER, loop, wires=WIRES, clock=clock)
    yield SimpleNamespace(child=child, loop=loop, maker=maker, now=now)
    assert loop.owned == [child]
    child.close()
    maker.close()


@pytest.fixture
def answering(config):
    """Ports whose requests a thread answers, with their own data or with an error."""
    end = threading.Event()
    errors = {"refuse": Refused("NOVER", "no such version"), "db": DatabaseError("down"),
              "away": Unavailable("busy"), "bug": ValueError("what?")}  # fmt: skip
    maker = Ports("TheToymaker", config, LOGGER, wires=WIRES)
    queue = maker.socket("toys")

    def serve():
        while not end.is_set():
            if not queue.poll(0.02):
                continue
            ticket = queue.recv_ticket()
            match ticket.request:
                case Echo(None):
                    pass
                case Echo(number):
                    ticket.answer(number)
                case Fail(how):
                    ticket.refuse(errors[how])

    thread = threading.Thread(target=serve)
    thread.start()
    child = Ports("Child", config, LOGGER, wires=WIRES)
    yield child
    end.set()
    thread.join(patience(5))
    child.close()
    maker.close()


def test_a_call_returns_the_answer_or_raises_the_error(answering):
    assert answering.call("toys", Echo(7)) == 7
    with pytest.raises(Refused, match="no such version") as caught:
        answering.call("toys", Fail("refuse"))
    assert caught.value.code == "NOVER"
    with pytest.raises(DatabaseError, match="down"):
        answering.call("toys", Fail("db"))
    with pytest.raises(Unavailable, match="busy"):
        answering.call("toys", Fail("away"))
    with pytest.raises(Refused, match="what"):
        answering.call("toys", Fail("bug"))


def test_a_call_without_an_answer_times_out(answering):
    with pytest.raises(Unavailable, match=r"toys: Echo was not answered within 0\.1 s"):
        answering.call("toys", Echo(None), limit=0.1)
    assert answering.call("toys", Echo(1)) == 1


def test_the_answer_to_an_earlier_call_is_dropped(ends, config):
    other, queue = Ports("Other", config, LOGGER, wires=WIRES), ends.maker.socket("toys")
    with pytest.raises(Unavailable):
        other.call("toys", Echo(1), limit=0.05)
    late = queue.recv_ticket()
    late.answer(1)

    def answer():
        queue.poll(patience(30))
        queue.recv_ticket().answer(2)

    thread = threading.Thread(target=answer)
    thread.start()
    assert other.call("toys", Echo(2)) == 2
    thread.join()
    other.close()


def test_answers_in_any_sequence_reach_their_callbacks(ends):
    results = {}
    for number in range(50):
        ends.child.ask(
            "toys", Echo(number), lambda result, number=number: results.update({number: result})
        )
    tickets = [ends.maker.socket("toys").recv_ticket() for _ in range(50)]
    ends.loop.turn()
    assert results == {}
    for ticket in reversed(tickets):
        ticket.answer(ticket.request.number)
    until(lambda: ends.loop.turn() or len(results) == 50)
    assert {number: result.get() for number, result in results.items()} == dict(
        enumerate(range(50))
    )
    assert not ends.child._open


def test_a_request_without_an_answer_expires_and_leaves_nothing(ends):
    results = []
    ends.child.ask("toys", Echo(1), results.append, limit=5)
    ends.child.ask("toys", Echo(2), results.append, limit=7)
    ends.now[0] += 4.9
    ends.child.expire()
    assert results == []
    ends.now[0] += 0.1
    ends.child.expire()
    assert "toys: Echo was not answered within 5 s" in str(results[0].error)
    late = ends.maker.socket("toys").recv_ticket()
    late.answer(1)
    second = ends.maker.socket("toys").recv_ticket()
    second.answer(2)
    ends.now[0] += 10  # the answer arrived in time, although the loop was busy
    until(lambda: ends.child.socket("toys").poll(0))
    until(lambda: ends.child.expire() or len(results) == 2)
    assert results[1].get() == 2
    assert not ends.child._open


def test_finish_waits_for_all_answers(ends):
    results = []
    ends.child.ask("toys", Echo(1), results.append)
    ends.child.finish("toys", 0)
    assert results == []
    ends.maker.socket("toys").recv_ticket().answer(1)
    ends.child.finish("toys", 10)
    assert [result.get() for result in results] == [1]
    ends.child.finish("toys", 10)  # no request is open: it returns immediately


def test_only_valid_messages_of_the_wire_are_sent(ends):
    for send in (ends.child.push, ends.child.call):
        with pytest.raises(TypeError, match="greetings does not carry Stranger"):
            send("greetings", Stranger(1))
        with pytest.raises(LookupError, match="Child has no wire 'web'"):
            send("web", Hello("you"))
    with pytest.raises(BadMessage, match="bad Hello: not a package"):
        ends.child.push("greetings", Hello("../you"))
    with pytest.raises(BadMessage, match="bad Echo"):
        ends.child.ask("toys", Echo(-1), print)
    assert not ends.child._open


def test_a_full_wire_is_reported_without_blocking(ends, config):
    sent = 0
    while ends.child.push("greetings", Hello("you")) and sent < 100:
        sent += 1
    assert 2 <= sent < 10
    until(lambda: ends.maker.socket("greetings").poll(0))
    assert ends.maker.socket("greetings").recv() == Hello("you")


def test_an_answer_of_the_wrong_type_is_an_error(ends):
    results = []
    ends.child.ask("toys", Echo(1), results.append)
    ends.maker.socket("toys").recv_ticket().answer("one")
    until(lambda: ends.loop.turn() or results)
    with pytest.raises(BadMessage, match="bad answer to Echo"):
        results[0].get()


def test_an_invalid_request_is_refused(ends):
    queue, raw = ends.maker.socket("toys"), ends.child.socket("toys")
    for frames in ([b"x"], [b"", b"", b""], [b"12345678", b"\xff"]):
        raw.send_multipart(frames)
        with pytest.raises(BadMessage):
            queue.recv_ticket()
    for frame in (codec.dumps("Nonsense"), codec.dumps("Echo", [1, 2]), codec.dumps("Echo", [-1])):
        raw.send_multipart([b"12345678", frame])
        with pytest.raises(BadMessage):
            queue.recv_ticket()
        assert raw.poll(patience(10))
        while raw.poll(0):
            _, answer = raw.recv_multipart()
        assert codec.loads(answer)[0] == "ERROR"  # the sender receives an error


def test_a_long_error_is_truncated(ends):
    results = []
    ends.child.ask("toys", Echo(1), results.append)
    ends.maker.socket("toys").recv_ticket().refuse(DatabaseError("x" * 10**6))
    until(lambda: ends.loop.turn() or results)
    assert len(str(results[0].error)) <= 8000


def test_masters_in_one_process_share_no_address(config):
    other = own_config()
    addresses = {wire.address(each) for wire in WIRES for each in (config, other)}
    assert len(addresses) == 2 * len(WIRES)


def test_ports_that_cannot_bind_leave_no_socket(config):
    first = Ports("TheToymaker", config, LOGGER, wires=WIRES)
    with pytest.raises(Fatal, match="in use"):
        Ports("TheToymaker", config, LOGGER, wires=WIRES[::-1])
    first.close()

    def free():
        try:
            Ports("TheToymaker", config, LOGGER, wires=WIRES).close()
        except Fatal:  # ZeroMQ closes sockets a moment later
            return False
        return True

    until(free)
