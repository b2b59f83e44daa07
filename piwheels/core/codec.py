"""Encodes messages as strict CBOR (RFC 8949), one frame for each, and decodes them.

A message with data is the two-element array ``[name, data]``; a message without data is the text
``name``. In addition to the standard's date and time (tag 0) there are two private tags: 2001 is a
``timedelta`` as ``[days, seconds, microseconds]``, and 2002 is :data:`NoData` nested in data.

The decoder accepts only a safe part of CBOR: no other tags, no shared references, no containers
of indefinite length, no duplicate or numeric keys, no nesting deeper than :data:`MAX_DEPTH`. It
turns any bytes either into a message or into :class:`~piwheels.core.errors.BadMessage`.
"""

from __future__ import annotations

import enum
from dataclasses import is_dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import cbor2

from piwheels.core.errors import BadMessage

#: The size limit of a frame, in bytes.
MAX_FRAME: Final = 16 * 2**20
#: The size of a frame whose content is always decoded, in bytes, and the most elements of a larger
#: one: in memory, they need up to a hundred times as much.
_PLAIN_FRAME, _MOST_ELEMENTS = 16 * 2**10, 50_000
#: The depth to which containers may be nested.
MAX_DEPTH: Final = 16

_TIMEDELTA, _NODATA = 2001, 2002


class _NoData(enum.Enum):
    """A type with one value, which type checkers can distinguish from data."""

    NODATA = "no data"

    def __repr__(self) -> str:
        return "NoData"


#: Marks a message that carries no data (``None`` is data).
NoData: Final = _NoData.NODATA


def dumps(msg: str, data: Any = NoData) -> bytes:
    """Encode the message *msg* with its *data*.

    Raises ``ValueError`` for a type that cannot be encoded, and for a frame over the limit.
    """
    frame = cbor2.dumps(msg if data is NoData else (msg, data), default=_encode)
    if len(frame) > MAX_FRAME:
        raise ValueError(
            f"{msg}: {len(frame):,} bytes exceed the size limit of a frame ({MAX_FRAME:,})"
        )
    return frame


def loads(frame: bytes) -> tuple[str, Any]:
    """Return the name and the data (:data:`NoData`: none) of the message in *frame*.

    Raises :class:`~piwheels.core.errors.BadMessage` for anything but a valid message.
    """
    if len(frame) > MAX_FRAME:
        raise BadMessage(f"frame of {len(frame):,} bytes")
    try:
        value = cbor2.loads(
            frame,
            tag_hook=_decode,
            semantic_decoders=_REFUSED,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
    except (
        ValueError,
        TypeError,
        ArithmeticError,
        LookupError,
        EOFError,
        cbor2.CBORDecodeError,
    ) as exc:
        raise BadMessage(f"not acceptable CBOR: {exc}") from exc
    match value:
        case str():
            return value, NoData
        case [str() as msg, data]:
            return msg, data
        case _:
            raise BadMessage("neither a name nor a name with data")


def name_of(frame: bytes) -> str:
    """Return the name of the message in *frame* without decoding it; ``""`` if it has none."""
    start = 1 if frame[:1] == b"\x82" else 0
    size = frame[start] - 0x60 if len(frame) > start else -1
    return frame[start + 1 : start + 1 + size].decode("ascii", "replace") if 0 < size < 24 else ""


def has_too_many(frame: bytes) -> bool:
    """Return whether *frame* has more elements than any message."""
    if len(frame) <= _PLAIN_FRAME:
        return False
    at = 0
    for _ in range(_MOST_ELEMENTS):
        if at >= len(frame):
            return False
        kind, value = divmod(frame[at], 32)
        at += 1
        if 24 <= value <= 27:
            size = 1 << (value - 24)
            value = int.from_bytes(frame[at : at + size], "big")
            at += size
        at += value if kind in (2, 3) else 0  # bytes and text
    return True


def _encode(encoder: cbor2.CBOREncoder, value: Any) -> None:
    if isinstance(value, timedelta):
        tag = cbor2.CBORTag(_TIMEDELTA, (value.days, value.seconds, value.microseconds))
        encoder.encode(tag)
    elif value is NoData:
        encoder.encode(cbor2.CBORTag(_NODATA, None))
    elif is_dataclass(value) and hasattr(value, "as_message"):
        encoder.encode(value.as_message())
    else:
        raise ValueError(f"{type(value).__name__} cannot be encoded")


def _decode(tag: cbor2.CBORTag, _immutable: bool) -> Any:
    match tag.tag, tag.value:
        case (2001, [int() as days, int() as seconds, int() as microseconds]):
            return timedelta(days, seconds, microseconds)
        case (2002, None):
            return NoData
    raise ValueError(f"tag {tag.tag} is not of this protocol")


def _refuse(*_: Any) -> Any:
    raise ValueError("a tag that is not of this protocol")


#: All tags that cbor2 decodes by default, except 0 (date and time as text).
_REFUSED: Final = dict.fromkeys(
    (
        1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000,
        55799,
    ),
    _refuse,
)  # fmt: skip


def is_aware(value: object) -> bool:
    """Return whether *value* is an aware ``datetime``: one with an offset from UTC."""
    return isinstance(value, datetime) and value.utcoffset() is not None
