"""What the database tells, as plain values: leases, pending pages, builds, projects.

They travel among the master's tasks only, never to another process.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple, TypedDict


class Lease(NamedTuple):
    """A build that was handed out to the slave *label*; it is lost once *expires* has passed."""

    package: str
    version: str
    abi_tag: str
    label: str
    since: datetime
    expires: datetime


class RewritePendingRow(NamedTuple):
    """The pages of *package* that wait to be written.

    *command* is ``PROJECT`` (the page for people) or ``BOTH`` (the simple index too).
    """

    package: str
    added_at: datetime
    command: str


class SimpleFile(NamedTuple):
    """A file as the simple index lists it. *filesize* in bytes, hashes SHA-256 in hexadecimal.

    *published_at* is when this index published it, *builder_abi* the ABI of the build that made it.
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
    """A project as the simple index shows it, its *files* in order of name.

    *status* is one of PEP 792's words.
    """

    package: str
    status: str
    description: str
    versions: list[str]
    files: list[SimpleFile]


class BuildRow(NamedTuple):
    """A build that was attempted, with the names of the files that it made."""

    build_id: int
    package: str
    version: str
    abi_tag: str
    status: bool
    duration: timedelta
    built_at: datetime
    filenames: list[str]


class EndedBuild(NamedTuple):
    """A build that was attempted, by whom, and how many *files* it made.

    *slave_id* is the number that the slave had then, *label* its name (0 and empty: not known).
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


class Activity(NamedTuple):
    """What the page of figures shows of late: *builds* of seven days by ABI (succeeded, failed).

    *downloads* are those of each of the last 30 days, by its date in ISO 8601.
    """

    builds: dict[str, tuple[int, int]]
    downloads: dict[str, int]


class ProjectBuild(TypedDict):
    """One attempt to build a release."""

    build_id: int
    abi_tag: str
    status: bool
    built_at: datetime
    duration: timedelta


class ProjectFile(TypedDict):
    """One file of a release; *size* in bytes, *hash* SHA-256 in hexadecimal."""

    hash: str
    size: int
    abi_builder: str
    file_abi: str
    platform: str
    requires_python: str | None
    apt_dependencies: list[str]
    build_id: int


class ProjectRelease(TypedDict):
    """One release of a project, with its builds (oldest first) and its files (by name).

    Of one that is *quarantined* no file is told.
    """

    released: datetime
    yanked: bool
    yank_reason: str
    skip: str
    quarantined: bool
    builds: list[ProjectBuild]
    files: dict[str, ProjectFile]


class ProjectData(TypedDict):
    """Everything that a project's page shows; *status* is a word of PEP 792.

    *releases* are the newest first.
    """

    name: str
    description: str
    status: str
    skip: str
    releases: dict[str, ProjectRelease]


class UpstreamPackage(NamedTuple):
    """What the upstream index has said of a project.

    *known*: it is there, so it is to be here. *name* is how it is spelled there (``""``: just so),
    *seen* then. *status* is a word of PEP 792 (``None``: as before). *deleted*: it is gone.
    """

    package: str
    known: bool = True
    name: str = ""
    seen: datetime | None = None
    status: str | None = None
    deleted: bool = False


class UpstreamVersion(NamedTuple):
    """What the upstream index has said of a version.

    *released*: it is there since then, so it is to be here (``None``: only what is here is
    changed). *added* and *removed* are source distributions. *yanked* and *quarantined* are as
    before where they are ``None``. *deleted*: it is gone.
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


class WatchedRow(NamedTuple):
    """A project that is watched, and what is known of it.

    *found*: upstream has (or had) it. *newest* is the newest version with sources that was seen
    there (``""``: none yet), *latest* when the latest of them was uploaded, if that is told.
    *serial*, *etag* and *modified* are of the newest page of it that was taken in.
    """

    package: str
    found: bool = False
    newest: str = ""
    latest: datetime | None = None
    serial: int = 0
    etag: str = ""
    modified: str = ""
