"""The view of a log: any number of lines, of any length, shown literally."""

import asyncio
from datetime import timedelta

import pytest
from textual.app import App

from piwheels.console.model.logtext import LogText
from piwheels.console.text import MARK
from piwheels.console.ui.widgets.log_view import LogView


class Host(App):
    def __init__(self, text=""):
        super().__init__()
        self.view = LogView()
        self.log_text = LogText()
        self.log_text.add(0, text)

    def compose(self):
        yield self.view

    def on_mount(self):
        self.view.show(self.log_text)
        self.view.focus()

    def add(self, text, at=None):
        log = self.log_text
        self.view.grown(log.add(log.end, text, at))


def drive(script, text="", size=(60, 10)):
    """Run *script* (host, pilot) on a view of *text*; return what it returns."""

    async def run():
        host = Host(text)
        async with host.run_test(size=size) as pilot:
            await pilot.pause()
            return await script(host, pilot)

    return asyncio.run(run())


def shown(host):
    """Return the rows in view as text."""
    view = host.view
    return [view.render_line(y).text.rstrip().replace("▌", " ") for y in range(view.size.height)]


def numbered(count):
    return "".join(f"line {number}\n" for number in range(1, count + 1))


def test_lines_have_numbers():
    async def script(host, pilot):
        return shown(host)

    assert drive(script, "one\ntwo\n", (40, 3)) == ["     1 one", "     2 two", ""]


def test_the_cursor_is_visible_without_colours():
    async def script(host, pilot):
        await pilot.press("j")
        return [host.view.render_line(y).text.rstrip() for y in range(2)]

    assert drive(script, "one\ntwo\n", (40, 3)) == ["     1 one", "▌    2 two"]


def test_it_follows_the_end_until_the_cursor_moves():
    async def script(host, pilot):
        await pilot.press("F")
        host.add("the 21st\n")
        await pilot.pause()
        at_end = shown(host)
        await pilot.press("k", "k")
        host.add("the 22nd\n")
        await pilot.pause()
        stays = shown(host)
        await pilot.press("F")
        await pilot.pause()
        return at_end, stays, shown(host)

    at_end, stays, again = drive(script, numbered(20), (40, 5))
    assert at_end[-1] == "    21 the 21st"
    assert stays == at_end
    assert again[-1] == "    22 the 22nd"


def test_a_long_line_is_cut_or_wrapped():
    text = "".join(chr(65 + n % 26) for n in range(90_000)) + "\nnext\n"

    async def script(host, pilot):
        cut = shown(host)
        await pilot.press("right")
        await pilot.pause()
        aside = shown(host)
        await pilot.press("w")
        await pilot.pause()
        wrapped = shown(host)
        await pilot.press("G")
        await pilot.pause()
        return cut, aside, wrapped, shown(host)

    cut, aside, wrapped, end = drive(script, text, (60, 5))
    room = 60 - 7 - 1  # numbers, scroll bar
    assert cut[0] == "     1 " + text[: 60 - 7]
    assert aside[0] == "     1 " + text[20 : 20 + 60 - 7]
    assert [row[7:] for row in wrapped] == [text[n * room : (n + 1) * room] for n in range(5)]
    assert end[-1] == "     2 next"


def test_wide_letters_are_wrapped_by_cells():
    async def script(host, pilot):
        await pilot.press("w")
        await pilot.pause()
        return shown(host)

    rows = drive(script, "漢" * 30 + "\n", (48, 3))
    assert [row[7:] for row in rows] == ["漢" * 20, "漢" * 10, ""]


def test_wide_letters_are_cut_by_cells():
    async def script(host, pilot):
        await pilot.press("right")
        await pilot.pause()
        return [host.view.render_line(y) for y in range(2)]

    strip, after = drive(script, "漢" * 30 + "x\n" + "e\u0301" * 50, (40, 3))
    assert strip.cell_length == after.cell_length == 40
    assert strip.text[7:] == "漢" * 16 + " "
    assert after.text[7:] == "e\u0301" * 30 + "   "


