"""piw-add sends requests to the master and reports the results."""

import io
import json
import sys
from datetime import UTC, datetime
from functools import partial

import pytest

from piwheels import add
from piwheels.core.program.admin import moment

LATER = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def said(tool):
    return partial(tool, add.main)


def test_a_package_is_added(mr_chase, said):
    mr_chase.answers = {"ADDPKG": ("DONE", "NEWPKG")}
    args = ["--yes", "--alias", "Six", "--alias", "SIX", "--description", "two and three"]
    assert said("six", *args) == (0, ["added six, also called Six, SIX, described"])
    assert mr_chase.asked == [("ADDPKG", ("six", "two and three", "", False, ["Six", "SIX"]))]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ([], "UPDPKG", "six is known already: nothing changed"),
        (["--skip", "too large"], "SKIPPKG", "six is known already: not to be built (too large)"),
        (["--skip", "too large"], "NEWPKG", "added six, not to be built (too large)"),
        (["--unskip"], "UPDPKG", "six is known already: to be built"),
    ],
)
def test_the_report_on_a_package(mr_chase, said, args, code, words):
    mr_chase.answers = {"ADDPKG": ("DONE", code)}
    assert said("six", "--yes", *args) == (0, [words])
    assert said("six", "-qy", *args) == (0, [])


def test_the_report_as_json(mr_chase, said):
    mr_chase.answers = {"ADDVER": [("ERROR", "NOPKG"), ("DONE", "NEWVER"), ("ERROR", "SKIPVER")]}
    mr_chase.answers |= {"ADDPKG": ("DONE", "NEWPKG"), "WATCH": ("DONE", "NEWPKG")}
    args = ("six", "1.0", "--watch", "--json", "-qy")
    status, lines = said(*args)
    assert status == 0
    assert [json.loads(line) for line in lines] == [
        {"event": "added", "package": "six", "version": None, "changes": [],
         "message": "added six"},
        {"event": "added", "package": "six", "version": "1.0", "changes": [],
         "message": "added six 1.0"},
        {"event": "watched", "package": "six",
         "message": "six is followed upstream from now on"},
    ]  # fmt: skip
    status, [line, sentence] = said(*args)
    assert status == 1
    found = json.loads(line)
    assert (found["event"], found["status"]) == ("error", 1)
    assert sentence == f"piw-add: {found['message']}"


def test_a_version_is_added(mr_chase, said):
    mr_chase.answers = {"ADDVER": ("DONE", "NEWVER")}
    args = [
        "-y",
        "--released",
        "2026-01-31T13:00+01:00",
        "--yank",
        "--skip",
        "no",
        "--alias",
        "SIX",
    ]
    words = "added six 1.17.0, not to be built (no), yanked, also called SIX"
    assert said("six", "1.17.0", *args) == (0, [words])
    asked = ("six", "1.17.0", "no", False, LATER, True, False, ["SIX"], "", "")
    assert mr_chase.asked == [("ADDVER", asked)]


def test_a_version_gets_a_priority(mr_chase, said):
    mr_chase.answers = {"ADDVER": ("DONE", "UPDVER")}
    words = "six 1.17.0 is known already: priority first"
    assert said("six", "1.17.0", "-y", "--priority", "first") == (0, [words])
    assert mr_chase.asked[0][1][-2:] == ("", "first")
    assert said("six", "1.17.0", "-y", "--first") == (0, [words])
    assert mr_chase.asked[1][1][-1] == "first"
    for wrong in (["--priority", "first"], ["--first"], ["1.0", "--first", "--priority", "normal"]):
        with pytest.raises(SystemExit, match="2"):
            said("six", *wrong)


def test_a_version_is_released_now_if_nothing_else_is_said(mr_chase, said):
    mr_chase.answers = {"ADDVER": ("DONE", "UPDVER")}
    before = datetime.now(UTC)
    words = "six 1.17.0 is known already: to be built, not yanked"
    assert said("six", "1.17.0", "-y", "--unyank", "--unskip") == (0, [words])
    [(_, data)] = mr_chase.asked
    assert before <= data.released <= datetime.now(UTC)


def test_a_version_of_an_unknown_package_brings_it_along(mr_chase, said):
    mr_chase.answers = {
        "ADDVER": [("ERROR", "NOPKG"), ("DONE", "NEWVER")], "ADDPKG": ("DONE", "NEWPKG"),
    }  # fmt: skip
    assert said("six", "1.0", "-y") == (0, ["added six", "added six 1.0"])
    assert [msg for msg, _ in mr_chase.asked] == ["ADDVER", "ADDPKG", "ADDVER"]


def test_a_package_is_watched_once_it_is_added(mr_chase, said):
    mr_chase.answers = {"ADDPKG": ("DONE", "UPDPKG"), "WATCH": ("DONE", "WATCH")}
    status, lines = said("six", "--watch", "-y")
    assert (status, lines[1]) == (0, "six is followed upstream from now on")
    assert mr_chase.asked[1] == ("WATCH", "six")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("answer", ["n\n", "", "\n", "what?\n"])
def test_nothing_is_changed_without_consent(mr_chase, said, answer, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    status, lines = said("six", "--skip", "no")
    assert status == 1
    assert lines == [
        "About to add six (or change it), not to be built (no). Continue? [y/N] "
        "piw-add: nothing was changed"
    ]
    assert mr_chase.asked == []


def test_it_asks_once_more_before_it_adds_a_package(mr_chase, said, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Terminal("y\nn\n"))
    mr_chase.answers = {"ADDVER": ("ERROR", "NOPKG")}
    status, lines = said("six", "1.0")
    assert status == 1
    assert "add the package six, which is not known, too" in lines[0]
    assert [msg for msg, _ in mr_chase.asked] == ["ADDVER"]


def test_a_missing_terminal_is_reported(mr_chase, said, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    status, [line] = said("six")
    assert status == 1
    assert "nobody to ask: give --yes" in line


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("ALIASES of another", "ALIASES of another"),
        ("SKIPVER", "--unskip brings it back"),
    ],
)
def test_refusals_of_the_master_are_reported(mr_chase, said, answer, words):
    mr_chase.answers = {"ADDVER": ("ERROR", answer)}
    status, [line] = said("six", "1.0", "-y")
    assert status == 1
    assert words in line


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["six==1.0"],
        ["six", "one"],
        ["six", "1.0", "2.0"],
        ["six", "--yank"],
        ["six", "--unyank"],
        ["six", "--released", "2026-01-01"],
        ["six", "1.0", "--released", "soon"],
        ["six", "1.0", "--yank", "--unyank"],
        ["six", "--skip", "x", "--unskip"],
        ["six", "--skip", ""],
        ["six", "1.0", "--description", "x"],
        ["six", "--alias", "a b"],
    ],
)
def test_wrong_usage(mr_chase, args):
    with pytest.raises(SystemExit) as caught:
        add.main([*args, "--yes"])
    assert caught.value.code == 2
    assert mr_chase.asked == []


def test_without_a_master_it_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("piwheels.core.farm.CONNECT_LIMIT", 0.1)
    where = f"ipc://{tmp_path}/nobody"
    assert add.main(["six", "--yes", "--import-queue", where]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert where in line
    assert "start piw-master" in line


def test_times_of_release():
    assert moment("2026-01-31T12:00") == moment("2026-01-31T13:00+01:00") == LATER
    assert moment("2026-01-31").hour == 0
