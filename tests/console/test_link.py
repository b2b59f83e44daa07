"""The console's sockets, against a master's that a test drives by hand."""

import socket
import threading
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import free_port, patience
from piwheels.console.clock import ConsoleClock
from piwheels.console.model.events import Answer, Garbled, Outgoing, Sent, Unsent, WireDown, WireUp
from piwheels.console.wire.link import Link, why_unreachable
from piwheels.core.codec import NoData
from piwheels.core.errors import Fatal
from piwheels.core.protocols import Greeting, Output, SlaveEvent, Welcome
from piwheels.core.states import MasterInfo

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
INFO = MasterInfo(NOW, "farm1", "Debian", "12", "", "")


@pytest.fixture
def make_link():
    made = []

    def make(addresses):
        made.append(Link(addresses, ConsoleClock()))
        made[-1].start()
        return made[-1]

    yield make
    for link in made:
        link.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "link"]


def wait_for(link, *types, seconds=30):
    """Return the next event of each of *types*, in the sequence in which they come."""
    found, wanted, end = [], list(types), time.monotonic() + patience(seconds)
    while wanted:
        assert time.monotonic() < end, f"no {wanted[:5]} has come, only {found[:5]}"
        for incoming in link.take():
            if type(incoming.event) in wanted:
                wanted.remove(type(incoming.event))
                found.append(incoming.event)
        time.sleep(0.01)
    return found


def attached(make_master, make_link, **how):
    master = make_master(**how)
    link = make_link(master.addresses)
    ups = wait_for(link, *[WireUp] * len(master.addresses))
    assert {event.wire for event in ups} == set(master.addresses)
    return master, link


def test_messages_of_the_master(make_master, make_link):
    master, link = attached(make_master, make_link)
    master.say("HELLO", INFO)
    master.say("SLAVE", [4, NOW, "BUILD", ["six", "1.0"]])
    assert wait_for(link, MasterInfo, SlaveEvent) == [
        INFO,
        SlaveEvent(4, NOW, "BUILD", ("six", "1.0")),
    ]


def test_commands_are_sent(make_master, make_link):
    master, link = attached(make_master, make_link)
    link.send(Outgoing("control", 1, "HELLO", NoData))
    link.send(Outgoing("control", 2, "SLEEP", 7))
    assert master.next_command() == ("HELLO", NoData)
    assert master.next_command() == ("SLEEP", 7)
    assert wait_for(link, Sent, Sent) == [Sent(1), Sent(2)]


def test_answers_are_delivered(make_master, make_link):
    master, link = attached(make_master, make_link)
    link.send(Outgoing("console", 11, "HELLO", Greeting(1, "me")))
    hello, msg, data = master.next_request()
    assert (msg, data) == ("HELLO", Greeting(1, "me"))
    master.answer(hello, "OK", Welcome(1, INFO, paused=False))
    (answer,) = wait_for(link, Answer)
    assert answer == Answer(11, "HELLO", Welcome(1, INFO, paused=False))
    link.send(Outgoing("console", 12, "WATCH", 4))
    watch, *_ = master.next_request()
    master.answer(watch, "REFUSED", "no such slave")
    assert wait_for(link, Answer) == [Answer(12, "WATCH", NoData, "no such slave")]
    master.answer(watch, "OUTPUT", Output(4, "six", "1.0", 0, "line\n"))
    assert wait_for(link, Output) == [Output(4, "six", "1.0", 0, "line\n")]
    master.answer(watch, "OK")  # a second answer
    master.answer(hello, "OK", 5)
    assert "without a request" in wait_for(link, Garbled)[0].why


def test_what_no_message_can_have_is_not_sent(make_master, make_link):
    master, link = attached(make_master, make_link)
    link.send(Outgoing("console", 3, "POSITION", ["no package!", "1.0"]))
    (unsent,) = wait_for(link, Unsent)
    assert (unsent.ticket, "package" in unsent.why) == (3, True)
    link.send(Outgoing("console", 4, "QUEUE", 5))
    assert master.next_request()[1:] == ("QUEUE", 5)


