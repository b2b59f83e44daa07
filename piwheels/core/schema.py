"""Schemas: they validate and serialise a type, and are derived from its annotations.

:func:`schema_of` walks a type once and returns its :class:`Schema`: ``validate`` turns decoded data
into a typed value, ``pack`` turns a typed value into what CBOR can encode. A type is described in
one place only, by its annotations:

* plain types, and ``Annotated`` ones with a :class:`Limit`;
* lists, sets, tuples, maps and unions of them;
* a ``NamedTuple`` travels as the list of its fields, of which those with defaults may be missing;
* a dataclass travels as the list of its fields, without those marked ``metadata={"wire": False}``;
* a map of dataclasses travels as the list of its values: the first field of each is its key.

The same engine serves calls between threads (``internal=True``). Such values are trusted, so only
their structure is checked; all fields of a dataclass travel, maps may have keys other than text
(as a list of pairs), and a value of several possible types travels as ``[type's name, value]``.
"""

from __future__ import annotations

import re
import sys
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from functools import cache
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple

import voluptuous as vol

from piwheels.core.codec import NoData, dumps, is_aware
from piwheels.core.errors import BadMessage, Refused
from piwheels.core.text import CONTROL

#: The characters that a text with a limit of this kind may have.
PATTERNS: Final[Mapping[str, re.Pattern[str]]] = {
    "filename": re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "package": re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"),
    "version": re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*"),
    "tag": re.compile(r"[A-Za-z0-9_.]+"),
}
#: The most elements that a list or a map may have; calls between threads have no such limit.
MAX_ITEMS: Final = 10_000


class Limit(NamedTuple):
    """A bound on a value: *kind* says what it may be, *size* is its maximum.

    The size of a ``count`` is its greatest value, that of a ``map`` (texts to anything) its bytes
    as a message, that of any other kind the number of characters. ``text`` has no control
    characters, ``log`` may have any character, and the other kinds have a pattern
    (:data:`PATTERNS`).
    """

    kind: Literal["text", "log", "count", "map", "filename", "sha256", "package", "version", "tag"]
    size: int = 200


def _unchanged(value: Any) -> Any:
    return value


class Schema(NamedTuple):
    """The schema of one type.

    *pack* turns a valid value into data that CBOR can encode, and returns packed data unchanged.
    *check* is :meth:`validate` for use within other schemas: it raises ``voluptuous.Invalid``.
    """

    check: Callable[[Any], Any] = _unchanged
    pack: Callable[[Any], Any] = _unchanged

    def validate(self, value: Any, what: str = "") -> Any:
        """Return the typed value of *value*: decoded data, or a typed value.

        Raises ``BadMessage`` if it is invalid; *what* names the value in the error.
        """
        try:
            return self.check(value)
        except vol.Invalid as exc:
            raise BadMessage(f"bad {what}: {exc}" if what else str(exc)) from exc


_UNCHECKED: Final = Schema()

# Plain values ---------------------------------------------------------------------------------


def _exact(cls: type, name: str) -> Schema:
    def check(value: Any) -> Any:
        if type(value) is not cls:
            raise vol.Invalid(f"expected {name}")
        return value

    return Schema(check)


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise vol.Invalid("expected a number")
    return float(value)


def _timestamp(value: Any) -> Any:
    if not is_aware(value):
        raise vol.Invalid("expected a date and time with its offset from UTC")
    return value


def _no_data(value: Any) -> Any:
    if value is not NoData:
        raise vol.Invalid("expected no data")
    return value


_PLAIN: Final[Mapping[Any, Schema]] = {
    bool: _exact(bool, "true or false"),
    int: _exact(int, "a whole number"),
    str: _exact(str, "text"),
    bytes: _exact(bytes, "bytes"),
    timedelta: _exact(timedelta, "a duration"),
    type(None): _exact(type(None), "null"),
    float: Schema(_number),
    datetime: Schema(_timestamp),
    type(NoData): Schema(_no_data),
    Any: _UNCHECKED,
}
#: An error that is a value: some methods return one among their results.
_REFUSED: Final = Schema(lambda value: Refused(*value), lambda error: [error.code, str(error)])


def _limited(limit: Limit) -> Schema:
    kind, size = limit
    if kind == "count":
        return _count(size)
    if kind == "map":
        return _small_map(size)
    pattern = PATTERNS.get(kind)

    def check(value: Any) -> Any:
        if type(value) is not str:
            raise vol.Invalid("expected text")
        if len(value) > size:
            raise vol.Invalid(f"longer than {size:,} characters")
        if pattern is not None and not pattern.fullmatch(value):
            raise vol.Invalid(f"not a {kind}")
        if kind == "text" and CONTROL.search(value):
            raise vol.Invalid("control characters")
        return value

    return Schema(check)


