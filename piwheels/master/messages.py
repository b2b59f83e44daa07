"""The messages between the master's tasks: a frozen dataclass each.

A :class:`Message` goes one way; a :class:`Request` is answered with a value of its type parameter.
The annotations are the only description of a message: it is checked against them where it is sent
and where it is received. Which wire carries which messages is in :mod:`piwheels.master.wiring`;
:mod:`piwheels.master.ports` sends them.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Self, TypeVar

from piwheels.core import codec
from piwheels.core.protocols import (
    BuildOutcome,
    CommandReport,
    Job,
    Lane,
    Output,
    Rejection,
    TargetState,
)
from piwheels.core.schema import schema_of
from piwheels.core.states import (
    Count,
    Filename,
    FileState,
    LongText,
    MasterInfo,
    MasterStats,
    Package,
    Pending,
    Tag,
    Text,
    Transition,
    Version,
)
from piwheels.core.targets import Target  # noqa: TC001 (the schema of a message)

A_co = TypeVar("A_co", covariant=True)


class Message:
    """A message of one task to another; it travels as its class's name and a list of its fields."""

    @property
    def name(self) -> str:
        """The name of the message."""
        return type(self).__name__

    def frame(self) -> bytes:
        """Return the message as it travels.

        Raises ``BadMessage`` for a field that its annotation does not allow, ``ValueError`` if the
        message is larger than a frame may be.
        """
        self.of(self)
        cls: Any = type(self)
        return codec.dumps(self.name, schema_of(cls).pack(self))

    @classmethod
    def of(cls, values: Any) -> Self:
        """Return the message whose fields are *values*. Raises ``BadMessage``."""
        type_: Any = cls
        return typing.cast("Self", schema_of(type_).validate(values, cls.__name__))


class Request(Message, Generic[A_co]):
    """A message that is answered with a value of the type *A_co*."""

    #: The type of the answer.
    answer: ClassVar[Any]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        [cls.answer] = typing.get_args(cls.__orig_bases__[0])  # type: ignore[attr-defined]

    def read(self, answer: Any) -> A_co:
        """Return the typed value of an *answer*. Raises ``BadMessage``."""
        return typing.cast(
            "A_co", schema_of(self.answer).validate(answer, f"answer to {self.name}")
        )


#: The parts of a project's pages: the project page, or also its pages in the simple index.
Part = Literal["PROJECT", "BOTH"]

# SlaveDriver <-> TheArchitect -----------------------------------------------------------------


@dataclass(frozen=True)
class BuildQueue(Message):
    """The active *targets* in their order, and lists of the first rows; it replaces all."""

    targets: list[Target]
    rows: list[list[Pending]]


@dataclass(frozen=True)
class QueueEmpty(Message):
    """SlaveDriver has nothing left to hand out, while *active* versions are being built."""

    active: Count


# SlaveDriver -> TheGatekeeper ------------------------------------------------------------------


@dataclass(frozen=True)
class EnrolSlave(Request[None]):
    """Enrol the key *public* of a slave, which has the key of an *invitation*."""

    invitation: Text
    public: Text


@dataclass(frozen=True)
class PinPlatforms(Request[None]):
    """Have the key *public* of a slave be for the *platforms* of its first greeting, and no other.

    The refusal is ``PLATFORM`` if it is for others already.
    """

    public: Text
    platforms: list[Text]


KeyRequest = EnrolSlave | PinPlatforms


# Deletions ------------------------------------------------------------------------------------
#
# SlaveDriver answers None. TheScribe answers with the number of the note in the database that its
# work settles (None: there was no note).


@dataclass(frozen=True)
class DeletePackage(Request[Count | None]):
    """Delete a package: SlaveDriver from its queue, TheScribe from the site."""

    package: Package


@dataclass(frozen=True)
class DeleteVersion(Request[Count | None]):
    """Delete one version of a package, as :class:`DeletePackage` does a package."""

    package: Package
    version: Version


Deletion = DeletePackage | DeleteVersion

# The site's pages: TheSecretary and TheScribe -------------------------------------------------
#
# TheSecretary answers RewritePages when the database has noted it, deletions when TheScribe has
# carried them out, and the others at once. TheScribe answers when the files are written.


@dataclass(frozen=True)
class RewritePages(Request[Count | None]):
    """Write pages of a package.

    TheScribe answers with the number of the note in the database that its work settles.
    """

    part: Part
    package: Package


