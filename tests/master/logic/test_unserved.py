"""Targets that wait without a slave, and the state of all targets."""

from datetime import UTC, datetime, timedelta

from piwheels.core.database.rows import TargetRow
from piwheels.core.protocols import UNSERVED, TargetState
from piwheels.core.states import Instant, SlaveState
from piwheels.core.targets import Target
from piwheels.master.logic.unserved import Unserved, target_states

START = datetime(2026, 11, 24, tzinfo=UTC)
ARM, INTEL = Target("linux_armv7l", "cp311"), Target("linux_x86_64", "cp313")
LIMIT = UNSERVED.total_seconds()


def at(seconds, jump=0.0):
    """An instant; *jump*: by how much the wall clock has been set since the start."""
    return Instant(5000.0 + seconds, START + timedelta(seconds=seconds + jump))


def state(target, pending=3, slaves=0):
    return TargetState(*target, pending, slaves)


def test_a_target_without_a_slave_is_reported_once_after_ten_minutes():
    unserved = Unserved()
    assert unserved.take([state(ARM), state(INTEL, slaves=1)], at(0)) == []
    assert (unserved.since(ARM), unserved.since(INTEL)) == (START, None)
    assert unserved.take([state(ARM), state(INTEL)], at(LIMIT - 1, jump=86_400)) == []
    assert unserved.take([state(ARM), state(INTEL)], at(LIMIT)) == [ARM]
    assert unserved.take([state(ARM), state(INTEL)], at(LIMIT + 60)) == []
    assert unserved.late == {ARM}
    assert unserved.take([state(ARM), state(INTEL)], at(2 * LIMIT)) == [INTEL]
    assert unserved.late == {ARM, INTEL}


def test_a_slave_or_an_empty_queue_ends_the_wait():
    for served in (state(ARM, slaves=1), state(ARM, pending=0)):
        unserved = Unserved()
        assert unserved.take([state(ARM)], at(0)) == []
        assert unserved.take([state(ARM)], at(LIMIT)) == [ARM]
        assert unserved.take([served], at(LIMIT + 1)) == []
        assert (unserved.late, unserved.since(ARM)) == (set(), None)
        assert unserved.take([state(ARM)], at(LIMIT + 2)) == [], "it waits from then on"
        unserved.take([], at(LIMIT + 3))
        assert unserved.since(ARM) is None, "it is retired"


def row(target, pending, skip=""):
    return TargetRow(*target, 0, skip, "", START, pending)


def slave(abi="cp311", platform="linux_armv7l", offers=()):
    hours = timedelta(hours=3)
    features = {"level": 1, "offers": list(map(list, offers))}
    about = "board", "Debian", "12", "", ""
    return SlaveState(b"a", hours, hours, abi[2:], abi, platform, *about, features)


def test_slaves_count_for_each_target_that_they_offer():
    slaves = [
        slave(),
        slave(platform="linux_armv8l", offers=[("313", "cp313", "manylinux_2_28_x86_64")]),
        slave(platform="linux_aarch64"),
    ]
    unserved = Unserved()
    riscv, every = Target("linux_riscv64", "cp311"), Target("any", "cp311")
    rows = [
        row(ARM, 4),
        row(INTEL, 5),
        row(riscv, 6),
        row(every, 7),
        row(("any", "cp39"), 8, "EOL"),
    ]
    unserved.take(target_states(rows, slaves, unserved), at(0))
    assert target_states(rows, slaves, unserved) == [
        ("linux_armv7l", "cp311", 4, 2, None, ""),
        ("linux_x86_64", "cp313", 5, 1, None, ""),
        ("linux_riscv64", "cp311", 6, 0, START, ""),
        ("any", "cp311", 7, 3, None, ""),
        ("any", "cp39", 0, 0, None, "EOL"),
    ]
