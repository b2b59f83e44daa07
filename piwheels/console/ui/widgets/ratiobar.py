"""A bar cut into named shares."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def ratio_bar(shares: Sequence[tuple[str, float]], width: int, *, ascii_only: bool = False) -> str:
    """Return a line of *width* cells, cut by the *shares*: ``┣━━cp39━━┃━cp311━┫``.

    A name that has no room is left out; shares of nothing give ``""``.
    """
    left, line, cut, right = "|-||" if ascii_only else "┣━┃┫"
    total = sum(share for _, share in shares)
    room = width - 1
    if total <= 0 or room < 2:
        return ""
    ends = [round(room * part / total) for part in accumulate((s for _, s in shares), initial=0)]
    result = ""
    for (name, _), (start, end) in zip(shares, pairwise(ends), strict=True):
        if end > start:
            inside = end - start - 1
            result += cut + (name if len(name) <= inside else "").center(inside, line)
    return left + result[1:] + right
