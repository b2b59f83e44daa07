"""Why a release has no wheel for a target."""

from datetime import UTC, datetime, timedelta

import pytest

from piwheels.core.database.rows import BINARY_ONLY, PlaceRow
from piwheels.core.recipes import Recipe
from piwheels.core.targets import FIRST, Target
from piwheels.master.logic import why as module
from piwheels.master.logic.why import Place, places_of, why

AT = datetime(2026, 11, 29, 18, 35, tzinfo=UTC)
AT_TEXT = "2026-11-29 18:35 UTC"
PI = Target("linux_armv7l", "cp311")
PLAIN = Target("any", "cp311")
CYTHON = Recipe(constraints=("cython<3",)).to_map()
OLD = Recipe(constraints=("setuptools<58",)).to_map()


def build(number, reason="", subject="", **changes):
    return {
        "build_id": number, "abi_tag": "cp311", "platform": "linux_armv7l", "status": False,
        "built_at": AT, "retry_at": None, "reason": reason, "subject": subject,
        "cause": f"cause {number}", "counts": True, "recipe": None, "next": None,
        "duration": timedelta(1), "fetched": 0, "refused": [], **changes,
    }  # fmt: skip


def ask(*builds, targets=(PI,), places=None, debian="", status="active", project_skip="", **about):
    release = {
        "released": AT, "yanked": False, "yank_reason": "", "yanked_upstream": False, "skip": "",
        "quarantined": False, "builds": list(builds), "files": {}, **about,
    }  # fmt: skip
    data = {
        "name": "foo", "description": "", "status": status, "skip": project_skip,
        "releases": {"1.0": release},
    }  # fmt: skip
    return why(data, targets, places or {}, debian)


def line(*builds, **about):
    (found,) = ask(*builds, **about)
    assert found[:3] == ("1.0", *about.get("targets", (PI,))[0])
    return found.state, found.text


def file(number):
    return {"build_id": number}


WHEEL = "foo-1.0-cp311-cp311-linux_armv7l.whl"
HEADER = "failed: missing header: install the package that has the header portaudio.h"


@pytest.mark.parametrize(
    ("about", "state", "text"),
    [
        ({}, "waiting", "waiting"),
        ({"skip": BINARY_ONLY}, "only-wheels", "only wheels upstream: no source distribution"),
        ({"skip": "too large"}, "skipped", "skipped: too large"),
        ({"project_skip": "too large"}, "skipped", "skipped: too large"),
        ({"quarantined": True}, "quarantined", "quarantined upstream"),
        ({"status": "quarantined"}, "quarantined", "quarantined upstream"),
        (
            {"excluded": ["cp311"], "requires_python": ">=3.12"},
            "not-for-python",
            "not for this Python (requires >=3.12)",
        ),
        ({"excluded": ["cp39"], "requires_python": ">=3.10"}, "waiting", "waiting"),
    ],
)
def test_a_release_without_builds(about, state, text):
    assert line(**about) == (state, text)


@pytest.mark.parametrize("about", [{}, {"skip": "too large"}, {"skip": BINARY_ONLY}])
def test_a_wheel_that_serves_the_target_is_an_answer_in_any_case(about):
    other = "foo-1.0-cp313-cp313-linux_armv7l.whl"
    (found,) = ask(build(7), files={other: file(8), WHEEL: file(7)}, **about)
    assert (found.state, found.text, found.build_id) == ("built", f"built: {WHEEL}", 7)


def test_each_target_has_its_own_answer():
    targets = [PI, Target("linux_armv7l", "cp313"), Target("linux_aarch64", "cp311"), PLAIN]
    builds = [build(7, status=True), build(8, "unknown", platform="linux_aarch64")]
    found = ask(*builds, targets=targets, files={WHEEL: file(7)})
    assert [each.target for each in found] == targets
    assert [each.state for each in found] == ["built", "waiting", "failed", "built"]


@pytest.mark.parametrize(
    ("place", "state", "text"),
    [
        (Place(3, 12), "waiting", "waiting, third of 12 in the queue"),
        (Place(1021, 9999), "waiting", "waiting, 1,021st of 9,999 in the queue"),
        (Place(1, 9, "board7"), "building", "building on board7"),
    ],
)
@pytest.mark.parametrize("target", [PI, FIRST])
def test_the_place_in_the_queue(place, state, text, target):
    assert line(places={("1.0", target): place, ("2.0", target): Place(1, 1)}) == (state, text)


def test_a_failure_says_what_to_do_and_its_cause():
    (found,) = ask(build(7, "missing-header", "portaudio.h"))
    assert (found.state, found.text) == ("failed", HEADER)
    assert (found.detail, found.build_id) == ("cause 7", 7)


