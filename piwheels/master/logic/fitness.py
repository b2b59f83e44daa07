"""Which slaves are fit to build: those whose failures seem to be their own get no work. Pure.

A suspended slave is tried again after a while, longer each time, because nothing else shows whether
it has been repaired. A successful build, or an operator who resumes it, ends the suspension.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from piwheels.master.logic.effects import PutOff

if TYPE_CHECKING:
    from collections.abc import Set

    from piwheels.core.faults import Fault
    from piwheels.core.states import SlaveState
    from piwheels.master.logic.effects import Target

#: The length of a slave's first suspension, and of the longest one, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 300.0, 3600.0
#: A slave that fails so many builds in a row, of so many packages, is suspended if at least half of
#: the other slaves' recent builds have succeeded.
ROW, PACKAGES, OTHERS = 10, 5, 5
#: The most slaves, and the most versions of each, that are remembered.
MAX_RECORDS, MAX_TRIED = 10_000, 1000

#: How often a version is built again if its slave fails every build for an unknown reason.
_ROW_TRIES: Final = 6


@dataclass(slots=True)
class _Record:
    """A slave's failures in a row: how many, of which packages, how many look like its own."""

    failures: int = 0
    faults: int = 0
    packages: set[str] = field(default_factory=set)
    #: The versions that were put off after it had tried them.
    tried: dict[Target, None] = field(default_factory=dict)
    suspensions: int = 0
    until: float = 0.0
    reason: str = ""

    def suspend(self, reason: str, now: float) -> None:
        pause = min(FIRST_PAUSE * 2 ** min(self.suspensions, 10), LONGEST_PAUSE)
        self.suspensions += 1
        self.reason, self.until = reason, now + pause


class Fitness:
    """The failures of each slave since its last success, by its identity (or label) and ABI."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], _Record] = {}
        self._recent: deque[tuple[tuple[str, str], bool]] = deque(maxlen=50)

    def failed(
        self, slave: SlaveState, target: Target, fault: Fault | None, now: float, *, others: bool
    ) -> PutOff | None:
        """Record a failed build; return why it should not count, or ``None`` if it should.

        *fault* is that of its slave (``None``: it seems to have none). *others*: other slaves can
        build for this ABI. The slave may be suspended afterwards.
        """
        key = _key(slave)
        record = self._records.pop(key, None) or _Record()
        self._records[key] = record  # the last one
        if len(self._records) > MAX_RECORDS:
            del self._records[next(iter(self._records))]
        self._recent.append((key, False))
        record.failures += 1
        record.faults = record.faults + 1 if fault else 0
        if len(record.packages) < PACKAGES:
            record.packages.add(target[0])
        put_off = self._judge(key, record, fault, now, others=others)
        if put_off is not None:
            record.tried[target] = None
            if len(record.tried) > MAX_TRIED:
                del record.tried[next(iter(record.tried))]
        return put_off

    def _judge(
        self,
        key: tuple[str, str],
        record: _Record,
        fault: Fault | None,
        now: float,
        *,
        others: bool,
    ) -> PutOff | None:
        if fault is not None:
            if record.faults >= fault.suspends:
                record.suspend(str(fault), now)
            return PutOff(str(fault), fault.tries) if fault.is_certain or others else None
        if record.failures >= ROW and len(record.packages) >= PACKAGES and self._others_build(key):
            reason = f"its last {record.failures} builds failed, and those of other slaves did not"
            record.suspend(f"{reason} (compare their logs)", now)
            return PutOff(reason, _ROW_TRIES)
        return None

    def _others_build(self, key: tuple[str, str]) -> bool:
        others = [built for one, built in self._recent if one != key]
        return len(others) >= OTHERS and 2 * sum(others) >= len(others)

    def succeeded(self, slave: SlaveState) -> None:
        """Record a successful build: earlier failures were not the fault of its slave."""
        key = _key(slave)
        self._records.pop(key, None)
        self._recent.append((key, True))

    def resume(self, slave: SlaveState) -> None:
        """Forget the failures of *slave*: an operator says that it is repaired."""
        self._records.pop(_key(slave), None)

    def suspension(self, slave: SlaveState, now: float) -> tuple[str, float] | None:
        """Return why *slave* is suspended, and for how many more seconds; ``None``: it is not."""
        record = self._records.get(_key(slave))
        return (
            None if record is None or record.until <= now else (record.reason, record.until - now)
        )

    def tried(self, slave: SlaveState) -> Set[Target]:
        """Return the versions that another slave should try, because *slave* has done so."""
        record = self._records.get(_key(slave))
        return frozenset() if record is None else record.tried.keys()


def shortage(free: int, reserve: int, *, closed: bool) -> bool:
    """Return whether the master's disk has too little room to hand out work.

    It does below its *reserve*. Once work has stopped (*closed*), it needs an eighth more.
    """
    return free < reserve + (reserve // 8 if closed else 0)


def _key(slave: SlaveState) -> tuple[str, str]:
    return slave.identity or slave.label, slave.native_abi
