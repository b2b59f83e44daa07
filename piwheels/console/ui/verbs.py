"""The verbs: their effects, the slaves that they apply to, and how to confirm them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.console.model.commands import Verb
from piwheels.console.model.eta import total
from piwheels.console.model.slave import State
from piwheels.console.text import clean, short_span
from piwheels.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from piwheels.console.model.slave import Slave
    from piwheels.console.session import Session

#: An abort of more slaves than this asks the operator to type their number.
_ABORTED: Final = 5


class Action(NamedTuple):
    """A verb in words: its *key* (``""``: it is for the farm only), and its effect."""

    key: str
    name: str
    does: str
    #: The effect on the farm as a whole; ``""``: it does not apply to the farm.
    farm: str = ""
    #: Whether running builds are lost, and whether a resume in time takes it back.
    loses: bool = False
    undone: bool = False


ACTIONS: Final[dict[Verb, Action]] = {
    Verb.PAUSE: Action(
        "p", "pause", "starts no new build; a running build finishes",
        "no new builds anywhere; running builds finish",
    ),
    Verb.RESUME: Action(
        "w", "resume", "builds again; takes back a pause, kill or abort",
        "builds again; withdraws pause, kill and skip from every slave",
    ),
    Verb.SKIP: Action("s", "skip", "abandons the current build and its files", loses=True),
    Verb.KILL: Action(
        "x", "kill", "ends the slave after its build", "every slave ends after its build",
        undone=True,
    ),
    Verb.ABORT: Action(
        "K", "abort", "abandons the build and ends the slave",
        "every build is abandoned, every slave ends", loses=True, undone=True,
    ),
    Verb.HALT: Action(
        "", "halt", "", "no new builds anywhere, and all running builds are abandoned", loses=True
    ),
    Verb.QUIT: Action("", "quit", "", "the master ends; slaves keep running and reconnect later"),
}  # fmt: skip
#: The verbs for slaves, in the sequence in which menus offer them.
SLAVE_VERBS: Final = tuple(verb for verb, action in ACTIONS.items() if action.key)


class Targets(NamedTuple):
    """The slaves that a command is for (``None``: the farm); why the others are excluded."""

    ids: list[int] | None
    excluded: dict[int, str]


def select_targets(session: Session, verb: Verb, slaves: Iterable[int] | None) -> Targets:
    """Return those of *slaves* that a verb applies to now."""
    if slaves is None:
        return Targets(None, {})
    ids, excluded = [], {}
    for slave_id in slaves:
        slave = session.farm.slaves.get(slave_id)
        why = "has left" if slave is None else _why_not(verb, slave)
        if why:
            excluded[slave_id] = why
        else:
            ids.append(slave_id)
    return Targets(ids, excluded)


def applies(session: Session, verb: Verb, slaves: Iterable[int]) -> bool:
    """Return whether a verb applies to any of *slaves* now."""
    known = (session.farm.slaves.get(slave_id) for slave_id in slaves)
    return any(slave is not None and not _why_not(verb, slave) for slave in known)


def _why_not(verb: Verb, slave: Slave) -> str:
    if slave.reported is State.DEAD:
        return "has left"
    if verb is Verb.SKIP and slave.reported is not State.BUILD:
        return "builds nothing"
    if verb is Verb.PAUSE and slave.reported is State.PAUSE:
        return "is paused"
    return ""


def confirm_level(verb: Verb, ids: Sequence[int] | None) -> int:
    """Return how a verb is confirmed: 0 not at all, 1 yes, 2 yes to a list, 3 a typed word."""
    if ids is None or (verb is Verb.ABORT and len(ids) > _ABORTED):
        return 3
    many = len(ids) > 1
    match verb:
        case Verb.PAUSE | Verb.RESUME:
            return 1 if many else 0
        case Verb.SKIP | Verb.KILL:
            return 2 if many else 1
    return 2


def title(verb: Verb, ids: Sequence[int] | None) -> str:
    """Return a heading for a command: ``Skip 3 builds``, ``Quit the master``."""
    name = ACTIONS[verb].name.capitalize()
    if ids is None:
        return f"{name} the master" if verb is Verb.QUIT else f"{name} the farm"
    return f"{name} {counted(len(ids), 'build' if verb is Verb.SKIP else 'slave')}"


def loss(session: Session, verb: Verb, ids: Sequence[int] | None) -> str:
    """Return the work that is lost, or that finishes first, in a sentence; or ``""``."""
    builds, work = session.affected_builds(list(session.farm.slaves) if ids is None else ids)
    if not builds:
        return ""
    if ACTIONS[verb].loses:
        return f"Lost: {counted(builds, 'build')}, {short_span(work)} of work."
    if verb in (Verb.PAUSE, Verb.KILL):
        return (
            "A running build finishes first."
            if builds == 1
            else (f"{builds:,} running builds finish first.")
        )
    return ""


def queue_effect(session: Session, verb: Verb, ids: Sequence[int] | None) -> str:
    """Return how much longer the queue lasts without these slaves; ``""`` if no longer."""
    if not ids or verb not in (Verb.PAUSE, Verb.KILL, Verb.ABORT):
        return ""
    farm = session.farm
    now = total(farm.queues(farm.now)).eta
    then = total(farm.queues(farm.now, without=ids)).eta
    if not now or now == then:
        return ""
    lasts = "never end" if then is None else f"last {short_span(then)}"
    return f"The queue would {lasts} instead of {short_span(now)}."


def explain(session: Session, excluded: dict[int, str]) -> str:
    """Return why slaves are excluded: ``#3 pi4-rack1 builds nothing``, or how many are."""
    if len(excluded) == 1:
        ((slave_id, why),) = excluded.items()
        slave = session.farm.slaves.get(slave_id)
        return f"#{slave_id} {clean(slave.name)} {why}" if slave else f"#{slave_id} {why}"
    whys = sorted(set(excluded.values()))
    return f"{len(excluded):,} excluded: each {' or '.join(whys)}" if whys else ""
