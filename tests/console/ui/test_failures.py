"""The Failures screen, and the keys that have builds tried again or put first."""

from datetime import timedelta

import pytest

from console_stage import NOW, Stage, lines_of, play, renew, until
from piwheels.console.ui.screens import failures
from piwheels.console.ui.screens.confirm import QuestionScreen
from piwheels.console.ui.screens.failures import FailuresScreen
from piwheels.console.ui.screens.log import LogScreen
from piwheels.core.protocols import BuildOutcome, FailureCount, FailuresAsked, Job, RetryAsked

SSL = FailureCount("missing-header", "openssl/ssl.h", 14, 9)
COUNTS = [
    SSL,
    FailureCount("disk-full", "", 3, 3),
    FailureCount("compile-error", "[red]\x1b[2J", 2, 40),
]
CAUSE = "src/core.c:2:10: fatal error: openssl/ssl.h: No such file or directory"


def failed(number=1, **about):
    head = number, 0, "gone", "demo", f"{number}.0", "cp311", "failed", timedelta(minutes=1), 0, NOW
    why = {"platform": "linux_armv7l", "reason": SSL.reason, "subject": SSL.subject, "cause": CAUSE}
    return BuildOutcome(*head, **why | about)


@pytest.fixture(autouse=True)
def _times_are_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def stage():
    made = Stage()
    made.join()
    made.master.answers |= {"FAILURES": COUNTS, "FAILED": [failed(2), failed(1)], "RETRY": 14}
    made.master.logs |= {2: f"one\n      {CAUSE}\nthree\n"}
    return made


def show(stage, story, **how):
    return play(stage, lambda app: app.run_command("failures"), story, **how)


def body(app):
    return "\n".join(lines_of(app, "#body"))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
def test_failures_by_class(stage, snapshot, size):
    async def story(app, pilot):
        first = body(app)
        await pilot.press("enter")
        await renew(app, pilot)
        return f"{first}\n{body(app)}"

    assert show(stage, story, size=size) == snapshot
    assert ("FAILED", FailuresAsked(7, *SSL[:2])) in stage.master.asked


def test_ascii_and_hostile_texts(stage):
    async def story(app, pilot):
        return body(app)

    text = show(stage, story, ascii=True)
    assert "[red]" in text
    assert "\x1b" not in text


def test_rows_are_sorted_filtered_and_of_other_days(stage):
    async def story(app, pilot):
        rows = [[row[1] for row in app.screen.rows()[1]]]
        for keys in ("o", "o", "d"):
            await pilot.press(*keys)
            await renew(app, pilot)
            rows.append([row[1] for row in app.screen.rows()[1]])
        view = app.screen.view_state()
        await pilot.press("slash", *"disk", "enter")
        await pilot.pause()
        return rows, view, [row[2] for row in app.screen.rows()[1]]

    rows, view, found = show(stage, story)
    assert rows[:3] == [["9", "3", "40"], ["40", "9", "3"], ["40", "3", "9"]]
    assert view == "last 30 days   sort: class"
    assert stage.master.asked[-1] == ("FAILURES", 30)
    assert found == ["disk full"]


def test_what_to_install(stage, monkeypatch):
    monkeypatch.setattr(failures, "release_of", lambda version: f"release {version}")
    found = {(SSL.reason, SSL.subject, "release 13"): ["libssl-dev", "other-dev"]}
    monkeypatch.setattr(failures, "packages_for", lambda *what: found.get(what, []))

    async def story(app, pilot):
        return body(app)

    text = show(stage, story)
    assert "`apt install libssl-dev` on the boards (release 13) would build 9 packages" in text


