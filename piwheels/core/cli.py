"""What every program of ours has in common: options, their sources, the log, exit statuses.

A program declares its options once, as the fields of a dataclass that derives from
:class:`Common`::

    @dataclass(frozen=True)
    class ToyConfig(Common):
        \"\"\"Count the toys.\"\"\"

        dsn: str = option("-d", default="postgresql:///toys", metavar="URL", help="the database")

    @program("piw-toy", ToyConfig)
    def main(config: ToyConfig) -> int: ...

which makes ``main(args=None) -> int``. An option's value comes from, each stronger than the one
before: its default; the table ``[toy]`` of the TOML files ``/etc/piwheels.toml``,
``~/.config/piwheels/piwheels.toml`` and the one that ``-c`` names; the environment variable
``PIW_DSN``; the command line.

Exit statuses: 0 done, 1 refused or failed (with one sentence on standard error), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import logging
import os
import re
import sys
import tomllib
import types
import typing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from piwheels import __version__
from piwheels.core.errors import Fatal, PiWheelsError

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T", bound="Common")
#: Command lines for a program's help, each with what it does.
Examples = typing.Sequence[tuple[str, str]]

#: Every program of the house: the tables that a configuration file may have.
PROGRAMS: Final = (
    "add", "audit", "console", "import", "initdb", "logger", "master", "rebuild", "remove", "serve",
    "slave", "up",
)  # fmt: skip

#: How the log looks: in a file with the time, on a terminal without.
LOG_FORMAT: Final = "%(asctime)s %(name)s: %(levelname)s: %(message)s"


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
        raise ValueError(f"{s!r} is not a duration between a moment and a year")
    return total


def port_number(s: str) -> int:
    """Convert *s* into the number of a port, 0 to 65535; 0 stands for any that is free.

    Raises ``ValueError`` for anything else.
    """
    if not s.isascii() or not s.isdigit() or int(s) > 65535:
        raise ValueError(f"{s!r} is not a port: write a number up to 65535 (0: any free one)")
    return int(s)


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


def _path(s: str) -> Path:
    if not s or "\0" in s:
        raise ValueError("a path cannot be empty")
    return Path(s).expanduser()


#: How the text of an environment variable, a flag or a TOML string becomes a value of a type.
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
    positional: bool = False,
    secret: bool = False,
) -> Any:
    """Declare an option: a dataclass field with what the command line needs to know of it.

    *flags* are its short forms; the long one is the field's name. *parse* turns text into the
    value, and raises ``ValueError`` with a sentence; without it the field's type says how. A
    list's items come from repeated flags, from commas in the environment, or from a TOML array.
    One that is *secret* is left out of ``--help``.
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
            "positional": positional,
            "secret": secret,
        },
    )


@dataclass(frozen=True, kw_only=True)
class Common:
    """The options that every program has."""

    config: Path | None = option(
        "-c", default=None, metavar="FILE", help="read options from this TOML file too"
    )
    quiet: bool = option("-q", default=False, help="say only what went wrong")
    verbose: bool = option("-v", default=False, help="say more")
    log_file: Path | None = option(
        "-l", default=None, metavar="FILE", help="write the log to this file too"
    )


@dataclass(frozen=True, slots=True)
class _Option:
    name: str
    kind: Any
    many: bool
    field: dataclasses.Field[Any]

    @property
    def meta(self) -> Mapping[str, Any]:
        return self.field.metadata

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def default(self) -> Any:
        if self.field.default_factory is not dataclasses.MISSING:
            return self.field.default_factory()
        default = self.field.default
        # What a default leaves open (an address's folder) is settled when it is used.
        if self.meta["parse"] and default and isinstance(default, str):
            return self.parse(default)
        return default

    def parse(self, text: str) -> Any:
        parse = self.meta["parse"] or _PARSERS[self.kind]
        return parse(text)

    def from_environment(self, text: str) -> Any:
        if self.many:
            return [self.parse(part.strip()) for part in text.split(",") if part.strip()]
        return self.parse(text)

    def from_toml(self, value: Any) -> Any:
        if self.many:
            if not isinstance(value, list):
                raise ValueError("expected a list")
            return [self._one_from_toml(element) for element in value]
        return self._one_from_toml(value)

    def _one_from_toml(self, value: Any) -> Any:
        if isinstance(value, str) and self.kind is not bool:
            return self.parse(value)
        if self.kind is timedelta and type(value) in (int, float):
            return self.parse(str(value))
        if type(value) is not self.kind:
            raise ValueError(f"expected {_NAMES.get(self.kind, 'text')}")
        return value


_NAMES: Final = {bool: "true or false", int: "a whole number", timedelta: "a duration"}


def _options(cls: type[Any]) -> list[_Option]:
    hints = typing.get_type_hints(cls)
    found = []
    for field in dataclasses.fields(cls):
        kind = hints[field.name]
        if typing.get_origin(kind) is types.UnionType:  # X | None
            kind = next(arg for arg in typing.get_args(kind) if arg is not types.NoneType)
        many = typing.get_origin(kind) is list
        found.append(_Option(field.name, typing.get_args(kind)[0] if many else kind, many, field))
    # The common ones come first in the dataclass and last in the help.
    common = {field.name for field in dataclasses.fields(Common)}
    return sorted(found, key=lambda opt: opt.name in common)


class _Help(argparse.HelpFormatter):
    def __init__(self, prog: str, **_: Any) -> None:
        super().__init__(prog, max_help_position=30, width=80)


