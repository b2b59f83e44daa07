"""The frame of all screens: verbs and their confirmation, the lines around the body, keys."""

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from textual.events import AppBlur, AppFocus

from console_stage import BEGAN, DEFAULT_THEME, ScriptedMaster, Stage, master_info, until
from piwheels.console.model import events
from piwheels.console.model.commands import Verb
from piwheels.console.model.link import LinkState
from piwheels.console.session import Session
from piwheels.console.ui.app import ConsoleApp
from piwheels.console.ui.prefs import Prefs
from piwheels.console.ui.screens.base import FarmScreen
from piwheels.console.ui.screens.confirm import ConfirmScreen
from piwheels.console.ui.screens.fleet import FleetScreen
from piwheels.console.ui.screens.help import HelpScreen
from piwheels.console.ui.screens.menu import CommandsScreen, MenuScreen
from piwheels.console.ui.widgets.frame_lines import Part, StatusLine, arrange
from piwheels.core.codec import NoData

VERBS = {"KILL", "SLEEP", "SKIP", "WAKE", "QUIT"}
SIZES = [(50, 12), (80, 24), (120, 40), (200, 50)]


@pytest.fixture(autouse=True)
def _times_are_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")


def make_stage(builds=8, idle=4, **how):
    """Return an attached session: slaves 1 to *builds* build, the others wait for jobs."""
    stage = Stage(**how)
    for number in range(1, builds + idle + 1):
        stage.join(number, label=f"rack1-{number:02}")
        if number <= builds:
            stage.build(number)
        else:
            stage.send(number, "SLEEP", False)
    stage.wait(9)
    stage.master.start = lambda: None  # attached before the screens start
    return stage


def play(stage, story, size=(80, 24), **how):
    """Run the console; *story* gets the application and its pilot."""

    async def run():
        app = ConsoleApp(stage.session, clock=stage.clock, **{"theme": DEFAULT_THEME} | how)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: isinstance(app.screen, FarmScreen) and app.screen.size)
            pump(app)
            await pilot.pause()
            return await story(app, pilot)

    return asyncio.run(run())


def pump(app):
    app.pump()
    app._tick()


def sent(stage):
    """Return the commands sent so far, with their targets."""
    return [(msg, data) for msg, data in stage.master.asked if msg in VERBS]


def asks(app):
    return isinstance(app.screen, ConfirmScreen)


def screen_of(app):
    """Return the text on the terminal."""
    strips = app.screen._compositor.render_strips(app.size)
    return "\n".join(strip.text.rstrip() for strip in strips)


async def mark(app, pilot, *slaves):
    app.farm_screen.table.set_marks(set(slaves))
    await pilot.pause()


# Confirmation and messages of verbs ---------------------------------------------------------------


SIX = [1, 2, 3, 4, 5, 6]
#: A key, its targets, the text typed into the dialog (if there is one), and the messages sent.
CASES = [
    ("p", [9], "", [("SLEEP", [9])]),
    ("w", [9], "", [("WAKE", [9])]),
    ("s", [1], "y", [("SKIP", [1])]),
    ("s", [1], "n", []),
    ("s", [1], "enter", []),  # Cancel has the focus
    ("s", [1], "tab enter", [("SKIP", [1])]),
    ("x", [1], "y", [("KILL", [1])]),
    ("p", [1, 2], "y", [("SLEEP", [1, 2])]),
    ("p", [1, 2], "escape", []),
    ("s", [1, 2, 9], "y", [("SKIP", [1, 2])]),
    ("K", [1], "y", [("SKIP", [1]), ("KILL", [1])]),
    ("K", SIX, "y escape", []),
    ("K", SIX, "enter escape", []),
    ("K", SIX, "5 enter escape", []),
    ("K", SIX, "6 enter", [("SKIP", SIX), ("KILL", SIX)]),
]


def test_confirmation_and_messages_of_each_verb():
    stage = make_stage()

    async def story(app, pilot):
        for key, slaves, typed, expected in CASES:
            stage.master.asked.clear()
            app.commands._keys_ignored_until = 0
            await mark(app, pilot, *slaves)
            await pilot.press(key)
            if typed:
                await until(pilot, lambda: asks(app))
                assert sent(stage) == []
                await pilot.press(*typed.split())
            await until(pilot, lambda: not asks(app))
            assert sent(stage) == expected, (key, slaves, typed)

    play(stage, story)