@dataclass(frozen=True)
class PagesNoted(Request[None]):
    """Write the pages of a package; the database has a note of that already.

    *URGENT* is *BOTH* without delay.
    """

    part: Literal["PROJECT", "BOTH", "URGENT"]
    package: Package


@dataclass(frozen=True)
class WriteLog(Request[None]):
    """Write the log of a build."""

    build_id: Count
    text: str


@dataclass(frozen=True)
class WriteHome(Request[None]):
    """Write the home page with these statistics (a ``MasterStats`` as a dictionary)."""

    stats: Mapping[str, Any]


@dataclass(frozen=True)
class WriteSearch(Request[None]):
    """Write the list of packages that the search uses, with the database's download counts."""


@dataclass(frozen=True)
class WriteRoot(Request[None]):
    """Write the root of the simple index, although the set of projects has not changed."""


SitePage = WriteLog | WriteHome | WriteSearch | WriteRoot
#: The requests to TheScribe.
ScribeRequest = RewritePages | DeletePackage | DeleteVersion | SitePage
#: The requests to TheSecretary.
WebRequest = ScribeRequest | PagesNoted

# Files: FileJuggler ---------------------------------------------------------------------------
#
# *number* is a slave's, or one that a tool has chosen for its import.


@dataclass(frozen=True)
class ExpectFile(Request[None]):
    """Expect a file, to be published as *publish_as* (``None``: under its own name).

    Only *owner*, the holder of a key, may send it (``""``: a local program).
    """

    number: Count
    state: FileState
    publish_as: Filename | None
    owner: Text = ""


@dataclass(frozen=True)
class VerifyFile(Request[dict[str, str | None]]):
    """Verify the file that has been sent, and publish it as a file of *package*.

    The answer is a :class:`~piwheels.master.incoming_file.Verified`.
    """

    number: Count
    package: Package


@dataclass(frozen=True)
class MissingBytes(Request[Count | None]):
    """Ask how many bytes of the file are missing (``None``: no file is expected)."""

    number: Count


@dataclass(frozen=True)
class WithdrawFiles(Request[None]):
    """Drop the file that is being sent, and remove those that were published for this number."""

    number: Count
    package: Package
    filenames: Sequence[Filename]


@dataclass(frozen=True)
class FreeSpace(Request[tuple[Count, Count]]):
    """Ask for the free space of the site's disk and the reserve that it must keep, in bytes."""


@dataclass(frozen=True)
class DropFile(Request[None]):
    """Expect no file from a slave any more: its session or its build has ended."""

    number: Count


FileRequest = ExpectFile | VerifyFile | MissingBytes | WithdrawFiles | FreeSpace | DropFile

# The fleet: TheOperator and MrChase ask SlaveDriver -------------------------------------------


@dataclass(frozen=True)
class ListSlaves(Request[list[Any]]):
    """Ask for the past events of the next slaves with numbers above *after*.

    The answer is a list of ``SlaveEvent``, which is passed on to a console unchecked.
    """

    after: Count


@dataclass(frozen=True)
class SlaveHistory(Request[list[Transition]]):
    """Ask for the last transitions of a slave, the oldest first."""

    slave_id: Count


@dataclass(frozen=True)
class ListQueue(Request[dict[Tag, tuple[Count, list[Job]]]]):
    """Ask, by ABI, how many versions wait to be built, and for the first *most* of them."""

    most: Count


@dataclass(frozen=True)
class ListLanes(Request[list[Lane]]):
    """Ask which slaves with numbers above *after* are lanes of one host."""

    after: Count


@dataclass(frozen=True)
class ListTargets(Request[list[TargetState]]):
    """Ask for the queue of each target, and how many slaves offer to build for it."""


@dataclass(frozen=True)
class CommandSlaves(Request[list[Rejection]]):
    """Give slaves (``None``: all) an operator's command. The answer lists the rejections."""

    verb: Literal["KILL", "SLEEP", "SKIP", "WAKE"]
    slaves: list[Count] | None


@dataclass(frozen=True)
class ListPauses(Request[list[CommandReport]]):
    """Ask which slaves get no work, and who pauses them, in the form of commands."""


class Ability(NamedTuple):
    """What slaves for a target can do: a ``Place`` of :mod:`piwheels.master.logic.cures`."""

    platform: Tag
    abi: Tag
    features: list[Text]
    memory: Count
    release: Text


@dataclass(frozen=True)
class ListAbilities(Request[list[Ability]]):
    """Ask what the slaves for each target can do now."""


FleetRequest = (
    ListSlaves
    | SlaveHistory
    | ListQueue
    | ListLanes
    | ListTargets
    | CommandSlaves
    | ListPauses
    | ListAbilities
)


