"""Targets: which wheels serve them, as packaging.tags says."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.tags import Tag, compatible_tags, cpython_tags

from piwheels.core.targets import Target, family
from piwheels.core.wheels.serving import serves
from piwheels.core.wheels.tags import WheelName


def platforms_of(target):
    """The platform tags that installers on a new machine of the target accept (PEP 600, 656)."""
    system, _, machine = target.platform.partition("_")
    if system == "musllinux":
        return [f"musllinux_1_{minor}_{machine}" for minor in range(3)]
    wide = [f"manylinux_2_{minor}_{machine}" for minor in range(5, 40)]
    legacy = [f"manylinux{old}_{machine}" for old in ("1", "2010", "2014")]
    return [*wide, *legacy, f"linux_{machine}"]


targets = st.builds(
    Target,
    st.sampled_from(["linux_armv6l", "linux_armv7l", "linux_x86_64", "musllinux_x86_64"]),
    st.sampled_from(["cp39", "cp311", "cp313", "cp313t", "cp314t"]),
)
sets = lambda *parts: st.lists(st.sampled_from(parts), min_size=1, max_size=2).map(".".join)  # noqa: E731


@given(
    target=targets,
    python=sets("py3", "py2", "py311", "cp39", "cp311", "cp313", "cp314"),
    abi=sets("none", "abi3", "abi3t", "cp39", "cp311", "cp313t", "cp314t"),
    platform=sets("any", "linux_armv6l", "linux_armv7l", "manylinux_2_17_x86_64",
                  "manylinux1_x86_64", "musllinux_1_2_x86_64", "linux_x86_64"),
)  # fmt: skip
def test_wheels_serve_the_targets_whose_installers_accept_them(target, python, abi, platform):
    version = int(target.abi[2]), int(re.search("[0-9]+", target.abi[3:])[0])
    theirs = platforms_of(target)
    accepted = {
        *cpython_tags(version, [target.abi], theirs),
        *compatible_tags(version, "cp{}{}".format(*version), theirs),
    }
    name = WheelName("a", "1", "", python, abi, platform)
    tags = {Tag(*each) for each in product(*(part.split(".") for part in name[3:]))}
    assert serves(name, target) == bool(tags & accepted)


@pytest.mark.parametrize(
    "text",
    ["", "cp311", "linux_armv7l/", "linux_armv7l/none", "linux_armv7l/abi3", "linux-armv7l/cp311",
     "manylinux_2_17_x86_64/cp311", "linux_armv8l/cp311", "linux_x86_64/cp311/x", "/cp311"],
)  # fmt: skip
def test_what_is_no_target_gets_a_sentence(text):
    with pytest.raises(ValueError, match=r"is no target: give|names a tag: its platform is"):
        Target.parse(text)


@pytest.mark.parametrize(
    "text", ["linux_armv7l/cp311", "musllinux_x86_64/cp312", "any/cp39", "linux_aarch64/cp313t",
             "linux_x86_64/pypy310_pp73"],
)  # fmt: skip
def test_targets_are_read_as_they_are_written(text):
    target = Target.parse(text)
    assert str(target) == text
    assert family(target.platform) == target.platform
