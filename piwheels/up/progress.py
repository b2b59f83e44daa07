"""Shows the farm at work: the current build of each slave, and a log of events."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Final

from piwheels.core.words import duration_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from piwheels.core.protocols import SlaveEvent

GREEN, RED, DIM, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[0m"
#: The number of log lines to repeat after the console has released the terminal.
REPEATED_LINES: Final = 40
#: The index of the label in a slave's HELLO.
_LABEL: Final = 5


@dataclass(slots=True)
class _Slave:
    label: str
    doing: str
    since: float


class Slaves:
    """The activity of each slave, from the events of the master's status socket.

    ``now`` is in seconds of the monotonic clock.
    """

    def __init__(self) -> None:
        self._slaves: dict[int, _Slave] = {}

    def event(self, event: SlaveEvent, now: float, age: float) -> str:
        """Apply *event*, *age* seconds old; return a sentence if a build has begun, else ``""``."""
        number, _, message, data = event
        began = now - max(0.0, age)
        if message == "HELLO" and number not in self._slaves:  # the master repeats it on request
            self._slaves[number] = _Slave(data[_LABEL], "", began)
        slave = self._slaves.get(number)
        if slave is None:
            return ""
        match message:
            case "BUILD":
                doing = f"building {data[0]} {data[1]}"
                if doing != slave.doing:
                    slave.doing, slave.since = doing, began
                    return f"{slave.label}: {doing}"
            case "SEND":
                slave.doing = f"sending {data}"
            case "SLEEP" | "DONE":
                slave.doing, slave.since = "", began
            case "DIE":
                del self._slaves[number]
        return ""

    def lines(self, now: float) -> list[str]:
        """Return a line for each slave, sorted by label."""
        slaves = sorted(self._slaves.values(), key=lambda slave: slave.label)
        width = max((len(slave.label) for slave in slaves), default=0)
        return [_line(slave, width, now) for slave in slaves]


def _line(slave: _Slave, width: int, now: float) -> str:
    label = slave.label.ljust(width)
    if not slave.doing:
        return f"  {label}  idle"
    return f"  {label}  {slave.doing}  {duration_text(timedelta(seconds=now - slave.since))}"


class Screen:
    """Standard error: a log, and on a terminal a few status lines below it that are redrawn.

    It has the ``write`` and ``flush`` of a stream, so that logging can use it. With *quiet*,
    :meth:`say` writes nothing.
    """

    def __init__(self, stream: IO[str], environ: Mapping[str, str], *, quiet: bool = False) -> None:
        terminal = stream.isatty() and environ.get("TERM", "dumb") != "dumb"
        self.live = terminal and not quiet
        self.colour = terminal and not environ.get("NO_COLOR")
        self._stream = self._terminal = stream
        self._terminal_style = (self.live, self.colour)
        self._log: Path | None = None
        self._quiet = quiet
        self._wanted: list[str] = []
        self._drawn = 0

    def write(self, text: str) -> int:
        """Write *text*, whole lines, above the status lines."""
        with contextlib.suppress(OSError):  # a full disk, a closed terminal: nowhere to report it
            self._erase()
            self._stream.write(text)
            self._draw()
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        with contextlib.suppress(OSError):
            self._stream.flush()

    def say(self, text: str, colour: str = "") -> None:
        """Write a line of the log: with the time if this is not a terminal."""
        if self._quiet:
            return
        stamp = "" if self.live else time.strftime("%H:%M:%S ")
        self.write(f"{stamp}{self.paint(text, colour)}\n")
        self.flush()

    def paint(self, text: str, colour: str) -> str:
        """Return *text* in *colour*, if the stream shows colours."""
        return f"{colour}{text}{PLAIN}" if colour and self.colour else text

    def show(self, lines: Sequence[str]) -> None:
        """Redraw the status lines (on a terminal; else do nothing)."""
        if self.live and list(lines) != self._wanted:
            self._erase()
            self._wanted = list(lines)
            self._draw()

    def divert(self, log: Path) -> None:
        """Write to the file *log* from now on: the console uses the terminal."""
        self.show([])
        self._stream, self.live, self.colour = log.open("w", buffering=1), False, False
        self._log = log

    def return_to_terminal(self) -> None:
        """Write to the terminal again: first the newest lines of the file."""
        if self._log is None:
            return
        with contextlib.suppress(OSError):
            self._stream.close()
        self._stream, (self.live, self.colour) = self._terminal, self._terminal_style
        lines = self._log.read_text(errors="replace").splitlines(keepends=True)
        if len(lines) > REPEATED_LINES:
            self.say(f"(the earlier lines are in {self._log})")
        self.write("".join(lines[-REPEATED_LINES:]))
        self._log = None

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        if not self._wanted:
            return
        columns, rows = shutil.get_terminal_size(_terminal_size(self._stream))
        lines = self._wanted[-max(1, rows - 1) :]  # lines that scroll away cannot be erased
        for line in lines:
            self._stream.write(self.paint(line[: columns - 1], DIM) + "\n")
        self._drawn = len(lines)
        self._stream.flush()


def _terminal_size(stream: IO[str]) -> tuple[int, int]:
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except OSError:
        columns = rows = 0
    return columns or 80, rows or 24