@dataclass(frozen=True)
class CommandMaster(Message):
    """An operator's command that concerns every task."""

    verb: Literal["SLEEP", "WAKE", "QUIT"]


# Events for consoles: TheOperator ---------------------------------------------------------------


@dataclass(frozen=True)
class MasterStarted(Message):
    """The master has started."""

    info: MasterInfo


@dataclass(frozen=True)
class StatsPublished(Message):
    """The farm's statistics have been gathered."""

    stats: MasterStats


@dataclass(frozen=True)
class OutputReceived(Message):
    """A running build has written to its log."""

    output: Output


@dataclass(frozen=True)
class BuildEnded(Message):
    """A slave's build has ended (*outcome* ``None``: the version will be built again)."""

    slave_id: Count
    outcome: BuildOutcome | None


@dataclass(frozen=True)
class CommandGiven(Message):
    """An operator has given a command over the control socket, or the master has, by itself."""

    command: CommandReport


ConsoleEvent = MasterStarted | StatsPublished | OutputReceived | BuildEnded | CommandGiven

# Statistics: BigBrother -----------------------------------------------------------------------


@dataclass(frozen=True)
class DiskSpace(Message):
    """The size of the site's file system and its free space, in bytes."""

    size: Count
    free: Count


@dataclass(frozen=True)
class BuildsPending(Message):
    """How many versions wait to be built, by ABI."""

    by_abi: dict[Tag, Count]


@dataclass(frozen=True)
class DownloadsCounted(Message):
    """The database has stored *count* more downloads."""

    count: Count


@dataclass(frozen=True)
class PublishStats(Message):
    """Publish the recent statistics again: a console has attached."""


@dataclass(frozen=True)
class RefreshHome(Message):
    """Have the home page written now."""


StatsMessage = DiskSpace | BuildsPending | DownloadsCounted | PublishStats | RefreshHome

# Monitoring: TheSentinel ----------------------------------------------------------------------


class TaskReport(NamedTuple):
    """The state of a task.

    *turn* is the duration of its loop's current turn in seconds, *busy* that of all handlers so
    far; *handled* counts these by ``BUCKETS`` of :mod:`piwheels.core.tasks`. *refused* counts
    invalid messages.
    """

    name: Text
    alive: bool
    begun: bool
    stuck: bool
    turn: float
    busy: float
    handled: list[Count]
    refused: Count


@dataclass(frozen=True)
class TasksSeen(Message):
    """The state of all tasks, from the main thread."""

    tasks: list[TaskReport]


class LostSlave(NamedTuple):
    """A slave that was declared dead."""

    slave_id: Count
    label: Text


@dataclass(frozen=True)
class FleetSeen(Message):
    """How many slaves are in each state, and those that were *lost* since the last report."""

    by_state: dict[Text, Count]
    lost: list[LostSlave]


@dataclass(frozen=True)
class TargetsSeen(Message):
    """The state of all targets, and which have waited without a slave for too long.

    *late* are those for which that is new since the last report.
    """

    targets: list[TargetState]
    unserved: Count
    late: list[TargetState]


@dataclass(frozen=True)
class SlaveSuspended(Message):
    """A slave gets no work, for this *reason*."""

    slave_id: Count
    label: Text
    reason: LongText


@dataclass(frozen=True)
class RowFailed(Message):
    """*slaves* in a row failed to build a version for a target: the farm is at fault.

    *reason* is the code of the last failure's class, *sentence* what to do about it.
    """

    package: Package
    version: Version
    platform: Tag
    abi: Tag
    slaves: list[Text]
    reason: Text
    sentence: LongText


@dataclass(frozen=True)
class TransfersCounted(Message):
    """The *open* transfers with their *missing* bytes; the *ended* ones, by result.

    *received* is the number of bytes in all chunks so far.
    """

    open: Count
    missing: Count
    ended: dict[Text, Count]
    received: Count


@dataclass(frozen=True)
class PagesPending(Message):
    """How many projects have pages that wait to be written."""

    count: Count


@dataclass(frozen=True)
class UpstreamSeen(Message):
    """The seconds since the index last answered (*lag*), and the totals of requests and bytes."""

    lag: float
    requests: Count
    received: Count


MonitorMessage = (
    TasksSeen
    | StatsPublished
    | BuildEnded
    | DiskSpace
    | FleetSeen
    | TargetsSeen
    | SlaveSuspended
    | RowFailed
    | TransfersCounted
    | PagesPending
    | UpstreamSeen
)
