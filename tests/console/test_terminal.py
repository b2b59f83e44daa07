"""The console in a terminal that is closed."""

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time

import pytest

from helpers import patience


def read(terminal, wanted, seconds=30):
    """Read the output until it contains *wanted*."""
    seen, end = b"", time.monotonic() + patience(seconds)
    while wanted not in seen:
        assert time.monotonic() < end, seen[-500:]
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 65536)


@pytest.mark.parametrize("signalled", [True, False], ids=["with SIGHUP", "without SIGHUP"])
def test_the_console_ends_when_its_terminal_is_closed(signalled, short_dir):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, b"\x18\0\x50\0\0\0\0\0")  # 24 rows of 80

    def own_terminal():
        if signalled:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    command = [sys.executable, "-m", "piwheels.console"]
    command.append(f"--status-queue=ipc://{short_dir}/nobody/status")
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env=os.environ | {"TERM": "xterm-256color", "HOME": str(short_dir)},
        preexec_fn=own_terminal,  # noqa: PLW1509 (a child of one thread)
    )  # fmt: skip
    os.close(theirs)
    try:
        read(ours, b"No master answers")
        os.close(ours)
        assert process.wait(patience(30)) == 129
    finally:
        process.kill()
        process.wait()
