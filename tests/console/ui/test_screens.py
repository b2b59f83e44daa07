"""The Queue, Events, Master and Heat screens, and the time bar."""

import asyncio
import re
from datetime import timedelta

import pytest

from console_stage import DEFAULT_THEME, NOW, Stage, slave_info, slave_stats
from piwheels.console.model.commands import Verb
from piwheels.console.model.eta import AbiQueue
from piwheels.console.model.journal import Journal, Kind
from piwheels.console.ui.app import ConsoleApp
from piwheels.console.ui.screens.base import Dialog, FarmScreen
from piwheels.console.ui.screens.timetravel import TimeBar
from piwheels.core.codec import NoData
from piwheels.core.protocols import (
    BuildOutcome,
    Job,
    Position,
    QueueHead,
    SlaveEvent,
    TargetState,
    Why,
    WhyAnswer,
)
from piwheels.core.states import MasterStats

SIZES = [(80, 24), (120, 40), (200, 50)]
KEYS = {"queue": "2", "events": "3", "master": "4", "heat": "5"}
HOSTILE = [
    "[red]x[/red]-1",
    "a\x1b[2Jb-2",
    "\u202eabc-3",
    "宽宽宽-4",
    "é\u0301\u0301\u0301\u0301-5",
]


@pytest.fixture(autouse=True)
def _times_are_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")


QUEUES = [
    AbiQueue("cp311", 1000, True, 96, 78, 6, 0, 322, timedelta(hours=3, minutes=6), (1, 2, 3, 4),
             "capped at 1000: a lower bound"),
    AbiQueue("cp39", 112, False, 40, 11, 20, 0, 96, timedelta(minutes=70), (4, 3, 2, 1), ""),
    AbiQueue("cp38", 14, False, 0, 0, 0, 0, 0.0, None, (14, 14, 14, 14), "NO SLAVE for this ABI"),
    AbiQueue("cp314", 0, False, 12, 0, 12, 0, 6, timedelta(), (1, 0, 1, 0), ""),
]  # fmt: skip


def stats(number, pending=700):
    gib = 2**30
    return MasterStats(
        NOW - timedelta(seconds=10 * (100 - number)), 611_203 + number,
        {"cp39": 96 + number % 7, "cp311": 322}, timedelta(days=41 * 365 + 203), 4 * 2**40,
        {"cp311": pending - number}, 34, 2_940_112, 41_020, 28_100_000, 10**9, 3600 * gib,
        1368 * gib - number * 2**26, 8 * gib, 3 * gib, 2 * gib, 2 * gib, 2 + number % 10 / 10,
        58.0 + number % 5,
    )  # fmt: skip


def make_stage(slaves=12, *, labels=None, **how):
    """Return an attached session with *slaves* in racks of five, some of them silent."""
    stage = Stage(**how)
    labels = labels or [f"rack{n // 50 + 1}-{n % 50:02}" for n in range(slaves)]
    say = stage.master.say
    for number, label in enumerate(labels, 1):
        abi = ("cp311", "cp39", "cp313")[number % 3]
        say(SlaveEvent(number, stage.now, "HELLO", slave_info(label, abi)))
        say(SlaveEvent(number, stage.now, "STATS", slave_stats(stage.now, temp=40 + number % 50)))
        if number % 4:
            say(SlaveEvent(number, stage.now, "BUILD", Job("numpy", f"2.3.{number}")))
        else:
            say(SlaveEvent(number, stage.now, "SLEEP", number % 8 == 0))
    for number in range(100):
        say(stats(number))
    stage.pump()
    stage.session.journal = Journal()
    return stage


class Calls(list):
    """The calls of the screens to the application."""


