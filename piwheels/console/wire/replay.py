"""Recordings as a source of a session: what was told then is told again, at the pace of choice."""

from __future__ import annotations

import bisect
import os
import zlib
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from piwheels.console.model.events import Answer, Garbled, Incoming, Unsent
from piwheels.console.wire.recorder import (
    EVENTS,
    HEADER,
    KEYFRAME,
    MAGIC,
    MARK,
    MAX_BLOCK,
    RECORD,
    RECORDED,
    micros,
)
from piwheels.core import codec
from piwheels.core.errors import BadMessage, Fatal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from piwheels.console.model.events import Event, Outgoing

#: Moments that a recording can be of, in microseconds since 1970: the years 1970 to 9998.
_MOMENTS: Final = range(253_370_764_800_000_000)
#: How many blocks a recording may have.
_MOST_BLOCKS: Final = 10_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Block(NamedTuple):
    key: bool
    first: int
    last: int
    offset: int
    size: int
    crc: int


def _moment(at: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at)


class Replay:
    """The recording *path*, as a source in which time can be moved; *clock* tells the real time.

    Raises ``Fatal`` for what is no recording. One that was cut off ends with its last whole block.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime]) -> None:
        self.name = path.name
        self.playing = False
        self._path = path
        self._clock = clock
        self._speed = 1.0
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as exc:
            raise Fatal(f"cannot read the recording {path}: {exc.strerror}") from exc
        try:
            self._blocks = list(self._scan())
        except BaseException:
            self._file.close()
            raise
        self._keys = [index for index, block in enumerate(self._blocks) if block.key]
        self.begin = _moment(self._blocks[0].first)
        self.end = max(self.begin, _moment(self._blocks[-1].last))
        self._position, self._set_at = self.begin, clock()
        self._next_block, self._picture = 0, self._blocks[0].key
        self._records: Iterator[Incoming] = iter(())
        self._next: Incoming | None = None
        self._refused: deque[Incoming] = deque()

    # As a source ------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to play."""
        self.play()

    def take(self) -> Iterator[Incoming]:
        """Give what the played time has reached, oldest first."""
        while self._refused:
            yield self._refused.popleft()
        until = self.position
        while (incoming := self._peek(micros(until))) is not None and incoming.at <= until:
            self._next = None
            yield incoming
        if until >= self.end:
            self.pause()

    def send(self, outgoing: Outgoing) -> None:
        """Refuse: the past cannot be told anything."""
        unsent = Unsent(outgoing.ticket, "this is a recording: nothing can be sent")
        self._refused.append(Incoming(self.position, unsent))

    def stop(self) -> None:
        """Close the file."""
        self._file.close()

    # As a recording ---------------------------------------------------------------------------

    @property
    def position(self) -> datetime:
        """The moment that the played time has reached."""
        if not self.playing:
            return self._position
        passed = max(timedelta(0), self._clock() - self._set_at)
        left = self.end - self._position
        return self.end if passed * self._speed >= left else self._position + passed * self._speed

    @property
    def speed(self) -> float:
        """How many times faster than real time it plays."""
        return self._speed

    @speed.setter
    def speed(self, value: float) -> None:
        self._set(self.position)
        self._speed = min(1000.0, max(0.01, value))

    def play(self) -> None:
        """Let time pass."""
        self._set(self._position)
        self.playing = True

    def pause(self) -> None:
        """Let it stand still."""
        self._set(self.position)
        self.playing = False

    def _set(self, at: datetime) -> None:
        self._position, self._set_at = at, self._clock()

    def seek(self, at: datetime) -> None:
        """Go to a moment: the keyframe before it is told next, then what followed up to it."""
        at = min(max(at, self.begin), self.end)
        self._set(at)
        before = bisect.bisect_right(self._keys, micros(at), key=lambda i: self._blocks[i].first)
        self._next_block = self._keys[before - 1] if before else 0
        self._picture = self._blocks[self._next_block].key
        self._records, self._next = iter(()), None

    # The file ---------------------------------------------------------------------------------

    def _scan(self) -> Iterator[_Block]:
        """Give the file's blocks. Raises ``Fatal`` if it is no recording."""
        size = os.fstat(self._file.fileno()).st_size
        if self._file.read(len(MAGIC)) != MAGIC:
            raise Fatal(f"{self._path} is not a recording of piw-console")
        offset, count, latest = len(MAGIC), 0, 0
        while offset + HEADER.size <= size:
            self._file.seek(offset)
            header = self._file.read(HEADER.size)
            mark, kind, first, last, length, crc = HEADER.unpack(header)
            known = mark == MARK and kind in (EVENTS, KEYFRAME) and length <= MAX_BLOCK
            if not known or first not in _MOMENTS or last not in _MOMENTS or count > _MOST_BLOCKS:
                raise Fatal(f"the recording {self._path} is damaged at byte {offset:,}")
            offset += HEADER.size + length
            if offset > size:
                break  # it was cut off here
            count, latest = count + 1, max(latest, first)
            # Should the clock have been put back meanwhile: time only goes on.
            yield _Block(kind == KEYFRAME, latest, max(latest, last), offset - length, length, crc)
            latest = max(latest, last)
        if not count:
            raise Fatal(f"the recording {self._path} holds nothing")

    def _peek(self, until: int) -> Incoming | None:
        """Return the next event, if there is one in the blocks that begin up to *until*."""
        while self._next is None:
            self._next = next(self._records, None)
            if self._next is not None:
                break
            if self._next_block >= len(self._blocks):
                return None
            block = self._blocks[self._next_block]
            if block.first > until:
                return None
            self._next_block += 1
            if self._picture or not block.key:
                self._picture = False
                self._records = self._read(block)
        return self._next

    def _read(self, block: _Block) -> Iterator[Incoming]:
        try:
            for at, past, frame in self._frames(block):
                event = _event(*codec.loads(frame))
                yield Incoming(_moment(at), event, past)
        except BadMessage as exc:
            why = f"the recording is damaged at byte {block.offset:,}: {exc}"
            yield Incoming(_moment(block.last), Garbled("status", why[:200], b""))

    def _frames(self, block: _Block) -> Iterator[tuple[int, bool, bytes]]:
        """Give when each message of *block* came, whether it is past, and its bytes."""
        self._file.seek(block.offset)
        body = self._file.read(block.size)
        if zlib.crc32(body) != block.crc:
            raise BadMessage("its checksum is wrong")
        unpacked = zlib.decompressobj()
        try:
            raw = unpacked.decompress(body, MAX_BLOCK)
        except zlib.error as exc:
            raise BadMessage(str(exc)) from exc
        if not unpacked.eof:
            raise BadMessage("it holds too much")
        offset = 0
        while offset < len(raw):
            if offset + RECORD.size > len(raw):
                raise BadMessage("its last record is incomplete")
            at, past, length = RECORD.unpack_from(raw, offset)
            offset += RECORD.size + length
            if offset > len(raw):
                raise BadMessage("its last record is incomplete")
            yield min(max(at, block.first), block.last), past, raw[offset - length : offset]


def _event(msg: str, data: Any) -> Event:
    checked = RECORDED.received(msg, data)
    event: Event = Answer(0, "QUEUE", checked) if msg == "QUEUE" else checked
    return event
