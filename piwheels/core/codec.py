"""Messages to bytes and back: strict CBOR (RFC 8949), one frame a message.

A message with data is the two-element array ``[name, data]``; without data it is the bare text
``name``. Beside the standard's date and time (tag 0) there are two tags of our own: 2001 holds a
``timedelta`` as ``[days, seconds, microseconds]``, and 2002 stands for :data:`NoData` where it is
nested in data.

The decoder takes nothing that a peer could hurt us with: no other tag, no shared references, no
containers of indefinite length, no duplicate or numeric keys, no nesting deeper than
:data:`MAX_DEPTH`. Whatever the bytes are, they become a message or
:class:`~piwheels.core.errors.BadMessage`.
"""

from __future__ import annotations

import enum
from dataclasses import is_dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import cbor2

from piwheels.core.errors import BadMessage

#: The most bytes that a control frame may have.
MAX_FRAME: Final = 16 * 2**20
#: How deep containers may be nested.
MAX_DEPTH: Final = 16

_TIMEDELTA, _NODATA = 2001, 2002


class _NoData(enum.Enum):
    """A type with one value, so that type checkers can tell it from data."""

    NODATA = "no data"

    def __repr__(self) -> str:
        return "NoData"


#: Marks a message that carries no data (``None`` is data).
NoData: Final = _NoData.NODATA


def dumps(msg: str, data: Any = NoData) -> bytes:
    """Encode the message *msg* with its *data*.

    Raises ``ValueError`` for what has no place on a wire, or is larger than a frame may be.
    """
    frame = cbor2.dumps(msg if data is NoData else (msg, data), default=_encode)
    if len(frame) > MAX_FRAME:
        raise ValueError(
            f"{msg}: {len(frame):,} bytes are more than a frame may have ({MAX_FRAME:,})"
        )
    return frame


def loads(frame: bytes) -> tuple[str, Any]:
    """Decode *frame* into the message's name and its data (:data:`NoData` where there is none)."""
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
        raise BadMessage(f"not CBOR that we take: {exc}") from exc
    match value:
        case str():
            return value, NoData
        case [str() as msg, data]:
            return msg, data
        case _:
            raise BadMessage("neither a name nor a name with data")


def _encode(encoder: cbor2.CBOREncoder, value: Any) -> None:
    if isinstance(value, timedelta):
        tag = cbor2.CBORTag(_TIMEDELTA, (value.days, value.seconds, value.microseconds))
        encoder.encode(tag)
    elif value is NoData:
        encoder.encode(cbor2.CBORTag(_NODATA, None))
    elif is_dataclass(value) and hasattr(value, "as_message"):
        encoder.encode(value.as_message())
    else:
        raise ValueError(f"{type(value).__name__} has no place on a wire")


def _decode(tag: cbor2.CBORTag, _immutable: bool) -> Any:
    match tag.tag, tag.value:
        case (2001, [int() as days, int() as seconds, int() as microseconds]):
            return timedelta(days, seconds, microseconds)
        case (2002, None):
            return NoData
    raise ValueError(f"tag {tag.tag} is not of this protocol")


def _refuse(*_: Any) -> Any:
    raise ValueError("a tag that is not of this protocol")


#: Every tag that cbor2 would decode by itself, but for 0 (date and time as text).
_REFUSED: Final = dict.fromkeys(
    (
        1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000,
        55799,
    ),
    _refuse,
)  # fmt: skip


def is_aware(value: object) -> bool:
    """Whether *value* is a ``datetime`` that knows its offset from UTC."""
    return isinstance(value, datetime) and value.utcoffset() is not None
