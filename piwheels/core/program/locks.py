"""Lock files. The kernel releases a lock when the last process that holds it has ended."""

from __future__ import annotations

import fcntl
import os
import time
from typing import IO, TYPE_CHECKING

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal

if TYPE_CHECKING:
    from pathlib import Path

_PAUSE = 0.02  # seconds between two attempts


def lock_file(path: Path, patience: float, in_use: str, unwritable: str) -> IO[str]:
    """Return the open file *path*, created if it is missing, with an exclusive lock.

    A child that inherits the file holds the lock, too. *patience* is in seconds. Raises
    :exc:`~piwheels.core.errors.Fatal` with the sentence *in_use* if another process still holds
    the lock then, and with the advice *unwritable* if the file cannot be written.
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


def is_locked(path: Path) -> bool:
    """Return whether another process holds a lock on the file *path*; it need not exist."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
