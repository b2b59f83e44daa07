"""The frame of every program: its options and their sources, its log, its exit status.

A program declares its options once, as the fields of a dataclass that derives from
:class:`Common`::

    @dataclass(frozen=True)
    class ToyConfig(Common):
        \"\"\"Count the toys.\"\"\"

        dsn: str = option("-d", default="postgresql:///toys", metavar="URL", help="the database")

    @program("piw-toy", ToyConfig)
    def main(config: ToyConfig) -> int: ...

The decorated ``main`` has the signature ``main(args=None) -> int``. The sources of an option's
value are, in ascending precedence: its default; the table ``[toy]`` of the TOML files
``/etc/piwheels.toml``, ``~/.config/piwheels/piwheels.toml`` and the one that ``-c`` names; the
environment variable ``PIW_DSN``; the command line.

Exit statuses: 0 success, 1 refusal or failure (one sentence on standard error), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import logging
import os
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar

from piwheels import __version__
from piwheels.core.errors import Fatal, PiWheelsError, one_line
from piwheels.core.program.completion import SHELLS, completion
from piwheels.core.program.extras import needs
from piwheels.core.program.logs import LogFile
from piwheels.core.program.manual import Manual, manual
from piwheels.core.program.options import (
    Common,
    Option,
    duration,
    option,
    options,
    port_number,
    size,
)
from piwheels.core.program.report import write_error

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "PROGRAMS",
    "Common",
    "Program",
    "duration",
    "load",
    "option",
    "parser",
    "port_number",
    "program",
    "set_up_logging",
    "size",
    "usage_error",
]

T = TypeVar("T", bound=Common)
#: Command lines for a program's help, each with its effect.
Examples = Sequence[tuple[str, str]]

#: All programs: the tables that a configuration file may have.
PROGRAMS: Final = (
    "add", "audit", "console", "import", "initdb", "keys", "logger", "master", "rebuild",
    "recipe", "remove", "serve", "slave", "targets", "up", "why",
)  # fmt: skip

#: The format of the log.
LOG_FORMAT: Final = "%(asctime)s %(name)s: %(levelname)s: %(message)s"


class _Parser(argparse.ArgumentParser):
    """Reads a command line. Its help is the program's manual; an error is one sentence."""

    def __init__(self, manual: Manual, cls: type[Any]) -> None:
        super().__init__(prog=manual.prog, argument_default=argparse.SUPPRESS, allow_abbrev=False)
        self.manual = manual
        self.config = cls
        #: Whether an error is also written as JSON.
        self.as_json = False

    def format_help(self) -> str:
        return self.manual.help()

    def error(self, message: str) -> NoReturn:
        sentence = message.removeprefix("argument ")
        sentence = sentence.replace("ignored explicit argument", "takes no value, but was given")
        if self.as_json:
            write_error(one_line(sentence), 2)
        self.exit(2, f"{self.prog}: {one_line(sentence)} (see {self.prog} --help)\n")

    def read(self, args: Sequence[str] | None) -> dict[str, Any]:
        """Return the options in *args*. Ends the process with status 2 if *args* are wrong."""
        self.as_json = _wants_json(self.config, args)
        given, unknown = self.parse_known_intermixed_args(args)
        if unknown:
            name = next((word for word in unknown if word.startswith("-")), "").partition("=")[0]
            near = difflib.get_close_matches(name, self.flags, 1)
            hint = f": did you mean {near[0]}?" if near else ""
            self.error(f"no option {name}{hint}" if name else f"too many arguments: {unknown[0]!r}")
        return vars(given)

    @property
    def flags(self) -> list[str]:
        """All flags that the help shows."""
        shown = (each for each in self._actions if each.help is not argparse.SUPPRESS)
        return [flag for each in shown for flag in each.option_strings]


def parser(prog: str, cls: type[Any], examples: Examples = ()) -> _Parser:
    """Return the command-line parser of the program *prog*: its options are the fields of *cls*.

    *examples* are shown in its help.
    """
    made = _Parser(manual_of(prog, cls, examples), cls)
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    made.add_argument("--print-completion", action=_PrintCompletion)
    for opt in options(cls):
        names = *opt.meta["flags"], opt.flag
        if opt.meta["positional"]:
            nargs = "*" if opt.many else None if opt.required else "?"
            parse, name = _argument(opt), opt.meta["metavar"] or opt.name.upper()
            made.add_argument(opt.name, nargs=nargs, default=None, type=parse, metavar=name)
        elif opt.type_ is bool:
            made.add_argument(*names, dest=opt.name, action="store_true")
        else:
            action = "append" if opt.many else "store"
            made.add_argument(
                *names, dest=opt.name, action=action, type=_argument(opt), metavar=opt.metavar
            )
    return made


def usage_error(prog: str, config: Common, message: str) -> NoReturn:
    """End the process with status 2: the options in *config* contradict each other."""
    usage = parser(prog, type(config))
    usage.as_json = getattr(config, "json", False)
    usage.error(message)


def manual_of(
    prog: str, cls: type[Any], examples: Examples = (), *, portable: bool = False
) -> Manual:
    """Return the manual of the program *prog*, with its table in configuration files.

    *portable*: show the declared defaults, which are the same on every machine.
    """
    name = prog.removeprefix("piw-")
    table = name if name in PROGRAMS else ""
    return manual(prog, cls, examples, table=table, portable=portable)