def test_a_skip_of_an_idle_slave_is_not_sent():
    stage = make_stage()

    async def story(app, pilot):
        await mark(app, pilot, 9)
        await pilot.press("s")
        assert not asks(app)
        assert sent(stage) == []
        assert "#9 rack1-09 builds nothing" in screen_of(app)

    play(stage, story)


FOR_ALL = {
    Verb.PAUSE: ("12", [("SLEEP", None)]),
    Verb.HALT: ("12", [("SLEEP", None), ("SKIP", None)]),
    Verb.KILL: ("12", [("KILL", None)]),
    Verb.QUIT: ("farm1.farm.example", [("QUIT", NoData)]),
}


def test_a_command_for_all_requires_a_typed_word():
    stage = make_stage()

    async def story(app, pilot):
        for verb, (word, expected) in FOR_ALL.items():
            stage.master.asked.clear()
            app.commands._keys_ignored_until = 0
            app.commands.give(verb, None)
            await until(pilot, lambda: asks(app))
            await pilot.press("y", "enter")
            assert sent(stage) == []
            await pilot.press("backspace", *("full_stop" if char == "." else char for char in word))
            await pilot.press("enter")
            await until(pilot, lambda: not asks(app))
            assert sent(stage) == expected

    play(stage, story)


def lose(stage):
    stage.master.say(events.WireDown("status", "gone"))
    stage.master.say(events.WireDown("console", "gone"))
    stage.pump()
    assert stage.session.state is LinkState.LOST


def test_commands_without_a_master_are_refused_and_not_queued():
    stage = make_stage()
    lose(stage)

    async def story(app, pilot):
        await mark(app, pilot, 1, 2)
        for key in "pwsxK":
            app._message = None
            await pilot.press(key)
            assert not asks(app)
            assert sent(stage) == []
            await until(pilot, lambda: "there is no master" in screen_of(app))

    play(stage, story)


def test_a_read_only_console_sends_nothing():
    stage = make_stage(read_only=True)

    async def story(app, pilot):
        assert "READ-ONLY" in screen_of(app)
        await mark(app, pilot, 1, 2)
        for key in "pwsxK":
            app._message = None
            await pilot.press(key)
            assert not asks(app)
            assert sent(stage) == []
            await until(pilot, lambda: "is read-only" in screen_of(app))

    play(stage, story)


def test_a_link_lost_during_a_dialog_sends_nothing():
    stage = make_stage()

    async def story(app, pilot):
        await mark(app, pilot, 1)
        await pilot.press("s")
        await until(pilot, lambda: asks(app))
        lose(stage)
        stage.master.inbox.clear()
        pump(app)
        await pilot.pause()
        assert "Not possible now" in screen_of(app)
        await pilot.press("y")
        await until(pilot, lambda: not asks(app))
        assert sent(stage) == []

    play(stage, story)


def test_a_skip_applies_only_to_the_confirmed_builds():
    stage = make_stage()

    async def story(app, pilot):
        await mark(app, pilot, 1, 2, 3)
        await pilot.press("s")
        await until(pilot, lambda: asks(app))
        stage.send(3, "DONE")
        stage.send(2, "DONE")
        stage.build(2, "numpy", "2.3.4")
        pump(app)
        await pilot.pause()
        shown = screen_of(app)
        assert "Dropped since" in shown
        assert (
            "rack1-02" not in app.screen.query_one("#question").render().plain.split("Dropped")[0]
        )
        await pilot.press("y")
        await until(pilot, lambda: not asks(app))
        assert sent(stage) == [("SKIP", [1])]

    play(stage, story)


def test_nothing_is_sent_if_no_target_is_left():
    stage = make_stage()

    async def story(app, pilot):
        await mark(app, pilot, 1)
        await pilot.press("s")
        await until(pilot, lambda: asks(app))
        stage.send(1, "DONE")
        await pilot.press("y")
        await until(pilot, lambda: not asks(app))
        assert sent(stage) == []

    play(stage, story)


