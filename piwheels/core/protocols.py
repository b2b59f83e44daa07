"""The wires: which messages there are, what data each carries, and which may follow which.

Each wire is a :class:`Protocol` of two tables, written from the master's side; a client uses
``reversed(protocol)``. The values of the tables are *types*, and the checks are derived from them
(:mod:`piwheels.core.checks`): the annotations in :mod:`piwheels.core.states` are the only place
where a field is described. Checked data comes back typed: a positional list becomes its
``NamedTuple`` or state.

What crosses a process boundary is here; what stays among the master's threads is in
:mod:`piwheels.master.wiring`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

import voluptuous as vol

from piwheels.core.checks import check_of
from piwheels.core.codec import NoData
from piwheels.core.errors import BadMessage
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
    ProjectState,
    SearchState,
    SlaveInfo,
    SlaveStats,
    Tag,
    Text,
    Version,
)

__all__ = [
    "CONSOLE_ANSWERS",
    "CONSOLE_MESSAGES",
    "FIRST_IMPORT",
    "FOLLOWS",
    "LEVEL_1_ID",
    "NoData",
    "Protocol",
    "console",
    "lumberjack",
    "master_control",
    "monitor_stats",
    "mr_chase",
    "slave_driver",
    "task_control",
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
        return _checked(self.recv, msg, data)

    def to_send(self, msg: str, data: Any) -> Any:
        """Check a message that is to go out, and return its *data* as given.

        Raises ``BadMessage``, which here is our own fault.
        """
        _checked(self.send, msg, data)
        return data


def _checked(table: Mapping[str, Any], msg: str, data: Any) -> Any:
    try:
        kind = table[msg]
    except KeyError:
        raise BadMessage(f"unknown message {msg[:40]!r}") from None
    try:
        return check_of(kind)(data)
    except vol.Invalid as exc:
        raise BadMessage(f"bad {msg}: {exc}") from exc


_None = type(NoData)

# slave <-> SlaveDriver ----------------------------------------------------------------------------


class Ack(NamedTuple):
    """The master's welcome to a slave."""

    slave_id: Count
    pypi_simple_url: LongText


class Job(NamedTuple):
    """A version to build."""

    package: Package
    version: Version


class Built(NamedTuple):
    """What a slave says of a build that has ended."""

    status: bool
    duration: timedelta
    output: Log
    files: list[FileState]


class SlaveOutput(NamedTuple):
    """The newest lines of the running build's log: *text* from *offset* on (characters).

    At most every two seconds, and only from slaves of level 1.
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

#: How the routing id (of at most 255 bytes) of a slave of level 1 begins. So the master knows the
#: level of a slave whose ``HELLO`` it has not heard.
LEVEL_1_ID: Final = b"piw1-"

#: Which requests a slave may make after which reply of the master (``None``: after none, as a
#: newcomer). Anything else is a protocol error; ``BYE`` may come at any time.
FOLLOWS: Final[Mapping[str | None, frozenset[str]]] = {
    None: frozenset({"HELLO"}),
    "ACK": frozenset({"IDLE", "BYE"}),
    "SLEEP": frozenset({"IDLE", "BYE"}),
    "DONE": frozenset({"IDLE", "BYE"}),
    "BUILD": frozenset({"BUSY", "BUILT", "OUTPUT", "BYE"}),
    "CONT": frozenset({"BUSY", "BUILT", "OUTPUT", "BYE"}),
    "SEND": frozenset({"SENT", "BYE"}),
    "DIE": frozenset({"BYE"}),
}

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

#: What a console sees of a slave: its greeting (ten fields), its figures, the replies it was sent.
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
    """Something that a slave was told or said, for the consoles."""

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
        return event._replace(data=check_of(CONSOLE_MESSAGES[event.message])(event.data))


monitor_stats: Final = Protocol(
    recv={},
    send={"HELLO": MasterInfo, "STATS": MasterStats, "SLAVE": SlaveEvent},
)

# consoles <-> TheOperator (protocol level 1) ------------------------------------------------------
#
# A console's DEALER and the master's ROUTER, frames ``[ticket, message]``, where *ticket* is any
# eight bytes of the console's choice. A request is answered, under its ticket, by ``OK`` with what
# CONSOLE_ANSWERS says, or by ``REFUSED`` with a sentence. Answers come in any order. Once a console
# has said HELLO it also hears, under the ticket of its last HELLO, what happens: OUTCOME, and
# COMMAND (of all consoles, itself included, and of the control socket, whose *who* is ``control``);
# and OUTPUT under the ticket of its WATCH. It says HELLO again every 30 s; who is silent for 90 s,
# or leaves 300 messages unread, is forgotten; all but its HELLO is REFUSED then. At most 16
# questions of a console may wait for an answer; a request has at most 1 MiB.


class Greeting(NamedTuple):
    """A console attaches: the protocol *level* that it speaks, and *who* operates it."""

    level: Count
    who: Text


class Welcome(NamedTuple):
    """The master's answer to a console: its own *level*, who it is, whether the farm is paused."""

    level: Count
    info: MasterInfo
    paused: bool


