"""Pieces of Markdown, and the error of what cannot be generated."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Stale(Exception):
    """The text says what the documents lack."""


def code(text: str) -> str:
    """Return *text* as code that may stand in a table."""
    return f"`{text}`".replace("|", r"\|")


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Give the lines of a table."""
    for row in (head, ("---",) * len(head), *rows):
        yield f"| {' | '.join(row)} |"
