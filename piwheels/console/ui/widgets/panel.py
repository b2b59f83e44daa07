"""A few lines in a frame: facts, totals, controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from piwheels.console.text import clean
from piwheels.console.ui.widgets.line_list import style_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.geometry import Size

    from piwheels.console.ui.widgets.line_list import Cell


class Panel(Widget):
    """Shows lines, each of some cells (a text, or a text and its component class)."""

    SCOPED_CSS = False
    DEFAULT_CSS = "Panel { height: auto; border-title-color: $foreground; }"

    def __init__(self, title: str = "", *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.border_title = title
        self._lines: Sequence[Sequence[Cell]] = ()

    def show(self, lines: Sequence[Sequence[Cell]]) -> None:
        """Replace the lines."""
        taller = len(lines) != len(self._lines)
        self._lines = lines
        self.refresh(layout=taller)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the number of lines."""
        return len(self._lines)

    def render_line(self, y: int) -> Strip:
        """Paint the line *y*."""
        base = self.rich_style
        segments = []
        for cell in self._lines[y] if y < len(self._lines) else ():
            text, name = (cell, "") if isinstance(cell, str) else cell
            style = base + style_of(self, name) if name else base
            segments.append(Segment(clean(text), style))
        return Strip(segments).crop_extend(0, self.size.width, base)
