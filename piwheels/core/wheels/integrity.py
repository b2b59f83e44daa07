"""Verify the whole content of an untrusted wheel, before it is published.

:mod:`~piwheels.core.wheels.inspection` reads what a wheel says of itself. This module verifies
that installers find exactly that: the archive has one reading, ``RECORD`` lists every file with its
hash (PEP 376, PEP 427), and nothing in it leaves the place where it will be installed.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import stat
import struct
import unicodedata
from typing import TYPE_CHECKING, Final

from packaging.requirements import InvalidRequirement, Requirement

from piwheels.core.errors import BadWheel
from piwheels.core.wheels.inspection import inspect_wheel, is_portable, open_wheel, read_entry
from piwheels.core.wheels.platforms import unjustified
from piwheels.core.wheels.scripts import check_scripts
from piwheels.core.wheels.tags import canonical, parse_filename

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path
    from typing import IO
    from zipfile import ZipFile, ZipInfo

    from piwheels.core.wheels.inspection import WheelMetadata

#: The size limit of RECORD, and of all content of a wheel, in bytes.
MAX_RECORD: Final = 32 * 2**20
MAX_CONTENT: Final = 16 * 2**30
#: How many times larger than the wheel its content may be, beyond :data:`FREE_CONTENT` bytes.
MAX_RATIO: Final = 100
FREE_CONTENT: Final = 64 * 2**20
#: The longest path of a file, and the longest part of it, in bytes of UTF-8.
MAX_PATH: Final = 1024
MAX_PART: Final = 255
#: The folders of ``NAME.data`` that installers know (PEP 427).
SCHEMES: Final = frozenset({"purelib", "platlib", "headers", "scripts", "data"})
#: The projects whose wheels may run code at the start of each interpreter, by a ``.pth`` file.
MAY_HAVE_PTH: Final = frozenset({"coverage", "setuptools"})

#: Signatures of RECORD, which cannot be listed in it (PEP 427).
_SIGNATURES: Final = ("RECORD.jws", "RECORD.p7s")
_LOCAL_HEADER: Final = struct.Struct("<4s5H3L2H")
_SIZES_FOLLOW: Final = 0x8  # the sizes are after the content
_DESCRIPTORS: Final = (12, 16, 20, 24)  # the lengths of such sizes
_UTF8_NAME: Final = 0x800
_BLOCK: Final = 2**18
_INSTALLERS_FILES: Final = frozenset({"INSTALLER", "REQUESTED", "direct_url.json"})
_MAX_PTH: Final = 64 * 2**10
_MAX_SCRIPTS: Final = 2**20
#: The statements by which setuptools declares a namespace package, since its version 20.
_STATEMENTS: Final = (
    r"",
    r"import sys, types, os",
    r"has_mfs = sys\.version_info > \(3, 5\)",
    r"p = os\.path\.join\(sys\._getframe\(1\)\.f_locals\['sitedir'\], \*\((?:NAME,? ?)+\)\)",
    r"ie = os\.path\.exists\(os\.path\.join\(p,'__init__\.py'\)\)",
    r"importlib = (?:has_mfs and )?__import__\('importlib\.util'\)",
    r"(?:has_mfs and )?__import__\('importlib\.machinery'\)",
    r"m = (?:has_mfs and )?sys\.modules\.setdefault\(NAME, importlib\.util\.module_from_spec"
    r"\(importlib\.machinery\.PathFinder\.find_spec\(NAME, \[os\.path\.dirname\(p\)\]\)\)\)",
    r"m = (?:m or|not ie and) sys\.modules\.setdefault\(NAME, types\.ModuleType\(NAME\)\)",
    r"mp = \(m or \[\]\) and m\.__dict__\.setdefault\('__path__',\[\]\)",
    r"\(p not in mp\) and mp\.append\(p\)",
    r"m and setattr\(sys\.modules\[NAME\], NAME, m\)",
)
_NAMESPACE: Final = re.compile("|".join(_STATEMENTS).replace("NAME", r"'[\w.]+'"), re.ASCII)
#: Characters that terminals, browsers or file systems may take for something else.
_ODD: Final = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def verify_wheel(
    path: Path,
    *,
    package: str | None = None,
    version: str | None = None,
    filename: str | None = None,
    may_have_pth: Collection[str] = (),
) -> WheelMetadata:
    """Validate the wheel at *path* with all its content, and return its metadata.

    The arguments are those of :func:`~piwheels.core.wheels.inspection.inspect_wheel`;
    *may_have_pth* are normalized names of further projects whose wheels may have ``.pth`` files.
    It reads and hashes everything. Raises :exc:`~piwheels.core.errors.BadWheel` with the reason.
    """
    found = inspect_wheel(path, package=package, version=version, filename=filename)
    with open_wheel(path) as archive:
        entries = archive.infolist()
        _check_sizes(entries, path.stat().st_size)
        assert archive.fp is not None  # noqa: S101 (it is open)
        _check_layout(archive.fp, entries, archive.start_dir)
        _check_names(entries)
        for entry in entries:
            _check_mode(entry)
        info = next(name for name in _folders(entries) if name.endswith(".dist-info"))
        _check_places(entries, info)
        _check_record(archive, info)
        if (scripts := f"{info}/entry_points.txt") in archive.namelist():
            check_scripts(read_entry(archive, archive.getinfo(scripts), _MAX_SCRIPTS))
        project = canonical(found.name)
        if project not in MAY_HAVE_PTH and project not in may_have_pth:
            _check_pth(archive, info, project)
    _check_requirements(found)
    platforms = parse_filename(path.name if filename is None else filename).platform.split(".")
    if "any" in platforms and not is_portable(path):
        raise BadWheel("it has native programs, so its name must say for which platform they are")
    if why := unjustified(path, platforms):
        raise BadWheel(why)
    return found


def recorded_paths(path: Path) -> list[str]:
    """Return the paths that the RECORD of the wheel at *path* lists. Raises ``BadWheel``."""
    with open_wheel(path) as archive:
        info = next(
            entry for entry in archive.infolist() if entry.filename.endswith(".dist-info/RECORD")
        )
        return [listed for listed, _ in _rows(read_entry(archive, info, MAX_RECORD))]


def _check_sizes(entries: list[ZipInfo], size: int) -> None:
    content = sum(entry.file_size for entry in entries)
    if content > min(MAX_CONTENT, MAX_RATIO * size + FREE_CONTENT):
        raise BadWheel(f"the wheel unpacks to {content} bytes, too many for its {size}")


# The archive ----------------------------------------------------------------------------------


def _check_layout(file: IO[bytes], entries: list[ZipInfo], end: int) -> None:
    """Check that the headers of files agree with the directory, and that no two files overlap."""
    spans: list[tuple[int, int, str, bool]] = []
    for entry in entries:
        file.seek(entry.header_offset)
        header = file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
            raise BadWheel(f"{entry.filename!r} is not where the archive lists it")
        fields = _LOCAL_HEADER.unpack(header)
        flags, method, crc, packed, size, name_length, extra_length = (
            fields[2], fields[3], *fields[6:],
        )  # fmt: skip
        raw_name = file.read(name_length)
        encoding = "utf-8" if flags & _UTF8_NAME else "cp437"
        if (
            raw_name != entry.orig_filename.encode(encoding, "replace")
            or method != entry.compress_type
            or (flags ^ entry.flag_bits) & (_UTF8_NAME | _SIZES_FOLLOW)
        ):
            raise BadWheel(f"{entry.filename!r} has another header than the archive lists")
        extra = file.read(extra_length)
        if not flags & _SIZES_FOLLOW:
            packed, size = _zip64_sizes(extra, packed, size)
            if (crc, packed, size) != (entry.CRC, entry.compress_size, entry.file_size):
                raise BadWheel(f"{entry.filename!r} has another size than the archive lists")
        start = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length
        stop = start + entry.compress_size
        spans.append((entry.header_offset, stop, entry.filename, bool(flags & _SIZES_FOLLOW)))
    spans.sort()
    if spans[0][0] != 0:
        raise BadWheel("the archive has unlisted content before its first file")
    ends = [*spans[1:], (end, 0, "", False)]
    for (_, stop, name, sizes_follow), (start, *_) in zip(spans, ends, strict=True):
        if stop > start:
            raise BadWheel(f"{name!r} overlaps with what follows it in the archive")
        if start - stop not in (_DESCRIPTORS if sizes_follow else (0,)):
            raise BadWheel(f"the archive has unlisted content after {name!r}")


def _zip64_sizes(extra: bytes, packed: int, size: int) -> tuple[int, int]:
    """Return the sizes of a header: those of its zip64 field where they are too large."""
    if 0xFFFFFFFF not in (packed, size):
        return packed, size
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1 and length >= 16:
            size, packed = struct.unpack_from("<QQ", extra, 4)
            break
        extra = extra[4 + length :]
    return packed, size


# Names and places -----------------------------------------------------------------------------


def _folders(entries: list[ZipInfo]) -> set[str]:
    return {top for top, _, rest in (each.filename.partition("/") for each in entries) if rest}


def _check_names(entries: list[ZipInfo]) -> None:
    files: set[str] = set()
    folders: set[str] = set()
    for entry in entries:
        name = entry.filename.removesuffix("/")
        _check_name(name)
        # Some file systems store composed characters, others do not.
        plain = unicodedata.normalize("NFC", name)
        if plain in files or (plain in folders and not entry.is_dir()):
            raise BadWheel(f"the archive has two files at {name!r}")
        if not entry.is_dir():
            files.add(plain)
        parts = plain.split("/")
        folders |= {"/".join(parts[:count]) for count in range(1, len(parts))}
        if entry.is_dir():
            folders.add(plain)
    if both := files & folders:
        raise BadWheel(f"the archive has a file and a folder at {min(both)!r}")


def _check_name(name: str) -> None:
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise BadWheel(f"the archive has an odd path: {name!r}")
    if not name.isprintable() or _ODD.search(name) or "\ufffd" in name:
        raise BadWheel(f"the archive has a path with characters that cannot be shown: {name!r}")
    if any(part != part.strip() for part in parts):
        raise BadWheel(f"the archive has a path with a blank at an end: {name!r}")
    sizes = [len(part.encode("utf-8", "surrogatepass")) for part in parts]
    if max(sizes) > MAX_PART or sum(sizes) + len(sizes) > MAX_PATH:
        raise BadWheel(f"the archive has a path that is too long: {name[:200]!r}")


def _check_mode(entry: ZipInfo) -> None:
    """Check that *entry* is a regular file or a folder, without special permissions."""
    mode = entry.external_attr >> 16
    kind = stat.S_IFMT(mode)
    expected = {0, stat.S_IFDIR} if entry.is_dir() else {0, stat.S_IFREG}
    if kind not in expected:
        raise BadWheel(f"{entry.filename!r} is neither a file nor a folder")
    if mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
        raise BadWheel(f"{entry.filename!r} has a special permission (set-uid, set-gid or sticky)")
    if entry.is_dir() and entry.file_size:
        raise BadWheel(f"the folder {entry.filename!r} has content")


def _check_places(entries: list[ZipInfo], info: str) -> None:
    """Check that installers know where each file goes, and that none of them is theirs."""
    data = info.removesuffix(".dist-info") + ".data"
    for entry in entries:
        top, _, rest = entry.filename.partition("/")
        if top.endswith(".data") and rest:
            if top != data:
                raise BadWheel(f"the folder {top!r} is not {data!r}")
            scheme, _, rest = rest.partition("/")
            if scheme not in SCHEMES or (not rest and not entry.is_dir()):
                raise BadWheel(f"{entry.filename!r} is in no place that installers know")
        if top.lower().endswith((".egg-info", ".egg-link")):
            raise BadWheel(f"{top!r} would pass for another project that is installed")
        if top == info and rest in _INSTALLERS_FILES:
            raise BadWheel(f"{entry.filename!r} is a file that only installers write")


def _check_pth(archive: ZipFile, info: str, project: str) -> None:
    """Check that no file in the folder of packages runs code when an interpreter starts."""
    data = info.removesuffix(".dist-info") + ".data"
    for entry in archive.infolist():
        place = entry.filename
        for scheme in ("purelib", "platlib"):
            place = place.removeprefix(f"{data}/{scheme}/")
        if place.lower().endswith(".pth") and "/" not in place:
            text = read_entry(archive, entry, _MAX_PTH).decode("utf-8", "replace")
            if not all(map(_declares_namespace, text.splitlines())):
                raise BadWheel(
                    f"{entry.filename!r} would run code at each start of the interpreter: an"
                    f" operator can permit that for {project} (--allow-pth)"
                )


def _declares_namespace(line: str) -> bool:
    """Return whether *line* is of a ``-nspkg.pth`` file, as setuptools has written them."""
    return all(_NAMESPACE.fullmatch(statement.strip()) for statement in line.split(";"))


# Content --------------------------------------------------------------------------------------


def _check_record(archive: ZipFile, info: str) -> None:
    """Check that RECORD lists each file with its size and SHA-256 or better, and nothing else."""
    record = f"{info}/RECORD"
    listed = dict(_rows(read_entry(archive, archive.getinfo(record), MAX_RECORD)))
    exempt = {record, *(f"{info}/{name}" for name in _SIGNATURES)}
    for entry in archive.infolist():
        if entry.is_dir() or entry.filename in exempt:
            _digest(archive, entry, None)
            listed.pop(entry.filename, None)
            continue
        row = listed.pop(entry.filename, None)
        if row is None:
            raise BadWheel(f"RECORD does not list {entry.filename!r}")
        algorithm, digest, size = row
        if algorithm not in ("sha256", "sha384", "sha512"):
            raise BadWheel(f"RECORD has no SHA-256 of {entry.filename!r}")
        if size not in ("", str(entry.file_size)):
            raise BadWheel(f"RECORD has another size of {entry.filename!r}")
        if _digest(archive, entry, algorithm) != digest.rstrip("="):
            raise BadWheel(f"RECORD has another hash of {entry.filename!r}")
    if listed:
        raise BadWheel(f"RECORD lists {min(listed)!r}, which the wheel does not have")


def _rows(data: bytes) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yield the path of each row of a RECORD, with algorithm, digest and size."""
    seen = set()
    try:
        for row in csv.reader(io.StringIO(data.decode(), newline="")):
            if len(row) != 3:
                raise BadWheel(f"RECORD has a row of {len(row)} fields instead of three")
            path, digest, size = row
            if path in seen:
                raise BadWheel(f"RECORD lists {path!r} twice")
            seen.add(path)
            algorithm, _, digest = digest.partition("=")
            yield path, (algorithm, digest, size)
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadWheel(f"RECORD cannot be read: {error}") from error


def _digest(archive: ZipFile, entry: ZipInfo, algorithm: str | None) -> str:
    """Read *entry* whole, which checks its CRC; return its digest, as RECORD spells it."""
    result = hashlib.new(algorithm or "sha256")
    size = 0
    with archive.open(entry) as stream:
        while block := stream.read(_BLOCK):
            size += len(block)
            if size > entry.file_size:
                break
            result.update(block)
    if size != entry.file_size:
        raise BadWheel(f"{entry.filename!r} has another length than the archive lists")
    return base64.urlsafe_b64encode(result.digest()).rstrip(b"=").decode()


def _check_requirements(found: WheelMetadata) -> None:
    """Check that installers can read the requirements (PEP 508)."""
    for text in found.requires_dist:
        try:
            Requirement(text)
        except InvalidRequirement as error:
            reason = str(error).partition("\n")[0]
            raise BadWheel(f"pip refuses the requirement {text[:200]!r}: {reason}") from error
