"""Stand-ins in ASCII for everything that is drawn (``--ascii``)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.segment import Segment
from textual.filter import LineFilter

from piwheels.console.ui.glyphs import SYMBOLS

if TYPE_CHECKING:
    from textual.color import Color

#: The characters of borders, bars and curves.
_DRAWN: Final = {
    **dict.fromkeys("─━═▔▁", "-"),
    **dict.fromkeys("│┃║▌▐▊▎", "|"),
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼┏┓┗┛┣┫", "+"),
    **dict.fromkeys("▂▃▄▅▆▇█▀", "#"),
    **dict.fromkeys("░▒▓", "."),
    "…": "~",
}


@lru_cache(maxsize=4096)
def stand_in(char: str) -> str:
    """Return the stand-in for *char*, of the same width; ``?`` if there is none."""
    if char.isascii():
        return char
    width = cell_len(char)
    if "\u2800" <= char <= "\u28ff":  # braille patterns, for curves
        return " " if char == "\u2800" else "*"
    known = _DRAWN.get(char) or SYMBOLS.get(char) or "?"
    return known if len(known) == width else "?" * width


class AsciiFilter(LineFilter):
    """Replaces everything that is not ASCII: foreign names, borders, curves."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return *segments* in ASCII."""
        return [
            each
            if each.text.isascii()
            else Segment("".join(map(stand_in, each.text)), each.style, each.control)
            for each in segments
        ]
