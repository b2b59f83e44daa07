"""The screen of a build's log."""

import pytest

from console_stage import Stage, lines_of, renew, until
from console_stage import play as run
from piwheels.console.text import MARK
from piwheels.console.ui.logfeed import LogSource
from piwheels.console.ui.screens.log import LogScreen
from piwheels.console.ui.widgets.log_view import LogView

LOG = (
    "Collecting grpcio==1.75.1\n"
    "  Downloading grpcio-1.75.1.tar.gz (12.8 MB)\n"
    "\x1b[1mInstalling\x1b[0m build dependencies: started\n"
    "  aarch64-linux-gnu-gcc -O2 -fPIC -DGRPC_POSIX_FORK_ALLOW_PTHREAD_ATFORK=1 -Isrc/core/ext "
    "-c src/core/lib/surface/call.cc\n"
    "  src/core/lib/surface/call.cc:812:5: warning: 'x' may be used uninitialized\n"
    "[ 1%] x509.cc\r[ 50%] x509.cc\r[ 71%] x509_vfy.cc\r\n"
    "x.cc:1:2: error: no such thing\n"
)


@pytest.fixture(autouse=True)
def _times_are_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")


def make_stage(level=1):
    stage = Stage(level)
    stage.join()
    stage.build()
    stage.wait(100)
    return stage


def play(stage, story, size=(120, 40), build=None, **how):
    """Run the console with the log of slave 3 open."""
    return run(stage, lambda app: app.open_log(3, build), story, size, **how)


def body(app):
    return "\n".join(lines_of(app, "#body"))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50), (60, 15)], ids=str)
def test_a_running_build_at_every_size(snapshot, size):
    stage = make_stage()

    async def story(app, pilot):
        stage.output(0, LOG[:100])
        stage.wait(7)
        await renew(app, pilot)
        stage.output(100, LOG[100:])
        app.screen.find("call")
        await renew(app, pilot)
        return body(app)

    assert play(stage, story, size) == snapshot


@pytest.mark.parametrize("level", [0, 1])
def test_without_output_the_reason_is_shown(snapshot, level):
    async def story(app, pilot):
        return body(app)

    assert play(make_stage(level), story, (80, 24)) == snapshot


def test_the_log_follows_the_build_to_its_end():
    stage = make_stage()
    stage.master.logs[77] = LOG + "Failed to build grpcio\n"

    async def story(app, pilot):
        stage.output(0, LOG)
        await renew(app, pilot)
        assert "FOLLOW" in body(app)
        assert "running 0:01:40" in body(app)
        assert app.screen.targets() == [3]
        stage.end("failed")
        stage.build(package="lxml", version="6.0.2")
        await until(pilot, lambda: "now builds" in body(app) and "Failed to build" in body(app))
        ended = body(app)
        assert app.screen.targets() == [], "a verb would be for another build by now"
        await pilot.press("l")
        await renew(app, pilot)
        return ended, body(app)

    ended, after = play(stage, story)
    assert "FAILED 31m" in ended
    assert "now builds lxml 6.0.2" in ended
    assert "lxml 6.0.2 cp313" in after
    assert "Failed to build" not in after


def test_a_stored_log_opens_at_its_start():
    stage = make_stage()
    stage.master.logs[77] = LOG * 1000
    stage.master.part = 10_000
    stage.end()
    build = stage.session.farm.slaves[3].builds[-1]

    async def story(app, pilot):
        await until(pilot, lambda: app.screen.feed.source is LogSource.STORED)
        top = body(app)
        await pilot.press("G")
        await renew(app, pilot)
        return top, body(app)

    top, end = play(stage, story, build=build)
    assert "▌    1 Collecting" in top
    assert "7,000 lines" in top
    assert "stored log" in top
    assert "▌ 7000 x.cc:1:2: error" in end


def test_search_and_clear():
    stage = make_stage()

    async def story(app, pilot):
        stage.output(0, LOG * 3)
        await renew(app, pilot)
        await pilot.press("slash", *"x509_vfy", "enter")
        await until(pilot, lambda: "3 hits" in body(app))
        view = app.screen.query_one(LogView)
        await until(pilot, lambda: view.has_focus)
        seen = [view.line.text]
        await pilot.press("n", "ampersand")
        await renew(app, pilot)
        narrowed = body(app)
        await pilot.press("escape")
        await renew(app, pilot)
        seen.append(view.needle)
        return seen, narrowed, isinstance(app.screen, LogScreen), app.screen.find("no such words")

    seen, narrowed, still_there, why = play(stage, story)
    assert seen == ["[ 71%] x509_vfy.cc", ""]
    assert "hidden 18" in narrowed
    assert "Collecting" not in narrowed
    assert still_there
    assert "no match" in why


def test_copy_a_line_and_save_the_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stage = make_stage()

    async def story(app, pilot):
        stage.output(0, LOG)
        await renew(app, pilot)
        await pilot.press("g", "j", "y")
        copied = app.clipboard
        await pilot.press("ctrl+s", "ctrl+s")
        await until(pilot, lambda: "not saved: " in "".join(lines_of(app, "FlashLine")))
        return copied

    copied = play(stage, story)
    assert copied == "  Downloading grpcio-1.75.1.tar.gz (12.8 MB)"
    (path,) = tmp_path.iterdir()
    assert path.name == "grpcio-1.75.1-cp313-20261124-124248.log"
    text = path.read_text(encoding="utf-8")
    assert text.splitlines()[2] == "Installing build dependencies: started"
    assert "\x1b" not in text
    assert text.endswith("no such thing\n")


def test_w_wraps_lines_and_gives_no_command():
    stage = make_stage()

    async def story(app, pilot):
        stage.output(0, LOG)
        await renew(app, pilot)
        await pilot.press("w", "e", "t")
        await renew(app, pilot)
        return body(app)

    text = play(stage, story, (80, 24))
    assert "WRAP" in text
    assert "lib/surface/call.cc" in text
    assert not [msg for msg, _ in stage.master.asked if msg == "WAKE"]


def test_the_log_of_the_next_slave():
    stage = make_stage()
    stage.join(4, label="other")
    stage.build(4, "numpy", "2.3.4")

    async def story(app, pilot):
        await pilot.press("right_square_bracket")
        await renew(app, pilot)
        return app.screen.crumbs()

    assert play(stage, story) == "Fleet › #4 › log numpy 2.3.4"
    assert ("UNWATCH", 3) in stage.master.asked


def test_closing_the_screen_stops_following_the_log():
    stage = make_stage()

    async def story(app, pilot):
        await pilot.press("escape")
        await until(pilot, lambda: ("UNWATCH", 3) in stage.master.asked)

    play(stage, story)


def test_hostile_output_is_harmless():
    stage = make_stage()
    nasty = "[red]\x1b]0;t\x07\x1b[2J\x00\u202e\u05d0[/nope]\n" + "x" * 90_000 + "\n" + "\r\b\x9b\n"

    async def story(app, pilot):
        stage.output(0, nasty)
        stage.output(len(nasty) + 5, "[@click=app.quit]after[/]\n")
        await renew(app, pilot)
        app.screen.find("[red]")
        await pilot.press("w", "G", "g")
        await renew(app, pilot)
        return body(app)

    text = play(stage, story)
    assert f"[red]{MARK}{MARK}{MARK}[/nope]" in text
    assert not set(text) & set("\x1b\0\x9b\u202e\u05d0")


def test_the_duration_advances_without_output():
    stage = make_stage()

    async def story(app, pilot):
        stage.wait(9)
        app.screen.tick()
        await pilot.pause()
        return body(app)

    assert "running 0:01:49" in play(stage, story)
