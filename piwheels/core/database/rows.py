"""Rows of the database as plain values: leases, pending rewrites, builds, projects.

They pass between the master's tasks only, never to another process.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypedDict

from piwheels.core.recipes import Recipe  # noqa: TC001 (the schema of a call)

#: The skip reason of versions without a source distribution.
BINARY_ONLY: Final = "binary only"


class Lease(NamedTuple):
    """A version leased to the slave *label*, whose key is that of *holder*, until *expires*."""

    package: str
    version: str
    platform: str
    abi_tag: str
    label: str
    since: datetime
    expires: datetime
    holder: str = ""


class TargetRow(NamedTuple):
    """A target of the farm, in the order of *position*. With a reason to *skip* it, it is retired.

    *system* is the release whose libraries its wheels use. *pending* versions wait for a build for
    it. Those that may begin with any target are not counted.
    """

    platform: str
    abi_tag: str
    position: int
    skip: str
    system: str
    since: datetime
    pending: int


class PositionRow(NamedTuple):
    """The *place* of a version among *of* builds in the queue of a target, and the reasons.

    Since then it has waited for the target. The other reasons are those of ``_due`` in
    ``sql/functions``.
    """

    platform: str
    abi_tag: str
    place: int
    of: int
    exclusive: str
    due: datetime
    since: datetime
    released: datetime
    popularity: int
    urgency: str
    failed_at: datetime | None


class PlaceRow(NamedTuple):
    """The *place* of a version among *of* builds in the queue of a target (``None``: far behind).

    With the *label* of a slave, it says instead that this slave builds the version for the target.
    """

    version: str
    platform: str
    abi_tag: str
    place: int | None
    of: int
    label: str


class Quarantine(NamedTuple):
    """A slave of *owner* that is in quarantine for *reason*; without an *identity*, all of them."""

    owner: str
    identity: str
    abi_tag: str
    reason: str


class RewritePendingRow(NamedTuple):
    """A pending rewrite of the pages of *package*.

    *command* is ``PROJECT`` (the project page) or ``BOTH`` (the simple index, too).
    """

    package: str
    added_at: datetime
    command: str


class SimpleFile(NamedTuple):
    """A file in the simple index. *filesize* is in bytes, hashes are SHA-256 in hexadecimal.

    *published_at* is the time of its publication, *builder_abi* the ABI of the build.
    """

    filename: str
    filesize: int
    filehash: str
    requires_python: str | None
    yanked: bool
    yank_reason: str
    metadata_hash: str | None
    published_at: datetime
    builder_abi: str
    version: str
    apt_dependencies: list[str]


class SimpleProject(NamedTuple):
    """A project in the simple index, with its *files* sorted by name.

    *status* is a project status of PEP 792.
    """

    package: str
    status: str
    description: str
    versions: list[str]
    files: list[SimpleFile]


class BuildRow(NamedTuple):
    """A build, with the names of its files. Its *platform* is ``""`` if that is unknown.

    *reason*, *subject* and *cause* are its diagnosis (:mod:`piwheels.core.diagnosis`). A failure
    of the farm does not *count*. *recipe* is the content of its recipe (``None``: it had none). It
    is tried again at *retry_at*.
    """

    build_id: int
    package: str
    version: str
    abi_tag: str
    platform: str
    status: bool
    duration: timedelta
    built_at: datetime
    filenames: list[str]
    reason: str = ""
    subject: str = ""
    cause: str = ""
    counts: bool = True
    recipe: dict[str, Any] | None = None
    retry_at: datetime | None = None


class EndedBuild(NamedTuple):
    """A finished build, its slave, and the number of its *files*.

    *slave_id* is the slave's number at that time, *label* its name (0 and empty: unknown). *again*:
    a failure that needs a second opinion. The other fields are as in :class:`BuildRow`.
    """

    build_id: int
    slave_id: int
    label: str
    package: str
    version: str
    abi_tag: str
    status: bool
    duration: timedelta
    files: int
    built_at: datetime
    again: bool = False
    platform: str = ""
    reason: str = ""
    subject: str = ""
    cause: str = ""
    counts: bool = True
    recipe: dict[str, Any] | None = None
    retry_at: datetime | None = None


class ReasonCount(NamedTuple):
    """How many failures (*builds*) of how many *packages* have a *reason* and a *subject*."""

    reason: str
    subject: str
    builds: int
    packages: int


class StandingFailure(NamedTuple):
    """A failure that stands, of a build with *recipe*.

    *failed* are all recipes with which the version has failed for the target. *held*: the attempt
    after a failure of the farm waits for an operator.
    """

    build_id: int
    package: str
    version: str
    platform: str
    abi_tag: str
    reason: str
    subject: str
    recipe: Recipe
    failed: list[Recipe]
    held: bool


class NewAttempt(NamedTuple):
    """A failed build that is to be tried again with *recipe*, as attempt *number* after *tried*."""

    build_id: int
    number: int
    tried: tuple[str, ...]
    recipe: Recipe


class Activity(NamedTuple):
    """Recent activity: *builds* of the last seven days by ABI, as (succeeded, failed).

    *downloads* has the count of each of the last 30 days, by date in ISO 8601.
    """

    builds: dict[str, tuple[int, int]]
    downloads: dict[str, int]


class NextAttempt(TypedDict):
    """What follows a failed build: the number of the *attempt*, and the content of its *recipe*.

    Without *due*, it waits until an operator, or something new, starts it.
    """

    due: datetime | None
    attempt: int
    recipe: dict[str, Any] | None


class ProjectRecipe(TypedDict):
    """What the builds of a project begin with: written *by* an *operator*, or found by the farm."""

    content: dict[str, Any]
    by_operator: bool


class ProjectBuild(TypedDict):
    """One attempt to build a release.

    *label* is the name of its slave, *fetched* the number of files that it fetched; *refused* are
    the addresses, or ``HOST:PORT``, that the proxy of its slave refused. A failure with a
    *retry_at* needs a second opinion: from another slave, or from its own at that time; *next* is
    another attempt that the farm plans. The diagnosis and the recipe are as in
    :class:`BuildRow`.
    """

    build_id: int
    abi_tag: str
    platform: str
    label: str
    status: bool
    built_at: datetime
    retry_at: datetime | None
    reason: str
    subject: str
    cause: str
    counts: bool
    recipe: dict[str, Any] | None
    next: NextAttempt | None
    duration: timedelta
    fetched: int
    refused: list[str]


class ProjectFile(TypedDict):
    """One file of a release; *size* in bytes, *hash* SHA-256 in hexadecimal.

    The last five keys are those of a :class:`~piwheels.core.states.Trial`.
    """

    hash: str
    size: int
    abi_builder: str
    file_abi: str
    platform: str
    requires_python: str | None
    apt_dependencies: list[str]
    build_id: int
    installs: bool | None
    imports: bool | None
    trial_why: str
    connects: str
    starts: str


class ProjectRelease(TypedDict):
    """One release of a project, with its builds (oldest first) and its files (by name).

    A *quarantined* release has no files here. *yanked_upstream*: upstream has yanked it, and not an
    operator of this farm. *excluded* are the ABIs of the farm that *requires_python* (``None``:
    unknown) excludes; *skip* is its reason, too, if these are all.
    """

    released: datetime
    yanked: bool
    yank_reason: str
    yanked_upstream: bool
    skip: str
    quarantined: bool
    requires_python: str | None
    excluded: list[str]
    builds: list[ProjectBuild]
    files: dict[str, ProjectFile]


class ProjectData(TypedDict):
    """The data of a project page; *status* is a project status of PEP 792.

    *releases* are sorted, newest first.
    """

    name: str
    description: str
    status: str
    skip: str
    recipe: ProjectRecipe | None
    releases: dict[str, ProjectRelease]


class UpstreamPackage(NamedTuple):
    """An upstream change to a project.

    *known*: upstream has it, so add it. *name* is its upstream spelling (``""``: the same), last
    *seen* at that time. *status* is a project status of PEP 792 (``None``: unchanged). *deleted*:
    upstream has removed it.
    """

    package: str
    known: bool = True
    name: str = ""
    seen: datetime | None = None
    status: str | None = None
    deleted: bool = False


class UpstreamVersion(NamedTuple):
    """An upstream change to a version.

    *released*: its release date, so add it (``None``: change it only if it exists). *added* and
    *removed* are source distributions. *yanked* and *quarantined* are unchanged if ``None``.
    *deleted*: upstream has removed it. *uploaded* is its upload time, if upstream says it. *wheels*
    is ``pure`` if upstream has a wheel of it for any machine, ``native`` if it has other wheels.
    *requires_python* is the specifier of its source distributions (``None``: unknown), and *digest*
    changes with any of them (``""``: unknown).
    """

    package: str
    version: str
    released: datetime | None = None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    yanked: bool | None = None
    yank_reason: str = ""
    quarantined: bool | None = None
    deleted: bool = False
    uploaded: datetime | None = None
    wheels: str = ""
    requires_python: str | None = None
    digest: str = ""


class KnownVersion(NamedTuple):
    """What the database knows of a version: its upstream *sources*, and its yank upstream."""

    sources: list[str]
    yanked: bool = False


class Published(NamedTuple):
    """What the intake of a build has to know: the hashes of the package's *files*, by name.

    *retired* are removed files, whose names never get other bytes. *upstream_wheels* are upstream's
    wheels of the version (``wheels`` of :class:`UpstreamVersion`).
    """

    files: dict[str, str]
    retired: dict[str, str]
    upstream_wheels: str = ""


class WatchedRow(NamedTuple):
    """A watched project, and the result of its last poll.

    *found*: upstream has, or had, the project. *newest* is the newest version with sources
    (``""``: none yet), *latest* the upload time of the latest source, if known. *serial*, *etag*
    and *modified* belong to the last page that was applied. Only its known versions are followed if
    it is *pinned*. *polled*: the index was asked for it, since it or one of its versions was added.
    """

    package: str
    found: bool = False
    newest: str = ""
    latest: datetime | None = None
    serial: int = 0
    etag: str = ""
    modified: str = ""
    pinned: bool = False
    polled: bool = False
