"""What follows a failed build."""

from datetime import timedelta

import pytest

from piwheels.core.database.rows import NewAttempt, StandingFailure
from piwheels.core.diagnosis import Diagnosis
from piwheels.core.recipes import PLAIN, Recipe
from piwheels.core.states import Attempt
from piwheels.master.logic import cures
from piwheels.master.logic.cures import (
    MOST,
    MOST_OF_FARM,
    Place,
    farm_row,
    kept,
    may_cure,
    next_attempt,
    revived,
)

ALL = frozenset(Recipe._fields)
HERE = Place("pi", False, ALL, timeout=timedelta(hours=3), release="bookworm")
FIRST = Attempt()
TOOLS = Diagnosis("tools-too-new", "setuptools<58")


def chain(diagnosis, place=HERE, recipe=PLAIN, attempt=FIRST):
    """Return all attempts that follow while each one fails like the first."""
    found = []
    while (retry := next_attempt(diagnosis, recipe, attempt, place)) is not None:
        found.append(retry)
        recipe, attempt = retry.recipe, retry.attempt
        if retry.delay is None:
            break
    return found


def test_tools_become_older_step_by_step_each_once():
    steps = chain(TOOLS)
    assert [each.attempt.tried[-1] for each in steps] == [
        "setuptools<58", "as released", "cython<3", "setuptools<81", "setuptools<66",
    ]  # fmt: skip
    assert steps[0].recipe == Recipe(constraints=("setuptools<58",))
    assert steps[1].recipe.release_plus == timedelta(days=1)
    assert steps[-1].recipe.constraints == ("setuptools<66", "cython<3")
    assert {each.delay for each in steps} == {timedelta(0)}


@pytest.mark.parametrize(
    ("diagnosis", "recipe"),
    [
        (Diagnosis("dependency-undeclared", "numpy"), Recipe(requires=("numpy",))),
        (
            Diagnosis("python-too-new", "PyO3 supports 3.10 at most"),
            Recipe(environment={"PYO3_USE_ABI3_FORWARD_COMPATIBILITY": "1"}),
        ),
        (Diagnosis("setup-error", "KeyError"), Recipe(release_plus=timedelta(days=1))),
        (Diagnosis("compile-error"), Recipe(release_plus=timedelta(days=1))),
    ],
)
def test_what_may_help_is_tried_once(diagnosis, recipe):
    (only,) = chain(diagnosis)
    assert only.recipe == recipe


@pytest.mark.parametrize("reason", ["python-too-old", "python-2", "test-failure", "wheel-refused"])
def test_what_no_setting_changes_is_not_repeated(reason):
    assert chain(Diagnosis(reason)) == []


def test_a_cure_needs_a_slave_that_can_carry_it_out():
    assert chain(TOOLS, HERE._replace(features=frozenset())) == []
    only = chain(TOOLS, HERE._replace(features=frozenset({"release_plus"})))
    assert [each.recipe for each in only] == [Recipe(release_plus=timedelta(days=1))]


def test_what_lacks_is_looked_up_and_the_second_package_replaces_nothing(monkeypatch):
    monkeypatch.setattr(cures, "packages_for", lambda *_: ["libfoo-dev", "libfoo2-dev", "foo"])
    found = chain(Diagnosis("missing-header", "foo.h"))
    assert [each.recipe.apt for each in found] == [("libfoo-dev",), ("libfoo-dev", "libfoo2-dev")]


def test_what_the_index_lacks_is_looked_for_later():
    found = chain(Diagnosis("no-source"))
    assert [each.delay.total_seconds() for each in found] == [300, 3600, 86_400]
    assert all(each.recipe == PLAIN for each in found)


def test_what_worked_for_another_version_is_left_out_if_it_fails():
    given = Attempt(0, (cures.PROJECT,))
    first, *more = chain(TOOLS, recipe=Recipe(constraints=("cython<3",)), attempt=given)
    assert (first.recipe, first.attempt.tried[-1]) == (PLAIN, cures.PLAINLY)
    assert more[0].recipe == Recipe(constraints=("setuptools<58",))


def test_a_failure_of_the_farm_is_repeated_later_and_later_and_then_waits():
    found = chain(Diagnosis("disk-full"))
    assert [each.delay and each.delay.total_seconds() for each in found] == [
        60, 600, 3600, 21_600, *[86_400] * 5, None,
    ]  # fmt: skip
    assert len(found) == MOST_OF_FARM
    elsewhere = chain(Diagnosis("disk-full"), HERE._replace(others=True))
    assert elsewhere[0].delay == timedelta(0)


def test_a_build_that_took_too_long_gets_more_time_and_then_counts():
    found = chain(Diagnosis("time-out"))
    assert [each.recipe.timeout for each in found] == [timedelta(hours=6), timedelta(hours=12)]