def play(stage, mode, story, size=(120, 40), **how):
    """Run the console in *mode*; *story* gets the application, its pilot, and these calls."""

    async def run():
        app = ConsoleApp(stage.session, clock=stage.clock, theme=DEFAULT_THEME, **how)
        calls = Calls()
        asked = {app: ("open_slave", "open_log", "open_fleet"), app.commands: ("give",)}
        for where, name in ((where, name) for where, names in asked.items() for name in names):
            setattr(where, name, lambda *args, name=name: calls.append((name, *args)))
        async with app.run_test(size=size) as pilot:
            await pilot.press(KEYS[mode])
            await settled(app, pilot)
            await story(app, pilot, calls)

    asyncio.run(run())


async def settled(app, pilot):
    """Wait until one of our screens is shown and up to date."""
    while not (isinstance(app.screen, FarmScreen) and app.screen.size):
        await pilot.pause()
    app.screen.show_all()
    await pilot.pause()


async def until(pilot, happened):
    """Wait until *happened* is true, for a limited number of turns of the application."""
    for _ in range(20):
        if happened():
            break
        await pilot.pause()


def body(app, first, last):
    """Return the lines of the screen from the widget *first* to *last*."""
    top = app.screen.query_one(first).region.y
    bottom = app.screen.query_one(last).region.bottom
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips[top:bottom])


def draw(stage, mode, first, last, *keys, size=(120, 40), sizes=(), **how):
    """Return a screen's text after *keys*; with *sizes*, then at each of these."""
    seen = []

    async def story(app, pilot, _told):
        await pilot.press(*keys)
        await settled(app, pilot)
        for each in sizes or [size]:
            await pilot.resize_terminal(*each)
            await settled(app, pilot)
            seen.append(body(app, first, last))

    play(stage, mode, story, size, **how)
    return "\n\n".join(seen)


# Queue --------------------------------------------------------------------------------------------


def queue_stage():
    stage = make_stage()
    stage.session.farm.queues = lambda _now, without=(): QUEUES
    stage.session.farm.rate = lambda now: 612.4
    stage.session.queue = [
        QueueHead("cp311", 1000, [Job("scipy", "1.16.2"), Job("h5py", "3.14.0")])
    ]
    stage.session.recent = [
        BuildOutcome(
            7, 2, "rack1-01", "lxml", "6.0.2", "cp39", result, timedelta(minutes=3), 3, NOW
        )
        for result in ("ok", "failed", "skipped")
    ]
    return stage


def test_the_queue(snapshot):
    assert draw(queue_stage(), "queue", "#abis", "#lists", sizes=SIZES) == snapshot


def test_the_queue_in_ascii_is_ascii():
    text = draw(queue_stage(), "queue", "#abis", "#total", ascii=True)
    assert text.isascii(), text


def test_an_empty_farm_has_an_empty_queue():
    stage = make_stage(0)
    stage.session.farm.queues = lambda _now, without=(): []
    text = draw(stage, "queue", "#abis", "#lists", "down", "enter", "o")
    assert "has not reported its queue" in text
    assert "nothing is being built" in text


def test_the_queue_opens_slaves_and_logs():
    async def story(app, pilot, calls):
        await pilot.press("down", "down", "enter")
        assert app.screen.targets() == [3, 6, 9, 12]
        await pilot.press("tab", "down", "enter")
        await settled(app, pilot)
        slave_id = calls[-1][1]
        assert app.screen.targets() == [slave_id]
        await pilot.press("tab", "tab", "enter")
        await settled(app, pilot)
        assert [name for name, *_ in calls] == ["open_fleet", "open_slave", "open_log"]
        assert calls[0] == ("open_fleet", "abi=cp311")
        assert (calls[2][1], calls[2][2].build_id, calls[2][2].result) == (2, 7, "ok")

    play(queue_stage(), "queue", story)


