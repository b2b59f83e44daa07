"""The fleet table alone: painting at each size, cursor, marks."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len

from piwheels.console.model.commands import Command, Phase, Verb
from piwheels.console.model.farm import Changes, FarmModel
from piwheels.console.model.fleet_view import View
from piwheels.console.model.heat import Grouping
from piwheels.console.model.query import parse
from piwheels.console.model.slave import Alert, PastBuild, Slave, State
from piwheels.console.text import clean
from piwheels.console.ui.glyphs import STATE_SYMBOLS, SYMBOLS
from piwheels.console.ui.widgets.fleet_columns import columns
from piwheels.console.ui.widgets.fleet_table import FleetTable
from piwheels.console.ui.widgets.line_list import TonedApp
from piwheels.core.states import SlaveInfo, SlaveStats

NOW = datetime(2026, 11, 24, 12, 41, 7, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SIZES = [(80, 24), (120, 40), (200, 50), (50, 12)]


class StillFarm(FarmModel):
    """A farm to which a test adds slaves directly."""

    def __init__(self):
        super().__init__()
        self.tick(NOW)

    def add(self, number, label=None, reported=State.IDLE, *, minutes=1.0, abi="cp311", **more):
        label = label or f"pi4-rack{1 + number // 8}-{number % 8:02}"
        info = SlaveInfo(180 * MINUTE, 15 * MINUTE, "3.11.2", abi, "linux_aarch64", label,
                         "Debian", "12", "Pi 4B", "1000")  # fmt: skip
        since = NOW - minutes * MINUTE
        last_contact = more.pop("last_contact", NOW)
        slave = Slave(
            number,
            info,
            clean(label),
            joined=since,
            since=since,
            last_contact=last_contact,
            reported=reported,
        )
        slave.job_since = slave.state_began = slave.build_began = since
        for name, value in more.items():
            setattr(slave, name, value)
        self.slaves[number] = slave
        return slave


class Stage(TonedApp):
    """An application with only a table."""

    CSS = ".state--silent { text-style: reverse; } .state--build { color: green; }"

    def __init__(self, farm, *, plain=False):
        super().__init__()
        self.farm, self.ascii, self.commands, self.time = farm, plain, {}, NOW
        self.view = View(self.commands.get)
        self.table = FleetTable(self.view, self)
        self.sorts = []

    def compose(self):
        yield self.table

    def on_mount(self):
        self.show(epoch=True)
        self.table.focus()

    def now(self):
        return self.time

    def symbol(self, symbol):
        return SYMBOLS.get(symbol, symbol) if self.ascii else symbol

    def state_symbol(self, state):
        mark = STATE_SYMBOLS[state]
        return (mark.ascii if self.ascii else mark.glyph), mark.style

    def show(self, seconds=0, **changes):
        self.time += timedelta(seconds=seconds)
        if self.view.update(self.farm, Changes(**changes), self.time):
            self.table.show_rows()

    def on_fleet_table_sort_wanted(self, message):
        self.sorts.append(message.name)

    def lines(self):
        height = self.table.size.height
        return ["".join(part.text for part in self.table.render_line(y)) for y in range(height)]


def play(farm, scene, size=(80, 24), **how):
    """Run *scene* on an application with the table."""

    async def run():
        stage = Stage(farm, **how)
        async with stage.run_test(size=size) as pilot:
            await pilot.pause()
            await scene(stage, pilot)

    asyncio.run(run())


def lines_of(farm, size, **how):
    found = []

    async def scene(stage, pilot):
        await pilot.press("down", "space")
        found.extend(stage.lines())

    play(farm, scene, size, **how)
    return found


def small_farm():
    """A slave in each state, with stats, alerts and commands."""
    farm = StillFarm()
    build = {"job": ("tensorflow-io", "0.37"), "median": 26 * MINUTE, "peers": 14}
    slow = Alert("slow", "x6.2", NOW, 2)
    farm.add(
        1, reported=State.BUILD, minutes=161.12, ratio=6.2, eta=4 * MINUTE, alerts=(slow,), **build
    )
    farm.add(2, reported=State.SEND, job=("pillow", "12.0.0"), files=2, abi="cp313")
    farm.add(3, reported=State.SLEEP, minutes=0.1)
    farm.add(4, reported=State.PAUSE, minutes=700)
    past = PastBuild("lxml", "6.0.2", "cp311", "failed", MINUTE, 0, NOW, 5, "", NOW)
    farm.add(5, reported=State.CLEAN, outcome=past)
    farm.add(6, reported=State.BUILD, job=("scipy", "1.16.2"), last_contact=NOW - 7 * MINUTE,
             alerts=(Alert("no msg", "7m", NOW, 3), slow))  # fmt: skip
    farm.add(7, reported=State.BUILD, job=("lxml", "6.0.2"), last_contact=NOW - 16 * MINUTE)
    farm.add(8, reported=State.DEAD)
    farm.add(9)
    for number in range(1, 8):
        for step in range(20):
            farm.slaves[number].stats.append(
                SlaveStats(NOW, 100, 100 - 9 * number, 100, 40, 100, 99, step % 7 / 2, 50 + number)
            )
    farm.slaves[2].skew = timedelta(seconds=-0.23)
    farm.slaves[3].skew = timedelta(days=2)
    return farm


# What is painted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
def test_the_table_at_each_size(size, snapshot):
    assert "\n".join(line.rstrip() for line in lines_of(small_farm(), size)).rstrip() == snapshot


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
def test_the_table_without_colours_has_all_information(size, monkeypatch):
    coloured = lines_of(small_farm(), size)
    monkeypatch.setenv("NO_COLOR", "1")
    assert lines_of(small_farm(), size) == coloured


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
def test_the_table_in_ascii(size):
    text = "\n".join(lines_of(small_farm(), size, plain=True))
    assert text.replace("…", "~").isascii()  # the application's task
    assert "> BUILD" in text


@pytest.mark.parametrize("digits", [1, 5])
def test_state_id_and_label_are_visible_at_any_width(digits):
    for width in range(60, 240):
        end, names = 4, set()
        for column in columns(width, digits, str, ascii_only=False):
            end += column.width + 1
            if end <= width:
                names.add(column.name)
        lost = {"STATE", "CMD", "ID", "LABEL", "TASK", "TIME", "ALERT"} - names
        assert not lost, f"at {width}"


def test_commands_are_shown_with_their_outcomes():
    async def scene(stage, pilot):
        stage.commands[1] = Command(Verb.SKIP, 1, "", NOW, Phase.SENT)
        stage.commands[2] = Command(Verb.PAUSE, 1, "", NOW, Phase.EXPIRED)
        text = "\n".join(stage.lines())
        assert "BUILD skip?    1" in text
        assert "SEND  ✗pause   2" in text

    play(small_farm(), scene)


HOSTILE = [
    "[red]x[/red]",
    "[@click=app.quit]x",
    "\x1b[31mred\x1b]0;title\x07",
    "a\nb\tc\rd\x00",
    "\u202eevil\u2066",
    "שלום",
    "東京東京東京東京東京東京",
    "e\u0301\u0302\u0303\u0304",
    "👩‍👩‍👧‍👦 family",
    "\udcff",
    "x" * 200,
    "",
]


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
def test_hostile_labels_and_packages_keep_the_row_intact(size):
    farm = StillFarm()
    for number, text in enumerate(HOSTILE, 1):
        farm.add(number, text, State.BUILD, job=(text or "-", "1.0"))
    for line in lines_of(farm, size):
        assert cell_len(line) == size[0]
        assert not set(line) & set("\n\r\t\x00\x1b\x07\u202e\u2066")
        assert line.startswith((" ", "▌"))


def test_markup_in_labels_is_shown_literally():
    farm = StillFarm()
    farm.add(1, "[red]x[/red]")
    assert "[red]x[/red]" in lines_of(farm, (80, 24))[1]


def test_ten_thousand_slaves():
    farm = StillFarm()
    for number in range(1, 10_001):
        farm.add(number, minutes=10_001 - number)

    async def scene(stage, pilot):
        assert "1 pi4-rack1-01" in stage.lines()[1]
        await pilot.press("G")
        assert "10000 pi4-rack" in stage.lines()[-1]
        await pilot.press("asterisk")
        assert len(stage.table.marks) == 10_000

    play(farm, scene)


# Cursor and marks ---------------------------------------------------------------------------------


def test_the_cursor_follows_its_row():
    farm = StillFarm()
    for number in range(1, 61):
        farm.add(number, minutes=100 - number)

    async def scene(stage, pilot):
        await pilot.press("j", "j")
        assert stage.table.cursor == 3
        farm.slaves[3].state_began = NOW
        stage.show(seconds=4)
        await pilot.pause()
        assert stage.view.keys[-1] == stage.table.cursor == 3
        assert stage.lines()[-1].startswith("▌")
        await pilot.press("k")
        assert stage.table.cursor == 60

    play(farm, scene)


def test_the_cursor_moves_to_the_next_row_when_its_row_disappears():
    farm = StillFarm()
    for number in (1, 2, 3):
        farm.add(number)

    async def scene(stage, pilot):
        await pilot.press("j")
        del farm.slaves[2]
        stage.show(seconds=4, gone={2})
        assert stage.table.cursor == 3
        farm.slaves.clear()
        stage.show(seconds=4, gone={1, 3})
        assert stage.table.cursor is None
        await pilot.press("j", "k", "space", "V", "G", "g", "pagedown", "enter", "asterisk")
        assert stage.table.marks == set()

    play(farm, scene)


def test_cursor_keys():
    farm = StillFarm()
    for number in range(1, 101):
        farm.add(number)

    async def scene(stage, pilot):
        places = []
        for key in ("G", "k", "pageup", "ctrl+u", "g", "k", "ctrl+d", "home", "end", "j"):
            await pilot.press(key)
            places.append(stage.table.cursor)
        assert places == [100, 99, 77, 55, 1, 1, 23, 1, 100, 100]

    play(farm, scene)


def test_mark_keys():
    farm = StillFarm()
    for number in range(1, 10):
        farm.add(number)

    async def scene(stage, pilot):
        await pilot.press("space", "j", "space")
        assert stage.table.marks == {1, 3}
        await pilot.press("G", "V")
        assert stage.table.marks == {1, 3, 4, 5, 6, 7, 8, 9}
        await pilot.press("k", "space")
        assert 8 not in stage.table.marks
        await pilot.press("u")
        assert stage.table.marks == set()
        stage.view.query = parse("id<3")
        stage.view.arrange(stage.time)
        stage.table.show_rows()
        await pilot.press("asterisk")
        assert stage.table.marks == {1, 2}

    play(farm, scene)


def test_marking_a_group_marks_its_slaves():
    async def scene(stage, pilot):
        stage.view.group = Grouping.RACK
        stage.view.arrange(stage.time)
        stage.table.show_rows()
        await pilot.press("g", "space")
        assert stage.table.marks == set(range(1, 8))
        assert stage.lines()[1].startswith(" * ! EXPIR + pi4-rack1")
        assert stage.lines()[2].startswith("▌  † DEAD  + pi4-rack2")

    play(small_farm(), scene)


def test_hidden_columns_can_be_scrolled_to():
    async def scene(stage, pilot):
        assert "LOAD" not in stage.lines()[0]
        for _ in range(20):
            await pilot.press("right")
        assert "LOAD" in stage.lines()[0]
        for _ in range(20):
            await pilot.press("left")
        assert stage.lines()[0].startswith("     STATE")

    play(small_farm(), scene)


def test_the_mouse():
    async def scene(stage, pilot):
        await pilot.click(FleetTable, offset=(25, 0))
        assert stage.sorts == ["label"]
        second = stage.view.keys[1]
        await pilot.click(FleetTable, offset=(25, 2))
        assert (stage.table.cursor, stage.table.marks) == (second, set())
        await pilot.click(FleetTable, offset=(1, 2))
        assert stage.table.marks == {second}
        await pilot.click(FleetTable, offset=(25, 23))
        assert stage.table.cursor == second

    play(small_farm(), scene)
