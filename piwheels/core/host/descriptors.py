"""File descriptors: every connection and every open file needs one, and their number is limited."""

from __future__ import annotations

import math
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

#: The limit that a program sets for itself, if the system allows it.
WANTED: Final = 2**18
#: The share of the limit from which descriptors are nearly used up.
_CRITICAL: Final = 3 / 4


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