def test_the_newest_builds_are_followed_until_the_cursor_moves():
    stage = queue_stage()
    recent = stage.session.recent
    recent[:] = [recent[0]._replace(build_id=number) for number in range(60, 0, -1)]
    newer = recent[0]._replace(build_id=61, package="newest")

    async def story(app, pilot, _told):
        recent.insert(0, newer)
        await settled(app, pilot)
        assert "newest" in body(app, "#lists", "#lists")
        await pilot.press("tab", "tab", "tab")
        recent.insert(0, newer._replace(build_id=62, package="unseen"))
        await settled(app, pilot)
        assert "unseen" not in body(app, "#lists", "#lists")

    play(stage, "queue", story)


def test_the_queue_can_be_sorted():
    async def story(app, pilot, _told):
        found = []
        for _ in range(4):
            found.append([row[0] for row in app.screen.rows()[1]])
            await pilot.press("o")
        assert found == [
            ["cp38", "cp39", "cp311", "cp314"],
            ["cp311", "cp39", "cp38", "cp314"],
            ["cp38", "cp311", "cp39", "cp314"],
            ["cp38", "cp39", "cp311", "cp314"],
        ]
        assert app.screen.find("CP31") == ""
        assert [row[0] for row in app.screen.rows()[1]] == ["cp311", "cp314"]

    play(queue_stage(), "queue", story)


# Targets and places -------------------------------------------------------------------------------

TARGETS = [
    TargetState("linux_aarch64", "cp313", 1204, 6),
    TargetState("linux_armv7l", "cp311", 37, 0, NOW - timedelta(minutes=42)),
    TargetState("musllinux_x86_64", "cp312", 3, 0, NOW - timedelta(minutes=2)),
    TargetState("linux_i686", "cp39", 0, 0, skip="[red]no\x1b[0m boards"),
]


def targets_stage():
    stage = queue_stage()
    stage.session.targets, stage.session.unserved = TARGETS, TARGETS[1:2]
    stage.master.answers["TARGETS"] = TARGETS
    return stage


def test_the_targets(snapshot):
    drawn = draw(targets_stage(), "queue", "KpiLine", "#targets", "T", sizes=[(60, 20), *SIZES])
    assert re.sub(r"\n( *\n)+", "\n\n", drawn) == snapshot


def test_targets_are_sorted_filtered_and_opened():
    async def story(app, pilot, calls):
        await pilot.press("colon", *"targets", "enter")
        await settled(app, pilot)
        found = []
        for _ in range(3):
            found.append([row[1] for row in app.screen.rows()[1]])
            await pilot.press("o")
        assert found == [
            ["cp313", "cp311", "cp312", "cp39"],
            ["cp313", "cp311", "cp312", "cp39"],
            ["cp311", "cp312", "cp39", "cp313"],
        ]
        assert app.screen.targets() == [2, 5, 8, 11]
        assert app.screen.find("ARMV7L/") == ""
        assert [row[1] for row in app.screen.rows()[1]] == ["cp311"]
        await pilot.press("enter")
        assert calls == [("open_fleet", "abi=cp311 platform~armv7l")]
        await pilot.press("escape")
        await settled(app, pilot)
        assert app.screen.title_in_tabs == "Queue"

    play(targets_stage(), "queue", story)


PLACES = [
    Position("linux_armv7l", "cp311", 12, 430, ["has waited since noon", "[b]popular"]),
    Position("linux_x86_64", "cp313", 1, 2, ["has waited since 13:00"]),
]


CAUSE = "a.c:1:10: fatal error: xml.h: No such file or directory"
ANSWERS = [
    Why("6.0.2", "linux_armv7l", "cp311", "waiting", "waiting, 12th of 430 in the queue"),
    Why("6.0.2", "linux_x86_64", "cp313", "failed", "failed: install xml.h", CAUSE, 7),
    Why("6.0.2", "linux_x86_64", "cp39", "built", "built: lxml-6.0.2-cp39-abi3-any.whl"),
]


