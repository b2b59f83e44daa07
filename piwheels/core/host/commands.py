"""Run a program of this machine for its answer."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

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
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=seconds,
        check=False,
    )
