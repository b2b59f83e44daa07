"""What a person is asked, and what is seen of long work."""

import io
import os
import pty
import sys

import pytest

from piwheels.core import terminal
from piwheels.core.errors import Fatal


@pytest.fixture
def person(monkeypatch):
    """A person at a terminal: call it with what is typed; what is seen is on standard error."""
    opened = []

    def types(text):
        master, slave = pty.openpty()
        os.write(master, text)
        opened.extend([open(slave, encoding="utf-8"), open(master, "rb", buffering=0)])  # noqa: PTH123, SIM115
        monkeypatch.setattr(sys, "stdin", opened[-2])

    yield types
    for file in opened:
        file.close()


@pytest.mark.parametrize(
    ("typed", "answer"),
    [(b"y\n", True), (b" YES \n", True), (b"n\n", False), (b"\n", False), (b"\x04", False)],
)
def test_only_yes_is_yes(person, capsys, typed, answer):
    person(typed)
    assert terminal.confirmed("remove six", yes=False) is answer
    assert "About to remove six. Go on? [y/N]" in capsys.readouterr().err


def test_yes_does_not_ask(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert terminal.confirmed("remove six", yes=True)
    assert capsys.readouterr().err == ""


def test_nobody_to_ask_is_a_sentence(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(Fatal, match="would remove six, but there is nobody to ask: give --yes"):
        terminal.confirmed("remove six", yes=False)
