"""A file that the master is receiving: its temporary file, and its publication on the site."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final, TypedDict

from piwheels.core.errors import BadMessage, Refused
from piwheels.core.keys.ring import Role
from piwheels.core.wheels.integrity import verify_wheel
from piwheels.core.wheels.tags import canonical

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from piwheels.core.states import TransferState
    from piwheels.master.gate import Sender
    from piwheels.master.site.files import Site

#: The digits of the largest offset (protocols.md: sizes fit into a BIGINT).
_NUMBER: Final = re.compile(rb"[0-9]{1,19}")


class TransferError(BadMessage):
    """A message that does not belong to a transfer. It is dropped and counted."""


class TransferIgnoreChunk(TransferError):
    """A CHUNK from an address without a transfer: it has not sent HELLO."""


class TransferDone(TransferError):
    """Every byte has arrived: the slave gets DONE."""


class Verified(TypedDict):
    """A published file: its name, and data from its METADATA.

    *metadata_hash* is the SHA-256 of METADATA in hexadecimal.
    """

    filename: str
    metadata_hash: str
    requires_python: str | None


@dataclass(slots=True, eq=False)
class IncomingFile:
    """An expected file: *target* is its name on the site, *file* the temporary file at *path*.

    Monotonic times: it is expected since *began*; *heard* is the last valid message from *address*
    (another address may take over only after a time of silence), *progress* the last arrival of
    bytes. *owner* is the holder of the key that the sender must have.
    """

    state: TransferState
    target: str
    path: Path
    file: BinaryIO
    progress: float
    heard: float = 0.0
    address: bytes | None = None
    failure: str = ""
    owner: str = ""
    began: float = 0.0

    def is_from(self, sender: Sender) -> bool:
        """Return whether *sender* may send it; for a local program, any administrator may."""
        is_import = not self.owner and sender.role is Role.ADMINISTER
        return is_import or self.owner == sender.name

    def write(self, offset: int, data: bytes) -> None:
        """Write *data* at *offset* of the temporary file. Raises ``OSError``."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self.file.fileno(), view, offset)
            offset, view = offset + written, view[written:]

    def discard(self) -> None:
        """Close the temporary file, and remove it unless it has been published."""
        self.file.close()
        self.path.unlink(missing_ok=True)

    def publish(self, site: Site, package: str, may_have_pth: Collection[str]) -> Verified:
        """Verify the file, and publish it as a file of *package*. This may take seconds.

        *may_have_pth* are the projects whose wheels may have ``.pth`` files.

        Raises ``Refused("BADHASH")`` if the content is not the declared one, ``BadWheel`` if it is
        not a wheel of that package, ``OSError`` if it could not be written.
        """
        self.file.seek(self.state.hashed)
        if not self.state.verify(iter(partial(self.file.read, 2**20), b"")):
            raise Refused("BADHASH", f"{self.target}: the content is not the declared one")
        found = verify_wheel(
            self.path, package=package, filename=self.target, may_have_pth=may_have_pth
        )
        site.publish(self.path, canonical(package), self.target, found.metadata)
        return Verified(
            filename=self.target,
            metadata_hash=hashlib.sha256(found.metadata).hexdigest(),
            requires_python=found.requires_python,
        )


def parse_number(text: bytes) -> int:
    """Return the number in a frame of ASCII digits. Raises ``TransferError``."""
    # int() alone accepts blanks, signs, underscores, and thousands of digits.
    if _NUMBER.fullmatch(text) is None:
        raise TransferError("not a number in ASCII digits")
    return int(text)
