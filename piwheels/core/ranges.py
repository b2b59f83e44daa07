"""Operations on ranges of bytes, such as the missing parts of a file. Pure.

All ranges are ``range`` objects with a step of 1, and sequences of them are in ascending order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["consolidate", "exclude", "intersect", "split"]


def consolidate(ranges: Iterable[range]) -> Iterator[range]:
    """Yield *ranges*, which may overlap, after merging those that touch or overlap.

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
    """Yield *ranges*, which are disjoint, without the values in *ex*.

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
    """Return the common values of *range1* and *range2*, or ``None`` if there are none.

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
    """Yield *ranges*, which are disjoint; one that contains *i* is split in two before *i*.

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
