"""Generate the parts of the documents that come from the code.

These are tables between markers, diagrams, and manual pages. ``docs/generate.py`` writes them,
``docs/generate.py --check`` lists the files that are not current. A marker is a line such as
``<!-- options: piw-slave -->``; generated text follows it, up to ``<!-- end -->``. :data:`BLOCKS`
has all markers.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import roff
import wires
from markup import Stale, code, table

from piwheels.core.diagnosis.advice import ADVICE
from piwheels.core.diagnosis.classes import CLASSES
from piwheels.core.program.command_line import manual_of
from piwheels.core.program.manual import flags, value_text
from piwheels.core.program.options import Common, options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from piwheels.core.program.command_line import Program
    from piwheels.core.program.options import Option

DOCS: Final = Path(__file__).resolve().parent
DECISIONS: Final = DOCS / "decisions"
PROJECT: Final = tomllib.loads((DOCS.parent / "pyproject.toml").read_text("utf-8"))["project"]
SCRIPTS: Final[dict[str, str]] = PROJECT["scripts"]


# -- options


def program(name: str) -> Program[Any]:
    """Return the program *name*."""
    if name not in SCRIPTS:
        raise Stale(f"there is no program {name!r}")
    module, _, attribute = SCRIPTS[name].partition(":")
    found: Program[Any] = getattr(importlib.import_module(module), attribute)
    return found


def programs() -> dict[str, Program[Any]]:
    """Return all programs."""
    return {name: program(name) for name in sorted(SCRIPTS)}


def shown(cls: type[Any], *, common: bool = False) -> list[Option]:
    """Return the options that a user of the configuration *cls* has."""
    return [opt for opt in options(cls) if opt.common is common]


def free(cls: type[Any]) -> list[Option]:
    """Return the options that can be set outside the command line."""
    return [opt for opt in shown(cls) if not opt.required]


def options_block(name: str) -> Iterator[str]:
    """Yield the table of a program's options."""
    common = name == "common"
    cls = Common if common else program(name).config
    yield from table(
        ("option", "default", "description", "environment"),
        (
            (
                code(opt.metavar if opt.meta["positional"] else flags(opt).strip()),
                default,
                text,
                "" if opt.required else code(opt.variable),
            )
            for opt in shown(cls, common=common)
            for text, default in [said(opt)]
        ),
    )
    if not common:
        yield ""
        yield "It also has the [options of every program](index.md#options-of-every-program)."


def said(opt: Option) -> tuple[str, str]:
    """Return the description and the default of an option."""
    text: str = opt.meta["help"]
    if match := re.fullmatch(r"(.*) \(default: ([^()]*)\)", text):
        return match[1], match[2]
    value = opt.declared
    return text, "" if opt.type_ is bool or not value else code(value_text(value))


def file_block(_: str) -> Iterator[str]:
    """Yield a configuration file with every key and its default."""
    yield "```toml"
    for name, each in programs().items():
        yield f"[{name.removeprefix('piw-')}]"
        for opt in free(each.config):
            yield f"# {opt.flag.removeprefix('--')} = {in_toml(opt)}".rstrip()
        yield ""
    yield "```"


def in_toml(opt: Option) -> str:
    """Return an option's default in TOML syntax, or an empty string."""
    value = opt.declared
    if isinstance(value, (bool, int, float, list)):
        return json.dumps(value)
    return json.dumps(value_text(value)) if value else ""


