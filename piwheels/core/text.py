"""Sanitises foreign text. Pure.

The character classes that our programs refuse or replace are declared here, once.
"""

from __future__ import annotations

import re
from typing import Final

#: Control characters but line ends and tabs (C0, DEL, C1): a terminal obeys them.
_OBEYED: Final = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
#: Characters that end a line, and tabs.
_LAYOUT: Final = r"\t\n\r\u2028\u2029"
#: Halves of a character, which UTF-8 cannot encode.
_SURROGATES: Final = r"\ud800-\udfff"

#: Escape sequences of terminals (ECMA-48): control sequences, control strings that end on their
#: line, others. Each alternative is linear in the length of the text.
ESCAPE: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)"
    r"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"
)
#: What a text of one line never has.
CONTROL: Final = re.compile(f"[{_OBEYED}{_LAYOUT}]")
#: What a text of several lines never has.
CONTROL_IN_LINES: Final = re.compile(f"[{_OBEYED}]")
#: The replacement of an invalid character.
MARK: Final = "\N{REPLACEMENT CHARACTER}"
_INVALID: Final = re.compile(f"[{_OBEYED}{_LAYOUT}{_SURROGATES}]")
_INVALID_IN_LINES: Final = re.compile(f"[{_OBEYED}{_SURROGATES}]")


def clean(value: str, size: int = 200) -> str:
    """Return *value* as one line of at most *size* characters, U+FFFD for each invalid one."""
    return _INVALID.sub(MARK, value[:size])


def clean_lines(value: str, size: int) -> str:
    """Return *value* cut to *size* characters as :func:`clean` does; line ends and tabs stay."""
    return _INVALID_IN_LINES.sub(MARK, value[:size])


def shortened(text: str, most: int) -> str:
    """Return *text*; of more than *most* characters, about so many of its beginning and its end."""
    if len(text) <= most:
        return text
    left_out = f"\n... piwheels: {len(text) - most:,} characters are left out ...\n"
    return f"{text[: most // 2]}{left_out}{text[-(most // 2) :]}"