def test_a_restarted_master_closes_the_dialog():
    stage = make_stage()

    async def story(app, pilot):
        await mark(app, pilot, 1)
        await pilot.press("K")
        await until(pilot, lambda: asks(app))
        stage.master.say(master_info(BEGAN + timedelta(days=1)))
        await until(pilot, lambda: not asks(app))
        await pilot.press("y")
        assert sent(stage) == []
        pump(app)
        await pilot.pause()
        assert "restarted" in screen_of(app)

    play(stage, story)


def test_a_command_to_a_silent_master_has_a_warning():
    stage = make_stage(level=0)

    async def story(app, pilot):
        stage.wait(20)
        assert stage.session.state is LinkState.QUIET
        await mark(app, pilot, 1)
        await pilot.press("p")
        assert "silent" in app.message[0]
        assert sent(stage) == [("SLEEP", 1)]

    play(stage, story)


def test_the_dialog_mentions_hidden_marks():
    stage = make_stage()

    async def story(app, pilot):
        await mark(app, pilot, 1, 2)
        app.open_fleet("id=1")
        await pilot.press("K")
        await until(pilot, lambda: asks(app))
        assert any("1 of them are hidden" in line for line in app.screen._lines())

    play(stage, story)


def test_the_palette_in_a_tiny_terminal_accepts_page_keys():
    stage = make_stage()

    async def story(app, pilot):
        await pilot.press("ctrl+p")
        for size in ((1, 1), (20, 5), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.press("pagedown", "pagedown", "pageup")
        await pilot.press("p", "pagedown", "escape")
        await until(pilot, lambda: app.screen is app.farm_screen)

    play(stage, story)


def test_keys_right_after_a_dialog_are_ignored(monkeypatch):
    stage = make_stage()
    times = [0.0]
    clock = SimpleNamespace(monotonic=lambda: times[0])
    monkeypatch.setattr("piwheels.console.ui.commander.SYSTEM", clock)

    async def story(app, pilot):
        await mark(app, pilot, 1)
        await pilot.press("s")
        await until(pilot, lambda: asks(app))
        await pilot.press("y")
        await until(pilot, lambda: not asks(app))
        await pilot.press("p", "p")
        assert sent(stage) == [("SKIP", [1])]
        times[0] = 0.3
        await pilot.press("p")
        assert sent(stage) == [("SKIP", [1]), ("SLEEP", [1])]

    play(stage, story)


def test_a_kill_can_be_taken_back_with_one_key_for_a_while():
    stage = make_stage()

    async def story(app, pilot):
        await mark(app, pilot, 1, 2)
        await pilot.press("x")
        await until(pilot, lambda: asks(app))
        await pilot.press("y")
        await until(pilot, lambda: not asks(app))
        app.commands._keys_ignored_until = 0
        stage.now += timedelta(seconds=9)
        pump(app)
        await pilot.pause()
        assert "w within 1s takes it back" in screen_of(app)
        await mark(app, pilot, 9)
        await pilot.press("w")
        assert sent(stage) == [("KILL", [1, 2]), ("WAKE", [1, 2])]
        await pilot.press("w")
        assert sent(stage)[2:] == [("WAKE", [9])], "it is taken back once"

    play(stage, story)


def test_a_kill_cannot_be_taken_back_later():
    stage = make_stage()

    async def story(app, pilot):
        await mark(app, pilot, 1)
        await pilot.press("x")
        await until(pilot, lambda: asks(app))
        await pilot.press("y")
        await until(pilot, lambda: not asks(app))
        app.commands._keys_ignored_until = 0
        stage.now += timedelta(seconds=11)
        await mark(app, pilot, 9)
        await pilot.press("w")
        assert sent(stage) == [("KILL", [1]), ("WAKE", [9])]

    play(stage, story)


def test_confirmation_of_single_builds_can_be_disabled():
    stage = make_stage()

    async def story(app, pilot):
        await mark(app, pilot, 1)
        await pilot.press("s")
        assert sent(stage) == [("SKIP", [1])]
        await mark(app, pilot, 1, 2)
        await pilot.press("x")
        await until(pilot, lambda: asks(app))

    play(stage, story, prefs=Prefs(confirm_from=2))


# Dialogs ------------------------------------------------------------------------------------------

HOSTILE = [
    "[red]x[/]",
    "a\x1b[2Jb",
    "\u202eabc",
    "宽宽宽",
    "e\u0301\u0301\u0301\u0301",
    "[@click=app.exit]q[/]",
]


def hostile_stage():
    stage = Stage()
    for number, label in enumerate(HOSTILE, 1):
        stage.join(number, label=label)
        stage.build(number, "[b]pkg[/b]", "1.0\x1b[31m")
    stage.wait(9)
    return stage


@pytest.mark.parametrize("keys", ["x", "K", "a"])
def test_hostile_labels_in_dialogs(snapshot, keys):
    async def story(app, pilot):
        await mark(app, pilot, *range(1, 6 if keys == "x" else 7))
        await pilot.press(*keys)
        await until(pilot, lambda: not isinstance(app.screen, FarmScreen))
        await pilot.pause()
        lines = screen_of(app).split("\n")
        left = min(line.index("╭") for line in lines if "╭" in line)
        boxes = (re.match("╭.*?╮|│.*?│|╰.*?╯", line[left:]) for line in lines)
        return "\n".join(box[0] for box in boxes if box)

    shown = play(hostile_stage(), story)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert shown == snapshot


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_dialog_fits_and_shows_its_buttons(size):
    stage = make_stage()

    async def story(app, pilot):
        await mark(app, pilot, *range(1, 9))
        app.commands.give(Verb.ABORT, list(range(1, 9)))
        await until(pilot, lambda: asks(app))
        await pilot.wait_for_scheduled_animations()  # it may scroll to its buttons
        shown = screen_of(app)
        assert "Cancel (n)" in shown
        assert "Type 8 to confirm" in shown

    play(stage, story, size)


def test_the_menu_shows_why_a_verb_does_not_apply():
    stage = make_stage()

    async def story(app, pilot):
        await mark(app, pilot, 9)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, MenuScreen))
        await pilot.pause()
        assert "#9 rack1-09 builds nothing" in screen_of(app)
        await pilot.press("s")
        assert isinstance(app.screen, MenuScreen), "it cannot be chosen"
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, FarmScreen))
        assert sent(stage) == [("SLEEP", [9])]

    play(stage, story)


