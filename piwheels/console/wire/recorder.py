"""Recordings of a console's events, for :mod:`piwheels.console.wire.replay`.

A recording is a line (:data:`MAGIC`) and blocks: a header (:data:`HEADER`) and compressed records.
A record has a time, whether it repeats the past, and a message in the format of the wires
(:mod:`piwheels.core.codec`); nothing in it can be executed. A block of *events* is written every
few seconds, which limits the loss in a crash. A *keyframe* with the whole state of the farm follows
every few minutes, so that a moment can be found without reading everything before it.
"""

from __future__ import annotations

import os
import queue
import struct
import threading
import zlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.console.model.events import Answer
from piwheels.core import codec
from piwheels.core.errors import Fatal
from piwheels.core.protocols import (
    BuildOutcome,
    CommandReport,
    Lane,
    Protocol,
    QueueHead,
    SlaveEvent,
    TargetState,
)
from piwheels.core.states import MasterInfo, MasterStats

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from piwheels.console.model.events import Event, Incoming
    from piwheels.console.model.farm import FarmModel

    #: Its time (microseconds since 1970), whether it repeats the past, its name and data.
    Record = tuple[int, bool, str, Any]

MAGIC: Final = b"piw-console recording 1\n"
#: A block's mark, kind, first and last moment (microseconds since 1970), size, and CRC-32.
HEADER: Final = struct.Struct(">4scqqII")
MARK, EVENTS, KEYFRAME = b"PIWB", b"E", b"K"
#: A record's time, whether it repeats the past, and the length of its message.
RECORD: Final = struct.Struct(">q?I")
#: The largest block, in bytes, before and after compression.
MAX_BLOCK: Final = 64 * 2**20
#: The largest recording, in bytes: some weeks of a large farm.
MAX_SIZE: Final = 4 * 2**30

#: The intervals of blocks and of keyframes; a keyframe also follows this many events.
FLUSH_EVERY: Final = timedelta(seconds=5)
KEYFRAME_EVERY: Final = timedelta(minutes=5)
KEYFRAME_AFTER, KEYFRAME_PAUSE = 6_000, timedelta(seconds=30)
#: The most events in a block, and the most stats of slaves in a keyframe.
BLOCK_EVENTS, KEYFRAME_STATS = 2000, 5_000
#: The most blocks that wait to be written.
_MOST_WAITING: Final = 200

#: The messages that are recorded.
RECORDED: Final = Protocol(
    {
        "HELLO": MasterInfo,
        "STATS": MasterStats,
        "SLAVE": SlaveEvent,
        "OUTCOME": BuildOutcome,
        "COMMAND": CommandReport,
        "LANE": Lane,
        "QUEUE": list[QueueHead],
        "TARGETS": list[TargetState],
    },
    {},
)
_NAMES: Final[dict[type, str]] = {
    MasterInfo: "HELLO",
    MasterStats: "STATS",
    SlaveEvent: "SLAVE",
    BuildOutcome: "OUTCOME",
    CommandReport: "COMMAND",
    Lane: "LANE",
}
#: The answers that are recorded whole: each replaces the one before.
WHOLE: Final = ("QUEUE", "TARGETS")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Return *at* in microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


