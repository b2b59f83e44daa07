"""Generate the parts of the documents about wires: messages, states, limits, diagrams."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import tomllib
import types
import typing
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import drawing
from markup import Stale, code, table

from piwheels.core import conversations, protocols, schema, states
from piwheels.core.transfers import CHUNK_SIZE, CREDIT
from piwheels.core.wheels.built import HELLO_SECONDS
from piwheels.master import messages
from piwheels.master.lumberjack import BATCH, WAIT
from piwheels.master.wiring import WIRES

if TYPE_CHECKING:
    from collections.abc import Iterator

MEANINGS: Final = tomllib.loads(Path(__file__).with_name("meanings.toml").read_text("utf-8"))
NOTHING: Final = type(protocols.NoData)

# -- tables


def messages_block(where: str) -> Iterator[str]:
    """Yield the table of one direction of a wire (``slave_driver.recv``)."""
    wire, _, side = where.partition(".")
    tables = getattr(protocols, wire)
    messages = getattr(tables, side)
    meanings = MEANINGS.get(wire, {}).get(side, {})
    if wrong := sorted(messages.keys() ^ meanings.keys()):
        raise Stale(f"docs/meanings.toml: [{where}] and the protocol differ in {', '.join(wrong)}")
    answers = {"console.recv": console_answers}.get(where)
    yield from table(
        ("message", "data", *(["answer"] if answers else []), "meaning"),
        (
            (code(msg), named(kind), *([answers(msg)] if answers else []), meanings[msg])
            for msg, kind in messages.items()
        ),
    )


def console_answers(msg: str) -> str:
    """Return the type of the data of the ``OK`` that answers a console."""
    return named(protocols.CONSOLE_ANSWERS[msg])


def named(kind: Any) -> str:
    """Return a type in words, with links to the states."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind in PLAIN:
        return PLAIN[kind]
    if alias := ALIASES.get(kind):
        return alias
    if hasattr(kind, "__metadata__"):
        return f"{limit(kind)}"
    if is_state(kind):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    if origin is typing.Literal:
        return " or ".join(code(json.dumps(arg)) for arg in args)
    if origin in (typing.Union, types.UnionType):
        words = [named(arg) for arg in args]
        return (", or " if any(" of " in word for word in words) else " or ").join(words)
    if args[1:] == (...,):
        return f"list of {named(args[0])}"
    if origin is tuple:
        return f"({', '.join(map(named, args))})"
    if len(args) == 1:
        return f"list of {named(args[0])}"
    if is_state(args[1]):  # as piwheels.core.schema encodes it
        return f"list of {named(args[1])}"
    return f"map of {named(args[0])} to {named(args[1])}"


PLAIN: Final[dict[Any, str]] = {
    NOTHING: "none", type(None): "null", bool: "true or false", int: "integer", float: "number",
    str: "text", timedelta: "duration", datetime: "moment", Any: "anything",
}  # fmt: skip
#: The words for the types of :mod:`piwheels.core.states` that have a limit.
ALIASES: Final = {
    kind: re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    for name, kind in vars(states).items()
    if hasattr(kind, "__metadata__")
}


def is_state(kind: Any) -> bool:
    """Whether *kind* is a NamedTuple or a dataclass that messages contain."""
    return inspect.isclass(kind) and (hasattr(kind, "_fields") or hasattr(kind, "as_message"))


def fields(kind: Any) -> dict[str, Any]:
    """Return the fields of a state that are sent: names and types, in sequence."""
    hints = typing.get_type_hints(kind, include_extras=True)
    declared = getattr(kind, "__dataclass_fields__", {})
    return {
        name: hint
        for name, hint in hints.items()
        if name not in declared or declared[name].metadata.get("wire", True)
    }


