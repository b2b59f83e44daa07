"""The differences between two snapshots of a farm, in sentences."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.console.model.heat import group_of
from piwheels.console.model.slave import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from piwheels.console.model.farm import FarmModel


class Seen(NamedTuple):
    """A slave in a snapshot."""

    label: str
    group: str
    state: State


class Snapshot(NamedTuple):
    """A farm at a moment (console time); *pending* is ``None`` if it is unknown."""

    at: datetime
    slaves: Mapping[int, Seen]
    pending: int | None


_WELL: Final = frozenset(State) - {State.SILENT, State.EXPIRED, State.DEAD}
#: Words for a change of state; the first that matches counts.
_CHANGES: Final[Sequence[tuple[str, Callable[[State, State], bool]]]] = (
    ("died or left", lambda old, new: new is State.DEAD and old is not State.DEAD),
    ("expired", lambda old, new: new is State.EXPIRED and old is not State.EXPIRED),
    ("went silent", lambda old, new: new is State.SILENT and old in _WELL),
    ("came back", lambda old, new: old not in _WELL and new in _WELL),
    ("were paused", lambda old, new: new is State.PAUSE and old is not State.PAUSE),
    ("were resumed", lambda old, new: old is State.PAUSE and new in _WELL - {State.PAUSE}),
)


def take_snapshot(farm: FarmModel, at: datetime) -> Snapshot:
    """Return a snapshot of *farm* at the moment *at*."""
    slaves = {
        slave.id: Seen(slave.label, group_of(slave), slave.state_at(at))
        for slave in farm.slaves.values()
    }
    pending = sum(farm.stats[-1].builds_pending.values()) if farm.stats else None
    return Snapshot(at, slaves, pending)


def compare(one: Snapshot, other: Snapshot) -> list[str]:
    """Return the differences in sentences: ``7 went silent, all rack3``."""
    before, after = sorted((one, other), key=lambda snapshot: snapshot.at)
    changed: dict[str, list[Seen]] = {}
    for number, seen in after.slaves.items():
        old = before.slaves.get(number)
        if old is None:
            changed.setdefault("joined", []).append(seen)
            continue
        for words, fits in _CHANGES:
            if fits(old.state, seen.state):
                changed.setdefault(words, []).append(seen)
                break
    for number, seen in before.slaves.items():
        if number not in after.slaves and seen.state is not State.DEAD:
            changed.setdefault("died or left", []).append(seen)
    sequence = [*(words for words, _ in _CHANGES), "joined"]
    sentences = [_sentence(words, changed[words]) for words in sequence if words in changed]
    if None not in (before.pending, after.pending) and before.pending != after.pending:
        sentences.append(f"the queue went from {before.pending:,} to {after.pending:,}")
    return sentences or ["no slave joined, left, fell silent, came back, was paused or resumed"]


def _sentence(words: str, slaves: Sequence[Seen]) -> str:
    """Return the number of slaves, with their names or their group if that is informative."""
    count = len(slaves)
    if count <= 3:
        return f"{count} {words}: {', '.join(sorted(seen.label for seen in slaves))}"
    group, most = Counter(seen.group for seen in slaves).most_common(1)[0]
    if most == count:
        return f"{count:,} {words}, all {group}"
    return f"{count:,} {words}" + (f", {most:,} of them {group}" if most * 2 > count else "")
