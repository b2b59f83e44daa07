"""The data of messages: builds, files, slaves, statistics, log entries.

A ``NamedTuple`` travels as the list of its fields. :mod:`piwheels.core.schema` derives its schema
from its annotations, which are therefore types *with limits* (the aliases below). Data that
changes in memory is a dataclass with slots; ``as_message`` and ``from_message`` convert those that
travel.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple, Self

from piwheels.core.diagnosis.classes import Diagnosis
from piwheels.core.errors import BadMessage
from piwheels.core.recipes import PLAIN, Recipe
from piwheels.core.schema import Limit as Limit  # noqa: PLC0414 (re-exported)
from piwheels.core.schema import schema_of
from piwheels.core.targets import Target, family
from piwheels.core.transfers import TransferState as TransferState  # noqa: PLC0414, TC001 (re-exported)

# Types with their limits, which piwheels.core.schema checks. --------------------------------------

#: Text of at most 200 characters, without control characters.
Text = Annotated[str, Limit("text")]
#: The most addresses that a build is noted to have asked for, and the most characters of one.
MAX_FETCHES, MAX_URL = 1100, 500
#: A build's log: any text that fits a 16 MiB frame.
Log = Annotated[str, Limit("log", 15 * 2**20)]
#: A longer text of one line: a reason, a user agent, a specifier.
LongText = Annotated[str, Limit("text", 8192)]
#: A whole number that is not negative (a size, a count), as wide as PostgreSQL's BIGINT.
Count = Annotated[int, Limit("count", 2**63 - 1)]
#: The bare name of a wheel file.
Filename = Annotated[str, Limit("filename", 255)]
#: 64 lower-case hexadecimal digits.
Sha256 = Annotated[str, Limit("sha256", 64)]
#: A project name (PEP 508), in any spelling.
Package = Annotated[str, Limit("package")]
#: A version, as the index spells it.
Version = Annotated[str, Limit("version")]
#: A part of a wheel's compatibility tag (PEP 425).
Tag = Annotated[str, Limit("tag")]

#: What a slave says about itself, by name: at most 4 KiB.
Features = Annotated[dict[str, Any], Limit("map", 4096)]

#: ``{"apt": [...], "pip": [...], "": [...]}``: ``""`` holds what no known package provides.
Dependencies = Mapping[Literal["apt", "pip", ""], Sequence[Text]]

# Statistics ---------------------------------------------------------------------------------------


class SlaveStats(NamedTuple):
    """The statistics of a build machine. Unknown values are 0.

    Sizes are in bytes, *cpu_temp* is in degrees Celsius.
    """

    timestamp: datetime
    disk_size: Count
    disk_free: Count
    mem_size: Count
    mem_free: Count
    swap_size: Count
    swap_free: Count
    load_average: float
    cpu_temp: float


class MasterStats(NamedTuple):
    """The statistics of the farm. Sizes are in bytes; the maps count by ABI tag."""

    timestamp: datetime
    packages_built: Count
    builds_last_hour: dict[Tag, Count]
    builds_time: timedelta
    builds_size: Count
    builds_pending: dict[Tag, Count]
    new_last_hour: Count
    files_count: Count
    downloads_last_hour: Count
    downloads_last_month: Count
    downloads_all: Count
    disk_size: Count
    disk_free: Count
    mem_size: Count
    mem_free: Count
    swap_size: Count
    swap_free: Count
    load_average: float
    cpu_temp: float


class SlaveInfo(NamedTuple):
    """The data of a slave's ``HELLO``. Protocol level 0 omits *features*."""

    build_timeout: timedelta
    busy_timeout: timedelta
    native_py_version: Text
    native_abi: Tag
    native_platform: Text
    label: Text
    os_name: Text
    os_version: Text
    board_revision: Text
    board_serial: Text
    features: Features | None = None


