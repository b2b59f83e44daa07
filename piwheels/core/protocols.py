"""The wires: the messages of each, and the data of each message.

Each wire is a :class:`Protocol` of two tables, written from the master's side; a client uses
``reversed(protocol)``. The values of the tables are *types*, and the checks are derived from them
(:mod:`piwheels.core.schema`): the annotations in :mod:`piwheels.core.states` are the only place
that describes a field. Checked data is typed: a list becomes its ``NamedTuple`` or state.
:mod:`piwheels.core.conversations` defines the valid sequences of messages.

This module declares the wires between processes; :mod:`piwheels.master.wiring` declares those
between the master's threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

import voluptuous as vol

from piwheels.core import codec
from piwheels.core.codec import NoData
from piwheels.core.errors import BadMessage
from piwheels.core.recipes import PLAIN, Recipe
from piwheels.core.schema import Schema, schema_of
from piwheels.core.states import (
    BuildState,
    Count,
    DownloadState,
    Fetch,
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
    Transition,
    Trial,
    Version,
)
from piwheels.core.targets import Target

__all__ = [
    "CONSOLE_ANSWERS",
    "CONSOLE_MESSAGES",
    "ENDED_BY_OPERATOR",
    "FIRST_IMPORT",
    "LEVEL_1_ID",
    "NOT_EMULATING",
    "SANDBOX",
    "STOPPED_BY_OPERATOR",
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


#: The size of a received message, in bytes, unless it is one of the *large* ones of its protocol.
SMALL: Final = 2**18 + 2**10


class Protocol(NamedTuple):
    """The two directions of a wire, each as a table of message names to the types of their data.

    A message without data has the type of ``NoData``. Received messages are :data:`SMALL`, except
    for those that are *large* (``None``: any may be).
    """

    recv: Mapping[str, Any]
    send: Mapping[str, Any]
    large: frozenset[str] | None = None

    def __reversed__(self) -> Self:  # type: ignore[override]
        return type(self)(self.send, self.recv)

    def check_size(self, frame: bytes) -> None:
        """Raise ``BadMessage`` for a *frame* that is too large for its message to be decoded."""
        if self.large is None:
            return
        if codec.has_too_many(frame):
            raise _too_large(frame, "too many elements")
        if len(frame) > SMALL and codec.name_of(frame) not in self.large:
            raise _too_large(frame, f"{len(frame):,} bytes, of at most {SMALL:,}")

    def received(self, msg: str, data: Any) -> Any:
        """Return the typed *data* of a received message.

        Raises ``BadMessage`` if the message or its data is invalid.
        """
        return _schema(self.recv, msg).validate(data, msg)

    def to_send(self, msg: str, data: Any) -> Any:
        """Return the *data* of an outgoing message, packed for the codec.

        Raises ``BadMessage`` if the message or its data is invalid: a bug of the caller.
        """
        schema = _schema(self.send, msg)
        schema.validate(data, msg)
        return schema.pack(data)


def _too_large(frame: bytes, why: str) -> BadMessage:
    name = codec.name_of(frame)
    found = BadMessage(f"{name[:40]!r} with {why}")
    found.message = name
    return found


def _schema(table: Mapping[str, Any], msg: str) -> Schema:
    try:
        return schema_of(table[msg])
    except KeyError:
        raise BadMessage(f"unknown message {msg[:40]!r}") from None


_None = type(NoData)

# slave <-> SlaveDriver ----------------------------------------------------------------------------


class Ack(NamedTuple):
    """The master's reply to a slave's ``HELLO``."""

    slave_id: Count
    pypi_simple_url: LongText


class Job(NamedTuple):
    """A version to build."""

    package: Package
    version: Version


class Order(NamedTuple):
    """A version to build for one of the targets that a slave of level 1 offers.

    Only a slave that announced the features of the *recipe* gets one.
    """

    package: Package
    version: Version
    abi: Tag
    platform: Tag
    recipe: Recipe = PLAIN


class Built(NamedTuple):
    """A slave's report of a finished build. Protocol level 0 has only the first four fields.

    *lost*: its supervisor was killed, so that nobody knows how the build would have ended.
    *ending* says how its pip ended (:func:`piwheels.core.diagnosis.diagnose`).
    """

    status: bool
    duration: timedelta
    output: Log
    files: list[FileState]
    fetches: tuple[Fetch, ...] = ()
    trials: tuple[Trial, ...] = ()
    lost: bool = False
    ending: Text = ""


class SlaveOutput(NamedTuple):
    """The newest lines of the running build's log: *text* from *offset* on (characters).

    Only slaves of level 1 send it, at most every two seconds.
    """

    offset: Count
    text: Annotated[str, Limit("log", 2**16)]


slave_driver: Final = Protocol(
    recv={
        "HELLO": SlaveInfo,
        "IDLE": SlaveStats,
        "WAIT": SlaveStats,  # level 1, lanes
        "BUSY": SlaveStats,
        "BUILT": Built,
        "SENT": _None,
        "BYE": _None,
        "OUTPUT": SlaveOutput,  # level 1
    },
    send={
        "ACK": Ack,
        "BUILD": Job | Order,
        "SLEEP": bool,
        "CONT": _None,
        "SEND": Filename,
        "DONE": _None,
        "DIE": _None,
        "HELLO": _None,  # level 1
        "REFUSED": LongText,  # level 1
    },
    large=frozenset({"BUILT"}),
)

#: The prefix of the routing id (at most 255 bytes) of a slave of level 1. It tells the master the
#: level of a slave whose ``HELLO`` it has not received.
LEVEL_1_ID: Final = b"piw1-"
#: A slave logs this sentence when it ends by ``DIE``; piw-up looks for it.
ENDED_BY_OPERATOR: Final = "an operator has ended this slave"
#: A slave logs this with the name of the sandbox, and what that lacks; piw-up looks for it.
SANDBOX: Final = "sandbox of builds: "
#: A slave logs this with a system of --emulate that it leaves out, and why; piw-up looks for it.
NOT_EMULATING: Final = "not emulating "
#: The line in a master's log after the command QUIT.
STOPPED_BY_OPERATOR: Final = "an operator said QUIT"

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
    large=frozenset(),
)

#: The messages of slaves that consoles receive: HELLO (ten fields), statistics, replies.
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
        """Return the event with checked data. Raises ``voluptuous.Invalid``."""
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
# A console has a DEALER socket, the master a ROUTER socket. The frames are ``[ticket, message]``;
# the console chooses any eight bytes as the *ticket* of a request. The master answers under that
# ticket: ``OK`` with the data of CONSOLE_ANSWERS, or ``REFUSED`` with a sentence. Answers arrive in
# any order. After its HELLO, a console also receives events: under the ticket of its last HELLO,
# OUTCOME, and COMMAND (from all consoles, itself included, and from the control socket, whose *who*
# is ``control``); under the ticket of its WATCH, OUTPUT. It repeats its HELLO every 30 s. The
# master drops a console that is silent for 90 s, or leaves 300 messages or 32 MiB unread; after
# that, it refuses all its requests except HELLO. A console may have at most 16 unanswered requests.


class Greeting(NamedTuple):
    """The HELLO of a console: its protocol *level*, and *who* operates it."""

    level: Count
    who: Text


class Welcome(NamedTuple):
    """The master's answer to HELLO: its *level*, its description, whether the farm is paused.

    The last field, a *warning* for each operator, may be left out.
    """

    level: Count
    info: MasterInfo
    paused: bool
    warning: LongText = ""


class BuildOutcome(NamedTuple):
    """The result of a build.

    *build_id* is its number in the database, or ``None`` for a skipped build, which has none.
    *slave_id* is 0 and *label* empty if the slave is unknown. *files* is the number of wheels.
    *again*: a failure that another slave has to confirm, or the same one a day later. *reason*,
    *subject* and *cause* are the diagnosis of a failure, *recipe* the words of its recipe; one that
    does not *count* is a failure of the farm. It is tried again at *retry_at*.
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
    again: bool = False
    platform: Text = ""
    reason: Text = ""
    subject: Text = ""
    cause: LongText = ""
    counts: bool = True
    recipe: LongText = ""
    retry_at: datetime | None = None


