"""The symbols and styles of states."""

from __future__ import annotations

from typing import Final, NamedTuple

from piwheels.console.model.link import LinkState
from piwheels.console.model.slave import State


class StateSymbol(NamedTuple):
    """A state's glyph, its ASCII stand-in, and the component class that carries its colours."""

    glyph: str
    ascii: str
    style: str


STATE_SYMBOLS: Final[dict[State, StateSymbol]] = {
    State.IDLE: StateSymbol("·", ".", "state--idle"),
    State.SLEEP: StateSymbol("z", "z", "state--sleep"),
    State.BUILD: StateSymbol("▶", ">", "state--build"),
    State.SEND: StateSymbol("↑", "^", "state--send"),
    State.CLEAN: StateSymbol("✓", "v", "state--clean"),
    State.PAUSE: StateSymbol("‖", "=", "state--pause"),
    State.SILENT: StateSymbol("?", "?", "state--silent"),
    State.EXPIRED: StateSymbol("!", "!", "state--expired"),
    State.DEAD: StateSymbol("†", "x", "state--dead"),
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
    "├": "|", "└": "`",
}  # fmt: skip