def states_block(_: str) -> Iterator[str]:
    """Yield each state that messages contain: its meaning, and its fields in sequence."""
    found: dict[str, Any] = {}

    def visit(kind: Any) -> None:
        if is_state(kind) and kind.__name__ not in found:
            found[kind.__name__] = kind
            for inner in fields(kind).values():
                visit(inner)
        for arg in typing.get_args(kind):
            visit(arg)

    for wire in MEANINGS:
        protocol = getattr(protocols, wire)
        for side in (protocol.recv, protocol.send):
            for kind in side.values():
                visit(kind)
    for kind in protocols.CONSOLE_ANSWERS.values():
        visit(kind)
    for name, kind in sorted(found.items()):
        optional = getattr(kind, "_field_defaults", {})
        parts = (
            f"{code(field)} {named(hint)}{' (may be left out)' if field in optional else ''}"
            for field, hint in fields(kind).items()
        )
        yield from (f"### {name}", "", docstring(kind), "", f"[{', '.join(parts)}]", "")


def docstring(kind: Any) -> str:
    """Return the docstring as Markdown."""
    text = " ".join(inspect.cleandoc(kind.__doc__).replace("\n\n", "\n").split())
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)


def limits_block(_: str) -> Iterator[str]:
    """Yield the types of text and numbers that have a limit."""
    yield from table(
        ("word", "valid values"), sorted((name, limit(kind)) for kind, name in ALIASES.items())
    )


def limit(kind: Any) -> str:
    """Return the limit of a type in words."""
    rule, size = kind.__metadata__[0]
    if rule == "count":
        return f"an integer from 0 to {size:,}"
    if rule == "map":
        return f"a map of texts to anything, of at most {size:,} bytes"
    pattern = schema.PATTERNS.get(rule)
    of = {"text": ", no control characters", "log": ""}.get(rule, "")
    of = f" that match {code(pattern.pattern)}" if pattern else of
    return f"at most {size:,} characters{of}"


def conversation_block(name: str) -> Iterator[str]:
    """Yield the table of a conversation: the requests of each phase, and their replies."""
    conversation = getattr(conversations, name)
    rows = [
        (
            " or ".join(map(code, phases)),
            "; ".join(f"{marked(msg, conversation, 0)} → {either(turns[msg])}" for msg in turns),
        )
        for phases, turns in grouped(conversation)
    ]
    yield from table(("phase", "requests, and the valid replies to each"), rows)
    always = [marked(msg, conversation, 1) for msg in conversation.interruptions]
    if always:
        yield from ("", f"Any request can also have the reply {' or '.join(always)}.")
    if conversation.farewells:
        words = " and ".join(map(code, sorted(conversation.farewells)))
        yield from ("", f"{words} can arrive in any phase, and has no reply.")
    rows = [
        (
            code(phase),
            " or ".join(map(code, leading(conversation, phase)))
            or "none (a conversation can start here)",
        )
        for phase, turns in conversation.turns.items()
        if turns
    ]
    yield from (
        "",
        "A reply determines the next phase:",
        "",
        *table(("phase", "after the reply"), rows),
    )


def marked(msg: str, conversation: Any, side: int) -> str:
    """Return *msg*, with its level if that is 1; *side* is 0 for requests, 1 for replies."""
    return code(msg) + (" (level 1)" if msg in conversation.level_1[side] else "")


def either(replies: Any) -> str:
    """Return the replies to a request in words."""
    return " or ".join(map(code, replies))


def leading(conversation: Any, phase: str) -> list[str]:
    """Return the replies that lead to *phase*."""
    found = [
        reply
        for turns in conversation.turns.values()
        for replies in turns.values()
        for reply, after in replies.items()
        if after == phase
    ]
    found += [reply for reply, after in conversation.interruptions.items() if after == phase]
    return list(dict.fromkeys(found))


def grouped(conversation: Any) -> list[tuple[list[str], Any]]:
    """Group the phases that allow the same requests, with these requests and their replies."""
    found: list[tuple[list[str], Any]] = []
    for phase, turns in conversation.turns.items():
        if found and turns == found[-1][1]:
            found[-1][0].append(phase.value)
        elif turns:
            found.append(([phase.value], turns))
    return found


