"""What follows a failed build: another attempt, with other settings, later or elsewhere. Pure.

A failure of the farm is repeated until it is none; it never counts. Any other failure is tried
again with each cure that its diagnosis suggests, once. The steps of a row of attempts have names,
which travel with the row (:class:`~piwheels.core.states.Attempt`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.database.rows import NewAttempt
from piwheels.core.debian.contents import packages_for
from piwheels.core.diagnosis import Diagnosis
from piwheels.core.recipes import PLAIN, Recipe
from piwheels.core.states import Attempt, Retry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Set

    from piwheels.core.database.rows import StandingFailure

#: The most attempts in a row; and the most after failures of the farm. After these, the version
#: waits for an operator.
MOST, MOST_OF_FARM = 8, 10
#: The pauses after failures of the farm; the last one repeats. The first is left out if another
#: slave can build the version at once.
PAUSES: Final = (60, 600, 3600, 6 * 3600, 86_400)
#: The pauses before another look for what the index did not have.
LOOKS: Final = (300, 3600, 86_400)
#: A slave whose failure was one of the farm is noted by a step that begins with this.
AT: Final = "at "
#: So many slaves in a row with failures of the farm are reported to operators.
SLAVES: Final = 3
#: The steps that are not named after a setting.
PROJECT, PLAINLY, LOOK = "project", "plain", "look"
#: How much more time the next attempt gets, and how much all have together, at most.
MORE, MOST_TIME = 2, 4
#: The longest time-out of a build.
LONGEST: Final = timedelta(days=1)

_DAY: Final = timedelta(days=1)
#: Build tools as they were when the source was released.
_AS_RELEASED: Final = "as released", Recipe(release_plus=_DAY)
#: Older versions of the tools that broke the most sources, in the order in which they are tried.
_OLDER: Final = ("cython<3", "setuptools<81", "setuptools<66", "setuptools<58")
#: Has PyO3 use the stable ABI of a Python that is newer than it.
_PYO3: Final = Recipe(environment={"PYO3_USE_ABI3_FORWARD_COMPATIBILITY": "1"})
#: The failures that older tools may cure, although nothing in the log says so.
_SUSPECTS: Final = frozenset(
    {
        "tools-too-new", "dependency-unavailable", "bad-backend", "setup-error", "compile-error",
        "invalid-metadata", "unknown",
    }
)  # fmt: skip
_LATER: Final = frozenset({"no-source", "gone", "hash-mismatch", "dependency-unavailable"})
_LACKS: Final = frozenset(
    {
        "missing-header", "missing-library", "missing-tool", "missing-pkgconfig", "missing-cmake",
        "missing-meson", "missing-rust", "missing-fortran",
    }
)  # fmt: skip
#: The failures of the farm that more memory may cure.
_OF_MEMORY: Final = frozenset({"out-of-memory", "killed"})
#: The failures that no recipe cures.
_HOPELESS: Final = frozenset({"python-too-old", "no-source", "gone", "corrupt-source"})


class Place(NamedTuple):
    """Where a build failed, and where it may be repeated.

    *label* is its slave; *others*: other slaves can build for the target at once. *features* are
    the settings that slaves of the target can carry out (the fields of a recipe), *memory* the
    most bytes that a build may have there, *timeout* the limit that it had, *release* that of
    Debian (``bookworm``; ``""``: unknown).
    """

    label: str
    others: bool
    features: Set[str]
    memory: int = 0
    timeout: timedelta = timedelta(0)
    release: str = ""


def next_attempt(
    diagnosis: Diagnosis, recipe: Recipe, attempt: Attempt, place: Place
) -> Retry | None:
    """Return what follows the failed *attempt* with *recipe*; ``None``: nothing."""
    if diagnosis.reason == "recipe-refused":
        if attempt.number:
            return None  # the attempt before has shown what fails
        if PROJECT not in attempt.tried:  # an operator has to correct it
            return _retry(attempt, f"{AT}{place.label}", recipe, None)
    elif diagnosis.about.fault == "farm" and diagnosis.reason not in _LATER:
        return _repeated(diagnosis, recipe, attempt, place)
    if attempt.number + 1 >= MOST:
        return None
    if PROJECT in attempt.tried and PLAINLY not in attempt.tried:
        return _retry(attempt, PLAINLY, PLAIN)  # what worked for another version may do harm
    for step, cure in _cures(diagnosis, recipe, place):
        merged = _with(recipe, cure)
        if step not in attempt.tried and merged != recipe and merged.features <= place.features:
            return _retry(attempt, step, merged)
    looks = attempt.tried.count(LOOK)
    if diagnosis.reason in _LATER and looks < len(LOOKS):
        return _retry(attempt, LOOK, recipe, LOOKS[looks])
    return None


def revived(failure: StandingFailure, place: Place) -> NewAttempt | None:
    """Return the attempt that an operator may start after a *failure*; ``None``: nothing is new.

    New is what has not been tried, because no slave could carry it out, or the farm did not know
    it. *place* says what slaves can do now.
    """
    diagnosis, recipe, tried = Diagnosis(failure.reason, failure.subject), failure.recipe, []
    if failure.held:
        if failure.reason in _OF_MEMORY and place.memory > recipe.memory:
            recipe = _if_able(recipe.merged(Recipe(memory=place.memory)), recipe, place)
        return NewAttempt(failure.build_id, 1, (), recipe)
    for step, cure in _cures(diagnosis, recipe, place):
        merged = _with(recipe, cure)
        if _was_tried(cure, failure.failed):
            tried.append(step)
        elif merged.features <= place.features:
            return NewAttempt(failure.build_id, 1, (*tried, step), merged)
    return None


def may_cure(recipe: Recipe, failure: StandingFailure) -> bool:
    """Return whether a *recipe* that an operator has written may cure a *failure*."""
    return failure.reason not in _HOPELESS and not _was_tried(recipe, failure.failed)


def kept(recipe: Recipe) -> Recipe:
    """Return what later versions begin with if a build with *recipe* has succeeded."""
    return recipe._replace(before=None)


def farm_row(attempt: Attempt) -> list[str]:
    """Return the slaves on which the last attempts of a row failed because of the farm."""
    row: list[str] = []
    for step in reversed(attempt.tried):
        if not step.startswith(AT):
            break
        row.append(step.removeprefix(AT))
    return list(dict.fromkeys(row))


def _with(recipe: Recipe, cure: Recipe) -> Recipe:
    """Return *recipe* with a *cure*: older tools take the place of those as of the release."""
    return (recipe._replace(release_plus=None) if cure.constraints else recipe).merged(cure)


def _was_tried(recipe: Recipe, failed: Iterable[Recipe]) -> bool:
    """Return whether an attempt with all settings of *recipe* is among the *failed* ones."""
    return any(each.merged(recipe) == each for each in failed)


def _if_able(recipe: Recipe, other: Recipe, place: Place) -> Recipe:
    """Return *recipe*, or the *other* one if no slave can carry it out."""
    return recipe if recipe.features <= place.features else other


def _retry(attempt: Attempt, step: str, recipe: Recipe, delay: float | None = 0.0) -> Retry:
    following = Attempt(attempt.number + 1, (*attempt.tried, step))
    return Retry(following, recipe, None if delay is None else timedelta(seconds=delay))


def _repeated(diagnosis: Diagnosis, recipe: Recipe, attempt: Attempt, place: Place) -> Retry | None:
    """Return the attempt that follows a failure of the farm.

    ``None``: it is none, because the build has had time enough.
    """
    done = sum(step.startswith(AT) for step in attempt.tried)
    limit = max(recipe.timeout or place.timeout, place.timeout)
    match diagnosis.reason:
        case "time-out" if limit >= MOST_TIME * place.timeout or limit >= LONGEST:
            return None
        case "time-out":
            more = Recipe(timeout=min(MORE * limit, LONGEST))
        case reason if reason in _OF_MEMORY and place.memory > recipe.memory and done:
            more = Recipe(memory=place.memory)
        case _:
            more = PLAIN
    following = _if_able(recipe.merged(more), recipe, place)
    pauses = (0, *PAUSES) if place.others else PAUSES
    delay = pauses[min(done, len(pauses) - 1)] if done + 1 < MOST_OF_FARM else None
    return _retry(attempt, f"{AT}{place.label}", following, delay)


def _cures(diagnosis: Diagnosis, recipe: Recipe, place: Place) -> Iterator[tuple[str, Recipe]]:
    """Yield the cures that may help, the most likely first, with the names of their steps."""
    reason, subject = diagnosis.reason, diagnosis.subject
    # A wheel that a recipe has made, and that does not work, asks for another one.
    misled = reason == "wheel-refused" and recipe != PLAIN
    if reason in _LACKS:
        for package in packages_for(reason, subject, place.release)[:2]:
            yield f"apt {package}", Recipe(apt=(package,))
    if reason == "dependency-undeclared" and subject:
        yield f"requires {subject}", Recipe(requires=(subject,))
    if reason == "tools-too-new" and "<" in subject:
        yield subject, Recipe(constraints=(subject,))
    if reason == "python-too-new" and subject.startswith("PyO3 "):
        yield "PyO3", _PYO3
    if reason in _SUSPECTS or misled:
        yield _AS_RELEASED
    if reason == "tools-too-new" or misled:
        for older in _OLDER:
            yield older, Recipe(constraints=(older,))
