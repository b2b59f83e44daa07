"""How screens show a build that has ended: its result, and why it failed."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from piwheels.console.model.slave import PastBuild
    from piwheels.console.ui.widgets.line_list import Cell

#: The outcome of a build: a symbol, a word, a tone.
RESULTS: Final[dict[str, tuple[str, str, str]]] = {
    "ok": ("✓", "ok", "tone--good"),
    "failed": ("✗", "FAILED", "tone--bad"),
    "put off": ("↻", "put off", "tone--accent"),
    "skipped": ("·", "skipped", "tone--warn"),
    "": ("·", "ended", "tone--dim"),
}
#: The most lines of a failure's cause that are shown.
_CAUSE: Final = 4


def result_cell(build: PastBuild) -> Cell:
    """Return the result of a build for a column of 7 cells."""
    return RESULTS[build.outcome][1:]


def explanation(build: PastBuild, width: int) -> list[list[Cell]]:
    """Return why a build failed, what to do, and what follows, in lines of *width* cells."""
    lines = summary(build, width)
    lines += [[(line, "tone--dim")] for line in textwrap.wrap(build.cause, width)[:_CAUSE]]
    return lines


def summary(build: PastBuild, width: int) -> list[list[Cell]]:
    """Return :func:`explanation` without the cause."""
    lines: list[list[Cell]] = []
    if build.about:
        lines.append([(build.about, RESULTS[build.outcome][2])])
        lines += [[line] for line in textwrap.wrap(build.sentence, width)]
    rest = "; ".join(filter(None, (build.recipe, build.follows)))
    lines += [[(line, "tone--accent")] for line in textwrap.wrap(rest, width)]
    return lines
