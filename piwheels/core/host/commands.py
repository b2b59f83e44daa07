"""Run a program of this machine for its answer."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from piwheels.core.host import supervision

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def last_line(text: str) -> str:
    """Return the last line of *text* that is not blank; ``""`` if there is none."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def ask(command: Sequence[str | Path], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run *command* without input; return its exit status, its output and its errors, as text.

    Raises ``OSError`` if it cannot start, ``subprocess.TimeoutExpired`` after *seconds*.
    """
    with own_child(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        finally:
            process.kill()  # if it has not ended
            process.wait()
            supervision.forget_child(process.pid)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def own_child(command: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
    """Start *command* as ``subprocess.Popen`` does, as a child that ``kill_adopted`` leaves alone.

    Call ``supervision.forget_child`` when it has ended.
    """
    processes: list[subprocess.Popen[Any]] = []

    def start() -> int:
        processes.append(subprocess.Popen(command, **options))
        return processes[0].pid

    supervision.start_child(start)
    return processes[0]
