"""The state of one file's transfer: the received, the requested and the missing chunks. Pure.

It does not store the chunks: the owner writes those that :meth:`TransferState.chunk` accepts.
:mod:`piwheels.core.states` has :class:`TransferState` as well, as the reference documents.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from piwheels.core.errors import BadMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The largest chunk in bytes, and how many requests for chunks may be unanswered.
CHUNK_SIZE: Final = 256 * 2**10
CREDIT: Final = 8
#: The smallest chunk in bytes, and the size of the first one, which measures the link.
MIN_CHUNK: Final = 4 * 2**10
FIRST_CHUNK: Final = 16 * 2**10
#: For how many seconds of the link's work chunks are requested in advance.
AHEAD: Final = 1.5
#: Seconds without a byte after which chunks are requested again: at least, and as a multiple of
#: the time that the link needs for them. A link that let the first chunks pass at once, and is slow
#: from then on, needs this minimum: it may carry a large chunk.
MIN_PATIENCE: Final = 30.0
PATIENCE: Final = 4
#: The lowest rate at which a slave may send a file, in bytes per second: a quarter of 128 kbit/s.
MIN_RATE: Final = 4000
#: The bytes per second that are assumed until a chunk has arrived.
UNKNOWN_RATE: Final = 4000.0


class DeclaredFile(Protocol):
    """The part of :class:`~piwheels.core.states.FileState` that a transfer uses."""

    filesize: int
    filehash: str


class Pace:
    """How much to request in advance, from the speed at which earlier chunks arrived.

    The *window* is the number of bytes that may be requested and not arrived: about as many as
    arrive within :data:`AHEAD` seconds, so that they neither fill the buffers of a slow link nor
    leave a fast one idle. It is at most *credit* chunks of *chunk_size* bytes. It begins with one
    small chunk.
    """

    def __init__(self, chunk_size: int = CHUNK_SIZE, credit: int = CREDIT) -> None:
        self._max_chunk, self._credit = chunk_size, credit
        self._min_chunk = min(MIN_CHUNK, chunk_size)
        self.window: float = min(FIRST_CHUNK, chunk_size)
        #: The last measured speeds, in bytes per second. One chunk alone measures too little.
        self._rates: deque[float] = deque(maxlen=credit)

    @property
    def chunk_size(self) -> int:
        """The size of the next chunk: the first fills the window, later ones share it."""
        if not self._rates:
            return int(self.window)
        whole = int(self.window / self._credit) // self._min_chunk * self._min_chunk
        return max(self._min_chunk, min(whole, self._max_chunk))

    def arrived(self, count: int, seconds: float) -> None:
        """Adapt to a chunk: *count* bytes have arrived in the *seconds* since its request.

        They include its own.
        """
        self._rates.append(count / max(seconds, 1e-6))
        wanted = max(self._rates) * AHEAD
        if wanted > self.window or len(self._rates) == self._credit:
            least, most = self._min_chunk * self._credit, self._max_chunk * self._credit
            self.window = max(least, min(wanted, most))

    def patience(self, size: int) -> float:
        """Return the seconds of silence after which *size* requested bytes must be lost."""
        rate = min(self._rates) if self._rates else UNKNOWN_RATE
        return max(MIN_PATIENCE, PATIENCE * size / rate)


class _Asked(NamedTuple):
    """When a chunk was requested (monotonic), and how many bytes had arrived then."""

    at: float
    arrived: int


class TransferState:
    """The transfer of the file that *file_state* declares, from the slave *slave_id*.

    It requests chunks of at most *chunk_size* bytes, and leaves at most *credit* requests
    unanswered at a time; both adapt to the link (:class:`Pace`). Chunks that arrive in sequence are
    hashed at once. *now* is monotonic time in all methods.
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
        self.pace = Pace(chunk_size, credit)
        self._credit = credit
        #: Each missing byte is in one of these: requested, to be requested again, after *fresh*.
        self._requested: dict[range, _Asked] = {}
        self._again: deque[range] = deque()
        self._fresh = 0
        self._heard = 0.0
        self._arrived = 0
        self._hash = hashlib.sha256()
        self.hashed = 0

    @property
    def done(self) -> bool:
        """Whether all bytes have arrived."""
        return not self.missing

    @property
    def missing(self) -> int:
        """The number of bytes that have not arrived."""
        return self.file_state.filesize - self._arrived

    @property
    def _unanswered(self) -> int:
        return sum(map(len, self._requested))

    def fetch(self, now: float = 0.0) -> range | None:
        """Return the next range to request; ``None`` if there is none, or no credit is left."""
        if self._again:
            chunk = self._again[0]
        else:
            end = min(self._fresh + self.pace.chunk_size, self.file_state.filesize)
            chunk = range(self._fresh, end)
        waiting = self._unanswered
        full = len(self._requested) >= self._credit or waiting + len(chunk) > self.pace.window
        if not chunk or (waiting and full):
            return None
        if self._again:
            self._again.popleft()
        else:
            self._fresh = chunk.stop
        if not waiting:
            self._heard = now
        self._requested[chunk] = _Asked(now, self._arrived)
        return chunk

    def chunk(self, offset: int, data: bytes, now: float = 0.0) -> None:
        """Accept *data*, which begins at *offset* in the file, as the answer to a :meth:`fetch`.

        Raises ``BadMessage``, and changes nothing, if no such range was requested.
        """
        arrived = range(offset, offset + len(data))
        asked = self._requested.pop(arrived, None)
        if asked is None and arrived not in self._again:
            raise BadMessage("a chunk that was not requested")
        self._heard = now
        self._arrived += len(data)
        if asked is None:  # it was slow, not lost
            self._again.remove(arrived)
        else:
            self.pace.arrived(self._arrived - asked.arrived, now - asked.at)
        if offset == self.hashed:
            self._hash.update(data)
            self.hashed = arrived.stop

    def reset(self) -> None:
        """Have :meth:`fetch` return the unanswered ranges again: the connection was lost."""
        self._again = deque(sorted([*self._requested, *self._again], key=lambda each: each.start))
        self._requested.clear()

    def expire(self, now: float) -> None:
        """Call :meth:`reset` if nothing has arrived for so long that the chunks must be lost."""
        if self._requested and now - self._heard > self.pace.patience(self._unanswered):
            self.reset()

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
