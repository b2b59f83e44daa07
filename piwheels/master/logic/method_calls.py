"""Calls of methods as messages, derived from the methods' annotations. Pure.

Arguments and results are serialised by their schemas (:mod:`piwheels.core.schema`).
"""

from __future__ import annotations

import inspect
import types
import typing
from collections import abc
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from piwheels.core import states
from piwheels.core.database import rows
from piwheels.core.errors import BadMessage, Refused
from piwheels.core.schema import Schema, schema_of

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Method(NamedTuple):
    """A method that other tasks call by message.

    *args* are the schemas of its parameters, without ``self``; *result* is the schema of its
    result.
    """

    name: str
    signature: inspect.Signature
    args: tuple[Schema, ...]
    result: Schema

    def pack(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """Return all arguments of a call in order, in a form that can be sent.

        Raises ``TypeError`` if they do not match the parameters.
        """
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return [schema.pack(arg) for schema, arg in zip(self.args, bound.args, strict=True)]

    def unpack(self, data: Any) -> list[Any]:
        """Return the typed arguments of a call from its *data*. Raises ``BadMessage``."""
        try:
            return [schema.validate(arg) for schema, arg in zip(self.args, data, strict=True)]
        except (TypeError, ValueError, LookupError, AttributeError) as exc:
            raise BadMessage(f"bad arguments of {self.name}: {exc}") from exc


#: Names in annotations that modules import for type checkers only.
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
    """Return the public methods of *cls* by name, without those in *leave_out*."""
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
        tuple(schema_of(hints[param.name], True) for param in params),
        schema_of(hints["return"], True),
    )
