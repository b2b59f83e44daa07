"""Interaction at the terminal: questions before changes, and progress bars."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Final, Self

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal
from piwheels.core.words import size_text

if TYPE_CHECKING:
    from typing import IO

#: Seconds between two updates: of a bar on a terminal, and between lines elsewhere.
_BAR_INTERVAL, _LINE_INTERVAL = 0.1, 10.0
#: The width of a bar, in columns.
_WIDTH: Final = 30


def confirmed(what: str, *, yes: bool) -> bool:
    """Ask whether to do *what* (``"remove 3 builds"``), and return the answer.

    With *yes*, it is ``True`` without a question. Raises :exc:`~piwheels.core.errors.Fatal` if
    standard input is not a terminal.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise Fatal(f"would {what}, but there is nobody to ask: give --yes")
    sys.stderr.write(f"About to {what}. Continue? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


class Progress:
    """The progress of some work, on standard error: *total* steps of *unit*.

    On a terminal it is a bar, elsewhere a line every ten seconds, with *quiet* nothing. Steps of
    the unit ``bytes`` appear as sizes. Use it as a context manager.
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
        self._began = self._updated = SYSTEM.since_boot()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def step(self, count: int = 1, doing: str = "") -> None:
        """Count *count* more steps; *doing* names the current step."""
        self.done += count
        now = SYSTEM.since_boot()
        if self._quiet or now - self._updated < (_BAR_INTERVAL if self._live else _LINE_INTERVAL):
            return
        self._updated = now
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
            # A line that wraps, if only by a "^C", could not be overwritten.
            self._stream.write(f"\r\x1b[K{line:.{shutil.get_terminal_size().columns - 3}}")
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def clear(self) -> None:
        """Erase the bar, so that other output can follow."""
        if self._live and not self._quiet:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
