"""A slave with an emulated system offers its target, marks it, and builds for it in its root."""

import logging
import sys
from pathlib import Path

import pytest

from piwheels.core.architectures import System
from piwheels.core.errors import Fatal
from piwheels.core.host.interpreters import Interpreter, probe
from piwheels.slave import app
from piwheels.slave.checking import problems
from piwheels.slave.config import SlaveConfig
from piwheels.slave.sandbox.choice import Choice, NoSandbox


@pytest.fixture
def sandboxes(monkeypatch, tmp_path):
    """Emulate riscv64, with this Python in place of its own; return the roots of sandboxes."""
    roots = []

    def emulated_sandbox(root, *_):
        roots.append(root)
        return Choice(NoSandbox(), [])

    foreign = Interpreter(Path(sys.executable), "319", "cp319", "linux_riscv64", tmp_path / "root")
    monkeypatch.setattr(app, "interpreters", lambda *_: [foreign])
    monkeypatch.setattr(app, "emulated_sandbox", emulated_sandbox)
    return roots


@pytest.fixture
def forbidden(sandboxes, monkeypatch):
    """Emulate a system without a sandbox; return the lines of the slave's log."""

    def refuse(*_):
        raise Fatal("no namespaces")

    monkeypatch.setattr(app, "emulated_sandbox", refuse)
    lines, handler = [], logging.Handler()  # caplog misses what is between two phases of a test
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("slave").addHandler(handler)
    yield lines
    logging.getLogger("slave").removeHandler(handler)


def test_its_offer_is_marked_and_served(sandboxes, slave, master, tmp_path):
    features = master.receive("HELLO").features
    own = probe()
    assert features["offers"] == [list(own[1:4]), ["319", "cp319", "linux_riscv64"]]
    assert features["emulated"] == ["linux_riscv64"]
    assert sandboxes == [tmp_path / "root"]
    master.say("ACK", (7, ""))
    master.receive("IDLE")
    master.say("BUILD", ("demo", "1.0", "cp319", "linux_riscv64"))
    assert master.built().status
    assert slave.worker.workshop.interpreter.root == tmp_path / "root"
    master.say("DONE")


def test_without_its_sandbox_it_is_not_offered(forbidden, slave, master, tmp_path):
    features = master.receive("HELLO").features
    assert "offers" not in features
    assert "emulated" not in features
    assert f"slave ?: not emulating {tmp_path}/root: no namespaces" in forbidden


def test_a_check_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    config = SlaveConfig(emulate=["armhf,riscv64/trixie", "armhf"])
    assert config.systems == [System("armhf"), System("riscv64", "trixie")]
    words = "there is no apt-get: install apt (Debian and derivatives)"
    found = list(problems(config))
    for name in ("armhf", "riscv64/trixie"):
        assert found.count(f"cannot emulate {name}: {words}") == 1


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("emulate", "armv7l"), ("mirror", "deb.example"), ("mirror", "http://x/ main\ndeb y"),
        ("root_package", "--force"), ("root_package", "?essential"), ("root_package", "a b"),
    ],
)  # fmt: skip
def test_odd_values_of_options_are_refused(option, text, capsys):
    with pytest.raises(SystemExit) as ended:
        app.main([f"--{option.replace('_', '-')}={text}"])
    assert ended.value.code == 2
    assert repr(text) in capsys.readouterr().err
