"""The effects: instructions that decisions return, and that tasks perform in order.

SlaveDriver performs every :data:`SlaveEffect`, the importer of MrChase every :data:`ImportEffect`.
Both perform every :data:`IntakeEffect`, in which ``slave_id`` is the number of the slave or of the
import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from piwheels.core.codec import NoData

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from piwheels.core.database.rows import Quarantine
    from piwheels.core.protocols import BuildOutcome
    from piwheels.core.states import BuildState, FileState, SlaveState, Transition
    from piwheels.core.targets import Target

#: A version of a package for a target.
Assignment = tuple[str, str, "Target"]


class Reply(NamedTuple):
    """Send the reply to a slave or a tool."""

    address: bytes
    msg: str
    data: Any = NoData


class Publish(NamedTuple):
    """Publish an event of a slave to the consoles."""

    slave_id: int
    timestamp: datetime
    msg: str
    data: Any = NoData


class PublishOutput(NamedTuple):
    """Publish new lines of a running build's log: *text*, which begins at *offset* (characters)."""

    slave_id: int
    package: str
    version: str
    offset: int
    text: str


class PublishEnd(NamedTuple):
    """Publish the end of a slave's build, and its outcome (``None``: it will be built again)."""

    slave_id: int
    outcome: BuildOutcome | None


class GrantLease(NamedTuple):
    """Store a lease in the database: the slave *label* of *holder* has the version for *period*."""

    assignment: Assignment
    label: str
    period: timedelta
    holder: str = ""


class RenewLeases(NamedTuple):
    """Extend the leases of running builds in the database, to *period* from now."""

    assignments: Sequence[Assignment]
    period: timedelta


class ReleaseLease(NamedTuple):
    """Delete a lease from the database: no slave builds this version any more."""

    assignment: Assignment


class AskPending(NamedTuple):
    """Ask the database for which targets *version* of *package* still has to be built."""

    slave_id: int
    package: str
    version: str


class AskPublished(NamedTuple):
    """Ask the database which files of *package* are published, and about upstream's *version*."""

    slave_id: int
    package: str
    version: str


class Expect(NamedTuple):
    """Have FileJuggler expect the file *state*, and publish it as *publish_as* later."""

    slave_id: int
    state: FileState
    publish_as: str


class Verify(NamedTuple):
    """Have FileJuggler verify the file that has arrived, and publish it."""

    slave_id: int
    package: str


class LogBuild(NamedTuple):
    """Commit the build to the database."""

    slave_id: int
    build: BuildState


class BuildStored(NamedTuple):
    """Have the log of a committed build and its project's pages written."""

    build: BuildState


class Warn(NamedTuple):
    """Log a problem of a slave or an import, with the slave's last transitions."""

    slave_id: int
    label: str
    text: str
    history: Sequence[Transition] = ()


class ReportPause(NamedTuple):
    """Log that the master itself hands out no work, and report it to the consoles.

    *slave* (``None``: all slaves) gets none, for this *reason* (``""``: it gets work again). The
    log gets *text*, unless it is empty.
    """

    slave: SlaveState | None
    reason: str
    text: str


class ReportRow(NamedTuple):
    """Report that *slaves* in a row failed to build a version because of the farm."""

    build: BuildState
    slaves: list[str]


class TakeBack(NamedTuple):
    """Delete failed *builds* of slaves in quarantine; their versions return to the queue."""

    builds: Sequence[int]


class SaveQuarantines(NamedTuple):
    """Store which slaves are in quarantine: these, and no others."""

    quarantines: Sequence[Quarantine]


class DropFile(NamedTuple):
    """Have FileJuggler expect no file from the slave any more."""

    slave_id: int


class ReadQueue(NamedTuple):
    """Have TheArchitect read the queue again: it is empty, and *active* builds are running."""

    active: int


class AskMissingBytes(NamedTuple):
    """Ask FileJuggler how many bytes of an import's file are missing."""

    slave_id: int


class WithdrawFiles(NamedTuple):
    """Have FileJuggler drop the transfer of an import, and remove its published *filenames*."""

    slave_id: int
    package: str
    filenames: Sequence[str]


IntakeEffect = AskPublished | Expect | Verify | LogBuild | BuildStored | Warn
SlaveEffect = (
    IntakeEffect
    | AskPending
    | Reply
    | Publish
    | PublishOutput
    | PublishEnd
    | GrantLease
    | RenewLeases
    | ReleaseLease
    | ReadQueue
    | ReportPause
    | ReportRow
    | TakeBack
    | SaveQuarantines
    | DropFile
)
ImportEffect = IntakeEffect | Reply | AskMissingBytes | WithdrawFiles
