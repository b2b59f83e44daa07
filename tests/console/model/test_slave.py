"""How consoles word the end of a build."""

from datetime import UTC, datetime, timedelta

import pytest

from piwheels.console.model.keyframe import of_builds
from piwheels.console.model.slave import PastBuild
from piwheels.core.protocols import BuildOutcome

ENDED = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
CAUSE = "foo.c:1:10: fatal error: ssl.h: No such file or directory"


@pytest.fixture(autouse=True)
def _times_are_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")


def outcome(result="failed", **about):
    head = 7, 1, "pi", "foo", "1.0", "cp311", result, timedelta(minutes=1), 0, ENDED
    return BuildOutcome(*head, **about)


def past(result="failed", **about):
    return PastBuild.of(outcome(result, **about), ENDED)


def test_a_failure_says_what_to_do():
    build = past(reason="missing-header", subject="ssl.h", cause=CAUSE)
    assert (build.outcome, build.about) == ("failed", "missing header ssl.h")
    assert build.sentence == "Install the package that has the header ssl.h."


def test_a_failure_of_the_farm_is_put_off():
    build = past(reason="disk-full", counts=False)
    assert (build.outcome, build.result, build.about) == ("put off", "failed", "disk full")


def test_other_builds_have_no_reason():
    for build in (past(), past("ok"), past("skipped")):
        assert (build.outcome, build.about, build.sentence) == (build.result, "", "")


def test_a_class_that_this_version_does_not_know():
    build = past(reason="of a later version", subject="\x1b[2J{0}")
    assert build.about.startswith("unknown ")
    assert "\x1b" not in build.about + build.sentence


@pytest.mark.parametrize(
    ("delay", "words"),
    [
        (None, ""),
        (timedelta(), "to be tried again"),
        (timedelta(minutes=5), "to be tried again at 12:05"),
        (timedelta(days=1), "to be tried again at 2026-11-25 12:00"),
        (datetime.max.replace(tzinfo=UTC) - ENDED, "to be tried again at 9999-12-31 23:59"),
    ],
)
def test_when_a_failure_is_tried_again(delay, words):
    assert past(retry_at=None if delay is None else ENDED + delay).follows == words


def test_a_time_that_is_no_date_here(monkeypatch):
    monkeypatch.setenv("TZ", "UTC-14")
    assert past(retry_at=datetime.max.replace(tzinfo=UTC)).follows.startswith("to be tried again")


def test_a_keyframe_keeps_the_diagnosis():
    whole = outcome(
        platform="linux_armv7l", reason="disk-full", subject="x", cause=CAUSE, counts=False,
        recipe="with cython<3", retry_at=ENDED,
    )  # fmt: skip
    assert list(of_builds([PastBuild.of(whole, ENDED)])) == [whole]
