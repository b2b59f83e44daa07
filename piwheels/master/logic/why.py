"""Why a release has no wheel for a target: one line for each release and target. Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.database.rows import BINARY_ONLY
from piwheels.core.debian.contents import packages_for
from piwheels.core.diagnosis import Diagnosis
from piwheels.core.errors import one_line
from piwheels.core.protocols import Why
from piwheels.core.recipes import recipe_words
from piwheels.core.targets import FIRST, Target
from piwheels.core.wheels.serving import serves
from piwheels.core.wheels.tags import parse_if_wheel
from piwheels.core.words import ordinal, time_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from piwheels.core.database.rows import PlaceRow, ProjectBuild, ProjectData, ProjectRelease
    from piwheels.core.protocols import WhyState
    from piwheels.core.wheels.tags import WheelName

#: The class of failures that say which Pythons a release is for.
_OTHER_PYTHON: Final = "python-too-old"
#: How many recipes that failed are named.
_NAMED: Final = 8


class Place(NamedTuple):
    """The place of a version in the queue of a target, from 1 (``None``: far behind), of so many.

    *builder* is the label of the slave that builds it now (``""``: none does).
    """

    place: int | None
    of: int
    builder: str = ""


class _Answer(NamedTuple):
    state: WhyState
    text: str
    detail: str = ""
    build_id: int = 0


def why(
    data: ProjectData,
    targets: Sequence[Target],
    places: Mapping[tuple[str, Target], Place] = MappingProxyType({}),
    release: str = "",
) -> list[Why]:
    """Return a line for each release of *data* and each of the active *targets*, in their order.

    Without *places* (:func:`places_of`), nothing is said about places in the queue. *release* names
    the release of Debian whose packages are suggested (``""``: none are).
    """
    answers = []
    for version, about in data["releases"].items():
        wheels = {name: wheel for name in about["files"] if (wheel := parse_if_wheel(name))}
        for target in targets:
            place = places.get((version, target)) or places.get((version, FIRST))
            found = _of_target(data, about, target, wheels, place, release)
            text = one_line(found.text)
            answers.append(Why(version, *target, found.state, text, found.detail, found.build_id))
    return answers


def places_of(
    rows: Iterable[PlaceRow], targets: Sequence[Target]
) -> dict[tuple[str, Target], Place]:
    """Return the places of versions in the queues of *targets*, and who builds them."""
    places: dict[tuple[str, Target], Place] = {}
    for row in rows:
        target = Target(row.platform, row.abi_tag)
        place = Place(row.place, row.of, row.label)
        same = [each for each in targets if _is_of(row.platform, row.abi_tag, each)]
        places |= {(row.version, each): place for each in (same if row.label else [target])}
    return places


def _is_of(platform: str, abi: str, target: Target) -> bool:
    """Return whether what is built on *platform* for *abi* is built for *target*."""
    return abi == target.abi and (
        target.platform == "any" or platform in {target.platform, "any", ""}
    )


def _of_target(  # noqa: PLR0917
    data: ProjectData,
    about: ProjectRelease,
    target: Target,
    wheels: Mapping[str, WheelName],
    place: Place | None,
    debian: str,
) -> _Answer:
    for name, wheel in wheels.items():
        if serves(wheel, target):
            return _Answer("built", f"built: {name}", "", about["files"][name]["build_id"])
    if about["quarantined"] or data["status"] == "quarantined":
        return _Answer("quarantined", "quarantined upstream")
    if (skip := about["skip"] or data["skip"]) == BINARY_ONLY:
        return _Answer("only-wheels", "only wheels upstream: no source distribution")
    if skip:
        return _Answer("skipped", f"skipped: {skip}")
    if target.abi in about.get("excluded", ()):
        return _Answer("not-for-python", _other_python(about.get("requires_python")))
    if place is not None and place.builder:
        return _Answer("building", f"building on {place.builder}")
    builds = [
        build for build in about["builds"] if _is_of(build["platform"], build["abi_tag"], target)
    ]
    if not builds:
        return _Answer("waiting", _waiting(place))
    return _tried(builds, place, debian)


def _tried(builds: Sequence[ProjectBuild], place: Place | None, debian: str) -> _Answer:
    """Answer for a target with *builds*, oldest first, none of whose files serves it."""
    last = builds[-1]
    if last["status"]:
        text = "built, but no file of it is for this target"
        return _Answer("failed", text, "", last["build_id"])
    counting = [build for build in builds if build["counts"] and not build["status"]]
    if not counting:
        title = _diagnosis(last).about.title
        text = "; ".join([f"put off: {title} (a fault of the farm)", *_follows(last, place)])
        return _Answer("put-off", text, last["cause"], last["build_id"])
    shown = next((each for each in reversed(counting) if not each["recipe"]), counting[-1])
    if shown["reason"] == _OTHER_PYTHON:
        number = shown["build_id"]
        return _Answer("not-for-python", _other_python(shown["subject"]), shown["cause"], number)
    parts = [f"failed: {_advice(shown, debian)}", *_also(builds, shown), *_follows(last, place)]
    return _Answer("failed", "; ".join(parts), shown["cause"], shown["build_id"])


def _diagnosis(build: ProjectBuild) -> Diagnosis:
    return Diagnosis(build["reason"] or "unknown", build["subject"], build["cause"])


def _advice(build: ProjectBuild, debian: str) -> str:
    found = _diagnosis(build)
    sentence = found.sentence.removesuffix(".")
    text = f"{found.about.title}: {sentence[:1].lower()}{sentence[1:]}"
    packages = packages_for(found.reason, found.subject, debian) if debian else []
    return f"{text} (apt install {packages[0]})" if packages else text


def _also(builds: Sequence[ProjectBuild], shown: ProjectBuild) -> Iterator[str]:
    """Yield which recipes have failed, too."""
    recipes = [each["recipe"] for each in builds if each["recipe"] and each is not shown]
    tried = dict.fromkeys(" and ".join(recipe_words(each)) for each in recipes)
    if tried:
        yield f"also tried {', '.join(list(tried)[:_NAMED])}"


def _follows(last: ProjectBuild, place: Place | None) -> Iterator[str]:
    """Yield what follows the *last* build."""
    following = last["next"]
    if following is not None:
        words = " and ".join(recipe_words(following["recipe"]))
        how = f" {words}" if words else ""
        if place is not None:
            yield f"{_waiting(place)}, to be tried again{how}"
        elif following["due"] is None:
            yield f"held until an operator, or something new, starts an attempt{how}"
        else:
            yield f"to be tried again at {time_text(following['due'])}{how}"
    elif last["retry_at"] is not None:
        until = time_text(last["retry_at"])
        yield f"to be confirmed by another slave, or after {until} by the same"


def _waiting(place: Place | None) -> str:
    if place is None:
        return "waiting"
    if place.place is None:
        return f"waiting, far behind in the queue of {place.of:,}"
    return f"waiting, {ordinal(place.place)} of {place.of:,} in the queue"


def _other_python(requires: str | None) -> str:
    return f"not for this Python (requires {requires})" if requires else "not for this Python"
