"""The sessions: the slaves that the master knows, by address, number and label. Pure.

A session begins with ``HELLO`` and outlives its connection for a short time. A slave that returns
in that time, or with the build of its session, continues it: it keeps its number, its build, the
file that it was sending, and the commands of operators.
"""

from __future__ import annotations

import itertools
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from piwheels.core.errors import Refused
from piwheels.core.states import Phase, SlaveState, platforms_of
from piwheels.master.logic.console_events import replay_of, stats_per_slave
from piwheels.master.logic.slave_state import assignment_of, move

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piwheels.core.states import Instant, Transition
    from piwheels.master.logic.effects import Assignment, Publish

#: For how many seconds a session outlives its connection.
RECONNECT: Final = 60.0
#: Two slaves with one label are two, and not one that reconnected, if the earlier one is heard
#: this many seconds after the greeting of the later one.
BOTH: Final = 10.0


class Sessions:
    """All slaves that the master knows."""

    def __init__(self) -> None:
        self.slaves: dict[bytes, SlaveState] = {}
        self.by_number: dict[int, SlaveState] = {}
        #: The slaves with each label and lane, in the order of their greetings.
        self._by_name: dict[tuple[str, int], list[SlaveState]] = {}
        self._by_owner: dict[str, set[SlaveState]] = {}
        #: The numbers of slaves whose label another slave has, as the log says already.
        self._twins: set[int] = set()
        self._ids = itertools.count(1)

    def select(self, slave_id: int | None) -> list[SlaveState]:
        """Return the slave *slave_id* if there is one, or all slaves for ``None``."""
        if slave_id is None:
            return list(self.slaves.values())
        return [self.by_number[slave_id]] if slave_id in self.by_number else []

    def history(self, slave_id: int) -> list[Transition]:
        """Return the last transitions of a slave, oldest first. Raises ``Refused``."""
        if slave_id not in self.by_number:
            raise Refused("HISTORY", f"there is no slave {slave_id}")
        return list(self.by_number[slave_id].history)

    def replay(self, after: int, limit: int) -> list[Publish]:
        """Return the past events (:func:`replay_of`) of the slaves with numbers above *after*.

        They are those of the next slaves that together have at most *limit* events, but at least
        those of one slave. The list is empty only if there are no further slaves.
        """
        events: list[Publish] = []
        stats = stats_per_slave(len(self.by_number))
        for slave_id, slave in self.by_number.items():
            if slave_id > after:
                of_slave = replay_of(slave, stats)
                if events and len(events) + len(of_slave) > limit:
                    break
                events += of_slave
        return events

    def connected(self, owner: str) -> int:
        """Return how many slaves of *owner* have not lost their connections."""
        return sum(slave.lost is None for slave in self._by_owner.get(owner, ()))

    # Connections ----------------------------------------------------------------------------

    def is_owner(self, address: bytes, owner: str) -> bool:
        """Return whether *owner* may speak for *address*: no other one has a slave there."""
        slave = self.slaves.get(address)
        return slave is None or slave.owner == owner

    def disconnected(self, address: bytes, instant: Instant) -> None:
        """Record that a slave's connection is lost. Its next request proves the contrary.

        A slave that waits for a reply may lose several connections in a row: the last one counts.
        """
        if (slave := self.slaves.get(address)) is not None:
            slave.lost = instant.now

    def twins(self) -> Iterator[tuple[SlaveState, str]]:
        """Yield each slave that has the label of another one, once, with a sentence about it."""
        for slaves in self._by_name.values():
            for earlier, later in pairwise(slaves):
                two = earlier.heard > later.greeted + BOTH
                if two and later.slave_id not in self._twins:
                    self._twins.add(later.slave_id)
                    yield later, _about_twins(earlier, later)

    def _earlier_session(
        self, slave: SlaveState, assignment: Assignment | None
    ) -> SlaveState | None:
        """Return the session that *slave* continues; it greets with the build of *assignment*.

        It does if it has the identity and the platforms of that session, and either its build, or
        the session has neither a build nor a connection. (Without an identity, the label counts,
        and only the build proves that it is the same slave.)
        """
        for old in self._by_name.get(_name(slave), ()):
            if _who(old) != _who(slave):
                continue
            lost = old.lost is not None and bool(slave.identity)
            if assignment_of(old) == assignment if old.build is not None else lost:
                return old
        return None

    def _lost_builds(self, slave: SlaveState, assignment: Assignment | None) -> list[SlaveState]:
        """Return lost sessions of *slave* with other builds than its present *assignment*."""
        return [
            old
            for old in self._by_name.get(_name(slave), ())
            if old.identity and old.identity == slave.identity and old.lost is not None
            if old.owner == slave.owner
            if old.build is not None and assignment_of(old) != assignment
        ]

    def _add(self, slave: SlaveState, old: SlaveState | None, instant: Instant) -> None:
        """Add *slave*, which continues the session of *old* (``None``: none)."""
        if old is None:
            slave.slave_id = next(self._ids)
        else:
            self._leave(old)
            move(old, Phase.GONE, "returns at a new address", instant)
            slave.slave_id, slave.history = old.slave_id, old.history
            slave.commands, slave.stats = old.commands, old.stats
            slave.build, slave.build_began = old.build, old.build_began
            slave.doubtful = old.doubtful
        slave.greeted = instant.now
        self.slaves[slave.address] = self.by_number[slave.slave_id] = slave
        self._by_name.setdefault(_name(slave), []).append(slave)
        self._by_owner.setdefault(slave.owner, set()).add(slave)

    def _leave(self, slave: SlaveState) -> None:
        """Remove the address and the label of *slave*; its number remains."""
        del self.slaves[slave.address]
        self._twins.discard(slave.slave_id)
        same = self._by_name[_name(slave)]
        same.remove(slave)
        if not same:
            del self._by_name[_name(slave)]
        of_owner = self._by_owner[slave.owner]
        of_owner.remove(slave)
        if not of_owner:
            del self._by_owner[slave.owner]


def _name(slave: SlaveState) -> tuple[str, int]:
    return slave.label, slave.lane


def _who(slave: SlaveState) -> tuple[str, str, list[str]]:
    return slave.identity, slave.owner, platforms_of(slave.offers)


def _about_twins(earlier: SlaveState, later: SlaveState) -> str:
    if later.identity and later.identity == earlier.identity:
        return (
            f"has the identity of slave {earlier.slave_id}: if its disk is a copy, delete slave.id"
            " in the folder of the slave's data there, and restart it; otherwise give each slave"
            " its own --label"
        )
    return f"has the label of slave {earlier.slave_id}: give each slave its own --label"
