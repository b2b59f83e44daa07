from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from piwheels.core.errors import BadWheel
from piwheels.core.wheels.tags import (
    WheelName,
    abi_key,
    canonical,
    parse_filename,
    same_version,
    serves,
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


def test_platforms_of_an_index() -> None:
    assert serves("none", "cp39")
    assert serves("cp311", "cp311")
    assert not serves("cp311", "cp313")
    assert serves("abi3", "cp311")
    assert serves("abi3", "cp313", built_by="cp39")
    assert not serves("abi3", "cp39", built_by="cp313")
    assert not serves("abi3", "cp313t", built_by="cp39")
    assert serves("cp311.abi3", "cp312", built_by="cp311")


def test_versions_compare_as_pep_440() -> None:
    assert same_version("1.0", "1.0.0")
    assert same_version("1.0-1", "1.0.post1")
    assert not same_version("1.0", "1.1")
    assert same_version("odd thing", "odd thing")
