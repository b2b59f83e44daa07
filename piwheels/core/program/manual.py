"""The manual of a program: its content, and its format for ``--help`` (text of 80 columns).

The content is derived from the option declarations (:mod:`piwheels.core.program.options`): the
summary is the docstring of the dataclass, the rest comes from its fields. ``docs/roff.py`` formats
the same content as a manual page.
"""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from piwheels.core.program.options import options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from piwheels.core.program.options import Option

#: The width of the text, and the column in which descriptions begin.
WIDTH, COLUMN = 80, 28

#: Terms with their descriptions: options, files, examples.
Rows = list[tuple[str, str]]

#: Options that end the program, and are not part of its configuration.
_ENDING: Final = [
    ("-h, --help", "show this help and exit"),
    ("    --version", "show the version and exit"),
    ("    --print-completion SHELL", "write a completion script for bash, zsh or tcsh and exit"),
]
_STATUS: Final = "0 done, 1 refused or failed (standard error says why), 2 wrong command line"
_PRECEDENCE: Final = "Later sources override earlier ones; the command line overrides them all."
_EXAMPLES: Final = "Examples"


class Section(NamedTuple):
    """A titled part of a manual: rows, then a sentence."""

    title: str
    rows: Rows
    note: str = ""


@dataclass(frozen=True, slots=True)
class Manual:
    """The manual of the program *prog*; *words* are its arguments in the synopsis."""

    prog: str
    summary: str
    words: list[str]
    description: list[str]
    sections: list[Section]

    @property
    def synopsis(self) -> str:
        """The syntax of the command line."""
        return " ".join([self.prog, "[OPTION]...", *self.words])

    def help(self) -> str:
        """Return it as the text of ``--help``."""
        parts = [
            _filled(f"{self.prog} - {self.summary}", "    "),
            _filled(f"Usage: {self.synopsis}", "    "),
            *map(_filled, self.description),
            *map(_section, self.sections),
        ]
        return "\n\n".join(parts) + "\n"


def manual(
    prog: str,
    cls: type[Any],
    examples: Iterable[tuple[str, str]] = (),
    *,
    table: str = "",
    portable: bool = False,
) -> Manual:
    """Return the manual of the program *prog*, whose options are the fields of *cls*.

    *examples* are command lines, each with its effect; *table* is the program's table in a
    configuration file, empty if it has none. *portable*: show the declared defaults, which are
    the same on every machine.
    """

    def described(opt: Option) -> str:
        return option_text(opt, opt.declared if portable else opt.default)

    shown = options(cls)
    arguments = [opt for opt in shown if opt.meta["positional"]]
    own = [opt for opt in shown if not opt.common and opt not in arguments]
    common = [opt for opt in shown if opt.common]
    summary, *description = paragraphs(cls)
    sources = _sources(own[0], table) if own else []
    if portable and any("{run}" in described(opt) for opt in own):
        sources.append(("{run}", "$XDG_RUNTIME_DIR/piwheels, or else /tmp/piwheels-UID"))
    sections = [
        Section("Arguments", [(opt.metavar, described(opt)) for opt in arguments]),
        Section("Options", [(flags(opt), described(opt)) for opt in own]),
        Section("Common options", [*((flags(opt), described(opt)) for opt in common), *_ENDING]),
        Section(_EXAMPLES, list(examples)),
        Section("Files and environment", sources, _PRECEDENCE),
        Section("Exit status", [], _STATUS),
    ]
    return Manual(
        prog,
        f"{summary[:1].lower()}{summary[1:].rstrip('.')}",
        [_usage(opt) for opt in arguments],
        description,
        [each for each in sections if each.rows or each.note is _STATUS],
    )


def paragraphs(cls: type[Any]) -> list[str]:
    """Return the paragraphs of the docstring of *cls*; the first is the summary."""
    text = inspect.cleandoc(cls.__doc__ or "")
    return [" ".join(part.split()) for part in text.split("\n\n")]


def flags(opt: Option) -> str:
    """Return the forms of an option, in columns: ``-d, --dsn URL``."""
    short = "".join(f"{flag}, " for flag in opt.meta["flags"])
    return f"{short or '    '}{opt.flag} {opt.metavar}".rstrip()


def option_text(opt: Option, default: Any) -> str:
    """Return the description of an option, with *default* in the syntax of the command line."""
    text: str = opt.meta["help"]
    if opt.required or opt.type_ is bool or opt.many or default in (None, ""):
        return text
    return f"{text} (default: {value_text(default)})"


def value_text(value: Any) -> str:
    """Return *value* in the syntax of the command line: ``1h30m`` for a ``timedelta``."""
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


def _sources(opt: Option, table: str) -> Rows:
    """Return the sources of option values, with *opt* as the example."""
    variables = ("PIW_...", f"the environment ({opt.variable} and so on)")
    if not table:
        return [variables]
    key = opt.flag.removeprefix("--")
    return [
        ("/etc/piwheels.toml", f"the table [{table}] (with keys such as {key})"),
        ("~/.config/piwheels/piwheels.toml", "the same table"),
        ("FILE of --config", "the same table"),
        variables,
    ]


def _section(section: Section) -> str:
    rows = _examples(section.rows) if section.title is _EXAMPLES else _columns(section.rows)
    note = [f"  {section.note}"] if section.note else []
    return "\n".join([f"{section.title}:", *rows, *note])


def _columns(rows: Rows) -> Iterator[str]:
    """Yield *rows* in two columns; a term that is too long has a line of its own."""
    for left, right in rows:
        first = f"  {left:<{COLUMN - 2}}"
        if len(left) > COLUMN - 4:
            yield first.rstrip()
            first = " " * COLUMN
        yield _filled(right, " " * COLUMN, first)


def _examples(rows: Rows) -> Iterator[str]:
    for command, effect in rows:
        yield _filled(command, "      ", "  ", " \\")
        yield _filled(effect, "      ", "      ")


def _filled(text: str, indent: str = "", first: str = "", end: str = "") -> str:
    """Return *text*, wrapped at :data:`WIDTH`.

    The first begins with *first*, the others with *indent*; each but the last ends with *end*.
    """
    lines = textwrap.wrap(
        text.replace("(default: ", "(default:\N{NO-BREAK SPACE}"),
        WIDTH - len(end),
        initial_indent=first,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    return f"{end}\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")