def wires_block(_: str) -> Iterator[str]:
    """Yield the table of the master's wires."""
    how = {"router": "request", "rpc": "request", "push": "one-way", "pub": "publish"}
    rows = []
    for wire in WIRES:
        words: list[str] = [cls.__name__ for cls in wire.messages]
        if isinstance(wire.speaks, protocols.Protocol):
            words = list(dict.fromkeys([*wire.speaks.recv, *wire.speaks.send]))
        marks = f"{wire.limits.unread:,} / {wire.limits.unsent:,}"
        content = ", ".join(map(code, words)) or NO_MESSAGES[wire.name]
        row = (code(wire.name), how[wire.pattern], wire.binds, ", ".join(wire.connects), marks)
        rows.append((*row, ", ".join(wire.roles), content))
    columns = ("wire", "kind", "binds", "connects", "high-water marks", "roles", "messages")
    yield from table(columns, rows)


NO_MESSAGES: Final = {
    "file": "raw frames, see [protocols](protocols.md#the-file-wire)",
    "database": "the methods of `Database`",
    "oracles": "the methods of `Database`",
}


def tasks_block(_: str) -> Iterator[str]:
    """Yield the messages between the master's tasks, in the sequence of their declaration."""
    carried = {cls for wire in WIRES for cls in wire.messages}
    rows = []
    classes = [value for value in vars(messages).values() if isinstance(value, type)]
    for cls in filter(carried.__contains__, classes):
        fields = ", ".join(field.name for field in dataclasses.fields(cls))
        answer = getattr(cls, "answer", None)
        text = inspect.cleandoc(cls.__doc__).partition("\n\n")[0].replace("\n", " ")
        says = re.sub(r":class:`~?([\w.]*\.)?(\w+)`", r"`\2`", text).replace("``", "`")
        rows.append((code(cls.__name__), fields, code(spelled(answer)) if answer else "", says))
    yield from table(("message", "fields", "answer", "meaning"), rows)


def spelled(kind: Any) -> str:
    """Return the type *kind* as Python spells it, without modules and limits."""
    if alias := ALIASES.get(kind):
        return {"count": "int", "integer": "int"}.get(alias, "str")
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(spelled, args))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(spelled, args))}]"
    return "None" if kind is types.NoneType else kind.__name__


# -- diagrams


def slave_diagram() -> str:
    """Draw the phases of a slave, with the requests and replies that lead from one to another."""
    conversation = conversations.slave_conversation
    resumption = {"returning", "resuming"}  # would double the diagram; the table has them
    groups = [group for group in grouped(conversation) if not resumption.intersection(group[0])]
    found: defaultdict[tuple[int, int], list[tuple[str, str]]] = defaultdict(list)
    for begin, (_, turns) in enumerate(groups):
        for msg, replies in turns.items():
            for reply, phase in replies.items():
                end = next(i for i, (phases, _) in enumerate(groups) if phase in phases)
                found[begin, end].append((msg, reply))
    edges = []
    for (begin, end), pairs in found.items():
        says, hears = (", ".join(dict.fromkeys(words)) for words in zip(*pairs, strict=True))
        edges.append(drawing.Edge(begin, end, f"{says} → {hears}"))
    notes = [
        "Box: phase of the slave. Arrow: request of the slave → reply of the master.",
        f"{', '.join(conversation.interruptions)} can be the reply to any request."
        f" {', '.join(conversation.farewells)} can arrive in any phase, and has no reply.",
    ]
    return drawing.states("The phases of a slave", [phases for phases, _ in groups], edges, notes)


