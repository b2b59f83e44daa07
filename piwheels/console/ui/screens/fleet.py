"""The Fleet screen: one row per slave, and details of the one at the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding
from textual.content import Content

from piwheels.console.model.farm import Changes
from piwheels.console.model.fleet_view import SORTS, BoardKey, View
from piwheels.console.model.heat import Grouping
from piwheels.console.model.link import LinkState
from piwheels.console.model.query import Query, QueryError, parse
from piwheels.console.text import clean
from piwheels.console.ui.cycle import next_choice
from piwheels.console.ui.screens.base import FarmScreen
from piwheels.console.ui.widgets.fleet_columns import columns
from piwheels.console.ui.widgets.fleet_table import FleetTable
from piwheels.console.ui.widgets.panel import Panel
from piwheels.console.ui.widgets.peek import peek, peek_board, peek_group

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from textual import events
    from textual.app import ComposeResult
    from textual.binding import BindingType


#: The size from which the panel of details is shown.
_PEEK_WIDTH, _PEEK_HEIGHT = 120, 40
#: States of the link in which the table is incomplete: the cursor keeps its place.
_FILLING: Final = (LinkState.CONNECTING, LinkState.ATTACHING, LinkState.REPLAYING)
#: States in which the table may be out of date.
_STALE: Final = (LinkState.QUIET, LinkState.LOST)


class FleetScreen(FarmScreen):
    """The slaves: to browse, filter, mark and command."""

    title_in_tabs = "Fleet"
    AUTO_FOCUS = "FleetTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "sort", "sort", id="fleet.sort", tooltip="sort by the next column"),
        Binding("O", "reverse", "reverse the order", show=False, id="fleet.reverse"),
        Binding(
            "f",
            "freeze",
            "freeze",
            id="fleet.freeze",
            tooltip="freeze or update rows and values",
        ),
        Binding("z", "errors", "only slaves with alerts, or all", show=False, id="fleet.errors"),
        Binding("ampersand", "highlight", "highlight matches", show=False, id="fleet.highlight"),
        Binding("n", "hit(1)", "the next match", show=False, id="fleet.next-hit"),
        Binding("N", "hit(-1)", "the match before", show=False, id="fleet.previous-hit"),
        Binding("l", "log", "log", id="fleet.log", tooltip="the log of its build"),
        Binding(
            "escape",
            "back",
            "clear the filter, the groups, then the marks",
            show=False,
            id="fleet.back",
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._query = Query()
        self._errors = self._highlights = False
        self._started: datetime | None = None
        self._view: View | None = None
        self._table: FleetTable | None = None
        self._peek = Panel(id="peek")

    def compose_body(self) -> ComposeResult:
        """Yield the table and the panel."""
        yield self.table
        yield self._peek

    @property
    def view(self) -> View:
        """The rows of the table."""
        if self._view is None:
            self._view = View(self.session.command_of)
        return self._view

    @property
    def table(self) -> FleetTable:
        """The table."""
        # Not looked up: the screen is called before it has its widgets, and after it has lost them.
        if self._table is None:
            self._table = FleetTable(self.view, self.console)
        return self._table

    # What it shows ----------------------------------------------------------------------------

    def apply(self, changes: Changes) -> None:
        """Show changes in place; sort again when it is time."""
        table = self.table
        if self._restarted():
            changes.epoch = True
            table.set_marks(set())
        if self.view.update(self.session.farm, changes, self.console.now()):
            table.empty = self._why_empty()
            table.show_rows(follow=self.session.state not in _FILLING)
        else:
            table.refresh_rows(changes.slaves | changes.gone)
        self._show_peek()

    def _restarted(self) -> bool:
        """Whether the master was restarted, perhaps while the screen was hidden."""
        info = self.session.farm.info
        before, self._started = self._started, info.started if info is not None else None
        return before != self._started

    def _why_empty(self) -> str:
        if self.session.farm.slaves:
            return "no slave matches: esc clears the filter"
        return "no slave has joined yet" if self.session.state is LinkState.LIVE else ""

    def tick(self) -> None:
        """Update ages."""
        self.table.set_class(self.session.state in _STALE, "-stale")
        self.apply(Changes())
        self.table.refresh_times()

    def show_all(self) -> None:
        """Show everything again."""
        self.apply(Changes(new=set(self.session.farm.slaves)))
        self.table.show_rows()
        self.table.refresh_all()
        self.table.set_class(self.session.state in _STALE, "-stale")

    def _show_peek(self) -> None:
        self._peek.display = self._has_room
        cursor = self.table.cursor
        if not self._peek.display:
            return
        if isinstance(cursor, BoardKey):
            self._show_board(cursor)
            return
        if not isinstance(cursor, int):
            group = self.view.groups.get(cursor or "")
            self._peek.border_title = Content(clean(group.name) if group else "")
            self._peek.show(peek_group(group) if group else [])
            return
        console, row = self.console, self.view.row(cursor)
        self._peek.border_title = Content(f"#{row.slave.id} {row.slave.name}")
        shown, ascii_only = self.session.shown, console.ascii
        self._peek.show(
            peek(row, console.now(), console.symbol, shown=shown, ascii_only=ascii_only)
        )

    def _show_board(self, key: BoardKey) -> None:
        console, board = self.console, self.view.board(key)
        self._peek.border_title = Content(board.first.slave.label)
        lanes = list(map(self.view.row, board.lanes))
        self._peek.show(
            peek_board(board, lanes, console.now(), console.symbol, ascii_only=console.ascii)
        )

    @property
    def _has_room(self) -> bool:
        return self.size.width >= _PEEK_WIDTH and self.size.height >= _PEEK_HEIGHT

    def on_resize(self, event: events.Resize) -> None:
        """Show the panel if there is room for it."""
        self._show_peek()

    def view_state(self) -> str:
        """Return sort, filter, number of marks, and whether the view is frozen."""
        symbol, marks = self.console.symbol, self.table.marks
        words = [f"sort: {self.view.sort}{symbol('↑' if self.view.reverse else '↓')}"]
        if self._query.text:
            words.append(f"/{self._query.text} ({len(self.view.shown):,})")
        if self._errors:
            words.append("alerts only")
        if self.view.group is not None:
            words.append(f"by {self.view.group}")
        if marks:
            hidden = len(marks.difference(self.view.shown))
            words.append(f"{len(marks):,} marked" + (f" ({hidden:,} hidden)" if hidden else ""))
        words.append("FROZEN" if self.view.frozen else "live")
        return "   ".join(words)

    # Keys and mouse ----------------------------------------------------------------------------

    def hidden(self, slaves: Sequence[int]) -> int:
        """Return how many of *slaves* the filter hides."""
        return len(set(slaves).difference(self.view.shown))

    def targets(self) -> list[int]:
        """Return the slaves that are marked and still there, or those of the row at the cursor."""
        slaves = self.session.farm.slaves
        cursor = self.table.cursor
        chosen = sorted(self.table.marks) or (self.view.members(cursor) if cursor else [])
        return [slave_id for slave_id in chosen if slave_id in slaves]

    def find(self, text: str) -> str:
        """Show only rows that match *text* (``query.py``); a leading ``&`` only highlights them."""
        try:
            query = parse(text.removeprefix("&"))
        except QueryError as error:
            return str(error)
        # Leaving the prompt of the highlight clears the highlight, not the filter.
        self._highlights = text.startswith("&") or (self._highlights and not text)
        if self._highlights:
            self.table.highlight = query
            self.table.refresh_all()
        else:
            self._query = query
            self._filter()
        return ""

    def action_highlight(self) -> None:
        """Open the prompt for a highlight."""
        self._highlights = True
        self.action_find("&")

    def group(self, by: str) -> str:
        """Group by ``abi``, ``rack`` or ``os`` (``""``: not at all); return an error, or ``""``."""
        known = [each.value for each in Grouping]
        if by and by not in known:
            return f"cannot group by {by}; choose from: {', '.join(known)}"
        self.view.group = Grouping(by) if by else None
        self.view.open.clear()
        self._arrange()
        return ""

    def _filter(self) -> None:
        extra = parse("alert") if self._errors else Query()
        self.view.query = Query(self._query.text, (*self._query.tests, *extra.tests))
        self._arrange()

    def _arrange(self) -> None:
        self.view.arrange(self.console.now())
        self.table.empty = self._why_empty()
        self.table.show_rows()
        self._show_peek()

    def rows(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return the rows with all columns."""
        every = columns(1000, 5, self.console.symbol, ascii_only=self.console.ascii)
        shown = [
            [cell if isinstance(cell := column.show(row), str) else cell[0] for column in every]
            for row in (self.view.row(one)._replace(branch="") for one in self.view.shown)
        ]
        return [column.name for column in every], shown

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._sort(next_choice(self.view.sort, SORTS))

    def _sort(self, name: str) -> None:
        self.view.reverse = not self.view.reverse if name == self.view.sort else False
        self.view.sort = name
        self._arrange()

    def action_reverse(self) -> None:
        """Sort the other way."""
        self._sort(self.view.sort)

    def action_freeze(self) -> None:
        """Freeze the view, or update it again."""
        if self.view.frozen:
            self.view.thaw(self.console.now())
            self.table.show_rows()
        else:
            self.view.freeze()

    def action_errors(self) -> None:
        """Show only slaves with alerts, or all again."""
        self._errors = not self._errors
        self._filter()

    def action_hit(self, by: int) -> None:
        """Go to the next highlighted row, or the one before."""
        keys, cursor = self.view.keys, self.table.cursor
        if not keys or not self.table.highlight.tests:
            return
        start = keys.index(cursor) if cursor in keys else 0
        for step in range(1, len(keys) + 1):
            key = keys[(start + by * step) % len(keys)]
            if isinstance(key, int) and self.table.highlight.matches(self.view.row(key)):
                self.table.move_to(key)
                return

    def action_log(self) -> None:
        """Open the log of the build at the cursor."""
        if isinstance(self.table.cursor, int):
            self.console.open_log(self.table.cursor)

    def action_back(self) -> None:
        """Clear, one at a time: the highlight, the filter, the groups, the marks."""
        if self.table.highlight.tests:
            self.find("&")
            self._highlights = False
        elif self._query.tests or self._errors:
            self._query, self._errors = Query(), False
            self._filter()
        elif self.view.group is not None:
            self.group("")
        else:
            self.table.action_unmark()

    def on_fleet_table_moved(self) -> None:
        """Show details of the slave at the cursor."""
        self._show_peek()

    def on_fleet_table_sort_wanted(self, message: FleetTable.SortWanted) -> None:
        """Sort by the column clicked."""
        self._sort(message.name)

    def on_fleet_table_opened(self, message: FleetTable.Opened) -> None:
        """Open a slave; unfold a group or board, or fold it."""
        if isinstance(message.key, int):
            self.console.open_slave(message.key)
        elif isinstance(message.key, BoardKey):
            self._fold({message.key})
        else:
            self.view.open ^= {message.key}
            self._arrange()

    def on_fleet_table_folded(self, message: FleetTable.Folded) -> None:
        """Unfold boards, or fold them."""
        self._fold(message.keys)

    def _fold(self, boards: set[BoardKey]) -> None:
        self.view.folded ^= boards
        self._arrange()
