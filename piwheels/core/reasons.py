"""Finds in the log of a failed build the lines that explain the failure. Pure."""

from __future__ import annotations

import re
from typing import Final

#: Lines of pip and piwheels that surround the build's own error message.
_FRAME: Final = re.compile(
    "|".join(
        (
            r"piwheels: (the build failed|asked for )",
            r"ERROR: (Failed (building wheel|to build)|Could not build)",
            r"Failed to build|error: [a-z]+(-[a-z]+)+$|\[end of output\]|\[\d+ lines of output\]",
            r"(note|hint): |full command: |cwd: |exit code: |WARNING: |\[?notice",
            r"(Building|Preparing|Getting|Installing|Collecting|Created|Removed|Cleaning) ",
            r"Running command ",
            r"[\u00d7\u2502\u2570\u2500]",  # pip's line drawing characters
            r"[-*!^~(){}\[\]|]+$",
        )
    )
)
#: How much of the end of a log is searched, in characters.
_TAIL: Final = 100_000


def last_lines(log: str, most: int) -> list[str]:
    """Return the last consecutive lines of *log* that come from the build itself, at most *most*.

    If all lines come from pip, return the last line.
    """
    lines = [line.rstrip() for line in log[-_TAIL:].splitlines() if line.strip()]
    own = [_FRAME.match(line.strip()) is None for line in lines]
    if True not in own:
        return lines[-1:]
    end = len(own) - own[::-1].index(True)
    start = end - 1
    while start > max(0, end - most) and own[start - 1]:
        start -= 1
    return lines[start:end]


def last_reason(log: str) -> str:
    """Return the last line of a failed build's *log* that comes from the build itself."""
    return "".join(last_lines(log, 1)).strip() or "the log is empty"