def build_diagram() -> str:
    """Draw the messages of a build; raise :exc:`Stale` if the conversation does not allow them."""
    slave, driver, juggler = "piw-slave", "SlaveDriver", "FileJuggler"
    steps = [
        drawing.Step(slave, driver, "HELLO"),
        drawing.Step(driver, slave, "ACK 7"),
        drawing.Step(slave, driver, "IDLE"),
        drawing.Step(driver, slave, "BUILD wrapt 2.0.1"),
        drawing.Step(slave, driver, "BUSY"),
        drawing.Step(driver, slave, "CONT"),
        drawing.Step(driver, "", "... every 10 s, until it has ended"),
        drawing.Step(slave, driver, "BUILT"),
        drawing.Step(driver, slave, "SEND wrapt-2.0.1-cp311-..."),
        drawing.Step(slave, juggler, "HELLO 7"),
        drawing.Step(juggler, slave, "FETCH 0 262144"),
        drawing.Step(slave, juggler, "CHUNK 0 ..."),
        drawing.Step(driver, "", "... until the file is complete"),
        drawing.Step(juggler, slave, "DONE"),
        drawing.Step(slave, driver, "SENT"),
        drawing.Step(driver, "", "... verified, published, committed"),
        drawing.Step(driver, slave, "DONE"),
        drawing.Step(slave, driver, "IDLE"),
    ]
    _check_order(steps, slave, driver, conversations.slave_conversation)
    return drawing.sequence("The messages of a build", [slave, driver, juggler], steps)


def file_diagram() -> str:
    """Draw the messages of a transfer, with a connection that breaks."""
    sender, juggler = "piw-slave, piw-import", "FileJuggler"
    starts = [number * CHUNK_SIZE for number in range(CREDIT + 1)]
    steps = [
        drawing.Step(sender, juggler, "HELLO 7"),
        drawing.Step(juggler, sender, f"FETCH {starts[0]} {CHUNK_SIZE}"),
        drawing.Step(juggler, sender, f"FETCH {starts[1]} {CHUNK_SIZE}"),
        drawing.Step(juggler, "", f"... at most {CREDIT} unanswered"),
        drawing.Step(sender, juggler, f"CHUNK {starts[0]} ..."),
        drawing.Step(juggler, sender, f"FETCH {starts[-1]} {CHUNK_SIZE}"),
        drawing.Step(juggler, "", f"... the connection breaks, {HELLO_SECONDS:g} s of silence"),
        drawing.Step(sender, juggler, "HELLO 7"),
        drawing.Step(juggler, sender, f"FETCH {starts[1]} {CHUNK_SIZE}"),
        drawing.Step(juggler, "", "... only the missing chunks"),
        drawing.Step(sender, juggler, f"CHUNK {starts[1]} ..."),
        drawing.Step(juggler, "", "... until the file is complete"),
        drawing.Step(juggler, sender, "DONE"),
    ]
    return drawing.sequence("The transfer of a file", [sender, juggler], steps)


def import_diagram() -> str:
    """Draw two imports at once; raise :exc:`Stale` if the conversation forbids the sequence."""
    tool, chase, juggler, other = "piw-import", "MrChase", "FileJuggler", "another piw-import"
    one, two = protocols.FIRST_IMPORT + 7, protocols.FIRST_IMPORT + 4711
    steps = [
        drawing.Step(tool, chase, f"IMPORT {one}: cffi 2.1.1"),
        drawing.Step(chase, "", "... package and ABI are known"),
        drawing.Step(chase, tool, "SEND cffi-2.1.1-cp311-..."),
        drawing.Step(other, chase, f"IMPORT {two}: liar 1.0"),
        drawing.Step(chase, other, "SEND liar-1.0-py3-..."),
        drawing.Step(tool, juggler, f"HELLO {one}"),
        drawing.Step(juggler, tool, f"FETCH 0 {CHUNK_SIZE}"),
        drawing.Step(other, juggler, f"HELLO {two}"),
        drawing.Step(juggler, other, "FETCH 0 735"),
        drawing.Step(tool, juggler, "CHUNK 0 ..."),
        drawing.Step(other, juggler, "CHUNK 0 ..."),
        drawing.Step(juggler, other, "DONE"),
        drawing.Step(other, chase, "SENT"),
        drawing.Step(chase, "", "... content and name differ: undone"),
        drawing.Step(chase, other, "ERROR why"),
        drawing.Step(juggler, "", "... until the file is complete"),
        drawing.Step(juggler, tool, "DONE"),
        drawing.Step(tool, chase, "SENT"),
        drawing.Step(chase, "", "... verified, published; SEND of the next file, or commit"),
        drawing.Step(chase, tool, "DONE IMPORT"),
    ]
    for each in (tool, other):
        _check_order(steps, each, chase, conversations.tool_conversation)
    title = "Two imports, one of which is refused"
    return drawing.sequence(title, [tool, chase, juggler, other], steps)


