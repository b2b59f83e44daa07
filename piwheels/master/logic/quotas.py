"""Quotas: how much of the farm the slaves of one owner may use. Pure.

An owner is the holder of a key, an address from which slaves need no key, or the local user. A
quota protects the others: no owner can take all places for slaves, all versions or the disk.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from piwheels.core.words import size_text

GIB: Final = 2**30


class Quota(NamedTuple):
    """What the slaves of one owner may use together.

    *slaves* are sessions; *greetings* and *leases* are for each minute, without those leases whose
    builds have ended; *promised* are the bytes of files that are announced and have not arrived;
    *row* is how many failures in a row, of several slaves, put the owner into quarantine.
    """

    slaves: int
    greetings: int
    leases: int
    promised: int
    row: int


#: The quotas by the kind of the owner. A farm with more slaves behind one address uses keys. A host
#: of 64 lanes is as many slaves, and twice as many while a lost connection is not noticed yet.
KEY: Final = Quota(slaves=200, greetings=400, leases=120, promised=16 * GIB, row=20)
ADDRESS: Final = Quota(slaves=400, greetings=800, leases=240, promised=32 * GIB, row=30)
LOCAL: Final = Quota(slaves=5000, greetings=10_000, leases=6000, promised=256 * GIB, row=30)

#: How the name of an owner without a key begins (``KEYLESS`` in master/gate.py).
_ADDRESS: Final = "address "
#: The seconds in which greetings and leases are counted; the least seconds between two log lines.
PERIOD, SILENCE = 60.0, 600.0


def quota_of(owner: str) -> Quota:
    """Return the quota of *owner*."""
    if not owner:
        return LOCAL
    return ADDRESS if owner.startswith(_ADDRESS) else KEY


def name_of(owner: str) -> str:
    """Return *owner* as sentences name it."""
    return owner or "the local user"


def reason_to_wait(owner: str, size: int, promised: int, room: int) -> str | None:
    """Return why *owner* may not announce a file of *size* bytes yet, or ``None``.

    It has *promised* bytes already. *room* is the space that is free apart from all promises. More
    than one file may fill half of the space that the others leave.
    """
    most = min(quota_of(owner).promised, (promised + room) // 2)
    if not promised or promised + size <= most:
        return None
    return f"{name_of(owner)} has announced {size_text(promised)} already: one after the other"


class Excess(NamedTuple):
    """Which quota is exceeded, and the seconds to *wait*."""

    reason: str
    wait: float


@dataclass(slots=True)
class _Usage:
    """When an owner's slaves have greeted, and have got leases whose builds have not ended."""

    greetings: deque[float] = field(default_factory=deque)
    leases: deque[float] = field(default_factory=deque)
    logged: float = -SILENCE


class Quotas:
    """Counts what each owner uses. Times are monotonic."""

    def __init__(self) -> None:
        self._used: dict[str, _Usage] = {}

    def greet(self, owner: str, slaves: int, now: float) -> Excess | None:
        """Count a greeting of *owner*, who has other *slaves* that are connected.

        If it exceeds a quota, return which one.
        """
        quota, used = quota_of(owner), self._usage(owner, now)
        if slaves >= quota.slaves:
            return Excess(f"{name_of(owner)} has {quota.slaves:,} slaves already", PERIOD)
        if (wait := _wait(used.greetings, quota.greetings, now)) > 0:
            why = f"{name_of(owner)} has sent {quota.greetings:,} greetings in a minute"
            return Excess(why, wait)
        used.greetings.append(now)
        return None

    def lease(self, owner: str, now: float) -> str | None:
        """Return why a slave of *owner* may get no version now, or ``None``."""
        quota, used = quota_of(owner), self._usage(owner, now)
        if _wait(used.leases, quota.leases, now) <= 0:
            return None
        return f"{name_of(owner)} has taken {quota.leases:,} versions in a minute and built none"

    def leased(self, owner: str, now: float) -> None:
        """Count a version that a slave of *owner* has got."""
        self._usage(owner, now).leases.append(now)

    def ended(self, owner: str) -> None:
        """Record that a build of *owner* has ended."""
        if (used := self._used.get(owner)) is not None and used.leases:
            used.leases.popleft()

    def should_log(self, owner: str, now: float) -> bool:
        """Return whether to log that *owner* has exceeded a quota: only now and then."""
        used = self._usage(owner, now)
        if now - used.logged < SILENCE:
            return False
        used.logged = now
        return True

    def tick(self, now: float) -> None:
        """Forget what is past."""
        self._used = {
            owner: used
            for owner, used in self._used.items()
            if any(times and times[-1] > now - PERIOD for times in (used.greetings, used.leases))
            or used.logged > now - SILENCE
        }

    def _usage(self, owner: str, now: float) -> _Usage:
        used = self._used.setdefault(owner, _Usage())
        for times in (used.greetings, used.leases):
            while times and times[0] <= now - PERIOD:
                times.popleft()
        return used


def _wait(times: deque[float], most: int, now: float) -> float:
    return times[0] + PERIOD - now if len(times) >= most else 0.0
