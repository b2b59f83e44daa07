"""Which names of files are about to be published: no two may get one name for different bytes.

The database knows a name only once its build is committed. Until then it is claimed here, so that
a slave's build and an import of the same version, which come in at the same time, get two names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

#: How long a name is remembered after its file was put in place, in seconds: longer than a commit
#: is tried for.
KEPT: Final = 900.0


@dataclass(slots=True)
class _Placed:
    filehash: str
    until: float
    whose: set[int] = field(default_factory=set)


class Names:
    """The names that are claimed, each for the bytes with one hash, by the numbers of senders."""

    def __init__(self) -> None:
        self._coming: dict[int, tuple[str, str]] = {}
        self._placed: dict[str, _Placed] = {}

    def claim(self, who: int, name: str, filehash: str) -> bool:
        """Claim *name* for what *who* will send next; ``False`` if it stands for other bytes."""
        placed = self._placed.get(name)
        taken = placed is not None and placed.filehash != filehash
        others = (claim for other, claim in self._coming.items() if other != who)
        if taken or any(other == name and sha != filehash for other, sha in others):
            return False
        self._coming[who] = name, filehash
        return True

    def release(self, who: int, name: str) -> None:
        """Give up that *who* has claimed *name*, unless its file is in place."""
        if self._coming.get(who, ("",))[0] == name:
            del self._coming[who]

    def place(self, who: int, name: str, filehash: str, now: float) -> None:
        """Note that the file that *who* has sent is in its place."""
        self.release(who, name)
        placed = self._placed.setdefault(name, _Placed(filehash, 0.0))
        placed.whose.add(who)
        placed.until = now + KEPT

    def withdraw(self, who: int, name: str) -> bool:
        """Forget that *who* has placed *name*; tell whether its file is nobody else's."""
        placed = self._placed.get(name)
        if placed is None or who not in placed.whose:
            return False
        placed.whose.discard(who)
        if placed.whose or any(other == name for other, _ in self._coming.values()):
            return False
        del self._placed[name]
        return True

    def expire(self, now: float) -> None:
        """Forget the names whose builds must be committed by now."""
        self._placed = {name: each for name, each in self._placed.items() if each.until > now}
