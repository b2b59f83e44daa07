"""The verbs: what each does, to whom it can be done, and how much it asks before it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.console.model.commands import Verb
from piwheels.console.model.eta import total
from piwheels.console.model.slave import State
from piwheels.console.text import clean, short_span
from piwheels.console.ui.format import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from piwheels.console.model.slave import Slave
    from piwheels.console.session import Session

#: So many slaves can be killed before their number has to be typed.
_KILLED: Final = 5


class Deed(NamedTuple):
    """A verb in words: its *key* (``""``: it is for the farm only), and what it does."""

    key: str
    name: str
    does: str
    #: What it does to the farm as a whole; ``""``: it cannot be done to that.
    farm: str = ""
    #: Whether what a slave is building is lost by it, and whether a WAKE in time takes it back.
    loses: bool = False
    undone: bool = False


DEEDS: Final[dict[Verb, Deed]] = {
    Verb.PAUSE: Deed(
        "p", "pause", "builds nothing new; what is being built is finished",
        "no new builds anywhere; running builds finish",
    ),
    Verb.WAKE: Deed(
        "w", "wake", "goes on; a stop not yet done is taken back",
        "goes on; pause, kill and skip marks are cleared on every slave",
    ),
    Verb.SKIP: Deed("s", "skip", "cancels the build, and keeps nothing of it", loses=True),
    Verb.STOP: Deed(
        "x", "stop", "ends once there is nothing to do: after the build",
        "each slave ends after its build", undone=True,
    ),
    Verb.KILL: Deed(
        "K", "kill", "cancels the build, and ends", "every build is cancelled, every slave ends",
        loses=True, undone=True,
    ),
    Verb.HALT: Deed(
        "", "halt", "", "no new builds anywhere, and all running builds are cancelled", loses=True
    ),
    Verb.QUIT: Deed("", "stop", "", "the master ends; slaves keep running and reconnect later"),
}  # fmt: skip
#: The verbs for slaves, in the order in which they are offered.
OF_SLAVES: Final = tuple(verb for verb, deed in DEEDS.items() if deed.key)


class Aim(NamedTuple):
    """Whom a command is for: ids (``None``: the farm), and why not the others that were meant."""

    ids: list[int] | None
    others: dict[int, str]


def aim(session: Session, verb: Verb, slaves: Iterable[int] | None) -> Aim:
    """Return to which of *slaves* a verb can be done now."""
    if slaves is None:
        return Aim(None, {})
    ids, others = [], {}
    for slave_id in slaves:
        slave = session.farm.slaves.get(slave_id)
        why = "has left" if slave is None else _why_not(verb, slave)
        if why:
            others[slave_id] = why
        else:
            ids.append(slave_id)
    return Aim(ids, others)


def possible(session: Session, verb: Verb, slaves: Iterable[int]) -> bool:
    """Return whether a verb can be done to any of *slaves* now."""
    known = (session.farm.slaves.get(slave_id) for slave_id in slaves)
    return any(slave is not None and not _why_not(verb, slave) for slave in known)


def _why_not(verb: Verb, slave: Slave) -> str:
    if slave.told is State.DEAD:
        return "has left"
    if verb is Verb.SKIP and slave.told is not State.BUILD:
        return "builds nothing"
    if verb is Verb.PAUSE and slave.told is State.PAUSE:
        return "is paused"
    return ""


def danger(verb: Verb, ids: Sequence[int] | None) -> int:
    """Return how much is asked before: 0 nothing, 1 yes, 2 yes to a list, 3 a typed word."""
    if ids is None or (verb is Verb.KILL and len(ids) > _KILLED):
        return 3
    many = len(ids) > 1
    match verb:
        case Verb.PAUSE | Verb.WAKE:
            return 1 if many else 0
        case Verb.SKIP | Verb.STOP:
            return 2 if many else 1
    return 2


def title(verb: Verb, ids: Sequence[int] | None) -> str:
    """Return what is to be done, as a heading: ``Skip 3 builds``, ``Stop the master``."""
    name = DEEDS[verb].name.capitalize()
    if ids is None:
        return f"{name} the master" if verb is Verb.QUIT else f"{name} the farm"
    return f"{name} {count(len(ids), 'build' if verb is Verb.SKIP else 'slave')}"


def lost(session: Session, verb: Verb, ids: Sequence[int] | None) -> str:
    """Return what work would be lost, or waited for: ``17 builds, 31h of work``; or nothing."""
    builds, work = session.blast(list(session.farm.slaves) if ids is None else ids)
    if not builds:
        return ""
    if DEEDS[verb].loses:
        return f"Lost: {count(builds, 'build')}, {short_span(work)} of work."
    if verb in (Verb.PAUSE, Verb.STOP):
        who = "It builds" if builds == 1 else f"{builds:,} of them build"
        return f"{who}: that is finished first."
    return ""


def queue_without(session: Session, verb: Verb, ids: Sequence[int] | None) -> str:
    """Return how much longer the queue would last without these slaves; nothing if no longer."""
    if not ids or verb not in (Verb.PAUSE, Verb.STOP, Verb.KILL):
        return ""
    farm = session.farm
    now = total(farm.queues(farm.now)).eta
    then = total(farm.queues(farm.now, without=ids)).eta
    if not now or now == then:
        return ""
    lasts = "never end" if then is None else f"last {short_span(then)}"
    return f"The queue would {lasts} instead of {short_span(now)}."


def reasons(session: Session, others: dict[int, str]) -> str:
    """Return why a verb is not for the *others*: ``#3 pi4-rack1 builds nothing``, or how many."""
    if len(others) == 1:
        ((slave_id, why),) = others.items()
        slave = session.farm.slaves.get(slave_id)
        return f"#{slave_id} {clean(slave.label)} {why}" if slave else f"#{slave_id} {why}"
    whys = sorted(set(others.values()))
    return f"{len(others):,} others: each {' or '.join(whys)}" if whys else ""
