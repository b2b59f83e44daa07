"""Curves of a few stats, one a line: name, sparkline, value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from piwheels.console.text import spark
from piwheels.console.ui.widgets.line_list import style_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.geometry import Size


class Curve(NamedTuple):
    """A metric over time: its name, its values (the newest last), the newest one in words.

    *alert* is its alert, for example ``▲ since 12:40``.
    """

    name: str
    values: Sequence[float]
    text: str
    alert: str = ""


class Sparks(Widget):
    """Shows curves that fill the width, with a column of values."""

    SCOPED_CSS = False
    DEFAULT_CSS = "Sparks { height: auto; border-title-color: $foreground; }"

    def __init__(self, title: str = "", *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.border_title = title
        self.ascii_only = False
        self._curves: Sequence[Curve] = ()

    def show(self, curves: Sequence[Curve]) -> None:
        """Replace the curves."""
        taller = len(curves) != len(self._curves)
        self._curves = curves
        self.refresh(layout=taller)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return how many curves there are."""
        return len(self._curves)

    def render_line(self, y: int) -> Strip:
        """Paint a curve: what has no room is cut from its beginning."""
        base, width = self.rich_style, self.size.width
        if y >= len(self._curves):
            return Strip.blank(width, base)
        curve = self._curves[y]
        names = max(len(curve.name) for curve in self._curves) + 2
        values = max(len(curve.text) for curve in self._curves) + 2
        alerts = max(len(curve.alert) for curve in self._curves)
        most = max(len(curve.values) for curve in self._curves)
        room = max(1, min(most, width - names - values - alerts - 1))
        line = spark(curve.values, room, ascii_only=self.ascii_only)

        def toned(text: str, name: str) -> Segment:
            return Segment(text, base + style_of(self, name))

        return Strip(
            [
                toned(curve.name.ljust(names), "tone--dim"),
                toned(line.ljust(room), "tone--warn" if curve.alert else "tone--bar"),
                Segment(" " + curve.text.ljust(values), base),
                toned(curve.alert, "tone--warn"),
            ]
        ).crop_extend(0, width, base)
