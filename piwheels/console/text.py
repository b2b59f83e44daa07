"""Text for display: sanitised foreign text, durations, sizes, bars.

Everything that came over a wire (labels, package names, log lines) passes through :func:`clean`
before it reaches a terminal.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from piwheels.core.text import MARK
from piwheels.core.text import clean as one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

#: Categories of characters that have no shape of their own or reorder the text next to them
#: (Unicode, table 4-4): formats (among them all that override the direction of text), private use,
#: unassigned. :func:`piwheels.core.text.clean` replaces controls, surrogates and line separators.
_FORMATS: Final = frozenset({"Cf", "Co", "Cn"})


@lru_cache(maxsize=65_536)
def clean(text: str) -> str:
    """Return *text* with each character that a terminal would obey replaced by a mark.

    Right-to-left letters are replaced too, since they would reorder the columns of a table.
    Combining characters stay, at most two in a row.
    """
    if text.isascii() and text.isprintable():
        return text
    result: list[str] = []
    combining = 0
    for char in one_line(text, len(text)):
        combining = combining + 1 if unicodedata.combining(char) else 0
        if combining > 2:
            continue
        hidden = unicodedata.category(char) in _FORMATS
        backwards = unicodedata.bidirectional(char) in ("R", "AL", "AN")
        result.append(MARK if hidden or backwards else char)
    return "".join(result)


def short_span(time: timedelta) -> str:
    """Return a duration in at most two units: ``7s``, ``3m12``, ``24m``, ``2h41``, ``12d03h``."""
    seconds = max(0, int(time.total_seconds()))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 600:
        minutes, seconds = divmod(seconds, 60)
        return f"{minutes}m{seconds:02}" if seconds else f"{minutes}m"
    if seconds < 3600:
        return f"{seconds // 60}m"
    if seconds < 86_400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02}"
    days, rest = divmod(seconds, 86_400)
    return f"{days}d{rest // 3600:02}h" if days < 1000 else f"{days // 365:,}y"


def size(count: float) -> str:
    """Return a number of bytes with a binary unit: ``512 B``, ``58 GiB``, ``4.21 TiB``."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    digits = 0 if unit == "B" or value >= 10 else 2
    return f"{value:.{digits}f} {unit}"


def number(count: float) -> str:
    """Return *count* with separators, abbreviated from a million on: ``41,020``, ``28.1M``."""
    for unit, one in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if count >= one:
            return f"{count / one:.1f}{unit}"
    return f"{count:,.0f}"


def spark(values: Sequence[float], width: int, *, ascii_only: bool = False) -> str:
    """Return the last *width* of *values* as bars, scaled from their least to their greatest."""
    bars = "_.-=+*%#" if ascii_only else "▁▂▃▄▅▆▇█"
    shown = list(values)[-width:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    reach = high / 2 - low / 2  # by halves: the difference may exceed a float
    parts = ((value / 2 - low / 2) / reach if reach else 0.0 for value in shown)
    return "".join(bars[round(part * (len(bars) - 1))] for part in parts)


def bar(fraction: float, width: int, *, ascii_only: bool = False) -> str:
    """Return a bar of *width* cells of which *fraction* (0 to 1) is filled."""
    filled = round(min(1.0, max(0.0, fraction)) * width)
    full, empty = ("#", ".") if ascii_only else ("█", "░")
    return full * filled + empty * (width - filled)