class QueueHead(NamedTuple):
    """The build queue of *abi*: its length *pending*, and its *first* versions."""

    abi: Tag
    pending: Count
    first: list[Job]


class Lane(NamedTuple):
    """A slave that is a lane of a host; the lanes of one *host* have its name in common."""

    slave_id: Count
    host: Text
    lane: Count


class TargetState(NamedTuple):
    """The queue of a target, and the number of *slaves* that offer to build for it.

    *platform* is a platform family (``any``: wheels for any one platform serve the target). It has
    waited without a slave since *waits_since*. *skip* is the reason why nothing is built for it.
    """

    platform: Tag
    abi: Tag
    pending: Count
    slaves: Count
    waits_since: datetime | None = None
    skip: LongText = ""


#: How long a target waits without a slave before that is reported to operators.
UNSERVED: Final = timedelta(minutes=10)


class Position(NamedTuple):
    """The *place* of a version in the queue of a target (from 1, of so many), and *why*."""

    platform: Tag
    abi: Tag
    place: Count
    of: Count
    why: list[LongText]


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
    """A command: *who* sent which *verb* to which *slaves* (``None``: all)."""

    who: Text
    verb: Literal["KILL", "SLEEP", "SKIP", "WAKE", "QUIT"]
    slaves: list[Count] | None
    when: datetime


