"""The versions that each holder of a key was given: it may return with builds of these. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from piwheels.master.logic.effects import Assignment

#: How long a grant is remembered, in seconds: as long as a build may take; and how many are.
MAX_AGE, MOST_GRANTS = 7 * 86_400.0, 100_000
#: The holder of all slaves without keys. It may return with any build.
NOBODY: Final = ""


class Grants:
    """Remembers who was given a version."""

    def __init__(self) -> None:
        self._granted: dict[tuple[Assignment, str], float] = {}

    def add(self, assignment: Assignment, holder: str, now: float) -> None:
        """Record that a slave of *holder* builds *assignment*; forget what is too old."""
        if holder != NOBODY:
            self._granted.pop((assignment, holder), None)
            self._granted[assignment, holder] = now  # now the last one
        for key, since in list(self._granted.items())[:2]:
            if now - since > MAX_AGE or len(self._granted) > MOST_GRANTS:
                del self._granted[key]

    def has(self, assignment: Assignment, holder: str) -> bool:
        """Return whether a slave of *holder* may return with a build of *assignment*."""
        return holder == NOBODY or (assignment, holder) in self._granted
