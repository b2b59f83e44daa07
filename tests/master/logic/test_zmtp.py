"""The bytes of clients: what is passed on of them, and what ends a connection."""

import socket

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from helpers import patience
from hostile.floods import COMMAND, MORE, frame, ready, shake_hands
from piwheels.core.errors import BadMessage
from piwheels.master.logic.zmtp import FRAME_BYTES, Incoming, Rules

RULES = Rules(frame=100, frames=3, messages=5)


def passed(incoming, data, has_room=lambda _: True, part=None):
    """Return what *incoming* passes on of *data*, which arrives in parts of *part* bytes."""
    out, held = b"", b""
    for at in range(0, len(data), part or max(1, len(data))):
        held += data[at : at + (part or len(data))]
        while not incoming.is_open:
            new, used = incoming.handshake(held)
            out, held = out + new, held[used:]
            if not used:
                break
        if incoming.is_open:
            used = incoming.messages(held, has_room)
            out, held = out + held[:used], held[used:]
    return out


@pytest.mark.parametrize("part", [1, 7, 1000])
def test_what_a_client_may_send_arrives_as_it_is_however_it_is_cut(part):
    data = ready("DEALER") + frame(b"", MORE) + frame(b"x" * 99) + frame(b"\x04PING\0\0", COMMAND)
    assert passed(Incoming(RULES), data, part=part) == data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "no greeting of ZMTP 3"),
        (b"\xff" + bytes(8) + b"\x7f\x01", "no greeting of ZMTP 3"),
        (ready("DEALER")[:64] + frame(b"x"), "no handshake"),
        (ready("DEALER")[:64] + frame(bytes(2000), COMMAND), "no handshake"),
        (ready("DEALER") + frame(bytes(101)), "a frame of 101 bytes, of at most 100"),
        (ready("DEALER") + b"\x02" + b"\xff" * 8, "a frame of 18,446,744,073,709,551,615 bytes"),
        (ready("DEALER") + frame(bytes(600), COMMAND), "a frame of 600 bytes"),
        (ready("DEALER") + frame(b"x", MORE) * 3, "a message of more than 3 frames"),
        (ready("DEALER") + frame(b"x") * 6, "more than 5 messages"),
        (ready("DEALER") + b"\x77\0", "no frame of ZMTP 3"),
    ],
)
def test_what_a_client_may_not_send_ends_its_connection(data, why):
    with pytest.raises(BadMessage, match=why):
        passed(Incoming(RULES), data)


@given(st.binary(max_size=300), st.booleans(), st.booleans())
def test_arbitrary_bytes_are_passed_on_or_refused(data, greeted, curve):
    incoming = Incoming(RULES, curve=curve)
    try:
        out = passed(incoming, (ready("DEALER") if greeted else b"") + data)
    except BadMessage:
        return
    assert out == ((ready("DEALER") if greeted else b"") + data)[: len(out)]


def test_what_has_no_room_waits_and_no_byte_of_it_passes():
    asked = []

    def has_room(size):
        asked.append(size)
        return len(asked) < 2

    data = ready("DEALER") + frame(b"a") + frame(b"b")
    assert passed(Incoming(RULES), data, has_room) == data[:-3]
    assert asked == [FRAME_BYTES + 1] * 2


def test_a_client_with_another_mechanism_sees_why_and_its_greeting_never_ends():
    incoming = Incoming(RULES, curve=True)
    assert passed(incoming, ready("DEALER")) == ready("DEALER")[:63]
    assert incoming.is_strange


def test_a_client_cannot_choose_the_address_that_is_added():
    forged = b"\x06X-Peer" + (9).to_bytes(4, "big") + b"192.0.2.7"
    greeting, hello = ready("DEALER")[:64], ready("DEALER")[66:]
    data = greeting + frame(hello + forged, COMMAND) + frame(b"", MORE) + frame(b"x")
    sent = passed(Incoming(RULES, "10.0.0.7"), data)
    with zmq.Context.instance().socket(zmq.ROUTER) as router:
        router.linger = 0
        port = router.bind_to_random_port("tcp://127.0.0.1")
        with socket.create_connection(("127.0.0.1", port)) as client:
            shake_hands(client, sent[:-5])
            client.sendall(sent[-5:])
            assert router.poll(patience(5) * 1000)
            assert router.recv(copy=False).get("X-Peer") == "10.0.0.7"
