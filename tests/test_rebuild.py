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
    assert (status, line) == (0, "there are no builds that failed since 2026-01-31 00:00")


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


def test_a_version_is_repeated(mr_chase, said):
    mr_chase.answers = {"RETRYVERSION": [("DONE", "2"), ("DONE", "0")]}
    assert said("version", "six", "1.0") == (0, ["2 failed builds of six 1.0 will be repeated"])
    assert said("version", "six", "1.0") == (
        0, ["no build of six 1.0 has failed: piw-why says what it waits for"]
    )  # fmt: skip
    assert mr_chase.asked == [("RETRYVERSION", ("six", "1.0"))] * 2


@pytest.mark.parametrize(
    ("args", "sent", "words"),
    [
        (["--reason", "missing-header"], ("missing-header", None), "missing header"),
        (
            ["--reason", "missing-header", "--subject", "portaudio.h"],
            ("missing-header", "portaudio.h"),
            "missing header portaudio.h",
        ),
    ],
)
def test_what_failed_for_a_reason_is_repeated(mr_chase, said, args, sent, words, *, monkeypatch):
    mr_chase.answers = {"RETRYREASON": ("DONE", "14")}
    assert said(*args, "--yes") == (0, ["14 failed builds will be repeated"])
    requests = [data for _, data in mr_chase.asked]
    assert [(data[1:3], data.preview) for data in requests] == [(sent, True), (sent, False)]
    assert {data.since.year for data in requests} == {1970}
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    status, [line] = said(*args, "--since", "2026-01-31")
    assert status == 1
    assert f"would repeat 14 builds that failed: {words} since 2026-01-31 00:00" in line


def test_what_could_be_cured_is_repeated(mr_chase, said, monkeypatch):
    mr_chase.answers = {"CURE": ("DONE", "3")}
    assert said("--curable", "--yes") == (0, ["3 failed builds will be repeated"])
    assert mr_chase.asked == [("CURE", True), ("CURE", False)]
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    status, [line] = said("--curable")
    assert status == 1
    assert "would repeat 3 builds that slaves could cure now, or that wait for an operator" in line


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "name what to rebuild"),
        (["version", "six"], "version needs PACKAGE and VERSION"),
        (["project", "six", "1.0"], "project has no VERSION"),
        (["--subject", "x.h", "--curable"], "--subject needs --reason"),
        (["--reason", "killed", "--curable"], "exclude each other"),
        (["project", "--curable"], "exclude each other"),
        (["--curable", "--since", "2h"], "--since and --label need --failed"),
        (["--reason", "killed", "--label", "pi"], "--since and --label need --failed"),
        (["--reason", "bad-luck"], "'bad-luck' is not one of"),
    ],
)
def test_contradictions(mr_chase, said, args, words, *, capsys):
    with pytest.raises(SystemExit, match="2"):
        said(*args)
    assert words in capsys.readouterr().err
    assert mr_chase.asked == []
