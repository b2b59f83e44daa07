"""What the decisions on slaves ask for: SlaveDriver performs these, one by one, in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from piwheels.core.codec import NoData

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from piwheels.core.protocols import Outcome
    from piwheels.core.states import BuildState, FileState

#: A version of a package for an ABI: package, version, ABI tag.
Target = tuple[str, str, str]


class Reply(NamedTuple):
    """Send a slave, which waits for it, its reply."""

    address: bytes
    msg: str
    data: Any = NoData


class Publish(NamedTuple):
    """Tell the consoles what a slave was told or said, and when."""

    slave_id: int
    timestamp: datetime
    msg: str
    data: Any = NoData


class Spoken(NamedTuple):
    """Pass on what a slave of level 1 said of its running build's log: *text* from *offset* on."""

    slave_id: int
    package: str
    version: str
    offset: int
    text: str


class Ended(NamedTuple):
    """Tell that a slave's build is over, and how it ended (``None``: it will be built again)."""

    slave_id: int
    outcome: Outcome | None


class Grant(NamedTuple):
    """Note in the database that a version was handed out, until *expires*."""

    target: Target
    label: str
    expires: datetime


class Renew(NamedTuple):
    """Note in the database that these versions are still being built."""

    targets: Sequence[Target]
    expires: datetime


class Release(NamedTuple):
    """Note in the database that nobody builds this version any more."""

    target: Target


class AskPublished(NamedTuple):
    """Ask the database which files of *package* are published, for the slave's intake."""

    slave_id: int
    package: str


class Expect(NamedTuple):
    """Have FileJuggler await *state* from the slave, to be published as *publish_as*."""

    slave_id: int
    state: FileState
    publish_as: str


class Verify(NamedTuple):
    """Have FileJuggler verify and place the file that the slave has sent."""

    slave_id: int
    package: str


class LogBuild(NamedTuple):
    """Commit the build to the database."""

    slave_id: int
    build: BuildState


class AskMissing(NamedTuple):
    """Ask FileJuggler how much of an import's file has not come."""

    slave_id: int


class Withdraw(NamedTuple):
    """Have FileJuggler drop what comes for an import, and remove files of it that are in place."""

    slave_id: int
    package: str
    filenames: Sequence[str]


class More(NamedTuple):
    """Have the queue read again: it has run dry, though *active* versions of it are being built."""

    active: int


class Written(NamedTuple):
    """The build is committed: have its log and its project's pages written."""

    build: BuildState


class Warn(NamedTuple):
    """Say something in the log, with the slave that it is about."""

    slave_id: int
    label: str
    text: str


Effect = (
    Reply
    | Publish
    | Spoken
    | Ended
    | Grant
    | Renew
    | Release
    | AskPublished
    | Expect
    | Verify
    | LogBuild
    | AskMissing
    | Withdraw
    | More
    | Written
    | Warn
)
