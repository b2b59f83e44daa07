"""Ranges of bytes: which parts of a file have come, and which are still missing. Pure.

All take and give ``range`` objects with a step of 1; a list of them is in ascending order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["consolidate", "exclude", "intersect", "split"]


def consolidate(ranges: Iterable[range]) -> Iterator[range]:
    """Give *ranges* (ascending, may overlap) with those joined that touch or overlap.

    >>> list(consolidate([range(0, 5), range(4, 10)]))
    [range(0, 10)]
    >>> list(consolidate([range(0, 5), range(5, 10)]))
    [range(0, 10)]
    >>> list(consolidate([range(0, 5), range(6, 10)]))
    [range(0, 5), range(6, 10)]
    """
    held = range(0)
    for r in ranges:
        if held and r and r.start <= held.stop:
            held = range(min(held.start, r.start), max(held.stop, r.stop))
        elif r:
            if held:
                yield held
            held = r
    if held:
        yield held


def exclude(ranges: Iterable[range], ex: range) -> Iterator[range]:
    """Give *ranges* (ascending, disjoint) without the values that *ex* covers.

    >>> list(exclude([range(10)], range(2)))
    [range(2, 10)]
    >>> list(exclude([range(10)], range(2, 4)))
    [range(0, 2), range(4, 10)]
    """
    for r in ranges:
        if intersect(r, ex) is None:
            yield r
            continue
        if r.start < ex.start:
            yield range(r.start, ex.start)
        if ex.stop < r.stop:
            yield range(ex.stop, r.stop)


def intersect(range1: range, range2: range) -> range | None:
    """Return what *range1* and *range2* share, or ``None`` if that is nothing.

    Raises ``ValueError`` if a step is not 1.

    >>> intersect(range(10), range(5))
    range(0, 5)
    >>> intersect(range(10), range(10, 2))
    >>> intersect(range(10), range(2, 5))
    range(2, 5)
    """
    if range1.step != 1 or range2.step != 1:
        raise ValueError("only ranges with a step of 1 can be intersected")
    shared = range(max(range1.start, range2.start), min(range1.stop, range2.stop))
    return shared if shared else None


def split(ranges: Iterable[range], i: int) -> Iterator[range]:
    """Give *ranges* (ascending, disjoint) with the one that contains *i* cut in two before *i*.

    >>> list(split([range(10)], 5))
    [range(0, 5), range(5, 10)]
    >>> list(split([range(10)], 0))
    [range(0, 10)]
    >>> list(split([range(10)], 20))
    [range(0, 10)]
    """
    for r in ranges:
        if r.start < i < r.stop:
            yield range(r.start, i)
            yield range(i, r.stop)
        else:
            yield r
