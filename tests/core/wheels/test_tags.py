from __future__ import annotations

import re

import packaging.tags
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from piwheels.core.errors import BadWheel
from piwheels.core.wheels.tags import (
    WheelName,
    abi_key,
    accepted_tags,
    canonical,
    parse_filename,
    same_version,
    serves,
    suits,
    with_build_tag,
)


def test_parts_of_names() -> None:
    assert parse_filename("six-1.16.0-py2.py3-none-any.whl") == WheelName(
        "six", "1.16.0", "", "py2.py3", "none", "any"
    )
    assert parse_filename("a.b_c-1!2.0+x.1-7b-cp39-cp39-linux_armv7l.whl") == WheelName(
        "a.b_c", "1!2.0+x.1", "7b", "cp39", "cp39", "linux_armv7l"
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        "six",
        "six-1.0.whl",
        "six-1.0-py3-none-any.zip",
        "six-1.0-py3-none-any.whl\n",
        "../six-1.0-py3-none-any.whl",
        "/six-1.0-py3-none-any.whl",
        ".six-1.0-py3-none-any.whl",
        "si\\x-1.0-py3-none-any.whl",
        "si\0x-1.0-py3-none-any.whl",
        "s\u0131x-1.0-py3-none-any.whl",
        "six-x1.0-py3-none-any.whl",
        "six-1.0-b1-py3-none-any.whl",
        "six-1.0-py3-none-..whl",
        "six-1.0-1-2-py3-none-any.whl",
        "s" * 240 + "-1.0-py3-none-any.whl",
        f"six-1.0-{'.'.join(['p'] * 30)}-{'.'.join(['n'] * 40)}-any.whl",
    ],
)
def test_bad_names(name: str) -> None:
    with pytest.raises(BadWheel):
        parse_filename(name)


@given(st.text(max_size=80) | st.from_regex(r"[a-z.]+-[0-9.]+(-[0-9a]+)?-\w+-\w+-\w+\.whl"))
def test_accepted_names_are_accepted_by_packaging(name: str) -> None:
    try:
        parts = parse_filename(name)
    except BadWheel:
        return
    assert str(parts) == name
    try:
        package, version, _build, _tags = parse_wheel_filename(name)
    except (
        InvalidWheelFilename
    ):  # it knows more, "a..b" for one: then we must not be wider in danger
        assert not set(name) & set("/\\\0")
        return
    assert canonical(parts.package) == package
    assert same_version(parts.version, str(version))


def test_abis_in_the_order_of_their_pythons() -> None:
    ordered = [
        "cp27mu",
        "cp37m",
        "cp39",
        "cp310",
        "cp311",
        "cp313",
        "cp313t",
        "cp314",
        "abi3",
        "none",
    ]
    assert sorted(set(ordered), key=abi_key) == ordered


def test_build_tags() -> None:
    assert with_build_tag("a-1-py3-none-any.whl", 2) == "a-1-2-py3-none-any.whl"
    assert with_build_tag("a-1-1x-py3-none-any.whl", 2) == "a-1-2-py3-none-any.whl"


@pytest.mark.parametrize(
    ("tags", "accepting"),
    [
        ("py3-none-any", "cp39 cp311 cp313 cp313t cp315t pypy39_pp73"),
        ("py2-none-any", "cp27mu"),
        ("py2.py3-none-any", "cp27mu cp39 cp311 cp313 cp313t cp315t pypy39_pp73"),
        ("py3-none-linux_x86_64", "cp39 cp311 cp313 cp313t cp315t pypy39_pp73"),
        ("py311-none-any", "cp311 cp313 cp313t cp315t"),
        ("cp311-none-any", "cp311"),
        ("cp311-none-linux_x86_64", "cp311"),
        ("cp311-cp311-linux_x86_64", "cp311"),
        ("CP311-cp311-Linux_x86_64", "cp311"),
        ("cp311-cp311-any", ""),
        ("py3-cp311-linux_x86_64", ""),
        ("cp312-abi3-linux_x86_64", "cp313"),
        ("cp38-abi3-linux_x86_64", "cp39 cp311 cp313"),
        ("cp38-abi3-any", ""),
        ("cp36.cp37-abi3-manylinux1_x86_64.manylinux_2_5_x86_64", "cp39 cp311 cp313"),
        ("cp315-abi3.abi3t-linux_x86_64", "cp315t"),
        ("cp311-cp311.abi3-linux_x86_64", "cp311 cp313"),
        ("cp39.cp313-none-linux_x86_64", "cp39 cp313 cp313t"),
        ("pp39-pypy39_pp73-linux_x86_64", "pypy39_pp73"),
    ],
)
def test_the_abis_whose_installers_accept_a_wheel(tags: str, accepting: str) -> None:
    abis = ("cp27mu", "cp39", "cp311", "cp313", "cp313t", "cp315t", "pypy39_pp73")
    name = parse_filename(f"a-1-{tags}.whl")
    assert [abi for abi in abis if serves(name, abi)] == accepting.split()


def test_the_running_interpreter_accepts_what_its_installers_do() -> None:
    own = next(packaging.tags.cpython_tags())
    installers = {
        re.sub("-(?!any$)[^-]+$", "-native", str(tag)) for tag in packaging.tags.sys_tags()
    }
    assert accepted_tags(own.abi) == installers


def test_versions_compare_as_pep_440() -> None:
    assert same_version("1.0", "1.0.0")
    assert same_version("1.0-1", "1.0.post1")
    assert not same_version("1.0", "1.1")
    assert same_version("odd thing", "odd thing")


@pytest.mark.parametrize(
    ("tag", "platform", "fits"),
    [
        ("any", "linux_armv7l", True),
        ("linux_armv7l", "linux_armv8l", True),
        ("linux_armv8l", "linux_armv7l", True),
        ("linux_armv6l", "linux_armv6l", True),
        ("linux_armv6l", "linux_armv7l", False),
        ("linux_armv7l", "linux_armv6l", False),
        ("manylinux_2_17_armv7l", "linux_armv7l", True),
        ("manylinux_2_17_x86_64.manylinux2014_x86_64", "linux_x86_64", True),
        ("musllinux_1_2_aarch64", "linux_aarch64", True),
        ("linux_i686", "linux_i386", True),
        ("linux_aarch64", "linux_armv7l", False),
        ("win_amd64", "linux_x86_64", False),
        ("macosx_11_0_x86_64", "linux_x86_64", False),
        ("macosx_11_0_arm64", "macosx_14_0_arm64", True),
        ("linux_x86_64.win32", "linux_x86_64", False),
        ("linux_x86_64.linux_i686", "linux_x86_64", False),
    ],
)
def test_a_wheel_suits_the_platform_that_it_was_built_on(
    tag: str, platform: str, fits: bool
) -> None:
    assert suits(tag, platform) == fits
