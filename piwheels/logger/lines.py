"""Parse the lines of an access log, in the formats of common web servers. Pure.

Apache escapes special characters as ``\\"``, ``\\\\``, ``\\n`` and ``\\xhh``, nginx as ``\\xHH`` or
in JSON's way; the parser handles all of them. Bytes that are not UTF-8 become U+FFFD.
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

#: The longest line, in bytes: more than a client can make a server write.
MAX_LINE: Final = 64 * 1024
#: The longest stored user agent, in characters.
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
    """A line does not have the expected format."""


class Hit(NamedTuple):
    """One request: the client's *host*, *when*, the request line, the *status* of the response.

    *path* is as the client sent it, *agent* the user agent, and *site* the virtual host, if the
    format has it.
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
            raise BadLine("another format")
        part = found.groupdict()
        # A request that is not HTTP ("-", the first bytes of TLS) has no method.
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
        raise BadLine("another format") from exc


#: The parser of each format, which returns a hit or raises :exc:`BadLine`.
FORMATS: Final[dict[str, Callable[[bytes], Hit]]] = {
    "combined": _by_pattern(_COMBINED),
    "common": _by_pattern(_COMMON),
    "vhost": _by_pattern(rb"(?P<site>\S+?)(?::\d+)? " + _COMBINED),
    "json": _json,
}


class Lines:
    """Splits blocks of a file into lines; drops the content of lines that are too long."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def feed(self, block: bytes) -> list[bytes | None]:
        """Return the lines that *block* completes, and ``None`` for each that is too long."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        found = [line if len(line) <= MAX_LINE else None for line in lines]
        if found and self._skipping:  # the end of a line that was reported as too long
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
        """Return the last line, if it has no line end."""
        last, self._rest = self._rest, b""
        return [last] if last else []


def _agent(raw: bytes) -> str:
    """Return the unescaped user agent; cached, because few are common and unescaping is slow."""
    return _cached_agent(raw) if len(raw) < 1500 else _text(raw, _AGENT)


@lru_cache(4096)
def _cached_agent(raw: bytes) -> str:
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
    """Parse a time such as ``10/Oct/2026:13:55:36 -0700``, independently of the locale."""
    found = _TIME.fullmatch(raw)
    if found is None:
        raise BadLine("invalid time")
    day, month, year, hour, minute, second, sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    try:
        return datetime(
            int(year), _MONTHS[month], int(day), int(hour), int(minute),
            min(int(second), 59),  # a leap second
            tzinfo=timezone(-offset if sign == b"-" else offset),
        ).astimezone(UTC)  # fmt: skip
    except (ValueError, LookupError, ArithmeticError) as exc:
        raise BadLine("invalid time") from exc
