"""Locks that are files: the kernel gives them up when the last process that has them is gone."""

from __future__ import annotations

import fcntl
import time
from typing import IO, TYPE_CHECKING

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal

if TYPE_CHECKING:
    from pathlib import Path

_PAUSE = 0.02  # seconds between two tries


def lock_file(path: Path, patience: float, in_use: str, unwritable: str) -> IO[str]:
    """Return the file *path* (made if it is missing), locked for this process alone.

    A child that inherits the file has the lock, too. Raises :exc:`~piwheels.core.errors.Fatal` if
    somebody else still has it after *patience* seconds (*in_use* says so), or if it cannot be
    written, with what to do about it (*unwritable*).
    """
    try:
        lock = path.open("a")
    except OSError as exc:
        raise Fatal(f"cannot write {path} ({exc.strerror}): {unwritable}") from None
    deadline = SYSTEM.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if SYSTEM.monotonic() < deadline:
                time.sleep(_PAUSE)
                continue
            lock.close()
            raise Fatal(in_use) from None
        return lock
