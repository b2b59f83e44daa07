"""Recipes: what people read of them, and what no slave carries out."""

from datetime import UTC, datetime, timedelta

import pytest

from piwheels.core.recipes import PLAIN, Recipe, recipe_phrase

FULL = Recipe(
    ("cython<3",),
    ("numpy", "setuptools; python_version < '3.12'"),
    datetime(2021, 1, 1, tzinfo=UTC),
    timedelta(days=1),
    {"CFLAGS": "-O1", "CC": "gcc"},
    ("libfoo-dev", "g++"),
    ("--config-settings=a=b", "--pre", "--only-binary=:all:"),
    ("files.example", "a.b-c.example:8443"),
    timedelta(hours=5),
    8 * 10**9,
)


def test_a_recipe_is_a_sentence_for_each_field_that_it_uses():
    assert FULL.words == [
        "with cython<3",
        "requires numpy, setuptools; python_version < '3.12', too",
        "Debian packages: libfoo-dev, g++",
        "pip --config-settings=a=b, --pre, --only-binary=:all:",
        "may reach files.example, a.b-c.example:8443",
        "build tools as of 2021-01-01",
        "build tools as of 1 day after its release",
        "CC=gcc",
        "CFLAGS=-O1",
        "time-out 5:00:00",
        "8.0 GB of memory",
    ]
    assert (PLAIN.words, FULL.faults) == ([], [])


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("constraints", ["cython", "x @ http://a.example", "x<3; os_name=='x'", "x[y]<3", "-"]),
        ("requires", ["x @ http://a.example/x.zip", "--pre", "-r x", "x y", ""]),
        ("environment", ["PATH", "pip_index_url", "LD_PRELOAD", "https_proxy", "A B", "HOME", "1"]),
        ("apt", ["libfoo-dev=1", "-o", "A", "a b", "../x.deb"]),
        ("options", ["--pre=1", "--config-settings", "--config-settings=", "--target=x", "-r x"]),
        (
            "hosts",
            ["localhost", "127.0.0.1", "1.2.3.4:80", "[::1]", "::1", "lan", "a.example:0", "*.x.y"],
        ),
    ],
)  # fmt: skip
def test_what_no_slave_carries_out_is_named_with_its_field(field, words):
    for word in words:
        value = {word: "x"} if field == "environment" else (word,)
        (fault,) = Recipe(**{field: value}).faults
        assert fault.startswith(f"{field}: ")
        assert word in fault


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (None, ""),
        ({}, ""),
        ({"constraints": ["cython<3", "numpy<2"]}, "with cython<3, numpy<2"),
        ({"apt": ["libfoo-dev"]}, "(Debian packages: libfoo-dev)"),
        ({"of_the_future": 1}, "(a recipe that this version cannot read)"),
    ],
)
def test_a_phrase_follows_a_verb(content, phrase):
    assert recipe_phrase(content) == phrase
