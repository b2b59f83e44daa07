"""The wires: the messages of each, the data of each message, and the order of the messages.

Each wire is a :class:`Protocol` of two tables, written from the master's side; a client uses
``reversed(protocol)``. The values of the tables are *types*, and the checks are derived from them
(:mod:`piwheels.core.schema`): the annotations in :mod:`piwheels.core.states` are the only place
where a field is described. Checked data comes back typed: a positional list becomes its
``NamedTuple`` or state. A :class:`Conversation` says which message may follow which.

The wires between processes are here; those between the master's threads are in
:mod:`piwheels.master.wiring`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, Self, TypeVar

import voluptuous as vol

from piwheels.core.codec import NoData
from piwheels.core.errors import BadMessage
from piwheels.core.schema import Schema, schema_of
from piwheels.core.states import (
    BuildState,
    Count,
    DownloadState,
    Filename,
    FileState,
    JSONState,
    Limit,
    Log,
    LongText,
    MasterInfo,
    MasterStats,
    Package,
    PageState,
    Phase,
    ProjectState,
    SearchState,
    SlaveInfo,
    SlaveStats,
    Tag,
    Text,
    Transition,
    Version,
)

__all__ = [
    "CONSOLE_ANSWERS",
    "CONSOLE_MESSAGES",
    "ENDED_BY_OPERATOR",
    "FIRST_IMPORT",
    "LEVEL_1_ID",
    "Conversation",
    "NoData",
    "Protocol",
    "console",
    "lumberjack",
    "master_control",
    "monitor_stats",
    "mr_chase",
    "slave_conversation",
    "slave_driver",
    "task_control",
    "tool_conversation",
]


class Protocol(NamedTuple):
    """The two directions of a wire, each as a table of message names to the types of their data.

    A message that carries none has the type of ``NoData``.
    """

    recv: Mapping[str, Any]
    send: Mapping[str, Any]

    def __reversed__(self) -> Self:  # type: ignore[override]
        return type(self)(self.send, self.recv)

    def received(self, msg: str, data: Any) -> Any:
        """Return the typed *data* of a message that has come.

        Raises ``BadMessage`` if it is not of this wire.
        """
        schema = _schema(self.recv, msg)
        try:
            return schema.check(data)
        except vol.Invalid as exc:
            raise BadMessage(f"bad {msg}: {exc}") from exc

    def to_send(self, msg: str, data: Any) -> Any:
        """Check a message that is to go out; return its *data* as it travels.

        Raises ``BadMessage``, which is a bug of ours.
        """
        schema = _schema(self.send, msg)
        try:
            schema.check(data)
        except vol.Invalid as exc:
            raise BadMessage(f"bad {msg}: {exc}") from exc
        return schema.pack(data)


def _schema(table: Mapping[str, Any], msg: str) -> Schema:
    try:
        return schema_of(table[msg])
    except KeyError:
        raise BadMessage(f"unknown message {msg[:40]!r}") from None


P = TypeVar("P", bound=StrEnum)


class Conversation(NamedTuple, Generic[P]):
    """The order of messages on a wire on which each request has one reply.

    *turns* has each phase of the conversation, the requests that may come in it, and for each
    request its replies with the phase to which each leads. The *interruptions* may be the reply
    to any request; the *farewells* are requests that may come in any phase, and have no reply.
    Level 0 has neither the requests nor the replies of *level_1* (its two fields).
    """

    turns: Mapping[P, Mapping[str, Mapping[str, P]]]
    interruptions: Mapping[str, P]
    farewells: frozenset[str]
    level_1: tuple[frozenset[str], frozenset[str]] = frozenset(), frozenset()

    def requests(self, phase: P, level: int = 1) -> frozenset[str]:
        """Return the requests that may come in *phase*."""
        every = self.farewells.union(self.turns[phase])
        return every if level > 0 else every - self.level_1[0]

    def replies(self, phase: P, request: str, level: int = 1) -> dict[str, P]:
        """Return the replies that *request* may have in *phase*, with where each leads.

        Raises ``BadMessage`` if the request may not come now.
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


