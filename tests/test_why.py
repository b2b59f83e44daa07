"""piw-why says for each version and target why there is no wheel."""

import json
from functools import partial

import pytest

from piwheels import why
from piwheels.core.protocols import Why, WhyAnswer

PI, OTHER, FREE = "linux_armv7l", "linux_aarch64", "cp313t"
LINES = [
    Why("1.10", PI, "cp311", "building", "building on board7"),
    Why("1.10", OTHER, FREE, "failed", "failed: missing header", "fatal: x.h", 7),
    Why("1.2", PI, "cp313", "built", "built: foo-1.2-py3-none-any.whl", "", 3),
]


@pytest.fixture
def said(mr_chase, tool):
    mr_chase.answers = {"WHY": ("WHY", WhyAnswer(LINES, 0))}
    return partial(tool, why.main)


def test_each_version_and_target_has_a_line(said, mr_chase):
    assert said("foo") == (0, [
        "1.10  cp311 armv7l    building on board7",
        "1.10  cp313t aarch64  failed: missing header",
        "1.2   cp313 armv7l    built: foo-1.2-py3-none-any.whl",
    ])  # fmt: skip
    assert mr_chase.asked == [("WHY", ("foo", ""))]


def test_one_version_has_the_decisive_lines_of_logs(said, mr_chase):
    mr_chase.answers["WHY"] = "WHY", WhyAnswer(LINES[1:2], 0)
    assert said("foo", "1.10") == (0, [
        "1.10  cp313t aarch64  failed: missing header",
        "                      fatal: x.h",
    ])  # fmt: skip
    assert mr_chase.asked == [("WHY", ("foo", "1.10"))]


@pytest.mark.parametrize(
    ("python", "abis"),
    [("3.11", ["cp311"]), ("3.13", ["cp313"]), ("3.13t", ["cp313t"]), ("3.1", [])],
)
def test_one_python(said, python, abis):
    status, lines = said("foo", "--python", python)
    assert status == 0
    if abis:
        assert [line.split()[1] for line in lines] == abis
    else:
        assert lines == ["the farm builds for no target with Python 3.1: piw-targets add adds one"]


def test_older_versions_are_left_out(said, mr_chase):
    mr_chase.answers["WHY"] = "WHY", WhyAnswer(LINES[:1], 900)
    assert said("foo")[1][1:] == ["900 older versions left out: name a version"]


def test_json(said, mr_chase):
    mr_chase.answers["WHY"] = "WHY", WhyAnswer(LINES[:2], 1)
    status, lines = said("foo", "--json")
    assert status == 0
    building, failed, left_out = map(json.loads, lines)
    assert building["build"] is None
    assert failed == {
        "event": "why", "package": "foo", "version": "1.10", "target": "linux_aarch64/cp313t",
        "state": "failed", "message": "failed: missing header", "cause": "fatal: x.h", "build": 7,
    }  # fmt: skip
    assert (left_out["event"], left_out["versions"]) == ("left-out", 1)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (("ERROR", "NOPKG"), "the package foo is not known here: piw-add foo adds it"),
        (("ERROR", "NOVER"), "foo has no version 1.0 here: piw-add foo 1.0 adds it"),
        (("ERROR", "not understood: unknown message 'WHY'"), "not understood"),
        (("DONE", "WHY"), "is not a master"),
    ],
)
def test_refusals(said, mr_chase, answer, words):
    mr_chase.answers["WHY"] = answer
    status, [line] = said("foo", "1.0")
    assert status == 1
    assert words in line


def test_no_version_of_python(said, mr_chase, capsys):
    with pytest.raises(SystemExit, match="2"):
        said("foo", "--python", "three")
    assert "'three' is not a version of Python" in capsys.readouterr().err
    assert mr_chase.asked == []
