"""The screen of one slave."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from console_stage import NOW, Stage, lines_of, master_info, renew, slave_stats, until
from console_stage import play as run
from piwheels.console.model.commands import Verb
from piwheels.console.model.slave import Alert, Moment
from piwheels.console.text import MARK
from piwheels.console.ui.screens.log import LogScreen
from piwheels.console.ui.screens.slave import SlaveScreen, curves
from piwheels.console.ui.widgets.line_list import LineList
from piwheels.core.states import SlaveInfo, Transition

SIZES = [(80, 24), (120, 40), (200, 50), (60, 15), (40, 10)]


@pytest.fixture(autouse=True)
def _times_are_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")


def make_stage(level=1):
    """Return a session with slave 3, which builds, and others, one of which has left."""
    stage = Stage(level)
    stage.join(9, label="peer")
    for _ in range(6):
        stage.build(9)
        stage.wait(1440)
        stage.end(slave_id=9, took=timedelta(minutes=24))
    stage.send(9, "DIE")
    stage.wait(40)
    stage.join()
    for number in range(100):
        at = stage.now - timedelta(seconds=10 * (100 - number))
        stats = slave_stats(at, 2 + number % 7 / 2, 50 + number % 30, 0.2 + number % 10 / 100)
        stage.send(3, "STATS", stats)
    for package, result in (("numpy", "ok"), ("pyarrow", "failed"), ("lxml", "ok")):
        stage.build(3, package, "6.0.2")
        stage.wait(192)
        stage.end(
            result,
            package=package,
            version="6.0.2",
            build_id=len(package),
            files=3,
            took=timedelta(seconds=192),
        )
    stage.build()
    stage.wait(20)
    stage.send(3, "STATS", slave_stats(stage.now, 5.5, 81, 0.95))
    return stage


def play(stage, story, size=(120, 40), slave_id=3, **how):
    """Run the console with a slave open."""
    return run(stage, lambda app: app.open_slave(slave_id), story, size, **how)


async def picture(app, pilot):
    return "\n".join(lines_of(app, "#body"))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_slave_at_every_size(snapshot, size):
    assert play(make_stage(), picture, size) == snapshot


def test_a_slave_in_ascii_is_ascii():
    text = play(make_stage(), picture, ascii=True)
    assert "BUILD  grpcio" in text
    frame = str.maketrans("", "", "╭─╮│╰╯▁▂▃▄▅▆▇")  # characters of panels and scroll bars
    assert text.translate(frame).isascii(), text


def test_a_small_terminal_scrolls():
    async def story(app, pilot):
        before = lines_of(app, "#body")
        await pilot.press("tab", "tab")
        await until(pilot, lambda: app.screen.query_one("#panels").scroll_y > 0)
        await pilot.pause()
        return before, lines_of(app, "#body")

    before, after = play(make_stage(), story, (80, 24))
    assert not any("pyarrow" in line for line in before)
    assert any("pyarrow" in line for line in after)


def test_enter_on_a_build_opens_its_log():
    async def story(app, pilot):
        app.screen.query_one("#builds").focus()
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, LogScreen))
        return app.screen.crumbs()

    stage = make_stage()
    stage.master.logs[7] = "one\n"
    assert play(stage, story) == "Fleet › #3 › log pyarrow 6.0.2"


def test_l_opens_the_log_of_the_running_build():
    async def story(app, pilot):
        await pilot.press("l")
        await until(pilot, lambda: isinstance(app.screen, LogScreen))
        name = app.screen.crumbs()
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, SlaveScreen))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, SlaveScreen))
        return name

    assert play(make_stage(), story) == "Fleet › #3 › log grpcio 1.75.1"


def test_next_and_previous_slave_cycle():
    stage = make_stage()
    for number in (4, 5):
        stage.join(number, label=f"other-{number}")

    async def story(app, pilot):
        seen = []
        for key in ("right_square_bracket",) * 3 + ("left_square_bracket",) * 2:
            await pilot.press(key)
            seen.append((app.screen.targets(), app.screen.crumbs()))
        return seen

    seen = play(stage, story)
    ids = [targets[0] for targets, _ in seen]
    assert set(ids) == {3, 4, 5}
    assert len(set(ids[:3])) == 3
    assert ids[3:] == [ids[1], ids[0]]
    assert all(str(targets[0]) in crumbs for targets, crumbs in seen)


def test_a_dead_slave_stays_on_the_screen():
    stage = make_stage()

    async def story(app, pilot):
        stage.send(3, "DIE")
        await renew(app, pilot)
        at_once = lines_of(app, "#body")
        for _ in range(40):
            stage.wait()
        await renew(app, pilot)
        return at_once, lines_of(app, "#body"), app.screen.targets(), app.screen.has_class("-gone")

    at_once, later, targets, greyed = play(stage, story)
    for lines in (at_once, later):
        text = "\n".join(lines)
        assert "DEAD" in text
        assert "it left at" in text
        assert "pyarrow" in text
    assert targets == []
    assert greyed


def test_after_a_restart_a_slave_with_the_same_id_is_not_shown():
    stage = make_stage()

    async def story(app, pilot):
        stage.master.say(master_info(started=stage.now))
        stage.pump()
        stage.join(3, label="somebody else")
        await renew(app, pilot)
        return "\n".join(lines_of(app, "#body")), app.screen.targets()

    text, targets = play(stage, story)
    assert "the master was restarted" in text
    assert "pi4-rack1-03" in text
    assert "somebody else" not in text
    assert targets == []


def test_a_command_under_way_is_shown():
    stage = make_stage()

    async def story(app, pilot):
        stage.session.command(Verb.SKIP, [3])
        stage.wait(2)
        await renew(app, pilot)
        return "\n".join(lines_of(app, "#now"))

    assert "cmd  skip sent" in play(stage, story)


def test_hostile_text_is_shown_literally():
    stage = make_stage()
    label = "[red]x\u202e\u05d0[/]"
    info = SlaveInfo(
        *(timedelta(hours=1),) * 2, "[b]3", "cp313", "\u05d0", label, "[/]", "[", "", ""
    )
    stage.send(8, "HELLO", info)
    stage.build(8, "[blink]pkg", "1\u202e0")
    stage.session.farm.slaves[8].timeline.append(Moment(NOW, "[red]", "\x1b[2J[/red]"))

    async def story(app, pilot):
        return "\n".join(lines_of(app, "#body"))

    text = play(stage, story, slave_id=8)
    assert f"[red]x{MARK}{MARK}[/]" in text
    assert "[blink]pkg" in text
    assert not set(text) & set("\x1b\u202e\u05d0")


def test_a_missing_slave_is_reported():
    async def story(app, pilot):
        return "\n".join(lines_of(app, "#body"))

    assert "there is no slave #99" in play(make_stage(), story, slave_id=99)


def test_curves_have_units_and_times_of_alerts():
    session = make_stage().session
    slave, console = session.farm.slaves[3], SimpleNamespace(symbol=str, session=session)

    def shown():
        return {curve.name: (curve.text.strip(), curve.alert) for curve in curves(slave, console)}

    slave.stats.append(slave_stats(NOW, 5.5, 0, 0.95))
    slave.alerts = (Alert("disk", "95%", NOW),)
    assert shown() == {
        "load": ("5.50", ""),
        "temp": ("unknown", ""),
        "mem": ("25% of 4.00 GiB", ""),
        "swap": ("0% of 1.00 GiB", ""),
        "disk": ("95% of 58 GiB", "▲ since 12:41"),
    }
    slave.stats.append(slave.stats[-1]._replace(swap_size=0, swap_free=0))
    assert shown()["swap"] == ("none", "")
    slave.stats.clear()
    assert shown() == {}


def test_lists_keep_their_place():
    stage = make_stage()

    async def story(app, pilot):
        builds = app.screen.query_one("#builds", LineList)
        builds.focus()
        await pilot.press("down")
        before = builds.item.package
        stage.end()
        await renew(app, pilot)
        return before, builds.item.package, len(app.screen.rows()[1])

    assert play(stage, story) == ("pyarrow", "pyarrow", 4)


def test_h_shows_the_history_instead_of_the_timeline(monkeypatch):
    stage = make_stage()
    transitions = [Transition(NOW, "idle", "IDLE"), Transition(NOW, "building", "BUILD grpcio")]
    answer = stage.master._answer

    def answers(msg, data):
        return (transitions, "") if (msg, data) == ("HISTORY", 3) else answer(msg, data)

    monkeypatch.setattr(stage.master, "_answer", answers)

    async def story(app, pilot):
        await pilot.press("h")
        await renew(app, pilot)
        shown = lines_of(app, "#history")
        await pilot.press("h")
        assert app.screen.query_one("#timeline").display
        return shown

    shown = play(stage, story)
    assert any("building" in line and "BUILD grpcio" in line for line in shown)
    assert len([line for line in shown if "12:41:07" in line]) == 2


def test_a_master_of_level_0_has_no_history():
    async def story(app, pilot):
        await pilot.press("h")
        return app.message

    assert play(make_stage(level=0), story) == (
        "only an attached level-1 master has a history",
        True,
    )