def test_one_key_retries_all_after_a_confirmation(stage):
    failures_ = FailuresAsked(7, *SSL[:2])

    async def story(app, pilot):
        await pilot.press("r")
        app.session.pump(app.now())
        await until(pilot, lambda: isinstance(app.screen, QuestionScreen))
        text = "\n".join(lines_of(app, "#dialog"))
        assert "Try 14 failed builds again" in text
        assert "missing header openssl/ssl.h, in the last 7 days" in text
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, FailuresScreen))
        assert [data for msg, data in stage.master.asked if msg == "RETRY"] == [
            RetryAsked(failures_, preview=True)
        ]
        await pilot.press("r")
        app.session.pump(app.now())
        await until(pilot, lambda: isinstance(app.screen, QuestionScreen))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, FailuresScreen))
        app.session.pump(app.now())
        return app.message

    message = show(stage, story)
    assert stage.master.asked[-1] != ("RETRY", RetryAsked(failures_, preview=True))
    assert ("RETRY", RetryAsked(failures_, preview=False)) in stage.master.asked
    assert message == ("14 builds in the queue again: missing header openssl/ssl.h", False)
    entries = [(each.what, each.detail) for each in stage.session.journal.entries]
    assert ("retry by you", "missing header openssl/ssl.h") in entries


def test_nothing_is_left_to_retry(stage):
    stage.master.answers["RETRY"] = 0

    async def story(app, pilot):
        await pilot.press("r")
        app.session.pump(app.now())
        await pilot.pause()
        return app.message

    assert show(stage, story) == ("nothing to try again: missing header openssl/ssl.h", True)


def test_a_version_is_tried_again_and_its_log_opened(stage):
    async def story(app, pilot):
        await pilot.press("enter")
        await renew(app, pilot)
        await pilot.press("down", "r")
        app.session.pump(app.now())
        told = app.message
        await pilot.press("up", "enter")
        await until(pilot, lambda: isinstance(app.screen, LogScreen))
        await renew(app, pilot)
        head = "\n".join(lines_of(app, "#body"))
        await pilot.press("c")
        await pilot.pause()
        return told, head, body(app), app.screen._view.cursor

    told, head, after, cursor = show(stage, story)
    assert ("RETRY", Job("demo", "1.0")) in stage.master.asked
    assert told == ("demo 1.0 is tried again", False)
    assert "missing header openssl/ssl.h" in head
    assert "»    2" in head
    assert "▌    2" in after
    assert cursor == 1


def test_escape_closes_the_versions_and_then_the_screen(stage):
    async def story(app, pilot):
        await pilot.press("enter")
        await renew(app, pilot)
        await pilot.press("escape")
        assert app.screen.query_one("#failed").display is False
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, FailuresScreen))

    show(stage, story)


def test_an_older_master_is_asked_once(stage):
    stage.master._answer = lambda msg, _: (None, "not understood: unknown message")

    async def story(app, pilot):
        return body(app)

    assert "only an attached master that diagnoses failures knows" in show(stage, story)


@pytest.mark.parametrize(
    ("typed", "asked", "told"),
    [
        ("first demo 1.0", ("FIRST", Job("demo", "1.0")), ("demo 1.0 is the next", False)),
        ("retry demo 1.0", ("RETRY", Job("demo", "1.0")), ("demo 1.0 is tried again", False)),
        ("first demo", None, ("name a package and a version", True)),
    ],
)
def test_typed_commands(stage, typed, asked, told):
    async def story(app, pilot):
        app.run_command(typed)
        app.session.pump(app.now())
        return app.message

    assert show(stage, story) == told
    assert asked is None or asked in stage.master.asked


@pytest.mark.parametrize(("how", "why"), [
    ({"read_only": True}, "this console is read-only"), ({"level": 0}, "only a newer master"),
])  # fmt: skip
def test_who_may_not_command_is_told_so(how, why):
    stage = Stage(**how)

    async def story(app, pilot):
        app.run_command("retry demo 1.0")
        return app.message

    text, error = show(stage, story)
    assert error
    assert why in text
    assert "RETRY" not in {msg for msg, _ in stage.master.asked}
