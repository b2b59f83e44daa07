"""Checks of messages, derived from types: an annotation is the only description of a field.

The types are those of :mod:`piwheels.core.states`: plain ones, ``Annotated`` ones with a
:class:`~piwheels.core.states.Limit`, containers of them, ``NamedTuple``s (positional lists on the
wire, whose fields with defaults may be left out), and dataclasses with ``as_message`` and
``from_message``. A check takes what was decoded and gives the typed value, or raises
``voluptuous.Invalid``.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, Literal

import voluptuous as vol

from piwheels.core.codec import NoData, is_aware

if typing.TYPE_CHECKING:
    from piwheels.core.states import Limit

Check = Callable[[Any], Any]

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


def _count_up_to(most: int) -> Check:
    def check(value: Any) -> Any:  # by hand: the commonest check, and six of them in a heart-beat
        if type(value) is not int:
            raise vol.Invalid("expected a whole number")
        if not 0 <= value <= most:
            raise vol.Invalid(f"expected a number from 0 to {most:,}")
        return value

    return check


def _limited(limit: Limit) -> Check:
    kind, size = limit
    if kind == "count":
        return _count_up_to(size)
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
    """Make a check of a positional sequence whose last *optional* elements may be left out."""
    most = len(checks)
    least = most - optional

    def check(value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or not least <= len(value) <= most:
            raise vol.Invalid(f"expected a sequence of {most}")
        return make([part(element) for part, element in zip(checks, value, strict=False)])

    return check


def _or_none(check_one: Check) -> Check:
    def check(value: Any) -> Any:  # by hand: ten of them in a row of the access log
        return None if value is None else check_one(value)

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
    """Make the check of a state: a NamedTuple, or a dataclass with ``as_message``."""
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
    """Return the check that the type *kind* stands for.

    It gives the typed value, or raises ``vol.Invalid``. Raises ``TypeError`` for a type that has
    no check.
    """
    if kind in _PLAIN:
        return _PLAIN[kind]
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if hasattr(kind, "__metadata__"):  # Annotated
        return _limited(args[1])
    if origin is Literal:
        return vol.Schema(vol.All(_PLAIN[str], vol.In(args)))
    if origin in (typing.Union, types.UnionType):
        if args[1:] == (types.NoneType,):
            return _or_none(check_of(args[0]))
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