def _count(most: int) -> Schema:
    def check(value: Any) -> Any:  # not vol.Range: a heartbeat has six counts
        if type(value) is not int:
            raise vol.Invalid("expected a whole number")
        if not 0 <= value <= most:
            raise vol.Invalid(f"expected a number from 0 to {most:,}")
        return value

    return Schema(check)


def _small_map(most: int) -> Schema:
    def check(value: Any) -> Any:
        if type(value) is not dict or not all(type(key) is str for key in value):
            raise vol.Invalid("expected a map of texts")
        if len(dumps("", value)) > most:
            raise vol.Invalid(f"more than {most:,} bytes")
        return value

    return Schema(check)


# Compound values ------------------------------------------------------------------------------


def _each(function: Callable[[Any], Any], make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that applies *function* to each element, and passes them to *make*."""
    return make if function is _unchanged else lambda values: make(map(function, values))


def _many(part: Schema, make: Any, most: int, order: Callable[[Any], Any] = _unchanged) -> Schema:
    """Return the schema of up to *most* elements; *order* sorts them before packing."""
    make_all, pack_all = _each(part.check, make), _each(part.pack, list)

    def check(value: Any) -> Any:
        if not isinstance(value, (list, tuple, make)) or len(value) > most:
            raise vol.Invalid(f"expected a list of at most {most:,}")
        return make_all(value)

    pack = pack_all if order is _unchanged else lambda value: pack_all(order(value))
    return Schema(check, pack)


def _map(key: Schema, value: Schema, most: int) -> Schema:
    check_key, check_value, pack_value = key.check, value.check, value.pack

    def check(items: Any) -> Any:
        if not isinstance(items, Mapping) or len(items) > most:
            raise vol.Invalid(f"expected a map of at most {most:,}")
        return {check_key(name): check_value(element) for name, element in items.items()}

    def pack(items: Any) -> Any:
        return {name: pack_value(element) for name, element in items.items()}

    return Schema(check, dict if pack_value is _unchanged else pack)


def _pairs(key: Schema, value: Schema, most: int) -> Schema:
    """Return the schema of a map whose keys are not text."""
    pairs = _many(_positional([key, value], tuple), list, most)
    return Schema(lambda items: dict(pairs.check(items)), lambda items: pairs.pack(items.items()))


def _keyed(part: Schema, key: Callable[[Any], Any], most: int) -> Schema:
    """Return the schema of a map that travels as the list of its values."""
    values = _many(part, list, most)

    def check(value: Any) -> Any:
        given = list(value.values()) if isinstance(value, Mapping) else value
        return {key(element): element for element in values.check(given)}

    return Schema(
        check,
        lambda value: values.pack(value.values() if isinstance(value, Mapping) else value),
    )


def _positional(parts: Sequence[Schema], make: Callable[[Any], Any], optional: int = 0) -> Schema:
    """Return the schema of a sequence of *parts*, the last *optional* of which may be missing."""
    checks, packs = [part.check for part in parts], [part.pack for part in parts]
    most, least = len(parts), len(parts) - optional

    def check_length(value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or not least <= len(value) <= most:
            raise vol.Invalid(f"expected a sequence of {most}")
        return make(value)

    def check(value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or not least <= len(value) <= most:
            raise vol.Invalid(f"expected a sequence of {most}")
        return make([one(element) for one, element in zip(checks, value, strict=False)])

    def pack(value: Any) -> Any:
        return [one(element) for one, element in zip(packs, value, strict=False)]

    return Schema(
        check_length if all(one is _unchanged for one in checks) else check,
        _unchanged if all(one is _unchanged for one in packs) else pack,  # a tuple is a list there
    )


def _named_tuple(cls: Any, internal: bool) -> Schema:
    hints = typing.get_type_hints(cls, include_extras=True)
    optional = 0 if internal else len(cls._field_defaults)
    make = getattr(cls, "checked", (lambda parts: cls(*parts)) if optional else cls._make)
    return _positional([schema_of(hints[name], internal) for name in cls._fields], make, optional)


def _dataclass(cls: Any, internal: bool) -> Schema:
    names = [f.name for f in fields(cls) if internal or f.metadata.get("wire", True)]
    if names != [f.name for f in fields(cls)][: len(names)]:
        raise TypeError(f"{cls.__name__} has a field that travels after one that does not")
    hints = typing.get_type_hints(cls, include_extras=True)
    record = _positional(
        [schema_of(hints[name], internal) for name in names], lambda parts: cls(*parts)
    )
    if len(names) > 1:
        values: Callable[[Any], Any] = attrgetter(*names)
    else:  # attrgetter would return a bare value
        values = lambda value: tuple(getattr(value, name) for name in names)  # noqa: E731

    def plain(value: Any) -> Any:
        return values(value) if isinstance(value, cls) else value

    return Schema(lambda value: record.check(plain(value)), lambda value: record.pack(plain(value)))


def _union(options: Sequence[Any], internal: bool) -> Schema:
    parts = {
        option: schema_of(option, internal) for option in options if option is not types.NoneType
    }
    if len(parts) == 1:
        (some,) = parts.values()
    elif all(part is _UNCHECKED for part in parts.values()):
        some = _UNCHECKED
    elif internal:
        some = _tagged({option.__name__: part for option, part in parts.items()})
    else:
        some = _first_of(list(parts.values()))
    if some is _UNCHECKED or len(parts) == len(options):
        return some
    check, pack = some
    return Schema(
        lambda value: None if value is None else check(value),
        pack if pack is _unchanged else lambda value: None if value is None else pack(value),
    )


def _first_of(parts: Sequence[Schema]) -> Schema:
    """Return the schema of a value that matches one of *parts*; the first match applies."""

    def accepts(part: Schema, value: Any) -> bool:
        try:
            part.check(value)
        except vol.Invalid:
            return False
        return True

    def pack(value: Any) -> Any:
        return next(part.pack(value) for part in parts if accepts(part, value))

    check = vol.Schema(vol.Any(*(part.check for part in parts)))
    return Schema(check, _unchanged if all(part.pack is _unchanged for part in parts) else pack)


def _tagged(parts: Mapping[str, Schema]) -> Schema:
    def check(value: Any) -> Any:
        name, packed = value
        return parts[name].check(packed)

    return Schema(check, lambda value: [name := type(value).__name__, parts[name].pack(value)])


# Types ----------------------------------------------------------------------------------------

_LISTS: Final = (list, abc.Sequence, abc.Iterable, abc.Collection, abc.Iterator)
_SETS: Final = (set, frozenset, abc.Set)
_MAPS: Final = (dict, abc.Mapping)


@cache
def schema_of(cls: Any, internal: bool = False) -> Schema:
    """Return the schema of the type *cls*; *internal*: for calls between threads.

    Raises ``TypeError`` for a type that has none.
    """
    if cls in _PLAIN:
        return _UNCHECKED if internal else _PLAIN[cls]
    origin, args = typing.get_origin(cls), typing.get_args(cls)
    if origin is typing.Annotated:
        return schema_of(args[0], internal) if internal else _limited(args[1])
    if origin is Literal:
        one_of = vol.All(_PLAIN[str].check, vol.In(args))
        return _UNCHECKED if internal else Schema(vol.Schema(one_of))
    if origin in (typing.Union, types.UnionType):
        return _union(args, internal)
    if origin is not None and (found := _container(origin, args, internal)) is not None:
        return found
    if cls is Refused and internal:
        return _REFUSED
    if is_dataclass(cls):
        return _dataclass(cls, internal)
    if hasattr(cls, "_fields"):
        return _named_tuple(cls, internal)
    if internal:  # a TypedDict, which CBOR can encode
        return _UNCHECKED
    raise TypeError(f"no schema for {cls!r}")


def _container(origin: Any, args: Sequence[Any], internal: bool) -> Schema | None:
    most = sys.maxsize if internal else MAX_ITEMS
    if origin in _MAPS:
        key, value = (schema_of(arg, internal) for arg in args)
        if is_dataclass(args[1]):
            return _keyed(value, attrgetter(fields(args[1])[0].name), most)
        text = args[0] is str or typing.get_origin(args[0]) in (Literal, typing.Annotated)
        return _map(key, value, most) if text else _pairs(key, value, most)
    if origin in _SETS:
        return _many(schema_of(args[0], internal), set, most, sorted)
    if origin in _LISTS or (origin is tuple and args[1:] == (...,)):
        return _many(schema_of(args[0], internal), tuple if origin is tuple else list, most)
    if origin is tuple:
        return _positional([schema_of(arg, internal) for arg in args], tuple)
    return None