class Outcome(NamedTuple):
    """How a build ended, and when.

    *build_id* is the database's number: ``None`` for one that was skipped, of which nothing is
    kept. *slave_id* is 0 and *label* empty where the slave is not known any more. *files* is how
    many wheels it made.
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
    """What waits to be built for *abi*: how many versions, and the first of them."""

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

    What lies between the end of an earlier part and *offset*, if anything, is lost.
    """

    slave_id: Count
    package: Package
    version: Version
    offset: Count
    text: Log


class Told(NamedTuple):
    """A command that an operator gave: *who*, which *verb*, to which slaves (``None``: all)."""

    who: Text
    verb: Literal["KILL", "SLEEP", "SKIP", "WAKE", "QUIT"]
    slaves: list[Count] | None
    when: datetime


class Untold(NamedTuple):
    """A slave that did not take a command, and why."""

    slave_id: Count
    why: Text


_Targets = list[Count] | None

console: Final = Protocol(
    recv={
        "HELLO": Greeting,
        "SLAVES": Count,  # those with a greater number, some at a time; none: that was all. Of
        # each the HELLO, the newest STATS, BUILD (with its true start) if it builds or sends, and
        # the last reply; of whole slaves only, about 2,000 events in an answer
        "FIGURES": _None,
        "QUEUE": Count,  # so many versions of each ABI, at most 1,000
        "BUILDS": Count,  # so many, at most 500, the newest first
        "LOG": tuple[Count, Count],  # a build's number, an offset: at most 2**19 characters from it
        "WATCH": Count,  # a slave (at most 100): the end of its build's output, and as it comes
        "UNWATCH": Count,
        "KILL": _Targets,
        "SLEEP": _Targets,
        "SKIP": _Targets,
        "WAKE": _Targets,
        "QUIT": _None,
    },
    send={"OK": Any, "REFUSED": LongText, "OUTPUT": Output, "OUTCOME": Outcome, "COMMAND": Told},
)

#: The data of the OK to each of a console's requests.
CONSOLE_ANSWERS: Final[Mapping[str, Any]] = {
    "HELLO": Welcome,
    "SLAVES": list[SlaveEvent],
    "FIGURES": list[MasterStats],
    "QUEUE": list[QueueHead],
    "BUILDS": list[Outcome],
    "LOG": LogPart,
    "WATCH": _None,
    "UNWATCH": _None,
    "KILL": list[Untold],
    "SLEEP": list[Untold],
    "SKIP": list[Untold],
    "WAKE": list[Untold],
    "QUIT": _None,
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


#: Tools that import choose a number for the file wire from here on (docs/decisions/0027): no slave
#: will ever have one of them.
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
        "WATCH": Package,  # ours: have CloudGazer follow this project, from its newest release on
        "UNWATCH": Package,
    },
    send={"SEND": Filename, "DONE": LongText, "ERROR": LongText},
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

#: What every task hears on its own control socket.
task_control: Final = Protocol(recv={"PAUSE": _None, "QUIT": _None, "RESUME": _None}, send={})