@pytest.mark.parametrize("size", SIZES)
def test_why_a_version_waits(snapshot, size):
    stage = queue_stage()
    stage.master.answers |= {"POSITION": PLACES, "WHY": WhyAnswer(ANSWERS, 0)}

    async def story(app, pilot, _calls):
        await pilot.press("colon", *"why", "space", *"lxml", "space", *"6", "full_stop", *"0")
        await pilot.press("full_stop", "2", "enter")
        await until(pilot, lambda: isinstance(app.screen, Dialog))
        app.session.pump(app.now())
        await pilot.pause()
        assert stage.master.asked[-2:] == [
            ("WHY", ("lxml", "6.0.2")), ("POSITION", ("lxml", "6.0.2")),
        ]  # fmt: skip
        first = body(app, "#why", "#why")
        await pilot.press("down")
        await pilot.pause()
        second = body(app, "#why", "#why")
        assert "has waited since 13:00" in second
        assert "xml.h: No such file" in second
        assert first == snapshot
        await pilot.press("escape")
        assert not isinstance(app.screen, Dialog)

    play(stage, "queue", story, size)


def test_a_row_of_the_queue_is_explained():
    stage = queue_stage()
    stage.master.answers["WHY"] = WhyAnswer([], 0)

    async def story(app, pilot, _calls):
        app.screen.action_sort()  # cp311 first
        await pilot.press("g", "e")
        await until(pilot, lambda: isinstance(app.screen, Dialog))
        app.session.pump(app.now())
        await pilot.pause()
        assert stage.master.asked[-1] == ("POSITION", ("scipy", "1.16.2"))
        assert "it does not wait" in body(app, "#why", "#why")
        await pilot.press("escape", "tab", "tab", "down", "enter")
        assert stage.master.asked[-1] == ("POSITION", ("h5py", "3.14.0"))
        await pilot.press("escape", "tab", "e")
        assert stage.master.asked[-1] == ("POSITION", ("lxml", "6.0.2"))
        await pilot.press("escape", "shift+tab", "shift+tab", "e")
        assert stage.master.asked[-1][1][0] == "numpy"

    play(stage, "queue", story)


@pytest.mark.parametrize(
    ("level", "typed", "what"),
    [
        (1, "why", "name a package: :why NAME [VERSION]"),
        (0, "why lxml 1.0", ""),
        (0, "why nothing", ""),
    ],
)
def test_a_version_that_cannot_be_explained(level, typed, what):
    async def story(app, pilot, _calls):
        app.run_command(typed)
        await pilot.pause()
        assert app.message == (what, bool(what))
        if not what:
            assert "only an attached level-1 master knows" in body(app, "#why", "#why")

    play(make_stage(level=level), "queue", story)


def test_versions_of_the_queue_screen_are_put_first_and_tried_again():
    stage = queue_stage()
    stage.master.answers |= {"FIRST": NoData, "RETRY": 0}
    about = {"reason": "disk-full", "counts": False, "recipe": "with cython<3"}
    stage.session.recent = [stage.session.recent[1]._replace(**about)]

    async def story(app, pilot, _calls):
        app.screen.action_sort()  # cp311 first
        await pilot.press("g", "f")
        assert stage.master.asked[-1] == ("FIRST", ("scipy", "1.16.2"))
        await pilot.press("r")
        assert app.message == ("choose a failed build to try it again", True)
        await pilot.press("tab", "tab", "tab")  # to the newest builds
        await settled(app, pilot)
        await settled(app, pilot)
        shown = body(app, "#causes", "#lists")
        assert "put off" in shown
        assert "disk full" in shown
        assert "with cython<3" in shown
        await pilot.press("r")
        assert stage.master.asked[-1] == ("RETRY", ("lxml", "6.0.2"))
        app.session.pump(app.now())
        assert app.message == ("no build of lxml 6.0.2 has failed", True)

    play(stage, "queue", story)


