"""The state of one file's transfer: what has come, what has been asked for, what is missing. Pure.

The owner writes the bytes that :meth:`TransferState.chunk` accepts to wherever it keeps them.
:class:`TransferState` is also a name of :mod:`piwheels.core.states`, where the reference has it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from piwheels.core.errors import BadMessage
from piwheels.core.ranges import exclude

if TYPE_CHECKING:
    from collections.abc import Iterable

    from piwheels.core.states import FileState

#: How many bytes are asked for at once, and how many such requests may be unanswered.
CHUNK_SIZE: Final = 256 * 2**10
CREDIT: Final = 8


class TransferState:
    """The transfer of the file that *file_state* declares, from the slave *slave_id*.

    At most *credit* requests of *chunk_size* bytes are unanswered at a time. What comes in order
    is hashed as it comes.
    """

    def __init__(
        self,
        slave_id: int,
        file_state: FileState,
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
        self._unasked = list(self._missing)
        self._asked: set[range] = set()
        self._hash = hashlib.sha256()
        self.hashed = 0

    @property
    def done(self) -> bool:
        """Whether every byte has come."""
        return not self._missing

    @property
    def missing(self) -> int:
        """How many bytes have not come yet."""
        return sum(map(len, self._missing))

    def fetch(self) -> range | None:
        """Return the next range to ask for, or ``None`` if nothing is left or no credit is."""
        if not self._unasked or len(self._asked) >= self._credit:
            return None
        wanted = self._unasked[0][: self._chunk_size]
        self._unasked = list(exclude(self._unasked, wanted))
        self._asked.add(wanted)
        return wanted

    def chunk(self, offset: int, data: bytes) -> None:
        """Note that *data* has come for *offset*, in answer to a :meth:`fetch`.

        Raises ``BadMessage`` for what nobody asked for; nothing has changed then.
        """
        got = range(offset, offset + len(data))
        if got not in self._asked:
            raise BadMessage("a chunk that nobody asked for")
        self._asked.discard(got)
        self._missing = list(exclude(self._missing, got))
        if offset == self.hashed:
            self._hash.update(data)
            self.hashed = got.stop

    def reset(self) -> None:
        """Forget what was asked for and has not come, so that it is asked for again."""
        self._asked.clear()
        self._unasked = list(self._missing)

    def verify(self, rest: Iterable[bytes] = ()) -> bool:
        """Return whether the file is what was declared.

        *rest* is its content from ``hashed`` on; all of it is hashed, so bound it. May be called
        once.
        """
        for data in rest:
            self._hash.update(data)
            self.hashed += len(data)
        return (
            self.done
            and self.hashed == self.file_state.filesize
            and self._hash.hexdigest() == self.file_state.filehash
        )
