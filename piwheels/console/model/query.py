"""The filter language of the fleet: ``abi=cp311 load>4 !label~rack1``.

A filter is a list of terms; a slave matches if all of them hold:

=====================  =============================================================================
``numpy``              the letters are in the label or the task, or begin parts of it (``pi r1``)
``abi=cp39,cp311``     the value is one of these; of texts: ``abi label os board serial task cmd``
``os~bookworm``        the text contains this
``load>4 time>1h30``   numbers ``disk mem swap`` (% in use), ``load temp slow files id skew``, and
                       times ``time eta``; with ``= != < <= > >=``
``state=build,send``   one of the states
``alert`` ``cmd``      there is an alert; a command is under way or has failed
``!...``               the term does not hold
``"..."``              a word or a value with spaces or signs in it
=====================  =============================================================================
"""

from __future__ import annotations

import operator
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from piwheels.console.model.slave import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from piwheels.console.model.commands import Command
    from piwheels.console.model.slave import Slave


class Row(NamedTuple):
    """A row of the fleet table: a slave with the values that are shown, sorted and filtered.

    *branch*: it is below the row of its board, which shows the values of the machine.
    """

    slave: Slave
    state: State
    elapsed: timedelta
    command: Command | None = None
    gone: bool = False
    branch: Literal["", "├", "└"] = ""


class QueryError(ValueError):
    """An invalid filter: the sentence says why, *column* (from 1) says where."""

    def __init__(self, why: str, column: int) -> None:
        super().__init__(f"column {column}: {why}")
        self.why, self.column = why, column


class Query(NamedTuple):
    """A parsed filter; an empty one matches everything."""

    text: str = ""
    tests: tuple[Callable[[Row], bool], ...] = ()

    def matches(self, row: Row) -> bool:
        """Return whether *row* matches."""
        return all(test(row) for test in self.tests)


# Fields ----------------------------------------------------------------------------


def task(row: Row) -> str:
    """Return what the slave builds (``numpy 2.3.4``), or nothing."""
    return " ".join(row.slave.job) if row.slave.job else ""


def used(row: Row, what: str) -> float | None:
    """Return how much of *what* (disk, mem, swap) is in use, in percent, if that is known."""
    if not row.slave.stats:
        return None
    stats = row.slave.stats[-1]
    size: int = getattr(stats, f"{what}_size")
    free: int = getattr(stats, f"{what}_free")
    return 100 * (1 - free / size) if size else None


def load(row: Row) -> float | None:
    """Return the load, if it is known."""
    return row.slave.stats[-1].load_average if row.slave.stats else None


def temp(row: Row) -> float | None:
    """Return the temperature in degrees Celsius, if it is known."""
    return (row.slave.stats[-1].cpu_temp or None) if row.slave.stats else None


def _seconds(time: timedelta | None) -> float | None:
    return None if time is None else time.total_seconds()


TEXTS: Final[dict[str, Callable[[Row], str]]] = {
    "label": lambda row: row.slave.label,
    "abi": lambda row: row.slave.abi,
    "task": task,
    "os": lambda row: f"{row.slave.info.os_name} {row.slave.info.os_version}",
    "platform": lambda row: row.slave.info.native_platform,
    "board": lambda row: row.slave.info.board_revision,
    "serial": lambda row: row.slave.info.board_serial,
    "cmd": lambda row: row.command.verb if row.command else "",
    "alert": lambda row: ", ".join(map(str, row.slave.alerts)),
}
NUMBERS: Final[dict[str, Callable[[Row], float | None]]] = {
    "id": lambda row: row.slave.id,
    "load": load,
    "temp": temp,
    "disk": lambda row: used(row, "disk"),
    "mem": lambda row: used(row, "mem"),
    "swap": lambda row: used(row, "swap"),
    "slow": lambda row: row.slave.ratio,
    "files": lambda row: row.slave.files,
    "skew": lambda row: _seconds(row.slave.skew),
    "time": lambda row: row.elapsed.total_seconds(),
    "eta": lambda row: _seconds(row.slave.eta),
}
#: Terms without a value.
FLAGS: Final = ("alert", "cmd")
FIELDS: Final = ("state", *TEXTS, *NUMBERS)

_STATES: Final = {name.lower(): state for state in State for name in (state.name, state.value)}
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    # Shown values are rounded: 85 means everything that is shown as 85.
    "=": lambda value, limit: abs(value - limit) < 0.5,
    "!=": lambda value, limit: abs(value - limit) >= 0.5,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

# The parser -----------------------------------------------------------------------------

_TERM: Final = re.compile(r'(?:"[^"]*"?|[^"\s])+')
_FIELD: Final = re.compile(r"([A-Za-z]+)(!=|<=|>=|=|<|>|~)(.*)", re.DOTALL)
_NUMBER: Final = re.compile(r"x?(-?[0-9]+(?:\.[0-9]+)?)%?")
_SPAN: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([dhms]?)")
_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PARTS: Final = re.compile(r"[a-z]+|[0-9]+|[^a-z0-9\s._/-]")


