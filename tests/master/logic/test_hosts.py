"""Which slaves are lanes of one host."""

from datetime import timedelta

import pytest

from piwheels.core.protocols import SlaveEvent
from piwheels.core.states import SlaveState
from piwheels.master.logic.effects import Publish
from piwheels.master.logic.hosts import lanes
from slave_messages import Farm, hello, of, stats

HOUR = timedelta(hours=1)
SECRET = "0123456789abcdef" * 2


def slave(number, lane, identity=SECRET, owner="", level=1):
    features = {"level": level, "identity": identity, "lane": lane}
    about = "311", "cp311", "linux_armv7l", "board", "Debian", "12", "", ""
    return SlaveState(b"a", HOUR, HOUR, *about, features, slave_id=number, owner=owner)


def test_lanes_with_one_identity_and_owner_are_of_one_host():
    found = lanes([
        slave(1, 1), slave(2, 2), slave(3, 1, "f" * 32), slave(4, 3, owner="else"), slave(5, 4),
    ])  # fmt: skip
    assert [(each.slave_id, each.lane) for each in found] == [
        (1, 1),
        (2, 2),
        (3, 1),
        (4, 3),
        (5, 4),
    ]
    hosts = [each.host for each in found]
    assert hosts[0] == hosts[1] == hosts[4]
    assert len(set(hosts)) == 3
    assert SECRET not in str(found), "a program with it could return as this slave"


@pytest.mark.parametrize(
    "other",
    [
        slave(1, None), slave(1, "1"), slave(1, True), slave(1, 0), slave(1, -1), slave(1, 2**64),
        slave(1, 1, identity=""), slave(1, 1, level=0),
    ],
)  # fmt: skip
def test_others_are_no_lanes(other):
    assert lanes([other]) == []
    other.features = None
    assert lanes([other]) == []


def test_consoles_learn_of_the_target_of_a_lane_before_its_build():
    farm = Farm({"cp311": [("foo", "1.0")]})
    offers = [["311", "cp311", "linux_x86_64"], ["313", "cp313", "linux_x86_64"]]
    features = {"level": 1, "identity": SECRET, "lane": 1, "offers": offers}
    info = hello(abi="cp313")._replace(features=features)
    [joined] = of(Publish, farm.say(b"a", "HELLO", info))
    published = of(Publish, farm.say(b"a", "IDLE", stats()))
    events = [SlaveEvent.checked(event) for event in [joined, *published]]
    assert [event.message for event in events] == ["HELLO", "STATS", "HELLO", "BUILD"]
    assert [events[at].data.native_abi for at in (0, 2)] == ["cp313", "cp311"]
    assert events[-1].data == ("foo", "1.0")
