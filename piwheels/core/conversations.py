"""The conversations: which requests are valid in each phase, and which replies each can have.

:mod:`piwheels.core.protocols` defines the messages themselves. The tables here are also the source
of the diagrams and tables in ``docs/protocols.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Generic, NamedTuple, TypeVar

from piwheels.core.errors import BadMessage
from piwheels.core.protocols import mr_chase
from piwheels.core.states import Phase

__all__ = ["Conversation", "ToolPhase", "slave_conversation", "tool_conversation"]

P = TypeVar("P", bound=StrEnum)


class Conversation(NamedTuple, Generic[P]):
    """The order of messages on a wire on which each request has one reply.

    *turns* maps each phase to its valid requests, and each request to its replies with the phase
    that follows. *interruptions* are valid replies to every request; *farewells* are requests that
    are valid in every phase and have no reply. *level_1* holds the requests and the replies that
    level 0 does not have.
    """

    turns: Mapping[P, Mapping[str, Mapping[str, P]]]
    interruptions: Mapping[str, P]
    farewells: frozenset[str]
    level_1: tuple[frozenset[str], frozenset[str]] = frozenset(), frozenset()

    def requests(self, phase: P, level: int = 1) -> frozenset[str]:
        """Return the valid requests in *phase* at protocol *level*."""
        every = self.farewells.union(self.turns[phase])
        return every if level > 0 else every - self.level_1[0]

    def replies(self, phase: P, request: str, level: int = 1) -> dict[str, P]:
        """Return the valid replies to *request* in *phase*, with the phase that follows each.

        Raises ``BadMessage`` if the request is not valid in *phase*.
        """
        if request not in self.requests(phase, level):
            raise BadMessage(f"{request} is out of order ({phase})")
        if request in self.farewells:
            return {}
        every = {**self.turns[phase][request], **self.interruptions}
        return {
            reply: after
            for reply, after in every.items()
            if level > 0 or reply not in self.level_1[1]
        }


# slave <-> SlaveDriver ----------------------------------------------------------------------------

_ASKS: Final = {
    "IDLE": {"BUILD": Phase.BUILDING, "SLEEP": Phase.ASLEEP},
    "WAIT": {"SLEEP": Phase.ASLEEP},
}
_BUILDS: Final = {
    "BUSY": {"CONT": Phase.BUILDING, "DONE": Phase.IDLE},
    "OUTPUT": {"CONT": Phase.BUILDING, "DONE": Phase.IDLE},
    "BUILT": {"SEND": Phase.SENDING, "DONE": Phase.IDLE},
}

#: The conversation between a slave and SlaveDriver. A slave of level 1 begins as *returning* if it
#: continues a build of a lost session. The reply ``HELLO`` means: the master does not know this
#: slave, which keeps its build and sends its ``HELLO`` again. ``DIE`` means that an
#: operator ended the slave. A slave of level 0 that is refused gets no reply.
slave_conversation: Final = Conversation[Phase](
    turns={
        Phase.NEW: {"HELLO": {"ACK": Phase.IDLE}},
        Phase.RETURNING: {"HELLO": {"ACK": Phase.RESUMING}},
        Phase.IDLE: _ASKS,
        Phase.ASLEEP: _ASKS,
        Phase.RESUMING: {**_ASKS, **_BUILDS},
        Phase.BUILDING: _BUILDS,
        Phase.SENDING: {"SENT": {"SEND": Phase.SENDING, "DONE": Phase.IDLE}},
        Phase.CHECKING: {},
        Phase.GONE: {},
    },
    interruptions={"DIE": Phase.GONE, "REFUSED": Phase.GONE, "HELLO": Phase.NEW},
    farewells=frozenset({"BYE"}),
    level_1=(frozenset({"OUTPUT", "WAIT"}), frozenset({"HELLO", "REFUSED"})),
)

# admin tools <-> MrChase --------------------------------------------------------------------------


class ToolPhase(StrEnum):
    """The phases of an admin tool's conversation with MrChase."""

    READY = "ready"
    SENDING = "sending"  #: the tool transfers a file of its import


_DONE: Final = {"DONE": ToolPhase.READY, "ERROR": ToolPhase.READY}
_TOOL: Final = {
    **{msg: _DONE for msg in mr_chase.recv if msg != "SENT"},
    "IMPORT": {"SEND": ToolPhase.SENDING, "ERROR": ToolPhase.READY},
    **{msg: {msg: ToolPhase.READY, "ERROR": ToolPhase.READY} for msg in ("WHY", "RECIPES")},
}

#: The conversation between an admin tool and MrChase. Any request except ``SENT`` abandons an
#: unfinished import.
tool_conversation: Final = Conversation[ToolPhase](
    turns={
        ToolPhase.READY: _TOOL,
        ToolPhase.SENDING: {**_TOOL, "SENT": {"SEND": ToolPhase.SENDING, **_DONE}},
    },
    interruptions={},
    farewells=frozenset(),
)
