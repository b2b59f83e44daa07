"""piw-keys creates, enrols, lists, rotates and revokes keys."""

import io
import json
import shlex
import sys
from datetime import timedelta
from functools import partial

import pytest

from piwheels import keys
from piwheels.core.keys.files import KeyFolder, read_pair
from piwheels.core.keys.ring import Role
from piwheels.core.program.command_line import load
from piwheels.slave.app import SlaveConfig


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PIW_KEYS", str(tmp_path / "keys"))
    monkeypatch.chdir(tmp_path)
    return KeyFolder(tmp_path / "keys")


@pytest.fixture
def said(folder, tool):
    return partial(tool, keys.main)


def test_a_key_is_created_on_one_machine_and_enrolled_on_another(said, folder):
    status, lines = said("create", "board7")
    assert status == 0
    assert not folder.path.exists()
    public = read_pair(folder.path.parent / "board7.key").public
    assert lines[1] == f"piw-keys enrol board7 '{public}'"
    status, lines = said("enrol", "board7", public)
    assert status == 0
    assert lines[1] == folder.pair().public
    assert [(key.name, key.role) for key in folder.ring().keys.values()] == [("board7", "slave")]


def test_a_key_that_the_administrator_makes_names_the_master(said, folder):
    file = folder.path.parent / "dave.key"
    assert said("enrol", "dave", "--role", "operate", "--file", str(file), "--valid", "1d")[0] == 0
    pair = read_pair(file)
    assert pair.master == folder.pair().public
    key = folder.ring().keys[pair.public]
    assert (key.role, (key.until - key.since).days) == (Role.OPERATE, 1)


def test_keys_are_listed_rotated_and_revoked(said, folder, monkeypatch):
    said("enrol", "board7", "--file", "a.key")
    said("enrol", "dave", "--file", "d.key", "--role", "view")
    assert said("rotate", "board7", "--file", "b.key", "--overlap", "2d")[0] == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    status, [line] = said("revoke", "dave")
    assert (status, "would revoke 1 key of dave" in line) == (1, True)
    assert said("revoke", "dave", "--yes")[0] == 0
    status, lines = said("list")
    heads = ["name", "role", "fingerprint", "enrolled", "state", "platforms", "last", "seen"]
    assert lines[0].split() == heads
    states = [line.split()[0] + " " + line.split()[4] for line in lines[1:-1]]
    assert states == ["board7 valid", "dave revoked", "board7 valid"]
    status, lines = said("list", "board7", "--json")
    assert [json.loads(line)["last_seen"] for line in lines] == [None, None]


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ([], "say what to do"),
        (["revoke"], "with whose key"),
        (["enrol", "board7"], "give the key either as KEY or by --file FILE"),
        (["enrol", "board7", "abc"], "is not a public key"),
        (["enrol", "a b", "a" * 40], "is not a name"),
        (["enrol", "board7", "a" * 40, "--platform", "aarch64"], "is not a platform, such as"),
        (["list", "--platform", "linux_aarch64"], "--platform is for"),
        (["enrol", "dave", "a" * 40, "--role", "view", "--platform", "linux_x86_64"], "of slaves"),
    ],
)
def test_mistakes_are_explained(said, args, why, capsys):
    with pytest.raises(SystemExit) as end:
        said(*args)
    assert end.value.code == 2
    assert why in capsys.readouterr().err


def test_bad_lines_of_the_ring_are_reported(said, folder, capsys):
    said("enrol", "board7", "a" * 40)
    with folder.ring_file.open("a") as file:
        file.write("nonsense\n")
    capsys.readouterr()
    said("list")
    assert said("revoke", "eve")[0] == 1


def test_the_platforms_of_a_slave_are_given_changed_and_shown(said, folder):
    said("enrol", "board7", "--file", "a.key", "--platform", "linux-aarch64")
    said("invite", "board8", "--platform", "linux_armv7l", "--platform", "linux_armv6l")
    assert [key.platforms for key in folder.ring().keys.values()] == [
        ("linux_aarch64",),
        ("linux_armv7l", "linux_armv6l"),
    ]
    status, [line] = said("platform", "board8", "--platform", "linux_riscv64")
    assert (status, line.endswith(" builds for linux_riscv64")) == (0, True)
    assert "linux_riscv64" in said("list", "board8")[1][1]
    status, [line] = said("platform", "board8", "--json")
    assert (json.loads(line)["platforms"], status) == ([], 0)
    assert "next greeting" in line
    assert said("platform", "board9")[0] == 1


def test_an_invitation_is_printed_as_a_command(said, folder):
    status, [first, command] = said("invite", "board7", "--valid", "10m")
    assert (status, first.startswith("board7 joins with this command, once, until ")) == (0, True)
    words = shlex.split(command)
    config = load("piw-slave", SlaveConfig, words[1:], {"HOME": "/nonexistent"})
    assert config.join.master == folder.pair().public
    [key] = folder.ring().keys.values()
    assert (key.role, key.public) == (Role.JOIN, config.join.public)
    assert key.until - key.since == timedelta(minutes=10)
    assert config.join.secret not in folder.ring_file.read_text()
