"""Breakpoints in documented methods are reached: each message calls the method of its name."""

import json
import os
import re
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zmq

from helpers import add_source, until
from peers import Slave
from piwheels.core import codec
from piwheels.core.codec import NoData
from piwheels.core.protocols import mr_chase, slave_driver
from piwheels.core.recipes import PLAIN
from piwheels.core.states import BuildState
from piwheels.core.transport import Context
from piwheels.master.app import CAST
from piwheels.master.mr_chase import MrChase
from piwheels.master.slave_driver import SlaveDriver
from piwheels.slave import lane
from piwheels.slave.app import PiWheelsSlave, SlaveConfig

NAMES = json.loads((Path(__file__).parents[1] / "data" / "names.json").read_text())["names"]
#: Documented methods that a message, or the work that it starts, calls.
DOCUMENTED = {
    each["name"]
    for each in NAMES
    if re.search(r"\.(do_\w+|handle_\w+|new_transfer|update_build_queue)$", each["name"])
}
#: Messages without a method of the same name, with the method that handles them.
ELSEWHERE = {
    (MrChase, "SENT"): "ImportDesk.sent",
    (MrChase, "CURE"): "MrChase._begin_cures",
    (PiWheelsSlave, "HELLO"): "Lane.greet",
    (PiWheelsSlave, "REFUSED"): "Lane.check_reply",
}


@pytest.mark.parametrize(
    ("cls", "messages"),
    [
        (SlaveDriver, slave_driver.recv),
        (PiWheelsSlave, slave_driver.send),
        (MrChase, mr_chase.recv),
    ],
)
def test_each_message_has_a_method_named_after_it(cls, messages):
    named = {name for name in vars(cls) if name.startswith("do_")}
    wanted = {f"do_{msg.lower()}" for msg in messages if (cls, msg) not in ELSEWHERE}
    assert named == wanted


@pytest.fixture
def called():
    """The qualified names of the functions that new threads call, as a debugger sees them."""
    seen = set()
    threading.settrace(lambda frame, *_: seen.add(frame.f_code.co_qualname))
    yield seen
    threading.settrace(None)


@pytest.fixture
def demo(db, monkeypatch, tmp_path):
    """A folder; pip finds the sdists of demo 1.0 and 2.0 in it."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    sources = tmp_path / "sources"
    sources.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(sources))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(lane, "OUTPUT_WAIT", 0.2)  # a build may take less than two seconds
    db.add_new_package("demo")
    for version in ("1.0", "2.0"):
        add_source(sources, version=version)
        db.add_new_package_version("demo", version, datetime.now(UTC))
    return tmp_path


@pytest.fixture
def config(make_config, db_dsn, tmp_path):
    with tempfile.TemporaryDirectory(prefix="piw-") as run:
        queues = {f"{name}_queue": f"ipc://{run}/{name}" for name in ("slave", "file", "import")}
        site = {"output_path": tmp_path / "site", "pypi_simple": "https://index.example/simple"}
        yield make_config(db_dsn, dev_mode=True, **site, **queues)


@pytest.fixture
def driver(called, config, running, other_end):
    """SlaveDriver; all tasks of the master run, and their calls are recorded."""
    for name in ("events", "commands"):
        other_end(config, name)
    tasks = [cls(config) for cls in CAST]
    with running(*tasks):
        yield next(task for task in tasks if isinstance(task, SlaveDriver))


def ask(config, msg, data=NoData):
    with Context().socket(zmq.REQ, reversed(mr_chase)) as socket:
        socket.connect(config.import_queue)
        socket.send_msg(msg, data)
        assert socket.poll(30), msg
        return socket.recv_msg()


def build_with_a_slave(config, driver, called, db, work):
    """Run a slave that builds demo, waits, and ends by a command; return its ABI."""
    work.mkdir()
    queues = {"slave_queue": config.slave_queue, "file_queue": config.file_queue}
    slave = PiWheelsSlave(SlaveConfig(dir=work, **queues))
    db.add_build_abi(slave.interpreter.abi)
    thread = threading.Thread(target=slave.run)
    thread.start()
    try:
        builds = [("demo", "1.0"), ("demo", "2.0")]
        until(lambda: len(db.get_builds(builds)) == 2 and "PiWheelsSlave.do_sleep" in called, 60)
    finally:
        driver.kill_slave(slave.slave_id)
        thread.join(30)
    assert not thread.is_alive()
    return slave.interpreter.abi


def test_a_breakpoint_in_each_documented_method_is_reached(demo, config, driver, called, db):
    abi = build_with_a_slave(config, driver, called, db, demo / "work")
    released = datetime(2026, 1, 2, tzinfo=UTC)
    ask(config, "ADDPKG", ["extra", "", "", False, []])
    ask(config, "ADDVER", ["extra", "1.0", "", False, released, False, False, []])
    with Slave(config, abi=abi, output=True) as old:
        old.hello().stats("WAIT")
        old.work()
        old.stats("BUSY")
        old.say("OUTPUT", [0, "a line\n"])
        old.built(status=False)
        ask(config, "REMVER", ["extra", "1.0", False, "", False])
        ask(config, "REMPKG", ["extra", False, ""])
        old.socket.linger = 10_000  # BYE has no reply
        old.socket.send(codec.dumps("BYE", NoData))
    ask(config, "REBUILD", ["HOME"])
    ask(config, "RETRY", [released, "", True])
    ask(config, "RETRYREASON", [released, "missing-header", None, True])
    ask(config, "RETRYVERSION", ["demo", "1.0"])
    ask(config, "SETRECIPE", ["demo", PLAIN, False, True])
    ask(config, "RECIPES", "")
    ask(config, "WHY", ["demo", ""])
    ask(config, "WATCH", "demo")
    ask(config, "UNWATCH", "demo")
    ask(config, "IMPORT", BuildState(2**32, "gone", "1.0", "cp311", False, timedelta(1), "", {}))
    wanted = DOCUMENTED | {
        f"{cls.__name__}.{name}"
        for cls in (SlaveDriver, MrChase) for name in vars(cls) if name.startswith("do_")
    }  # fmt: skip
    assert len(wanted) > 30
    until(lambda: wanted <= called, 30, lambda: f"not called: {wanted - called}")
