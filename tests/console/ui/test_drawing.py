"""Drawings from numbers: curves, ratio bars, the scrubber; and lists of any length."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from piwheels.console.ui.cycle import next_choice
from piwheels.console.ui.screens.timetravel import scrubber
from piwheels.console.ui.widgets.line_list import Column, LineList, TonedApp
from piwheels.console.ui.widgets.plot import curve
from piwheels.console.ui.widgets.ratiobar import ratio_bar

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def test_the_first_choice_follows_the_last():
    assert [next_choice(each, "abc") for each in "abc"] == ["b", "c", "a"]


def test_a_curve_in_stars():
    assert curve([0, 1, 2, 3], 4, 4, ascii_only=True) == ["   *", "  **", " ** ", "**  "]


def test_a_curve_in_braille():
    assert curve([0, 0, 3, 3], 2, 1) == ["⣀⡏"]
    assert curve([5, 5], 3, 2) == ["   ", "⣀⣀⣀"]


numbers = st.floats(-1e9, 1e9)


@given(st.lists(numbers, max_size=120), st.integers(0, 40), st.integers(0, 12), st.booleans())
@example([0.0, sys.float_info.min / 2], 1, 1, False)  # a span that has no inverse
def test_any_curve_fits_its_size(values, width, height, ascii_only):
    lines = curve(values, width, height, ascii_only=ascii_only)
    assert [len(line) for line in lines] == [width] * height
    drawn = values and width and height
    assert bool("".join(lines).strip()) == bool(drawn)


def test_ratio_bar():
    shares = [("cp39", 1.0), ("cp311", 6.0), ("cp313", 3.0)]
    assert ratio_bar(shares, 31) == "┣━━┃━━━━━━cp311━━━━━━┃━cp313━━┫"
    assert ratio_bar(shares, 31, ascii_only=True) == "|--|------cp311------|-cp313--|"
    assert ratio_bar([("cp39", 0.0)], 31) == ""
    assert ratio_bar([], 31) == ""


names = st.text("abc1", max_size=9)


@given(st.lists(st.tuples(names, st.floats(0, 1e6)), max_size=9), st.integers(0, 60))
def test_any_ratio_bar_fits_its_width(shares, width):
    line = ratio_bar(shares, width)
    assert len(line) in (0, width)


@pytest.mark.parametrize(
    ("minutes", "line"),
    [(0, "├●──────┤"), (30, "├───●───┤"), (60, "├──────●┤"), (90, "├──────●┤")],
)
def test_the_scrubber_shows_the_position(minutes, line):
    times = {"begin": NOW, "end": NOW + timedelta(hours=1)}
    recording = SimpleNamespace(**times, position=NOW + timedelta(minutes=minutes))
    assert scrubber(recording, 9) == line


def test_an_empty_recording_has_a_scrubber():
    assert scrubber(SimpleNamespace(begin=NOW, end=NOW, position=NOW), 9) == "├●──────┤"


# Lists --------------------------------------------------------------------------------------------


class Lists(TonedApp):
    def __init__(self):
        super().__init__()
        columns = [Column("N", 5, str, right=True), Column("NAME", 0, "name {}".format)]
        self.list = LineList([*columns, Column("MORE", 4, str, least=99)], lambda n: n, empty="-")

    def compose(self):
        yield self.list

    def symbol(self, symbol):
        return symbol


def lines_of(app):
    size = app.list.size
    return [app.list.render_line(y).text.rstrip() for y in range(size.height)]


def run(story, size=(30, 8)):
    async def play():
        app = Lists()
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await story(app, pilot)

    asyncio.run(play())


def test_only_visible_items_are_painted():
    async def story(app, pilot):
        app.list.show(range(1_000_000))
        assert lines_of(app)[:3] == ["     N NAME", "▌    0 name 0", "     1 name 1"]
        await pilot.press("end")
        assert lines_of(app)[-1].endswith("name 999999")
        assert app.list.item == 999_999

    run(story)


def test_the_cursor_stays_on_its_item_while_others_are_inserted_above():
    async def story(app, pilot):
        app.list.show(range(100, 0, -1))
        await pilot.press(*["down"] * 20)
        before = lines_of(app)
        assert app.list.item == 80
        app.list.show(range(150, 0, -1))
        await pilot.pause()
        assert app.list.item == 80
        assert lines_of(app) == before, "what is looked at stays in place"
        app.list.show(range(150, 0, -1), follow=True)
        await pilot.pause()
        assert app.list.item == 150

    run(story)


def test_the_cursor_stays_near_a_removed_item():
    async def story(app, pilot):
        app.list.show(range(10))
        await pilot.press(*["down"] * 9)
        app.list.show(range(5))
        assert app.list.item == 4
        app.list.show([])
        assert app.list.item is None
        await pilot.press("down", "up", "end", "home", "pagedown", "enter")
        assert lines_of(app)[1] == " -"

    run(story)


def test_a_click_moves_the_cursor():
    async def story(app, pilot):
        app.list.show(range(10))
        await pilot.pause()
        await pilot.click(LineList, offset=(3, 4))
        assert app.list.item == 3
        await pilot.click(LineList, offset=(3, 0))
        assert app.list.item == 3, "the names of the columns are no item"

    run(story)


def test_columns_without_room_are_hidden():
    async def wide(app, pilot):
        app.list.show([7])
        assert "MORE" in lines_of(app)[0]
        assert app.list.table() == (["N", "NAME", "MORE"], [["7", "name 7", "7"]])

    async def narrow(app, pilot):
        app.list.show([7])
        assert "MORE" not in lines_of(app)[0]
        assert app.list.table()[1] == [["7", "name 7", "7"]]

    run(wide, (120, 8))
    run(narrow)
