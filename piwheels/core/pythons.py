"""Which Pythons a release supports, by its Requires-Python (PEP 345, PEP 440). Pure.

The database stores the excluded ones as a *mask*: bit N stands for Python 3.N. ``_minor`` and
``_supports`` in ``sql/functions`` are equal to :func:`minor_of` and :func:`supports`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What pip writes when it refuses a source for its Requires-Python: its own, or that of the index.
REFUSALS: Final = ("requires a different Python", "Requires-Python")
#: The minor versions that have a bit: those that a signed integer of 64 bits has room for.
MINORS: Final = range(63)
#: The longest specifier that is evaluated, in characters; a longer one excludes nothing.
_LONGEST: Final = 500
#: Stands for all patch releases that no specifier mentions.
_LAST_PATCH: Final = 999
_ABI: Final = re.compile(r"(?:cp|pypy)3([0-9]{1,2})(?![0-9])", re.ASCII)
_PATCH: Final = re.compile(r"3\.([0-9]{1,2})\.([0-9]{1,3})(?![0-9])", re.ASCII)


def minor_of(abi: str) -> int | None:
    """Return the N of Python 3.N with *abi* (``cp313t``: 13); ``None`` if it is of no Python 3."""
    found = _ABI.match(abi)
    return int(found[1]) if found and int(found[1]) in MINORS else None


def supports(mask: int, abi: str) -> bool:
    """Return whether a release that excludes the Pythons of *mask* may support *abi*."""
    minor = minor_of(abi)
    return minor is None or not mask >> minor & 1


@lru_cache(maxsize=4096)
def excluded_by(requires: str) -> int:
    """Return the mask of the Pythons without any patch release that *requires* allows.

    pip ignores an invalid specifier, and so it excludes nothing.
    """
    if len(requires) > _LONGEST:
        return 0
    try:
        specifier = SpecifierSet(requires)
    except InvalidSpecifier:
        return 0
    mentioned: dict[int, set[int]] = {}
    for minor, patch in _PATCH.findall(requires):
        mentioned.setdefault(int(minor), set()).update(
            range(max(0, int(patch) - 1), int(patch) + 2)
        )
    return sum(
        1 << minor
        for minor in MINORS
        if not any(
            specifier.contains(version, prereleases=True)
            for version in _patches(minor, mentioned.get(minor, set()))
        )
    )


def _patches(minor: int, mentioned: set[int]) -> Iterator[str]:
    """Yield patch releases of 3.*minor* such that each other one is like one of these."""
    for patch in (0, _LAST_PATCH, *mentioned):
        yield f"3.{minor}.{patch}"


def sentence(requires: str) -> str:
    """Return why a release that *requires* other Pythons is not built for one."""
    return f"not for this Python (requires {requires})"
