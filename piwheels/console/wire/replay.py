"""A source that replays a recording at any speed."""

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
    WHOLE,
    micros,
)
from piwheels.core import codec
from piwheels.core.errors import BadMessage, Fatal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from piwheels.console.model.events import Event, Outgoing

#: Valid times of a recording, in microseconds since 1970: the years 1970 to 9998.
_MOMENTS: Final = range(253_370_764_800_000_000)
#: The most blocks of a recording.
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
    """The recording *path* as a source; *clock* gives console time.

    Raises ``Fatal`` for an invalid file. A truncated recording ends with its last complete block.
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
        self._next_block, self._wants_keyframe = 0, self._blocks[0].key
        self._records: Iterator[Incoming] = iter(())
        self._next: Incoming | None = None
        self._refused: deque[Incoming] = deque()

    # As a source ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start to play."""
        self.play()

    def take(self) -> Iterator[Incoming]:
        """Yield the events up to the current position, oldest first."""
        while self._refused:
            yield self._refused.popleft()
        until = self.position
        while (incoming := self._peek(micros(until))) is not None and incoming.at <= until:
            self._next = None
            yield incoming
        if until >= self.end:
            self.pause()

    def send(self, outgoing: Outgoing) -> None:
        """Refuse the message: a recording takes none."""
        unsent = Unsent(outgoing.ticket, "this is a recording: nothing can be sent")
        self._refused.append(Incoming(self.position, unsent))

    def stop(self) -> None:
        """Close the file."""
        self._file.close()

    # As a recording ---------------------------------------------------------------------------

    @property
    def position(self) -> datetime:
        """The current position."""
        if not self.playing:
            return self._position
        passed = max(timedelta(0), self._clock() - self._set_at)
        left = self.end - self._position
        return self.end if passed * self._speed >= left else self._position + passed * self._speed

    @property
    def speed(self) -> float:
        """The speed, as a multiple of real time."""
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
        """Stop time."""
        self._set(self.position)
        self.playing = False

    def _set(self, at: datetime) -> None:
        self._position, self._set_at = at, self._clock()

    def seek(self, at: datetime) -> None:
        """Move to a moment: the keyframe before it comes next, then the events up to it."""
        at = min(max(at, self.begin), self.end)
        self._set(at)
        before = bisect.bisect_right(self._keys, micros(at), key=lambda i: self._blocks[i].first)
        self._next_block = self._keys[before - 1] if before else 0
        self._wants_keyframe = self._blocks[self._next_block].key
        self._records, self._next = iter(()), None

    # The file ---------------------------------------------------------------------------------

    def _scan(self) -> Iterator[_Block]:
        """Yield the file's blocks. Raises ``Fatal`` if it is not a recording."""
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
                break  # truncated here
            count, latest = count + 1, max(latest, first)
            # If the clock was set back while recording, time still only advances.
            yield _Block(kind == KEYFRAME, latest, max(latest, last), offset - length, length, crc)
            latest = max(latest, last)
        if not count:
            raise Fatal(f"the recording {self._path} is empty")

    def _peek(self, until: int) -> Incoming | None:
        """Return the next event from blocks that begin not later than *until*, if any."""
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
            if self._wants_keyframe or not block.key:
                self._wants_keyframe = False
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
        """Yield time, whether it repeats the past, and bytes of each message of *block*."""
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
            raise BadMessage("it is too large")
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
    event: Event = Answer(0, msg, checked) if msg in WHOLE else checked
    return event