def parse(text: str) -> Query:
    """Parse a filter. Raises ``QueryError``."""
    tests = []
    for found in _TERM.finditer(text):
        term = found[0].lstrip("!")
        bangs = len(found[0]) - len(term)
        if not term:
            raise QueryError("a term must follow the !", found.start() + 1)
        if term.count('"') % 2:
            raise QueryError('unbalanced "', found.start() + found[0].rindex('"') + 1)
        test = _term(term, found.start() + bangs + 1)
        tests.append(_inverted(test) if bangs % 2 else test)
    return Query(text.strip(), tuple(tests))


def _inverted(test: Callable[[Row], bool]) -> Callable[[Row], bool]:
    return lambda row: not test(row)


def _term(term: str, column: int) -> Callable[[Row], bool]:
    if term in FLAGS:
        asked = TEXTS[term]
        return lambda row: bool(asked(row))
    parts = _FIELD.fullmatch(term)
    if parts is None:
        word = term.replace('"', "").lower()
        return lambda row: fuzzy(word, row.slave.label.lower()) or fuzzy(word, task(row).lower())
    field, sign, value = parts[1].lower(), parts[2], parts[3].replace('"', "")
    if field not in FIELDS:
        raise QueryError(f"no field {field}; fields: {', '.join(FIELDS)}", column)
    there = column + parts.start(3)
    if not value:
        raise QueryError(f"{field} needs a value", there)
    if field == "state":
        return _state(sign, value, column + parts.start(2), there)
    if field in NUMBERS:
        return _number(field, sign, value, column + parts.start(2), there)
    return _text(TEXTS[field], sign, value.lower(), column + parts.start(2))


def _state(sign: str, value: str, column: int, there: int) -> Callable[[Row], bool]:
    if sign not in ("=", "!="):
        raise QueryError("states take = or !=", column)
    words = [word for word in value.lower().split(",") if word]
    for word in words:
        if word not in _STATES:
            known = ", ".join(state.lower() for state in State)
            raise QueryError(f"no state {word}; states: {known}", there)
    states = {_STATES[word] for word in words}
    return lambda row: (row.state in states) == (sign == "=")


def _text(asked: Callable[[Row], str], sign: str, value: str, column: int) -> Callable[[Row], bool]:
    if sign == "~":
        return lambda row: value in asked(row).lower()
    if sign not in ("=", "!="):
        raise QueryError("texts take =, != or ~", column)
    values = set(value.split(","))
    return lambda row: (asked(row).lower() in values) == (sign == "=")


def _number(field: str, sign: str, value: str, column: int, there: int) -> Callable[[Row], bool]:
    if sign == "~":
        raise QueryError("numbers take =, !=, <, <=, > or >=", column)
    read = _read_span if field in ("time", "eta") else _read_number
    limits = [read(one, there) for one in value.split(",")]
    if len(limits) > 1 and sign not in ("=", "!="):
        raise QueryError(f"{sign} takes one number", there)
    asked, compare = NUMBERS[field], _COMPARE[sign]
    quantify = all if sign == "!=" else any

    def test(row: Row) -> bool:
        known = asked(row)
        return known is not None and quantify(compare(known, limit) for limit in limits)

    return test


def _read_number(value: str, column: int) -> float:
    found = _NUMBER.fullmatch(value)
    if found is None:
        raise QueryError(f"{value} is not a number", column)
    return float(found[1])


def _read_span(value: str, column: int) -> float:
    """Read ``90``, ``15m``, ``1h30``, ``2d`` as seconds; a number without unit follows its unit."""
    found = list(_SPAN.finditer(value.lower()))
    if not found or "".join(one[0] for one in found) != value.lower():
        raise QueryError(f"{value} is not a duration, such as 90, 15m, 1h30 or 2d", column)
    units = list(_UNITS)
    unit, seconds = "m", 0.0
    for one in found:
        unit = one[2] or units[min(units.index(unit) + 1, len(units) - 1)]
        seconds += float(one[1]) * _UNITS[unit]
    return seconds


@lru_cache(maxsize=65_536)
def fuzzy(word: str, text: str) -> bool:
    """Return whether *text* contains *word*, or *word* consists of beginnings of its parts.

    ``r1`` and ``pr101`` match ``pi4-rack1-01``; ``rack1`` does not match ``pi4-rack2-01``. An
    operator who marks all matches must not be surprised.
    """
    if word in text:
        return True
    starts = {part.start() for part in _PARTS.finditer(text)}
    ends = {-1}
    for char in word:
        first = min(ends)
        ends = {
            at
            for at, other in enumerate(text)
            if other == char and (at - 1 in ends or (at in starts and at > first))
        }
        if not ends:
            return False
    return True
