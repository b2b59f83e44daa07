"""Ranges of bytes: the documented examples, and sets of numbers as the model."""

import doctest
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piwheels.core import ranges
from piwheels.core.ranges import consolidate, exclude, intersect, split

numbers = st.integers(0, 60)
any_range = st.builds(range, numbers, numbers)
ascending = st.lists(any_range, max_size=8).map(lambda rs: sorted(rs, key=lambda r: r.start))


@st.composite
def disjoint(draw):
    cuts = sorted(draw(st.sets(numbers, max_size=12)))
    return [range(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]


def members(rs):
    return set(chain.from_iterable(rs))


def test_documented_examples_hold():
    assert doctest.testmod(ranges).failed == 0


@given(ascending)
def test_consolidated_ranges_hold_the_same_numbers_and_have_gaps_between(rs):
    joined = list(consolidate(rs))
    assert members(joined) == members(rs)
    assert all(a.stop < b.start for a, b in pairwise(joined))


@given(disjoint(), any_range)
def test_excluding_is_a_difference_of_sets(rs, ex):
    left = list(exclude(rs, ex))
    assert members(left) == members(rs) - set(ex)
    assert all(left)


@given(any_range, any_range)
def test_intersecting_is_an_intersection_of_sets(a, b):
    shared = intersect(a, b)
    assert set(shared or ()) == set(a) & set(b)
    assert shared is None or len(shared)


@given(disjoint(), numbers)
def test_splitting_keeps_every_number_and_cuts_once(rs, i):
    parts = list(split(rs, i))
    assert list(chain.from_iterable(parts)) == list(chain.from_iterable(rs))
    assert len(parts) - len(rs) == any(i in r and i != r.start for r in rs)


@pytest.mark.parametrize(("a", "b"), [(range(0, 10, 2), range(5)), (range(5), range(5, 0, -1))])
def test_other_steps_are_refused(a, b):
    with pytest.raises(ValueError, match="step"):
        intersect(a, b)