def test_a_failure_suggests_the_package_of_debian(monkeypatch):
    def lookup(reason, subject, release):
        assert (reason, subject, release) == ("missing-header", "portaudio.h", "bookworm")
        return ["portaudio19-dev", "other-dev"]

    monkeypatch.setattr(module, "packages_for", lookup)
    failed = build(7, "missing-header", "portaudio.h")
    suggested = f"{HEADER} (apt install portaudio19-dev)"
    assert line(failed, debian="bookworm") == ("failed", suggested)
    assert line(failed) == ("failed", HEADER)


def test_the_reason_is_that_of_the_last_failure_that_counts_and_has_no_recipe():
    builds = [
        build(1, "unknown"),
        build(2, "missing-header", "portaudio.h"),
        build(3, "compile-error", recipe=CYTHON),
        build(4, "compile-error", recipe=CYTHON),
        build(5, "compile-error", recipe=OLD),
        build(6, "disk-full", counts=False),
    ]
    (found,) = ask(*builds)
    assert found.text == f"{HEADER}; also tried with cython<3, with setuptools<58"
    assert found.build_id == 2
    (found,) = ask(*builds[2:])
    assert (found.build_id, found.text.partition("; also tried ")[2]) == (5, "with cython<3")


@pytest.mark.parametrize(
    ("following", "place", "words"),
    [
        ({"due": AT, "attempt": 1, "recipe": None}, None, f"to be tried again at {AT_TEXT}"),
        (
            {"due": AT, "attempt": 1, "recipe": OLD},
            None,
            f"to be tried again at {AT_TEXT} with setuptools<58",
        ),
        (
            {"due": AT, "attempt": 1, "recipe": OLD},
            Place(2, 4),
            "waiting, second of 4 in the queue, to be tried again with setuptools<58",
        ),
        (
            {"due": None, "attempt": 9, "recipe": None},
            None,
            "held until an operator, or something new, starts an attempt",
        ),
    ],
)  # fmt: skip
def test_what_follows(following, place, words):
    places = {("1.0", PI): place} if place else {}
    failed = build(7, "missing-header", "portaudio.h", next=following)
    assert line(failed, places=places) == ("failed", f"{HEADER}; {words}")
    failed = build(7, "disk-full", counts=False, next=following)
    put_off = "put off: disk full (a fault of the farm)"
    assert line(failed, places=places) == ("put-off", f"{put_off}; {words}")


def test_a_second_opinion():
    follows = f"to be confirmed by another slave, or after {AT_TEXT} by the same"
    failed = build(7, "missing-header", "portaudio.h", retry_at=AT)
    assert line(failed) == ("failed", f"{HEADER}; {follows}")


def test_the_first_failure_may_say_which_pythons_a_release_is_for():
    text = "not for this Python (requires >=3.12)"
    assert line(build(7, "python-too-old", ">=3.12")) == ("not-for-python", text)
    assert line(build(7, "python-too-old"))[1] == "not for this Python"


def test_a_build_whose_files_are_for_others():
    text = "built, but no file of it is for this target"
    assert line(build(7, status=True)) == ("failed", text)


def test_builds_of_earlier_versions_without_diagnosis_and_of_later_ones():
    unknown = "failed: unknown: read the log: the farm does not know this failure"
    assert line(build(7)) == ("failed", unknown)
    assert line(build(7, "a-class-of-tomorrow")) == ("failed", unknown)


def test_a_line_is_one_line():
    assert line(skip="too\nlarge" + "x" * 9999)[1].startswith("skipped: too large")
    assert len(line(skip="x" * 9999)[1]) == 1000


def test_the_places_of_versions():
    aarch, both = Target("linux_aarch64", "cp311"), [PI, Target("linux_armv7l", "cp313")]
    rows = [
        PlaceRow("1.0", "any", "any", 3, 12, ""),
        PlaceRow("2.0", *PI, None, 99_999, ""),
        PlaceRow("1.0", *PI, None, 0, "board7"),
        PlaceRow("1.0", *aarch, None, 0, "board8"),
    ]
    assert places_of(rows, both) == {
        ("1.0", FIRST): (3, 12, ""),
        ("2.0", PI): (None, 99_999, ""),
        ("1.0", PI): (None, 0, "board7"),
    }
    assert places_of(rows[2:3], [PLAIN]) == {("1.0", PLAIN): (None, 0, "board7")}


def test_a_place_far_behind():
    places = {("1.0", PI): Place(None, 99_999)}
    assert line(places=places) == ("waiting", "waiting, far behind in the queue of 99,999")
