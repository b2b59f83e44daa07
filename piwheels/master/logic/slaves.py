"""What one slave is at, and what it may say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from piwheels.core.protocols import FOLLOWS
from piwheels.core.wheels.tags import canonical

if TYPE_CHECKING:
    from piwheels.core.states import SlaveState
    from piwheels.master.logic.effects import Target


def target_of(slave: SlaveState) -> Target:
    """Return what *slave* builds, which must be something."""
    assert slave.job is not None  # noqa: S101 (its callers have looked)
    return (*slave.job, slave.native_abi)


def level_of(slave: SlaveState) -> int:
    """Return the protocol level that *slave* says it speaks."""
    level = (slave.features or {}).get("level")
    return level if type(level) is int else 0


def resumed(slave: SlaveState) -> tuple[str, str] | None:
    """Return the build that a slave of level 1 says it is still at, if it says so properly."""
    match (slave.features or {}).get("resume"):
        case [str() as package, str() as version] if len(package) <= 200 and len(version) <= 200:
            return canonical(package), version
    return None


def allowed(slave: SlaveState) -> frozenset[str]:
    """Return the requests that *slave* may make now (:data:`~piwheels.core.protocols.FOLLOWS`)."""
    if slave.reply is None:
        return frozenset({"BYE"})  # who waits for an answer has nothing to ask
    follows = FOLLOWS[slave.reply[0]]
    if slave.reply[0] == "ACK" and resumed(slave) is not None:
        follows |= FOLLOWS["BUILD"]
    return follows if level_of(slave) > 0 else follows - {"OUTPUT"}
