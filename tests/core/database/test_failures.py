"""The failures that stand: what is counted for a reason is what is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from piwheels.core.diagnosis import Diagnosis
from piwheels.core.recipes import Recipe
from piwheels.core.states import Attempt, BuildState, FileState, Retry
from piwheels.core.targets import Target

PLATFORM = "linux_armv7l"
EVER = datetime(2020, 1, 1, tzinfo=UTC)
HEADER = Diagnosis("missing-header", "ssl.h", "fatal error: ssl.h: No such file")
OTHER = Diagnosis("missing-header", "ffi.h")
CURE = Recipe(apt=("libssl-dev",))


@pytest.fixture
def farm(db):
    db.add_targets([Target(PLATFORM, "cp39"), Target(PLATFORM, "cp311")])
    for name in ("foo", "bar", "baz"):
        db.add_new_package(name)
        for version in ("1.0", "2.0"):
            db.add_new_package_version(name, version)
    return db


def log(db, package, version="1.0", found=HEADER, abi="cp39", **about):
    """Store a failed build, or one with a wheel for any Python if nothing is *found*."""
    files = {}
    if found is None:
        name = f"{package}-{version}-py3-none-any.whl"
        tags = "py3", "none", "any"
        files[name] = FileState(name, 1, "a" * 64, package, version, *tags, None, {})
    made = BuildState(1, package, version, abi, found is None, timedelta(1), "log", files)
    made.platform, made.label, made.final = PLATFORM, "pi", True
    made.diagnosis = found or Diagnosis("")
    for name, value in about.items():
        setattr(made, name, value)
    return db.log_build(made)


def retry(delay):
    return Retry(Attempt(1, ("a",)), CURE, None if delay is None else timedelta(seconds=delay))


def test_failures_are_counted_by_reason_and_subject(farm):
    log(farm, "foo")
    log(farm, "foo", abi="cp311")
    log(farm, "bar")
    log(farm, "bar", "2.0", OTHER)
    log(farm, "baz", "1.0", Diagnosis("unknown"))
    assert farm.count_reasons(EVER) == [
        ("missing-header", "ssl.h", 3, 2),
        ("missing-header", "ffi.h", 1, 1),
        ("unknown", "", 1, 1),
    ]
    assert len(farm.count_reasons(EVER, 2)) == 2
    assert farm.count_reasons(datetime.now(UTC) + timedelta(hours=1)) == []
    assert [farm.count_reason("missing-header", each, EVER) for each in ("ssl.h", None)] == [3, 4]
    newest = farm.get_failures("missing-header", "ssl.h", EVER, 1)
    assert [(each.package, each.version, each.platform) for each in newest] == [
        ("bar", "1.0", PLATFORM)
    ]
    assert newest[0].cause == HEADER.cause
    assert newest[0] == next(b for b in farm.get_recent_builds() if b[0] == newest[0].build_id)


@pytest.mark.parametrize(
    "ends",
    [
        lambda db: log(db, "foo", found=None),
        lambda db: log(db, "foo", found=None, abi="cp311"),  # its wheel serves both
        lambda db: db.skip_package_version("foo", "1.0", "no"),
        lambda db: db.skip_package("foo", "no"),
        lambda db: db.hold_builds("foo", None, True),
        lambda db: db.set_package_status("foo", "quarantined"),
        lambda db: db.retire_targets([Target(PLATFORM, "cp39")], "old"),
        lambda db: log(db, "foo", retry=retry(0)),
        lambda db: db.retry_version("foo", "1.0"),
    ],
    ids=[
        "built",
        "served",
        "skipped",
        "package",
        "held",
        "quarantine",
        "retired",
        "retry",
        "again",
    ],
)
def test_a_failure_stands_until(farm, ends):
    log(farm, "foo")
    assert farm.count_reason("missing-header", None, EVER) == 1
    ends(farm)
    assert farm.count_reason("missing-header", None, EVER) == 0
    assert farm.retry_reason("missing-header", None, EVER) == []


def test_the_attempt_without_a_recipe_says_why(farm):
    log(farm, "foo")
    log(farm, "foo", found=Diagnosis("compile-error"), recipe=CURE)
    log(farm, "foo", found=Diagnosis("disk-full"), counts=False)
    assert [each[:2] for each in farm.count_reasons(EVER)] == [("missing-header", "ssl.h")]
    log(farm, "bar", found=Diagnosis("disk-full"), counts=False, recipe=CURE)
    assert farm.count_reason("disk-full", "", EVER) == 1


def test_a_retry_starts_from_the_beginning(farm):
    log(farm, "foo")
    log(farm, "foo", found=Diagnosis("compile-error"), recipe=CURE, retry=retry(None))
    log(farm, "foo", found=OTHER, abi="cp311")
    log(farm, "bar", found=None)
    log(farm, "bar", "2.0")
    kept = log(farm, "bar", "2.0", OTHER, abi="cp311")
    waiting = {("foo", "1.0"), ("bar", "2.0")}
    assert not waiting & {each[:2] for each in farm.get_pending(sorted(waiting))}
    assert sorted(farm.retry_reason("missing-header", "ssl.h", EVER)) == ["bar", "foo"]
    pending = {(each.package, each.target.abi) for each in farm.get_pending(sorted(waiting))}
    assert pending == {("foo", "cp39"), ("bar", "cp39")}
    assert kept in farm.get_all_build_ids()
    assert {each.package for each in farm.load_rewrites_pending()} == {"foo", "bar"}
    assert all(each.attempt.number == 0 for each in farm.get_pending(sorted(waiting)))


def test_a_version_is_tried_again(farm):
    good = log(farm, "foo", found=None, abi="cp311")
    log(farm, "foo", "2.0")
    log(farm, "foo", "2.0", abi="cp311")
    assert farm.retry_version("foo", "2.0") == 2
    assert farm.retry_version("foo", "1.0") == farm.retry_version("foo", "9") == 0
    assert farm.get_all_build_ids() == {good}
    assert [each.version for each in farm.get_pending([("foo", "2.0")])] == ["2.0"]
