"""The fleet table: one row per slave, and one per board of several, painted line by line.

Only rows in view that have changed are painted: a row's strip is cached until something that it
shows changes, and each second repaints the TIME column only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from rich.segment import Segment
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from piwheels.console.model.fleet_view import SORTS, BoardKey, Key, View
from piwheels.console.model.query import Query
from piwheels.console.ui.format import fit
from piwheels.console.ui.widgets.fleet_columns import LEAD, columns
from piwheels.console.ui.widgets.fleet_painter import Painter, Place
from piwheels.console.ui.widgets.line_list import style_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rich.style import Style
    from textual import events
    from textual.binding import BindingType

    from piwheels.console.ui.host import Host

#: The number of cells that a key scrolls sideways.
_SIDEWAYS: Final = 8


class _Painted(NamedTuple):
    """A row's strip, and the values that it depends on."""

    stamp: tuple[Any, ...]
    strip: Strip


class FleetTable(ScrollView, can_focus=True):
    """Shows the rows of a :class:`View`. *cursor* and *marks* are keys, never places."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "fleet--cursor",
        "fleet--marked",
        "fleet--hit",
        "fleet--gone",
        "fleet--group",
    }
    SCOPED_CSS = False
    ALLOW_SELECT = False
    DEFAULT_CSS = """
    FleetTable { height: 1fr; overflow-y: scroll; scrollbar-size: 0 1; }
    FleetTable > .fleet--marked { text-style: bold; }
    FleetTable > .fleet--hit { text-style: underline; }
    FleetTable > .fleet--gone { text-style: dim strike; }
    FleetTable > .fleet--group { text-style: bold; }
    FleetTable > .fleet--cursor { background: $surface; }
    FleetTable:focus > .fleet--cursor { background: $panel; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False, id="fleet.up"),
        Binding("down,j", "move(1)", "down", show=False, id="fleet.down"),
        Binding("pageup,ctrl+u", "page(-1)", "page up", show=False, id="fleet.page-up"),
        Binding("pagedown,ctrl+d", "page(1)", "page down", show=False, id="fleet.page-down"),
        Binding("home,g", "top", "top", show=False, id="fleet.top"),
        Binding("end,G", "bottom", "bottom", show=False, id="fleet.bottom"),
        Binding("left", "sideways(-1)", "scroll left", show=False, id="fleet.left"),
        Binding("right", "sideways(1)", "scroll right", show=False, id="fleet.right"),
        Binding("space", "mark", "mark", id="fleet.mark", tooltip="mark or unmark"),
        Binding(
            "V,ctrl+@",
            "mark_range",
            "range",
            id="fleet.mark-range",
            tooltip="mark from the last mark to here",
        ),
        Binding(
            "asterisk", "mark_all", "all", id="fleet.mark-all", tooltip="mark all that are shown"
        ),
        Binding("u", "unmark", "clear marks", show=False, id="fleet.unmark"),
        Binding("b", "fold", "fold", id="fleet.fold", tooltip="hide or show the lanes of a board"),
        Binding(
            "B", "fold_all", "hide or show the lanes of all boards", show=False, id="fleet.fold-all"
        ),
        Binding(
            "enter", "open", "open", id="fleet.open", tooltip="open the slave, or unfold the group"
        ),
    ]

    class Moved(Message):
        """The cursor moved."""

    class Marked(Message):
        """The marks changed."""

    class Opened(Message):
        """The operator opened the row at the cursor."""

        def __init__(self, key: Key) -> None:
            super().__init__()
            self.key = key

    class Folded(Message):
        """The operator folds boards, or unfolds them."""

        def __init__(self, keys: set[BoardKey]) -> None:
            super().__init__()
            self.keys = keys

    class SortWanted(Message):
        """The header of a column was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, view: View, console: Host) -> None:
        super().__init__()
        self.view = view
        self._host = console
        self.marks: set[int] = set()
        self.highlight = Query()
        #: The text for a table without rows.
        self.empty = ""
        self._last_mark: Key | None = None
        self._cursor: Key | None = None
        self._places: dict[Key, int] = {}
        self._painted: dict[Key, _Painted] = {}
        self._painter = Painter(console, self._style)
        self._shape: tuple[int, int] = (0, 0)

    # Contents ----------------------------------------------------------------------------

    def show_rows(self, *, follow: bool = True) -> None:
        """Show the view's rows, which changed or moved; the cursor stays on its row.

        Without *follow* it keeps its place. If it is out of view, nothing scrolls.
        """
        place, keys = self._place, self.view.keys
        near = self._in_view(place)
        self._places = {key: at for at, key in enumerate(keys)}
        if not follow or self._cursor not in self._places:
            self._cursor = keys[min(place, len(keys) - 1)] if keys else None
        self._painted = {key: one for key, one in self._painted.items() if key in self._places}
        self._fit()
        if near:
            self._into_view()
        self.refresh()
        self.post_message(self.Moved())

    def refresh_rows(self, slaves: Collection[int]) -> None:
        """Repaint those of *slaves* that are in view."""
        keys: set[Key] = {*slaves}
        keys.update(filter(None, map(self.view.board_of.get, slaves)))
        for key in keys:
            place = self._places.get(key)
            if place is not None and self._in_view(place):
                self.refresh_line(place + 1)

    def refresh_times(self) -> None:
        """Repaint the TIME column."""
        x = LEAD - self.scroll_offset.x
        for column in self._painter.columns:
            if column.name == "TIME" and not self.view.frozen:
                self.refresh(Region(x, 1, column.width, self.size.height - 1))
            x += column.width + 1

    def refresh_all(self) -> None:
        """Repaint everything."""
        self._painted.clear()
        self.refresh()

    def on_resize(self) -> None:
        """Choose the columns that fit."""
        self._fit()
        self._into_view()

    def notify_style_update(self) -> None:
        """Drop strips that were painted in another theme."""
        self._painted.clear()
        super().notify_style_update()

    def _fit(self) -> None:
        longest = max((key for key in self._places if isinstance(key, int)), default=0)
        shape = self.scrollable_content_region.width, len(str(longest))
        if shape != self._shape and shape[0]:
            self._shape = shape
            console = self._host
            self._painter.columns = columns(*shape, console.symbol, ascii_only=console.ascii)
            self._painted.clear()
        width = LEAD - 1 + sum(column.width + 1 for column in self._painter.columns)
        size = Size(max(width, shape[0]), len(self._places) + 1)
        if size != self.virtual_size:
            self.virtual_size = size

    # Painting ------------------------------------------------------------------------

    def _style(self, name: str) -> Style:
        return style_of(self, name)

    def render_line(self, y: int) -> Strip:
        """Paint the header, or the row in view at line *y*."""
        x, width, base = self.scroll_offset.x, self.size.width, self.rich_style
        place = self.scroll_offset.y + y - 1
        if y == 0:
            strip = self._painter.header(base, self.view.sort, reverse=self.view.reverse)
        elif place < len(self.view.keys):
            strip = self._line(self.view.keys[place])
        else:
            text = self.empty if y == 1 else ""
            dim = base + self._style("tone--dim")
            return Strip([Segment(fit(" " * LEAD + text, width), dim)])
        return strip.crop_extend(x, x + width, base)

    def _line(self, key: Key) -> Strip:
        cursor = key == self._cursor
        focus = cursor and self.has_focus
        if isinstance(key, int):
            row = self.view.row(key)
            hit = bool(self.highlight.tests) and self.highlight.matches(row)
            place = Place(cursor, key in self.marks, hit)
            second = int(row.elapsed.total_seconds())
            command = row.command and (row.command.verb, row.command.phase)
            values = row.slave.version, second, row.state, row.gone, row.branch
            stamp = *values, command, place, focus
            return self._kept(key, stamp, lambda base: self._painter.slave(row, base, place))
        if isinstance(key, BoardKey):
            return self._board(key, focus)
        group, unfolded = self.view.groups[key], key in self.view.open
        place = Place(cursor, self.marks.issuperset(group.members))
        return self._kept(
            key,
            (group, unfolded, place, focus),
            lambda base: self._painter.group(group, base, place, unfolded=unfolded),
        )

    def _board(self, key: BoardKey, focus: bool) -> Strip:
        board = self.view.board(key)
        place = Place(key == self._cursor, self.marks.issuperset(board.lanes))
        command = board.command and (board.command.verb, board.command.phase)
        values = board.first.slave.version, board.lanes, board.counts, board.alerts, board.folded
        stamp = *values, command, place, focus
        return self._kept(key, stamp, lambda base: self._painter.board(board, base, place))

    def _kept(self, key: Key, stamp: tuple[Any, ...], paint: Callable[[Style], Strip]) -> Strip:
        known = self._painted.get(key)
        if known is None or known.stamp != stamp:
            known = self._painted[key] = _Painted(stamp, paint(self.rich_style))
        return known.strip

    # The cursor -------------------------------------------------------------------------------

    @property
    def cursor(self) -> Key | None:
        """The key of the row at the cursor."""
        return self._cursor

    def move_to(self, key: Key | None) -> None:
        """Put the cursor on a row, by its key."""
        if key not in self._places:
            return
        self.view.moved(self._host.now())
        before, self._cursor = self._cursor, key
        for each in (before, key):
            if each in self._places:
                self.refresh_line(self._places[each] + 1)
        self._into_view()
        self.post_message(self.Moved())

    @property
    def _place(self) -> int:
        return self._places.get(self._cursor, 0) if self._cursor is not None else 0

    def _in_view(self, place: int) -> bool:
        return 0 <= place - self.scroll_offset.y < self.size.height - 1

    def _into_view(self) -> None:
        place, rows = self._place, max(1, self.size.height - 1)
        if place < self.scroll_offset.y:
            self.scroll_to(y=place, animate=False)
        elif place >= self.scroll_offset.y + rows:
            self.scroll_to(y=place - rows + 1, animate=False)

    def _move_to_place(self, place: int) -> None:
        keys = self.view.keys
        if keys:
            self.move_to(keys[max(0, min(place, len(keys) - 1))])

    def action_move(self, by: int) -> None:
        """Move the cursor *by* so many rows."""
        self._move_to_place(self._place + by)

    def action_page(self, by: int) -> None:
        """Move the cursor *by* so many pages."""
        self._move_to_place(self._place + by * max(1, self.size.height - 2))

    def action_top(self) -> None:
        """Move the cursor to the first row."""
        self._move_to_place(0)

    def action_bottom(self) -> None:
        """Move the cursor to the last row."""
        self._move_to_place(len(self.view.keys) - 1)

    def action_sideways(self, by: int) -> None:
        """Scroll the columns."""
        self.scroll_to(x=self.scroll_offset.x + by * _SIDEWAYS, animate=False)

    def action_fold(self) -> None:
        """Hide the lanes of the board at the cursor, or show them again."""
        key = self.view.board_of.get(self._cursor, self._cursor)  # type: ignore[arg-type]
        if isinstance(key, BoardKey):
            self.move_to(key)
            self.post_message(self.Folded({key}))

    def action_fold_all(self) -> None:
        """Hide the lanes of all boards, or show them if all are hidden."""
        if self._cursor in self.view.board_of:
            self.move_to(self.view.board_of[self._cursor])
        boards = set(self.view.boards)
        hidden = boards <= self.view.folded
        self.post_message(self.Folded(boards if hidden else boards - self.view.folded))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to fold boards only where there are some."""
        return bool(self.view.boards) if action in ("fold", "fold_all") else True

    def action_open(self) -> None:
        """Tell the screen to open the row at the cursor."""
        if self._cursor is not None:
            self.post_message(self.Opened(self._cursor))

    # Marks ------------------------------------------------------------------------------------

    def action_mark(self) -> None:
        """Mark the row at the cursor, or remove its mark; move to the next."""
        if self._cursor is not None:
            self._toggle(self._cursor)
            self.action_move(1)

    def _toggle(self, key: Key) -> None:
        members = self.view.members(key)
        gone = self.marks.issuperset(members)
        self.set_marks(self.marks.difference(members) if gone else self.marks.union(members))
        self._last_mark = None if gone else key

    def action_mark_range(self) -> None:
        """Mark all rows from the last one marked to the cursor."""
        if self._cursor is None:
            return
        here = self._place
        there = self._places.get(self._last_mark, here) if self._last_mark is not None else here
        keys = self.view.keys[min(here, there) : max(here, there) + 1]
        self.set_marks(self.marks.union(*map(self.view.members, keys)))
        self._last_mark = self._cursor

    def action_mark_all(self) -> None:
        """Mark all rows that are shown."""
        self.set_marks(self.marks.union(self.view.shown))

    def action_unmark(self) -> None:
        """Remove all marks."""
        self._last_mark = None
        self.set_marks(set())

    def set_marks(self, marks: set[int]) -> None:
        """Replace the marks."""
        if marks != self.marks:
            self.marks = marks
            self.view.moved(self._host.now())
            self.refresh()
            self.post_message(self.Marked())

    # The mouse --------------------------------------------------------------------------------

    def on_mouse_scroll_down(self) -> None:
        """Keep rows in place while the operator scrolls."""
        self.view.moved(self._host.now())

    def on_mouse_scroll_up(self) -> None:
        """Keep rows in place while the operator scrolls."""
        self.view.moved(self._host.now())

    def on_click(self, event: events.Click) -> None:
        """Sort by the header clicked; go to the row clicked, mark it (at its left), open it."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        x, place = offset.x + self.scroll_offset.x, self.scroll_offset.y + offset.y - 1
        if offset.y == 0:
            self._click_header(x)
        elif place < len(self.view.keys):
            key = self.view.keys[place]
            again = key == self._cursor and event.chain > 1
            self.move_to(key)
            if x < LEAD - 2:
                self._toggle(key)
            elif again:
                self.action_open()

    def _click_header(self, x: int) -> None:
        end = LEAD
        for column in self._painter.columns:
            end += column.width + 1
            if x < end:
                if column.name.lower() in SORTS:
                    self.post_message(self.SortWanted(column.name.lower()))
                return
