"""The lanes of a host: each has a session of its own, and its host may offer several targets."""

import pytest

from piwheels.core.states import Pending, Phase
from piwheels.core.targets import FIRST, Target
from piwheels.master.logic.effects import Warn
from slave_messages import Farm, hello, of, replies, stats

ARM, ARM64 = ["311", "cp311", "linux_armv7l"], ["311", "cp311", "linux_aarch64"]

ARM_TARGET, PC_TARGET = Target("linux_armv7l", "cp311"), Target("linux_x86_64", "cp311")


def lane(number, **about):
    return {"level": 1, "identity": "one", "lane": number, **about}


def test_the_lanes_of_a_host_build_side_by_side_and_are_no_twins():
    farm = Farm()
    first = farm.build(b"host/1", **lane(1))
    second = farm.build(b"host/2", **lane(2))
    farm.wait(60)
    for address in (b"host/1", b"host/2"):
        farm.say(address, "BUSY", stats())
    assert not of(Warn, farm.tick())
    for address in (b"host/1", b"host/2"):
        farm.fleet.disconnected(address, farm.instant)
    assert farm.join(b"back/2", **lane(2), resume=("bar", "2")) == second
    assert farm.join(b"back/1", **lane(1), resume=("foo", "1.0")) == first
    assert farm.join(b"back/3", **lane(3)) not in (first, second)


def test_the_same_lane_of_two_hosts_with_one_label_is_a_twin():
    farm = Farm()
    for peer in (b"a", b"b"):
        for number in (1, 2):
            farm.join(b"%s/%d" % (peer, number), **lane(number))
    farm.wait(60)
    for address in list(farm.fleet.slaves):
        farm.say(address, "IDLE", stats())
    warnings = [each.text for each in of(Warn, farm.tick())]
    assert len(warnings) == 2
    assert all("has the identity of slave" in each for each in warnings)


@pytest.mark.parametrize(
    ("offers", "same"), [([ARM64, ARM], True), ([ARM64], False), ([ARM64, ARM, ["x"]], True)]
)
def test_a_session_keeps_the_platforms_that_its_host_offers(offers, same):
    farm = Farm()
    about = {"platform": "linux_aarch64", **lane(1)}
    number = farm.join(b"a/1", offers=[ARM64, ARM], **about)
    slave = farm.fleet.by_number[number]
    slave.take_up(next(each for each in slave.offers if each.platform == "linux_armv7l"))
    farm.fleet.disconnected(b"a/1", farm.instant)
    assert (farm.join(b"b/1", offers=offers, **about) == number) == same


def test_a_host_that_can_begin_no_build_keeps_its_session():
    farm = Farm()
    number = farm.join(b"a/1", **lane(1))
    for _ in range(3):
        farm.wait(200)
        (reply,) = replies(farm.say(b"a/1", "WAIT", stats()))
        assert (reply.msg, reply.data) == ("SLEEP", False)
        farm.tick()
    assert farm.fleet.by_number[number].phase is Phase.ASLEEP
    farm.fleet.sleep(None)
    assert replies(farm.say(b"a/1", "WAIT", stats()))[0].data is True
    farm.fleet.wake(None)
    assert replies(farm.say(b"a/1", "IDLE", stats()))[0].msg == "BUILD"


def test_a_host_that_can_begin_no_build_ends_at_once_by_a_command():
    farm = Farm()
    farm.join(b"a/1", **lane(1))
    farm.fleet.kill(None)
    assert [each.msg for each in replies(farm.say(b"a/1", "WAIT", stats()))] == ["DIE"]


def test_a_host_of_64_lanes_can_greet_again_before_its_lost_connection_is_noticed():
    farm = Farm()
    for peer in (b"a", b"b"):
        for number in range(1, 65):
            about = b"%s/%d" % (peer, number), "HELLO", hello(**lane(number)), farm.instant
            slave, refused = farm.fleet.receive(*about, owner="board7")
            assert slave, refused
            farm.fleet.do_hello(slave, farm.instant)
    assert len(farm.fleet.slaves) == 128


def test_a_native_lane_without_room_leaves_work_to_emulated_ones():
    farm = Farm()
    farm.join(b"board/1", **lane(1))
    farm.join(b"pc/1", label="pc", level=1, identity="two", emulated=["linux_x86_64"])
    (reply,) = replies(farm.say(b"pc/1", "IDLE", stats()))
    assert reply.msg == "SLEEP"
    farm.say(b"board/1", "WAIT", stats())
    (reply,) = replies(farm.say(b"pc/1", "IDLE", stats()))
    assert reply.msg == "BUILD"


def test_a_host_begins_with_its_own_target_before_those_that_it_emulates():
    farm = Farm()
    first = Pending("foo", "1.0", *FIRST, "version")
    farm.fleet.queue.replace([ARM_TARGET, PC_TARGET], [first], farm.instant)
    farm.join(b"pc/1", **lane(1), offers=[ARM], emulated=["linux_armv7l"])
    (reply,) = replies(farm.say(b"pc/1", "IDLE", stats()))
    assert reply.data == ("foo", "1.0", "cp311", "linux_x86_64")


@pytest.mark.parametrize("emulated", [5, {}, "linux_x86_64", [["linux_x86_64"], None]])
def test_a_false_report_of_what_a_slave_emulates_hinders_no_other_one(emulated):
    farm = Farm()
    farm.join(b"bad/1", **lane(1), emulated=emulated)
    farm.join(b"pc/1", label="pc", level=1, identity="two", offers=[ARM], emulated=[ARM[2]])
    (reply,) = replies(farm.say(b"pc/1", "IDLE", stats()))
    assert reply.msg == "BUILD"