class Offer(NamedTuple):
    """A target that a slave builds for: *py_version* is like ``"311"``, *platform* is a tag."""

    py_version: Text
    abi: Tag
    platform: Tag

    @property
    def target(self) -> Target:
        """The target."""
        return Target(family(self.platform), self.abi)


class MasterInfo(NamedTuple):
    """The data of the master's ``HELLO`` to consoles."""

    started: datetime
    label: Text
    os_name: Text
    os_version: Text
    board_revision: Text
    board_serial: Text


# Builds and their files ---------------------------------------------------------------------------


class Fetch(NamedTuple):
    """What a build asked the proxy of its slave for.

    *url* is without credentials and query; a connection that the proxy does not read is
    ``HOST:PORT``, and has no *sha256*. *refused* is the reason if the build did not get it.
    """

    url: Annotated[str, Limit("text", MAX_URL)]
    size: Count
    sha256: Sha256 | None = None
    refused: Text = ""


class Trial(NamedTuple):
    """What came of a file on its slave: whether pip *installs* it, and whether it *imports*.

    ``None``: unknown, because it was not tried. *why* is the reason if an answer is not yes.
    *connects* and *starts* are the places that it wanted to reach, and the programs that it
    started, while it was imported; ``""``: none was seen.
    """

    filename: Filename
    installs: bool | None = None
    imports: bool | None = None
    why: Text = ""
    connects: Text = ""
    starts: Text = ""

    @property
    def works(self) -> bool:
        """Whether it was installed, and no import has failed."""
        return self.installs is True and self.imports is not False

    @property
    def words(self) -> list[tuple[str, bool]]:
        """What people read of it: sentences, and whether each is a warning."""
        found = [("installs", False)] if self.installs else []
        if self.installs is False:
            found.append((f"pip cannot install it: {self.why}", True))
        elif self.imports:
            found.append(("imports", False))
        elif self.why:
            failed = self.imports is False
            found.append((f"{'import failed' if failed else 'not imported'}: {self.why}", failed))
        if self.connects:
            found.append((f"its import connects to {self.connects}", True))
        if self.starts:
            found.append((f"its import starts {self.starts}", True))
        return found

    def __str__(self) -> str:
        return ", ".join(words for words, _ in self.words) or "not tried"


@dataclass(slots=True)
class FileState:
    """One file that a build made, as its builder describes it.

    *filesize* is in bytes; *filehash* is the SHA-256 of the content in lower-case hexadecimal; the
    tags are the parts of the file's name (PEP 427); *requires_python* is the specifier of the
    wheel's metadata or ``None``; *dependencies* maps a tool (``apt``, ``pip``, or ``""`` for what
    nothing provides) to names; *location* is where the file is served.

    *transferred*, *metadata_hash* (the SHA-256 of the ``METADATA`` file, known once the file has
    been verified) and *trial* do not travel.
    """

    filename: Filename
    filesize: Count
    filehash: Sha256
    package_tag: Package
    package_version_tag: Version
    py_version_tag: Tag
    abi_tag: Tag
    platform_tag: Tag
    requires_python: LongText | None
    dependencies: Dependencies
    location: LongText = "/simple"
    transferred: bool = field(default=False, metadata={"wire": False})
    metadata_hash: Sha256 | None = field(default=None, metadata={"wire": False})
    trial: Trial | None = field(default=None, metadata={"wire": False})

    @classmethod
    def from_message(cls, value: Sequence[Any]) -> Self:
        """Return the state from the list that :meth:`as_message` returned."""
        return cls(*value)

    def as_message(self) -> list[Any]:
        """Return the eleven elements that travel (protocols.md, *file state*)."""
        return _packed(self)


class Attempt(NamedTuple):
    """The place of a build in a row of attempts: its *number* (from 0), and the steps *tried*.

    :mod:`piwheels.master.logic.cures` has the steps.
    """

    number: Count = 0
    tried: tuple[Text, ...] = ()


