"""Sanitises foreign text. Pure."""

from __future__ import annotations

import re
from typing import Final

#: Characters that would break a line or a terminal, and those that UTF-8 cannot encode.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def clean(value: str, size: int = 200) -> str:
    """Return *value* cut to *size* characters, with U+FFFD in place of control characters."""
    return _UNSAFE.sub("\ufffd", value[:size])
