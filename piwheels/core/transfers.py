"""The state of one file's transfer: the received, the requested and the missing chunks. Pure.

It does not store the chunks: the owner writes those that :meth:`TransferState.chunk` accepts.
:mod:`piwheels.core.states` has :class:`TransferState` as well, as the reference documents.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Protocol

from piwheels.core.errors import BadMessage
from piwheels.core.ranges import exclude

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The size of a chunk in bytes, and how many requests for chunks may be unanswered.
CHUNK_SIZE: Final = 256 * 2**10
CREDIT: Final = 8


class DeclaredFile(Protocol):
    """The part of :class:`~piwheels.core.states.FileState` that a transfer uses."""

    filesize: int
    filehash: str


class TransferState:
    """The transfer of the file that *file_state* declares, from the slave *slave_id*.

    It requests chunks of *chunk_size* bytes, and leaves at most *credit* requests unanswered at a
    time. Chunks that arrive in sequence are hashed at once.
    """

    def __init__(
        self,
        slave_id: int,
        file_state: DeclaredFile,
        *,
        chunk_size: int = CHUNK_SIZE,
        credit: int = CREDIT,
    ) -> None:
        self.slave_id = slave_id
        self.file_state = file_state
        self._chunk_size = chunk_size
        self._credit = credit
        whole = range(file_state.filesize)
        self._missing = [whole] if whole else []
        self._unrequested = list(self._missing)
        self._requested: set[range] = set()
        self._hash = hashlib.sha256()
        self.hashed = 0

    @property
    def done(self) -> bool:
        """Whether all bytes have arrived."""
        return not self._missing

    @property
    def missing(self) -> int:
        """The number of bytes that have not arrived."""
        return sum(map(len, self._missing))

    def fetch(self) -> range | None:
        """Return the next range to request; ``None`` if there is none, or no credit is left."""
        if not self._unrequested or len(self._requested) >= self._credit:
            return None
        chunk = self._unrequested[0][: self._chunk_size]
        self._unrequested = list(exclude(self._unrequested, chunk))
        self._requested.add(chunk)
        return chunk

    def chunk(self, offset: int, data: bytes) -> None:
        """Accept *data*, which begins at *offset* in the file, as the answer to a :meth:`fetch`.

        Raises ``BadMessage``, and changes nothing, if no such range was requested.
        """
        arrived = range(offset, offset + len(data))
        if arrived not in self._requested:
            raise BadMessage("a chunk that was not requested")
        self._requested.discard(arrived)
        self._missing = list(exclude(self._missing, arrived))
        if offset == self.hashed:
            self._hash.update(data)
            self.hashed = arrived.stop

    def reset(self) -> None:
        """Forget all unanswered requests, so that :meth:`fetch` returns their ranges again."""
        self._requested.clear()
        self._unrequested = list(self._missing)

    def verify(self, rest: Iterable[bytes] = ()) -> bool:
        """Return whether the file has the declared size and SHA-256. Call it only once.

        *rest* is the content from offset ``hashed`` on; this method reads it to the end.
        """
        for data in rest:
            self._hash.update(data)
            self.hashed += len(data)
        return (
            self.done
            and self.hashed == self.file_state.filesize
            and self._hash.hexdigest() == self.file_state.filehash
        )