def log_diagram() -> str:
    """Draw the path of log entries; raise :exc:`Stale` if Lumberjack's table lacks a message."""
    server, tool, jack, oracle = "web server", "piw-logger", "Lumberjack", "TheOracle"
    steps = [
        drawing.Step(server, tool, '"GET /simple/six/six-...whl HTTP/1.1" 200'),
        drawing.Step(tool, jack, "LOGDOWNLOAD"),
        drawing.Step(server, tool, '"GET /simple/six/ HTTP/1.1" 304'),
        drawing.Step(tool, jack, "LOGSEARCH"),
        drawing.Step(server, tool, '"GET /style.css HTTP/1.1" 200'),
        drawing.Step(tool, "", "... irrelevant"),
        drawing.Step(jack, "", f"... {WAIT:g} s, or {BATCH:,} rows"),
        drawing.Step(jack, oracle, "log_many: downloads"),
        drawing.Step(oracle, jack, "OK"),
        drawing.Step(jack, "", "... deletes these rows from memory"),
        drawing.Step(jack, oracle, "log_many: searches"),
        drawing.Step(oracle, jack, "OK"),
    ]
    _check_known(steps, jack, [tool], protocols.lumberjack)
    return drawing.sequence("The access log", [server, tool, jack, oracle], steps)


def _check_order(steps: list[drawing.Step], asker: str, server: str, conversation: Any) -> None:
    """Raise :exc:`Stale` if a message between *asker* and *server* violates the conversation."""
    phase, replies = next(iter(conversation.turns)), {}
    for begin, end, text in steps:
        msg = text.split()[0]
        if (begin, end) == (asker, server):
            if msg not in conversation.requests(phase):
                raise Stale(f"docs/wires.py draws {msg} in the phase {phase}, which forbids it")
            replies = conversation.replies(phase, msg)
        elif (begin, end) == (server, asker):
            if msg not in replies:
                raise Stale(f"docs/wires.py draws the reply {msg}, which the phase {phase} forbids")
            phase = replies[msg]


def _check_known(
    steps: list[drawing.Step], task: str, others: list[str], tables: protocols.Protocol
) -> None:
    """Raise :exc:`Stale` if a message between *task* and *others* is not in its *tables*."""
    for begin, end, text in steps:
        known = tables.recv if end == task and begin in others else None
        known = tables.send if begin == task and end in others else known
        if known is not None and text.split()[0] not in known:
            raise Stale(f"docs/wires.py draws {text!r}, which {task}'s table does not have")


def wiring_diagram() -> str:
    """Draw which task binds each wire, and which connect to it."""
    names = dict.fromkeys(name for wire in WIRES for name in (*wire.connects, wire.binds))
    inside = [name for name in names if name == "main" or name[:1].isupper()]
    groups = {
        "other processes": [name for name in names if name not in inside],
        "tasks of piw-master": sorted(inside, key=lambda name: name != "main"),
    }
    rows = [
        drawing.Row(f"{wire.name} ({wire.pattern})", wire.binds, wire.connects) for wire in WIRES
    ]
    notes = [
        "Square: binds the wire. Circle: connects to it. router, rpc: the connecting side sends",
        "requests. push: it sends messages without an answer. pub: the binding side publishes.",
    ]
    return drawing.board("The wires of the master", groups, rows, notes)


DIAGRAMS: Final = {
    "slave.svg": slave_diagram, "build.svg": build_diagram, "file.svg": file_diagram,
    "import.svg": import_diagram, "log.svg": log_diagram, "wiring.svg": wiring_diagram,
}  # fmt: skip