def test_all_commands_are_listed_with_their_outcomes():
    stage = make_stage()

    async def story(app, pilot):
        app.prefs.confirm_from = 2
        app.commands.give(Verb.SKIP, [1])
        app.commands.give(Verb.PAUSE, [9])
        stage.send(1, "DONE")
        app.action_commands()
        await until(pilot, lambda: isinstance(app.screen, CommandsScreen))
        pump(app)
        await pilot.pause()
        shown = screen_of(app)
        assert "skip  #1" in shown
        assert "acknowledged" in shown
        assert shown.index("pause") < shown.index("skip  #1")

    play(stage, story)


def test_typing_searches_the_help(snapshot):
    async def story(app, pilot):
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.press(*"build")
        await pilot.pause()
        return screen_of(app).rpartition("\n")[0]  # without the keys of the screen below

    shown = play(make_stage(), story)
    assert "K" in shown
    assert shown == snapshot


# The lines around the body ------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_frame_at_every_size(snapshot, size):
    async def story(app, pilot):
        lines = screen_of(app).split("\n")
        return "\n".join([*lines[:3], "...", *lines[-2:]])

    assert play(make_stage(), story, size) == snapshot


@pytest.mark.parametrize("state", ["lost", "read-only"])
def test_unusual_states_are_shown(snapshot, state):
    stage = make_stage(read_only=state == "read-only")
    if state == "lost":
        lose(stage)

    async def story(app, pilot):
        return screen_of(app)

    assert play(stage, story) == snapshot


