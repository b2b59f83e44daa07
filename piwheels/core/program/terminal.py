"""Talking with a person at the terminal: a question before a change, a bar for long work."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Final, Self

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal
from piwheels.core.words import size_text

if TYPE_CHECKING:
    from typing import IO

#: Seconds between two drawings of a bar, and between two lines where nobody watches.
_DRAW, _SAY = 0.1, 10.0
_WIDTH: Final = 30


def confirmed(what: str, *, yes: bool) -> bool:
    """Ask whether to do *what* (``"remove 3 builds"``); with *yes*, do not ask.

    Raises :exc:`~piwheels.core.errors.Fatal` if there is nobody to ask.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise Fatal(f"would {what}, but there is nobody to ask: give --yes")
    sys.stderr.write(f"About to {what}. Go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def say(text: str, *, quiet: bool) -> None:
    """Write a line about what was done to standard output; with *quiet*, do not."""
    if not quiet:
        sys.stdout.write(f"{text}\n")


class Progress:
    """How far some work has come, on standard error: *total* steps of *unit* (``bytes``: as sizes).

    On a terminal it is a bar that is redrawn, elsewhere a line now and then; with *quiet*,
    nothing. Use it as a context manager.
    """

    def __init__(
        self, total: int, unit: str, *, quiet: bool = False, stream: IO[str] | None = None
    ) -> None:
        self.total = total
        self.done = 0
        self._unit = unit
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._quiet = quiet
        self._began = self._said = SYSTEM.since_boot()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def step(self, count: int = 1, doing: str = "") -> None:
        """Note that *count* more steps are done, and what is being done now."""
        self.done += count
        now = SYSTEM.since_boot()
        if self._quiet or now - self._said < (_DRAW if self._live else _SAY):
            return
        self._said = now
        share = min(1.0, self.done / self.total) if self.total else 1.0
        left = (now - self._began) / share * (1 - share) if share else 0.0
        if self._unit == "bytes":
            amount = f"{size_text(self.done)} of {size_text(self.total)}"
        else:
            amount = f"{self.done:,} of {self.total:,} {self._unit}"
        text = f"{share:4.0%}  {amount}, {left:.0f} s left"
        if self._live:
            bar = "#" * round(share * _WIDTH)
            line = f"[{bar:<{_WIDTH}}] {text}  {doing}"
            # A line that is too long, if only by a "^C", would stay when the next one is drawn.
            self._stream.write(f"\r\x1b[K{line:.{shutil.get_terminal_size().columns - 3}}")
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def clear(self) -> None:
        """Take the bar away, so that something else can be written."""
        if self._live and not self._quiet:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
