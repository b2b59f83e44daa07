"""Text in cells of the terminal: a double-width character takes two of them."""

from __future__ import annotations

from typing import Final, Literal

from rich.cells import cell_len, set_cell_size

from piwheels.console.text import clean

#: The mark at the end of cut text, and the width up to which there is none.
_CUT: Final = "…"
_TINY: Final = 4


def fit(text: str, width: int, align: Literal["left", "right"] = "left") -> str:
    """Return *text*, cleaned for display, cut or padded to *width* cells.

    Cut text ends with an ellipsis where there is room for one.
    """
    width = max(0, width)
    shown = clean(text)
    length = len(shown) if shown.isascii() else cell_len(shown)
    if length > width:
        kept, end = (width - 1, _CUT) if width > _TINY else (width, "")
        return (shown[:kept] if shown.isascii() else set_cell_size(shown, kept)) + end
    blank = " " * (width - length)
    return blank + shown if align == "right" else shown + blank
