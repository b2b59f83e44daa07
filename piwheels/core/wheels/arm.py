"""The build attributes of ARM programs (ELF for the ARM Architecture; Addenda to the ABI). Pure.

They say which instructions a program needs. They may be hostile: each step reads further ahead,
within its section, and what cannot be read proves nothing.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

#: The longest section of attributes that is read, in bytes. Linkers write less than 100.
MAX_SIZE: Final = 2**16

#: Values of each attribute by its tag: those of all parts of a program.
Attributes: TypeAlias = dict[int, set[int]]

CPU_ARCH, CPU_PROFILE, ARM_ISA, THUMB_ISA, FP_ARCH = 6, 7, 8, 9, 10
WMMX_ARCH, SIMD_ARCH, VFP_ARGS, FP_HALF, DIV_USE = 11, 12, 28, 36, 44
#: A value of VFP_ARGS: floating-point arguments are in registers of the VFP.
HARD_FLOAT: Final = 1

#: What the processors of the Raspberry Pi 1 and Zero (ARM1176: v6KZ, VFPv2) have. Of CPU_ARCH: v4
#: to v6KZ and v6K, but neither v6T2 (8: Thumb-2) nor v6-M (11, 12); of THUMB_ISA: none, Thumb-1, or
#: what CPU_ARCH has.
_ARMV6: Final = {
    CPU_ARCH: {1, 2, 3, 4, 5, 6, 7, 9},
    CPU_PROFILE: {0, ord("A"), ord("S")},
    THUMB_ISA: {0, 1, 3},
    FP_ARCH: {0, 1, 2},
    WMMX_ARCH: {0},
    SIMD_ARCH: {0},
    FP_HALF: {0},
    DIV_USE: {0, 1},
}
_NAMES: Final = {
    CPU_ARCH: "CPU_arch", CPU_PROFILE: "CPU_arch_profile", THUMB_ISA: "THUMB_ISA_use",
    FP_ARCH: "FP_arch", WMMX_ARCH: "WMMX_arch", SIMD_ARCH: "Advanced_SIMD_arch",
    FP_HALF: "FP_HP_extension", DIV_USE: "DIV_use",
}  # fmt: skip

_TEXTS: Final = frozenset({4, 5})  # the tags below 32 whose values are texts
_COMPATIBILITY: Final = 32  # its value is a number and a text
_FILE, _SYMBOL = 1, 3


def why_not_armv6(found: Attributes | None) -> str:
    """Return why a program with these attributes is not proven to run on ARMv6; ``""`` if it is."""
    if not found or CPU_ARCH not in found:
        return "no attribute in it says which ARM it is for"
    for tag, allowed in _ARMV6.items():
        if beyond := found.get(tag, set()) - allowed:
            return f"it is for a newer ARM (Tag_{_NAMES[tag]} is {min(beyond)})"
    return ""


def read_attributes(data: bytes, order: str) -> Attributes | None:
    """Return the attributes in *data*, a section; ``None`` if it is malformed.

    *order* is that of its bytes, as in :mod:`struct`.
    """
    found: Attributes = {}
    try:
        if data[:1] != b"A" or len(data) > MAX_SIZE:
            return None
        at = 1
        while at < len(data):
            part, at = _part(data, at, at, order)
            vendor, rest = _text(part, 4)
            if vendor == b"aeabi":
                _read_scopes(part, rest, order, found)
    except (struct.error, IndexError, ValueError):
        return None
    return found


def _read_scopes(data: bytes, at: int, order: str, found: Attributes) -> None:
    """Add the attributes of a whole file, and those of its sections and symbols, to *found*."""
    while at < len(data):
        scope, size_at = _number(data, at)
        if not _FILE <= scope <= _SYMBOL:
            raise ValueError
        part, following = _part(data, at, size_at, order)
        inside = size_at - at + 4
        number = scope
        while scope != _FILE and number:  # the list of sections or symbols ends with 0
            number, inside = _number(part, inside)
        while inside < len(part):
            tag, inside = _number(part, inside)
            if tag in _TEXTS or (tag > _COMPATIBILITY and tag % 2):
                _, inside = _text(part, inside)
                continue
            value, inside = _number(part, inside)
            found.setdefault(tag, set()).add(value)
            if tag == _COMPATIBILITY:
                _, inside = _text(part, inside)
        at = following


def _part(data: bytes, start: int, size_at: int, order: str) -> tuple[bytes, int]:
    """Return the part of *data* from *start* on, and its end; its size is at *size_at*."""
    (size,) = struct.unpack_from(order + "I", data, size_at)
    if start + size > len(data) or size < size_at - start + 4:
        raise ValueError
    return data[start : start + size], start + size


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return the number (ULEB128) at *at*, and where it ends."""
    value = 0
    for shift in range(0, 35, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    """Return the text at *at*, which ends with a null character, and the place behind it."""
    end = data.index(b"\0", at)
    return data[at:end], end + 1
