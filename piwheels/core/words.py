"""Formats numbers and durations for people. Pure."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime, timedelta

_ORDINALS: Final = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
)  # fmt: skip


def size_text(size: int) -> str:
    """Return a *size* in bytes for people: ``999 bytes``, ``1.2 MB``."""
    number, unit = float(size), ""
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 999.5:
            break
        number, unit = number / 1000, larger
    return f"{number:.1f} {unit}" if unit else f"{size} bytes"


def counted(number: int, thing: str) -> str:
    """Return a number with its noun: ``1 file``, ``2 files``."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def duration_text(duration: timedelta) -> str:
    """Return a duration in hours, minutes and seconds: ``0:04:12``, ``31:09:55``."""
    hours, rest = divmod(max(0, int(duration.total_seconds())), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def time_text(time: datetime) -> str:
    """Return an aware *time* in UTC: ``2026-11-29 18:35 UTC``."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def ordinal(number: int) -> str:
    """Return the place *number* (from 1): ``third``, ``11th``, ``1,002nd``."""
    if number <= len(_ORDINALS):
        return _ORDINALS[number - 1]
    ends = {1: "st", 2: "nd", 3: "rd"}
    ending = "th" if number % 100 in {11, 12, 13} else ends.get(number % 10, "th")
    return f"{number:,}{ending}"