@pytest.mark.parametrize(
    ("why", "shown"),
    [
        ("not understood: unknown message", "place 12 of 430"),
        ("the farm does not know lxml", "the farm does not know lxml"),
    ],
)
def test_a_master_that_does_not_say_why(why, shown):
    stage = queue_stage()
    places = PLACES if why.startswith("not") else []
    answer = stage.master._answer
    stage.master._answer = lambda msg, data: (
        (None, why) if msg == "WHY" else (places, "") if msg == "POSITION" else answer(msg, data)
    )

    async def story(app, pilot, _calls):
        app.run_command("why lxml 6.0.2")
        await until(pilot, lambda: "POSITION" in {msg for msg, _ in stage.master.asked})
        app.session.pump(app.now())
        await pilot.pause()
        assert shown in body(app, "#why", "#why")

    play(stage, "queue", story)


# Events -------------------------------------------------------------------------------------------


def events_stage(count=40):
    stage = make_stage()
    rows = [
        (Kind.COMMAND, 3, "skip sent", "pending 1s"),
        (Kind.DONE, 5, "lxml 6.0.2 cp313 ok", "3m12, 3 files"),
        (Kind.FAIL, 6, "pyarrow 21.0.0 cp311", "41m, no files"),
        (Kind.CRITICAL, 77, "expired", "no message for 15m while building lxml 6.0.2"),
        (Kind.LINK, None, "a frame on status is not of the protocol", "begins " + "00 ff " * 60),
    ]
    for number in range(count):
        kind, slave_id, what, detail = rows[number % 5]
        stage.session.journal.note(
            NOW + timedelta(seconds=number), kind, what, slave_id=slave_id, label="rack1-02",
            detail=detail,
        )  # fmt: skip
    return stage


def test_the_events(snapshot):
    assert draw(events_stage(), "events", "#journal", "#kinds", sizes=SIZES) == snapshot


def test_events_are_filtered_by_kind_and_text():
    async def story(app, pilot, _told):
        def kinds():
            return {row[1] for row in app.screen.rows()[1]}

        assert len(app.screen.rows()[1]) == 40
        found = []
        for _ in range(5):
            await pilot.press("e")
            found.append(kinds())
        assert found == [{"CMD"}, {"DONE", "FAIL"}, {"FAIL", "CRIT"}, set(), {"LINK"}]
        await pilot.press("escape")
        assert len(app.screen.rows()[1]) == 40
        assert app.screen.find("PYARROW") == ""
        assert kinds() == {"FAIL"}
        app.screen.find("[red")
        assert kinds() == set()

    play(events_stage(), "events", story)


def test_the_newest_event_is_followed_until_the_cursor_moves():
    stage = events_stage()

    def note(what):
        stage.session.journal.note(stage.now, Kind.WARN, what)

    async def story(app, pilot, _told):
        note("first")
        await settled(app, pilot)
        assert "first" in body(app, "#entry", "#entry")
        await pilot.press("down", "down")
        before = body(app, "#entry", "#entry")
        note("second")
        await settled(app, pilot)
        assert body(app, "#entry", "#entry") == before
        await pilot.press("F")
        assert "second" in body(app, "#entry", "#entry")
        assert app.screen.view_state().startswith("42 new")
        await pilot.press("m")
        assert app.screen.view_state() == "42 kept"

    play(stage, "events", story)


def test_events_open_their_slaves():
    async def story(app, pilot, calls):
        await pilot.press("enter", "down", "enter")
        assert calls == [], "the newest is about none, the next about one that is gone"
        assert app.screen.targets() == []
        await pilot.press("down", "enter")
        await settled(app, pilot)
        assert calls == [("open_slave", 6)]
        assert app.screen.targets() == [6]

    play(events_stage(), "events", story)


def test_five_thousand_events():
    async def story(app, pilot, _told):
        assert len(app.screen.rows()[1]) == 5000
        await pilot.press("end")
        await settled(app, pilot)
        assert "skip sent" in body(app, "#entry", "#entry")

    play(events_stage(5010), "events", story)