def test_an_answer_of_the_wrong_kind_is_counted(make_master, make_link):
    master, link = attached(make_master, make_link)
    link.send(Outgoing("console", 1, "QUEUE", 5))
    where, *_ = master.next_request()
    master.answer(where, "OK", "a queue")
    assert "bad QUEUE" in wait_for(link, Garbled)[0].why


def test_a_command_without_a_master_is_never_sent(make_master, make_link):
    master, link = attached(make_master, make_link)
    master.close()
    wait_for(link, *[WireDown] * 3)
    link.send(Outgoing("control", 5, "KILL", None))
    link.send(Outgoing("console", 6, "KILL", None))
    link.send(Outgoing("console", 7, "KILL", [1]))
    assert [event.ticket for event in wait_for(link, *[Unsent] * 3)] == [5, 6, 7]
    master.open()
    wait_for(link, *[WireUp] * 3)
    link.send(Outgoing("control", 8, "HELLO", NoData))
    assert master.next_command() == ("HELLO", NoData)  # and nothing before it
    assert not master.console.poll(0.2)


def test_a_missing_console_socket(make_master, make_link):
    _, link = attached(make_master, make_link, level=0)
    link.send(Outgoing("console", 1, "HELLO", Greeting(1, "me")))
    assert wait_for(link, Unsent)[0].ticket == 1


def test_a_master_that_starts_later(make_master, make_link, short_dir):
    folder = short_dir / "later"
    link = make_link({name: f"ipc://{folder}/{name}" for name in ("status", "control")})
    assert "no such socket" in wait_for(link, WireDown)[0].why


@given(frames=st.lists(st.binary(max_size=80), min_size=1, max_size=4))
def test_any_frames_are_events_or_invalid(frames):
    """Any frame on a status or console socket is an event, or is counted as invalid."""
    from piwheels.console.wire.link import _Sockets  # noqa: PLC0415

    sockets = object.__new__(_Sockets)
    sockets._asked = {0: "QUEUE"}
    for read in (sockets._status, sockets._console):
        try:
            read(frames)
        except ValueError as exc:
            assert type(exc).__name__ == "BadMessage"  # noqa: PT017


def test_raw_frames_of_any_bytes(make_master, make_link):
    master, link = attached(make_master, make_link)
    for frame in (b"", b"\xff" * 100, b"\x82\x63FOO\x01", b"\x9f" * 1000):
        master.status.send_multipart([frame])
    master.status.send_multipart([b"a", b"b"])
    assert len(wait_for(link, *[Garbled] * 5)) == 5
    master.say("HELLO", INFO)
    wait_for(link, MasterInfo)


def test_a_burst_is_not_lost(make_master, make_link):
    master, link = attached(make_master, make_link)
    for number in range(20_000):
        master.say("SLAVE", [number, NOW, "SLEEP", False])
    events = wait_for(link, *[SlaveEvent] * 20_000)
    assert sum(event.slave_id for event in events) == sum(range(20_000))


def test_reasons_for_a_missing_master(tmp_path):
    assert "no such socket" in why_unreachable(f"ipc://{tmp_path}/nothing")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left"))
    assert "nobody listens" in why_unreachable(f"ipc://{tmp_path}/left")
    assert "nobody listens" in why_unreachable(f"tcp://127.0.0.1:{free_port()}")


@pytest.mark.parametrize("address", ["tcp://nowhere", "ipc://", "what://ever"])
def test_invalid_addresses(address):
    with pytest.raises(Fatal, match="cannot connect"):
        Link({"status": address}, ConsoleClock())


def test_stop_is_fast(make_master):
    link = Link(make_master().addresses, ConsoleClock())
    link.start()
    began = time.monotonic()
    link.stop()
    assert time.monotonic() - began < patience(3)
    link.send(Outgoing("control", 1, "HELLO", NoData))  # after the end, without effect
