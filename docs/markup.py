"""Markdown elements, and the error of the generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Stale(Exception):
    """A document cannot be generated; the text is the reason."""


def code(text: str) -> str:
    """Return *text* as code that is valid in a table."""
    return f"`{text}`".replace("|", r"\|")


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines of a table."""
    for row in (head, ("---",) * len(head), *rows):
        yield f"| {' | '.join(row)} |"
