"""Which colours there are, and which suit a terminal."""

from __future__ import annotations

from typing import Final

from piwheels.console.ui.cycle import after

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


def next_theme(theme: str) -> str:
    """Return the theme after *theme*."""
    return after(theme, THEMES) if theme in THEMES else THEMES[0]