def variables_block(_: str) -> Iterator[str]:
    """Yield the environment variables for options, with their programs."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, each in programs().items():
        for opt in free(each.config):
            found[opt.variable].append(f"[{name}](programs/{name}.md)")
    rows = [(code(variable), ", ".join(names)) for variable, names in sorted(found.items())]
    rows += [(code(opt.variable), "all") for opt in shown(Common, common=True)]
    yield from table(("variable", "programs"), rows)


def decisions_block(_: str) -> Iterator[str]:
    """Yield the table of decisions, from their titles."""
    titles = {path: path.read_text("utf-8").split("\n")[0] for path in DECISIONS.glob("0*.md")}
    yield from table(
        ("", "decision"),
        (
            (path.name[:4], f"[{title.partition('. ')[2]}]({path.name})")
            for path, title in sorted(titles.items())
        ),
    )


def failures_block(_: str) -> Iterator[str]:
    """Yield a section for each class of failures."""
    for code_, each in CLASSES.items():
        advice = ADVICE[code_]
        yield from (f"## {code_}", "", f"*{each.title.capitalize()}.* {advice.means}", "")
        steps = {
            "The maintainer": advice.maintainer,
            "The operator": advice.operator,
            "The farm": advice.farm,
        }
        yield from (f"- {who}: {text}" for who, text in steps.items() if text)
        yield f"- At fault: {FAULTS[each.fault]}."
        if advice.example:
            yield from ("", "```", advice.example, "```")
        yield ""


# -- pages

FAULTS: Final = {
    "package": "the package", "tools": "the tools that it is built with",
    "environment": "what the slave lacks",
    "farm": "the farm; it never counts as the package's failure",
}  # fmt: skip
BLOCKS: Final[dict[str, Callable[[str], Iterator[str]]]] = {
    "options": options_block, "file": file_block, "variables": variables_block,
    "messages": wires.messages_block, "states": wires.states_block, "limits": wires.limits_block,
    "conversation": wires.conversation_block, "wires": wires.wires_block,
    "tasks": wires.tasks_block, "decisions": decisions_block,
    "failures": failures_block,
}  # fmt: skip
MARKER: Final = re.compile(r"^<!-- (?P<kind>[a-z]+)(?:: (?P<what>[\w.-]+))? -->$", re.M)
END: Final = "<!-- end -->"


def filled(page: str) -> str:
    """Return *page* with all its blocks generated again."""
    parts, done = [], 0
    markers = list(MARKER.finditer(page))
    if [marker[0] == END for marker in markers] != [False, True] * (len(markers) // 2):
        raise Stale(f"a marker and {END} do not come in turns")
    for marker, end in zip(markers[::2], markers[1::2], strict=True):
        if marker["kind"] not in BLOCKS:
            raise Stale(f"there is no block {marker['kind']!r}, only {', '.join(BLOCKS)}")
        block = "\n".join(BLOCKS[marker["kind"]](marker["what"] or "")).rstrip()
        parts.append(f"{page[done : marker.end()]}\n\n{block}\n\n")
        done = end.start()
    return "".join([*parts, page[done:]])


class Made(NamedTuple):
    """A file with its current and its expected contents."""

    path: Path
    is_now: str
    should_be: str


def everything() -> Iterator[Made]:
    """Yield all files with generated parts."""
    for path in sorted(DOCS.rglob("*.md")):
        if "_build" in path.parts:
            continue
        text = path.read_text("utf-8")
        try:
            yield Made(path, text, filled(text))
        except Stale as error:
            raise Stale(f"{path.name}: {error}") from None
    for name, draw in wires.DIAGRAMS.items():
        path = DOCS / "diagrams" / name
        yield Made(path, path.read_text("utf-8") if path.exists() else "", draw())
    for name, each in programs().items():
        path = DOCS / "man" / f"{name}.1"
        page = roff.page(manual_of(name, each.config, each.examples, portable=True))
        yield Made(path, path.read_text("utf-8") if path.exists() else "", page)


def main(args: list[str]) -> int:
    """Write the files that are out of date; with ``--check``, only list them."""
    stale = [made for made in everything() if made.is_now != made.should_be]
    for made in stale:
        if args != ["--check"]:
            made.path.parent.mkdir(exist_ok=True)
            made.path.write_text(made.should_be, "utf-8")
        sys.stdout.write(
            f"{'stale' if args else 'written'}: {made.path.relative_to(DOCS.parent)}\n"
        )
    return 1 if stale and args else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Stale as error:
        sys.exit(f"docs/generate.py: {error}")