# Master -------------------------------------------------------------------------------------------


def test_the_master(snapshot):
    assert draw(make_stage(), "master", "#panels", "#panels", sizes=SIZES) == snapshot


def test_a_metric_as_a_graph(snapshot):
    text = draw(make_stage(), "master", "#panels", "#panels", "down", "g", sizes=SIZES)
    assert text == snapshot


def test_graphs_open_and_close_with_the_same_key():
    async def story(app, pilot, _told):
        before = body(app, "#panels", "#panels")
        for key in ("escape", "g"):
            await pilot.press("g")
            await settled(app, pilot)
            assert body(app, "#panels", "#panels") != before
            await pilot.press(key)
            await settled(app, pilot)
            assert body(app, "#panels", "#panels") == before

    play(make_stage(), "master", story)


def test_keys_for_the_whole_farm():
    async def story(app, pilot, calls):
        await pilot.press("P", "W", "H", "X", "Q")
        verbs = [Verb.PAUSE, Verb.RESUME, Verb.HALT, Verb.KILL, Verb.QUIT]
        assert calls == [("give", verb, None) for verb in verbs]
        stage.master.asked.clear()
        await pilot.press("R")
        assert ("HELLO", None) in [(msg, None) for msg, _ in stage.master.asked]

    stage = make_stage()
    play(stage, "master", story)


def test_a_read_only_console_is_marked():
    text = draw(make_stage(read_only=True), "master", "#controls", "#controls")
    assert "Controls (disabled)" in text
    assert text.count("read-only") == 5


def test_the_master_screen_without_data():
    stage = Stage()
    text = draw(stage, "master", "#panels", "#panels", "g", "down", "g")
    assert "no stats yet" in text


# Heat ---------------------------------------------------------------------------------------------


def heat_stage(slaves=500, **how):
    stage = make_stage(slaves, **how)
    for number, slave in stage.session.farm.slaves.items():
        if 100 < number <= 150 and number % 6 == 0:
            slave.last_contact -= timedelta(minutes=6)
    return stage


def test_the_heat_map(snapshot):
    assert draw(heat_stage(), "heat", "#scale", "#about", sizes=SIZES) == snapshot


def test_five_hundred_slaves_fit_on_one_page():
    text = draw(heat_stage(), "heat", "#map", "#map", size=(80, 24))
    cells = [line[8:58] for line in text.splitlines() if line.startswith(" rack")]
    assert [len(line) for line in cells] == [50] * 10
    assert "".join(cells).count("?") == 9
    assert [line.split()[0] for line in text.splitlines() if "▲" in line] == ["rack3"]


def test_metrics_and_groups(snapshot):
    seen = []

    async def story(app, pilot, _told):
        for key in "mmmmmbb":
            await pilot.press(key)
            await settled(app, pilot)
            seen.append(body(app, "#scale", "#map").rstrip())

    play(heat_stage(60), "heat", story, (80, 20))
    assert "\n\n".join(seen) == snapshot


def test_short_groups_are_side_by_side(snapshot):
    labels = [f"rack{n // 10 + 1}-{n % 10}" for n in range(395)]
    stage = make_stage(labels=labels)

    async def story(app, pilot, _told):
        assert body(app, "#map", "#map") == snapshot
        found = []
        for key in ("right", "down", *["right"] * 9, "left", "end", "left", "home"):
            await pilot.press(key)
            found += app.screen.targets()
        assert found[:2] == [2, 32], "three racks are on a line"
        assert found[2:] == [33, 34, 35, 36, 37, 38, 39, 40, 41, 40, 395, 394, 1]
        await pilot.click("#map", offset=(8 + 2 * 24, 1))
        await settled(app, pilot)
        assert app.screen.targets() == [51]

    play(stage, "heat", story, (80, 24))


def test_the_heat_map_in_ascii_is_ascii():
    text = draw(heat_stage(60), "heat", "#map", "#map", "m", ascii=True)
    assert text.isascii(), text


