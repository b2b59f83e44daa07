"""Formats numbers and durations for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta


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