class Retry(NamedTuple):
    """The attempt that follows a failed build, with *recipe*, *delay* after its end.

    Without a delay, it waits until an operator, or something new, starts it.
    """

    attempt: Attempt
    recipe: Recipe
    delay: timedelta | None


@dataclass(slots=True)
class BuildState:
    """One attempt to build a version of a package for an ABI.

    *files* maps file names to :class:`FileState` in the order of their transfer;
    *output* is the build's log; *build_id* is the database's number, ``None`` until it has one;
    *label* is the name of its slave, *owner* the holder of the slave's key, *platform* its platform
    family; *final* says that a failure needs no second opinion; *fetches* are what it asked the
    proxy of its slave for. It was made with *recipe*, as *attempt*. *diagnosis* says why it failed;
    a failure that does not count (*counts*) is one of the farm; *retry* follows it. *keeps* is the
    part of a recipe that later versions of the project begin with.
    """

    slave_id: Count
    package: Package
    version: Version
    abi_tag: Tag
    status: bool
    duration: timedelta
    output: Log
    files: dict[Filename, FileState] = field(default_factory=dict)
    build_id: Count | None = field(default=None, metadata={"wire": False})
    label: Text = field(default="", metadata={"wire": False})
    owner: Text = field(default="", metadata={"wire": False})
    final: bool = field(default=True, metadata={"wire": False})
    platform: Text = field(default="", metadata={"wire": False})
    fetches: tuple[Fetch, ...] = field(default=(), metadata={"wire": False})
    recipe: Recipe = field(default=PLAIN, metadata={"wire": False})
    attempt: Attempt = field(default=Attempt(), metadata={"wire": False})
    diagnosis: Diagnosis = field(default=Diagnosis(""), metadata={"wire": False})
    counts: bool = field(default=True, metadata={"wire": False})
    retry: Retry | None = field(default=None, metadata={"wire": False})
    keeps: Recipe = field(default=PLAIN, metadata={"wire": False})

    @property
    def target(self) -> Target:
        """The target that it is for; with the platform ``any`` if that is unknown."""
        return Target(self.platform or "any", self.abi_tag)

    @classmethod
    def from_message(cls, value: Sequence[Any]) -> Self:
        """Return the state from the list that :meth:`as_message` returned."""
        *head, files = value
        states = [f if isinstance(f, FileState) else FileState.from_message(f) for f in files]
        return cls(*[*head, {state.filename: state for state in states}])

    def as_message(self) -> list[Any]:
        """Return the eight elements that travel (protocols.md, *build state*)."""
        return _packed(self)

    @property
    def next_file(self) -> str | None:
        """The first file that has not been transferred, or ``None`` if all have been."""
        return next((name for name, state in self.files.items() if not state.transferred), None)

    @property
    def transfers_done(self) -> bool:
        """Whether every file has been transferred."""
        return self.next_file is None


class Pending(NamedTuple):
    """A version that needs a build for a target (``any``/``any``: a first one, for any target).

    *exclusive*: it is built for one target at a time (``version``), for one of each platform
    (``platform``), or for all at once (``""``). The queue is sorted by *due* (seconds since 1970).
    If it needs a second opinion, a slave of *failed_by* has failed to build it, at *failed_at*.
    It is built with *recipe*, as *attempt*.
    """

    package: Package
    version: Version
    platform: Tag
    abi_tag: Tag
    exclusive: Literal["", "version", "platform"] = ""
    due: int = 0
    failed_by: Text | None = None
    failed_at: datetime | None = None
    recipe: Recipe = PLAIN
    attempt: Attempt = Attempt()

    @property
    def target(self) -> Target:
        """The target."""
        return Target(self.platform, self.abi_tag)


def _packed(state: Any) -> list[Any]:
    cls: Any = type(state)
    message: list[Any] = schema_of(cls).pack(state)
    return message


# Access-log entries -------------------------------------------------------------------------------


