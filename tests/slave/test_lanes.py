"""A slave with several lanes: one connection, a conversation and a build for each."""

import pytest

from helpers import patience, until
from piwheels.core.host.interpreters import Interpreter
from piwheels.core.program.builds import AUTO
from piwheels.core.protocols import LEVEL_1_ID
from piwheels.core.transport import split_address
from piwheels.slave import lane, room
from piwheels.slave.admission import Use
from piwheels.slave.lane import Pauses
from piwheels.slave.workshops import Workshop
from toy_master import NAME

GIB = 2**30
pytestmark = pytest.mark.parametrize("jobs", [2])


def welcome_all(master):
    """Welcome both lanes, which ask for work; return their addresses in their order."""
    found, asked = {}, set()
    while len(asked) < 2:
        data = master.receive("HELLO", "IDLE")
        if master.received == "HELLO":
            found[data.features["lane"]] = master.peer
            master.say("ACK", (6 + data.features["lane"], ""))
        else:
            asked.add(master.peer)
    assert {number: split_address(peer)[1] for number, peer in found.items()} == {1: b"1", 2: b"2"}
    assert len({split_address(peer)[0] for peer in found.values()}) == 1
    assert asked == set(found.values())
    return found[1], found[2]


def order(master, *peers):
    for master.peer in peers:
        master.say("BUILD", ("demo", "1.0"))


def test_two_lanes_build_side_by_side(master, slave, gate):
    peers = welcome_all(master)
    order(master, *peers)
    heard = set()
    while len(heard) < 2:
        master.receive("BUSY", "OUTPUT")
        heard.add(master.peer)
        master.say("CONT")
    assert len(list(slave.dir.iterdir())) == 2
    gate.touch()
    sent = []
    while len(sent) < 2:
        data = master.receive("BUSY", "OUTPUT", "BUILT", "SENT", "IDLE")
        if master.received == "BUILT":
            assert data.status, data.output
            master.say("SEND", NAME)
            number = b"7" if master.peer == peers[0] else b"8"
            assert len(master.fetch(data.files[0].filesize, number)) == data.files[0].filesize
        elif master.received == "SENT":
            sent.append(master.peer)
            master.say("DONE")
        elif master.received != "IDLE":
            master.say("CONT")
    assert set(sent) == set(peers)
    until(lambda: not list(slave.dir.iterdir()))


def test_a_lane_that_is_refused_or_ended_leaves_the_other_alone(master, slave, gate, caplog):
    for worker in slave.workers:
        worker.lane.refusals = Pauses(0.1, 0.4)
    first, second = welcome_all(master)
    order(master, first)
    master.peer = second
    master.say("REFUSED", "too many")
    while master.receive("HELLO", "BUSY", "OUTPUT") and master.received != "HELLO":
        assert master.peer == first
        master.say("CONT")
    assert master.peer == second
    master.say("ACK", (9, ""))
    while master.receive("IDLE", "BUSY", "OUTPUT") and master.received != "IDLE":
        master.say("CONT")
    master.say("DIE")
    master.receive("BYE", "BUSY", "OUTPUT")
    while master.peer != second:
        master.say("CONT")
        master.receive("BYE", "BUSY", "OUTPUT")
    assert master.received == "BYE"
    assert slave.thread.is_alive()
    gate.touch()
    master.peer = first
    assert master.built().status
    assert master.peer == first
    master.say("DIE")
    slave.thread.join(patience(30))
    assert "an operator has ended this slave" in caplog.text


def test_a_lost_connection_interrupts_no_build(master, slave, gate):
    peers = welcome_all(master)
    order(master, *peers)
    until(lambda: all(each.builder is not None for each in slave.workers))
    master.vanish()
    master.back()
    resumed = {}
    while len(resumed) < 2:
        data = master.receive("HELLO")
        resumed[data.features["lane"]] = data.features["resume"]
        assert master.peer not in peers
        assert master.peer.startswith(LEVEL_1_ID)
    assert resumed == {1: ["demo", "1.0"], 2: ["demo", "1.0"]}


def test_a_master_that_knows_no_lanes_is_named(master, slave, caplog):
    data = master.receive("HELLO")
    assert data.features["lane"] == 1
    master.peer = split_address(master.peer)[0]
    master.say("REFUSED", "3 frames instead of an empty one and a message")
    until(lambda: "upgrade it, or use --jobs 1" in caplog.text)


def test_a_slave_builds_for_each_target_that_it_offers(master, slave, gate):
    python = slave.interpreter
    slave.workshops.append(
        Workshop(Interpreter(python.path, "399", "cp399", "linux_odd"), slave.workshops[0].pip)
    )
    peers = welcome_all(master)
    for master.peer, offer in zip(peers, slave.workshops, strict=True):
        master.say("BUILD", ("demo", "1.0", *offer.offer[1:]))
    until(lambda: all(each.builder is not None for each in slave.workers))
    assert [each.workshop for each in slave.workers] == slave.workshops
    for master.peer in peers:
        master.say("HELLO")
    natives = set()
    while len(natives) < 2:
        data = master.receive("HELLO", "BUSY", "OUTPUT")
        if master.received == "HELLO":
            natives.add((data.native_abi, data.native_platform))
            offers = [list(each.offer) for each in slave.workshops]
            assert data.features["offers"] == offers
        else:
            master.say("HELLO")
    assert natives == {(python.abi, python.platform), ("cp399", "linux_odd")}


def test_an_order_for_another_target_is_refused(master, slave, caplog):
    first, _ = welcome_all(master)
    master.peer = first
    master.say("BUILD", ("demo", "1.0", "cp399", "linux_odd"))
    master.receive("HELLO")
    assert "asks for a build for cp399 on linux_odd" in caplog.text


def test_lanes_without_room_keep_their_sessions(master, slave, gate, monkeypatch):
    monkeypatch.setattr(lane, "ALIVE_WAIT", 0.3)
    first, second = welcome_all(master)
    free = [0]

    def measure(_):
        return Use(cores=2, load=0, memory=GIB, memory_free=free[0], swapped=0, disk_free=99 * GIB)

    monkeypatch.setattr(slave.room, "_measure", measure)
    slave.room._jobs = AUTO
    order(master, first)
    until(lambda: slave.workers[0].builder is not None)
    master.peer = second
    master.say("SLEEP", data=False)
    waits = 0
    while waits < 3:
        waits += follow(master, "WAIT")
    free[0] = 99 * GIB
    while not follow(master, "IDLE", "WAIT") or master.received == "WAIT":
        pass
    assert master.peer == second


def follow(master, *wanted):
    """Receive a request of a lane, and reply; return whether it is one of *wanted*."""
    master.receive(*wanted, "BUSY", "OUTPUT")
    if master.received == "WAIT":
        master.say("SLEEP", data=False)
    elif master.received != "IDLE":
        master.say("CONT")
    return master.received in wanted


def test_the_need_of_a_build_is_measured_while_all_lanes_build(master, slave, gate, monkeypatch):
    monkeypatch.setattr(room, "MEMORY_WAIT", 0.1)
    peers = welcome_all(master)
    slave.room._jobs = AUTO
    order(master, *peers)
    until(lambda: all(each.most_memory for each in slave.workers))
    gate.touch()
    reports = 0
    while reports < 2:
        reports += follow(master, "BUILT")
    assert 2**20 < slave.room._needs.of("demo") < 2**30
