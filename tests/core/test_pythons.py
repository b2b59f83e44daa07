"""Which Pythons a specifier excludes."""

import time

import pytest

from piwheels.core.pythons import MINORS, excluded_by, minor_of, supports


def supported(requires):
    return {minor for minor in MINORS if supports(excluded_by(requires), f"cp3{minor}")}


@pytest.mark.parametrize(
    ("requires", "expected"),
    [
        (">=3.12", set(range(12, 63))),
        (">=3.8,<3.11", {8, 9, 10}),
        (">=2.7, !=3.0.*, !=3.1.*, !=3.2.*, <4", set(range(3, 63))),
        ("<=3.11", set(range(12))),  # by 3.11.0 alone: a patch release of the others is refused
        ("==3.11.*", {11}),
        ("~=3.11.2", {11}),
        ("~=3.11", set(range(11, 63))),
        ("==3.9.7", {9}),
        (">=3.11.4", set(range(11, 63))),
        ("<3.12.1,>3.11.998", {11, 12}),
        (">3.6", set(range(6, 63))),
        ("!=3.9.0", set(MINORS)),
        ("!=3.9.0,!=3.9.*", set(MINORS) - {9}),
        (">=3.13.0rc1", set(range(13, 63))),
        ("<3", set()),
        ("===3.11.0", {11}),
        (">=4", set()),
        ("", set(MINORS)),
        (">=3.6.*", set(MINORS)),  # invalid: pip ignores it
        ("3.8", set(MINORS)),
        ("\u0663" * 20, set(MINORS)),
    ],
)
def test_excluded_pythons(requires, expected):
    assert supported(requires) == expected


def test_a_long_specifier_takes_no_time():
    began = time.process_time()
    for requires in (",".join(f"!=3.11.{n}" for n in range(2000)), ">=3," * 124 + ">=3.12.1"):
        assert excluded_by(requires) in (0, sum(1 << minor for minor in range(12)))
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("abi", "minor"),
    [
        ("cp313", 13), ("cp313t", 13), ("cp313td", 13), ("cp37m", 7), ("pypy310_pp73", 10),
        ("cp362", 62), ("cp363", None), ("cp3100", None), ("cp27mu", None), ("graalpy311_70", None),
        ("cp3", None),
    ],
)  # fmt: skip
def test_the_python_of_an_abi(abi, minor):
    assert minor_of(abi) == minor
    assert supports(2**63 - 1, abi) == (minor is None)