class DownloadState(NamedTuple):
    """A download of a file.

    *host* is the client's address; *arch* and all later fields are from its user agent.
    """

    filename: LongText
    host: Text
    timestamp: datetime
    arch: LongText | None
    distro_name: LongText | None
    distro_version: LongText | None
    os_name: LongText | None
    os_version: LongText | None
    py_name: LongText | None
    py_version: LongText | None
    installer_name: LongText | None
    installer_version: LongText | None
    setuptools_version: LongText | None


class SearchState(NamedTuple):
    """A request for a page of the simple index; the fields are as in :class:`DownloadState`."""

    package: LongText
    host: Text
    timestamp: datetime
    arch: LongText | None
    distro_name: LongText | None
    distro_version: LongText | None
    os_name: LongText | None
    os_version: LongText | None
    py_name: LongText | None
    py_version: LongText | None
    installer_name: LongText | None
    installer_version: LongText | None
    setuptools_version: LongText | None


class ProjectState(NamedTuple):
    """A request for a project page."""

    package: LongText
    host: Text
    timestamp: datetime
    user_agent: LongText


class JSONState(NamedTuple):
    """A request for a project's JSON."""

    package: LongText
    host: Text
    timestamp: datetime
    user_agent: LongText


class PageState(NamedTuple):
    """A request for any other page."""

    page: LongText
    host: Text
    timestamp: datetime
    user_agent: LongText


# Slaves ------------------------------------------------------------------------------------------


class Instant(NamedTuple):
    """One reading of both clocks: *now* for decisions, *at* for the timestamps that people read.

    *now* is in monotonic seconds from an arbitrary start; *at* is an aware datetime.
    """

    now: float
    at: datetime


class Phase(StrEnum):
    """The state of a slave on the master.

    :data:`piwheels.core.conversations.slave_conversation` defines the requests that are valid in
    each phase, and the phase that follows each reply.
    """

    NEW = "new"  #: has not sent HELLO
    RETURNING = "returning"  #: has not sent HELLO; continues a build of a lost session
    IDLE = "idle"  #: has no build; its next request is for one
    RESUMING = "resuming"  #: sent HELLO during a build; its next reply decides about that
    ASLEEP = "asleep"  #: there was nothing to build; requests again after a while
    BUILDING = "building"
    SENDING = "sending"  #: transfers a file of its build
    CHECKING = "checking"  #: waits, while the master verifies a file or commits a build
    GONE = "gone"


class Transition(NamedTuple):
    """A change of a slave's phase on the master: *when* it entered *state*, and the *cause*."""

    when: datetime
    state: Text
    cause: LongText

    def __str__(self) -> str:
        return f"{self.when:%H:%M:%S} {self.state} ({self.cause})"


#: The most targets that a slave may offer.
MAX_OFFERS = 64
#: The number of transitions to keep for each slave.
HISTORY = 20


