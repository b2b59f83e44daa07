"""Recipes: real builds with them, and those that a slave refuses."""

import io
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

import upstream
from build_network import Index
from helpers import BACKEND, add_source, patience, until, write_sdist
from piwheels.core.protocols import slave_driver
from piwheels.core.recipes import PLAIN, Recipe
from piwheels.core.states import Trial
from piwheels.slave.builder import Builder
from piwheels.slave.egress.gate import PORT, Egress, environment
from piwheels.slave.limits import Limits, most_memory
from piwheels.slave.recipes import constraints, supported, why_refused, with_constraints
from piwheels.slave.sandbox.choice import choose
from piwheels.slave.trials.wheels import Trials

NAME = "demo-1.0-py3-none-any.whl"
PIP = [sys.executable, "-I", "-m", "pip"]
YEAR = datetime(2021, 1, 1, tzinfo=UTC)
#: A build that says what it got.
SAY = "import helper; print('helper', helper.VERSION, os.environ.get('COLOUR'), flush=True)"


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []


def wheel(version):
    """Return the wheel of a version of helper."""
    file, about = io.BytesIO(), f"helper-{version}.dist-info/"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("helper.py", f"VERSION = '{version}'")
        metadata = f"Metadata-Version: 2.1\nName: helper\nVersion: {version}\n"
        archive.writestr(f"{about}METADATA", metadata)
        archive.writestr(f"{about}WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}RECORD", "")
    return file.getvalue()


@pytest.fixture
def index(tmp_path):
    """An index of demo, which does not declare that it requires helper, and of helper."""
    backend = BACKEND.format(name="demo", version="1.0", before=SAY, after="pass")
    write_sdist(tmp_path, "demo", "1.0", {"backend.py": backend})
    with Index() as made:
        made.put("demo", "demo-1.0.tar.gz", (tmp_path / "demo-1.0.tar.gz").read_bytes())
        uploads = {"1.0": 2019, "1.5": 2022, "2.0": 2020, "0.5": 2018}
        for version, year in uploads.items():
            moment = {"upload-time": f"{year}-01-01T00:00:00Z"}
            made.put("helper", f"helper-{version}-py3-none-any.whl", wheel(version), **moment)
        yield made


def build(work, recipe, *, egress=None, sandbox=None, **options):
    with Builder(
        "demo", "1.0", dir=work, pip=PIP, egress=egress, sandbox=sandbox, recipe=recipe,
        timeout=timedelta(seconds=patience(60)), **options,
    ) as builder:  # fmt: skip
        builder.start()
        builder.join(patience(90))
        assert not builder.is_alive()
        reversed(slave_driver).to_send("BUILT", builder.as_message())
    return builder


@pytest.mark.parametrize(
    ("mode", "offline"), [("bwrap", False), ("bwrap", True), ("landlock", False), ("none", False)]
)
def test_a_recipe_changes_what_a_build_requires(index, work, mode, offline):
    egress = Egress({}, f"{index.url}simple/", offline=offline)
    variables = environment(egress, work, work, PORT)
    sandbox = choose(mode, Path(sys.executable), PIP, work, variables, PORT).sandbox
    recipe = Recipe(("helper<2",), ("helper", "Helper>=0.1"), YEAR, environment={"COLOUR": "blue"})
    builder = build(work, recipe, egress=egress, sandbox=sandbox)
    assert builder.status, builder.output
    assert "helper 1.0 blue\n" in builder.output
    lines = [f"piwheels: recipe: {words}" for words in recipe.words]
    assert builder.output.splitlines()[: len(lines)] == lines
    files = [Path(fetch.url).name for fetch in builder.fetches]
    assert files == ["demo-1.0.tar.gz", "helper-1.0-py3-none-any.whl"]
    assert builder.ending == ""


@pytest.mark.parametrize(
    ("uploaded", "version", "words"),
    [
        ("2012-01-01", "2.0", "the build requires nothing uploaded after 2021-01-01 00:00"),
        ("2021-07-01", "2.5", "the build requires nothing uploaded after 2021-07-02 00:00"),
        (None, "3.0", "the index does not say when demo 1.0 was uploaded: "),
    ],
)
def test_what_was_uploaded_later_than_the_source_can_be_hidden(
    index, work, uploaded, version, words
):
    index.files["demo"][0]["upload-time"] = uploaded
    index.put("demo", "demo-0.1.tar.gz", b"x")  # lists the files again
    for number, time in {"2.5": "2021-06-30", "3.0": "2023-01-01"}.items():
        index.put(
            "helper", f"helper-{number}-py3-none-any.whl", wheel(number), **{"upload-time": time}
        )
    recipe = Recipe(requires=("helper>=1",), release_plus=timedelta(days=1))
    builder = build(work, recipe, egress=Egress({}, f"{index.url}simple/"), py_version="39")
    assert builder.status, builder.output
    assert f"helper {version} None\n" in builder.output
    assert f"piwheels: {words}" in builder.output


def test_a_build_can_be_stopped_while_its_source_is_fetched(index, work):
    index.places["/files/demo-1.0.tar.gz"] = lambda *args: upstream.hang(*args) or b""
    egress, recipe = Egress({}, f"{index.url}simple/"), Recipe(requires=("helper",))
    with Builder("demo", "1.0", dir=work, pip=PIP, egress=egress, recipe=recipe) as builder:
        builder.start()
        until(lambda: "/files/demo-1.0.tar.gz" in index.paths)
        builder.stop()
        builder.join(patience(20))
        assert not builder.is_alive()
        assert builder.ending == "stopped"