class Recorder:
    """Records into the new file *path*, which only its owner can read. Raises ``Fatal``.

    A thread of its own writes the file. If it fails, *failure* is a sentence and the recording
    ends; the console continues.
    """

    def __init__(self, path: Path) -> None:
        self.failure = ""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._file = os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)
        except FileExistsError as exc:
            raise Fatal(f"{path} exists already: choose another name for the recording") from exc
        except OSError as exc:
            raise Fatal(f"cannot record into {path}: {exc.strerror}") from exc
        self._path = path
        self._records: list[Record] = []
        self._answers: dict[str, Any] = {}
        self._flushed: datetime | None = None
        self._keyframe_at: datetime | None = None
        self._since_keyframe = 0
        self._size = 0
        self._blocks: queue.Queue[tuple[bytes, list[Record]] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._write_all, name="recorder", daemon=True)
        self._thread.start()

    def note(self, incoming: Incoming, farm: FarmModel) -> None:
        """Record an event; *farm*: the model after it."""
        if self.failure:
            return
        at = incoming.at
        for event, past in _messages_of(incoming.event):
            self._records.append((micros(at), past or incoming.past, _NAMES[type(event)], event))
            self._since_keyframe += 1
        match incoming.event:
            case Answer(msg=msg, data=data, refused="") if msg in WHOLE:
                self._answers[msg] = data
                self._records.append((micros(at), True, msg, data))
        self._flushed = self._flushed or at
        self._keyframe_at = self._keyframe_at or at
        if at - self._flushed >= FLUSH_EVERY or len(self._records) >= BLOCK_EVENTS:
            self._flush(at)
        since = at - self._keyframe_at
        enough = self._since_keyframe >= KEYFRAME_AFTER and since >= KEYFRAME_PAUSE
        if since >= KEYFRAME_EVERY or enough:
            self._flush(at)
            if records := self._keyframe(at, farm):
                self._put(KEYFRAME, records)
            self._keyframe_at, self._since_keyframe = at, 0

    def close(self) -> None:
        """Write what is left, and finish."""
        if self._records:
            self._put(EVENTS, self._records)
            self._records = []
        self._blocks.put(None)
        self._thread.join(10)

    def _flush(self, at: datetime) -> None:
        if self._records:
            self._put(EVENTS, self._records)
        self._records, self._flushed = [], at

    def _keyframe(self, at: datetime, farm: FarmModel) -> list[Record]:
        moment = micros(at)
        most = max(1, KEYFRAME_STATS // max(1, len(farm.slaves)))
        events = _newest_stats(farm.as_events(), most)
        picture: list[Record] = [(moment, True, _NAMES[type(event)], event) for event in events]
        picture += [(moment, True, msg, data) for msg, data in self._answers.items()]
        return picture

    def _put(self, kind: bytes, records: list[Record]) -> None:
        try:
            self._blocks.put_nowait((kind, records))
        except queue.Full:
            self.failure = f"the disk of {self._path} is too slow"

    # In the thread ----------------------------------------------------------------------------

    def _write_all(self) -> None:
        with self._file:
            try:
                self._write(MAGIC)
                while (block := self._blocks.get()) is not None:
                    self._write(pack(*block))
            except OSError as exc:
                self.failure = f"cannot write {self._path}: {exc.strerror}"
            except ValueError as exc:
                self.failure = str(exc)
            while self.failure and self._blocks.get() is not None:
                pass  # the session must not block

    def _write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > MAX_SIZE:
            raise ValueError(f"{self._path} is full: a recording has {MAX_SIZE >> 30} GiB at most")
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]


def pack(kind: bytes, records: list[Record]) -> bytes:
    """Return a block. Raises ``ValueError`` if that would be too large."""
    parts = []
    for at, past, name, data in records:
        frame = codec.dumps(name, data)
        parts += [RECORD.pack(at, past, len(frame)), frame]
    raw = b"".join(parts)
    if len(raw) > MAX_BLOCK:
        raise ValueError(f"a block of {len(raw):,} bytes is too large for a recording")
    body = zlib.compress(raw, 6)
    first, last = records[0][0], records[-1][0]
    return HEADER.pack(MARK, kind, first, last, len(body), zlib.crc32(body)) + body


def _messages_of(event: Event) -> Iterator[tuple[Any, bool]]:
    """Yield the messages that record *event*, and whether each repeats the past."""
    match event:
        case Answer() if event.refused:
            return
        case Answer(msg="HELLO", data=welcome):
            yield welcome.info, True
        case Answer(msg="SLAVES" | "HOSTS" | "FIGURES", data=reported):
            for one in reported:
                yield one, True
        case Answer(msg="BUILDS", data=builds):
            for one in reversed(builds):
                yield one, True
        case Lane():
            yield event, True
        case MasterInfo() | MasterStats() | SlaveEvent() | BuildOutcome() | CommandReport():
            yield event, False


def _newest_stats(events: Sequence[Event], most: int) -> list[Event]:
    """Return *events* with only the newest stats of each slave."""
    count: Counter[int] = Counter()
    kept: list[Event] = []
    for event in reversed(events):
        if isinstance(event, SlaveEvent) and event.message == "STATS":
            count[event.slave_id] += 1
            if count[event.slave_id] > most:
                continue
        kept.append(event)
    return kept[::-1]