_None = type(NoData)

# slave <-> SlaveDriver ----------------------------------------------------------------------------


class Ack(NamedTuple):
    """The master's reply to a slave's greeting."""

    slave_id: Count
    pypi_simple_url: LongText


class Job(NamedTuple):
    """A version to build."""

    package: Package
    version: Version


class Built(NamedTuple):
    """A slave's report of a build that has ended."""

    status: bool
    duration: timedelta
    output: Log
    files: list[FileState]


class SlaveOutput(NamedTuple):
    """The newest lines of the running build's log: *text* from *offset* on (characters).

    At most every two seconds; only slaves of level 1 send it.
    """

    offset: Count
    text: Annotated[str, Limit("log", 2**16)]


slave_driver: Final = Protocol(
    recv={
        "HELLO": SlaveInfo,
        "IDLE": SlaveStats,
        "BUSY": SlaveStats,
        "BUILT": Built,
        "SENT": _None,
        "BYE": _None,
        "OUTPUT": SlaveOutput,  # level 1
    },
    send={
        "ACK": Ack,
        "BUILD": Job,
        "SLEEP": bool,
        "CONT": _None,
        "SEND": Filename,
        "DONE": _None,
        "DIE": _None,
        "HELLO": _None,  # level 1
        "REFUSED": LongText,  # level 1
    },
)

#: How the routing id (of at most 255 bytes) of a slave begins that understands the replies of
#: level 1. So the master knows that of a slave whose ``HELLO`` it has not received, too.
LEVEL_1_ID: Final = b"piw1-"
#: A slave logs this sentence when it ends by ``DIE``; piw-up looks for it.
ENDED_BY_OPERATOR: Final = "an operator has ended this slave"

_ASKS: Final = {"IDLE": {"BUILD": Phase.BUILDING, "SLEEP": Phase.ASLEEP}}
_BUILDS: Final = {
    "BUSY": {"CONT": Phase.BUILDING, "DONE": Phase.IDLE},
    "OUTPUT": {"CONT": Phase.BUILDING, "DONE": Phase.IDLE},
    "BUILT": {"SEND": Phase.SENDING, "DONE": Phase.IDLE},
}

#: The order of messages between a slave and SlaveDriver. A slave of level 1 begins as *returning*
#: if it still builds a version of a lost session. ``HELLO`` as a reply means: I do not know you
#: (any more), greet me again and keep your build. ``DIE`` means at level 1 that an operator ended
#: the slave; at level 0 it is the reply to all that ``REFUSED`` is at level 1.
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
    level_1=(frozenset({"OUTPUT"}), frozenset({"HELLO", "REFUSED"})),
)

# operator <-> master ------------------------------------------------------------------------------

_Target = Count | None

master_control: Final = Protocol(
    recv={
        "HELLO": _None,
        "KILL": _Target,
        "SLEEP": _Target,
        "SKIP": _Target,
        "WAKE": _Target,
        "QUIT": _None,
    },
    send={},
)

#: The events of a slave that consoles get: its greeting (ten fields), its statistics, its replies.
CONSOLE_MESSAGES: Final[Mapping[str, Any]] = {
    "HELLO": SlaveInfo,
    "STATS": SlaveStats,
    "BUILD": Job,
    "SLEEP": bool,
    "SEND": Filename,
    "DONE": _None,
    "DIE": _None,
}


class SlaveEvent(NamedTuple):
    """A message to or from a slave, for the consoles."""

    slave_id: Count
    timestamp: datetime
    message: Text
    data: Any

    @classmethod
    def checked(cls, parts: Iterable[Any]) -> Self:
        """Make an event whose data has been checked as its message demands."""
        event = cls(*parts)
        if event.message not in CONSOLE_MESSAGES:
            raise vol.Invalid(f"unknown slave message {event.message[:40]!r}")
        return event._replace(data=schema_of(CONSOLE_MESSAGES[event.message]).check(event.data))


