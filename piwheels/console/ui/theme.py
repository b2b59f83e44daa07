"""Which colours there are, and which suit a terminal."""

from __future__ import annotations

from typing import Final

#: The themes that F2 goes through; all others of Textual can be had by name (``:theme``).
THEMES: Final = (
    "textual-dark",
    "textual-light",
    "nord",
    "gruvbox",
    "tokyo-night",
    "solarized-light",
    "ansi-dark",
    "ansi-light",
)


def suitable(color_system: str | None) -> str:
    """Return the theme to begin with: one of 16 colours if the terminal has no more."""
    return "ansi-dark" if color_system == "standard" else THEMES[0]
