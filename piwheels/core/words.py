"""Formats numbers for people. Pure."""

from __future__ import annotations


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
