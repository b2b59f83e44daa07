"""The wires: which messages there are, what data each carries, and which may follow which.

Each wire is a :class:`Protocol` of two tables, written from the master's side; a client uses
``reversed(protocol)``. The values of the tables are *types*, and the checks are derived from them
(see
:func:`check_of`): the annotations in :mod:`piwheels.core.states` are the only place where a field
is described. Checked data comes back typed: a positional list becomes its ``NamedTuple`` or state.

What crosses a process boundary is here; what stays among the master's threads is in
:mod:`piwheels.master.wiring`.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, Literal, NamedTuple, Self

import voluptuous as vol

from piwheels.core.codec import NoData, is_aware
from piwheels.core.errors import BadMessage
from piwheels.core.states import (
    BuildState,
    Count,
    DownloadState,
    Filename,
    FileState,
    JSONState,
    Limit,
    Log,
    LongText,
    MasterInfo,
    MasterStats,
    Package,
    PageState,
    ProjectState,
    SearchState,
    SlaveInfo,
    SlaveStats,
    Text,
    Version,
)

__all__ = [
    "CONSOLE_MESSAGES",
    "FOLLOWS",
    "NoData",
    "Protocol",
    "lumberjack",
    "master_control",
    "monitor_stats",
    "mr_chase",
    "slave_driver",
    "task_control",
]

Check = Callable[[Any], Any]

# From annotations to checks -----------------------------------------------------------------------

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PATTERNS: Final[dict[str, re.Pattern[str]]] = {
    "filename": re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "package": re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"),
    "version": re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*"),
    "tag": re.compile(r"[A-Za-z0-9_.]+"),
}
_MAX_ITEMS = 10_000


def _is(kind: type, name: str) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise vol.Invalid(f"expected {name}")
        return value

    return check


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise vol.Invalid("expected a number")
    return float(value)


def _moment(value: Any) -> datetime:
    if not is_aware(value):
        raise vol.Invalid("expected a date and time with its offset from UTC")
    return typing.cast("datetime", value)


def _nothing(value: Any) -> Any:
    if value is not NoData:
        raise vol.Invalid("expected no data")
    return value


def _anything(value: Any) -> Any:
    return value


_PLAIN: Final[dict[Any, Check]] = {
    bool: _is(bool, "true or false"),
    int: _is(int, "a whole number"),
    str: _is(str, "text"),
    bytes: _is(bytes, "bytes"),
    timedelta: _is(timedelta, "a duration"),
    type(None): _is(type(None), "null"),
    float: _number,
    datetime: _moment,
    type(NoData): _nothing,
    Any: _anything,
}


def _limited(limit: Limit) -> Check:
    kind, size = limit
    if kind == "count":
        return vol.Schema(vol.All(_PLAIN[int], vol.Range(min=0, max=size)))
    pattern = _PATTERNS.get(kind)

    def check(value: Any) -> Any:
        if type(value) is not str:
            raise vol.Invalid("expected text")
        if len(value) > size:
            raise vol.Invalid(f"longer than {size:,} characters")
        if pattern is not None and not pattern.fullmatch(value):
            raise vol.Invalid(f"not a {kind}")
        if kind == "text" and _CONTROL.search(value):
            raise vol.Invalid("control characters")
        return value

    return check


def _exactly(checks: Sequence[Check], optional: int, make: Callable[[Iterable[Any]], Any]) -> Check:
    """Make a check of a positional sequence, of which the last *optional* elements may be left
    out.
    """
    most = len(checks)
    least = most - optional

    def check(value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or not least <= len(value) <= most:
            raise vol.Invalid(f"expected a sequence of {most}")
        return make([part(element) for part, element in zip(checks, value, strict=False)])

    return check


def _many(check_one: Check) -> Check:
    def check(value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or len(value) > _MAX_ITEMS:
            raise vol.Invalid(f"expected a list of at most {_MAX_ITEMS:,}")
        return [check_one(element) for element in value]

    return check


def _mapping(check_key: Check, check_value: Check) -> Check:
    def check(value: Any) -> Any:
        if not isinstance(value, Mapping) or len(value) > _MAX_ITEMS:
            raise vol.Invalid(f"expected a map of at most {_MAX_ITEMS:,}")
        return {check_key(key): check_value(element) for key, element in value.items()}

    return check


def _state(kind: Any) -> Check:
    """Make the check of a state: a NamedTuple, or a dataclass that has ``as_message`` and
    ``from_message``.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    if hasattr(kind, "as_message"):
        names = [f.name for f in fields(kind) if f.metadata.get("wire", True)]
        inner = _exactly([check_of(hints[name]) for name in names], 0, kind.from_message)

        def check(value: Any) -> Any:
            return inner(value.as_message() if isinstance(value, kind) else value)

        return check
    optional = len(kind._field_defaults)
    make = getattr(kind, "checked", lambda parts: kind(*parts))
    return _exactly([check_of(hints[name]) for name in kind._fields], optional, make)