def test_the_cursor_moves_over_the_cells():
    async def story(app, pilot, calls):
        found = []
        for key in ("right", "down", "left", "left", "up", "end", "right", "home"):
            await pilot.press(key)
            found += app.screen.targets()
        assert found == [2, 52, 51, 50, 50, 120, 120, 1]
        await pilot.press("down", "enter")
        await settled(app, pilot)
        assert calls == [("open_slave", 51)]

    play(heat_stage(120), "heat", story)


def test_the_cursor_stays_on_its_slave():
    async def story(app, pilot, _told):
        await pilot.press("down", "down", "right", "b", "m")
        assert app.screen.targets() == [102]
        await pilot.resize_terminal(80, 24)
        await settled(app, pilot)
        assert app.screen.targets() == [102]
        assert app.screen.find("label~rack1-") == ""
        assert len(app.screen.rows()[1]) == 50
        assert "column" in app.screen.find("nonsense>")
        assert len(app.screen.rows()[1]) == 50

    play(heat_stage(120), "heat", story)


def test_thousands_of_slaves_scroll():
    async def story(app, pilot, _told):
        await pilot.press("end")
        await settled(app, pilot)
        assert app.screen.targets() == [5000]
        assert "rack100" in body(app, "#map", "#map")
        assert "rack1 " not in body(app, "#map", "#map")

    play(heat_stage(5000), "heat", story, (80, 24))


def test_an_empty_heat_map():
    text = draw(make_stage(0), "heat", "#map", "#about", "right", "down", "enter", "m", "b")
    assert "no slaves yet" in text


# All screens --------------------------------------------------------------------------------------


def test_hostile_names_are_shown_literally():
    stage = make_stage(labels=HOSTILE)
    stage.session.journal.note(NOW, Kind.WARN, "[b]x", label="[red]x", slave_id=1)

    async def story(app, pilot, _told):
        for mode in KEYS.values():
            for key in (mode, "down", "down", "up"):
                await pilot.press(key)
                await settled(app, pilot)
                for strip in app.screen._compositor.render_strips():
                    assert strip.cell_length == 60
                    assert "\x1b" not in strip.text
                    assert "\u202e" not in strip.text

    play(stage, "queue", story, (60, 20))


@pytest.mark.parametrize("size", [(20, 6), (40, 10), (300, 80)])
def test_every_screen_at_any_size(size):
    async def story(app, pilot, _told):
        for mode in KEYS.values():
            await pilot.press(mode, "down", "g", "m", "e")
            await settled(app, pilot)
            widths = {strip.cell_length for strip in app.screen._compositor.render_strips()}
            assert widths == {size[0]}

    play(events_stage(), "queue", story, size)


# Commands -----------------------------------------------------------------------------------------


VERBS = {"KILL", "SLEEP", "SKIP", "WAKE", "QUIT"}


def commanded(stage, mode, *keys):
    """Return the commands that the master gets when *keys* are pressed in *mode*."""

    async def story(app, pilot, _told):
        del app.commands.give
        stage.master.asked.clear()
        for key in keys:
            if key in ("y", "n", "type the word"):
                await until(pilot, lambda: isinstance(app.screen, Dialog))
            await pilot.press(*(app.screen.asked.word if key == "type the word" else [key]))
        await until(pilot, lambda: not isinstance(app.screen, Dialog))

    play(stage, mode, story)
    return [(msg, data) for msg, data in stage.master.asked if msg in VERBS]


def test_verbs_on_the_queue_apply_to_the_slaves_of_an_abi():
    assert commanded(queue_stage(), "queue", "down", "p", "y") == [("SLEEP", [1, 4, 7, 10])]
    assert commanded(queue_stage(), "queue", "down", "p", "n") == []
    assert commanded(queue_stage(), "queue", "w") == [], "nobody builds for cp38"


