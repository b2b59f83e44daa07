"""Inspect untrusted wheels, with limits on time and memory and without extracting files.

The rules are those of installers (PEP 427). They are stricter where two readers of one zip archive
might see different files: no duplicate entries, no data before the first entry or after the last,
and only the usual compression methods.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zlib
from contextlib import contextmanager
from email.parser import HeaderParser
from typing import TYPE_CHECKING, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, LargeZipFile, ZipFile, ZipInfo

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from piwheels.core.errors import BadWheel
from piwheels.core.wheels.tags import WheelName, canonical, parse_filename, same_version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The size limits of METADATA, of WHEEL and of a zip archive's directory, in bytes.
MAX_METADATA = 5 * 2**20
MAX_WHEEL = 64 * 2**10
MAX_DIRECTORY = 16 * 2**20
#: How many entries, and how many ``Requires-Dist`` lines, a wheel may have.
MAX_ENTRIES = 100_000
MAX_REQUIRES = 4096
#: The longest accepted specifier or requirement, in characters.
MAX_FIELD = 8192

_LIBRARY = re.compile(r"[^/]\.so(\.[0-9]+)*$", re.ASCII)
# What the standard library raises for a malformed archive; it documents only the first two.
_MALFORMED = (
    BadZipFile,
    LargeZipFile,
    zlib.error,
    struct.error,
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,  # encrypted entries; NotImplementedError is one of these too
    ValueError,
)


class WheelMetadata(NamedTuple):
    """The metadata of a wheel.

    *name* and *version* are spelled as in METADATA; *requires_python* is a valid specifier (PEP
    440) or ``None``; *metadata* holds the exact bytes of METADATA (PEP 658); *requires_dist* are
    the requirements (PEP 508), not validated; *tags* are the ``Tag`` lines of the WHEEL file.
    """

    name: str
    version: str
    requires_python: str | None
    metadata: bytes
    requires_dist: tuple[str, ...]
    tags: tuple[str, ...]


def inspect_wheel(
    path: Path,
    *,
    package: str | None = None,
    version: str | None = None,
    filename: str | None = None,
) -> WheelMetadata:
    """Validate the wheel at *path* and return its metadata.

    *package* and *version* are the expected ones (``None``: any); *filename* is the name under
    which the file will be published (default: its own). Raises
    :exc:`~piwheels.core.errors.BadWheel` with the reason, and no other error, whatever the file
    contains.
    """
    name = parse_filename(path.name if filename is None else filename)
    with open_wheel(path) as archive:
        return _inspect(archive, name, package or name.package, version or name.version)


@contextmanager
def open_wheel(path: Path) -> Iterator[ZipFile]:
    """Open the wheel at *path* for reading, after checking its directory of entries.

    Errors that the archive causes within the ``with`` block are raised as
    :exc:`~piwheels.core.errors.BadWheel`.
    """
    try:
        with _open_regular(path) as file, ZipFile(file) as archive:
            _check_shape(file, archive)
            _check_entries(archive.infolist())
            yield archive
    except BadWheel:
        raise
    except _MALFORMED as error:
        raise BadWheel(f"the file is not a valid zip archive: {error or repr(error)}") from error


def read_entry(archive: ZipFile, entry: ZipInfo, limit: int) -> bytes:
    """Return the content of *entry*. Raises ``BadWheel`` if it exceeds *limit* bytes."""
    if entry.file_size <= limit:
        with archive.open(entry) as stream:
            data = stream.read(limit + 1)
        if len(data) <= limit:
            return data
    raise BadWheel(f"{entry.filename!r} is longer than {limit} bytes")


def is_portable(path: Path) -> bool:
    """Return whether the wheel at *path* can run on any machine: it has no native programs.

    These are ELF files, and all that is named like a shared library. Raises
    :exc:`~piwheels.core.errors.BadWheel` if the wheel cannot be read.
    """
    with open_wheel(path) as archive:
        for entry in archive.infolist():
            if _LIBRARY.search(entry.filename) or is_elf(archive, entry):
                return False
    return True


def is_elf(archive: ZipFile, entry: ZipInfo) -> bool:
    """Return whether *entry* is a native program or library, whatever its name."""
    with archive.open(entry) as stream:
        return stream.read(4) == b"\x7fELF"


class _Bounded(io.BufferedReader):
    """A file that refuses to read an oversized zip directory."""

    def read(self, size: int | None = -1, /) -> bytes:
        # Never ask for more than the file has: the base class would allocate that much first.
        rest = max(0, os.fstat(self.fileno()).st_size - self.tell())
        wanted = min(rest, MAX_DIRECTORY + 1)
        if size is not None and size >= 0:
            wanted = min(size, wanted)
        data = super().read(wanted)
        if len(data) > MAX_DIRECTORY or (
            len(data) > 46 * MAX_ENTRIES and data.count(b"PK\x01\x02") > MAX_ENTRIES
        ):
            raise BadWheel(f"the archive lists more than {MAX_ENTRIES} entries")
        return data


def _open_regular(path: Path) -> _Bounded:
    # A build may have left a link or a pipe under the name of a wheel: open neither.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    file = _Bounded(io.FileIO(handle))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        file.close()
        raise BadWheel("the file is not a regular file")
    return file


def _check_shape(file: _Bounded, archive: ZipFile) -> None:
    file.seek(0)
    if file.read(4) != b"PK\x03\x04":
        raise BadWheel("the archive does not begin with its first entry")
    file.seek(-22 - len(archive.comment), os.SEEK_END)
    if file.read(4) != b"PK\x05\x06":
        raise BadWheel("the archive has data after its end")


def _check_entries(entries: list[ZipInfo]) -> None:
    if len(entries) > MAX_ENTRIES:
        raise BadWheel(f"the archive lists more than {MAX_ENTRIES} entries")
    seen = set()
    for entry in entries:
        name = entry.orig_filename
        if name in seen:
            raise BadWheel(f"the archive lists {name!r} twice")
        seen.add(name)
        parts = name.removesuffix("/").split("/")
        if "\\" in name or "\0" in name or not parts[0] or ".." in parts or ":" in parts[0]:
            raise BadWheel(f"the archive has a path that leads outside of it: {name!r}")
        if entry.flag_bits & 0x1:
            raise BadWheel(f"the archive is encrypted ({name!r})")
        if entry.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
            raise BadWheel(
                f"{name!r} uses a compression method that some installers do not support"
            )


def _inspect(archive: ZipFile, name: WheelName, package: str, version: str) -> WheelMetadata:
    if canonical(name.package) != canonical(package):
        raise BadWheel(f"the file is named after {name.package!r}, not {package!r}")
    if not same_version(name.version, version):
        raise BadWheel(f"the file is named after version {name.version!r}, not {version!r}")
    entries = {entry.filename: entry for entry in archive.infolist()}
    folders = {top for top, _, rest in (key.partition("/") for key in entries) if rest}
    info = [folder for folder in folders if folder.endswith(".dist-info")]
    if len(info) != 1:
        raise BadWheel(f"the wheel has {len(info)} dist-info folders instead of one")
    for required in ("METADATA", "WHEEL", "RECORD"):
        if f"{info[0]}/{required}" not in entries:
            raise BadWheel(f"the wheel has no {required} file")
    folder_name, _, folder_version = info[0].removesuffix(".dist-info").partition("-")
    if canonical(folder_name) != canonical(package) or not same_version(folder_version, version):
        raise BadWheel(f"the wheel holds {info[0]!r}, which is not {package} {version}")

    wheel = _headers(read_entry(archive, entries[f"{info[0]}/WHEEL"], MAX_WHEEL), "WHEEL")
    wheel_version = _one(wheel, "wheel-version", "WHEEL")
    if not re.fullmatch(r"1(\.[0-9]{1,9})*", wheel_version.strip(), re.ASCII):
        raise BadWheel(f"the wheel has the unknown format version {wheel_version!r}")
    tags = [tag.strip().split("-") for tag in wheel.get("tag", ())]
    abis = {abi for parts in tags if len(parts) == 3 for abi in parts[1].split(".")}
    if abis and abis.isdisjoint(name.abi.split(".")):
        wheel_abis = ", ".join(sorted(abis))[:200]
        raise BadWheel(
            f"the file is named for the ABI {name.abi!r}, its WHEEL file for {wheel_abis!r}"
        )
    metadata = read_entry(archive, entries[f"{info[0]}/METADATA"], MAX_METADATA)
    headers = _headers(metadata, "METADATA")
    own_name, own_version = (_one(headers, key, "METADATA") for key in ("name", "version"))
    if canonical(own_name) != canonical(package):
        raise BadWheel(f"METADATA says that this is {own_name!r}, not {package!r}")
    if not same_version(own_version, version):
        raise BadWheel(f"METADATA says that this is version {own_version!r}, not {version!r}")
    requires_dist = tuple(map(str.strip, headers.get("requires-dist", ())))
    if len(requires_dist) > MAX_REQUIRES or any(len(item) > MAX_FIELD for item in requires_dist):
        raise BadWheel("METADATA has too many or too long requirements")
    return WheelMetadata(
        own_name,
        own_version,
        _specifier(" ".join(headers.get("requires-python", [""])[0].split())),
        metadata,
        requires_dist,
        tuple(map(str.strip, wheel.get("tag", ()))),
    )


def _headers(data: bytes, where: str) -> dict[str, list[str]]:
    """Return the fields of METADATA or WHEEL by their lower-case names, as pip reads them."""
    try:
        message = HeaderParser().parsestr(data.decode())
    except UnicodeDecodeError as error:
        raise BadWheel(f"pip refuses {where}: {error}") from error
    result: dict[str, list[str]] = {}
    for key, value in message.items():
        result.setdefault(key.lower(), []).append(str(value))
    return result


def _one(headers: dict[str, list[str]], key: str, where: str) -> str:
    values = headers.get(key, [])
    if len(values) != 1 or not values[0] or len(values[0]) > 200 or not values[0].isprintable():
        raise BadWheel(f"{where} has no single field {key.title()!r}")
    return values[0]


def _specifier(text: str) -> str | None:
    if not text or len(text) > MAX_FIELD or not text.isprintable():
        return None
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        return None
    return text