class _PrintCompletion(argparse.Action):
    """Writes the completion script for a shell, and ends the program."""

    def __call__(
        self, parser: argparse.ArgumentParser, _: object, values: object, *__: object
    ) -> NoReturn:
        assert isinstance(parser, _Parser)  # noqa: S101 (argparse passes the parser of the option)
        if values not in SHELLS:
            parser.error(f"--print-completion: {values!r} is not one of {', '.join(SHELLS)}")
        sys.stdout.write(completion(parser.prog, parser.config, str(values)))
        parser.exit()


def _argument(opt: Option) -> Callable[[str], Any]:
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

    *args* and *environ* default to those of the process. Ends the process with status 2 if the
    command line is wrong; raises ``Fatal`` with all mistakes in the other sources.
    """
    environ = os.environ if environ is None else environ
    given = parser(prog, cls, examples).read(args)
    known = {opt.name: opt for opt in options(cls)}
    defaults = {name: opt.default for name, opt in known.items()}
    values = {name: it for name, it in defaults.items() if it is not dataclasses.MISSING}
    errors: list[str] = []
    home = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '')}/.config"
    files = [Path("/etc/piwheels.toml"), Path(home, "piwheels/piwheels.toml")]
    # Path.is_file would raise an error for a folder that this user may not enter.
    files = [path for path in files if os.path.isfile(path)]  # noqa: PTH113
    if named := given.get("config") or environ.get("PIW_CONFIG"):
        files.append(Path(named))
    for path in files:
        _read_toml(path, prog.removeprefix("piw-"), known, values, errors)
    for name, opt in known.items():
        text = environ.get(opt.variable)
        if text is not None:
            try:
                values[name] = opt.from_environment(text)
            except ValueError as exc:
                errors.append(f"{opt.variable}: {exc}")
    if errors:
        raise Fatal("; ".join(errors))
    # An argument that was not given must not override the value from a file.
    return cls(**values | {name: value for name, value in given.items() if value not in ([], None)})


def _read_toml(
    path: Path,
    table: str,
    known: Mapping[str, Option],
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
        opt = known.get(key.replace("-", "_"))
        if opt is None or opt.name == "config":
            errors.append(f"{path}: [{table}] has an unknown key {key!r}")
            continue
        try:
            values[opt.name] = opt.from_toml(value)
        except ValueError as exc:
            errors.append(f"{path}: [{table}] {key}: {exc}")


def _wants_json(cls: type[Any], args: Sequence[str] | None) -> bool:
    """Return whether a command line, which may be wrong, asks for errors as JSON."""
    words = sys.argv[1:] if args is None else args
    return "--json" in words and any(opt.name == "json" for opt in options(cls))


def set_up_logging(prog: str, config: Common) -> None:
    """Send the log to standard error and to the file that *config* names.

    Raises ``Fatal`` if that file cannot be written.
    """
    level = logging.DEBUG if config.verbose else logging.WARNING if config.quiet else logging.INFO
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if config.log_file is not None:
        try:
            handlers.append(LogFile(config.log_file))
        except OSError as exc:
            raise Fatal(
                f"cannot write {config.log_file} ({exc.strerror}): choose another --log-file"
            ) from exc
    logging.basicConfig(level=level, format=LOG_FORMAT, handlers=handlers, force=True)
    logging.captureWarnings(capture=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger(prog).debug("version %s", __version__)


class Program(Generic[T]):
    """A program's ``main(args=None) -> int``, with its name, options, examples and extra."""

    def __init__(
        self,
        prog: str,
        cls: type[T],
        examples: Examples,
        extra: str,
        function: Callable[[T], int],
    ) -> None:
        self.prog = prog
        self.config = cls
        self.examples = examples
        self.extra = extra
        self._function = function

    def __call__(self, args: Sequence[str] | None = None) -> int:
        """Run the program with *args* (default: the process's own); return the exit status."""
        as_json = _wants_json(self.config, args)
        try:
            config = load(self.prog, self.config, args, examples=self.examples)
            as_json = getattr(config, "json", False)
            set_up_logging(self.prog, config)
            with needs(self.extra) if self.extra else contextlib.nullcontext():
                return self._function(config)
        except PiWheelsError as exc:
            with contextlib.suppress(OSError):
                if as_json:
                    write_error(one_line(exc), 1)
                sys.stderr.write(f"{self.prog}: {exc}\n")
            return 1
        except KeyboardInterrupt:
            return 1
        except BrokenPipeError:
            # The reader of standard output has ended: prevent a second error at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1


def program(
    prog: str, cls: type[T], examples: Examples = (), extra: str = ""
) -> Callable[[Callable[[T], int]], Program[T]]:
    """Turn a function from a configuration to an exit status into a :class:`Program`.

    *extra* is the extra of this project whose packages the program needs. The function imports
    them, and the modules that use them, in its body: without the extra, ``--help`` still works,
    and the program names the command that installs it.
    """

    def decorate(function: Callable[[T], int]) -> Program[T]:
        return Program(prog, cls, examples, extra, function)

    return decorate