@dataclass(slots=True, eq=False)
class SlaveState:
    """A build slave as its master knows it.

    *address* is the slave's ephemeral 0MQ address (a new one for each connection, not an IP
    address); the fields after it are those of its ``HELLO``. *slave_id* is the master's number for
    it. *owner* is the holder of its key (``""``: it needs none). *first_seen* and *last_seen* are
    timestamps of its requests, for people; decisions use *greeted*, *heard* and *lost*, in
    monotonic seconds: the time of its ``HELLO``, of its last request, and of the loss of its
    connection (``None``: it is connected).

    *build* is the build that the slave works on, from ``BUILD`` to ``DONE``; its output and files
    are empty until the slave has reported them. *transfer* is the transfer that the slave was asked
    for, from ``SEND`` to the verification of the file (FileJuggler counts its bytes).
    """

    address: bytes
    build_timeout: timedelta
    busy_timeout: timedelta
    native_py_version: str
    native_abi: str
    native_platform: str
    label: str
    os_name: str
    os_version: str
    board_revision: str
    board_serial: str
    features: Mapping[str, Any] | None = None
    slave_id: int = 0
    owner: str = ""
    #: What it builds for, by its ``HELLO``: one target, or several (level 1).
    offers: list[Offer] = field(default_factory=list)
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    greeted: float = 0.0
    heard: float = 0.0
    lost: float | None = None
    phase: Phase = Phase.NEW
    #: The last transitions, oldest first.
    history: deque[Transition] = field(default_factory=lambda: deque(maxlen=HISTORY))
    #: The last request and its data; its valid replies with the phase that follows each (empty: it
    #: has its reply); the last reply, and the time from which it has been the same.
    request: str = ""
    data: Any = None
    replies: Mapping[str, Phase] = field(default_factory=dict)
    reply: tuple[str, Any] | None = None
    replied_at: datetime | None = None
    build: BuildState | None = None
    build_began: Instant | None = None
    #: Whether it returned with a build that may have been stored or deleted in its absence.
    doubtful: bool = False
    transfer: TransferState | None = None
    #: Commands of operators that still have to be carried out.
    commands: set[Literal["KILL", "SKIP", "SLEEP"]] = field(default_factory=set)
    #: Its last statistics, and when each arrived: its own clock may be wrong.
    stats: deque[tuple[datetime, SlaveStats]] = field(default_factory=lambda: deque(maxlen=100))

    def __post_init__(self) -> None:
        """Read what the slave offers."""
        self.offers = offers_of(self)

    @property
    def info(self) -> tuple[Any, ...]:
        """The ten fields of the slave's ``HELLO`` that consoles receive."""
        return (
            self.build_timeout,
            self.busy_timeout,
            self.native_py_version,
            self.native_abi,
            self.native_platform,
            self.label,
            self.os_name,
            self.os_version,
            self.board_revision,
            self.board_serial,
        )

    @property
    def level(self) -> int:
        """The protocol level of the slave, by its ``HELLO``."""
        return _level(self.features)

    @property
    def lane(self) -> int:
        """The number of this lane of the slave's host by its ``HELLO``; 0: it has no lanes."""
        lane = (self.features or {}).get("lane")
        return lane if self.level > 0 and type(lane) is int else 0

    @property
    def identity(self) -> str:
        """The identity of the slave by its ``HELLO``; ``""`` if it has none (level 0)."""
        identity = (self.features or {}).get("identity")
        return identity if isinstance(identity, str) and len(identity) <= 200 else ""

    @property
    def offer(self) -> Offer:
        """What it builds for at present: one of its *offers*."""
        return Offer(self.native_py_version, self.native_abi, self.native_platform)

    @property
    def target(self) -> Target:
        """The target that it builds for at present."""
        return Target(family(self.native_platform), self.native_abi)

    def take_up(self, offer: Offer) -> None:
        """Build for *offer* from now on, one of :attr:`offers`."""
        self.native_py_version, self.native_abi, self.native_platform = offer

    def kill(self) -> None:
        """Command the slave to end after its current build."""
        self.commands.add("KILL")


def offers_of(about: SlaveInfo | SlaveState) -> list[Offer]:
    """Return the targets that a slave builds for, the present one first."""
    found = [Offer(about.native_py_version, about.native_abi, about.native_platform)]
    offers = (about.features or {}).get("offers")
    if _level(about.features) > 0 and isinstance(offers, list):
        for offer in offers[:MAX_OFFERS]:
            with suppress(BadMessage):
                found.append(schema_of(Offer).validate(offer))
    return list(dict.fromkeys(found))


def platforms_of(offers: Iterable[Offer]) -> list[str]:
    """Return the platforms of *offers*, sorted."""
    return sorted({offer.platform for offer in offers})


def _level(features: Mapping[str, Any] | None) -> int:
    level = (features or {}).get("level")
    return level if type(level) is int else 0
