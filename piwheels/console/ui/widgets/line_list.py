"""A table with a cursor, painted line by line: journal, queue, builds, stats.

Only the items in view are painted. The cursor follows an item, not a place, and the view stays put
while items are added above it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar, cast

from rich.segment import Segment
from textual.app import App
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from piwheels.console.ui.format import fit
from piwheels.console.ui.glyphs import STATE_SYMBOLS
from piwheels.console.ui.host import Hosted

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from rich.style import Style
    from textual import events
    from textual.binding import BindingType
    from textual.widget import Widget

T = TypeVar("T")
#: The component classes that the application holds for all widgets: tones, and states of slaves.
#: One set in each screen or widget would make every change of styles many times slower.
COMPONENTS: Final = frozenset(
    {
        "tone--dim",
        "tone--head",
        "tone--bar",
        "tone--accent",
        "tone--good",
        "tone--warn",
        "tone--bad",
        "frame--key",
        "frame--name",
        *(mark.style for mark in STATE_SYMBOLS.values()),
    }
)
#: A text, or a text and its component class.
Cell = str | tuple[str, str]


def style_of(widget: Widget, name: str) -> Style:
    """Return the style of a component class of *widget* or of the application."""
    if name in widget.COMPONENT_CLASSES:
        return widget.get_component_rich_style(name, partial=True)
    return cast("TonedApp", widget.app).tone(name)


class TonedApp(App[None], inherit_bindings=False):
    """An application that holds the styles of :data:`COMPONENTS`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*COMPONENTS}

    def __init__(self) -> None:
        self._tones: dict[str, Style] = {}
        super().__init__()

    def notify_style_update(self) -> None:
        """Forget the styles of another theme."""
        self._tones.clear()
        super().notify_style_update()

    def tone(self, name: str) -> Style:
        """Return the style of a component class."""
        if name not in self._tones:
            self._tones[name] = self.get_component_styles(name).partial_rich_style
        return self._tones[name]


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column: its text for an item, and its width (0: the rest of the line).

    It is hidden if the table is narrower than *least*.
    """

    name: str
    width: int
    show: Callable[[T], Cell]
    right: bool = False
    least: int = 0


class LineList(Hosted, ScrollView, Generic[T], can_focus=True):
    """Shows items in columns; *key* identifies an item."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"lines--cursor"}
    SCOPED_CSS = False
    DEFAULT_CSS = """
    LineList {
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        border-title-color: $foreground;
    }
    LineList:focus > .lines--cursor { background: $panel; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup,ctrl+u", "page(-1)", "page up", show=False),
        Binding("pagedown,ctrl+d", "page(1)", "page down", show=False),
        Binding("home,g", "top", "top", show=False),
        Binding("end,G", "bottom", "bottom", show=False),
        Binding("enter", "open", "open", show=False),
    ]

    class Moved(Message):
        """The operator moved the cursor."""

        def __init__(self, source: LineList[Any]) -> None:
            super().__init__()
            self.source = source

        @property
        def control(self) -> LineList[Any]:
            """The list that sends it."""
            return self.source

    class Opened(Moved):
        """The operator opened the item at the cursor, by enter or a second click."""

    def __init__(
        self,
        columns: Sequence[Column[T]],
        key: Callable[[T], Hashable],
        *,
        empty: str = "",
        id: str | None = None,  # noqa: A002 (Textual's name)
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._columns = columns
        #: The height of the header: 0 if no column has a name.
        self._head = int(any(column.name for column in columns))
        self._key = key
        self._empty = empty
        self._items: Sequence[T] = ()
        self._cursor: Hashable | None = None
        self._index = 0

    # Contents ----------------------------------------------------------------------------

    def show(self, items: Sequence[T], *, follow: bool = False) -> None:
        """Show *items*; the cursor stays on its item, or at the top with *follow*."""
        before, self._items = self._index, items
        found = None if follow else self._place(self._cursor)
        self._index = max(0, min(before, len(items) - 1)) if found is None else found
        if follow:
            self._index = 0
        self._cursor = self._key(items[self._index]) if items else None
        size = Size(self.size.width, max(1, len(items)) + self._head)
        if size != self.virtual_size:
            self.virtual_size = size
        if follow:
            self.scroll_to(y=0, animate=False)
        elif found is not None and found != before:
            self.scroll_to(y=self.scroll_y + found - before, animate=False)
        self.refresh()

    def _place(self, key: Hashable | None) -> int | None:
        here = self._index
        if here < len(self._items) and self._key(self._items[here]) == key:
            return here
        found = (place for place, item in enumerate(self._items) if self._key(item) == key)
        return next(found, None)

    @property
    def item(self) -> T | None:
        """The item at the cursor."""
        return self._items[self._index] if self._index < len(self._items) else None

    @property
    def at_top(self) -> bool:
        """Whether the cursor is on the first item."""
        return self._index == 0

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return all columns' names, and all items as rows of text."""
        rows = [[_text(column.show(item)) for column in self._columns] for item in self._items]
        return [column.name for column in self._columns], rows

    # Painting ------------------------------------------------------------------------

    def _style(self, name: str) -> Style:
        return style_of(self, name)

    def render_line(self, y: int) -> Strip:
        """Paint the header, or the item in view at line *y*."""
        base, width = self.rich_style, self.size.width
        columns = self._fitting(width)
        if y < self._head:
            header = base + self._style("tone--head")
            cells: list[Cell] = [column.name for column in columns]
            return self._paint(columns, cells, header, " ", width)
        index = self.scroll_offset.y + y - self._head
        if index >= len(self._items):
            text = self._empty if index == 0 else ""
            return Strip([Segment(fit(" " + text, width), base + self._style("tone--dim"))])
        item = self._items[index]
        mark = " "
        if index == self._index and self.has_focus:
            mark = self.console.symbol("▌")
            base += self._style("lines--cursor")
        return self._paint(columns, [column.show(item) for column in columns], base, mark, width)

    def _fitting(self, width: int) -> list[Column[T]]:
        return [column for column in self._columns if column.least <= width]

    def _paint(
        self, columns: list[Column[T]], cells: list[Cell], base: Style, mark: str, width: int
    ) -> Strip:
        rest = width - 1 - sum(column.width + 1 for column in columns if column.width)
        segments = [Segment(mark, base)]
        for column, cell in zip(columns, cells, strict=True):
            text, name = (cell, "") if isinstance(cell, str) else cell
            style = base + self._style(name) if name else base
            room = column.width or max(0, rest - 1)
            segments += (
                Segment(fit(text, room, "right" if column.right else "left"), style),
                Segment(" ", base),
            )
        return Strip(segments).crop_extend(0, width, base)

    # Keys and mouse ---------------------------------------------------------------------

    def _move_to(self, index: int) -> None:
        if not self._items:
            return
        self._index = max(0, min(index, len(self._items) - 1))
        self._cursor = self._key(self._items[self._index])
        rows = max(1, self.size.height - self._head)
        top = self.scroll_offset.y
        if self._index < top:
            self.scroll_to(y=self._index, animate=False)
        elif self._index >= top + rows:
            self.scroll_to(y=self._index - rows + 1, animate=False)
        self.refresh()
        self.post_message(self.Moved(self))

    def action_move(self, by: int) -> None:
        """Move the cursor *by* so many lines."""
        self._move_to(self._index + by)

    def action_page(self, by: int) -> None:
        """Move the cursor *by* so many pages."""
        self._move_to(self._index + by * max(1, self.size.height - 2))

    def action_top(self) -> None:
        """Move the cursor to the first item."""
        self._move_to(0)

    def action_bottom(self) -> None:
        """Move the cursor to the last item."""
        self._move_to(len(self._items) - 1)

    def action_open(self) -> None:
        """Open the item at the cursor."""
        if self.item is not None:
            self.post_message(self.Opened(self))

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the line that was clicked; a second click opens it."""
        offset = event.get_content_offset(self)
        if offset is None or offset.y < self._head:
            return
        index = self.scroll_offset.y + offset.y - self._head
        if index >= len(self._items):
            return
        again = index == self._index and event.chain > 1
        self._move_to(index)
        if again:
            self.action_open()


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell[0]
