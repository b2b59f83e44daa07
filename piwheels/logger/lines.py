"""The lines of an access log, in the formats that web servers write. Pure.

For what would break a line, Apache writes ``\\"``, ``\\\\``, ``\\n`` and ``\\xhh``, nginx ``\\xHH``
or JSON's own escapes; all are understood. Bytes that are no UTF-8 become U+FFFD.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

#: No line is longer, in bytes; what a client can make a server write is less.
MAX_LINE: Final = 64 * 1024
#: The longest user agent that is kept, in characters.
_AGENT: Final = 8192
_MONTHS: Final = {
    name: number
    for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)
}
_TIME: Final = re.compile(
    rb"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"
)
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_ESCAPED: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"v": b"\v"}

_QUOTED: Final = rb'"((?:[^"\\]++|\\.)*+)"'
#: host identity user [time] "request" status bytes
_COMMON: Final = (
    rb"(?P<host>\S++) \S++ [^\[]{0,255}\[(?P<time>[^\]]{26})\] "
    + _QUOTED.replace(b"(", b"(?P<request>", 1)
    + rb" (?P<status>\d{3}|-) \S+"
)
#: ... "referrer" "user agent"
_COMBINED: Final = _COMMON + b" " + _QUOTED + b" " + _QUOTED.replace(b"(", b"(?P<agent>", 1)


class BadLine(ValueError):
    """A line is not of the format that it should be."""


class Hit(NamedTuple):
    """One request: the client's *host*, *when*, what was asked for, the *status* of the answer.

    *path* is as the client wrote it; *agent* is what the client says of itself, and *site* which
    virtual host it asked, where the format has that.
    """

    host: str
    when: datetime
    method: str
    path: str
    status: int
    agent: str
    site: str = ""


def _by_pattern(pattern: bytes) -> Callable[[bytes], Hit]:
    compiled = re.compile(pattern, re.DOTALL)

    def parse(line: bytes) -> Hit:
        found = compiled.match(line)
        if found is None:
            raise BadLine("not of this format")
        part = found.groupdict()
        # Of what is no HTTP at all ("-", the first bytes of TLS), there is no method.
        method, _, rest = part["request"].partition(b" ")
        return Hit(
            _text(part["host"], 200),
            _moment(part["time"]),
            _text(method if rest else b"", 20),
            _text(rest.rpartition(b" ")[0] or rest),
            int(part["status"].replace(b"-", b"0")),
            _agent(part.get("agent", b"-")),
            _text(part.get("site", b"")),
        )

    return parse


def _json(line: bytes) -> Hit:
    try:
        found = json.loads(line.decode("utf-8", "replace"))
        values = [found[key] for key in ("host", "time", "method", "uri", "status", "agent")]
        host, when, method, uri, status, agent, site = [*values, found.get("site", "")]
        moment = datetime.fromisoformat(when)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return Hit(
            clean(host),
            moment.astimezone(UTC),
            clean(method, 20),
            clean(uri, MAX_LINE),
            int(status),
            clean(agent, _AGENT),
            clean(site),
        )
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as exc:
        raise BadLine("not of this format") from exc


#: Each format by its name: what makes a hit of a line, or raises :exc:`BadLine`.
FORMATS: Final[dict[str, Callable[[bytes], Hit]]] = {
    "combined": _by_pattern(_COMBINED),
    "common": _by_pattern(_COMMON),
    "vhost": _by_pattern(rb"(?P<site>\S+?)(?::\d+)? " + _COMBINED),
    "json": _json,
}


class Lines:
    """Makes lines of pieces of a file; of one that is too long, nothing is kept but that it was."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def feed(self, piece: bytes) -> list[bytes | None]:
        """Return the lines that *piece* completes, and ``None`` for each that is too long."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        found = [line if len(line) <= MAX_LINE else None for line in lines]
        if found and self._skipping:  # the end of one that was told of
            del found[0]
            self._skipping = False
        if self._skipping:
            self._rest = b""
        elif len(self._rest) > MAX_LINE:
            self._rest = b""
            self._skipping = True
            found.append(None)
        return found

    def end(self) -> list[bytes]:
        """Return the last line, if the file does not end with the end of one."""
        last, self._rest = self._rest, b""
        return [last] if last else []


def _agent(raw: bytes) -> str:
    """Return a user agent as it was sent. Few are met often, and pip's are full of escapes."""
    return _usual_agent(raw) if len(raw) < 1500 else _text(raw, _AGENT)


@lru_cache(4096)
def _usual_agent(raw: bytes) -> str:
    return "" if raw == b"-" else _text(raw, _AGENT)


def _text(raw: bytes, size: int = MAX_LINE) -> str:
    if b"\\" in raw:
        raw = _ESCAPE.sub(_unescape, raw)
    return clean(raw.decode("utf-8", "replace"), size)


def _unescape(found: re.Match[bytes]) -> bytes:
    digits, letter = found.groups()
    return bytes.fromhex(digits.decode()) if digits else _ESCAPED.get(letter, letter)


@lru_cache(4096)
def _moment(raw: bytes) -> datetime:
    """Return the time of ``10/Oct/2026:13:55:36 -0700``, whatever language we speak."""
    found = _TIME.fullmatch(raw)
    if found is None:
        raise BadLine("no time of this format")
    day, month, year, hour, minute, second, sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    try:
        return datetime(
            int(year), _MONTHS[month], int(day), int(hour), int(minute),
            min(int(second), 59),  # a leap second is the last of its minute
            tzinfo=timezone(-offset if sign == b"-" else offset),
        ).astimezone(UTC)  # fmt: skip
    except (ValueError, LookupError, ArithmeticError) as exc:
        raise BadLine("no time of this format") from exc
