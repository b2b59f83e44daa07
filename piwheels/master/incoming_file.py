"""A file that is coming in: its temporary on the disk, and how it gets to its place on the site."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final, TypedDict

from piwheels.core.errors import BadMessage, Refused
from piwheels.core.wheels.inspection import inspect_wheel
from piwheels.core.wheels.tags import canonical

if TYPE_CHECKING:
    from pathlib import Path

    from piwheels.core.states import TransferState
    from piwheels.master.site.files import Site

#: As many digits as the largest offset has (protocols.md: sizes are as wide as a BIGINT).
_NUMBER: Final = re.compile(rb"[0-9]{1,19}")


class TransferError(BadMessage):
    """A message that has no place in a transfer; it is dropped and counted."""


class TransferIgnoreChunk(TransferError):
    """A CHUNK from an address that no transfer belongs to; HELLO comes first."""


class TransferDone(TransferError):
    """Every byte has come: nothing more is fetched, and the slave is told so."""


class Verified(TypedDict):
    """A file in its place: its published name, and what was read in its METADATA.

    *metadata_hash* is the SHA-256 of METADATA in hexadecimal.
    """

    filename: str
    metadata_hash: str
    requires_python: str | None


@dataclass(slots=True, eq=False)
class Incoming:
    """A file that is expected: *target* is its name on the site, *file* its temporary at *path*.

    Times are of the monotonic clock: *heard* is when *address* last did something of use (others
    may not take over before it has fallen silent), *progress* when bytes last came.
    """

    state: TransferState
    target: str
    path: Path
    file: BinaryIO
    progress: float
    heard: float = 0.0
    address: bytes | None = None
    failure: str = ""

    def write(self, offset: int, data: bytes) -> None:
        """Write *data* at *offset* of the temporary. Raises ``OSError``."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self.file.fileno(), view, offset)
            offset, view = offset + written, view[written:]

    def discard(self) -> None:
        """Close the temporary and remove it, unless it has been published."""
        self.file.close()
        self.path.unlink(missing_ok=True)

    def publish(self, site: Site, package: str) -> Verified:
        """Check the whole file and move it to its place as one of *package*. May take seconds.

        Raises ``Refused("BADHASH")`` if it is not what was declared, ``BadWheel`` if it is not a
        wheel of that package, ``OSError`` if it could not be written.
        """
        self.file.seek(self.state.hashed)
        if not self.state.verify(iter(partial(self.file.read, 2**20), b"")):
            raise Refused("BADHASH", f"{self.target}: the content is not what was declared")
        found = inspect_wheel(self.path, package=package, filename=self.target)
        site.publish(self.path, canonical(package), self.target, found.metadata)
        return Verified(
            filename=self.target,
            metadata_hash=hashlib.sha256(found.metadata).hexdigest(),
            requires_python=found.requires_python,
        )


def number(text: bytes) -> int:
    """Return the number that a frame holds in ASCII digits. Raises ``TransferError``."""
    # int() alone would take blanks, signs, underscores, and thousands of digits.
    if _NUMBER.fullmatch(text) is None:
        raise TransferError("not a number in ASCII digits")
    return int(text)