def test_advice_is_shown_until_there_is_a_master(snapshot):
    stage = make_stage()
    stage.session = Session(stage.master, addresses=stage.session.addresses)

    async def story(app, pilot):
        stage.now += timedelta(seconds=9)
        pump(app)
        await until(pilot, lambda: app.focused is None)
        pump(app)
        await pilot.pause()
        shown = screen_of(app)
        ScriptedMaster.start(stage.master)
        stage.wait()
        stage.join(1)
        pump(app)
        await until(pilot, lambda: "pi4-rack1-03" in screen_of(app))
        await pilot.press("p")
        await until(pilot, lambda: sent(stage) == [("SLEEP", [1])])
        return shown

    assert play(stage, story) == snapshot


def test_a_click_on_a_count_filters_the_fleet():
    async def story(app, pilot):
        line = screen_of(app).split("\n")[1]
        await pilot.press("3")
        await pilot.pause()
        await pilot.click(offset=(line.index("z4"), 1))
        await until(pilot, lambda: app.current_mode == "fleet")
        assert "/state=sleep (4)" in app.farm_screen.view_state()

    play(make_stage(), story)


@pytest.mark.usefixtures("painted")
def test_a_screen_opens_with_its_complete_frame(monkeypatch):
    painted = []
    paint = StatusLine.render_line

    def look(line, y):
        painted.append(paint(line, y).text)
        return paint(line, y)

    async def story(app, pilot):
        monkeypatch.setattr(StatusLine, "render_line", look)
        app.open_slave(1)
        await until(pilot, lambda: painted)
        assert all("piw-console" in text for text in painted)

    play(make_stage(), story, size=(120, 40))


@pytest.mark.parametrize("width", range(0, 90, 7))
def test_parts_without_room_are_left_out(width):
    left = [Part("one"), Part("two", rank=2), Part("three", rank=1)]
    right = [Part("four", rank=3), Part("five", rank=1)]
    line = "".join(part.key + part.text for part in arrange(left, right, width))
    assert "one" in line
    if width >= 30:
        assert line.rstrip().endswith("five")
        assert len(line.rstrip()) < width
    if width < 20:
        assert "four" not in line


def test_the_documents_name_every_screen_and_its_key():
    page = (Path(__file__).parents[3] / "docs" / "console.md").read_text()
    for at, screen in enumerate(ConsoleApp.MODES.values(), 1):
        assert f"| `{at}` | {screen.title_in_tabs} | " in page


def test_every_screen_shows_its_keys_in_one_line():
    async def story(app, pilot):
        for size in SIZES[1:]:
            await pilot.resize_terminal(*size)
            for key in "12345":
                await pilot.press(key)
                pump(app)
                shown = lambda: "? help" in screen_of(app).split("\n")[-1]  # noqa: E731
                await until(pilot, shown, f"no keys on screen {key} of size {size}")

    play(make_stage(), story)


def test_every_screen_in_ascii_is_ascii():
    async def story(app, pilot):
        app.commands.give(Verb.KILL, [1, 2])
        await until(pilot, lambda: asks(app))
        await pilot.pause()
        return screen_of(app)

    shown = play(hostile_stage(), story, (120, 40), ascii=True)
    assert shown.isascii()


# Typed commands -----------------------------------------------------------------------------------


async def type_in(pilot, text):
    await pilot.press(*("space" if char == " " else char for char in text))


def test_text_typed_right_after_a_slash_is_a_filter():
    stage = make_stage()

    async def story(app, pilot):
        await pilot.press(*"/sxKpaw")
        await pilot.pause()
        assert sent(stage) == []
        assert isinstance(app.screen, FarmScreen)
        assert app.farm_screen.found == "sxKpaw"
        await pilot.press("escape")
        assert app.farm_screen.found == ""

    play(stage, story)


WRONG = {
    "nonsense": "there is no command nonsense",
    "m": "m could be master, master-quit",
    "rate 99": "a rate is a number from 0.5 to 10",
    "theme s": "could be",
    "group moon": "cannot group by moon",
    "forget x": "there is no filter x",
}


def test_an_invalid_command_has_an_error():
    async def story(app, pilot):
        for typed, shown in WRONG.items():
            await pilot.press("colon")
            await type_in(pilot, typed)
            await pilot.press("enter")
            await until(pilot, lambda shown=shown: shown in screen_of(app), typed)

    play(make_stage(), story, (120, 40))


