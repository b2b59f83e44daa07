"""Every name of the module reference exists, with its documented parameters and attributes."""

import importlib
import inspect
import json
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import pytest

from helpers import own_config, wheel_bytes
from piwheels.core import states, transport
from piwheels.core.states import BuildState, FileState, SlaveState, TransferState
from piwheels.master.file_juggler import FileJuggler
from piwheels.master.slave_driver import SlaveDriver
from piwheels.slave.builder import Builder, Wheel

NAMES = json.loads((Path(__file__).parent / "data" / "names.json").read_text())["names"]


@pytest.mark.parametrize(
    "entry",
    NAMES,
    ids=lambda entry: f"{entry['module']}.{entry['name']}",
)
def test_documented_name(entry):
    thing = attrgetter(entry["name"])(importlib.import_module(entry["module"]))
    if entry["params"] is None or isinstance(thing, property):
        return
    parameters = inspect.signature(thing).parameters
    names = [("*" if p.kind is p.VAR_POSITIONAL else "") + p.name for p in parameters.values()]
    documented = [name for name in names if name in entry["params"]]
    assert documented == entry["params"]
    # What is beyond the documented ones can be left out.
    for name, parameter in parameters.items():
        if name not in ("self", "cls") and name not in entry["params"]:
            assert parameter.default is not parameter.empty or parameter.kind in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
            ), name


STATES = [
    entry for entry in NAMES
    if entry["module"] == "piwheels.core.states" and entry["name"].isidentifier()
]  # fmt: skip


@pytest.mark.parametrize("entry", STATES, ids=lambda entry: entry["name"])
def test_a_state_has_an_attribute_for_each_documented_parameter(entry):
    values = {name: file_state() if name == "file_state" else object() for name in entry["params"]}
    state = getattr(states, entry["name"])(**values)
    assert {name: getattr(state, name) for name in values} == values


def file_state(filename="foo-1.0-py3-none-any.whl"):
    return FileState(filename, 0, "a" * 64, "foo", "1.0", "py3", "none", "any", None, {})


def build_state(**changes):
    files = {name: file_state(name) for name in ("b-1-py3-none-any.whl", "a-1-py3-none-any.whl")}
    build = BuildState(1, "foo", "1.0", "cp311", True, timedelta(1), "log", files)
    for name, value in changes.items():
        setattr(build, name, value)
    return build


def slave_state():
    timeouts = timedelta(hours=1), timedelta(minutes=5)
    return SlaveState(b"x", *timeouts, "3.11", "cp311", "linux", "board", "Debian", "12", "", "")


def sent(build):
    for state in build.files.values():
        state.transferred = True
    return build


class Attribute(NamedTuple):
    """An attribute that the reference describes: of which object, its name, and its value."""

    of: str
    name: str
    value: object
    make: object

    def __str__(self):
        return f"{self.of}.{self.name}"


ATTRIBUTES = [
    Attribute("FileState", "location", "/simple", file_state),
    Attribute("FileState", "transferred", False, file_state),
    Attribute("BuildState", "build_id", None, build_state),
    Attribute("BuildState", "next_file", "b-1-py3-none-any.whl", build_state),
    Attribute("BuildState", "transfers_done", False, build_state),
    Attribute("BuildState", "next_file", None, lambda: sent(build_state())),
    Attribute("BuildState", "transfers_done", True, lambda: sent(build_state())),
    Attribute("SlaveState", "build", None, slave_state),
    Attribute("SlaveState", "transfer", None, slave_state),
    Attribute("SlaveState", "last_seen", None, slave_state),
    Attribute("SlaveState", "busy_timeout", timedelta(minutes=5), slave_state),
    Attribute("TransferState", "slave_id", 7, lambda: TransferState(7, file_state())),
    Attribute("TransferState", "done", True, lambda: TransferState(7, file_state())),
    Attribute("Builder", "package", "foo", lambda: Builder("foo", "1.0")),
    Attribute("Builder", "version", "1.0", lambda: Builder("foo", "1.0")),
    Attribute("Builder", "timeout", timedelta(seconds=300), lambda: Builder("foo", "1.0")),
    Attribute("Builder", "duration", timedelta(0), lambda: Builder("foo", "1.0")),
    Attribute("Builder", "output", "", lambda: Builder("foo", "1.0")),
    Attribute(
        "Builder", "index_url", "https://index.example/",
        lambda: Builder("foo", "1.0", index_url="https://index.example/"),
    ),
    Attribute(
        "Builder", "extra_index_urls", {"https://other.example/"},
        lambda: Builder("foo", "1.0", extra_index_urls={"https://other.example/"}),
    ),
]  # fmt: skip


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=str)
def test_documented_attribute(attribute):
    thing = attribute.make()
    assert type(thing).__name__ == attribute.of
    assert getattr(thing, attribute.name) == attribute.value


def test_a_slave_that_is_killed_has_the_command():
    slave = slave_state()
    slave.kill()
    assert "KILL" in slave.commands


def test_documented_attributes_of_a_wheel(tmp_path):
    path = tmp_path / "foo_bar-1.0-1-py3-none-any.whl"
    path.write_bytes(wheel_bytes("foo_bar", requires=["six", "extra; extra == 'x'"]))
    wheel = Wheel(path, {"libc6"})
    assert {
        name: getattr(wheel, name)
        for name in (
            "filename", "package_tag", "package_canon", "package_version_tag", "build_tag",
            "py_version_tag", "abi_tag", "platform_tag", "filesize", "requires_python",
        )
    } == {
        "filename": path.name, "package_tag": "foo_bar", "package_canon": "foo-bar",
        "package_version_tag": "1.0", "build_tag": "1", "py_version_tag": "py3",
        "abi_tag": "none", "platform_tag": "any", "filesize": path.stat().st_size,
        "requires_python": None,
    }  # fmt: skip
    assert len(wheel.filehash) == 64
    assert "Name: foo_bar" in str(wheel.metadata)
    assert set(wheel.pip_dependencies) == {"six"}
    assert set(wheel.apt_dependencies) == {"libc6"}
    assert set(wheel.orphan_dependencies) == set()
    assert set(wheel.dependencies["apt"]) == {"libc6"}


def test_documented_attributes_of_tasks(tmp_path):
    config = own_config(output_path=tmp_path, pypi_simple="https://x.example")
    driver, juggler = SlaveDriver(config), FileJuggler(config)
    try:
        assert driver.slaves == juggler.pending == {}
        slave, _ = driver.fleet.receive(b"x", "HELLO", HELLO, states.Instant(0.0, NOW))
        driver.do_hello(slave)
        assert driver.slaves == {b"x": slave}, "do_hello associates a slave with its address"
        driver.do_bye(slave)
        assert driver.slaves == {}, "do_bye removes it"
    finally:
        driver.close()
        juggler.close()


NOW = datetime(2026, 11, 23, tzinfo=UTC)
HELLO = states.SlaveInfo(
    timedelta(1), timedelta(1), "311", "cp311", "linux_x86_64", "board", "Debian", "12", "", ""
)


def test_documented_attributes_of_a_socket():
    with transport.Context().socket(1) as socket:
        socket.hwm = 7
        assert socket.hwm == 7
