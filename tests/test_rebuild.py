"""piw-rebuild requests that pages are rebuilt, and reports when they will be."""

import io
import json
import sys
from functools import partial

import pytest

from piwheels import rebuild


@pytest.fixture
def said(chase, tool):
    chase.answers = {"REBUILD": ("DONE", "REBUILD")}
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
def test_each_target_is_rebuilt(chase, said, args, asked, line):
    assert said(*args) == (0, [line])
    assert chase.asked == [("REBUILD", asked)]


def test_all_packages_are_not_rebuilt_unasked(chase, said, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    status, [line] = said("project")
    assert status == 1
    assert "rewrite the pages of all packages" in line
    assert chase.asked == []


def test_an_unknown_package_is_refused(chase, said):
    chase.answers = {"REBUILD": ("ERROR", "NOPKG")}
    status, [line] = said("index", "six")
    assert status == 1
    assert "the package six is not known here" in line


@pytest.mark.parametrize("args", [[], ["everything"], ["home", "six"], ["search", "six"]])
def test_wrong_usage(chase, args):
    with pytest.raises(SystemExit) as caught:
        rebuild.main([*args, "--yes"])
    assert caught.value.code == 2
    assert chase.asked == []


def test_the_report_as_json(chase, said):
    status, [line] = said("index", "six", "--json")
    assert status == 0
    assert json.loads(line) == {
        "event": "requested", "part": "index", "package": "six",
        "message": "index and project page of six will be written within a minute",
    }  # fmt: skip
