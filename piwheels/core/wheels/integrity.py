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
import unicodedata
from typing import TYPE_CHECKING, Final

from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement

from piwheels.core.errors import BadWheel
from piwheels.core.wheels.archive import check_archive
from piwheels.core.wheels.inspection import inspect_wheel, is_portable, open_wheel, read_entry
from piwheels.core.wheels.installed import MAY_RUN_AT_START, check_installed
from piwheels.core.wheels.platforms import unjustified
from piwheels.core.wheels.tags import canonical, parse_filename

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path
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

#: Signatures of RECORD, which cannot be listed in it (PEP 427).
_SIGNATURES: Final = ("RECORD.jws", "RECORD.p7s")
_BLOCK: Final = 2**18
_METADATA_VERSION: Final = re.compile(r"[12]\.[0-9]")
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
        check_sizes(entries, path.stat().st_size)
        assert archive.fp is not None  # noqa: S101 (it is open)
        check_archive(archive.fp, entries)
        _check_names(entries)
        for entry in entries:
            _check_mode(entry)
        info = next(name for name in _folders(entries) if name.endswith(".dist-info"))
        project = canonical(found.name)
        permitted = project in MAY_RUN_AT_START or project in may_have_pth
        check_installed(archive, info, project, may_run_at_start=permitted)
        _check_record(archive, info)
    _check_metadata(found)
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


def check_sizes(entries: list[ZipInfo], size: int) -> None:
    """Check that the *entries* of a wheel of *size* bytes do not unpack to too many."""
    content = sum(entry.file_size for entry in entries)
    if content > min(MAX_CONTENT, MAX_RATIO * size + FREE_CONTENT):
        raise BadWheel(f"the wheel unpacks to {content} bytes, too many for its {size}")


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


def _check_metadata(found: WheelMetadata) -> None:
    """Check that installers can read METADATA (core metadata, PEP 508), and in one way."""
    text = found.metadata.decode()
    if "\0" in text:
        raise BadWheel("METADATA has a null character")
    fields, others = parse_email(text)
    if not _METADATA_VERSION.fullmatch(fields.get("metadata_version", "")):
        raise BadWheel("METADATA has no single field 'Metadata-Version' that installers know")
    if "requires-python" in others:
        raise BadWheel("METADATA has more than one field 'Requires-Python'")
    for requirement in found.requires_dist:
        try:
            Requirement(requirement)
        except InvalidRequirement as error:
            reason = str(error).partition("\n")[0]
            raise BadWheel(
                f"pip refuses the requirement {requirement[:200]!r}: {reason}"
            ) from error