def parser(prog: str, cls: type[Any], examples: Examples = ()) -> argparse.ArgumentParser:
    """Return the command-line parser of the program *prog*: its options are the fields of *cls*.

    *examples* are shown in its help.
    """
    description = " ".join((cls.__doc__ or "").split())
    made = argparse.ArgumentParser(
        prog=prog,
        description=description,
        formatter_class=_Help,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        epilog="Options can also be set in a TOML file (-c) and as PIW_NAME in the environment.",
    )
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    for opt in _options(cls):
        meta = opt.meta
        extra: dict[str, Any] = {"help": argparse.SUPPRESS if meta["secret"] else _help_of(opt)}
        if meta["positional"]:
            may_lack = opt.field.default is not dataclasses.MISSING
            nargs = "*" if opt.many else "?" if may_lack else None
            extra |= {"nargs": nargs, "metavar": meta["metavar"], "default": None}
            made.add_argument(opt.name, type=_argument(opt), **extra)
        elif opt.kind is bool:
            made.add_argument(*meta["flags"], opt.flag, dest=opt.name, action="store_true", **extra)
        else:
            action = "append" if opt.many else "store"
            made.add_argument(
                *meta["flags"], opt.flag, dest=opt.name, action=action, type=_argument(opt),
                metavar=meta["metavar"] or opt.name.upper(), **extra,
            )  # fmt: skip
    return made


def _help_of(opt: _Option) -> str:
    text: str = opt.meta["help"]
    if opt.kind is bool or opt.default in (None, "", dataclasses.MISSING) or opt.many:
        return text.replace("%", "%%")
    return f"{text} (default: {_shown(opt.default)})".replace("%", "%%")


def _shown(value: Any) -> str:
    if not isinstance(value, timedelta):
        return str(value)
    minutes, seconds = divmod(int(value.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count)


def _argument(opt: _Option) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return opt.parse(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc

    return parse


def load(
    prog: str,
    cls: type[T],
    args: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    examples: Examples = (),
) -> T:
    """Return the configuration of the program *prog* from all its sources.

    *args* and *environ* default to the process's own. Ends the process with status 2 where the
    command line is wrong; raises ``Fatal`` with every other mistake at once.
    """
    environ = os.environ if environ is None else environ
    given = vars(parser(prog, cls, examples).parse_args(args))
    options = {opt.name: opt for opt in _options(cls)}
    defaults = {name: opt.default for name, opt in options.items()}
    values = {name: it for name, it in defaults.items() if it is not dataclasses.MISSING}
    errors: list[str] = []
    home = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '')}/.config"
    files = [Path("/etc/piwheels.toml"), Path(home, "piwheels/piwheels.toml")]
    files = [path for path in files if path.is_file()]
    if named := given.get("config") or environ.get("PIW_CONFIG"):
        files.append(Path(named))
    for path in files:
        _read_toml(path, prog.removeprefix("piw-"), options, values, errors)
    for name, opt in options.items():
        text = environ.get("PIW_" + name.upper())
        if text is not None:
            try:
                values[name] = opt.from_environment(text)
            except ValueError as exc:
                errors.append(f"PIW_{name.upper()}: {exc}")
    if errors:
        raise Fatal("; ".join(errors))
    # A positional one that was not given must not hide what a file says.
    return cls(**values | {key: value for key, value in given.items() if value not in ([], None)})


def _read_toml(
    path: Path,
    table: str,
    options: Mapping[str, _Option],
    values: dict[str, Any],
    errors: list[str],
) -> None:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        errors.append(f"{path}: {exc.strerror if isinstance(exc, OSError) else exc}")
        return
    for name in content.keys() - set(PROGRAMS):
        errors.append(f"{path}: unknown table or key {name!r} (tables: {', '.join(PROGRAMS)})")
    section = content.get(table, {})
    if not isinstance(section, dict):
        errors.append(f"{path}: {table} is not a table")
        return
    for key, value in section.items():
        opt = options.get(key.replace("-", "_"))
        if opt is None or opt.name == "config":
            errors.append(f"{path}: [{table}] has an unknown key {key!r}")
            continue
        try:
            values[opt.name] = opt.from_toml(value)
        except ValueError as exc:
            errors.append(f"{path}: [{table}] {key}: {exc}")


def set_up_logging(prog: str, config: Common) -> None:
    """Send the log to standard error and to the file that *config* names.

    Raises ``Fatal`` if that file cannot be written.
    """
    level = logging.DEBUG if config.verbose else logging.WARNING if config.quiet else logging.INFO
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if config.log_file is not None:
        try:
            handlers.append(logging.FileHandler(config.log_file, encoding="utf-8", delay=False))
        except OSError as exc:
            raise Fatal(
                f"cannot write {config.log_file} ({exc.strerror}): choose another --log-file"
            ) from exc
    logging.basicConfig(level=level, format=LOG_FORMAT, handlers=handlers, force=True)
    logging.captureWarnings(capture=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger(prog).debug("version %s", __version__)


def program(
    prog: str, cls: type[T], examples: Examples = ()
) -> Callable[[Callable[[T], int]], Callable[..., int]]:
    """Make a program's ``main(args=None) -> int`` of a function that takes its configuration."""

    def decorate(function: Callable[[T], int]) -> Callable[..., int]:
        @functools.wraps(function, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
        def main(args: Sequence[str] | None = None) -> int:
            try:
                config = load(prog, cls, args, examples=examples)
                set_up_logging(prog, config)
                return function(config)
            except PiWheelsError as exc:
                with contextlib.suppress(OSError):
                    sys.stderr.write(f"{prog}: {exc}\n")
                return 1
            except KeyboardInterrupt:
                return 1
            except BrokenPipeError:
                # Who read our output has gone; keep Python from complaining of it at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return 1

        del main.__wrapped__
        return main

    return decorate
