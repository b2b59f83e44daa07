"""What is written for a person at the terminal."""

import io

import pytest

from piwheels.core import terminal
from piwheels.core.terminal import Progress, size


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_600, "1.0 MB"), (2 * 10**9, "2.0 GB")],
)
def test_sizes(count, text):
    assert size(count) == text


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_fits_the_terminal(monkeypatch):
    monkeypatch.setattr(terminal, "_DRAW", 0)
    monkeypatch.setenv("COLUMNS", "63")
    stream = Terminal()
    with Progress(10**8, "bytes", stream=stream) as progress:
        progress.step(5 * 10**7, "a name that is longer than any terminal is wide" * 3)
    drawn, gone = stream.getvalue().split("\r\x1b[K")[1:]
    assert drawn.startswith("[###############               ]  50%  50.0 MB of 100.0 MB")
    assert len(drawn) == 60
    assert gone == ""


def test_where_nobody_watches_there_is_a_line_now_and_then(monkeypatch):
    monkeypatch.setattr(terminal, "_SAY", 0)
    stream = io.StringIO()
    with Progress(4, "files", stream=stream) as progress:
        progress.step(1)
    assert stream.getvalue() == " 25%  1 of 4 files, 0 s left\n"
