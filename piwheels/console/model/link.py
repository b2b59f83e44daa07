"""The state of the link to a master: a machine without input or output (console.md, 3.4)."""

from __future__ import annotations

from enum import StrEnum


class LinkState(StrEnum):
    """Where the link stands: the word on the status line."""

    CONNECTING = "CONNECTING"
    ATTACHING = "ATTACHING"
    REPLAYING = "REPLAYING"
    LIVE = "LIVE"
    PAUSED = "PAUSED"
    QUIET = "QUIET"
    LOST = "LOST"
    MISMATCH = "MISMATCH"
    FILE = "REPLAY"
