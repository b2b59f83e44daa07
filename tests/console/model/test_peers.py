"""Durations of builds compared with their peers, and causes of failures."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from piwheels.console.model import failures
from piwheels.console.model.peers import ENOUGH, KEPT, KEYS, Peers

MINUTE = timedelta(minutes=1)


def known(*minutes, abi="cp311", package="numpy"):
    peers = Peers()
    for one in minutes:
        peers.add(abi, package, one * MINUTE)
    return peers


def test_few_peers_give_only_their_number():
    assert known().compare("cp311", "numpy", MINUTE) == (0, None, None, float("inf"), None)
    found = known(*[10] * (ENOUGH - 1)).compare("cp311", "numpy", 100 * MINUTE)
    assert (found.peers, found.median, found.ratio, found.eta) == (ENOUGH - 1, None, None, None)


def test_the_median_is_the_usual_duration():
    found = known(9, 10, 11, 12, 500).compare("cp311", "numpy", 22 * MINUTE)
    assert (found.peers, found.median, found.ratio) == (5, 11 * MINUTE, 2.0)


def test_peers_of_other_abis_are_used_if_there_are_few():
    peers = known(10, 10, 10, 10, 10, abi="cp313")
    peers.add("cp311", "numpy", 99 * MINUTE)
    assert peers.compare("cp311", "numpy", MINUTE).peers == 6
    assert peers.compare("cp313", "numpy", MINUTE).peers == 5
    assert peers.compare("cp313", "scipy", MINUTE).peers == 0


def test_the_estimate_uses_builds_that_took_longer():
    peers = known(10, 10, 20, 20, 20, 90)
    assert peers.compare("cp311", "numpy", timedelta()).eta == 20 * MINUTE
    assert peers.compare("cp311", "numpy", 15 * MINUTE).eta == 5 * MINUTE
    assert peers.compare("cp311", "numpy", 30 * MINUTE).eta is None  # only one took so long


def test_a_widely_varying_package_is_not_slow():
    assert known(*[10] * 9).compare("cp311", "numpy", MINUTE).slow_from == 3
    assert known(1, 3, 10, 30, 100).compare("cp311", "numpy", MINUTE).slow_from > 50
    assert known(*[0.1] * 9).compare("cp311", "numpy", MINUTE).slow_from == 11  # a minute is lost


@given(st.lists(st.integers(-5, 2**40), max_size=200))
def test_only_recent_durations_count(seconds):
    peers = Peers()
    for one in seconds:
        peers.add("cp311", "numpy", timedelta(seconds=one))
    fresh = Peers()
    for one in seconds[-KEPT:]:
        fresh.add("cp311", "numpy", timedelta(seconds=one))
    now = timedelta(seconds=77)
    assert peers.compare("cp311", "numpy", now) == fresh.compare("cp311", "numpy", now)


def test_the_number_of_packages_is_limited():
    peers = known(10, 10, 10, 10, 10)
    for number in range(KEYS):
        peers.add("cp311", f"package-{number}", MINUTE)
    assert peers.compare("cp311", "numpy", MINUTE).peers == 0
    assert peers.compare("cp311", f"package-{KEYS - 1}", MINUTE).peers == 1


def test_causes_of_failures_name_the_package_or_the_slave(master):
    for number in range(1, 5):
        master.hello(number, label=f"rack-{number}")
        master.finish(number, "pyarrow", ok=False)
        master.finish(number, "numpy", ok=number != 4)
        master.finish(number, "scipy", ok=number == 1)
    assert master.farm.causes() == [
        "pyarrow fails everywhere (4 of 4 slaves)",
        "rack-4 fails everything (3 in a row)",
    ]
    warned = [what for _, number, what in master.entries() if number is None]
    assert warned == ["pyarrow fails everywhere (3 of 3 slaves)"]  # reported when it was found
    assert failures.packages(master.farm.slaves[1].builds) == {}