def test_a_search_cycles_and_can_hide_other_lines():
    async def script(host, pilot):
        view = host.view
        view.search("line 1")
        found = [view.cursor]
        for key in ("n", "n", "N", "N", "N"):
            await pilot.press(key)
            found.append(view.cursor)
        await pilot.press("ampersand")
        await pilot.pause()
        narrowed, hidden = shown(host), view.hidden
        host.add("line 13\nline 20\n")
        await pilot.pause()
        more, count = shown(host), len(view.found)
        view.search("")
        await pilot.pause()
        return found, narrowed, hidden, more, count, len(shown(host)), view.hidden

    found, narrowed, hidden, more, count, rows, none_hidden = drive(script, numbered(11), (40, 8))
    assert found == [0, 9, 10, 9, 0, 10]
    assert narrowed[:4] == ["     1 line 1", "    10 line 10", "    11 line 11", ""]
    assert hidden == 8
    assert more[:5] == [*narrowed[:3], "    12 line 13", ""]
    assert (count, rows, none_hidden) == (4, 8, 0)


def test_a_hit_beyond_the_edge_is_scrolled_into_view():
    async def script(host, pilot):
        host.view.search("needle")
        await pilot.pause()
        aside = shown(host)[0]
        await pilot.press("n")
        await pilot.pause()
        return aside, shown(host)[1]

    aside, back = drive(script, "x" * 500 + "needle" + "y" * 500 + "\na needle\n", (60, 3))
    assert "needle" in aside
    assert back == "     2 a needle"


def test_keys_move_between_errors():
    async def script(host, pilot):
        cursors = []
        for key in ("e", "e", "e", "E"):
            await pilot.press(key)
            cursors.append(host.view.cursor)
        return cursors

    text = numbered(30) + "x.c:1: error: no\n" + numbered(30) + "ERROR: failed\n"
    assert drive(script, text) == [30, 61, 30, 61]


def test_times_are_shown_if_known_and_enabled():
    async def script(host, pilot):
        host.add("two\n", timedelta(minutes=2))
        await pilot.pause()
        both = shown(host)
        await pilot.press("t")
        await pilot.pause()
        return both, shown(host)

    both, without = drive(script, "one\n", (40, 2))
    assert both == ["     1           one", "     2 [0:02:00] two"]
    assert without == ["     1 one", "     2 two"]


def test_progress_is_one_line_with_a_count():
    async def script(host, pilot):
        return shown(host)

    assert drive(script, "10%\r20%\r30%\n", (40, 1)) == ["     1 30%  ↻2"]


def test_hostile_output_is_shown_literally():
    text = "[red]a[/red]\x1b[2J\x1b]0;title\x07b\0\u202e\u05d0[link=x]\x9d\r\n" + "\x1b[" * 30

    async def script(host, pilot):
        host.view.search("[red]")
        await pilot.press("w")
        await pilot.pause()
        painted = [segment for y in range(4) for segment in host.view.render_line(y)]
        return shown(host), painted

    rows, painted = drive(script, text, (50, 4))
    assert rows[0] == f"     1 [red]a[/red]b{MARK}{MARK}{MARK}[link=x]{MARK}"
    assert all(segment.control is None for segment in painted)
    assert not set("".join(segment.text for segment in painted)) & set("\x1b\0\u202e\u05d0\x9d\r")


@pytest.mark.parametrize("keys", [(), ("w",), ("F",), ("w", "F")])
def test_a_log_in_parts_looks_like_the_whole_log(keys):
    text = ("x" * 70 + "\n" + "y\rzz\r\n" + "漢" * 40 + "\nshort\n") * 5

    async def whole(host, pilot):
        await pilot.press(*keys, "j")
        await pilot.pause()
        return host.view.virtual_size

    async def parts(host, pilot):
        await pilot.press(*keys)
        for start in range(0, len(text), 7):
            host.add(text[start : start + 7])
        await pilot.press("j")
        await pilot.pause()
        return host.view.virtual_size

    assert drive(parts) == drive(whole, text)


def test_search_and_movement_in_a_large_log():
    text = numbered(200_000)

    async def script(host, pilot):
        for key in ("G", "w", "g", "G", "pageup", "w"):
            await pilot.press(key)
        await pilot.pause()
        host.view.search("line 77777")
        return host.view.cursor

    cursor = drive(script, text)
    assert cursor == 77_776


def test_the_cursor_keeps_its_offset_in_another_log():
    async def script(host, pilot):
        await pilot.press("G")
        stored = LogText()
        stored.add(0, "before\n" * 50 + numbered(20))
        missed = len("before\n" * 50)
        host.log_text = LogText()
        host.log_text.add(missed, numbered(20))
        host.view.show(host.log_text)
        await pilot.press("G", "k", "k")
        line = host.view.line.text
        host.view.show(stored)
        return line, host.view.line.text, host.view.cursor

    line, after, cursor = drive(script, numbered(20))
    assert line == after == "line 18"
    assert cursor == 67
