"""The heat map: one cell per slave, in groups; only cells in view are painted."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from rich.segment import Segment
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from piwheels.console.model.heat import HOTTEST, WRONG, Metric, clusters, count_states, level
from piwheels.console.model.slave import State
from piwheels.console.ui.format import fit
from piwheels.console.ui.glyphs import STATE_SYMBOLS
from piwheels.console.ui.widgets.line_list import style_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from rich.style import Style
    from textual import events
    from textual.binding import BindingType

    from piwheels.console.model.farm import FarmModel
    from piwheels.console.model.heat import Group
    from piwheels.console.model.slave import Slave

#: A level's symbol, its stand-in in ASCII and its component class.
_LEVELS: Final = tuple(
    (glyph, plain, f"heat--{number}")
    for number, (glyph, plain) in enumerate(zip("▁▂▄▆█", ".:+*#", strict=True))
)
assert len(_LEVELS) == HOTTEST + 1  # noqa: S101
#: The width of the sums: all, some, or only the number of slaves. The largest is used that leaves
#: each group on a line, or else all lines in view.
_SUMS: Final = (26, 14, 6)
#: The states in the sequence of their sums.
_SUM_STATES: Final = (
    *WRONG,
    State.BUILD,
    State.PAUSE,
    *(state for state in State if state not in (*WRONG, State.BUILD, State.PAUSE)),
)


class Run(NamedTuple):
    """Cells from *start* to *end* of the group *group*, side by side from the column *x* on."""

    group: int
    start: int
    end: int
    x: int

    def place(self, x: int) -> int:
        """Return the place of the cell nearest to the column *x*."""
        return max(0, min(x - self.x, self.end - self.start - 1))


def lay_out(groups: Sequence[Group], room: int, first: int) -> list[list[Run]]:
    """Return the lines of a map with a group on each: *room* cells, from the column *first* on."""
    return [
        [Run(number, start, min(start + room, len(group.slaves)), first)]
        for number, group in enumerate(groups)
        for start in range(0, len(group.slaves), max(1, room))
    ]


def side_by_side(groups: Sequence[Group], width: int, blocks: int, first: int) -> list[list[Run]]:
    """Return the lines of a map with *blocks* whole groups on each, *width* columns apart."""
    runs = [
        Run(number, 0, len(group.slaves), first + number % blocks * width)
        for number, group in enumerate(groups)
    ]
    return [runs[start : start + blocks] for start in range(0, len(runs), blocks)]


class HeatMap(ScrollView, can_focus=True):
    """Shows groups of slaves; the cursor is on a slave, and stays on it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "heat--cursor",
        *(name for _, _, name in _LEVELS),
    }
    SCOPED_CSS = False
    DEFAULT_CSS = """
    HeatMap { overflow-x: hidden; scrollbar-size-vertical: 1; }
    .heat--0 { color: $primary-darken-2; }
    .heat--1 { color: $success; }
    .heat--2 { color: $warning-darken-1; }
    .heat--3 { color: $warning; }
    .heat--4 { color: $error; text-style: bold; }
    .heat--cursor { text-style: reverse bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-1)", "left", show=False),
        Binding("right,l", "move(1)", "right", show=False),
        Binding("up,k", "line(-1)", "up", show=False),
        Binding("down,j", "line(1)", "down", show=False),
        Binding("pageup,ctrl+u", "page(-1)", "page up", show=False),
        Binding("pagedown,ctrl+d", "page(1)", "page down", show=False),
        Binding("home,g", "end(0)", "first", show=False),
        Binding("end,G", "end(-1)", "last", show=False),
        Binding("enter", "open", "open", id="heat.open", tooltip="open the slave"),
    ]

    class Moved(Message):
        """The cursor moved."""

    class Opened(Message):
        """Enter was pressed on a slave."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.metric = Metric.STATE
        self.ascii_only = False
        self._farm: FarmModel
        self._now: datetime
        self._groups: Sequence[Group] = ()
        self._counts: list[Counter[State]] = []
        self._clusters: list[bool] = []
        self._lines: list[list[Run]] = []
        self._room = self._name_width = 1
        self._sums = 0
        #: The slave at the cursor, and where it is: its column and line.
        self._cursor: int | None = None
        self._at = (0, 0)

    # Contents ----------------------------------------------------------------------------

    def show(self, farm: FarmModel, groups: Sequence[Group], now: datetime) -> None:
        """Show *groups* of the slaves of *farm* as they are at *now*."""
        self._farm, self._groups = farm, groups
        self._counts = [count_states(group.slaves, now) for group in groups]
        self._clusters = clusters(self._counts)
        self.repaint(now)
        self._arrange()

    def repaint(self, now: datetime) -> None:
        """Paint the same slaves as they are at *now*."""
        self._now = now
        self.refresh()

    def on_resize(self) -> None:
        """Lay out the cells."""
        self._arrange()

    def _arrange(self) -> None:
        width, height = self.size
        if not self._groups or not width:
            self._lines = []
            return
        names = max(len(group.name) for group in self._groups)
        longest = max(len(group.slaves) for group in self._groups)
        self._name_width = min(names, max(6, width // 5))
        first = self._name_width + 2
        available = width - first
        whole = (sums for sums in _SUMS if longest <= available - sums)
        cut = (sums for sums in _SUMS if len(lay_out(self._groups, available - sums, 0)) <= height)
        sums = next(whole, None) or next(cut, _SUMS[-1])
        self._room = max(1, min(longest, available - sums))
        self._sums = available - self._room
        self._lines = lay_out(self._groups, self._room, first)
        block = first + longest + _SUMS[-1]
        if len(self._lines) > height and width // block > 1:
            self._sums, self._room = _SUMS[-1], longest
            self._lines = side_by_side(self._groups, block, width // block, first)
        self.virtual_size = Size(width, len(self._lines))
        self._find_cursor()

    def _find_cursor(self) -> None:
        for y, line in enumerate(self._lines):
            for run in line:
                cells = self._groups[run.group].slaves[run.start : run.end]
                for place, slave in enumerate(cells):
                    if slave.id == self._cursor:
                        self._at = (run.x + place, y)
                        return
        self._go(*self._at)

    @property
    def slave(self) -> Slave | None:
        """The slave at the cursor."""
        return self._slave_at(*self._at)

    def _slave_at(self, x: int, y: int) -> Slave | None:
        for run in self._lines[y] if y < len(self._lines) else ():
            if 0 <= x - run.x < run.end - run.start:
                return self._groups[run.group].slaves[run.start + x - run.x]
        return None

    # Painting ------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Paint the line in view at *y*: the group's name, its cells, its sums."""
        base, number = self.rich_style, self.scroll_offset.y + y
        if number >= len(self._lines):
            text = " no slaves yet" if number == 0 else ""
            return Strip([Segment(text, base)]).crop_extend(0, self.size.width, base)
        segments: list[Segment] = []
        for run in self._lines[number]:
            segments += self._paint_run(run, number, base)
        return Strip(segments).crop_extend(0, self.size.width, base)

    def _paint_run(self, run: Run, y: int, base: Style) -> Iterator[Segment]:
        group, first = self._groups[run.group], run.start == 0
        yield Segment(" " + fit(group.name if first else "", self._name_width) + " ", base)
        for x, slave in enumerate(group.slaves[run.start : run.end], run.x):
            glyph, name = self._cell_style(slave)
            style = base + self._style(name)
            if (x, y) == self._at and self.has_focus:
                style += self._style("heat--cursor")
            yield Segment(glyph, style)
        if first:
            yield Segment(" " * (self._room - run.end + run.start), base)
            yield from self._sums_of(run.group, base)

    def _style(self, name: str) -> Style:
        return style_of(self, name)

    def _cell_style(self, slave: Slave) -> tuple[str, str]:
        state = slave.state_at(self._now)
        if self.metric is Metric.STATE or state in WRONG:
            mark = STATE_SYMBOLS[state]
            return (mark.ascii if self.ascii_only else mark.glyph), mark.style
        heat = level(slave, self.metric, self._farm.elapsed(slave))
        if heat is None:
            return ("." if self.ascii_only else "·"), "tone--dim"
        glyph, plain, name = _LEVELS[heat]
        return (plain if self.ascii_only else glyph), name

    def _sums_of(self, number: int, base: Style) -> Iterator[Segment]:
        """Give how many there are, a cluster's symbol, and how many of each state."""
        counts = self._counts[number]
        parts = [(f"{counts.total():3,}", "")]
        if self._clusters[number]:
            parts.append(("!" if self.ascii_only else "▲", "tone--bad"))
        for state in _SUM_STATES:
            if counts[state]:
                mark = STATE_SYMBOLS[state]
                glyph = mark.ascii if self.ascii_only else mark.glyph
                parts.append((f"{counts[state]}{glyph}", mark.style))
        room = self._sums
        for text, name in parts:
            if len(text) >= room:
                break
            room -= len(text) + 1
            yield Segment(text, base + self._style(name) if name else base)
            yield Segment(" ", base)
        yield Segment(" " * room, base)

    # Keys and mouse ---------------------------------------------------------------------

    def _go(self, x: int, y: int) -> None:
        """Put the cursor on the cell that is nearest to a column and line."""
        if not self._lines:
            self._at, self._cursor = (0, 0), None
            return
        y = max(0, min(y, len(self._lines) - 1))
        run = min(self._lines[y], key=lambda run: abs(run.x + run.place(x) - x))
        self._at = (run.x + run.place(x), y)
        slave = self.slave
        self._cursor = slave.id if slave else None
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if y < top or y >= top + height:
            self.scroll_to(y=y if y < top else y - height + 1, animate=False)
        self.refresh()
        self.post_message(self.Moved())

    def action_move(self, by: int) -> None:
        """Move the cursor by a cell; from the end of a line to the next."""
        cells = [
            (run.x + place, y)
            for y in range(max(0, self._at[1] - 1), min(self._at[1] + 2, len(self._lines)))
            for run in self._lines[y]
            for place in range(run.end - run.start)
        ]
        if self._at in cells:
            self._go(*cells[max(0, min(cells.index(self._at) + by, len(cells) - 1))])

    def action_line(self, by: int) -> None:
        """Move the cursor by a line."""
        self._go(self._at[0], self._at[1] + by)

    def action_page(self, by: int) -> None:
        """Move the cursor by a page."""
        self._go(self._at[0], self._at[1] + by * max(1, self.size.height - 1))

    def action_end(self, line: int) -> None:
        """Move the cursor to the first slave (0) or the last (-1)."""
        self._go(0 if line == 0 else self.size.width, line % max(1, len(self._lines)))

    def action_open(self) -> None:
        """Open the slave at the cursor."""
        if self.slave is not None:
            self.post_message(self.Opened())

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the cell that was clicked; a second click opens it."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        x, y = offset.x, self.scroll_offset.y + offset.y
        if self._slave_at(x, y) is None:
            return
        again = (x, y) == self._at and event.chain > 1
        self._go(x, y)
        if again:
            self.action_open()