@cache
def check_of(kind: Any) -> Check:
    """Return the check that the type *kind* stands for: it gives the typed value, or raises
    ``vol.Invalid``.
    """
    if kind in _PLAIN:
        return _PLAIN[kind]
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if hasattr(kind, "__metadata__"):  # Annotated
        return _limited(args[1])
    if origin is Literal:
        return vol.Schema(vol.All(_PLAIN[str], vol.In(args)))
    if origin in (typing.Union, types.UnionType):
        return vol.Schema(vol.Any(*map(check_of, args)))
    if origin is tuple:
        return _exactly([check_of(arg) for arg in args], 0, tuple)
    if origin in (list, Sequence):
        return _many(check_of(args[0]))
    if origin in (dict, Mapping):
        if hasattr(args[1], "as_message"):  # a dictionary of states by name travels as their list
            return _many(check_of(args[1]))
        return _mapping(check_of(args[0]), check_of(args[1]))
    if hasattr(kind, "as_message") or hasattr(kind, "_fields"):
        return _state(kind)

    raise TypeError(f"no check is known for {kind!r}")


class Protocol(NamedTuple):
    """The two directions of a wire: message names to the types of their data (``NoData``'s for
    none).
    """

    recv: Mapping[str, Any]
    send: Mapping[str, Any]

    def __reversed__(self) -> Self:  # type: ignore[override]
        return type(self)(self.send, self.recv)

    def received(self, msg: str, data: Any) -> Any:
        """Return the typed *data* of a message that has come; raise ``BadMessage`` if it is not of
        this wire.
        """
        return _checked(self.recv, msg, data)

    def to_send(self, msg: str, data: Any) -> Any:
        """Check a message that is to go out, and return its *data* as given.

        Raises ``BadMessage``, which here is our own fault.
        """
        _checked(self.send, msg, data)
        return data


def _checked(table: Mapping[str, Any], msg: str, data: Any) -> Any:
    try:
        kind = table[msg]
    except KeyError:
        raise BadMessage(f"unknown message {msg[:40]!r}") from None
    try:
        return check_of(kind)(data)
    except vol.Invalid as exc:
        raise BadMessage(f"bad {msg}: {exc}") from exc


_None = type(NoData)

# slave <-> SlaveDriver ----------------------------------------------------------------------------


class Ack(NamedTuple):
    """The master's welcome to a slave."""

    slave_id: Count
    pypi_simple_url: LongText


class Job(NamedTuple):
    """A version to build."""

    package: Package
    version: Version


class Built(NamedTuple):
    """What a slave says of a build that has ended."""

    status: bool
    duration: timedelta
    output: Log
    files: list[FileState]


slave_driver: Final = Protocol(
    recv={
        "HELLO": SlaveInfo,
        "IDLE": SlaveStats,
        "BUSY": SlaveStats,
        "BUILT": Built,
        "SENT": _None,
        "BYE": _None,
    },
    send={
        "ACK": Ack,
        "BUILD": Job,
        "SLEEP": bool,
        "CONT": _None,
        "SEND": Filename,
        "DONE": _None,
        "DIE": _None,
    },
)

