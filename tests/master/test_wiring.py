"""The table of wires against what the tasks really do; the map against the files."""

import re
from collections import defaultdict
from pathlib import Path

import pytest
import zmq

from piwheels.core.transport import Socket
from piwheels.master import app
from piwheels.master.app import CAST, PiWheelsMaster
from piwheels.master.wiring import WIRES

ROOT = Path(__file__).parents[2]
#: The kinds of socket that bind and connect, by a wire's pattern.
KINDS = {
    "router": (zmq.ROUTER, None),
    "rpc": (zmq.ROUTER, zmq.DEALER),
    "push": (zmq.PULL, zmq.PUSH),
    "pub": (zmq.PUB, zmq.SUB),
}


@pytest.fixture
def seen(make_config, db_dsn, monkeypatch):
    """What happens to each wire when the cast is made: (what, who, kind of socket, protocol)."""
    config, other = make_config(db_dsn), make_config(db_dsn)
    wires = {getattr(each, wire.queue): wire.queue for each in (config, other) for wire in WIRES}
    found = defaultdict(list)
    who = "nobody"

    def note(what):
        really = getattr(Socket, what)

        def noted(self, address):
            if address in wires:
                found[wires[address]].append((what, who, self._socket.type, self._protocol))
            really(self, address)

        monkeypatch.setattr(Socket, what, noted)

    note("bind")
    note("connect")
    for kind in dict.fromkeys(CAST):
        who = kind.__name__
        task = kind(config)
        task.once()
        if who == "BigBrother":
            who = "main"
            task.replay()
        task.close()
    who = "main"
    monkeypatch.setattr(app, "CAST", ())
    # Not on the wires of tasks that are just being closed: what is said there goes nowhere
    master = PiWheelsMaster(other)
    master.stop()
    assert master.main_loop() == 0
    return found


def test_tasks_bind_and_connect_what_the_table_says(seen):
    tasks = {"main", *(kind.__name__ for kind in CAST)}
    for wire in WIRES:
        events = seen[wire.queue]
        binds, connects = KINDS[wire.pattern]
        assert [(who, kind) for what, who, kind, _ in events if what == "bind"] == [
            (wire.binds, binds)
        ]
        ends = {(who, kind) for what, who, kind, _ in events if what == "connect"}
        assert ends == {(who, connects) for who in wire.connects if who in tasks}, wire.queue


def test_sockets_check_what_the_table_says(seen):
    """Questions and events that are passed on as they are get their checks elsewhere."""
    for wire in WIRES:
        for what, who, _, protocol in seen[wire.queue]:
            if protocol is not None:
                expected = wire.protocol if what == "bind" else reversed(wire.protocol)
                assert protocol == expected, (wire.queue, who)


def test_the_map_names_what_there_is():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    package = ROOT / "piwheels"
    named = {path.parent.relative_to(package) for path in package.rglob("*.py")} - {Path()}
    assert {str(path) for path in named if f"`{path}/`" not in text} == set()
    assert {kind.__name__ for kind in CAST if kind.__name__ not in text} == set()
    for name in re.findall(r"`((?:core|master|slave|up|logic|sql|tests|docs)/[A-Za-z_/.]*)", text):
        paths = [place / name for place in (ROOT, package, package / "master")]
        assert any(path.exists() or path.with_suffix(".py").exists() for path in paths), name
    [pure] = set(re.findall(r"core/\{([a-z,]+)\}", text))
    assert f"pure: {pure.replace(',', ' ')} |" in text
