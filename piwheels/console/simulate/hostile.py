"""Frames that no master sends, which a console must survive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import cbor2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

_THEN: Final = datetime(2026, 1, 1, tzinfo=UTC)
_INFO: Final = (
    cbor2.CBORTag(2001, [0, 10800, 0]), cbor2.CBORTag(2001, [0, 300, 0]), "311", "cp311",
    "linux_aarch64", "label", "Debian", "12", "", "",
)  # fmt: skip
_MESSAGES: Final[tuple[Any, ...]] = (
    "HELLO", "FOO", ["FOO", 1], ["SLAVE", []], ["STATS", {}], {"SLAVE": 1}, None, 2**70,
    [[[[[[]]]]]],
    ["SLAVE", [1, _THEN, "DANCE", None]],
    ["SLAVE", [-1, _THEN, "SLEEP", True]],
    ["SLAVE", [True, _THEN, "SLEEP", True]],
    ["SLAVE", [1, _THEN.isoformat(), "SLEEP", True]],
    ["SLAVE", [1, _THEN, "BUILD", ["../../etc", "1.0\n"]]],
    ["SLAVE", [1, _THEN, "SEND", "\x1b[2J.whl"]],
    ["SLAVE", [2**64, _THEN, "DIE", cbor2.CBORTag(2002, None)]],
    ["SLAVE", [1, _THEN, "HELLO", [*_INFO[:5], "\x1b]0;owned\x07", *_INFO[6:]]]],
    ["SLAVE", [1, _THEN, "HELLO", [*_INFO, {}, 1]]],
    ["SLAVE", [1, _THEN, "STATS", [_THEN, *[float("nan")] * 8]]],
    ["HELLO", [_THEN + timedelta(days=1), "x" * 201, "", "", "", ""]],
)  # fmt: skip


def frames(random: Random) -> Iterator[bytes]:
    """Yield frames forever: noise, truncated messages, and messages that break the protocol."""
    whole = [cbor2.dumps(message) for message in _MESSAGES]
    while True:
        frame = random.choice(whole)
        match random.randrange(4):
            case 0:
                yield random.randbytes(random.randrange(200))
            case 1:
                yield frame[: random.randrange(len(frame))]
            case _:
                yield frame