class Rejection(NamedTuple):
    """A slave that rejected a command, and why."""

    slave_id: Count
    why: Text


class AskWhy(NamedTuple):
    """Ask why there is no wheel of *version* (``""``: of any) of a package."""

    package: Package
    version: Text = ""


#: Whether there is a wheel, or why there is none.
WhyState = Literal[
    "built", "waiting", "building", "put-off", "failed", "not-for-python", "only-wheels",
    "skipped", "quarantined",
]  # fmt: skip


class Why(NamedTuple):
    """Why there is a wheel of a version for a target, or none.

    *text* says it in one line, *detail* is the decisive line of a failure's log. *build_id* is the
    build that it is about (0: none).
    """

    version: Version
    platform: Tag
    abi: Tag
    state: WhyState
    text: LongText
    detail: LongText = ""
    build_id: Count = 0

    @property
    def target(self) -> Target:
        """The target."""
        return Target(self.platform, self.abi)


class WhyAnswer(NamedTuple):
    """The answer to :class:`AskWhy`: a line for each version and target, the newest version first.

    *left_out* older versions are left out.
    """

    lines: list[Why]
    left_out: Count


class FailuresAsked(NamedTuple):
    """The failures of the last *days* that have a *reason* and a *subject*."""

    days: Count
    reason: Text
    subject: Text


class FailureCount(NamedTuple):
    """How many failures (*builds*) of how many *packages* have a *reason* and a *subject*.

    Only failures count that stand: no other build serves their target, none waits.
    """

    reason: Text
    subject: Text
    builds: Count
    packages: Count


class RetryAsked(NamedTuple):
    """Have these failures built again. *preview*: only count them."""

    failures: FailuresAsked
    preview: bool


_Targets = list[Count] | None

#: Each request of a console: its data, and the data of the ``OK`` that answers it.
_CONSOLE_REQUESTS: Final[Mapping[str, tuple[Any, Any]]] = {
    "HELLO": (Greeting, Welcome),
    # Events of the slaves with a greater number, about 2,000 in an answer, of whole slaves only:
    # HELLO, the newest STATS, BUILD (with its true start) if it builds or sends, and the last
    # reply. An empty answer: there are no more.
    "SLAVES": (Count, list[SlaveEvent]),
    "HISTORY": (Count, list[Transition]),  # of this slave
    "HOSTS": (Count, list[Lane]),  # the slaves with a greater number that are lanes
    "FIGURES": (_None, list[MasterStats]),
    "QUEUE": (Count, list[QueueHead]),  # so many versions of each ABI, at most 1,000
    "TARGETS": (_None, list[TargetState]),
    "POSITION": (Job, list[Position]),  # of this version, for each target that it waits for
    "BUILDS": (Count, list[BuildOutcome]),  # so many, at most 500, the newest first
    "WHY": (AskWhy, WhyAnswer),  # at most the newest 20 versions
    "FAILURES": (Count, list[FailureCount]),  # of so many days, at most 500, most builds first
    "FAILED": (FailuresAsked, list[BuildOutcome]),  # at most 200, the newest first
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
    # A version, or many failures: all failed attempts are forgotten. The answer is their number.
    "RETRY": (Job | RetryAsked, Count),
    "FIRST": (Job, _None),  # build this version before others
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
    large=frozenset(),
)

