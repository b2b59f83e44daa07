"""Recipes of projects, attempts that operators start, and their places in the queue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from helpers import until
from piwheels.core.database.recipes import LAST
from piwheels.core.database.rows import NewAttempt, UpstreamPackage, UpstreamVersion
from piwheels.core.diagnosis import Diagnosis
from piwheels.core.recipes import PLAIN, Recipe
from piwheels.core.states import Attempt, BuildState, FileState, Retry
from piwheels.core.targets import Target
from piwheels.master.logic.cures import MOST, Place, next_attempt

PI = Target("linux_armv7l", "cp311")
HEADER = Diagnosis("missing-header", "ssl.h")
TOOLS = Diagnosis("tools-too-new", "setuptools<58")
APT = Recipe(apt=("libssl-dev",))
CYTHON = Recipe(constraints=("cython<3",))
START = "", 0


@pytest.fixture
def farm(db):
    db.add_targets([PI])
    for name in ("foo", "bar"):
        db.add_new_package(name)
        db.add_new_package_version(name, "1.0")
        db.add_new_package_version(name, "2.0")
    return db


def log(db, package, version="1.0", found=HEADER, platform=PI.platform, **about):
    """Store a failed build, or one with a wheel if nothing is *found*; return its number."""
    files = {}
    if found is None:
        name = f"{package}-{version}-py3-none-any.whl"
        tags = "py3", "none", "any"
        files[name] = FileState(name, 1, "a" * 64, package, version, *tags, None, {})
    made = BuildState(1, package, version, PI.abi, found is None, timedelta(1), "log", files)
    made.platform, made.label, made.final = platform, "pi", True
    made.diagnosis = found or Diagnosis("")
    for name, value in about.items():
        setattr(made, name, value)
    return db.log_build(made)


def retry(delay, recipe=APT):
    return Retry(Attempt(1, ("a",)), recipe, None if delay is None else timedelta(seconds=delay))


def queue(db):
    """Return the versions in the order in which a slave gets them."""
    return [row[:2] for row in sorted(db.get_target_queue(), key=lambda row: row.due)]


def waits(db, package, version="1.0"):
    """Return the recipe and the attempt of a version that waits; ``None``: it does not."""
    found = db.get_pending([(package, version)])
    return (found[0].recipe, found[0].attempt) if found else None


# Recipes of projects --------------------------------------------------------------------------


def test_builds_begin_with_the_recipe_of_an_operator(farm):
    log(farm, "foo", found=None, recipe=CYTHON, keeps=CYTHON)
    assert waits(farm, "foo", "2.0") == (CYTHON, Attempt(0, ("project",)))
    with farm.listen() as listener:
        assert farm.set_recipe("foo", APT)
        until(listener.drain)  # so that the master reads the queue again
    assert waits(farm, "foo", "2.0") == (APT, Attempt())
    assert not farm.set_recipe("foo", APT)
    log(farm, "foo", "2.0", found=None, recipe=CYTHON, keeps=CYTHON)
    [(package, recipe, by_operator, _, files)] = farm.get_recipes("")
    assert (package, recipe, by_operator, files) == ("foo", APT, True, 2)
    assert farm.set_recipe("foo", PLAIN)
    assert farm.get_recipes("") == []


def test_recipes_are_read_in_parts(farm):
    farm.set_recipe("foo", APT)
    farm.set_recipe("bar", CYTHON)
    assert [each.package for each in farm.get_recipes("")] == ["bar", "foo"]
    assert [each.package for each in farm.get_recipes("", 1)] == ["bar"]
    assert [each.package for each in farm.get_recipes("bar", 1)] == ["foo"]


def test_a_recipe_of_a_later_version_is_left_out(farm, cursor):
    farm.set_recipe("foo", APT)
    cursor.execute("""UPDATE recipes SET content = '{"wings": 2}'""")
    assert farm.get_recipes("")[0].recipe == PLAIN
    assert waits(farm, "foo") == (PLAIN, Attempt())


# Failures that stand --------------------------------------------------------------------------


def test_standing_failures_have_all_that_was_tried(farm):
    number = log(farm, "foo")
    log(farm, "foo", found=Diagnosis("compile-error"), recipe=APT)
    log(farm, "foo", found=Diagnosis("link-error"), recipe=CYTHON)
    log(farm, "bar", found=None)
    [found] = farm.get_standing(START, LAST)
    assert found[:7] == (number, "foo", "1.0", *PI, "missing-header", "ssl.h")
    assert (found.recipe, found.held) == (PLAIN, False)
    assert sorted(found.failed) == sorted([APT, CYTHON])


def test_standing_failures_are_read_in_parts(farm):
    second, first = log(farm, "foo"), log(farm, "bar", "2.0")
    third = log(farm, "foo", "2.0")
    found = []
    after = START
    while part := farm.get_standing(after, LAST, limit=1):
        found.append(part[0].build_id)
        after = part[0].package, part[0].build_id
    assert found == [first, second, third]
    assert [each.package for each in farm.get_standing(START, "bar")] == ["bar"]
    assert [each.build_id for each in farm.get_standing(("foo", second), "foo")] == [third]


def test_what_is_planned_is_no_business_of_operators_and_what_is_held_is(farm):
    log(farm, "foo", retry=retry(3600))
    log(farm, "foo", "2.0", retry=retry(0))
    held = log(farm, "bar", found=Diagnosis("killed"), counts=False, retry=retry(None))
    [found] = farm.get_standing(START, LAST)
    assert (found.build_id, found.reason, found.held) == (held, "killed", True)
    both = farm.get_standing(START, LAST, planned=True)
    assert [(each.package, each.held) for each in both] == [("bar", True), ("foo", False)]


def test_the_reason_of_what_is_held_is_that_of_its_last_failure(farm):
    log(farm, "foo")
    log(farm, "foo", found=Diagnosis("killed", "cc1"), counts=False, retry=retry(None))
    [found] = farm.get_standing(START, LAST)
    assert (found.reason, found.subject, found.held) == ("killed", "cc1", True)


# Attempts of operators ------------------------------------------------------------------------


@pytest.mark.parametrize("planned", [None, retry(3600), retry(None)])
def test_an_attempt_of_an_operator_takes_the_place_of_what_was_planned(farm, planned):
    number = log(farm, "foo", retry=planned)
    assert waits(farm, "foo") is None
    attempt = NewAttempt(number, 2, ("x", "y"), CYTHON)
    assert farm.retry_builds([attempt]) == ["foo"]
    assert waits(farm, "foo") == (CYTHON, Attempt(2, ("x", "y")))
    assert [each.package for each in farm.load_rewrites_pending()] == ["foo"]
    assert farm.retry_builds([attempt._replace(recipe=APT)]) == []  # it is in the queue
    log(farm, "foo", recipe=CYTHON)
    assert waits(farm, "foo") is None


def test_no_attempt_follows_what_no_build_would_end(farm):
    good = log(farm, "foo", found=None)
    old = log(farm, "bar", platform="")
    assert farm.get_standing(START, LAST) == []
    assert farm.retry_builds([NewAttempt(each, 1, (), APT) for each in (good, old, 99)]) == []


@pytest.mark.parametrize("targets", [[Target("any", "cp311")], [Target("any", "cp311"), PI]])
def test_a_build_on_any_platform_ends_the_attempt_for_a_target_of_any(db, targets):
    db.add_targets(targets)
    db.add_new_package("foo")
    db.add_new_package_version("foo", "1.0")
    log(db, "foo", retry=retry(0))
    assert {each.target for each in db.get_pending([("foo", "1.0")])} == set(targets)
    log(db, "foo", platform="linux_aarch64")
    left = [each.target for each in db.get_pending([("foo", "1.0")])]
    assert (PI in left) is (PI in targets)  # that attempt is for PI itself, too
    log(db, "foo")
    assert waits(db, "foo") is None


# Skips for good -------------------------------------------------------------------------------


def upstream(db):
    """Have upstream replace a source distribution by another one."""
    changed = UpstreamVersion("foo", "1.0", added=("foo-1.0.zip",), removed=("foo-1.0.tar.gz",))
    db.follow_upstream([UpstreamPackage("foo")], [changed], 5)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("planned", [None, retry(0), retry(1), retry(None)])
def test_a_skip_is_for_good(farm, cursor, whole, planned):
    number = log(farm, "foo", retry=planned)
    if whole:
        farm.skip_package("foo", "too large")
    else:
        farm.skip_package_version("foo", "1.0", "too large")
    cursor.execute("UPDATE retries SET due = now() WHERE due > now() AND due < 'infinity'")
    farm.release_retries()
    upstream(farm)
    farm.set_recipe("foo", APT)
    farm.retry_builds([NewAttempt(number, 1, (), APT)])
    assert farm.get_standing(START, LAST, planned=True) == []
    assert waits(farm, "foo") is None
    farm.retry_version("foo", "1.0")
    assert waits(farm, "foo") is None
    if whole:
        farm.skip_package("foo", "")
    else:
        farm.skip_package_version("foo", "1.0", "")
    assert waits(farm, "foo") is not None


# Priorities -----------------------------------------------------------------------------------


def dues(cursor):
    cursor.execute("SELECT package, version, due FROM build_queue")
    return {(package, version): due for package, version, due in cursor}


def test_a_retry_has_the_place_of_its_version(farm, cursor):
    old = datetime.now(UTC) - timedelta(days=400)
    farm.add_new_package_version("foo", "0.9", old)
    farm.set_urgency("foo", "2.0", "security")
    cursor.execute("UPDATE packages SET popularity = 3 WHERE package = 'bar'")
    first = dues(cursor)
    for package, version in sorted(first):
        log(farm, package, version, retry=retry(0))
    assert dues(cursor) == first
    assert all(waits(farm, *each) == (APT, Attempt(1, ("a",))) for each in first)
    assert queue(farm)[0] == ("foo", "2.0")
    farm.set_urgency("foo", "0.9", "first")
    assert queue(farm)[0] == ("foo", "0.9")
    farm.set_urgency("foo", "0.9", "")
    assert dues(cursor) == first


def test_cures_delay_others_by_a_limited_number_of_builds(farm, cursor):
    """Other versions come when the attempts of the first one have ended, or when they are first."""
    cursor.execute("UPDATE versions SET skip = 'no' WHERE package = 'foo' AND version = '2.0'")
    cursor.execute("UPDATE versions SET added = added + interval '1 day' WHERE package = 'bar'")
    place = Place("pi", False, frozenset(Recipe._fields), release="bookworm")
    built = 0
    while queue(farm)[0][0] == "foo":
        recipe, attempt = waits(farm, "foo")
        following = next_attempt(TOOLS, recipe, attempt, place)
        log(farm, "foo", found=TOOLS, recipe=recipe, attempt=attempt, retry=following)
        built += 1
        farm.set_urgency("bar", "2.0", "first")
        assert queue(farm)[0] == ("bar", "2.0")
        farm.set_urgency("bar", "2.0", "")
        assert built <= MOST
    assert built > 2
    assert {package for package, _ in queue(farm)} == {"bar"}
