"""What a rule is, and what it may ask of the log around its line. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

#: Where the line of a rule may be: anywhere; printed by pip itself, which indents the output of
#: what it runs; or among the notes of the farm at the end, which no build can write.
Where = Literal["any", "pip", "note"]

# How much a line decides. Of two equal ones, the later decides.
#: A note of the farm.
NOTE: Final = 90
#: What pip says itself about the project.
VERDICT: Final = 80
#: What is behind a missing distribution.
UNREACHABLE: Final = 78
#: pip found nothing to build.
NOTHING: Final = 75
#: The machine ran out of something: most other errors follow from that.
RESOURCE: Final = 70
#: It names the cause.
SPECIFIC: Final = 50
#: It names what may be the cause, if nothing more specific does.
LIKELY: Final = 45
#: An error of a compiler or an interpreter.
GENERAL: Final = 35
#: Says only that a command failed.
FRAME: Final = 20


class Context(NamedTuple):
    """The *log* around the line from *start* to *end*; *python* is its version, if it is known."""

    log: str
    start: int
    end: int
    python: tuple[int, int] | None

    def before(self, size: int = 600) -> str:
        """Return the text before the line."""
        return self.log[max(0, self.start - size) : self.start]

    def after(self, size: int = 400) -> str:
        """Return the text after the line."""
        return self.log[self.end : self.end + size]


#: Returns the subject for a match; ``None``: the rule does not apply.
Subject = Callable[[re.Match[str], Context], str | None]


class Rule(NamedTuple):
    """A line that decides why a build failed: one row of a table.

    *name* is also that of its example, ``tests/core/diagnosis/logs/NAME.log``. *reason* is the code
    of a class. *sign* is a text that each such line contains: it is found before *pattern* is
    tried, which makes the table fast. *subject* has ``{0}`` for the first group, or it is a
    function. *needs* is a text that the log must contain, too.
    """

    name: str
    reason: str
    sign: str
    pattern: str
    subject: str | Subject = "{0}"
    rank: int = SPECIFIC
    confidence: float = 0.9
    where: Where = "any"
    needs: str = ""
