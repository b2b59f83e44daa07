"""Checks that tasks use wires as the table declares, and that ARCHITECTURE.md matches the files."""

import ast
import inspect
import re
import typing
from collections import defaultdict
from dataclasses import is_dataclass
from pathlib import Path

import pytest
import zmq

from helpers import LOGGER, own_config
from piwheels.master import messages
from piwheels.master.app import CAST
from piwheels.master.messages import Message
from piwheels.master.ports import SOCKET_TYPES, Ports, open_socket
from piwheels.master.wiring import WIRES, MasterConfig

ROOT = Path(__file__).parents[2]
MASTER = ROOT / "piwheels/master"
#: Further files with code of a task, and the name of the task.
PARTS = {"importing.py": "MrChase", "app.py": "main"}
#: Classes that use the ports of their owner, and the wire that they use.
CLIENTS = {"DbClient": "database", "FsClient": "files"}
METHODS = {"serve", "socket", "push", "ask", "call", "finish", "_request"}


def owner_of(path):
    """Return the name of the task that *path* belongs to, or None."""
    tasks = {Path(inspect.getfile(cls)): cls.__name__ for cls in CAST}
    return tasks.get(path) or PARTS.get(path.name)


def uses(path):
    """Yield the method and the wire of each use of a wire in *path*."""
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if getattr(node, "name", "") not in CLIENTS]
    loops = {
        node.target.id: [each.value for each in node.iter.elts]
        for node in ast.walk(tree)
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name)
        and isinstance(node.iter, ast.Tuple)
        and all(isinstance(each, ast.Constant) for each in node.iter.elts)
    }  # fmt: skip
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr == "_handlers":  # of main
            yield from ((node.func.attr, each.name) for each in WIRES if each.binds == "main")
        if isinstance(node.func, ast.Name) and node.func.id in CLIENTS:
            yield "ask", CLIENTS[node.func.id]
        if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            match node.args[0]:
                case ast.Constant(str() as wire):
                    yield node.func.attr, wire
                case ast.Name(name) if name in loops:
                    for wire in loops[name]:
                        yield node.func.attr, wire


def test_tasks_use_the_wires_that_the_table_assigns_to_them():
    found = defaultdict(set)
    for path in MASTER.glob("*.py"):
        owner = owner_of(path)
        for _, wire in uses(path) if owner else ():
            found[wire].add(owner)
    tasks = {"main", *(cls.__name__ for cls in CAST)}
    assert found == {wire.name: {wire.binds, *wire.connects} & tasks for wire in WIRES}


def test_a_handler_takes_the_messages_of_its_wire():
    """The annotation of each handler names the messages in the table."""
    seen = set()
    for cls in dict.fromkeys(CAST):
        for method, wire in re.findall(
            r"ports\.serve\(\s*\"(\w+)\",\s*self\.(\w+)", inspect.getsource(cls)
        ):
            row = next(each for each in WIRES if each.name == method)
            if row.messages:
                hint = inspect.signature(getattr(cls, wire)).parameters["queue"].annotation
                inner = re.fullmatch(r"Inbox\[(\w+)\]", hint)[1]
                type_ = getattr(messages, inner)
                assert set(typing.get_args(type_) or (type_,)) == set(row.messages), method
                seen.add(method)
    read_by_main = {"commands"}  # the main loop reads it without a handler
    assert seen == {wire.name for wire in WIRES if wire.messages} - read_by_main


def test_every_message_has_a_wire():
    carried = {message for wire in WIRES for message in wire.messages}
    classes = [value for value in vars(messages).values() if isinstance(value, type)]
    declared = {cls for cls in classes if issubclass(cls, Message) and is_dataclass(cls)}
    assert carried == declared


def test_each_task_gets_its_sockets_from_the_table(make_config, monkeypatch, db_dsn):
    config = make_config(db_dsn)
    made = {}
    create = Ports.__init__

    def recording_init(self, owner, *args, **more):
        create(self, owner, *args, **more)
        made[owner] = {
            name: (socket._socket.type, socket.address) for name, socket in self._sockets.items()
        }

    monkeypatch.setattr(Ports, "__init__", recording_init)
    for cls in dict.fromkeys(CAST):
        cls(config).close()
        expected = {
            wire.name: (
                SOCKET_TYPES[wire.pattern][wire.binds != cls.__name__], wire.address(config),
            )
            for wire in WIRES if cls.__name__ in (wire.binds, *wire.connects)
        }  # fmt: skip
        assert made.get(cls.__name__, {}) == expected


def test_a_task_starts_after_the_tasks_that_answer_it():
    """Tasks end in the opposite sequence, so that their last requests are answered."""
    start = {cls.__name__: at for at, cls in enumerate(CAST)}
    late = {
        f"{name} asks {wire.binds}"
        for wire in WIRES if wire.pattern == "rpc"
        for name in wire.connects if start[name] <= start[wire.binds]
    }  # fmt: skip
    assert late == set()


def test_addresses_are_options_only_for_wires_to_other_programs():
    tasks = {"main", *(cls.__name__ for cls in CAST)}
    options = {name for name in vars(MasterConfig()) if name.endswith("_queue")}
    outside = {f"{wire.name}_queue" for wire in WIRES if not tasks >= {wire.binds, *wire.connects}}
    assert options == outside | {"keyless_slave_queue", "keyless_file_queue"}


def test_the_architecture_document_matches_the_files():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    package = ROOT / "piwheels"
    named = {path.parent.relative_to(package) for path in package.rglob("*.py")} - {Path()}
    assert {str(path) for path in named if f"`{path}/`" not in text} == set()
    assert {cls.__name__ for cls in CAST if cls.__name__ not in text} == set()
    for name in re.findall(r"`((?:core|master|slave|up|logic|sql|tests|docs)/[A-Za-z_/.]*)", text):
        paths = [place / name for place in (ROOT, package, package / "master")]
        assert any(path.exists() or path.with_suffix(".py").exists() for path in paths), name
    [pure] = set(re.findall(r"core/\{([a-z,]+)\}", text))
    assert f"pure: {pure.replace(',', ' ')} |" in text


@pytest.mark.parametrize("bind", [True, False])
@pytest.mark.parametrize("each", WIRES, ids=lambda each: each.name)
def test_no_socket_has_heartbeats_and_each_notices_a_lost_machine(each, bind):
    # A heartbeat that is due while a socket reads nothing, as its queue is full, ends the process.
    with open_socket(each, own_config(), LOGGER, bind=bind) as socket:
        assert socket._socket.getsockopt(zmq.HEARTBEAT_IVL) == 0
        assert socket._socket.getsockopt(zmq.TCP_KEEPALIVE) == 1
        assert socket._socket.getsockopt(zmq.TCP_MAXRT) > 0