def test_verbs_on_the_heat_map_apply_to_the_slave_at_the_cursor():
    assert commanded(heat_stage(12), "heat", "right", "s", "y") == [("SKIP", [2])]
    assert commanded(heat_stage(12), "heat", "right", "right", "right", "s", "y") == []


def test_a_pause_of_the_farm_requires_a_typed_word():
    assert commanded(make_stage(), "master", "P", "y", "enter") == []
    assert commanded(make_stage(), "master", "P", "type the word", "enter") == [("SLEEP", None)]


def test_a_read_only_console_sends_no_command():
    stage = make_stage(read_only=True)

    async def story(app, pilot, _calls):
        del app.commands.give
        stage.master.asked.clear()
        for mode, keys in {"queue": "pw", "heat": "psxK", "master": "PWHXQ"}.items():
            await pilot.press(KEYS[mode])
            await settled(app, pilot)
            await pilot.press("down", *keys, "y", "enter")
            assert VERBS.isdisjoint(msg for msg, _ in stage.master.asked), (mode, keys)

    play(stage, "queue", story)


# Time travel --------------------------------------------------------------------------------------


class Recorded:
    """A recording of an hour, in the middle of which two slaves fall silent."""

    name = "farm.piwrec"

    def __init__(self):
        self.begin, self.end = NOW - timedelta(hours=1), NOW
        self.position, self.speed, self.playing = NOW - timedelta(minutes=30), 1.0, False
        self.sought = []

    def start(self):
        pass

    def take(self):
        return iter(())

    def send(self, outgoing):
        raise AssertionError(outgoing)

    def stop(self):
        pass

    def seek(self, at):
        self.sought.append((at - self.begin) / timedelta(minutes=1))
        self.position = at

    def play(self):
        self.playing = True

    def pause(self):
        self.playing = False


def recorded_stage():
    stage = make_stage()
    stage.session.source = Recorded()
    return stage


def test_the_time_bar_is_shown_only_for_a_recording():
    async def story(app, pilot, _told):
        assert app.screen.query_one(TimeBar).display is False

    play(make_stage(), "queue", story)
    text = draw(recorded_stage(), "heat", "TimeBar", "TimeBar", size=(60, 24))
    assert text.startswith(" ‖ ├")
    assert "12:11:07 ×1" in text


def test_keys_of_the_time_bar():
    stage = recorded_stage()
    recording = stage.session.source

    async def story(app, pilot, _told):
        app.screen.query_one(TimeBar).focus()
        await pilot.press("left", "shift+right", "home", "left", "end", "right")
        assert recording.sought == pytest.approx([29.8333, 30.8333, 0, 0, 60, 60], abs=1e-3)
        await pilot.press("space")
        assert recording.playing
        assert recording.position == recording.begin, "at the end it begins again"
        await pilot.press("x", "x")
        assert recording.speed == 16
        await pilot.press("full_stop")
        assert not recording.playing

    play(stage, "heat", story)


def test_two_moments_are_compared():
    stage = recorded_stage()
    recording = stage.session.source

    async def story(app, pilot, _told):
        app.screen.query_one(TimeBar).focus()
        await pilot.press("c")
        recording.position += timedelta(minutes=2)
        for number in (1, 2):
            stage.session.farm.slaves[number].last_contact = NOW - timedelta(minutes=29)
        for number, slave in stage.session.farm.slaves.items():
            slave.last_contact = NOW - timedelta(minutes=29 if number in (1, 2) else 28)
        await pilot.press("c")
        await settled(app, pilot)
        text = body(app, "TimeBar", "TimeBar")
        assert "between 12:11:07 and 12:13:07" in text
        assert "2 went silent: rack1-00, rack1-01" in text
        await pilot.press("escape")
        await settled(app, pilot)
        assert "went silent" not in body(app, "TimeBar", "TimeBar")

    play(stage, "heat", story)
