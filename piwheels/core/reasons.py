"""Why a build has failed, as far as its log tells: the lines that are the build's own. Pure."""

from __future__ import annotations

import re
from typing import Final

#: What pip and we ourselves say around the reason that a build gives.
_AROUND: Final = re.compile(
    "|".join(
        (
            r"piwheels: the build failed|ERROR: (Failed (building wheel|to build)|Could not build)",
            r"Failed to build|error: [a-z]+(-[a-z]+)+$|\[end of output\]|\[\d+ lines of output\]",
            r"(note|hint): |full command: |cwd: |exit code: |WARNING: |\[?notice",
            r"(Building|Preparing|Getting|Installing|Collecting|Created|Removed|Cleaning) ",
            r"Running command ",
            r"[\u00d7\u2502\u2570\u2500]",  # the lines that pip draws
            r"[-*!^~(){}\[\]|]+$",
        )
    )
)
#: How much of a log is looked at, in characters from its end.
_MOST: Final = 100_000


def last_lines(log: str, most: int) -> list[str]:
    """Return the last lines of a failed build's *log* that say something of its own.

    They are *most* at most, and follow each other; of a log that has nothing but what pip says,
    the last line.
    """
    lines = [line.rstrip() for line in log[-_MOST:].splitlines() if line.strip()]
    own = [_AROUND.match(line.strip()) is None for line in lines]
    if True not in own:
        return lines[-1:]
    end = len(own) - own[::-1].index(True)
    start = end - 1
    while start > max(0, end - most) and own[start - 1]:
        start -= 1
    return lines[start:end]


def last_reason(log: str) -> str:
    """Return the last line of a failed build's *log* that says something of its own."""
    return "".join(last_lines(log, 1)).strip() or "the log is empty"
