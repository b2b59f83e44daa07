"""Verify that a zip archive has one reading: each reader finds the same files in it.

Some readers trust the directory at the end, others the headers of the files, which they read while
the archive arrives. The format is that of PKWARE's APPNOTE.TXT.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.errors import BadWheel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO
    from zipfile import ZipInfo

_END: Final = struct.Struct("<4s4H2LH")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
#: The values of the record at the end that mean: see the zip64 record.
_LIMITS: Final = (0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
_LOCATOR: Final = struct.Struct("<4sLQL")
_HEADER: Final = struct.Struct("<4s5H3L2H")
_SIZES_FOLLOW: Final = 0x8  # the sizes are after the content
_UTF8_NAME: Final = 0x800
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075  # fields of a file in "extra"


class _Span(NamedTuple):
    """The place of a file: *stop* is the end of its content."""

    start: int
    stop: int
    entry: ZipInfo
    sizes_follow: bool


def check_archive(file: IO[bytes], entries: Sequence[ZipInfo]) -> None:
    """Check that directory and headers agree, and that the archive contains nothing else.

    *entries* are those of its directory. Raises :exc:`~piwheels.core.errors.BadWheel`.
    """
    directory = _find_directory(file, len(entries))
    spans = sorted((_span(file, entry) for entry in entries), key=lambda span: span.start)
    if spans[0].start != 0:
        raise BadWheel("the archive has unlisted content before its first file")
    starts = [*(span.start for span in spans[1:]), directory]
    for span, following in zip(spans, starts, strict=True):
        name = span.entry.filename
        if span.stop > following:
            raise BadWheel(f"{name!r} overlaps with what follows it in the archive")
        file.seek(span.stop)
        between = file.read(min(following - span.stop, 32))
        if between not in (_descriptors(span.entry) if span.sizes_follow else (b"",)):
            raise BadWheel(f"the archive has unlisted content after {name!r}")


def _find_directory(file: IO[bytes], count: int) -> int:
    """Return where the directory of *count* files begins, by the records at the end."""
    end = file.seek(-_END.size, os.SEEK_END)
    signature, *values, _ = _END.unpack(file.read(_END.size))
    if signature != b"PK\x05\x06":
        raise BadWheel("the archive has a comment, or data after its end")
    if (record := _read_end_64(file, end)) is not None:
        end, *wide = record
        for short, value, limit in zip(values, wide, _LIMITS, strict=True):
            if short not in (value, limit):
                raise BadWheel("the two records at the end of the archive differ")
        values = wide
    disk, disk_of_directory, on_disk, files, size, start = values
    if disk or disk_of_directory or not on_disk == files == count or start + size != end:
        raise BadWheel("the record at the end of the archive differs from its directory")
    return int(start)


def _read_end_64(file: IO[bytes], end: int) -> tuple[int, ...] | None:
    """Return the place of the zip64 record before *end*, and its values; ``None``: none."""
    if end < _LOCATOR.size + _END_64.size:
        return None
    file.seek(end - _LOCATOR.size)
    signature, _, place, _ = _LOCATOR.unpack(file.read(_LOCATOR.size))
    if signature != b"PK\x06\x07":
        return None
    if place != end - _LOCATOR.size - _END_64.size:
        raise BadWheel("the archive has unlisted content before its end")
    file.seek(place)
    signature, _, _, _, *values = _END_64.unpack(file.read(_END_64.size))
    if signature != b"PK\x06\x06":
        raise BadWheel("the archive has no zip64 record where it says")
    return place, *values


def _span(file: IO[bytes], entry: ZipInfo) -> _Span:
    """Return the place of *entry*, after a comparison of its header with the directory."""
    file.seek(entry.header_offset)
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size or header[:4] != b"PK\x03\x04":
        raise BadWheel(f"{entry.filename!r} is not where the archive lists it")
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _HEADER.unpack(header)
    name = file.read(name_length)
    extra = file.read(extra_length)
    encoding = "utf-8" if flags & _UTF8_NAME else "cp437"
    if (
        name != entry.orig_filename.encode(encoding, "replace")
        or method != entry.compress_type
        or (flags ^ entry.flag_bits) & (_UTF8_NAME | _SIZES_FOLLOW)
    ):
        raise BadWheel(f"{entry.filename!r} has another header than the archive lists")
    follow = bool(flags & _SIZES_FOLLOW)
    packed, size = _wide_sizes(extra, packed, size)
    listed = (entry.CRC, entry.compress_size, entry.file_size)
    if any(
        each != right and not (follow and each == 0)
        for each, right in zip((crc, packed, size), listed, strict=True)
    ):
        raise BadWheel(f"{entry.filename!r} has another size than the archive lists")
    _check_unicode_path(entry, extra)
    _check_unicode_path(entry, entry.extra)
    start = entry.header_offset + _HEADER.size + name_length + extra_length
    return _Span(entry.header_offset, start + entry.compress_size, entry, follow)


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the kind and the content of each field in *extra*."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        yield kind, extra[4 : 4 + length]
        extra = extra[4 + length :]


def _wide_sizes(extra: bytes, packed: int, size: int) -> tuple[int, int]:
    """Return the sizes in a header: those of its zip64 field where they are too large."""
    if 0xFFFFFFFF in (packed, size):
        for kind, content in _fields(extra):
            if kind == _ZIP64 and len(content) >= 16:
                size, packed = struct.unpack_from("<QQ", content)
                break
    return packed, size


def _check_unicode_path(entry: ZipInfo, extra: bytes) -> None:
    """Check that no field gives *entry* another name, for the readers that know such fields."""
    name = entry.orig_filename.encode("utf-8", "replace")
    if any(kind == _UNICODE_PATH and content[5:] != name for kind, content in _fields(extra)):
        raise BadWheel(f"{entry.filename!r} has a second name in the archive")


def _descriptors(entry: ZipInfo) -> Iterator[bytes]:
    """Yield the forms of the record with the sizes of *entry* that may follow its content."""
    for form, limit in (("<3L", 2**32), ("<LQQ", 2**64)):
        if max(entry.compress_size, entry.file_size) < limit:
            record = struct.pack(form, entry.CRC, entry.compress_size, entry.file_size)
            yield record
            yield b"PK\x07\x08" + record
