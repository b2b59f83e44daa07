"""piw-rebuild requests that pages are rebuilt, and reports when they will be."""

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from piwheels import rebuild


@pytest.fixture
def said(mr_chase, tool):
    mr_chase.answers = {"REBUILD": ("DONE", "REBUILD")}
    return partial(tool, rebuild.main)


@pytest.mark.parametrize(
    ("args", "asked", "line"),
    [
        (["home"], ("HOME",), "the home page will be written within a minute"),
        (["search"], ("SEARCH",), "the search index will be written at once"),
        (["project", "six"], ("PROJECT", "six"),
         "the project page of six will be written within a minute"),
        (["index", "six"], ("BOTH", "six"),
         "index and project page of six will be written within a minute"),
        (["index", "--yes"], ("BOTH", None),
         "index and project page of each package will be written one after the other"),
    ],
)  # fmt: skip
def test_each_target_is_rebuilt(mr_chase, said, args, asked, line):
    assert said(*args) == (0, [line])
    assert mr_chase.asked == [("REBUILD", asked)]


def test_all_packages_are_not_rebuilt_unasked(mr_chase, said, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    status, [line] = said("project")
    assert status == 1
    assert "rewrite the pages of all packages" in line
    assert mr_chase.asked == []


def test_an_unknown_package_is_refused(mr_chase, said):
    mr_chase.answers = {"REBUILD": ("ERROR", "NOPKG")}
    status, [line] = said("index", "six")
    assert status == 1
    assert "the package six is not known here" in line


@pytest.mark.parametrize("count", [2, 1])
def test_failed_builds_are_repeated(mr_chase, said, count):
    mr_chase.answers = {"RETRY": ("DONE", str(count))}
    since = datetime(2026, 1, 31, 12, tzinfo=UTC)
    given = ("--failed", "--since", "2026-01-31T12:00Z", "--label", "pi")
    word = "1 failed build" if count == 1 else "2 failed builds"
    assert said(*given, "--yes") == (0, [f"{word} will be repeated"])
    assert mr_chase.asked == [("RETRY", (since, "pi", True)), ("RETRY", (since, "pi", False))]


def test_failed_builds_are_counted_before_the_question(mr_chase, said, monkeypatch):
    mr_chase.answers = {"RETRY": ("DONE", "7")}
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    status, [line] = said("--failed", "--since", "2h")
    assert status == 1
    assert "would repeat 7 builds that failed since" in line
    [(_, (since, label, preview))] = mr_chase.asked
    assert (label, preview) == ("", True)
    assert timedelta(hours=1.9) < datetime.now(UTC) - since < timedelta(hours=2.1)


def test_without_failed_builds_there_is_nothing_to_do(mr_chase, said):
    mr_chase.answers = {"RETRY": ("DONE", "0")}
    status, [line] = said("--failed", "--since", "2026-01-31")
    assert (status, line) == (0, "no build has failed since 2026-01-31 00:00")


def test_an_answer_of_another_program_is_an_error(mr_chase, said):
    mr_chase.answers = {"RETRY": ("DONE", "well")}
    status, [line] = said("--failed", "--since", "1h")
    assert status == 1
    assert "is not a master" in line


@pytest.mark.parametrize(
    "args",
    [
        [], ["everything"], ["home", "six"], ["search", "six"],
        ["--failed"], ["home", "--failed", "--since", "2h"], ["--failed", "--since", "soon"],
        ["home", "--since", "2h"], ["home", "--label", "pi"],
    ],
)  # fmt: skip
def test_wrong_usage(mr_chase, args):
    with pytest.raises(SystemExit) as caught:
        rebuild.main([*args, "--yes"])
    assert caught.value.code == 2
    assert mr_chase.asked == []


def test_the_report_as_json(mr_chase, said):
    status, [line] = said("index", "six", "--json")
    assert status == 0
    assert json.loads(line) == {
        "event": "requested", "part": "index", "package": "six",
        "message": "index and project page of six will be written within a minute",
    }  # fmt: skip
