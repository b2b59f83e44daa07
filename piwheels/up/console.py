"""The console in the foreground of the terminal, while piw-up continues in the background.

It is a process of its own in piw-up's process group: the terminal's signals reach both (while it
draws, Ctrl+C is a key of the console). If it is killed, piw-up restores the terminal.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.host.processes import dies_with_parent, wait_for_exit
from piwheels.core.paths import to_connect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The module of the console program.
MODULE: Final = "piwheels.console"
#: The master's sockets that a console uses.
WIRES: Final = ("status", "control", "console")
#: Seconds that a console has to end before it is killed.
STOP_LIMIT: Final = 3.0
# The signal on which it restores the terminal and ends.
_STOP_SIGNAL: Final = signal.SIGTERM
# Turns off mouse, focus, paste and size reports, the keyboard protocol and the alternate screen;
# shows the cursor (XTerm Control Sequences; the kitty keyboard protocol).
_RESET: Final = (
    "".join(f"\x1b[?{mode}l" for mode in (1000, 1002, 1003, 1004, 1006, 1015, 2004, 2048))
    + "\x1b[<u\x1b[0m\x1b[?1049l\x1b[?25h"
)


def attach_line(queues: Mapping[str, str], key: Path | None = None) -> str:
    """Return the command that attaches a console to the master that listens at *queues*.

    *key* is the file of a key, for sockets that are not private.
    """
    folder = queues["status"].rpartition("/")[0]
    # A console finds the other sockets in the folder of an ipc status queue.
    named = [name for name in WIRES if name == "status" or queues[name] != f"{folder}/{name}"]
    options = [(f"--{name}-queue", to_connect(queues[name])) for name in named]
    if key is not None and any(queues[name].startswith("tcp:") for name in WIRES):
        options.append(("--key", str(key)))
    own = Path(sys.executable).with_name("piw-console")  # in a clone, PATH does not lead to it
    program = str(own) if own.exists() and not shutil.which(own.name) else own.name
    return shlex.join([program, *itertools.chain(*options)])


def possible() -> bool:
    """Return whether piw-up has a terminal for a console, and is in its foreground."""
    try:
        return (
            os.environ.get("TERM", "dumb") != "dumb"
            and all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
            and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
        )
    except (OSError, ValueError):
        return False


def installed() -> bool:
    """Return whether the console's libraries are installed."""
    return importlib.util.find_spec("textual") is not None


class Console:
    """The console in piw-up's terminal; not open at first."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._modes: list[Any] = []

    @property
    def has_terminal(self) -> bool:
        """Whether the console uses the terminal."""
        return self._process is not None

    def open(
        self, queues: Mapping[str, str], options: Sequence[str], env: Mapping[str, str]
    ) -> None:
        """Start it, attached to the master at *queues*. Call it in the main thread only."""
        wires = [f"--{name}-queue={to_connect(queues[name])}" for name in WIRES]
        self._modes = termios.tcgetattr(sys.stdin)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # as in Processes.start
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, *wires, *options],
                env=dict(env),
                preexec_fn=dies_with_parent(_STOP_SIGNAL),  # noqa: PLW1509 (two system calls)
            )

    def ended(self) -> int | None:
        """Return the exit status once it has ended, and take the terminal back."""
        if self._process is None or (status := self._process.poll()) is None:
            self._suspend()
            return None
        self._process = None
        self._restore(killed=status < 0)
        return status

    def _suspend(self) -> None:
        """Suspend piw-up with it (Ctrl+Z), for the shell's prompt; ``fg`` resumes both."""
        stopped = os.WSTOPPED | os.WNOHANG
        if self._process is not None and os.waitid(os.P_PID, self._process.pid, stopped):
            os.kill(os.getpid(), signal.SIGSTOP)

    def close(self) -> None:
        """Stop it, if it still uses the terminal."""
        if self._process is None:
            return
        self._process.send_signal(_STOP_SIGNAL)
        if not wait_for_exit(self._process, STOP_LIMIT):
            self._process.kill()
            self._process.wait()
        self.ended()

    def _restore(self, *, killed: bool) -> None:
        """Restore the terminal's modes; reset it if the console was *killed*."""
        try:
            termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, self._modes)
        except termios.error:  # it was closed
            return
        if killed:
            sys.stderr.write(_RESET)
            sys.stderr.flush()