#: Which requests a slave may make after which reply of the master (``None``: after none, as a
#: newcomer). Anything else is a protocol error; ``BYE`` may come at any time.
FOLLOWS: Final[Mapping[str | None, frozenset[str]]] = {
    None: frozenset({"HELLO"}),
    "ACK": frozenset({"IDLE", "BYE"}),
    "SLEEP": frozenset({"IDLE", "BYE"}),
    "DONE": frozenset({"IDLE", "BYE"}),
    "BUILD": frozenset({"BUSY", "BUILT", "BYE"}),
    "CONT": frozenset({"BUSY", "BUILT", "BYE"}),
    "SEND": frozenset({"SENT", "BYE"}),
    "DIE": frozenset({"BYE"}),
}

# operator <-> master ------------------------------------------------------------------------------

_Target = Count | None

master_control: Final = Protocol(
    recv={
        "HELLO": _None,
        "KILL": _Target,
        "SLEEP": _Target,
        "SKIP": _Target,
        "WAKE": _Target,
        "QUIT": _None,
    },
    send={},
)

#: What a console sees of a slave: the replies it was sent, its greeting (ten fields) and its
#: figures.
CONSOLE_MESSAGES: Final[Mapping[str, Any]] = {
    "HELLO": SlaveInfo,
    "STATS": SlaveStats,
    "BUILD": Job,
    "SLEEP": bool,
    "SEND": Filename,
    "DONE": _None,
    "DIE": _None,
}


class SlaveEvent(NamedTuple):
    """Something that a slave was told or said, for the consoles."""

    slave_id: Count
    timestamp: datetime
    message: Text
    data: Any

    @classmethod
    def checked(cls, parts: Iterable[Any]) -> Self:
        """Make an event whose data has been checked as its message demands."""
        event = cls(*parts)
        if event.message not in CONSOLE_MESSAGES:
            raise vol.Invalid(f"unknown slave message {event.message[:40]!r}")
        return event._replace(data=check_of(CONSOLE_MESSAGES[event.message])(event.data))


monitor_stats: Final = Protocol(
    recv={},
    send={"HELLO": MasterInfo, "STATS": MasterStats, "SLAVE": SlaveEvent},
)

# admin tools <-> MrChase --------------------------------------------------------------------------


class AddPackage(NamedTuple):
    """Register a package, or update its description, skip reason and aliases."""

    package: Package
    description: LongText
    skip: LongText
    unskip: bool
    aliases: list[Package]


class AddVersion(NamedTuple):
    """Register a version of a package, or update its skip reason and yank."""

    package: Package
    version: Version
    skip: LongText
    unskip: bool
    released: datetime
    yank: bool
    unyank: bool
    aliases: list[Package]


class RemovePackage(NamedTuple):
    """Remove a package, or only its builds, or skip it with a reason."""

    package: Package
    builds: bool
    skip: LongText


class RemoveVersion(NamedTuple):
    """Remove a version, or only its builds; skip it with a reason, or yank it."""

    package: Package
    version: Version
    builds: bool
    skip: LongText
    yank: bool


mr_chase: Final = Protocol(
    recv={
        "ADDPKG": AddPackage,
        "ADDVER": AddVersion,
        "REMPKG": RemovePackage,
        "REMVER": RemoveVersion,
        "REBUILD": tuple[Literal["HOME", "SEARCH"]]
        | tuple[Literal["PROJECT", "BOTH"], Package | None],
        "IMPORT": BuildState,
        "SENT": _None,
    },
    send={"SEND": Filename, "DONE": LongText, "ERROR": LongText},
)

# piw-logger -> Lumberjack -------------------------------------------------------------------------

lumberjack: Final = Protocol(
    recv={
        "LOGDOWNLOAD": DownloadState,
        "LOGSEARCH": SearchState,
        "LOGPROJECT": ProjectState,
        "LOGJSON": JSONState,
        "LOGPAGE": PageState,
    },
    send={},
)

# anyone -> a task ---------------------------------------------------------------------------------

#: What every task hears on its own control socket.
task_control: Final = Protocol(recv={"PAUSE": _None, "QUIT": _None, "RESUME": _None}, send={})
