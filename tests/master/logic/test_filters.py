"""The filter of a project page knows for which Pythons and architectures each row is."""

from __future__ import annotations

from piwheels.core.site import log_name
from piwheels.master.logic.filters import Row, page_filter


def page(builds=(), files=()):
    """Return the filter of a release: builds as (number, ABI), files as (name, build)."""
    release = {
        "builds": [{"build_id": number, "abi_tag": abi} for number, abi in builds],
        "files": {name: {"build_id": number} for name, number in files},
    }
    return page_filter({"releases": {"1.0": release, "0.9": {"builds": [], "files": {}}}}, ["1.0"])


def test_each_row_has_the_pythons_and_architectures_that_it_is_for():
    names = {
        "x-1.0-cp313-cp313-manylinux_2_17_aarch64.manylinux2014_aarch64.whl": 1,
        "x-1.0-cp39-abi3-linux_armv7l.whl": 2,
        "x-1.0-py3-none-any.whl": 2,
        "x-1.0-py2-none-musllinux_1_2_x86_64.whl": 3,
        "not a wheel": 3,
    }
    builds = [(1, "cp313"), (2, "cp39"), (3, "cp313t"), (4, "cp313")]
    found = page(builds, names.items())
    assert found.pythons == [("cp39", "3.9"), ("cp313", "3.13"), ("cp313t", "3.13t")]
    machines = ["aarch64", "armv7l", "x86_64"]
    assert found.architectures == [(each, each) for each in machines]
    assert [found.rows[name] for name in names] == [
        Row("cp313", "aarch64"),
        Row("cp313 cp39", "armv7l"),
        Row("cp313 cp313t cp39", None),
        Row("", "x86_64"),
        Row(None, None),
    ]
    assert [found.rows[log_name(number)] for number, _ in builds] == [
        Row("cp313", "aarch64"),
        Row("cp39", "aarch64 armv7l x86_64"),
        Row("cp313t", "x86_64"),
        Row("cp313", None),  # it failed
    ]


def test_a_choice_of_one_is_none():
    found = page([(1, "cp311"), (2, "cp311")], [("x-1.0-cp311-cp311-linux_armv7l.whl", 1)])
    assert (found.pythons, found.architectures) == ([], [])
    found = page([(1, "cp311")], [("x-1.0-py3-none-any.whl", 1)])
    assert (found.pythons, found.architectures) == ([], [])
    # An imported wheel may be for another Python than its build
    found = page([(1, "pypy311_pp73")], [("x-1.0-cp39-cp39-win32.whl", 1)])
    assert found.pythons == [("cp39", "3.9"), ("pypy311_pp73", "pypy311_pp73")]


def test_a_page_without_releases_has_no_filter():
    assert page() == ([], [], {})