#: The data of the OK to each request of a console.
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
    """Register a version of a package, or update its skip reason, yank and priority.

    The last two fields may be left out: the reason of a yank, and the priority of the builds of the
    version (``""``: as it is).
    """

    package: Package
    version: Version
    skip: LongText
    unskip: bool
    released: datetime
    yank: bool
    unyank: bool
    aliases: list[Package]
    yank_reason: LongText = ""
    priority: Literal["", "first", "security", "normal"] = ""


class RemovePackage(NamedTuple):
    """Remove a package, or only its builds, or skip it with a reason."""

    package: Package
    builds: bool
    skip: LongText


class RemoveVersion(NamedTuple):
    """Remove a version, or only its builds; skip it with a reason, or yank it.

    The reason of a yank may be left out.
    """

    package: Package
    version: Version
    builds: bool
    skip: LongText
    yank: bool
    yank_reason: LongText = ""


class RetryFailed(NamedTuple):
    """Have what failed since *since* on the slave *label* (``""``: any) built again.

    The answer is the number of failed builds. *preview*: change nothing.
    """

    since: datetime
    label: Text
    preview: bool


class RetryReason(NamedTuple):
    """Have what failed since *since* for *reason* built again, all attempts before it included.

    *subject* is what the reason is about (``None``: anything). The answer is the number of
    failures, one for each version and target. *preview*: change nothing.
    """

    since: datetime
    reason: Text
    subject: Text | None
    preview: bool


class SetRecipe(NamedTuple):
    """Have the builds of a package begin with *recipe*; a plain one: with none.

    *retry*: what the recipe could cure of the package is built again. The answer is the number of
    these failures. *preview*: change nothing.
    """

    package: Package
    recipe: Recipe
    retry: bool
    preview: bool


class StoredRecipe(NamedTuple):
    """What the builds of a package begin with, written *by* an *operator* or found by the farm.

    *files* is the number of files of the package that were made with a recipe.
    """

    package: Package
    recipe: Recipe
    by_operator: bool
    since: datetime
    files: Count


#: The least ``slave_id`` of an import (docs/decisions/0027). Slaves have smaller numbers.
FIRST_IMPORT: Final = 2**32

mr_chase: Final = Protocol(
    recv={
        "ADDPKG": AddPackage,
        "ADDVER": AddVersion,
        "REMPKG": RemovePackage,
        "REMVER": RemoveVersion,
        "REBUILD": tuple[Literal["HOME", "SEARCH"]]
        | tuple[Literal["PROJECT", "BOTH"], Package | None],
        "RETRY": RetryFailed,
        "RETRYREASON": RetryReason,
        "RETRYVERSION": Job,
        "CURE": bool,  # try again what the farm could cure now; true: only say how much
        "SETRECIPE": SetRecipe,
        "RECIPES": Text,  # the first ones after a package, at most 1,000
        "WHY": AskWhy,
        "IMPORT": BuildState,
        "SENT": _None,
        "WATCH": Package,  # follow this project from its newest release on
        "UNWATCH": Package,
    },
    send={
        "SEND": Filename,
        "DONE": LongText,
        "ERROR": LongText,
        "WHY": WhyAnswer,
        "RECIPES": list[StoredRecipe],
    },
    large=frozenset({"IMPORT"}),
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
    large=frozenset(),
)

# any thread -> a task -----------------------------------------------------------------------------

#: The control socket of every task.
task_control: Final = Protocol(recv={"PAUSE": _None, "QUIT": _None, "RESUME": _None}, send={})
