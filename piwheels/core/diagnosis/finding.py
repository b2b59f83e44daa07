"""Finds in the log of a failed build the line that decides, and what it means. Pure.

A log has up to 15 MiB, and its build may be hostile. So only lines with the sign of some rule are
looked at, few of each sign, and only so much of each.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.diagnosis.classes import Diagnosis
from piwheels.core.diagnosis.excerpts import last_reason
from piwheels.core.diagnosis.rule import GENERAL, RESOURCE, VERDICT, Context, Rule
from piwheels.core.diagnosis.rules import RULES
from piwheels.core.text import ESCAPE, clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Parts of most signs. To look for these is faster than to look for all signs.
_PARTS: Final = (
    "rror", "not ", "ot f", "o such", "nvalid", "ailed", "odule", "able", "ibrar", "equire", "ython",
    "xit ", "illed", "xist", "annot", "ind ", "ackage", "nstall", "ption", "xcee", "upport", "ust ",
)  # fmt: skip
#: Texts of which each sign of a rule contains one, so that other lines need not be looked at.
SIGNS: Final = (
    *_PARTS, *sorted({each.sign for each in RULES if not any(part in each.sign for part in _PARTS)}),
)  # fmt: skip
#: How much of the end of a log is searched for all signs, in characters; what comes before it only
#: for some, and only if the end does not say enough.
_TAIL: Final = 50_000
_EARLIER: Final = ("rror", "annot find", "ot found", "ndefined ", "illed")
#: The limits of lines for each sign, and for each rule.
_LINES: Final = 200
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
    where: str
    text: str


class Finding(NamedTuple):
    """A line to which a rule applies, with its subject and its rank."""

    rule: Rule
    line: Line
    subject: str
    rank: int


_COMPILED: Final = tuple((rule, re.compile(rule.pattern)) for rule in RULES)


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
    if found is not None and found.line.where == "note" and found.rank > VERDICT:
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
    best = _best(log, _lines(log, SIGNS, beginning, len(log), notes), rules)
    if beginning and (best is None or best.rank <= GENERAL):
        earlier = _best(log, _lines(log, _EARLIER, 0, beginning, notes), rules)
        if earlier is not None and (best is None or earlier.rank > best.rank):
            return earlier
    return best


def _diagnosis(log: str, found: Finding | None) -> Diagnosis:
    if found is None:
        return Diagnosis("unknown", "", last_reason(log)[:LONGEST])
    rule, line, subject, _ = found
    return Diagnosis(rule.reason, clean(subject, _SUBJECT), line.text, rule.confidence)


def _plain(log: str) -> str:
    """Return *log* without escape sequences where they matter, and with simple quotation marks."""
    head, tail = log[:-_TAIL], log[-_TAIL:]
    if "\x1b" in tail or "\x9b" in tail:
        tail = ESCAPE.sub("", tail)
    if "\r" in tail:
        tail = tail.replace("\r\n", "\n").replace("\r", "\n")
    return head + tail if head else tail


def _notes(log: str) -> int:
    """Return where the notes of the farm begin, which are the last lines of *log*."""
    start = len(log.rstrip("\n")) if log.endswith("\n") else len(log)
    for _ in range(_LINES):
        line = log.rfind("\n", max(0, start - 4 * LONGEST), start) + 1
        if (line == 0 and start > 4 * LONGEST) or not log.startswith(_NOTE, line):
            break
        if line == 0:
            return 0
        start = line - 1
    return start


def _lines(log: str, signs: Sequence[str], begin: int, end: int, notes: int) -> list[Line]:
    """Return the last lines of a part of *log* that have one of *signs*, in their order."""
    places: set[tuple[int, int]] = set()
    for sign in signs:
        before = end
        for _ in range(_LINES):
            place = log.rfind(sign, begin, before)
            if place < 0:
                break
            start = log.rfind("\n", max(begin, place - LONGEST), place) + 1
            start = start or max(begin, place - LONGEST)
            stop = log.find("\n", place, min(end, start + LONGEST))
            places.add((start, min(end, start + LONGEST) if stop < 0 else stop))
            before = max(start, begin)
    return [_line(log, start, stop, notes) for start, stop in sorted(places)]


def _line(log: str, start: int, stop: int, notes: int) -> Line:
    text = log[start:stop]
    if "\x1b" in text:
        text = ESCAPE.sub("", text)
    if start > notes or (start == notes == 0 and text.startswith(_NOTE)):
        where = "note"
    else:
        where = "any" if text[:1].isspace() else "pip"
    begin = _FRAME.match(text)
    return Line(start, stop, where, text[begin.end() if begin else 0 :].rstrip())


def _best(
    log: str, lines: list[Line], rules: Sequence[tuple[Rule, re.Pattern[str]]]
) -> Finding | None:
    """Return the line that decides most, of equal ones the last."""
    texts = [line.text.translate(_QUOTES) for line in lines]
    whole = "\n".join(texts)
    starts, place = [], 0
    for text in texts:
        starts.append(place)
        place += len(text) + 1
    python = _python(log)
    best: Finding | None = None
    for rule, pattern in rules:
        if rule.sign not in whole or (best is not None and rule.rank < best.rank):
            continue
        for number in _having(whole, rule.sign, starts):
            line = lines[number]
            if not _is_for(rule, line):
                continue
            match = pattern.search(texts[number])
            if match is None or (rule.needs and not _has(log, rule.needs)):
                continue
            subject = _subject(rule, match, Context(log, line.start, line.end, python))
            if subject is None:
                continue
            rank = rule.rank
            if rank == RESOURCE and len(log) - line.end > _NEAR:
                rank = GENERAL
            if best is None or (rank, line.start) > (best.rank, best.line.start):
                best = Finding(rule, line, subject, rank)
            elif best.rule is not rule or rule.reason not in _FIRST_COUNTS:
                break
            elif best.line.start - line.start < _CLUSTER:
                best = Finding(rule, line, subject, rank)
            if rule.reason not in _FIRST_COUNTS:
                break
    return best


def _having(whole: str, sign: str, starts: Sequence[int]) -> Iterator[int]:
    """Yield the numbers of the last lines that have *sign*, the last one first."""
    before = len(whole)
    for _ in range(_EACH):
        place = whole.rfind(sign, 0, before)
        if place < 0:
            return
        number = bisect_right(starts, place) - 1
        yield number
        before = starts[number]


def _is_for(rule: Rule, line: Line) -> bool:
    if rule.where == "any":
        return line.where != "note"
    return rule.where == line.where


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
