"""Cycling through choices with one key."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")


def next_choice(one: T, choices: Iterable[T]) -> T:
    """Return the choice after *one*; the first follows the last."""
    known = list(choices)
    return known[(known.index(one) + 1) % len(known)]
