"""Questions and progress bars in a terminal."""

import io
import os
import pty
import sys

import pytest

from piwheels.core.errors import Fatal
from piwheels.core.program import terminal
from piwheels.core.program.terminal import Progress


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
    assert "About to remove six. Continue? [y/N]" in capsys.readouterr().err


def test_yes_does_not_ask(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert terminal.confirmed("remove six", yes=True)
    assert capsys.readouterr().err == ""


def test_a_question_without_a_terminal_is_an_error_sentence(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(Fatal, match="would remove six, but there is nobody to ask: give --yes"):
        terminal.confirmed("remove six", yes=False)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_fits_the_terminal(monkeypatch):
    monkeypatch.setattr(terminal, "_BAR_INTERVAL", 0)
    monkeypatch.setenv("COLUMNS", "63")
    stream = Terminal()
    with Progress(10**8, "bytes", stream=stream) as progress:
        progress.step(5 * 10**7, "a name that is longer than any terminal is wide" * 3)
    drawn, gone = stream.getvalue().split("\r\x1b[K")[1:]
    assert drawn.startswith("[###############               ]  50%  50.0 MB of 100.0 MB")
    assert len(drawn) == 60
    assert gone == ""


def test_progress_without_a_terminal_is_an_occasional_line(monkeypatch):
    monkeypatch.setattr(terminal, "_LINE_INTERVAL", 0)
    stream = io.StringIO()
    with Progress(4, "files", stream=stream) as progress:
        progress.step(1)
    assert stream.getvalue() == " 25%  1 of 4 files, 0 s left\n"