def test_a_build_gets_the_memory_that_a_slave_has_for_it():
    found = chain(Diagnosis("out-of-memory"), HERE._replace(memory=2**34))
    assert [each.recipe.memory for each in found[:2]] == [0, 2**34]


def test_slaves_that_fail_in_a_row_are_named():
    attempt = Attempt(4, ("at one", "cython<3", "at two", "at three", "at two"))
    assert farm_row(attempt) == ["two", "three"]


def test_a_recipe_that_no_slave_carries_out_is_left_out():
    refused, recipe = Diagnosis("recipe-refused", "apt: no"), Recipe(apt=("libfoo-dev",))
    assert next_attempt(refused, recipe, Attempt(1, ("apt libfoo-dev",)), HERE) is None
    (plain,) = chain(refused, recipe=recipe, attempt=Attempt(0, (cures.PROJECT,)))
    assert plain.recipe == PLAIN
    held = next_attempt(refused, recipe, FIRST, HERE)
    assert (held.delay, held.recipe) == (None, recipe)


def test_no_row_is_long():
    many = Attempt(MOST - 1, ())
    assert next_attempt(TOOLS, PLAIN, many, HERE) is None


def test_a_date_is_not_kept_for_other_versions():
    assert kept(Recipe(release_plus=timedelta(days=1))).release_plus
    assert kept(Recipe(before="then")) == PLAIN


# What operators start -------------------------------------------------------------------------

APT = Recipe(apt=("libfoo-dev",))
CYTHON = Recipe(constraints=("cython<3",))


def standing(reason, subject="", recipe=PLAIN, failed=(), *, held=False):
    target = "linux_armv7l", "cp311"
    return StandingFailure(7, "foo", "1.0", *target, reason, subject, recipe, list(failed), held)


@pytest.fixture
def packages(monkeypatch):
    monkeypatch.setattr(cures, "packages_for", lambda *_: ["libfoo-dev", "foo-dev"])


@pytest.mark.usefixtures("packages")
def test_a_new_ability_of_slaves_is_a_new_cure():
    lacks = standing("missing-header", "foo.h")
    assert revived(lacks, HERE._replace(features=frozenset({"constraints"}))) is None
    assert revived(lacks, HERE) == NewAttempt(7, 1, ("apt libfoo-dev",), APT)


@pytest.mark.usefixtures("packages")
def test_no_cure_is_tried_twice():
    lacks = standing("missing-header", "foo.h", failed=[APT.merged(CYTHON)])
    tried = ("apt libfoo-dev", "apt foo-dev")
    assert revived(lacks, HERE) == NewAttempt(7, 1, tried, Recipe(apt=("foo-dev",)))
    both = [APT, Recipe(apt=("foo-dev",))]
    assert revived(standing("missing-header", "foo.h", failed=both), HERE) is None


def test_a_cure_is_added_to_the_recipe_that_has_failed():
    attempt = revived(standing("setup-error", recipe=CYTHON, failed=[CYTHON]), HERE)
    assert attempt.recipe == CYTHON._replace(release_plus=timedelta(days=1))


@pytest.mark.parametrize("reason", ["test-failure", "no-source", "time-out", "python-2"])
def test_what_the_farm_cannot_cure_waits_for_other_changes(reason):
    assert revived(standing(reason), HERE) is None


@pytest.mark.parametrize(
    ("reason", "features", "recipe"),
    [
        ("killed", ALL, Recipe(memory=8 * 2**30)),
        ("out-of-memory", ALL, Recipe(memory=8 * 2**30)),
        ("out-of-memory", frozenset(), PLAIN),
        ("disk-full", ALL, PLAIN),
    ],
)
def test_what_waits_for_an_operator_is_tried_again(reason, features, recipe):
    place = HERE._replace(memory=8 * 2**30, features=features)
    assert revived(standing(reason, held=True), place) == NewAttempt(7, 1, (), recipe)


def test_memory_that_a_build_had_already_is_no_reason_for_less():
    had = Recipe(memory=16 * 2**30)
    held = standing("killed", recipe=had, held=True)
    assert revived(held, HERE._replace(memory=8 * 2**30)).recipe == had


@pytest.mark.parametrize(
    ("failure", "may"),
    [
        (standing("missing-header", "foo.h"), True),
        (standing("unknown"), True),
        (standing("disk-full", held=True), True),
        (standing("unknown", failed=[APT]), True),
        (standing("unknown", failed=[CYTHON]), False),
        (standing("unknown", failed=[APT.merged(CYTHON)]), False),
        (standing("no-source"), False),
        (standing("python-too-old", ">=3.12"), False),
    ],
)
def test_a_recipe_of_an_operator_may_cure_what_it_was_not_tried_with(failure, may):
    assert may_cure(CYTHON, failure) is may
