"""File descriptors: every connection and every open file needs one, and their number is limited.

Without any left, files cannot be opened, and 0MQ ends the process when the next client connects to
an ``ipc://`` address.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

#: The limit that a program sets for itself, if the system allows it.
WANTED: Final = 2**16
#: The share of the limit from which descriptors are scarce; the share from which the connections of
#: one address are then too many. All addresses of a master together stay below the former.
_SCARCE, _TOO_MANY = 1 / 2, 1 / 16


def raise_limit() -> None:
    """Raise the limit of this process as far as the system allows, up to :data:`WANTED`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def are_scarce() -> bool:
    """Return whether this process has too few descriptors left."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return False
    try:
        return len(os.listdir("/proc/self/fd")) > limit * _SCARCE  # noqa: PTH208 (only the number)
    except OSError:  # not one is left for the folder
        return True


def has_too_many(address: str) -> bool:
    """Return whether the 0MQ *address*, ``ipc`` or ``tcp``, has most of the connections."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        return connections(address) > limit * _TOO_MANY
    except OSError:
        return True


def connections(address: str) -> int:
    """Return the number of connections to *address*, where a program of this machine listens."""
    kind, _, place = address.partition("://")
    if kind == "ipc":
        lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()
        return sum(line.endswith(f" {place}") for line in lines) - 1  # one is the listener's
    end = f":{int(place.rpartition(':')[2]):04X}"
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    rows = [
        row.split() for each in tables if each.exists() for row in each.read_text().splitlines()
    ]
    return sum(row[1].endswith(end) and row[3] == "01" for row in rows)  # 01: established
