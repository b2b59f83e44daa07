"""File descriptors: every connection and every open file needs one, and their number is limited.

Without any left, files cannot be opened, and 0MQ ends the process when the next client connects to
an ``ipc://`` address on which it listens.
"""

from __future__ import annotations

import math
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piwheels.core.errors import should_log

if TYPE_CHECKING:
    import logging

#: The limit that a program sets for itself, if the system allows it.
WANTED: Final = 2**16
#: The shares of the limit from which descriptors are scarce, and from which they are nearly used
#: up; the share from which the connections of one ``tcp`` address are then too many.
_SCARCE, _CRITICAL, _TOO_MANY = 5 / 8, 3 / 4, 1 / 16
#: The share of the limit that the local connections to one address may number. Each needs three
#: descriptors: all seven addresses together stay below :data:`_SCARCE`.
_LOCAL: Final = 1 / 50
#: The longest interval of checks, in seconds; connections per second that it is made for.
_INTERVAL, _RATE = 0.25, 80_000


def raise_limit() -> None:
    """Raise the limit of this process as far as the system allows, up to :data:`WANTED`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit() -> float:
    """Return the number of descriptors that this process may have open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return math.inf if soft == resource.RLIM_INFINITY else soft


def check_interval() -> float:
    """Return how often to look whether descriptors are scarce, in seconds.

    The lower the limit, the sooner a flood of connections reaches it.
    """
    return max(0.01, min(_INTERVAL, limit() / _RATE))


def are_scarce() -> bool:
    """Return whether this process has too few descriptors left."""
    return _in_use() > limit() * _SCARCE


def are_critical() -> bool:
    """Return whether this process has hardly any descriptors left."""
    return _in_use() > limit() * _CRITICAL


def _in_use() -> float:
    try:
        folder = Path("/proc/self/fd")
        # Linux 6.2 and later report the number as the size.
        return folder.stat().st_size or len(list(folder.iterdir()))
    except OSError:  # not one is left for the folder
        return math.inf


def most_local_connections() -> float:
    """Return how many local connections an address may have."""
    return limit() * _LOCAL


def has_too_many(address: str) -> bool:
    """Return whether the ``tcp`` *address* has most of the connections."""
    try:
        return connections(address) > limit() * _TOO_MANY
    except OSError:
        return True


def report_too_many(logger: logging.Logger, address: str, times: int) -> None:
    """Log that the connections to *address* were closed for the *times*-th time, not each time."""
    if should_log(times):
        logger.error(
            "too many connections to %s: closed all of them (%d times so far); find the"
            " program that opens them, or raise the limit of open files (ulimit -n,"
            " LimitNOFILE)",
            address, times,
        )  # fmt: skip


def connections(address: str) -> int:
    """Return the number of connections to the ``tcp`` *address*, where this machine listens."""
    end = f":{int(address.rpartition(':')[2]):04X}"
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    rows = [
        row.split() for each in tables if each.exists() for row in each.read_text().splitlines()
    ]
    return sum(row[1].endswith(end) and row[3] == "01" for row in rows)  # 01: established
