"""Painting of the rows of the fleet table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rich.segment import Segment
from textual.strip import Strip

from piwheels.console.text import clean
from piwheels.console.ui.format import fit
from piwheels.console.ui.glyphs import STATE_SYMBOLS
from piwheels.console.ui.widgets.fleet_columns import (
    LEAD,
    MACHINE_COLUMNS,
    alert_cell,
    command_cell,
)
from piwheels.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.style import Style

    from piwheels.console.model.fleet_view import Board, Group
    from piwheels.console.model.query import Row
    from piwheels.console.model.slave import State
    from piwheels.console.ui.host import Host
    from piwheels.console.ui.widgets.line_list import Cell, Column

#: The width of a state's word.
_WORD: Final = max(map(len, STATE_SYMBOLS))


class Place(NamedTuple):
    """Marks of a row: the cursor, a mark, a match."""

    cursor: bool = False
    marked: bool = False
    hit: bool = False


class Painter:
    """Paints rows in *columns*; *style_of* returns the style of a component class."""

    def __init__(self, console: Host, style_of: Callable[[str], Style]) -> None:
        self.columns: Sequence[Column[Row]] = ()
        self._console = console
        self._style = style_of

    def header(self, base: Style, sort: str, *, reverse: bool) -> Strip:
        """Paint the names of the columns, with an arrow at the sorted one."""
        arrow = self._console.symbol("↑" if reverse else "↓")
        texts = [" " * LEAD]
        for column in self.columns:
            sorts = column.name.lower() == sort
            # The name gives way to the arrow only where there is no room for both.
            name = column.name[: column.width - 1] + arrow if sorts else column.name
            texts += (fit(name, column.width, "right" if column.right else "left"), " ")
        return Strip([Segment("".join(texts), base + self._style("tone--head"))])

    def slave(self, row: Row, base: Style, place: Place) -> Strip:
        """Paint the row of a slave."""
        style = self._with(base, place)
        if row.gone:
            style += self._style("fleet--gone")
        cells = [column.show(row) for column in self.columns]
        return self._cells(cells, row.state, style, place)

    def board(self, board: Board, base: Style, place: Place) -> Strip:
        """Paint the row of a board: the values of the machine, and what its lanes do."""
        style = self._with(base, place) + self._style("fleet--group")
        if board.gone:
            style += self._style("fleet--gone")
        symbol = self._console.symbol
        states = (f"{self._console.state_symbol(state)[0]}{n}" for state, n in board.counts)
        own: dict[str, Cell] = {
            "STATE": board.worst,
            "CMD": command_cell(board.command, symbol),
            "ID": "+" if board.folded else "-",
            "LABEL": board.first.slave.label,
            "TASK": f"{counted(len(board.lanes), 'lane')}: {' '.join(states)}",
            "ALERT": alert_cell(board.alerts, symbol),
        }
        cells = [
            column.show(board.first) if column.name in MACHINE_COLUMNS else own.get(column.name, "")
            for column in self.columns
        ]
        return self._cells(cells, board.worst, style, place)

    def _cells(self, cells: Sequence[Cell], state: State, style: Style, place: Place) -> Strip:
        glyph, state_class = self._console.state_symbol(state)
        # Cells of the same style are one segment: that is what painting costs.
        segments: list[Segment] = []
        plain = self._lead(place)
        for column, cell in zip(self.columns, cells, strict=True):
            text, tone = (cell, "") if isinstance(cell, str) else cell
            text = fit(text, column.width, "right" if column.right else "left")
            if column.name == "STATE":
                text, tone = f"{glyph} {text}", state_class
            if tone and not text.isspace():
                segments += (Segment(plain, style), Segment(text, style + self._style(tone)))
                plain = " "
            else:
                plain += text + " "
        segments.append(Segment(plain, style))
        return Strip(segments)

    def group(self, group: Group, base: Style, place: Place, *, unfolded: bool) -> Strip:
        """Paint the row of a group."""
        style = self._with(base, place)
        glyph, state_class = self._console.state_symbol(group.worst)
        name = f" {'-' if unfolded else '+'} {fit(clean(group.name), 20)} {len(group.members):5,} "
        segments = [
            Segment(self._lead(place), style),
            Segment(f"{glyph} {fit(group.worst, _WORD)}", style + self._style(state_class)),
            Segment(name, style + self._style("fleet--group")),
        ]
        for state, count in group.counts:
            glyph, state_class = self._console.state_symbol(state)
            segments.append(Segment(f" {glyph}{count:,}", style + self._style(state_class)))
        if group.alerts:
            text = f"  {self._console.symbol('▲')}{group.alerts:,}"
            segments.append(Segment(text, style + self._style("tone--warn")))
        return Strip(segments)

    def _with(self, base: Style, place: Place) -> Style:
        for name, there in place._asdict().items():
            if there:
                base += self._style(f"fleet--{name}")
        return base

    def _lead(self, place: Place) -> str:
        cursor = self._console.symbol("▌") if place.cursor else " "
        return cursor + ("* " if place.marked else "  ")