monitor_stats: Final = Protocol(
    recv={},
    send={"HELLO": MasterInfo, "STATS": MasterStats, "SLAVE": SlaveEvent},
)

# consoles <-> TheOperator (protocol level 1) ------------------------------------------------------
#
# A console's DEALER and the master's ROUTER, frames ``[ticket, message]``, where *ticket* is any
# eight bytes of the console's choice. Each request is answered under its ticket: by ``OK`` with the
# data of CONSOLE_ANSWERS, or by ``REFUSED`` with a sentence. Answers come in any order. A console
# that has said HELLO also gets events, under the ticket of its last HELLO: OUTCOME, and COMMAND (of
# all consoles, itself included, and of the control socket, whose *who* is ``control``); and OUTPUT
# under the ticket of its WATCH. It repeats its HELLO every 30 s. The master forgets a console that
# is silent for 90 s, or leaves 300 messages unread, and refuses all but its HELLO from then on. At
# most 16 requests of a console may wait for an answer; a request has at most 1 MiB.


class Greeting(NamedTuple):
    """A console attaches: the protocol *level* that it speaks, and *who* operates it."""

    level: Count
    who: Text


class Welcome(NamedTuple):
    """The master's answer to a console: its own *level*, who it is, whether the farm is paused."""

    level: Count
    info: MasterInfo
    paused: bool


class BuildOutcome(NamedTuple):
    """How a build ended, and when.

    *build_id* is the database's number: ``None`` for a skipped build, which is not stored.
    *slave_id* is 0 and *label* empty if the slave is unknown. *files* is the number of wheels.
    """

    build_id: Count | None
    slave_id: Count
    label: Text
    package: Package
    version: Version
    abi: Tag
    result: Literal["ok", "failed", "skipped"]
    duration: timedelta
    files: Count
    ended: datetime


class QueueHead(NamedTuple):
    """The build queue of *abi*: its length, and its first versions."""

    abi: Tag
    pending: Count
    first: list[Job]


class LogPart(NamedTuple):
    """A part of a finished build's log: *text* from *offset* on, of *size* in all (characters)."""

    offset: Count
    text: Log
    size: Count


class Output(NamedTuple):
    """New lines of a running build's log: *text* from *offset* on (characters).

    Text between the end of an earlier part and *offset* is lost.
    """

    slave_id: Count
    package: Package
    version: Version
    offset: Count
    text: Log


class CommandReport(NamedTuple):
    """A command of an operator: *who* gave which *verb* to which slaves (``None``: all)."""

    who: Text
    verb: Literal["KILL", "SLEEP", "SKIP", "WAKE", "QUIT"]
    slaves: list[Count] | None
    when: datetime


class Rejection(NamedTuple):
    """A slave that rejected a command, and why."""

    slave_id: Count
    why: Text


_Targets = list[Count] | None

#: Each request of a console: its data, and the data of the ``OK`` that answers it.
_CONSOLE_REQUESTS: Final[Mapping[str, tuple[Any, Any]]] = {
    "HELLO": (Greeting, Welcome),
    # Events of the slaves with a greater number, about 2,000 in an answer, of whole slaves only:
    # HELLO, the newest STATS, BUILD (with its true start) if it builds or sends, and the last
    # reply. An empty answer: there are no more.
    "SLAVES": (Count, list[SlaveEvent]),
    "HISTORY": (Count, list[Transition]),  # of this slave
    "FIGURES": (_None, list[MasterStats]),
    "QUEUE": (Count, list[QueueHead]),  # so many versions of each ABI, at most 1,000
    "BUILDS": (Count, list[BuildOutcome]),  # so many, at most 500, the newest first
    # A build's number, and an offset: at most 2**19 characters from it.
    "LOG": (tuple[Count, Count], LogPart),
    # A slave (at most 100): the end of its build's output, then new lines.
    "WATCH": (Count, _None),
    "UNWATCH": (Count, _None),
    "KILL": (_Targets, list[Rejection]),
    "SLEEP": (_Targets, list[Rejection]),
    "SKIP": (_Targets, list[Rejection]),
    "WAKE": (_Targets, list[Rejection]),
    "QUIT": (_None, _None),
}

