"""Option declarations: the fields of a dataclass, each with its help text, parser and default.

:mod:`~piwheels.core.program.command_line` reads the values from all sources,
:mod:`~piwheels.core.program.manual` formats ``--help``, and ``docs/generate.py`` writes the
reference.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import types
import typing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def duration(s: str) -> timedelta:
    """Convert *s* into a ``timedelta``.

    It is a number of seconds (``90``, ``1.5``), or numbers with units that are added up: the
    letters ``w d h m s`` or the words (``3h``, ``1h30m``, ``2 days``, ``1 hour 5 min``). Raises
    ``ValueError`` for anything else, and for a duration that is not positive or longer than a year.
    """
    units = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
    text = s.strip().lower()
    words = r"w|weeks?|d|days?|h|hours?|hrs?|m|mins?|minutes?|s|secs?|seconds?"
    if re.fullmatch(r"\d+(\.\d+)?", text):
        total = timedelta(seconds=float(text)) if len(text) < 20 else timedelta(0)
    elif re.fullmatch(rf"(?:\d{{1,9}}(?:\.\d{{1,9}})?\s*(?:{words})(?![a-z])[\s,]*)+", text):
        parts = re.findall(rf"(\d+(?:\.\d+)?)\s*({words})", text)
        total = sum((timedelta(**{units[unit[0]]: float(n)}) for n, unit in parts), timedelta(0))
    else:
        raise ValueError(f"{s!r} is not a duration: write 90, 90s, 15m, 3h or 1h30m")
    if not timedelta(0) < total <= timedelta(days=366):
        raise ValueError(f"{s!r} is not a duration of up to a year")
    return total


def port_number(s: str) -> int:
    """Convert *s* into a port number, 0 to 65535; 0 stands for any free port.

    Raises ``ValueError`` for anything else.
    """
    if not s.isascii() or not s.isdigit() or int(s) > 65535:
        raise ValueError(f"{s!r} is not a port: write a number up to 65535 (0: any free one)")
    return int(s)


def size(s: str) -> int:
    """Convert *s* into a number of bytes: ``1000000``, ``500M``, ``2 GB``, ``1.5T``.

    A unit is a power of 1,000. Raises ``ValueError`` for anything else, and for 1 EB or more.
    """
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,9})?)\s*([kmgt]?)b?", s.strip().lower(), re.ASCII)
    found = int(float(match[1]) * 1000 ** " kmgt".index(match[2] or " ")) if match else 10**18
    if found >= 10**18:
        raise ValueError(f"{s!r} is not a size: write 1000000, 500M or 2G")
    return found


def _whole_number(s: str) -> int:
    try:
        return int(s)
    except ValueError:
        raise ValueError(f"{s!r} is not a whole number") from None


def _flag(s: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False, "": False}
    try:
        return words[s.strip().lower()]
    except KeyError:
        raise ValueError(f"{s!r} is neither yes nor no") from None


#: The longest path, and the longest name of a file, in bytes (Linux).
MAX_PATH: Final = 4095
MAX_NAME: Final = 255


def _path(s: str) -> Path:
    if not s or "\0" in s:
        raise ValueError("a path cannot be empty")
    path = Path(s).expanduser()
    if len(os.fsencode(path)) > MAX_PATH or any(len(os.fsencode(p)) > MAX_NAME for p in path.parts):
        raise ValueError(f"{s[:40]!r}... is too long for the name of a file")
    return path


#: The parsers for text from an environment variable, a flag or a TOML string, by type.
_PARSERS: Final[dict[Any, Callable[[str], Any]]] = {
    str: str,
    int: _whole_number,
    bool: _flag,
    Path: _path,
    timedelta: duration,
}


def option(
    *flags: str,
    default: Any = dataclasses.MISSING,
    help: str,  # noqa: A002 (as argparse has it)
    metavar: str | None = None,
    parse: Callable[[str], Any] | None = None,
    choices: Iterable[Any] = (),
    positional: bool = False,
) -> Any:
    """Declare an option: a dataclass field with the metadata that the command line needs.

    *flags* are its short forms; the long one is the field's name. *parse* turns text into the
    value and raises ``ValueError`` with a sentence; without it, the type of the field decides.
    *choices* are all valid values; every other one is an error. The items of a list come from
    repeated flags, from commas in the environment, or from a TOML array.
    """
    if isinstance(default, list):
        factory: Any = functools.partial(list, default)
        default = dataclasses.MISSING
    else:
        factory = dataclasses.MISSING
    return dataclasses.field(
        default=default,
        default_factory=factory,
        metadata={
            "flags": flags,
            "help": help,
            "metavar": metavar,
            "parse": parse,
            "choices": tuple(choices),
            "positional": positional,
        },
    )


@dataclass(frozen=True, kw_only=True)
class Common:
    """The options that every program has."""

    config: Path | None = option(
        "-c", default=None, metavar="FILE", help="read options from this TOML file too"
    )
    quiet: bool = option("-q", default=False, help="log only warnings and errors")
    verbose: bool = option("-v", default=False, help="log debug messages too")
    log_file: Path | None = option(
        "-l", default=None, metavar="FILE", help="write the log to this file too"
    )


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its name, its type, and its declaration. *many*: it is a list of *type_*."""

    name: str
    type_: Any
    many: bool
    field: dataclasses.Field[Any]

    @property
    def meta(self) -> Mapping[str, Any]:
        """The arguments of :func:`option`."""
        return self.field.metadata

    @property
    def flag(self) -> str:
        """The long flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "PIW_" + self.name.upper()

    @property
    def metavar(self) -> str:
        """The placeholder of its value in the help; empty for a flag that takes none."""
        if self.type_ is bool:
            return ""
        return self.meta["metavar"] or "|".join(self.choices) or self.name.upper()

    @property
    def choices(self) -> list[str]:
        """All valid values, as text; empty if it takes any."""
        return [str(choice) for choice in self.meta["choices"]]

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is dataclasses.MISSING

    @property
    def common(self) -> bool:
        """Whether every program has it."""
        return self.name in {field.name for field in dataclasses.fields(Common)}

    @property
    def default(self) -> Any:
        """Its default; ``dataclasses.MISSING`` if it is required."""
        if self.field.default_factory is not dataclasses.MISSING:
            return self.field.default_factory()
        default = self.field.default
        # The parser fills in the rest of a default, such as the folder of an address.
        if self.meta["parse"] and default and isinstance(default, str):
            return self.parse(default)
        return default

    @property
    def declared(self) -> Any:
        """Its default as declared, the same on every machine (``{run}``); ``None`` if required."""
        if self.required:
            return None
        default = self.field.default
        return default if isinstance(default, str) else self.default

    def parse(self, text: str) -> Any:
        """Return the value of *text*; raise ``ValueError`` with a sentence."""
        if self.choices and text not in self.choices:
            raise ValueError(f"{text!r} is not one of {', '.join(self.choices)}")
        literal = typing.get_origin(self.type_) is typing.Literal  # a text among the choices
        parse = self.meta["parse"] or (str if literal else _PARSERS[self.type_])
        return parse(text)

    def from_environment(self, text: str) -> Any:
        """Return the value of an environment variable."""
        if self.many:
            return [self.parse(part.strip()) for part in text.split(",") if part.strip()]
        return self.parse(text)

    def from_toml(self, value: Any) -> Any:
        """Return the value of a key in a file; raise ``ValueError`` with a sentence."""
        if self.many:
            if not isinstance(value, list):
                raise ValueError("expected a list")
            return [self._one_from_toml(element) for element in value]
        return self._one_from_toml(value)

    def _one_from_toml(self, value: Any) -> Any:
        if type(value) not in _TOML_TYPES.get(self.type_, (str,)):
            raise ValueError(f"expected {_NAMES.get(self.type_, 'text')}")
        return value if self.type_ is bool else self.parse(str(value))


#: The types of a TOML value that an option of each type accepts; all others take text only.
_TOML_TYPES: Final = {bool: (bool,), int: (int, str), timedelta: (int, float, str)}
_NAMES: Final = {bool: "true or false", int: "a whole number", timedelta: "a duration"}


def options(cls: type[Any]) -> list[Option]:
    """Return the options that the dataclass *cls* declares: its own, then those of all programs."""
    hints = typing.get_type_hints(cls)
    found = []
    for field in dataclasses.fields(cls):
        if not field.metadata:
            continue  # not an option
        type_ = hints[field.name]
        if typing.get_origin(type_) is types.UnionType:  # X | None
            type_ = next(arg for arg in typing.get_args(type_) if arg is not types.NoneType)
        many = typing.get_origin(type_) is list
        found.append(Option(field.name, typing.get_args(type_)[0] if many else type_, many, field))
    return sorted(found, key=lambda opt: opt.common)  # the dataclass has the common ones first
