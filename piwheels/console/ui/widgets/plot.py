"""A graph of one statistic over time, in braille dots (or stars), with axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from piwheels.console.ui.widgets.line_list import style_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from rich.style import Style
    from textual.geometry import Size

#: The bits of a braille pattern's dots (U+2800 on): two columns of four, from the top.
_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def curve(
    values: Sequence[float], width: int, height: int, *, ascii_only: bool = False
) -> list[str]:
    """Return *height* lines of *width* cells with the curve of *values*, from least to greatest."""
    if not values or width < 1 or height < 1:
        return [" " * max(0, width)] * max(0, height)
    columns, rows = (width, height) if ascii_only else (2 * width, 4 * height)
    low, high = min(values), max(values)
    span = high - low or 1.0
    steps = max(1, columns - 1)
    heights = [
        round((values[round(column * (len(values) - 1) / steps)] - low) / span * (rows - 1))
        for column in range(columns)
    ]
    cells = [[0] * width for _ in range(height)]
    before = heights[0]
    for column, at in enumerate(heights):
        for dot in range(min(before, at), max(before, at) + 1):
            if ascii_only:
                cells[rows - 1 - dot][column] = 1
            else:
                row = rows - 1 - dot
                cells[row // 4][column // 2] |= _DOTS[column % 2][row % 4]
        before = at
    if ascii_only:
        return ["".join(" *"[cell] for cell in line) for line in cells]
    return ["".join(chr(0x2800 + cell) if cell else " " for cell in line) for line in cells]


class Plot(Widget):
    """Shows a curve with scales of values and of time."""

    #: The width of the values at the left.
    _LEFT: ClassVar[int] = 11

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.ascii_only = False
        self._values: Sequence[float] = ()
        self._times: Sequence[datetime] = ()
        self._text: Callable[[float], str] = str
        #: The curve's lines, and the size that they were drawn for.
        self._curve: list[str] = []
        self._drawn_for: Size | None = None

    def show(
        self,
        title: str,
        values: Sequence[float],
        times: Sequence[datetime],
        text: Callable[[float], str],
    ) -> None:
        """Show *values* at *times*; *text* says a value."""
        self.border_title = title
        self._values, self._times, self._text = values, times, text
        self._drawn_for = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Paint a line: values at the left, the curve, times below."""
        base = self.rich_style
        dim = base + style_of(self, "tone--dim")
        width, height = self.size.width - self._LEFT - 1, self.size.height - 2
        if not self._values or width < 10 or height < 2:
            text = " no stats yet" if y == 0 else ""
            return Strip([Segment(text, dim)]).crop_extend(0, self.size.width, base)
        if y >= height:
            return self._axis(y - height, width, dim)
        low, high = min(self._values), max(self._values)
        marks = {0: high, height // 2: (low + high) / 2, height - 1: low}
        label = self._text(marks[y]) if y in marks else ""
        if self.size != self._drawn_for:
            self._drawn_for = self.size
            self._curve = curve(self._values, width, height, ascii_only=self.ascii_only)
        bar = base + style_of(self, "tone--bar")
        tick = ("|" if self.ascii_only else "┤") if label else ("|" if self.ascii_only else "│")
        left = Segment(f"{label:>{self._LEFT}.{self._LEFT}}{tick}", dim)
        return Strip([left, Segment(self._curve[y], bar)]).crop_extend(0, self.size.width, base)

    def _axis(self, y: int, width: int, dim: Style) -> Strip:
        if y == 0:
            corner, line = ("+", "-") if self.ascii_only else ("└", "─")
            text = " " * self._LEFT + corner + line * width
        else:
            first, middle, last = (
                f"{self._times[place].astimezone():%H:%M:%S}"
                for place in (0, len(self._times) // 2, -1)
            )
            room = (width - len(first) - len(last)) if width > 30 else 0
            text = " " * self._LEFT + first + middle.center(room) + last
        return Strip([Segment(text, dim)]).crop_extend(0, self.size.width, dim)
