"""What is drawn with more than ASCII, for terminals that have no more (``--ascii``)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.segment import Segment
from textual.filter import LineFilter

from piwheels.console.ui.glyphs import SIGNS

if TYPE_CHECKING:
    from textual.color import Color

#: What borders, bars and curves are made of.
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
    """Return what stands for *char*, as wide as it is: ``?`` for one of which nothing is known."""
    if char.isascii():
        return char
    width = cell_len(char)
    if "\u2800" <= char <= "\u28ff":  # braille patterns, which curves are made of
        return " " if char == "\u2800" else "*"
    known = _DRAWN.get(char) or SIGNS.get(char) or "?"
    return known if len(known) == width else "?" * width


class AsciiFilter(LineFilter):
    """Lets ASCII through, and stand-ins for all else: foreign names, borders, curves."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return *segments* in ASCII."""
        return [
            each
            if each.text.isascii()
            else Segment("".join(map(stand_in, each.text)), each.style, each.control)
            for each in segments
        ]
