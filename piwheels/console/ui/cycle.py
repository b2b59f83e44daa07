"""Going round in a few choices: what a key does that is pressed again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")


def after(one: T, choices: Iterable[T]) -> T:
    """Return the choice after *one*; after the last comes the first."""
    ordered = list(choices)
    return ordered[(ordered.index(one) + 1) % len(ordered)]
