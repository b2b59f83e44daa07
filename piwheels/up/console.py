"""The console in the foreground of our terminal, while we go on behind it.

It is a process of its own, in our process group: the terminal's signals reach both (it turns
Ctrl+C into a key while it draws), and what it leaves behind when it is killed is put right here.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shlex
import signal
import subprocess
import sys
import termios
import warnings
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.host.processes import dies_with_parent
from piwheels.up.config import to_connect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The program.
MODULE: Final = "piwheels.console"
#: The master's sockets that a console uses.
WIRES: Final = ("status", "control", "console")
#: Seconds that a console has to end, before it is killed.
FAREWELL: Final = 3.0
# On which it puts the terminal right before it ends.
_LEAVE: Final = signal.SIGTERM
# Off: mouse, focus, paste and size reports, the keyboard's protocol, the alternate screen; on: the
# cursor (XTerm Control Sequences; the kitty keyboard protocol).
_SANE: Final = (
    "".join(f"\x1b[?{mode}l" for mode in (1000, 1002, 1003, 1004, 1006, 1015, 2004, 2048))
    + "\x1b[<u\x1b[0m\x1b[?1049l\x1b[?25h"
)


def attach_line(queues: Mapping[str, str]) -> str:
    """Return the command that attaches a console to the master that listens at *queues*."""
    beside = queues["status"].rpartition("/")[0]
    # A console finds what lies beside an ipc status queue.
    told = [name for name in WIRES if name == "status" or queues[name] != f"{beside}/{name}"]
    options = [(f"--{name}-queue", to_connect(queues[name])) for name in told]
    return shlex.join(["piw-console", *itertools.chain(*options)])


def possible() -> bool:
    """Tell whether we have a terminal to open a console in, and are in its foreground."""
    try:
        return (
            os.environ.get("TERM", "dumb") != "dumb"
            and all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
            and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
        )
    except (OSError, ValueError):
        return False


def installed() -> bool:
    """Tell whether what the console draws with is there."""
    return importlib.util.find_spec("textual") is not None


class Console:
    """A console in our terminal; none yet."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._modes: list[Any] = []

    @property
    def has_terminal(self) -> bool:
        """Whether the terminal is the console's."""
        return self._process is not None

    def open(
        self, queues: Mapping[str, str], options: Sequence[str], env: Mapping[str, str]
    ) -> None:
        """Start it, attached to the master that listens at *queues*. Only in the main thread."""
        wires = [f"--{name}-queue={to_connect(queues[name])}" for name in WIRES]
        self._modes = termios.tcgetattr(sys.stdin)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # as in Farm.start
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, *wires, *options],
                env=dict(env),
                preexec_fn=dies_with_parent(_LEAVE),  # noqa: PLW1509 (two system calls)
            )

    def ended(self) -> int | None:
        """Return the exit status once it has ended; the terminal is ours again then."""
        if self._process is None or (status := self._process.poll()) is None:
            self._suspend()
            return None
        self._process = None
        self._restore(killed=status < 0)
        return status

    def _suspend(self) -> None:
        """Stop with it (Ctrl+Z), so that the shell has the terminal; its ``fg`` wakes us both."""
        stopped = os.WSTOPPED | os.WNOHANG
        if self._process is not None and os.waitid(os.P_PID, self._process.pid, stopped):
            os.kill(os.getpid(), signal.SIGSTOP)

    def close(self) -> None:
        """End it, if it still has the terminal."""
        if self._process is None:
            return
        self._process.send_signal(_LEAVE)
        try:
            self._process.wait(FAREWELL)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.ended()

    def _restore(self, *, killed: bool) -> None:
        """Make the terminal what it was before."""
        try:
            termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, self._modes)
        except termios.error:  # it is gone
            return
        if killed:
            sys.stderr.write(_SANE)
            sys.stderr.flush()
