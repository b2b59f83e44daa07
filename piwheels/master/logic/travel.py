"""How calls of methods travel as messages: typed values to what CBOR knows, and back. Pure.

The forms are derived from the methods' annotations, so that a method is described once. Sets travel
as sorted lists; named tuples and data classes as lists of *all* their fields (also those which the
outer wires leave out); maps whose keys are no text as lists of pairs; a value of one of several
types as ``[type's name, value]``. Everything else is as it is.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections import abc
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

from piwheels.core import states
from piwheels.core.database import rows
from piwheels.core.errors import BadMessage, Refused

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Form(NamedTuple):
    """The way of one type: *pack* gives what travels, *unpack* the typed value again."""

    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


_AS_IT_IS: Final = Form(_same, _same)
_REFUSED: Final = Form(lambda no: [no.code, str(no)], lambda value: Refused(*value))
_LISTS: Final = (list, abc.Sequence, abc.Iterable, abc.Collection, abc.Iterator)
_SETS: Final = (set, frozenset, abc.Set)
_MAPS: Final = (dict, abc.Mapping)


@cache
def form_of(hint: Any) -> Form:
    """Return the form of the type *hint*."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return form_of(args[0])
    if origin in (typing.Union, types.UnionType):
        return _one_of(args)
    if origin in _LISTS or (origin is tuple and args[1:] == (...,)):
        return _many(form_of(args[0]), tuple if origin is tuple else list)
    if origin in _SETS:
        return Form(sorted, _many(form_of(args[0]), set).unpack)
    if origin in _MAPS:
        return _map(*args)
    if origin is tuple:
        return _fields([form_of(arg) for arg in args], tuple, _same)
    if hint is Refused:
        return _REFUSED
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _record(hint, [field.name for field in dataclasses.fields(hint)])
    if isinstance(hint, type) and hasattr(hint, "_fields"):
        return _record(hint, hint._fields)
    return _AS_IT_IS


def _many(one: Form, kind: Callable[[Any], Any]) -> Form:
    if one is _AS_IT_IS:
        return Form(list, kind)
    return Form(
        lambda value: list(map(one.pack, value)), lambda value: kind(map(one.unpack, value))
    )


def _map(key: Any, value: Any) -> Form:
    part = form_of(value)
    if key is str or typing.get_origin(key) in (typing.Literal, typing.Annotated):
        if part is _AS_IT_IS:
            return Form(dict, dict)
        return Form(
            lambda items: {name: part.pack(one) for name, one in items.items()},
            lambda items: {name: part.unpack(one) for name, one in items.items()},
        )
    pair = _many(form_of(tuple[key, value]), dict)
    return Form(lambda items: pair.pack(items.items()), pair.unpack)


def _fields(
    forms: Sequence[Form], make: Callable[[Any], Any], take: Callable[[Any], Sequence[Any]]
) -> Form:
    packs, unpacks = [form.pack for form in forms], [form.unpack for form in forms]
    if all(form is _AS_IT_IS for form in forms):
        return Form(lambda value: list(take(value)), make)
    return Form(
        lambda value: [pack(one) for pack, one in zip(packs, take(value), strict=True)],
        lambda value: make([unpack(one) for unpack, one in zip(unpacks, value, strict=True)]),
    )


def _record(kind: type, names: Sequence[str]) -> Form:
    hints = typing.get_type_hints(kind)
    forms = [form_of(hints[name]) for name in names]
    return _fields(
        forms, lambda parts: kind(*parts), lambda value: [getattr(value, name) for name in names]
    )


def _one_of(kinds: Sequence[Any]) -> Form:
    some = {kind.__name__: form_of(kind) for kind in kinds if kind is not types.NoneType}
    if len(some) > 1 and any(form is not _AS_IT_IS for form in some.values()):
        inner = Form(
            lambda value: [name := type(value).__name__, some[name].pack(value)],
            lambda value: some[value[0]].unpack(value[1]),
        )
    else:
        inner = next(iter(some.values()))
    if inner is _AS_IT_IS or types.NoneType not in kinds:
        return inner
    return Form(
        lambda value: None if value is None else inner.pack(value),
        lambda value: None if value is None else inner.unpack(value),
    )


class Method(NamedTuple):
    """How calls of one method travel: *args* are the forms of its parameters, without ``self``."""

    name: str
    signature: inspect.Signature
    args: tuple[Form, ...]
    result: Form

    def pack(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """Return the arguments as they travel: all of them, in order. Raises ``TypeError``."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return [form.pack(arg) for form, arg in zip(self.args, bound.args, strict=True)]

    def unpack(self, data: Any) -> list[Any]:
        """Return the typed arguments that came as *data*. Raises ``BadMessage``."""
        try:
            return [form.unpack(arg) for form, arg in zip(self.args, data, strict=True)]
        except (TypeError, ValueError, LookupError, AttributeError) as exc:
            raise BadMessage(f"bad arguments of {self.name}: {exc}") from exc


#: What annotations may name although their module imports it for type checkers only.
_NAMES: Final = types.MappingProxyType(
    {
        **{name: getattr(abc, name) for name in abc.__all__},
        **{n: value for n, value in (vars(states) | vars(rows)).items() if not n.startswith("_")},
        "Any": Any,
        "Refused": Refused,
        "datetime": datetime,
        "timedelta": timedelta,
    }
)


def methods_of(cls: type, leave_out: abc.Set[str] = frozenset()) -> dict[str, Method]:
    """Return how the public methods of *cls* travel, but for those in *leave_out*."""
    found = inspect.getmembers(cls, inspect.isfunction)
    return {
        name: _method(function)
        for name, function in found
        if not name.startswith("_") and name not in leave_out
    }


def _method(function: Callable[..., Any]) -> Method:
    hints = typing.get_type_hints(function, localns=dict(_NAMES))
    signature = inspect.signature(function)
    params = list(signature.parameters.values())[1:]
    return Method(
        function.__name__,
        signature.replace(parameters=params),
        tuple(form_of(hints[param.name]) for param in params),
        form_of(hints["return"]),
    )
