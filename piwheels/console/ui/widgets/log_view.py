"""A log of any length, painted line by line: cursor, search, wrapping, following."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar, Final

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from piwheels.console.model.logtext import Grade, Line, LogText, find_cause, hits, places
from piwheels.core.words import duration_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.style import Style
    from textual import events
    from textual.binding import BindingType

_STYLES: Final = {
    Grade.WARNING: "log--warning",
    Grade.ERROR: "log--error",
    Grade.GAP: "log--gap",
}
#: The number of cells that a key scrolls sideways.
_SIDE = 20


@lru_cache(maxsize=256)
def _chopped(text: str, width: int) -> list[str]:
    """Return *text* in rows of *width* cells."""
    return chop_cells(text, width) or [""]


def _height(text: str, width: int) -> int:
    if text.isascii():
        return -(-len(text) // width) or 1
    return len(_chopped(text, width))


def _row(text: str, width: int, number: int) -> str:
    """Return the row *number* of *text*, wrapped to *width* cells."""
    if text.isascii():
        return text[number * width : (number + 1) * width]
    return _chopped(text, width)[number]


def _cells(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


class LogView(ScrollView, can_focus=True):
    """Shows the lines of a :class:`LogText`; :meth:`grown` reports new ones."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "log--gutter",
        "log--cursor",
        "log--hit",
        "log--cause",
        *_STYLES.values(),
    }
    DEFAULT_CSS = """
    LogView {
        overflow-y: scroll;
        scrollbar-size: 0 1;
        & > .log--gutter { text-style: dim; }
        & > .log--warning { color: $text-warning; }
        & > .log--error { color: $text-error; text-style: bold; }
        & > .log--gap { text-style: dim italic; }
        & > .log--hit { text-style: reverse; }
        & > .log--cause { background: $warning 30%; text-style: bold underline; }
        & > .log--cursor { background: $panel; text-style: bold; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup,ctrl+u", "page(-1)", "page up", show=False),
        Binding("pagedown,ctrl+d", "page(1)", "page down", show=False),
        Binding("left,h", "side(-1)", "scroll left", show=False),
        Binding("right", "side(1)", "scroll right", show=False),
        Binding("home,g", "top", "top", show=False, id="log.top"),
        Binding("end,G", "bottom", "bottom", show=False, id="log.end"),
        Binding("F", "follow", "follow", id="log.follow", tooltip="follow the end, or stay"),
        Binding("n", "hit(1)", "next", id="log.next", tooltip="the next match"),
        Binding("N", "hit(-1)", "the previous match", show=False, id="log.previous"),
        Binding("e", "error(1)", "next error", id="log.error", tooltip="the next error"),
        Binding("E", "error(-1)", "the previous error", show=False, id="log.error-before"),
        Binding("c", "cause", "cause", id="log.cause", tooltip="the line that says why it failed"),
        Binding(
            "ampersand",
            "narrow",
            "only matches",
            id="log.narrow",
            tooltip="only lines that match, or all",
        ),
        Binding("w", "wrap", "wrap", id="log.wrap", tooltip="wrap long lines, or cut them"),
        Binding("t", "times", "time", id="log.times", tooltip="show or hide times"),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the key to the cause only where one is known."""
        return action != "cause" or bool(self._causes)

    class Changed(Message):
        """The cursor, the search or the layout changed."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.log_text = LogText()
        self.follows = False
        self.wraps = False
        self.shows_times = True
        #: The search, and the numbers of the lines that match.
        self.needle = ""
        self.found: list[int] = []
        #: The decisive line of a failed build (``""``: there is none).
        self.cause = ""
        #: Whether only these lines are shown.
        self.narrowed = False
        #: The number of the line at the cursor.
        self.cursor = 0
        #: The symbol before the number of states that a line hides.
        self.folds = "↻"
        #: The symbol before the line at the cursor.
        self.mark = "▌"
        #: The symbol before the lines that say why a build failed.
        self.points = "»"
        self._errors: list[int] = []
        self._causes: list[int] = []
        self._widest = 0
        #: The numbers of the lines that are shown, and the rows on which each begins, and the end.
        self._shown: Sequence[int] = range(0)
        self._tops: Sequence[int] = range(1)
        #: The width of the numbers and times, and of wrapped lines.
        self._gutter = 0
        self._room = 0

    # Contents ----------------------------------------------------------------------------

    def show(self, log_text: LogText) -> None:
        """Show another log; the cursor keeps its offset."""
        offset = self.line.start if self.line else 0
        self.log_text = log_text
        self._widest = 0
        self.grown(0)
        if not self.follows:
            self.go_to(bisect_right(log_text.lines, offset, key=lambda line: line.start) - 1)

    def grown(self, first: int) -> None:
        """Show the lines from number *first* on, which are new or different."""
        lines = self.log_text.lines
        self._widest = max(
            self._widest, max((_cells(self._text(line)) for line in lines[first:]), default=0)
        )
        for numbers in (self.found, self._errors, self._causes):
            del numbers[bisect_left(numbers, first) :]
        if self.needle:
            self.found += hits(lines, self.needle, first)
        self._errors += (n for n in range(first, len(lines)) if lines[n].grade is Grade.ERROR)
        self._causes += find_cause(lines, self.cause, first)
        self._lay_out(first)

    def _text(self, line: Line) -> str:
        return f"{line.text}  {self.folds}{line.folds:,}" if line.folds else line.text

    def _lay_out(self, first: int = 0) -> None:
        """Find the row of each line from number *first* on, and repaint."""
        count = len(self.log_text.lines)
        self._gutter = self._digits + 2 + (10 if self._has_times else 0)
        room = max(10, self.scrollable_content_region.width - self._gutter)
        if room != self._room:
            self._room, first = room, 0
        self._shown = self.found if self.narrowed else range(count)
        if self.wraps:
            known = bisect_left(self._shown, first)
            begin = self._tops[known] if known else 0
            lines = self.log_text.lines
            heights = (_height(self._text(lines[n]), room) for n in self._shown[known:])
            self._tops = [*self._tops[:known], *accumulate(heights, initial=begin)]
        else:
            self._tops = range(len(self._shown) + 1)
        across = self.scrollable_content_region.width if self.wraps else self._gutter + self._widest
        size = Size(across, self._tops[-1])
        if size != self.virtual_size:
            self.virtual_size = size
        self.cursor = max(0, min(self.cursor, count - 1))
        if self.follows:
            self.cursor = max(0, count - 1)
            self.scroll_to(y=self._tops[-1], animate=False, immediate=True)
        self.refresh()

    def on_resize(self) -> None:
        """Wrap for the new width; stay at the line that is at the top."""
        top = self._place_of_row(self.scroll_offset.y)
        self._lay_out()
        if self.wraps and not self.follows and top < len(self._shown):
            self.scroll_to(y=self._tops[top], animate=False, immediate=True)

    def explain(self, cause: str) -> None:
        """Highlight the lines that contain *cause*."""
        if cause != self.cause:
            self.cause = cause
            self._causes = list(find_cause(self.log_text.lines, cause))
            self.refresh()

    def search(self, needle: str) -> None:
        """Search for *needle* (``""``: no longer), and go to the first hit from the cursor on."""
        self.needle = needle
        self.found = list(hits(self.log_text.lines, needle)) if needle else []
        self.narrowed = self.narrowed and bool(needle)
        self._lay_out()
        place = bisect_left(self.found, self.cursor)
        if self.found:
            self.go_to(self.found[place % len(self.found)])
            self._show_hit()
        self.post_message(self.Changed())

    def _show_hit(self) -> None:
        """Scroll to the side as far as the first hit in the cursor's line wants it."""
        text = self._text(self.log_text.lines[self.cursor])
        place = next(places(text, self.needle), 0)
        left, right = _cells(text[:place]), _cells(text[: place + len(self.needle)])
        if not self.wraps and not self.scroll_x <= left <= right <= self.scroll_x + self._room:
            x = 0 if right <= self._room else left - self._room // 2
            self.scroll_to(x=x, animate=False, immediate=True)

    @property
    def hidden(self) -> int:
        """How many lines are not shown."""
        return len(self.log_text.lines) - len(self._shown)

    @property
    def line(self) -> Line | None:
        """The line at the cursor."""
        lines = self.log_text.lines
        return lines[self.cursor] if self.cursor < len(lines) else None

    # How it is painted ------------------------------------------------------------------------

    @property
    def _has_times(self) -> bool:
        return self.shows_times and self.log_text.has_times

    @property
    def _digits(self) -> int:
        return max(5, len(str(len(self.log_text.lines))))

    def _place_of_row(self, row: int) -> int:
        """Return which of the lines shown is on the row."""
        return bisect_right(self._tops, row) - 1

    def render_line(self, y: int) -> Strip:
        """Paint the row in view at *y*."""
        base, width = self.rich_style, self.size.width
        row = self.scroll_offset.y + y
        place = self._place_of_row(row)
        if place >= len(self._shown):
            return Strip.blank(width, base)
        number = self._shown[place]
        line = self.log_text.lines[number]
        if number == self.cursor and self.has_focus:
            base += self._style("log--cursor")
        style = base + self._style(_STYLES[line.grade]) if line.grade in _STYLES else base
        if self._is_cause(number):
            style += self._style("log--cause")
        part = row - self._tops[place]
        gutter = Segment(self._gutter_text(number, line, part), base + self._style("log--gutter"))
        text = self._text(line)
        if self.wraps:
            body = Strip(self._painted(_row(text, self._room, part), line, style))
        else:
            # No more than two marks combine with a character: so much holds all that is in view.
            left, end = self.scroll_offset.x, self.scroll_offset.x + width
            text = text[left:end] if text.isascii() else text[: 3 * end]
            body = Strip(self._painted(text, line, style))
            if not text.isascii():
                body = body.crop(left, end)
        return Strip([gutter, *body]).crop_extend(0, width, base)

    def _is_cause(self, number: int) -> bool:
        place = bisect_left(self._causes, number)
        return place < len(self._causes) and self._causes[place] == number

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(name, partial=True)

    def _gutter_text(self, number: int, line: Line, part: int) -> str:
        if part:
            return " " * self._gutter
        at = self.log_text.time_of(line) if self._has_times else None
        time = "" if at is None else f"[{duration_text(at)}] "
        mark = self.points if self._is_cause(number) else " "
        if number == self.cursor and self.has_focus:
            mark = self.mark
        return f"{mark}{number + 1:>{self._digits}} {time}".ljust(self._gutter)

    def _painted(self, text: str, line: Line, style: Style) -> Iterable[Segment]:
        hit = style + self._style("log--hit")
        begin = 0
        for place in places(text, self.needle):
            yield Segment(text[begin:place], style)
            begin = place + len(self.needle)
            yield Segment(text[place:begin], hit)
        yield Segment(text[begin:], style)

    # How it is moved over ---------------------------------------------------------------------

    def go_to(self, number: int, *, centre: bool = True) -> None:
        """Put the cursor on a line, and follow the end no longer."""
        if not self._shown:
            return
        place = max(0, min(bisect_left(self._shown, number), len(self._shown) - 1))
        self.follows = False
        self.cursor = self._shown[place]
        top, end = self._tops[place], self._tops[place + 1]
        rows = self.scrollable_content_region.height
        if not self.scroll_offset.y <= top < self.scroll_offset.y + rows:
            if centre:
                y = top - rows // 2
            else:
                y = top if top < self.scroll_offset.y else min(top, end - rows)
            self.scroll_to(y=y, animate=False, immediate=True)
        self.refresh()
        self.post_message(self.Changed())

    def _go_by(self, by: int) -> None:
        place = max(0, min(bisect_left(self._shown, self.cursor) + by, len(self._shown) - 1))
        if self._shown:
            self.go_to(self._shown[place], centre=False)

    def _go_along(self, numbers: Sequence[int], step: int) -> bool:
        """Go to the next of *numbers* in the direction of *step*; after the last, to the first."""
        shown = sorted({*numbers} & {*self._shown}) if self.narrowed else numbers
        if not shown:
            return False
        place = (
            bisect_right(shown, self.cursor) if step > 0 else bisect_left(shown, self.cursor) - 1
        )
        self.go_to(shown[place % len(shown)])
        return True

    def action_move(self, by: int) -> None:
        """Move the cursor *by* so many lines."""
        self._go_by(by)

    def action_page(self, by: int) -> None:
        """Move a page of lines down or up."""
        rows = max(1, self.scrollable_content_region.height - 1)
        place = self._place_of_row(self._row_of_cursor() + by * rows)
        if self._shown:
            place = max(0, min(place, len(self._shown) - 1))
            self.scroll_relative(y=by * rows, animate=False, immediate=True)
            self.go_to(self._shown[place], centre=False)

    def _row_of_cursor(self) -> int:
        return self._tops[min(bisect_left(self._shown, self.cursor), len(self._tops) - 1)]

    def action_side(self, by: int) -> None:
        """Scroll to the side."""
        self.scroll_relative(x=by * _SIDE, animate=False, immediate=True)

    def action_top(self) -> None:
        """Go to the first line."""
        self.go_to(0, centre=False)

    def action_bottom(self) -> None:
        """Go to the last line."""
        self.go_to(len(self.log_text.lines), centre=False)

    def action_follow(self) -> None:
        """Follow the end, or stop that."""
        self.follows = not self.follows
        self._lay_out()
        self.post_message(self.Changed())

    def action_hit(self, step: int) -> None:
        """Go to the next match, or the previous one."""
        if self._go_along(self.found, step):
            self._show_hit()
        else:
            self.app.bell()

    def action_error(self, step: int) -> None:
        """Go to the next error, or the previous one."""
        if not self._go_along(self._errors, step):
            self.app.bell()

    def action_cause(self) -> None:
        """Go to the next line that says why the build failed."""
        self._go_along(self._causes, 1)

    def action_narrow(self) -> None:
        """Show only lines that match, or all."""
        self.narrowed = bool(self.needle) and not self.narrowed
        self._change_layout()

    def action_wrap(self) -> None:
        """Wrap long lines, or cut them."""
        self.wraps = not self.wraps
        self.scroll_to(x=0, animate=False, immediate=True)
        self._change_layout()

    def action_times(self) -> None:
        """Show or hide the times of lines."""
        self.shows_times = not self.shows_times
        self._change_layout()

    def _change_layout(self) -> None:
        follows = self.follows
        self._lay_out()
        if not follows:
            self.go_to(self.cursor)
        self.post_message(self.Changed())

    def on_mouse_scroll_up(self) -> None:
        """Stop following: somebody reads."""
        self.follows = False
        self.post_message(self.Changed())

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the line that was clicked."""
        offset = event.get_content_offset(self)
        if offset is not None:
            place = self._place_of_row(self.scroll_offset.y + offset.y)
            if place < len(self._shown):
                self.go_to(self._shown[place], centre=False)
