"""Targets without a slave: how long each has waited, and the state of all of them. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from piwheels.core.protocols import UNSERVED, TargetState
from piwheels.core.targets import Target

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from piwheels.core.database.rows import TargetRow
    from piwheels.core.states import Instant, SlaveState


class Unserved:
    """The targets that have builds to do and no slave. Times are monotonic."""

    def __init__(self) -> None:
        self._since: dict[Target, Instant] = {}
        self._reported: set[Target] = set()

    def take(self, targets: Iterable[TargetState], instant: Instant) -> list[Target]:
        """Note which of *targets* wait; return those that have just waited for too long."""
        waiting = {Target(*one[:2]) for one in targets if one.pending and not one.slaves}
        self._since = {target: self._since.get(target, instant) for target in waiting}
        late = {
            target
            for target, since in self._since.items()
            if instant.now - since.now >= UNSERVED.total_seconds()
        }
        new, self._reported = late - self._reported, late
        return sorted(new)

    @property
    def late(self) -> Collection[Target]:
        """Those that have waited for too long."""
        return self._reported

    def since(self, target: Target) -> datetime | None:
        """Return the time from which *target* has waited; ``None``: it does not."""
        since = self._since.get(target)
        return None if since is None else since.at


def target_states(
    rows: Iterable[TargetRow], slaves: Iterable[SlaveState], unserved: Unserved
) -> list[TargetState]:
    """Return the state of the targets in *rows*. Those that are skipped have no builds to do."""
    offered: Counter[Target] = Counter()
    for slave in slaves:
        own = {offer.target for offer in slave.offers}
        offered.update(own | {Target("any", target.abi) for target in own})
    found = []
    for row in rows:
        target = Target(row.platform, row.abi_tag)
        pending = 0 if row.skip else row.pending
        state = TargetState(*target, pending, offered[target], unserved.since(target), row.skip)
        found.append(state)
    return found
