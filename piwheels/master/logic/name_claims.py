"""Which names of files have been given a moment ago: none may get other bytes at the same time.

The database knows a name only once its build is committed. Until then it is remembered here, so
that a slave's build and an import of the same version, which come in at once, get two names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

#: How long a name is remembered, in seconds: longer than a commit is tried for.
KEPT: Final = 900.0


@dataclass(slots=True)
class _Given:
    filehash: str
    until: float = 0.0
    whose: set[int] = field(default_factory=set)


class Names:
    """Names, each with the hash of the bytes that it stands for and the numbers of its senders."""

    def __init__(self) -> None:
        self._given: dict[str, _Given] = {}

    def may_be(self, name: str, filehash: str) -> bool:
        """Tell whether *name* may stand for these bytes."""
        given = self._given.get(name)
        return given is None or given.filehash == filehash

    def give(self, who: int, name: str, filehash: str, now: float) -> bool:
        """Give *name* to the bytes that *who* has sent, if :meth:`may_be`; tell whether."""
        if not self.may_be(name, filehash):
            return False
        given = self._given.setdefault(name, _Given(filehash))
        given.whose.add(who)
        given.until = now + KEPT
        return True

    def take_back(self, who: int, name: str) -> bool:
        """Forget that *who* has *name*; tell whether it was nobody else's."""
        given = self._given.get(name)
        if given is None or who not in given.whose:
            return False
        given.whose.discard(who)
        if given.whose:
            return False
        del self._given[name]
        return True

    def expire(self, now: float) -> None:
        """Forget the names whose builds must be committed by now."""
        self._given = {name: each for name, each in self._given.items() if each.until > now}