def test_typed_commands_open_screens_and_can_be_abbreviated():
    async def story(app, pilot):
        for typed, mode in [("queue", "queue"), ("ev", "events"), ("fleet state=sleep", "fleet")]:
            await pilot.press("colon")
            await type_in(pilot, typed)
            await pilot.press("enter")
            await until(pilot, lambda mode=mode: app.current_mode == mode)
        assert "(4)" in app.farm_screen.view_state()
        await pilot.press("colon", *"qui", "enter")
        await until(pilot, lambda: not app.is_running)

    play(make_stage(), story)


def test_a_typed_verb_has_the_targets_of_its_key():
    stage = make_stage()

    async def story(app, pilot):
        await mark(app, pilot, 9)
        await pilot.press("colon", *"pause", "enter")
        await until(pilot, lambda: sent(stage) == [("SLEEP", [9])])
        await pilot.press("colon", *"farm-pause", "enter")
        await until(pilot, lambda: asks(app))

    play(stage, story)


def test_the_palette_has_the_same_commands():
    stage = make_stage()

    async def story(app, pilot):
        await pilot.press("ctrl+p")
        await type_in(pilot, "fleet state=sleep")
        await until(pilot, lambda: "all slaves, or those" in screen_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: "(4)" in app.farm_screen.view_state())

    play(stage, story)


# Quitting, and settings ---------------------------------------------------------------------------


def test_quitting_the_console_sends_nothing():
    stage = make_stage()

    async def story(app, pilot):
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)
        assert app.return_code == 0

    play(stage, story)
    assert sent(stage) == []


@pytest.mark.parametrize("keys", ["1", "2", "3", "4", "5", "enter", "a"])
def test_timers_and_answers_may_come_while_the_console_ends(keys):
    """The screens lose their widgets one by one, and every turn of the event loop is one too many.

    A terminal may also change its size then.
    """
    stage = make_stage()

    async def run():
        app = ConsoleApp(stage.session, clock=stage.clock)
        left = 0

        async def fire():
            nonlocal left
            while app._screen_stack:
                stage.join(left + 100)
                screen = app._screen_stack[0]
                pump(app)
                app._read_pages()
                app.flash("still here")
                if isinstance(screen, FleetScreen):
                    screen.show_all()
                left += not app.is_running
                await asyncio.sleep(0)

        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press(*keys.split())
            await pilot.pause()
            firing = asyncio.create_task(fire())
            app.exit()
        await firing
        assert left > 2, "nothing came after the end"

    asyncio.run(run())


def test_quitting_asks_while_a_command_is_under_way():
    stage = make_stage()

    async def story(app, pilot):
        app.commands.give(Verb.PAUSE, [1])
        await pilot.press("ctrl+c")
        await pilot.pause()
        assert app.is_running
        assert "1 command still under way" in screen_of(app)
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)

    play(stage, story)


def test_tones_follow_the_theme():
    async def story(app, pilot):
        tones = {app.tone("tone--warn")}
        await pilot.press("f2")
        await pilot.pause()
        tones.add(app.tone("tone--warn"))
        assert len(tones) == 2, app.theme

    play(make_stage(), story)


def test_settings_are_saved(tmp_path):
    path = tmp_path / "piwheels" / "console.json"

    async def story(app, pilot):
        await pilot.press("f2", "plus")
        await pilot.press("slash", *"abi=cp313", "enter")
        await pilot.press("colon")
        await type_in(pilot, "keep new")
        await pilot.press("enter")
        await until(pilot, lambda: app.prefs.filters)

    play(make_stage(), story, prefs=Prefs.load(path), theme="textual-dark")
    kept = Prefs.load(path)
    assert (kept.theme, kept.rate, kept.filters) == ("textual-light", 10, {"new": "abi=cp313"})
    assert [each.name for each in path.parent.iterdir()] == ["console.json"]

    async def again(app, pilot):
        assert app.theme == "textual-light"
        await pilot.press("colon", "@", *"new", "enter")
        await until(pilot, lambda: "abi=cp313" in app.farm_screen.view_state())

    play(make_stage(), again, prefs=kept, theme="")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "\xff",
        '{"rate": "x"}',
        '{"rate": 1e9}',
        '{"confirm_from": 0}',
        '{"keymap": {"a": 1}}',
        '{"filters": []}',
        "[" * 100_000,
    ],
)
def test_an_invalid_settings_file_is_not_changed(tmp_path, text):
    path = tmp_path / "console.json"
    path.write_text(text, encoding="latin-1")
    prefs = Prefs.load(path)
    assert "is neither read nor written" in prefs.problem
    assert prefs.save() == ""
    assert path.read_text(encoding="latin-1") == text


