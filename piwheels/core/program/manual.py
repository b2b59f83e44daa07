"""The ``--help`` of a program, formatted like a manual page: plain text of 80 columns.

It is derived from the option declarations (:mod:`piwheels.core.program.options`): the summary from
the docstring of the dataclass, the rest from its fields.
"""

from __future__ import annotations

import inspect
import textwrap
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.program.options import options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from piwheels.core.program.options import Option

#: Columns of the whole, and where what an option does begins.
WIDTH, COLUMN = 80, 28

_LAST: Final = (
    ("-h, --help", "show this help, and end"),
    ("    --version", "show the version, and end"),
)
_STATUS: Final = "0 done, 1 refused or failed (standard error says why), 2 wrong command line"


def manual(
    prog: str, cls: type[Any], examples: Iterable[tuple[str, str]] = (), *, table: str = ""
) -> str:
    """Return the help of the program *prog*, whose options are the fields of *cls*.

    *examples* are command lines, each with what it does; *table* is its table in a file.
    """
    shown = options(cls)
    words = [opt for opt in shown if opt.meta["positional"]]
    own = [opt for opt in shown if not opt.common and opt not in words]
    common = [opt for opt in shown if opt.common]
    summary, *description = paragraphs(cls)
    usage = ["Usage:", prog, "[OPTION]...", *map(_usage, words)]
    parts = [
        _filled(f"{prog} - {summary[:1].lower()}{summary[1:].rstrip('.')}", "    "),
        _filled(" ".join(usage), "    "),
        *map(_filled, description),
        _section("Arguments", _rows((opt.metavar, says(opt)) for opt in words)),
        _section("Options", _rows((flags(opt), says(opt)) for opt in own)),
        _section("Common options", _rows([*((flags(opt), says(opt)) for opt in common), *_LAST])),
        _section("Examples", _examples(examples)),
        _section("Files and environment", _elsewhere(own, table)),
        _section("Exit status", [f"  {_STATUS}"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def paragraphs(cls: type[Any]) -> list[str]:
    """Return what the docstring of *cls* says, a paragraph an item; the first is the summary."""
    text = inspect.cleandoc(cls.__doc__ or "")
    return [" ".join(part.split()) for part in text.split("\n\n")]


def flags(opt: Option) -> str:
    """Return how an option is given, in columns: ``-d, --dsn URL``."""
    short = "".join(f"{flag}, " for flag in opt.meta["flags"])
    return f"{short or '    '}{opt.flag} {opt.metavar}".rstrip()


def says(opt: Option) -> str:
    """Return what an option does, with its default as a user would write it."""
    text: str = opt.meta["help"]
    default = opt.default
    if opt.required or opt.kind is bool or opt.many or default in (None, ""):
        return text
    return f"{text} (default: {written(default)})"


def written(value: Any) -> str:
    """Return *value* as it is written on a command line."""
    if not isinstance(value, timedelta):
        return str(value)
    minutes, seconds = divmod(int(value.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count)


def _usage(opt: Option) -> str:
    if opt.many:
        return f"[{opt.metavar}]..."
    return opt.metavar if opt.required else f"[{opt.metavar}]"


def _elsewhere(own: Sequence[Option], table: str) -> Iterator[str]:
    """Say where options can stand beside the command line, with one of *own* as an example."""
    if not own:
        return
    files = ("/etc/piwheels.toml", "~/.config/piwheels/piwheels.toml") if table else ()
    key, variable = own[0].flag.removeprefix("--"), own[0].variable
    yield from _rows((file, "") for file in files)
    if table:
        yield from _rows([("FILE of --config", f"the table [{table}] (with keys such as {key})")])
    yield from _rows([("PIW_...", f"the environment ({variable} and so on)")])
    yield "  What is further down is stronger, the command line strongest."


def _section(title: str, lines: Iterable[str]) -> str:
    text = "\n".join(lines)
    return f"{title}:\n{text}" if text else ""


def _rows(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Set *rows* in two columns; what is too long for the first has a line of its own."""
    for left, right in rows:
        first = f"  {left:<{COLUMN - 2}}"
        if len(left) > COLUMN - 4 or not right:
            yield first.rstrip()
            first = " " * COLUMN
        if right:
            yield _filled(right, " " * COLUMN, first)


def _examples(examples: Iterable[tuple[str, str]]) -> Iterator[str]:
    for command, what in examples:
        yield _filled(command, "      ", "  ", " \\")
        yield _filled(what, "      ", "      ")


def _filled(text: str, indent: str = "", first: str = "", end: str = "") -> str:
    """Return *text* in lines that fit: *first* begins the first, *indent* those that follow.

    *end* ends each line that goes on.
    """
    lines = textwrap.wrap(
        text.replace("(default: ", "(default:\N{NO-BREAK SPACE}"),
        WIDTH - len(end),
        initial_indent=first,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    return f"{end}\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")
