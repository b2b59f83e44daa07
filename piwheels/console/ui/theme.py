"""Themes, and the choice of one for a terminal."""

from __future__ import annotations

from typing import Final

from piwheels.console.ui.cycle import next_choice

#: The themes that F2 cycles through; ``:theme`` selects any theme of Textual by name.
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
    """Return the default theme: one of 16 colours if the terminal has no more."""
    return "ansi-dark" if color_system == "standard" else THEMES[0]


def next_theme(theme: str) -> str:
    """Return the theme after *theme*."""
    return next_choice(theme, THEMES) if theme in THEMES else THEMES[0]