def test_unsaved_settings_are_reported(tmp_path):
    (tmp_path / "console.json").write_text("{")

    async def story(app, pilot):
        assert "is neither read nor written" in app.message[0]
        app.prefs = Prefs(path=tmp_path / "console.json" / "no-folder")
        await pilot.press("f2")
        await until(pilot, lambda: "settings are not saved" in app.message[0])

    play(make_stage(), story, prefs=Prefs.load(tmp_path / "console.json"))


def test_keys_can_be_remapped():
    stage = make_stage()

    async def story(app, pilot):
        await mark(app, pilot, 9)
        await pilot.press("p")
        assert sent(stage) == []
        await pilot.press("f7")
        assert sent(stage) == [("SLEEP", [9])]

    play(stage, story, prefs=Prefs(keymap={"verb.pause": "f7"}))


def test_every_binding_has_an_id():
    named = [binding.id for binding in (*FarmScreen.BINDINGS, *ConsoleApp.BINDINGS)]
    assert all(named)
    assert len(set(named)) == len(named)


# Export -------------------------------------------------------------------------------------------


def test_tables_are_saved_without_overwriting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def story(app, pilot):
        await pilot.press("ctrl+s")
        await until(pilot, lambda: list(tmp_path.glob("*.csv")))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "not saved" in app.message[0])
        app.save("fleet.jsonl")
        assert "saved 12 rows" in app.message[0]

    play(make_stage(), story)
    (path,) = tmp_path.glob("*.csv")
    names, *rows = path.read_text().splitlines()
    assert "LABEL" in names
    assert len(rows) == 12
    first = json.loads((tmp_path / "fleet.jsonl").read_text().splitlines()[0])
    assert first["LABEL"].startswith("rack1-")


def test_labels_and_rows_are_copied():
    async def story(app, pilot):
        await mark(app, pilot, 1, 9)
        await pilot.press("y")
        await until(pilot, lambda: app.clipboard == "rack1-01\nrack1-09")
        await mark(app, pilot, 1)
        await pilot.press("Y")
        await until(pilot, lambda: app.clipboard.startswith("{"))
        row = json.loads(app.clipboard)
        assert (row["id"], row["label"], row["job"]) == (1, "rack1-01", ["grpcio", "1.75.1"])

    play(make_stage(), story)


# Notifications ------------------------------------------------------------------------------------


def test_only_a_lost_link_and_expired_commands_are_notified():
    stage = make_stage()

    async def story(app, pilot):
        assert not list(app._notifications)
        app.commands.give(Verb.RESUME, [9])
        stage.wait()
        pump(app)
        assert not list(app._notifications)
        stage.now += timedelta(seconds=60)
        pump(app)
        loud = app._notifications
        await until(pilot, lambda: {"warning"} == {each.severity for each in loud})
        lose(stage)
        pump(app)
        await until(pilot, lambda: "error" in {each.severity for each in loud})

    play(stage, story)


def test_a_bug_ends_the_console_with_an_error():
    stage = make_stage()

    async def story(app, pilot):
        def mistake(*_args):
            raise ZeroDivisionError

        app.farm_screen.apply = mistake
        stage.send(1, "DONE")
        await until(pilot, lambda: not app.is_running)

    with pytest.raises(ZeroDivisionError):
        play(stage, story)


def test_no_event_is_lost_without_the_focus():
    stage = make_stage()

    async def story(app, pilot):
        app.post_message(AppBlur())
        await pilot.pause()
        stage.send(1, "DONE")
        await until(pilot, lambda: "CLEAN" in screen_of(app))
        app.post_message(AppFocus())
        await pilot.pause()
        stage.send(2, "DONE")
        await until(pilot, lambda: screen_of(app).count("CLEAN") == 2)

    play(stage, story)
