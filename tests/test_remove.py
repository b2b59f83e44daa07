"""piw-remove lists the losses, asks, and reports the removal."""

import io
import json
import sys
from functools import partial

import pytest

from piwheels import remove


@pytest.fixture
def said(tool):
    return partial(tool, remove.main)


@pytest.mark.parametrize(
    ("args", "asked", "lines"),
    [
        (["six"], [("REMPKG", ("six", False, ""))],
         ["removed six with all its versions, builds and files;"
          " if the --watch-file names it, remove it there, too"]),
        (["six", "--builds"], [("REMPKG", ("six", True, ""))],
         ["removed all builds and files of six"]),
        (["six", "--skip", "no"], [("REMPKG", ("six", False, "no"))],
         ["six is not to be built (no)"]),
        (["six", "--unwatch"], [("UNWATCH", "six")],
         ["six is no longer followed upstream"]),
        (["six", "--unwatch", "--skip", "no"],
         [("REMPKG", ("six", False, "no")), ("UNWATCH", "six")],
         ["six is not to be built (no)", "six is no longer followed upstream"]),
        (["six", "1.0"], [("REMVER", ("six", "1.0", False, "", False, ""))],
         ["removed six 1.0 with its builds and files"]),
        (["six", "1.0", "--builds", "--skip", "no"],
         [("REMVER", ("six", "1.0", True, "no", False, ""))],
         ["removed all builds and files of six 1.0", "six 1.0 is not to be built (no)"]),
        (["six", "1.0", "--yank"], [("REMVER", ("six", "1.0", False, "", True, ""))],
         ["six 1.0 is yanked"]),
        (["six", "1.0", "--yank-reason", "it is bad"],
         [("REMVER", ("six", "1.0", False, "", True, "it is bad"))],
         ["six 1.0 is yanked (it is bad)"]),
    ],
)  # fmt: skip
def test_each_target_is_removed(mr_chase, said, args, asked, lines):
    done = ("DONE", "DELPKG")
    mr_chase.answers = {"REMPKG": done, "REMVER": done, "UNWATCH": done}
    assert said(*args, "--yes") == (0, lines)
    assert mr_chase.asked == asked
    assert said(*args, "--yes", "-q") == (0, [])


def test_the_report_as_json(mr_chase, said):
    mr_chase.answers = {"REMVER": ("DONE", "DELPKG"), "UNWATCH": ("DONE", "DELPKG")}
    args = ["--builds", "--skip", "no", "--yank", "--unwatch", "--json", "-y"]
    status, lines = said("six", "1.0", *args)
    assert status == 0
    found = [json.loads(line) for line in lines]
    events = ["builds-removed", "skipped", "yanked", "unwatched"]
    assert [(each["event"], each["package"], each["version"]) for each in found] == [
        (event, "six", "1.0") for event in events
    ]


def test_only_a_requested_watch_can_be_ended(mr_chase, said):
    mr_chase.answers = {"UNWATCH": ("ERROR", "NOPKG")}
    assert said("six", "--unwatch", "--yes") == (
        1,
        [
            "piw-remove: six is not followed because of piw-add --watch: if the master's"
            " --watch-file names it, remove it there"
        ],
    )


def test_the_losses_are_listed_before_the_question(mr_chase, said, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    status, lines = said("six", "1.0", "--builds", "--yank")
    assert status == 1
    assert lines[0].startswith(
        "About to remove all builds and files of six 1.0, and yank six 1.0. Continue? [y/N] "
    )
    assert mr_chase.asked == []


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["six"], "NOPKG", "the package six is not known here"),
        (["six", "1.0"], "NOVER", "six has no version 1.0 here"),
        (["six"], "the disk is full", "the disk is full"),
    ],
)
def test_refusals_of_the_master_are_reported(mr_chase, said, args, code, words):
    mr_chase.answers = {"REMPKG": ("ERROR", code), "REMVER": ("ERROR", code)}
    status, [line] = said(*args, "-y")
    assert status == 1
    assert words in line


@pytest.mark.parametrize(
    "args",
    [
        [], ["six", "--yank"], ["six", "--yank-reason", "x"], ["-x"], ["six", "one"],
        ["six", "--skip", ""], ["six", "1.0", "--skip", " "],  # else all of it would go
    ],
)  # fmt: skip
def test_wrong_usage(mr_chase, args):
    with pytest.raises(SystemExit) as caught:
        remove.main([*args, "--yes"])
    assert caught.value.code == 2
    assert mr_chase.asked == []