def test_the_log_says_that_an_index_has_no_times(index, work):
    del index.files["helper"][0]["upload-time"]
    index.put("helper", "helper-0.1.tar.gz", b"x")
    egress = Egress({}, f"{index.url}simple/")
    builder = build(work, Recipe(requires=("helper>0.6",), before=YEAR), egress=egress)
    assert "helper 2.0 None\n" in builder.output
    (line,) = [line for line in builder.output.splitlines() if "were uploaded" in line]
    assert line.startswith("piwheels: the index does not say when files of helper were uploaded")


def test_a_source_that_is_nowhere_fails_its_build(index, work):
    index.files.clear()
    index.places.clear()
    egress = Egress({}, f"{index.url}simple/")
    builder = build(work, Recipe(requires=("helper",)), egress=egress)
    assert not builder.status
    assert "piwheels: the source of demo 1.0 cannot be fetched: no index has it" in builder.output


def test_a_recipe_can_be_carried_out_without_a_proxy(tmp_path, work, monkeypatch):
    add_source(tmp_path, before="print(os.environ['PIP_BUILD_CONSTRAINT'], os.environ['A'])")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    builder = build(work, Recipe(("cython<3", "demo<1"), environment={"A": "b"}))
    assert builder.status, builder.output
    assert "a%20folder" in builder.output  # pip splits the value at spaces


@pytest.mark.parametrize(
    ("recipe", "trial", "ending"),
    [
        (Recipe(environment={"A": "b"}), Trial(NAME, True, True), ""),
        (Recipe(environment={"A": "b"}), Trial(NAME, True, False, "SyntaxError"), "trial"),
        (Recipe(environment={"A": "b"}), Trial(NAME, True, None, "needs six"), ""),
        (Recipe(environment={"A": "b"}), Trial(NAME, True, False, "_x: ImportError"), ""),
        (Recipe(environment={"A": "b"}), Trial(NAME, True, None), "trial"),
        (Recipe(environment={"A": "b"}), Trial(NAME), "error"),
        (Recipe(timeout=timedelta(hours=1)), Trial(NAME, True, False, "SyntaxError"), ""),
        (PLAIN, Trial(NAME, True, False, "SyntaxError"), ""),
    ],
)
def test_a_cured_wheel_must_install_and_import(tmp_path, work, monkeypatch, recipe, trial, ending):  # noqa: PLR0917
    add_source(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setattr(Trials, "run", lambda *_: trial)
    builder = build(work, recipe)
    assert (builder.status, builder.ending) == (not ending, ending)
    if ending:
        why = trial.why or "it was not tried"
        assert f"built with a recipe, so it must install and import: {why}\n" in builder.output


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Recipe(apt=("libfoo-dev",)), "apt: it cannot show packages of Debian to one build"),
        (Recipe(before=YEAR), "before: it has no proxy (--egress open)"),
        (Recipe(environment={"PATH": "/"}), "environment: a recipe cannot set PATH"),
        (Recipe(memory=2**60), "memory: it has "),
    ],
)
def test_what_a_slave_cannot_carry_out_fails_the_build_with_the_field(work, recipe, words):
    builder = build(work, recipe)
    assert (builder.status, builder.ending) == (False, "request")
    assert f"piwheels: this slave cannot carry out the recipe: {words}" in builder.output


def test_an_option_that_pip_does_not_know_is_no_fault_of_the_slave(work):
    script = "import sys; sys.exit('no such option: --config-settings')"
    recipe = Recipe(options=("--config-settings=a=b",))
    with Builder("demo", "1.0", dir=work, pip=[sys.executable, "-c", script], recipe=recipe) as it:
        it.run()
        assert it.ending == "request"
        assert "options: pip of this Python is too old for them\n" in it.output


def test_a_slave_announces_what_it_can_carry_out():
    proxied, every = Egress({}, "https://index.example/"), list(Recipe._fields)
    every.remove("apt")
    assert supported(proxied, has_overlays=False) == every
    assert {*supported(proxied, has_overlays=True)} - {*every} == {"apt"}
    assert "hosts" not in supported(Egress(offline=True), has_overlays=False)
    is_open = supported(Egress(is_open=True), has_overlays=False)
    assert {*every} - {*is_open} == {"requires", "before", "release_plus"}
    refused = partial(why_refused, has_overlays=False)
    assert refused(Recipe(hosts=("x.example",)), Egress(offline=True)).startswith("hosts: ")
    assert refused(Recipe(hosts=("x.example",), memory=1), proxied) == ""


def test_limits_of_a_recipe_count_if_they_are_greater():
    limits = Limits(memory=100)
    assert limits.with_recipe(Recipe(memory=50)).memory == 100
    assert limits.with_recipe(Recipe(memory=200)).memory == 200
    assert Limits().with_recipe(PLAIN).totals()["memory"] == most_memory()
    usual = timedelta(seconds=300)
    assert Builder("x", "1", recipe=Recipe(timeout=timedelta(seconds=5))).timeout == usual
    assert Builder("x", "1", recipe=Recipe(timeout=2 * usual)).timeout == 2 * usual


def test_constraints_never_apply_to_the_project_itself():
    recipe = Recipe(("setuptools<58", "cython<3"))
    assert constraints(recipe, "Setuptools") == ["cython<3"]
    found = with_constraints({"PIP_CONSTRAINT": "/etc/x"}, "file:///c")
    assert found == {"PIP_CONSTRAINT": "/etc/x file:///c", "PIP_BUILD_CONSTRAINT": "file:///c"}
