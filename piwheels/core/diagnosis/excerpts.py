"""The lines of a failed build's log that people should read. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from piwheels.core.text import ESCAPE

if TYPE_CHECKING:
    from piwheels.core.diagnosis.classes import Diagnosis

#: Lines of pip and piwheels that surround the build's own error message.
_FRAME: Final = re.compile(
    "|".join(
        (
            r"piwheels: (the build failed|asked for |the index does not say|only this build sees)",
            r"piwheels: (recipe: |the build requires nothing )",
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
#: How much is looked at before and after the cause, in characters, and the longest line.
_AROUND: Final = 4_000
_LONGEST: Final = 2_000


def excerpt(log: str, diagnosis: Diagnosis | None = None, most: int = 8) -> list[str]:
    """Return the lines of *log* around the cause of *diagnosis*, at most *most*, as they are.

    If there is no cause, or the log does not have it, return the last lines of the build itself.
    """
    cause = diagnosis.cause if diagnosis is not None else ""
    place = log.rfind(cause) if cause else -1
    if place < 0:
        return last_lines(log, most)
    start = log.rfind("\n", max(0, place - _LONGEST), place) + 1
    own = log[start : place + len(cause)]
    before = _readable(log[max(0, start - _AROUND) : start])
    after = _readable(log[place + len(cause) :][:_AROUND])
    later = after[: max(0, most - 1 - min(2, len(before)))]
    sooner = before[max(0, len(before) + len(later) + 1 - most) :]
    return [*sooner, ESCAPE.sub("", own).rstrip(), *later]


def _readable(text: str) -> list[str]:
    lines = (line.rstrip() for line in ESCAPE.sub("", text).split("\n"))
    return [line for line in lines if line and _FRAME.match(line.strip()) is None]


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
