"""The effects: instructions that decisions return, and that their shell performs in order.

Each performer has a closed union of its own: :data:`SlaveEffect` is for SlaveDriver,
:data:`ImportEffect` for the importer of MrChase. Both perform :data:`IntakeEffect`, in which
``slave_id`` is the number of the slave, or of the import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from piwheels.core.codec import NoData

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from piwheels.core.protocols import Outcome
    from piwheels.core.states import BuildState, FileState, Transition

#: A version of a package for an ABI: package, version, ABI tag.
Target = tuple[str, str, str]


class Reply(NamedTuple):
    """Send a slave or a tool, which waits for it, its reply."""

    address: bytes
    msg: str
    data: Any = NoData


class Publish(NamedTuple):
    """Publish an event of a slave to the consoles."""

    slave_id: int
    timestamp: datetime
    msg: str
    data: Any = NoData


class BuildOutput(NamedTuple):
    """Publish new lines of a running build's log: *text* from *offset* on (characters)."""

    slave_id: int
    package: str
    version: str
    offset: int
    text: str


class Ended(NamedTuple):
    """Publish the end of a slave's build, and its outcome (``None``: it will be built again)."""

    slave_id: int
    outcome: Outcome | None


class Grant(NamedTuple):
    """Note in the database that a version was handed out to the slave *label*, for *period*."""

    target: Target
    label: str
    period: timedelta


class Renew(NamedTuple):
    """Extend the leases of running builds in the database, to *period* from now."""

    targets: Sequence[Target]
    period: timedelta


class Release(NamedTuple):
    """End a lease in the database: nobody builds this version any more."""

    target: Target


class AskPublished(NamedTuple):
    """Ask the database which files of *package* are published."""

    slave_id: int
    package: str


class Expect(NamedTuple):
    """Have FileJuggler expect the file *state*, to be published as *publish_as*."""

    slave_id: int
    state: FileState
    publish_as: str


class Verify(NamedTuple):
    """Have FileJuggler verify the file that was sent, and move it into place."""

    slave_id: int
    package: str


class LogBuild(NamedTuple):
    """Commit the build to the database."""

    slave_id: int
    build: BuildState


class Written(NamedTuple):
    """The build is committed: have its log and its project's pages written."""

    build: BuildState


class Warn(NamedTuple):
    """Log a problem of a slave or an import, with the slave's last transitions."""

    slave_id: int
    label: str
    text: str
    history: Sequence[Transition] = ()


class More(NamedTuple):
    """Have the queue read again: it is used up, and *active* versions are being built."""

    active: int


class AskMissing(NamedTuple):
    """Ask FileJuggler how many bytes of an import's file are missing."""

    slave_id: int


class Withdraw(NamedTuple):
    """Have FileJuggler drop the transfer of an import, and remove those of its files in place."""

    slave_id: int
    package: str
    filenames: Sequence[str]


IntakeEffect = AskPublished | Expect | Verify | LogBuild | Written | Warn
SlaveEffect = IntakeEffect | Reply | Publish | BuildOutput | Ended | Grant | Renew | Release | More
ImportEffect = IntakeEffect | Reply | AskMissing | Withdraw
