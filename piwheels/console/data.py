"""Conversion to plain data for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any


def plain(value: Any) -> Any:
    """Return *value* as JSON has it: times as ISO 8601, durations in seconds, states as maps."""
    match value:
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case tuple() if hasattr(value, "_asdict"):
            return {key: plain(each) for key, each in value._asdict().items()}
        case Mapping():
            return {key: plain(each) for key, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
        case float() if value - value != 0:  # NaN and infinities
            return None
    return value
