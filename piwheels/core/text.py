"""Foreign text, made fit to be kept. Pure."""

from __future__ import annotations

import re
from typing import Final

#: What would break a line or a terminal, and what UTF-8 cannot say.
_UNFIT: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def clean(value: str, size: int = 200) -> str:
    """Return *value* clipped to *size* characters, and U+FFFD for each control character."""
    return _UNFIT.sub("\ufffd", value[:size])
