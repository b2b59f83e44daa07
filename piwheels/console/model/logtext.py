"""A build's log as lines for display: split, folded, without escape sequences, graded."""

from __future__ import annotations

import re
from bisect import bisect_right
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.console.text import clean
from piwheels.core.text import ESCAPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta

#: A longer line is shown as several.
LONGEST: Final = 100_000
#: The most lines that are kept; beyond it the older half is dropped to limit memory.
KEPT: Final = 400_000
#: The number of characters of a line that decide its grade.
_GRADED = 1000
#: The number of characters of a failure's cause that are compared: a very long one is cut.
_COMPARED: Final = 1000

_ERROR: Final = re.compile(
    r"(?i:\b(?:error|fatal error|fatal)\s*[:\[])"  # gcc, clang, rustc, pip, git
    r"|(?:Error|Exception|Exit):"  # Python's exceptions
    r"|^(?i:traceback \(most recent call last)"
    r"|\bCMake Error\b|^FAILED: |^ninja: build stopped|^\w{0,8}make(?:\[\d+\])?: \*\*\* "
    r"|\bundefined (?:reference|symbol)\b|\bcannot find -l"
    r"|\bNo space left on device\b|\bSegmentation fault\b|\bCannot allocate memory\b"
)
_WARNING: Final = re.compile(r"(?i:\bwarning\s*[:\[])|Warning:|\bCMake (?:Deprecation )?Warning\b")
#: Each match of the patterns above contains one of these; most lines do not and are not searched.
_SUSPECT: Final = (
    "error", "warning", "fatal", "traceback", "exception", "exit:", "failed: ", "stopped", "***",
    "undefined", "cannot find -l", "no space left", "segmentation fault", "cannot allocate",
)  # fmt: skip
#: Without the cache, which would keep lines that no screen shows any more.
_clean = clean.__wrapped__


class Grade(Enum):
    """The severity of a line."""

    PLAIN = 0
    WARNING = 1
    ERROR = 2
    GAP = 3  # a part that was not sent


class Line(NamedTuple):
    """A line, cleaned for display. *folds*: the number of earlier states of a progress line.

    *start*: its offset in the log, in characters.
    """

    text: str
    grade: Grade = Grade.PLAIN
    folds: int = 0
    start: int = 0


def read_line(raw: str, start: int = 0) -> Line:
    r"""Return *raw* for display; of several states separated by ``\r`` only the last is shown."""
    if "\x1b" in raw or "\x9b" in raw:
        raw = ESCAPE.sub("", raw)
    folds = 0
    if "\r" in raw:
        states = [state for state in raw.split("\r") if state.strip()]
        raw, folds = (states[-1], len(states) - 1) if states else ("", 0)
    if "\t" in raw:
        raw = raw.expandtabs()
    text = raw if raw.isascii() and raw.isprintable() else _clean(raw)
    return Line(text, _grade(text[:_GRADED]), folds, start)


def _grade(text: str) -> Grade:
    lower = text.lower()
    if not any(word in lower for word in _SUSPECT):
        return Grade.PLAIN
    if _ERROR.search(text):
        return Grade.ERROR
    return Grade.WARNING if _WARNING.search(text) else Grade.PLAIN


