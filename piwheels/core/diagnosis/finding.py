"""Finds in the log of a failed build the line that decides, and what it means. Pure.

A log has up to 15 MiB, and its build may be hostile. So a rule is tried for few lines, which have
its sign, and only for so much of each.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.diagnosis.classes import Diagnosis
from piwheels.core.diagnosis.excerpts import last_reason
from piwheels.core.diagnosis.rule import GENERAL, RESOURCE, VERDICT, Context, Rule, Where
from piwheels.core.diagnosis.rules import RULES
from piwheels.core.text import ESCAPE, clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: How much of the end of a log is tried with all rules, in characters; of what comes before it only
#: the lines with some words are, and only if the end does not say enough.
_TAIL: Final = 40_000
_EARLIER: Final = ("rror", "ERROR", "annot find", "ot found")
#: The limit of notes, and of lines for each rule.
_NOTES: Final = 200
_EACH: Final = 25
#: The limits of a line, and of a subject, in characters.
LONGEST: Final = 2_000
_SUBJECT: Final = 200
#: How near to the end a line has to be that says what its machine ran out of, in characters.
_NEAR: Final = 40_000
#: How near to each other the errors of one file are. Of these, the first one counts.
_CLUSTER: Final = 8_000
_FIRST_COUNTS: Final = frozenset({"compile-error", "link-error", "python-too-new", "python-2"})

_QUOTES: Final = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")
_FRAME: Final = re.compile(r"[\s\u2502\u2570\u2500\u00d7>]*")
_PYTHON: Final = re.compile(r"\(python (\d)\.(\d{1,3})\)|/(?:lib/)?python(\d)\.(\d{1,3})/")
_NOTE: Final = "piwheels: "
#: Lines that compilers, setuptools and pip print in any case.
_NOISE: Final = re.compile(
    r"\s*(?:(?:[\w./]{0,100}[-/])?(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+) -|copying |creating |"
    r"adding |Requirement already|byte-compiling |changing mode |Successfully installed|"
    r"running \w+$|reading |writing |building '|Collecting |Downloading |Obtaining |"
    r"Using cached |INFO:|File \"(?![^\n]*ez_setup)|[~^ ]+$|Installing collected)"
)
#: How the notes on the end of a build begin.
_END: Final = "piwheels: the build "
#: Which lines a rule is for.
_LINES_OF: Final[dict[Where, tuple[Where, ...]]] = {
    "any": ("any", "pip"), "pip": ("pip",), "note": ("note", "end"), "end": ("end",),
}  # fmt: skip
_QUESTION: Final = re.compile(
    r"(?:\[[yYnN]/[yYnN]\]|\([yY](?:es)?/[nN]o?\)|[Pp]ress |[Ee]nter |[Pp]assword|[Cc]ontinue|"
    r"[Cc]hoose|[Ss]elect|[Aa]ccept|[Aa]gree).{0,100}[?:>\])\u2026.]? *$|\? ?(?:\[.{0,20}\])? *$"
)
#: The classes of endings that leave no doubt, each with its subject, and what notes may say of it.
_ENDINGS: Final = {
    "timeout": ("time-out", ""),
    "silent": ("silence", ""),
    "memory": ("out-of-memory", ""),
    "disk": ("too-large", "disk (--disk)"),
    "processes": ("too-large", "processes (--processes)"),
    "cpu": ("too-large", "processor time (--cpu-time)"),
    "full": ("disk-full", ""),
    "lost": ("lost", ""),
    "request": ("recipe-refused", ""),
    "error": ("slave-broken", "it cannot run the build"),
    "trial": ("wheel-refused", "pip cannot install it"),
    "wheel": ("wheel-refused", "it is none"),
    "stopped": ("unknown", ""),
}
#: The signals by which something else ends a process.
_KILLS: Final = {"9", "15"}


class Line(NamedTuple):
    """A line of a log: where it is, whether pip or the farm wrote it, and its text."""

    start: int
    end: int
    where: Where
    text: str


class Finding(NamedTuple):
    """A line to which a rule applies, with its subject and its rank."""

    rule: Rule
    line: Line
    subject: str
    rank: int


#: What decides most comes first, so that the rest need not be tried.
_COMPILED: Final = tuple(
    (rule, re.compile(rule.pattern)) for rule in sorted(RULES, key=lambda each: -each.rank)
)


def diagnose(log: str, ending: str = "") -> Diagnosis:
    """Return why the build with this *log* failed.

    *ending* says how its pip ended: ``exit 1``, ``signal 9``, ``timeout``, ``silent``, ``memory``,
    ``disk``, ``processes``, ``cpu``, ``full``, ``lost``; ``trial`` (the wheel cannot be installed),
    ``wheel`` (no or broken wheels); ``""``: unknown, so that the last lines of *log* tell it.
    """
    log = _plain(log)
    found = decide(log)
    kind, _, detail = ending.partition(" ")
    if kind == "signal" or (kind, detail) == ("exit", "137"):
        killed = kind == "exit" or detail in _KILLS
        reason, subject = ("killed" if killed else "crashed"), f"signal {detail or 9}"
        if kind == "exit":
            subject = "signal 9"
    elif kind in _ENDINGS:
        reason, subject = _ENDINGS[kind]
    else:
        return _diagnosis(log, found)
    notes = _LINES_OF["note"] if kind != "lost" else ()
    if found is not None and found.line.where in notes and found.rank > VERDICT:
        return _diagnosis(log, found)  # it has more details
    if kind in {"silent", "timeout"} and _asks(log):
        return Diagnosis("asks-input", "", _last_output(log), 0.8)
    return Diagnosis(
        reason, subject, last_reason(log)[:LONGEST], 0.95 if reason != "unknown" else 0
    )


def decide(log: str, rules: Sequence[tuple[Rule, re.Pattern[str]]] = _COMPILED) -> Finding | None:
    """Return the line that decides why the build with this plain *log* failed, and its rule."""
    beginning = max(0, len(log) - _TAIL)
    if beginning:
        beginning = log.find("\n", beginning, beginning + LONGEST) + 1 or beginning
    notes = _notes(log)
    best = _best(log, _last_lines(log, beginning, notes), rules)
    if beginning and (best is None or best.rank <= GENERAL):
        earlier = _best(log, _earlier_lines(log, beginning), rules)
        if earlier is not None and (best is None or earlier.rank > best.rank):
            return earlier
    return best


def _diagnosis(log: str, found: Finding | None) -> Diagnosis:
    if found is None:
        return Diagnosis("unknown", "", last_reason(log)[:LONGEST])
    rule, line, subject, _ = found
    return Diagnosis(rule.reason, clean(subject, _SUBJECT), line.text, rule.confidence)


def _plain(log: str) -> str:
    """Return *log* without escape sequences, and with simple line ends, where they matter."""
    begin = max(0, len(log) - _TAIL)
    if all(log.find(each, begin) < 0 for each in "\x1b\x9b\r"):
        return log
    tail = ESCAPE.sub("", log[begin:]).replace("\r\n", "\n").replace("\r", "\n")
    return log[:begin] + tail


def _notes(log: str) -> int:
    """Return where the notes of the farm begin, which are the last lines of *log*."""
    begin = max(0, len(log) - _TAIL)
    start = len(log)
    lines = log[begin:].split("\n")
    for text in reversed(lines[-_NOTES:]):
        if text and not text.startswith(_NOTE):
            break
        start -= len(text) + 1
    return max(start, begin)


def _last_lines(log: str, begin: int, notes: int) -> list[Line]:
    """Return the lines of *log* from *begin* on that may decide."""
    lines, start = [], begin
    for text in log[begin:].split("\n"):
        if text and (not _NOISE.match(text) or "rror" in text):
            for piece in {0, max(0, len(text) - LONGEST)}:
                begin, end = start + piece, start + min(len(text), piece + LONGEST)
                lines.append(_line(log, begin, end, notes))
        start += len(text) + 1
    return sorted(lines)


def _earlier_lines(log: str, end: int) -> list[Line]:
    """Return the last lines of *log* before *end* that have words of errors."""
    places: set[tuple[int, int]] = set()
    for sign in _EARLIER:
        before, left = end, _TAIL // len(_EARLIER)
        while left > 0:
            place = log.rfind(sign, 0, before)
            if place < 0:
                break
            first = max(0, place - LONGEST // 2)
            start = log.rfind("\n", first, place) + 1 or first
            stop = log.find("\n", place, min(end, start + LONGEST))
            stop = min(end, start + LONGEST) if stop < 0 else stop
            places.add((start, stop))
            before, left = start, left - (stop - start) - 20
    return [_line(log, start, stop, end) for start, stop in sorted(places)]


def _line(log: str, start: int, stop: int, notes: int) -> Line:
    text = log[start:stop]
    if "\x1b" in text:
        text = ESCAPE.sub("", text)
    where: Where = "any" if text[:1].isspace() else "pip"
    if start >= notes and text.startswith(_NOTE):
        is_last = text.startswith(_END) and log.find(_END, stop) < 0
        where = "end" if is_last else "note"
    begin = _FRAME.match(text)
    return Line(start, stop, where, text[begin.end() if begin else 0 :].rstrip())


class _View:
    """Some *lines* of *log*, as one text in which signs are found fast."""

    def __init__(self, log: str, lines: list[Line]) -> None:
        self._log = log
        self._lines = lines
        self._texts = [line.text.translate(_QUOTES) for line in lines]
        self._whole = "\n".join(self._texts)
        self._starts = list(accumulate((len(text) + 1 for text in self._texts), initial=0))
        self._python = _python(log)
        self._signs: dict[str, bool] = {}

    def has(self, sign: str) -> bool:
        """Return whether a line has *sign*."""
        if sign not in self._signs:
            self._signs[sign] = sign in self._whole
        return self._signs[sign]

    def found(self, rule: Rule, pattern: re.Pattern[str]) -> Finding | None:
        """Return the line that *rule* chooses: the last, or the first of the last errors."""
        found = None
        for each in self._matches(rule, pattern):
            if found is None or found.line.start - each.line.start < _CLUSTER:
                found = each
            if rule.reason not in _FIRST_COUNTS:
                break
        return found

    def _matches(self, rule: Rule, pattern: re.Pattern[str]) -> Iterator[Finding]:
        """Yield the lines to which *rule* applies, the last one first."""
        before = len(self._whole)
        for _ in range(_EACH):
            place = self._whole.rfind(rule.sign, 0, before)
            if place < 0:
                return
            number = bisect_right(self._starts, place) - 1
            before = self._starts[number]
            line = self._lines[number]
            match = pattern.search(self._texts[number]) if _is_for(rule, line) else None
            if match is None or (rule.needs and not _has(self._log, rule.needs)):
                continue
            around = Context(self._log, line.start, line.end, self._python)
            subject = _subject(rule, match, around)
            if subject is not None:
                is_far = rule.rank == RESOURCE and len(self._log) - line.end > _NEAR
                yield Finding(rule, line, subject, GENERAL if is_far else rule.rank)


def _best(
    log: str, lines: list[Line], rules: Sequence[tuple[Rule, re.Pattern[str]]]
) -> Finding | None:
    """Return the line that decides most, of equal ones the last."""
    view = _View(log, lines)
    best: Finding | None = None
    for rule, pattern in rules:
        if best is not None and rule.rank < best.rank:
            break
        found = view.found(rule, pattern) if view.has(rule.sign) else None
        if found is None:
            continue
        if best is None or (found.rank, found.line.start) > (best.rank, best.line.start):
            best = found
    return best


def _is_for(rule: Rule, line: Line) -> bool:
    return line.where in _LINES_OF[rule.where]


def _has(log: str, text: str) -> bool:
    return text in log[:_TAIL] or text in log[-_TAIL:]


def _subject(rule: Rule, match: re.Match[str], around: Context) -> str | None:
    if callable(rule.subject):
        return rule.subject(match, around)
    return rule.subject.format(*(group or "" for group in match.groups())).strip()


def _python(log: str) -> tuple[int, int] | None:
    """Return the version of Python that *log* names."""
    found = _PYTHON.search(log[:20_000]) or _PYTHON.search(log[-20_000:])
    if found is None:
        return None
    return int(found[1] or found[3]), int(found[2] or found[4])


def _last_output(log: str) -> str:
    """Return the last line that is not a note."""
    text = log[: _notes(log)][-LONGEST:].rstrip()
    return text[text.rfind("\n") + 1 :].strip()


def _asks(log: str) -> bool:
    return _QUESTION.search(_last_output(log)[-300:]) is not None
