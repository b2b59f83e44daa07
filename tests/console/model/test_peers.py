"""How long a build takes beside its peers, and why builds fail."""

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


def test_few_peers_say_nothing_but_how_few_they_are():
    assert known().compare("cp311", "numpy", MINUTE) == (0, None, None, float("inf"), None)
    found = known(*[10] * (ENOUGH - 1)).compare("cp311", "numpy", 100 * MINUTE)
    assert (found.peers, found.median, found.ratio, found.eta) == (ENOUGH - 1, None, None, None)


def test_the_middle_is_what_is_usual():
    found = known(9, 10, 11, 12, 500).compare("cp311", "numpy", 22 * MINUTE)
    assert (found.peers, found.median, found.ratio) == (5, 11 * MINUTE, 2.0)


def test_peers_of_other_abis_are_better_than_none():
    peers = known(10, 10, 10, 10, 10, abi="cp313")
    peers.add("cp311", "numpy", 99 * MINUTE)
    assert peers.compare("cp311", "numpy", MINUTE).peers == 6
    assert peers.compare("cp313", "numpy", MINUTE).peers == 5
    assert peers.compare("cp313", "scipy", MINUTE).peers == 0


def test_the_rest_is_that_of_builds_that_took_longer():
    peers = known(10, 10, 20, 20, 20, 90)
    assert peers.compare("cp311", "numpy", timedelta()).eta == 20 * MINUTE
    assert peers.compare("cp311", "numpy", 15 * MINUTE).eta == 5 * MINUTE
    assert peers.compare("cp311", "numpy", 30 * MINUTE).eta is None  # only one took so long


def test_what_differs_anyway_is_not_slow():
    assert known(*[10] * 9).compare("cp311", "numpy", MINUTE).slow_from == 3
    assert known(1, 3, 10, 30, 100).compare("cp311", "numpy", MINUTE).slow_from > 50
    assert known(*[0.1] * 9).compare("cp311", "numpy", MINUTE).slow_from == 11  # a minute is lost


@given(st.lists(st.integers(-5, 2**40), max_size=200))
def test_only_the_last_durations_count(seconds):
    peers = Peers()
    for one in seconds:
        peers.add("cp311", "numpy", timedelta(seconds=one))
    fresh = Peers()
    for one in seconds[-KEPT:]:
        fresh.add("cp311", "numpy", timedelta(seconds=one))
    now = timedelta(seconds=77)
    assert peers.compare("cp311", "numpy", now) == fresh.compare("cp311", "numpy", now)


def test_what_is_remembered_has_an_end():
    peers = known(10, 10, 10, 10, 10)
    for number in range(KEYS):
        peers.add("cp311", f"package-{number}", MINUTE)
    assert peers.compare("cp311", "numpy", MINUTE).peers == 0
    assert peers.compare("cp311", f"package-{KEYS - 1}", MINUTE).peers == 1


def test_whether_the_package_or_the_slave_is_to_blame(teller):
    for number in range(1, 5):
        teller.hello(number, label=f"rack-{number}")
        teller.finish(number, "pyarrow", ok=False)
        teller.finish(number, "numpy", ok=number != 4)
        teller.finish(number, "scipy", ok=number == 1)
    assert teller.farm.causes() == [
        "pyarrow fails everywhere (4 of 4 slaves)",
        "rack-4 fails everything (3 in a row)",
    ]
    warned = [what for _, number, what in teller.entries() if number is None]
    assert warned == ["pyarrow fails everywhere (3 of 3 slaves)"]  # told when it was found
    assert failures.packages(teller.farm.slaves[1].builds) == {}
