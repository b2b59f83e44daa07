"""Whether another build may begin: decisions about memory, load and disk."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.slave.admission import (
    BUILDS,
    FIRST_NEED,
    OF_BUILDS,
    Needs,
    Running,
    Use,
    memory_limit,
    why_not,
)

GIB, MIB = 2**30, 2**20
#: A board with four processors and 4 GiB that does nothing.
IDLE = Use(cores=4, load=0.1, memory=4 * GIB, memory_free=3 * GIB, swapped=0, disk_free=50 * GIB)
ONE = Running(memory=100 * MIB, need=200 * MIB)
FULL = Use(1, 99.0, GIB, 0, GIB, 0)


@pytest.mark.parametrize(
    ("changes", "running", "need", "why"),
    [
        ({}, [ONE], 500 * MIB, ""),
        ({}, [ONE, ONE, ONE], 500 * MIB, ""),
        ({"memory_free": 700 * MIB}, [ONE], 500 * MIB, "memory: 734.0 MB free, 629.1 MB needed"),
        ({}, [Running(0, 3 * GIB)], 500 * MIB, "memory: "),
        ({}, [Running(3 * GIB, 200 * MIB)], 500 * MIB, ""),
        ({}, [ONE], 3 * GIB, "memory: "),
        ({"swapped": 100 * MIB}, [ONE], 1, "memory: 104.9 MB swapped out"),
        ({"load": 5.0}, [ONE], 1, "load: 5.0 on 4 processors"),
        ({"load": 4.9}, [ONE], 1, ""),
        ({"disk_free": 2 * GIB - 1}, [ONE], 1, "disk: 2.1 GB free"),
    ],
)
def test_another_build_begins_if_there_is_room(changes, running, need, why):
    found = why_not(IDLE._replace(**changes), running, need)
    assert found.startswith(why)
    assert bool(found) == bool(why)


def test_one_build_always_runs():
    assert why_not(FULL, [], 2**62) == ""
    assert why_not(FULL, [ONE], 1)


SIZES = st.integers(0, 64 * GIB)


@given(SIZES, st.lists(st.builds(Running, SIZES, SIZES), min_size=1, max_size=8), SIZES)
def test_no_build_begins_that_would_not_fit(free, running, need):
    if not why_not(IDLE._replace(memory=64 * GIB, memory_free=free), running, need):
        assert sum(max(each.need - each.memory, 0) for each in running) + need < free


@given(SIZES, st.lists(st.builds(Running, SIZES, SIZES), max_size=8), st.integers(1, 64))
def test_a_build_may_use_its_part_of_the_memory(memory, running, jobs):
    assert memory_limit(memory, running, jobs) * jobs <= memory * OF_BUILDS
    alone = memory_limit(memory, [], 0)
    assert alone == int(memory * OF_BUILDS)
    assert memory_limit(memory, running, 0) <= alone


def test_the_need_of_a_build_is_learned():
    needs = Needs()
    assert needs.of("numpy") == needs.of() == FIRST_NEED
    for _ in range(10):
        needs.learn("six", 50 * MIB)
    needs.learn("numpy", 3 * GIB)
    needs.learn("numpy", 2 * GIB)
    assert (needs.of("numpy"), needs.of("six"), needs.of("new")) == (3 * GIB, 50 * MIB, 2 * GIB)
    for number in range(BUILDS + 2000):
        needs.learn(f"package-{number}", 10 * MIB)
    assert (needs.of(), needs.of("numpy")) == (10 * MIB, 10 * MIB)
