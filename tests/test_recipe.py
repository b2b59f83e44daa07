"""piw-recipe lists, sets, removes and shares recipes."""

import io
import json
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from piwheels import recipe
from piwheels.core.protocols import StoredRecipe
from piwheels.core.recipes import PLAIN, Recipe, to_toml

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)
OLD = Recipe(constraints=("setuptools<58",))
APT = Recipe(apt=("libfoo-dev",), timeout=timedelta(hours=6))
STORED = [StoredRecipe("bar", OLD, False, AT, 2), StoredRecipe("foo", APT, True, AT, 0)]
TOML = """\
[bar]
constraints = ["setuptools<58"]

[foo]
apt = ["libfoo-dev"]
timeout = 21600
"""


@pytest.fixture
def said(mr_chase, tool):
    mr_chase.answers = {
        "RECIPES": [("RECIPES", STORED), ("RECIPES", [])],
        "SETRECIPE": ("DONE", "3"),
    }
    return partial(tool, recipe.main)


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a file of recipes and returns its name."""

    def write(text):
        path = tmp_path / "recipes.toml"
        path.write_text(text)
        return str(path)

    return write


def changes(mr_chase):
    """Return what was set, without the previews."""
    return [data[:3] for msg, data in mr_chase.asked if msg == "SETRECIPE" and not data.preview]


# Reading --------------------------------------------------------------------------------------


def test_recipes_are_listed(said, mr_chase):
    assert said() == (0, [
        "project  by           files  recipe",
        "bar      the farm     2      with setuptools<58",
        "foo      an operator  0      Debian packages: libfoo-dev; time-out 6:00:00",
    ])  # fmt: skip
    assert mr_chase.asked == [("RECIPES", ""), ("RECIPES", "foo")]


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (["--using", "setuptools<58"], ["bar"]),
        (["--using", "libfoo-dev"], ["foo"]),
        (["Foo"], ["foo"]),
    ],
)
def test_recipes_are_chosen(said, args, found):
    _, lines = said("list", *args, "--json")
    assert [json.loads(line)["package"] for line in lines] == found


@pytest.mark.parametrize(
    ("args", "words"), [([], "no recipes yet"), (["--using", "x"], "no project has such a recipe")]
)
def test_there_are_none(said, mr_chase, args, words):
    mr_chase.answers["RECIPES"] = "RECIPES", []
    assert said("list", *args) == (0, [words])


def test_a_recipe_is_shown_and_exported(said, mr_chase):
    _, lines = said("show", "foo")
    assert lines[0] == "# by an operator, 2026-11-29; 0 files made with recipes"
    assert "\n".join([*lines[1:], ""]) in TOML
    mr_chase.answers["RECIPES"] = [("RECIPES", STORED), ("RECIPES", [])]
    _, lines = said("export")
    assert "\n".join([*lines, ""]) == TOML


def test_texts_are_quoted_as_toml():
    odd = Recipe(environment={"CFLAGS": '-O1 "x\\y" é'}, timeout=timedelta(seconds=0.5))
    text = to_toml({"zope-x": odd})
    assert Recipe.from_map(tomllib.loads(text)["zope-x"]) == odd


def test_json_has_each_recipe(said):
    _, [first, _] = said("export", "--json")
    assert json.loads(first) == {
        "event": "recipe", "package": "bar", "by": "farm", "since": "2026-11-29T12:00:00+00:00",
        "files": 2, "recipe": {"constraints": ["setuptools<58"]},
    }  # fmt: skip


def test_an_unknown_project(said):
    status, [line] = said("show", "nobody", "foo")
    assert status == 1
    assert line == "piw-recipe: without a recipe, or not known here: nobody"


# Changing -------------------------------------------------------------------------------------


def test_each_setting_is_part_of_the_recipe(said, mr_chase):
    args = [
        "--constraint", "cython<3", "--constraint", "setuptools<81", "--requires", "numpy",
        "--apt", "libfoo-dev", "--env", "A=B=C", "--pip-option=--pre", "--host", "foo.example:443",
        "--timeout", "6h", "--memory", "4G", "--before", "2021-06-01", "--release-plus", "1d",
    ]  # fmt: skip
    status, lines = said("set", "Foo", *args, "--yes")
    assert (status, lines) == (0, ["set the recipe of foo; 3 failed builds will be repeated"])
    made = Recipe(
        constraints=("cython<3", "setuptools<81"),
        requires=("numpy",),
        before=datetime(2021, 6, 1, tzinfo=UTC),
        release_plus=timedelta(days=1),
        environment={"A": "B=C"},
        apt=("libfoo-dev",),
        options=("--pre",),
        hosts=("foo.example:443",),
        timeout=timedelta(hours=6),
        memory=4 * 10**9,
    )
    assert made.features == set(Recipe._fields)
    assert changes(mr_chase) == [("foo", made, True)]


def test_nothing_is_set_unasked(said, mr_chase, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    status, [line] = said("set", "foo", "--constraint", "cython<3")
    assert status == 1
    assert "set the recipe of foo (with cython<3), and repeat 3 failed builds" in line
    assert changes(mr_chase) == []


def test_a_preview_changes_nothing(said, mr_chase):
    status, lines = said("set", "foo", "--constraint", "cython<3", "--preview")
    assert (status, lines) == (0, ["foo: with cython<3: would repeat 3 failed builds"])
    assert changes(mr_chase) == []


def test_new_builds_only(said, mr_chase):
    mr_chase.answers["SETRECIPE"] = "DONE", "0"
    said("set", "foo", "--constraint", "cython<3", "--new-only", "--yes")
    assert [data.retry for _, data in mr_chase.asked] == [False, False]


@pytest.mark.parametrize(
    "text",
    ['constraints = ["x<2"]\ntimeout = "1h"', '[bar]\nconstraints = ["x<2"]\ntimeout = 3600'],
)
def test_a_file_and_options_are_combined(said, mr_chase, file, text):
    said("set", "foo", file(text), "--timeout", "6h", "--constraint", "x<1", "--yes")
    merged = Recipe(constraints=("x<1",), timeout=timedelta(hours=6))
    assert changes(mr_chase) == [("foo", merged, True)]


def test_a_recipe_is_removed(said, mr_chase):
    assert said("remove", "foo", "--yes") == (0, ["removed the recipe of foo"])
    assert changes(mr_chase) == [("foo", PLAIN, True)]


def test_recipes_are_imported(said, mr_chase, file):
    status, lines = said("import", file(TOML), "--yes")
    assert status == 0
    assert lines == [
        f"set the recipe of {name}; 3 failed builds will be repeated" for name in ("bar", "foo")
    ]
    assert changes(mr_chase) == [("bar", OLD, True), ("foo", APT, True)]


def test_unknown_projects_are_left_out(said, mr_chase, file):
    mr_chase.answers["SETRECIPE"] = [("ERROR", "NOPKG"), ("DONE", "1"), ("DONE", "1")]
    status, lines = said("import", file(TOML), "--yes")
    assert (status, lines[0]) == (0, "left out: bar is not known here")
    assert changes(mr_chase) == [("foo", APT, True)]
    mr_chase.answers["SETRECIPE"] = "ERROR", "NOPKG"
    status, lines = said("set", "foo", "--constraint", "cython<3", "--yes")
    assert (status, lines) == (
        1, ["piw-recipe: the package foo is not known here: piw-add foo adds it"]
    )  # fmt: skip


GOOD = '[foo]\nconstraints = ["x<2"]\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x y", "(at line 1, column 3)"),
        (f"{GOOD}[bar]\nwings = 2", "[bar] a recipe has no 'wings'"),
        (f"{GOOD}[bar]\nconstraints = ['x']", "[bar] constraints: 'x' is not a name with limits"),
        (f"{GOOD}[bar]\nconstraints = 'x<2'", "[bar] bad recipe"),
        (f"{GOOD}[bar]\ntimeout = 'soon'", "[bar] 'soon' is not a duration"),
        (f"{GOOD}[bar]\nbefore = 'once'", "[bar] before: 'once' is no time"),
        (f"{GOOD}[bar]\nenvironment = {{PATH = '/'}}", "environment: a recipe cannot set PATH"),
        (f"{GOOD}['a b']\napt = ['foo-dev']", "[a b] 'a b' is not the name of a package"),
        (f"{GOOD}[Foo]\napt = ['foo-dev']", "[Foo] foo is named twice"),
        ("constraints = 2", "constraints: a recipe is a table: [constraints]"),
        ("", "has no recipes"),
    ],
)  # fmt: skip
def test_a_wrong_file_changes_nothing(said, mr_chase, file, text, words):
    status, [line] = said("import", file(text), "--yes")
    assert status == 1
    assert words in line
    assert mr_chase.asked == []


def test_a_file_that_is_not_there(said, tmp_path):
    status, [line] = said("import", str(tmp_path / "x"), "--yes")
    assert status == 1
    assert f"cannot read {tmp_path / 'x'}" in line


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["set"], "set needs the name of a project"),
        (["set", "a", "b", "c"], "set needs the name of a project, and at most one file"),
        (["set", "foo"], "give a file, or settings"),
        (["set", "a b", "--apt", "foo"], "'a b' is not the name of a package"),
        (["set", "foo", "--env", "A"], "'A' is not NAME=VALUE"),
        (["show"], "show needs the name of a project"),
        (["import"], "import needs the name of one file"),
        (["list", "--apt", "foo-dev"], "the settings of a recipe are for set"),
        (["list", "--preview"], "--preview and --new-only are for set and import"),
        (["remove", "foo", "--using", "x"], "--using is for list and export"),
    ],
)
def test_wrong_command_lines(said, mr_chase, args, words, *, capsys):
    with pytest.raises(SystemExit, match="2"):
        said(*args)
    assert words in capsys.readouterr().err
    assert mr_chase.asked == []


def test_a_wrong_setting_is_refused(said, mr_chase):
    status, [line] = said("set", "foo", "--apt", "Foo Dev")
    assert status == 1
    assert "foo apt: 'Foo Dev' is not the name of a package of Debian" in line
    assert mr_chase.asked == []