class LogText:
    """The lines of a log that arrives in parts; the lines do not depend on how it is split.

    The last line may be incomplete; it is shown as it is so far.
    """

    def __init__(self) -> None:
        self.lines: list[Line] = []
        #: The number of lines of each grade.
        self.counts: dict[Grade, int] = dict.fromkeys(Grade, 0)
        #: The offset of the next part, in characters.
        self.end = 0
        #: The number of characters that were not sent.
        self.missing = 0
        self._open = ""
        #: The number of lines that were dropped.
        self._forgotten = 0
        #: The end offset of each part, and the build's elapsed time when it arrived.
        self._arrivals: list[tuple[int, timedelta | None]] = []

    def add(self, offset: int, text: str, at: timedelta | None = None) -> int:
        """Add the part at *offset*, which arrived *at* that elapsed time of the build.

        Text that is there already is ignored. Return the number of the first line that is new or
        different.
        """
        text = text[max(0, self.end - offset) :]
        if not text:
            return len(self.lines)
        first = len(self.lines) - bool(self._open)
        forgotten = self._forgotten
        if self._open:
            self._drop_last()
        if offset > self.end:
            self._leave_gap(offset)
        begin = self.end - len(self._open)
        self.end += len(text)
        self._arrivals.append((self.end, at))
        *whole, self._open = (self._open + text).split("\n")
        for raw in whole:
            for piece in range(0, len(raw) or 1, LONGEST):
                self._append(read_line(raw[piece : piece + LONGEST], begin + piece))
            begin += len(raw) + 1
        while len(self._open) > LONGEST:
            self._append(read_line(self._open[:LONGEST], begin))
            self._open, begin = self._open[LONGEST:], begin + LONGEST
        if self._open:
            self._append(read_line(self._open, begin))
        return first if self._forgotten == forgotten else 0

    def _leave_gap(self, offset: int) -> None:
        if self._open:
            self._append(read_line(self._open, self.end - len(self._open)))
            self._open = ""
        lost = offset - self.end
        what = f"… {lost:,} characters were not sent"
        self._append(Line(what, Grade.GAP, start=self.end))
        self.missing += lost
        self.end = offset

    def _append(self, line: Line) -> None:
        self.lines.append(line)
        self.counts[line.grade] += 1
        if len(self.lines) > KEPT:
            self._forget()

    def _forget(self) -> None:
        """Replace the older half of the lines by a note."""
        half = len(self.lines) // 2
        for line in self.lines[:half]:
            self.counts[line.grade] -= 1
        self._forgotten += half - bool(self._forgotten)
        what = f"… the first {self._forgotten:,} lines were dropped"
        self.lines[:half] = [Line(what, Grade.GAP, start=self.lines[half].start)]
        self.counts[Grade.GAP] += 1

    def _drop_last(self) -> None:
        self.counts[self.lines.pop().grade] -= 1

    @property
    def has_times(self) -> bool:
        """Whether the time of any line is known."""
        return any(at is not None for _, at in self._arrivals)

    def time_of(self, line: Line) -> timedelta | None:
        """Return the build's elapsed time when *line* began, if it is known."""
        place = bisect_right(self._arrivals, line.start, key=lambda arrival: arrival[0])
        return self._arrivals[place][1] if place < len(self._arrivals) else None

    def take_times(self, other: LogText) -> None:
        """Copy the times of *other*, an earlier copy of this log."""
        self._arrivals = other._arrivals


def hits(lines: Sequence[Line], needle: str, first: int = 0) -> Iterator[int]:
    """Yield the numbers of the lines from *first* on that contain *needle*.

    The search ignores case, unless *needle* has upper case.
    """
    as_it_is = needle != needle.lower()
    for number in range(first, len(lines)):
        text = lines[number].text
        if needle in (text if as_it_is else text.lower()):
            yield number


def find_cause(lines: Sequence[Line], cause: str, first: int = 0) -> Iterator[int]:
    """Yield the numbers of the lines from *first* on that contain *cause*, a failure's line.

    The amount of white space may differ.
    """
    words = cause[:_COMPARED].split()
    wanted, longest = " ".join(words), max(words, key=len, default="")
    for number in range(first, len(lines) if words else 0):
        text = lines[number].text
        if longest in text and wanted in " ".join(text.split()):
            yield number


def places(text: str, needle: str) -> Iterator[int]:
    """Yield the positions of *needle* in *text*."""
    if needle == needle.lower():
        text = text.lower()
    place = text.find(needle) if needle else -1
    while place >= 0:
        yield place
        place = text.find(needle, place + len(needle))