console: Final = Protocol(
    recv={msg: data for msg, (data, _) in _CONSOLE_REQUESTS.items()},
    send={
        "OK": Any,
        "REFUSED": LongText,
        "OUTPUT": Output,
        "OUTCOME": BuildOutcome,
        "COMMAND": CommandReport,
    },
)

#: The data of the OK to each of a console's requests.
CONSOLE_ANSWERS: Final[Mapping[str, Any]] = {
    msg: answer for msg, (_, answer) in _CONSOLE_REQUESTS.items()
}

# admin tools <-> MrChase --------------------------------------------------------------------------


class AddPackage(NamedTuple):
    """Register a package, or update its description, skip reason and aliases."""

    package: Package
    description: LongText
    skip: LongText
    unskip: bool
    aliases: list[Package]


class AddVersion(NamedTuple):
    """Register a version of a package, or update its skip reason and yank."""

    package: Package
    version: Version
    skip: LongText
    unskip: bool
    released: datetime
    yank: bool
    unyank: bool
    aliases: list[Package]


class RemovePackage(NamedTuple):
    """Remove a package, or only its builds, or skip it with a reason."""

    package: Package
    builds: bool
    skip: LongText


class RemoveVersion(NamedTuple):
    """Remove a version, or only its builds; skip it with a reason, or yank it."""

    package: Package
    version: Version
    builds: bool
    skip: LongText
    yank: bool


#: The least number that an importing tool may choose for the file wire (docs/decisions/0027). No
#: slave ever has such a number.
FIRST_IMPORT: Final = 2**32

mr_chase: Final = Protocol(
    recv={
        "ADDPKG": AddPackage,
        "ADDVER": AddVersion,
        "REMPKG": RemovePackage,
        "REMVER": RemoveVersion,
        "REBUILD": tuple[Literal["HOME", "SEARCH"]]
        | tuple[Literal["PROJECT", "BOTH"], Package | None],
        "IMPORT": BuildState,
        "SENT": _None,
        "WATCH": Package,  # have CloudGazer follow this project, from its newest release on
        "UNWATCH": Package,
    },
    send={"SEND": Filename, "DONE": LongText, "ERROR": LongText},
)


class ToolPhase(StrEnum):
    """The state of an admin tool's conversation with MrChase."""

    READY = "ready"
    SENDING = "sending"  #: the tool transfers a file of its import


_DONE: Final = {"DONE": ToolPhase.READY, "ERROR": ToolPhase.READY}
_TOOL: Final = {
    **{msg: _DONE for msg in mr_chase.recv if msg != "SENT"},
    "IMPORT": {"SEND": ToolPhase.SENDING, "ERROR": ToolPhase.READY},
}

#: The order of messages between an admin tool and MrChase. Any other request than ``SENT`` gives
#: up an import that is under way.
tool_conversation: Final = Conversation[ToolPhase](
    turns={
        ToolPhase.READY: _TOOL,
        ToolPhase.SENDING: {**_TOOL, "SENT": {"SEND": ToolPhase.SENDING, **_DONE}},
    },
    interruptions={},
    farewells=frozenset(),
)

# piw-logger -> Lumberjack -------------------------------------------------------------------------

lumberjack: Final = Protocol(
    recv={
        "LOGDOWNLOAD": DownloadState,
        "LOGSEARCH": SearchState,
        "LOGPROJECT": ProjectState,
        "LOGJSON": JSONState,
        "LOGPAGE": PageState,
    },
    send={},
)

# anyone -> a task ---------------------------------------------------------------------------------

#: The control socket that every task has.
task_control: Final = Protocol(recv={"PAUSE": _None, "QUIT": _None, "RESUME": _None}, send={})
