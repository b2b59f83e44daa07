"""Shows the farm at work: the current build of each slave, and a log of events."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from piwheels.core.text import clean_lines
from piwheels.core.words import duration_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from piwheels.core.protocols import SlaveEvent

#: The colours of lines, as rich names them.
GREEN, RED = "green", "red"
#: The longest text of one call, in characters.
MAX_TEXT: Final = 100_000
#: The number of log lines to repeat after the console has released the terminal.
REPEATED_LINES: Final = 40
#: The index of the label in a slave's HELLO.
_LABEL: Final = 5


@dataclass(slots=True)
class _Slave:
    label: str
    doing: str
    since: float


#: What a slave does to which the master gives no work, by itself or for an operator.
_PAUSED: Final = "paused: log/master.log says why"


class Slaves:
    """The activity of each slave, from the events of the master's status socket.

    ``now`` is in seconds of the monotonic clock.
    """

    def __init__(self) -> None:
        self._slaves: dict[int, _Slave] = {}

    def event(self, event: SlaveEvent, now: float, age: float) -> str:
        """Apply *event*, *age* seconds old; return a sentence about a new build or pause."""
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
            case "SLEEP" if data:
                if slave.doing != _PAUSED:
                    slave.doing, slave.since = _PAUSED, began
                    return f"{slave.label}: {_PAUSED}"
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
        # None: it shows no status lines.
        self._console = self._own = _console(stream, environ) if terminal and not quiet else None
        self._stream = self._terminal = stream
        self._log: Path | None = None
        self._quiet = quiet
        self._wanted: list[str] = []
        self._live: Live | None = None

    @property
    def live(self) -> bool:
        """Whether it shows status lines."""
        return self._console is not None

    def write(self, text: str) -> int:
        """Write *text*, whole lines, above the status lines."""
        self._print(text.removesuffix("\n"))
        return len(text)

    def flush(self) -> None:
        """Do nothing: nothing waits."""

    def say(self, text: str, colour: str = "") -> None:
        """Write a line of the log: with the time if this is not a terminal."""
        if not self._quiet:
            stamp = "" if self.live else time.strftime("%H:%M:%S ")
            self._print(f"{stamp}{text}", colour)

    def _print(self, text: str, colour: str = "") -> None:
        text = clean_lines(text, MAX_TEXT)  # it may contain the output of a build
        with contextlib.suppress(OSError):  # a full disk, a closed terminal: nowhere to report it
            if self._console is not None:
                self._console.print(Text(text, colour), soft_wrap=True)
            else:
                self._stream.write(f"{text}\n")
                self._stream.flush()

    def show(self, lines: Sequence[str]) -> None:
        """Redraw the status lines (on a terminal; else do nothing).

        Without any, the terminal has none left when this returns.
        """
        if self._console is None or list(lines) == self._wanted:
            return
        self._wanted = list(lines)
        with contextlib.suppress(OSError):
            if not lines:
                self._end_live()
                return
            if self._live is None:
                self._live = Live(
                    console=self._console, auto_refresh=False, transient=True,
                    redirect_stdout=False, redirect_stderr=False,
                )  # fmt: skip
                self._live.start()
                self._console.show_cursor()  # a kill -9 must not leave it hidden
            # Lines that scroll away could not be erased.
            shown = lines[-max(1, self._console.height - 1) :]
            style: dict[str, Any] = {"style": "dim", "no_wrap": True, "overflow": "ellipsis"}
            self._live.update(Group(*(Text(line, **style) for line in shown)), refresh=True)

    def _end_live(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def divert(self, log: Path) -> None:
        """Write to the file *log* from now on: the console uses the terminal."""
        self.show([])
        log.write_text("")
        # Appending, since it may be truncated when it is long.
        self._stream = log.open("a", buffering=1, errors="backslashreplace")
        self._console = None
        self._log = log

    def return_to_terminal(self) -> None:
        """Write to the terminal again: first the newest lines of the file."""
        if self._log is None:
            return
        with contextlib.suppress(OSError):
            self._stream.close()
        self._stream, self._console = self._terminal, self._own
        lines: list[str] = []
        with contextlib.suppress(OSError):  # somebody has removed it
            lines = self._log.read_text(errors="replace").splitlines(keepends=True)
        if len(lines) > REPEATED_LINES:
            self.say(f"(the earlier lines are in {self._log})")
        if lines:
            self.write("".join(lines[-REPEATED_LINES:]))
        self._log = None


def _console(stream: IO[str], environ: Mapping[str, str]) -> Console:
    """Return a console for the terminal *stream*."""
    colours: Literal["auto"] | None = None if environ.get("NO_COLOR") else "auto"
    return Console(
        file=stream, force_terminal=True, force_interactive=True, color_system=colours,
        legacy_windows=False, _environ=environ,
    )  # fmt: skip
