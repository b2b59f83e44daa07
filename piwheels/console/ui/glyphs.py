"""The symbols and styles of states."""

from __future__ import annotations

from typing import Final, NamedTuple

from piwheels.console.model.link import LinkState
from piwheels.console.model.slave import State


class Look(NamedTuple):
    """A state's glyph, its ASCII stand-in, and the component class that carries its colours."""

    glyph: str
    ascii: str
    style: str


LOOKS: Final[dict[State, Look]] = {
    State.IDLE: Look("·", ".", "state--idle"),
    State.SLEEP: Look("z", "z", "state--sleep"),
    State.BUILD: Look("▶", ">", "state--build"),
    State.SEND: Look("↑", "^", "state--send"),
    State.CLEAN: Look("✓", "v", "state--clean"),
    State.PAUSE: Look("‖", "=", "state--pause"),
    State.SILENT: Look("?", "?", "state--silent"),
    State.EXPIRED: Look("!", "!", "state--expired"),
    State.DEAD: Look("†", "x", "state--dead"),
}

#: The link's glyph (its stand-in is in SYMBOLS) and the class that carries its colours.
LINKS: Final[dict[LinkState, tuple[str, str]]] = {
    LinkState.CONNECTING: ("○", "tone--warn"),
    LinkState.ATTACHING: ("◐", "tone--accent"),
    LinkState.REPLAYING: ("◐", "tone--accent"),
    LinkState.LIVE: ("●", "tone--good"),
    LinkState.PAUSED: ("‖", "tone--warn"),
    LinkState.QUIET: ("◔", "tone--warn"),
    LinkState.LOST: ("✗", ""),
    LinkState.MISMATCH: ("⚠", "tone--bad"),
    LinkState.FILE: ("▶", ""),
}

#: Other symbols, with their stand-ins in ASCII.
SYMBOLS: Final[dict[str, str]] = {
    "▲": "!", "●": "*", "○": "o", "◐": "o", "◔": "o", "✗": "x", "✓": "v", "⚠": "!", "‖": "=",
    "│": "|", "»": ">", "…": "...", "→": "->", "▌": ">", "†": "x", "█": "#", "░": ".", "›": ">",
    "▶": ">", "↑": "^", "↓": "v", "·": ".", "×": "x", "–": "-", "↻": "@", "°": "",
}  # fmt: skip
