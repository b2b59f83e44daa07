"""The log of a build: its output in order, as text that is safe to show and to send."""

from __future__ import annotations

import codecs
import re
from collections import deque
from threading import Lock
from typing import Final

from piwheels.core.text import CONTROL_IN_LINES, ESCAPE

#: The size limit of a log, in bytes of UTF-8: it fits a message (protocols.md) with other fields.
MAX_LOG = 15 * 2**20
#: The amount of newest output that is kept for OUTPUT messages, in characters.
RECENT: Final = 2**16

# pip repeats this for each folder in the machine's configuration, in every build.
_NOISE = re.compile(r"^[^\S\n]*WARNING: Location .* is ignored: .*\n?", re.MULTILINE)


class BuildLog:
    """Collects a build's output; of a long one, it keeps the beginning and the end.

    *limit* is in bytes. Any thread may read while another writes.
    """

    def __init__(self, limit: int = MAX_LOG) -> None:
        self._limit = limit
        self._half = limit // 2
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._lost = 0
        self._notes: list[str] = []
        self._recent = _Recent()
        self._lock = Lock()

    def write(self, data: bytes) -> None:
        """Add output of the build."""
        with self._lock:
            self._recent.write(data)
            room = self._half - len(self._head)
            self._head += data[:room] if room > 0 else b""
            rest = data[max(0, room) :]
            if rest:
                self._tail.append(rest)
                self._tail_size += len(rest)
            while self._tail and self._tail_size - len(self._tail[0]) >= self._half:
                gone = len(self._tail.popleft())
                self._tail_size -= gone
                self._lost += gone

    def note(self, sentence: str) -> None:
        """Add a line of the farm; these come at the end of the log."""
        with self._lock:
            self._notes.append(f"piwheels: {sentence}\n")

    def since(self, offset: int) -> tuple[int, str]:
        """Return the lines from *offset* on, and the offset at which they begin.

        Offsets count the characters of :meth:`text` as if it was complete. The result has only
        complete lines, and the newest 65,536 characters at most.
        """
        with self._lock:
            return self._recent.since(offset)

    def __contains__(self, words: bytes) -> bool:
        """Return whether the log, as far as it is kept, contains *words*."""
        with self._lock:
            return words in self._head or any(words in block for block in self._tail)

    def text(self) -> str:
        """Return the log: text of at most *limit* bytes in UTF-8, without the lines of the farm.

        Invalid UTF-8 becomes U+FFFD, line endings become line feeds; control characters go.
        """
        with self._lock:
            head, tail = bytes(self._head), b"".join(self._tail)
            lost, notes = self._lost, "".join(self._notes)
        if lost:
            text, end = _shown(head), _shown(tail)
        else:
            text, end = _shown(head + tail), ""
        budget = self._limit - len(notes.encode())
        first, last = text.encode(), end.encode()
        if lost or len(first) > budget:
            whole = first + last
            half = budget // 2 - 100
            kept_head = first[:half] if lost else whole[:half]
            kept_tail = last[-half:] if lost else whole[-half:]
            cut = lost + len(whole) - len(kept_head) - len(kept_tail)
            start, finish = (part.decode("utf-8", "ignore") for part in (kept_head, kept_tail))
            text = f"{start}\npiwheels: {cut} bytes of the log are left out here\n{finish}"
        if text and notes and not text.endswith("\n"):
            text += "\n"
        return text + notes


class _Recent:
    """The newest output, cleaned, and the length of all output so far.

    Cleaning works line by line, so each line is cleaned as soon as it is complete.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._begun = ""
        self._pieces: deque[str] = deque()
        self._size = 0
        self._end = 0

    def write(self, data: bytes) -> None:
        """Add output of the build."""
        text = self._begun + self._decode(data)
        # A carriage return at the end may be the first half of a line ending.
        whole = max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1
        if len(text) - whole > RECENT:  # too long for a line that people read: cut it anywhere
            whole = len(text)
        self._begun = text[whole:]
        if piece := _clean(text[:whole]):
            self._pieces.append(piece[-RECENT:])
            self._size += len(self._pieces[-1])
            self._end += len(piece)
        while self._pieces and self._size - len(self._pieces[0]) >= RECENT:
            self._size -= len(self._pieces.popleft())

    def since(self, offset: int) -> tuple[int, str]:
        """Return what :meth:`BuildLog.since` does."""
        new = max(0, min(self._end - offset, self._size, RECENT))
        return self._end - new, "".join(self._pieces)[self._size - new :]


def _clean(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _NOISE.sub("", CONTROL_IN_LINES.sub("", ESCAPE.sub("", text)))


def _shown(data: bytes) -> str:
    return _clean(data.decode("utf-8", "replace"))
