"""Claims on the names of files that are being published: one name never gets two contents. Pure.

The database knows a name only after its build has been committed. Until then the claim is kept
here. So a build of a slave and an import of the same version, which arrive at the same time, get
two names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

#: The seconds for which a claim is kept: longer than a commit is retried.
CLAIM_SECONDS: Final = 900.0


@dataclass(slots=True)
class _Claim:
    filehash: str
    until: float = 0.0
    senders: set[int] = field(default_factory=set)


class NameClaims:
    """The claimed names, each with the hash of its content and the numbers of its senders."""

    def __init__(self) -> None:
        self._claims: dict[str, _Claim] = {}

    def is_free(self, name: str, filehash: str) -> bool:
        """Return whether *name* is not claimed for another content."""
        claim = self._claims.get(name)
        return claim is None or claim.filehash == filehash

    def claim(self, sender: int, name: str, filehash: str, now: float) -> bool:
        """Claim *name* for the file that *sender* has sent; return whether it is free."""
        if not self.is_free(name, filehash):
            return False
        claim = self._claims.setdefault(name, _Claim(filehash))
        claim.senders.add(sender)
        claim.until = now + CLAIM_SECONDS
        return True

    def release(self, sender: int, name: str) -> bool:
        """Withdraw the claim of *sender*; return whether it was the only claim on *name*."""
        claim = self._claims.get(name)
        if claim is None or sender not in claim.senders:
            return False
        claim.senders.discard(sender)
        if claim.senders:
            return False
        del self._claims[name]
        return True

    def expire(self, now: float) -> None:
        """Forget the claims whose time limit has passed."""
        self._claims = {name: each for name, each in self._claims.items() if each.until > now}
