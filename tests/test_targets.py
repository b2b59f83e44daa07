"""piw-targets lists, adds, previews and retires targets."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta

import pytest

from piwheels import targets
from piwheels.core.states import BuildState, FileState

WHEEL = "foo-1.0-cp311-cp311-linux_armv7l.whl"


@pytest.fixture
def said(db, db_dsn, capsys):
    """Run piw-targets; return its exit status, and the lines that it has written."""

    def run(*args):
        try:
            status = targets.main([*args, "--dsn", db_dsn])
        except SystemExit as exc:
            status = exc.code
        captured = capsys.readouterr()
        return status, (captured.out + captured.err).splitlines()

    return run


@pytest.fixture
def farm(db, said):
    """A farm with one target, for which a version is built, and a new version."""
    assert said("add", "linux_armv7l/cp311", "--system", "Debian 12") == (
        0, ["added linux_armv7l/cp311"]
    )  # fmt: skip
    db.add_new_package("foo")
    for version in ("1.0", "2.0"):
        db.add_new_package_version("foo", version, datetime(2026, 1, 1, tzinfo=UTC))
    file = FileState(WHEEL, 1, "a" * 64, "foo", "1.0", "cp311", "cp311", "linux_armv7l", None, {})
    db.log_build(
        BuildState(1, "foo", "1.0", "cp311", True, timedelta(1), "log", {WHEEL: file},
                   platform="linux_armv7l")
    )  # fmt: skip
    return db


def test_a_farm_without_targets_says_how_to_add_one(said):
    assert said() == (0, ["there are no targets: piw-targets add PLATFORM/ABI adds one"])


def test_targets_are_listed_with_what_waits_for_them(farm, said):
    assert said("preview", "linux_aarch64/cp311", "linux_armv7l/cp311") == (
        0, ["linux_aarch64/cp311 adds 1 build", "linux_armv7l/cp311 is active already"]
    )  # fmt: skip
    assert said("add", "linux_aarch64/cp311", "linux_armv7l/cp311", "--place", "5")[1] == [
        "added linux_aarch64/cp311", "updated linux_armv7l/cp311",
    ]  # fmt: skip
    assert said()[1] == [
        "target               place  system     waiting  state",
        "linux_aarch64/cp311  5      -          1        active",
        "linux_armv7l/cp311   5      Debian 12  0        active",
        "1 new version begins with any of them",
    ]
    found = [json.loads(line) for line in said("--json")[1]]
    assert [(each["target"], each["waiting"]) for each in found] == [
        ("linux_aarch64/cp311", 1), ("linux_armv7l/cp311", 0),
    ]  # fmt: skip


def test_targets_are_retired_with_a_reason(farm, said, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    status, (line,) = said("retire", "linux_armv7l/cp311")
    assert status == 1
    assert "would retire 1 target, for which 0 builds wait" in line
    assert said("retire", "linux_armv7l/cp311", "--reason", "no board", "--yes") == (
        0, ["retired linux_armv7l/cp311"]
    )  # fmt: skip
    assert said()[1][1].endswith("retired: no board")
    assert farm.get_target_queue() == []
    assert said("retire", "linux_armv7l/cp39", "--yes") == (
        1, ["piw-targets: no such target: linux_armv7l/cp39 (piw-targets lists them)"]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["add", "cp311"], "'cp311' is no target: give PLATFORM/ABI, such as linux_armv7l/cp311"),
        (["add", "manylinux_2_17_x86_64/cp311"], "names a tag: its platform is linux_x86_64"),
        (["add", "any/cp311", "any/cp311"], "a target is named twice: name each once"),
        (["add"], "name targets to add, retire or preview, and only then"),
        (["list", "any/cp311"], "name targets to add, retire or preview, and only then"),
        (["retire", "any/cp311", "--place", "3"], "--place and --system are for add"),
        (["add", "any/cp311", "--reason", "x"], "--reason is for retire"),
    ],
)
def test_misuse_gets_a_sentence_and_changes_nothing(db, said, args, words):
    status, lines = said(*args)
    assert status == 2
    assert words in lines[-1]
    assert db.get_targets() == []
