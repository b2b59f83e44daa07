"""The state of one slave: its build, its phase, and the messages that may follow. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from piwheels.core.conversations import slave_conversation
from piwheels.core.errors import one_line
from piwheels.core.protocols import LEVEL_1_ID
from piwheels.core.recipes import Recipe
from piwheels.core.states import Phase, Transition
from piwheels.core.wheels.tags import canonical

if TYPE_CHECKING:
    from piwheels.core.states import Instant, SlaveState
    from piwheels.master.logic.effects import Assignment

#: Every change of phase: those of the conversation, during which a slave may have to wait for the
#: reply about its build (``CHECKING``), and the end of the connection.
TRANSITIONS = (
    {
        (before, after)
        for before, requests in slave_conversation.turns.items()
        for replies in requests.values()
        for after in replies.values()
    }
    | {(phase, Phase.CHECKING) for phase in (Phase.RESUMING, Phase.BUILDING, Phase.SENDING)}
    | {(Phase.CHECKING, phase) for phase in (Phase.SENDING, Phase.IDLE)}
    | {(phase, Phase.GONE) for phase in Phase}
    # A slave that returns at a new address continues its session.
    | {(Phase.GONE, phase) for phase in (Phase.IDLE, Phase.RESUMING)}
)


def is_level_1(address: bytes) -> bool:
    """Return whether a slave understands ``HELLO`` and ``REFUSED`` as replies."""
    return address.startswith(LEVEL_1_ID)


def assignment_of(slave: SlaveState) -> Assignment:
    """Return the version that *slave* builds, and its target; it must have a build."""
    assert slave.build is not None  # noqa: S101
    return slave.build.package, slave.build.version, slave.build.target


def is_building(slave: SlaveState) -> bool:
    """Return whether *slave* has a build that it has not reported as finished."""
    return slave.build is not None and slave.phase in (Phase.BUILDING, Phase.RESUMING)


def build_to_resume(slave: SlaveState) -> tuple[str, str] | None:
    """Return the build that a slave of level 1 wants to resume, if its report is valid."""
    match (slave.features or {}).get("resume"):
        case [str() as package, str() as version] if (
            slave.level > 0 and len(package) <= 200 and len(version) <= 200
        ):
            return canonical(package), version
    return None


def lacks_of(slave: SlaveState) -> str:
    """Return what a slave of level 1 lacks for some builds, by its own report; ``""``: nothing."""
    lacks = (slave.features or {}).get("lacks")
    if slave.level == 0 or not isinstance(lacks, list):
        return ""
    return one_line("; ".join(each for each in lacks if isinstance(each, str)))


def emulated_by(slave: SlaveState) -> list[str]:
    """Return the platforms that a slave of level 1 emulates, by its own report."""
    emulated = (slave.features or {}).get("emulated")
    return emulated if slave.level > 0 and isinstance(emulated, list) else []


def recipe_features(slave: SlaveState) -> frozenset[str]:
    """Return the settings of recipes that a slave of level 1 can carry out, by its own report."""
    names = (slave.features or {}).get("recipes")
    known = names if slave.level > 0 and isinstance(names, list) else []
    return frozenset(name for name in known if name in Recipe._fields)


def carries_out(slave: SlaveState, recipe: Recipe) -> bool:
    """Return whether a slave can build with *recipe*."""
    return recipe.features <= recipe_features(slave) and recipe.memory <= memory_of(slave)


def memory_of(slave: SlaveState) -> int:
    """Return how many bytes one build of a slave may have, by its own report; 0: unknown."""
    memory = (slave.features or {}).get("memory")
    return memory if type(memory) is int and memory > 0 else 0


def receive(slave: SlaveState, msg: str, data: Any, instant: Instant) -> None:
    """Record a request. Raises ``BadMessage`` if it is not allowed in the slave's phase."""
    slave.replies = slave_conversation.replies(slave.phase, msg, slave.level)
    slave.request, slave.data = msg, data
    slave.heard, slave.last_seen, slave.lost = instant.now, instant.at, None


def answer(slave: SlaveState, msg: str, data: Any, instant: Instant) -> None:
    """Record the reply to the last request.

    Raises ``AssertionError`` for a reply that the protocol does not allow: that is a bug.
    """
    assert msg in slave.replies, f"{msg} is no reply to {slave.request} ({slave.phase})"  # noqa: S101
    about = " ".join([msg, *data[:4]]) if msg == "BUILD" else msg
    move(slave, slave.replies[msg], f"{slave.request}: {about}", instant)
    slave.replies = {}
    if slave.reply != (msg, data):
        slave.reply, slave.replied_at = (msg, data), instant.at


def move(slave: SlaveState, phase: Phase, cause: str, instant: Instant) -> None:
    """Record that *slave* enters *phase*. Raises ``AssertionError`` if it is not allowed next."""
    if phase is slave.phase:
        return
    assert (slave.phase, phase) in TRANSITIONS, f"{slave.phase} to {phase} ({cause})"  # noqa: S101
    slave.phase = phase
    slave.history.append(Transition(instant.at, phase.value, cause[:1000]))
