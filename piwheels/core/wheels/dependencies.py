"""Find the shared libraries that a wheel needs, and the Debian packages that provide them.

No code of a wheel runs, and no tool that might run it (``ldd``) is used. The few relevant fields of
an ELF file are read here instead of with a library, because the file may be hostile: every count,
offset and length is bounded, and malformed parts are skipped.
"""

from __future__ import annotations

import logging
import mmap
import re
import struct
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from piwheels.core.errors import BadWheel
from piwheels.core.wheels.arm import MAX_SIZE, read_attributes
from piwheels.core.wheels.inspection import is_elf, open_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from zipfile import ZipFile, ZipInfo

    from piwheels.core.wheels.arm import Attributes

#: How many libraries of a wheel are read, and how many bytes are unpacked for that.
MAX_FILES = 2000
MAX_BYTES = 2**31
#: How many required libraries of one wheel are reported.
MAX_NEEDED = 500

_LIBRARY_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+~@-]{0,199}", re.ASCII)
_PYTHON = re.compile(r"libpython[0-9.]+[a-z]*\.so(\.|$)")
_SEARCH = ("/usr/local/lib", "/lib", "/usr/lib", "/lib64", "/usr/lib64", "/lib32", "/usr/lib32")

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_SONAME, _DT_VERNEED = 0, 1, 5, 14, 0x6FFFFFFE
_GLIBC = re.compile(r"GLIBC_([0-9]{1,3}(?:\.[0-9]{1,3}){1,2})", re.ASCII)
_ARM, _RISCV = 40, 243
#: The bits of the flags that say how floating-point arguments are passed, by machine. Of RISC-V,
#: one more: whether there are only 16 registers.
_ABI_FLAGS = {_ARM: 0x600, _RISCV: 0xE}
_ARM_ATTRIBUTES = 0x70000003  # a type of sections
_MAX_SECTIONS = 4096
_MAX_SEGMENTS = 1024
_MAX_TAGS = 8192


class Elf(NamedTuple):
    """The relevant fields of an ELF file; files that can be loaded together share *kind*.

    *kind* is class, byte order, machine and float ABI; *glibc* is the oldest version of glibc that
    has all the symbols which the file needs (``(0, 0)``: it needs none). *arm* are the attributes
    of a program for ARM (``None``: it has none that can be read).
    """

    kind: tuple[int, ...]
    soname: str
    needed: tuple[str, ...]
    glibc: tuple[int, ...] = (0, 0)
    arm: Attributes | None = None


class System:
    """The libraries of this machine and their Debian packages.

    The search path is that of the dynamic linker. *root* is the root of the file system, a layer
    above the system *below*, if there is one. An instance can live as long as the slave: it notices
    newly installed packages.
    """

    def __init__(self, root: Path = Path("/"), below: System | None = None) -> None:
        self._root = root
        self._below = below
        self._owners: dict[str, str] = {}
        self._read_at: int | None = None

    def package_of(self, library: str, kind: tuple[int, ...]) -> str | None:
        """Return the Debian package that provides *library* for *kind*, or ``None``."""
        owners = self._packages()
        for folder in self._folders() if owners else ():
            path = folder / library
            elf = _read_elf_file(path)
            if elf is None or elf.kind != kind:
                continue
            # ldconfig and the alternatives make links: then the target has the owner.
            for name in (path, path.resolve()):
                owner = owners.get(self._merged(name))
                if owner is not None:
                    return owner
        return self._below.package_of(library, kind) if self._below else None

    def _merged(self, path: Path) -> str:
        # dpkg may list /lib/x where the file system has /usr/lib/x, and vice versa.
        inside = path.is_relative_to(self._root)
        name = f"/{path.relative_to(self._root)}" if inside else str(path)
        return name.removeprefix("/usr")

    def _folders(self) -> list[Path]:
        names = [*self._configured(self._root / "etc/ld.so.conf", 0), *_SEARCH]
        folders = []
        for name in names:
            folder = self._root / name.lstrip("/")
            folders.append(folder)
            if name in {"/lib", "/usr/lib"} and folder.is_dir():
                folders += sorted(folder.glob("*-linux-*"))
        return list(dict.fromkeys(folders))

    def _configured(self, path: Path, depth: int) -> Iterator[str]:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            return
        for line in text.splitlines():
            words = line.partition("#")[0].split()
            if words[:1] == ["include"] and depth < 4:
                for pattern in words[1:]:
                    base = self._root if pattern.startswith("/") else path.parent
                    for part in sorted(base.glob(pattern.lstrip("/"))):
                        yield from self._configured(part, depth + 1)
            elif words and words[0].startswith("/"):
                yield words[0]

    def _packages(self) -> dict[str, str]:
        folder = self._root / "var/lib/dpkg/info"
        try:
            changed = folder.stat().st_mtime_ns
        except OSError:
            return {}
        if changed != self._read_at:
            self._owners = dict(self._entries(folder))
            self._read_at = changed
        return self._owners

    def _entries(self, folder: Path) -> Iterator[tuple[str, str]]:
        for path in folder.glob("*.list"):
            package = path.name.removesuffix(".list").partition(":")[0]
            try:
                text = path.read_text(errors="replace")
            except OSError:
                continue
            if ".so" in text:
                for line in text.splitlines():
                    if ".so" in line:
                        yield line.removeprefix("/usr"), package


def library_dependencies(path: Path, system: System) -> dict[str, list[str]]:
    """Return the system dependencies of the wheel at *path*.

    The result is ``{"apt": [packages], "": [libraries]}``, where ``""`` holds the libraries that
    no known package provides. Empty lists are left out. Raises
    :exc:`~piwheels.core.errors.BadWheel` if the wheel cannot be read.
    """
    result: dict[str, set[str]] = {}
    for library, kind in needed_libraries(path):
        package = system.package_of(library, kind)
        result.setdefault("" if package is None else "apt", set()).add(package or library)
    return {tool: sorted(names) for tool, names in sorted(result.items(), reverse=True)}


def needed_libraries(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Return the libraries that the wheel at *path* needs and does not contain.

    Each comes with the kind of the ELF file that needs it. ``libpython`` is left out: the
    interpreter that imports the wheel provides it. Raises
    :exc:`~piwheels.core.errors.BadWheel` if the wheel cannot be read.
    """
    needed: dict[tuple[str, tuple[int, ...]], None] = {}
    files, bundled, _ = elf_files(path)
    for elf in files:
        needed |= {(name, elf.kind): None for name in elf.needed if not _PYTHON.match(name)}
    missing = [item for item in needed if item[0] not in bundled]
    if len(missing) > MAX_NEEDED:
        _log().warning("a wheel needs %s libraries; only %s are recorded", len(missing), MAX_NEEDED)
    return missing[:MAX_NEEDED]


def elf_files(path: Path) -> tuple[list[Elf], set[str], bool]:
    """Return the native programs of the wheel at *path*, and the libraries that it contains.

    The third value is whether all programs could be read. Raises
    :exc:`~piwheels.core.errors.BadWheel` if the wheel cannot be read.
    """
    with open_wheel(path) as archive:
        bundled = {entry.filename.rpartition("/")[2] for entry in archive.infolist()}
        found = list(_elf_files(archive))
    files = [elf for elf in found if elf is not None]
    return files, bundled | {elf.soname for elf in files}, len(files) == len(found)


def read_elf(data: bytes | mmap.mmap) -> Elf | None:
    """Return the relevant fields of the ELF file *data*, or ``None`` if it is malformed."""
    try:
        return _read_elf(data)
    except (struct.error, IndexError, ValueError, OverflowError):
        return None


def _elf_files(archive: ZipFile) -> Iterator[Elf | None]:
    """Yield the native programs; ``None`` for those that are malformed, or too many."""
    files, space = MAX_FILES, MAX_BYTES
    for entry in archive.infolist():
        if not is_elf(archive, entry):
            continue
        files, space = files - 1, space - entry.file_size
        if files < 0 or space < 0:
            limits = MAX_FILES, MAX_BYTES
            _log().warning("a wheel has more than %d libraries or %d bytes of them", *limits)
            yield None
            return
        with tempfile.TemporaryFile() as file:
            _unpack(archive, entry, file)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield read_elf(data)


def _unpack(archive: ZipFile, entry: ZipInfo, file: IO[bytes]) -> None:
    size = 0
    with archive.open(entry) as stream:
        while block := stream.read(2**18):
            size += len(block)
            if size > entry.file_size:
                raise BadWheel(f"{entry.filename!r} is longer than the archive declares")
            file.write(block)
    file.flush()


def _read_elf_file(path: Path) -> Elf | None:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return read_elf(data)
    except (OSError, ValueError):
        return None


def _read_elf(data: bytes | mmap.mmap) -> Elf | None:
    # The layout follows the System V ABI, chapters 4 and 5. Libraries with the same class, byte
    # order, machine and float ABI can be loaded together.
    if data[:4] != b"\x7fELF" or data[4] not in {1, 2} or data[5] not in {1, 2}:
        return None
    wide, order = data[4] == 2, "<" if data[5] == 1 else ">"
    machine = struct.unpack_from(order + "H", data, 18)[0]
    flags = struct.unpack_from(order + "I", data, 48 if wide else 36)[0]
    kind = (data[4], data[5], machine, flags & _ABI_FLAGS.get(machine, 0))
    arm = _arm_attributes(data, order) if machine == _ARM and not wide else None
    table = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)[0]
    size, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
    segments = []
    for index in range(min(count, _MAX_SEGMENTS)):
        fields = struct.unpack_from(
            order + ("IIQQQQ" if wide else "IIIIII"), data, table + index * size
        )
        # type, offset, address and length of each
        segments.append(tuple(fields[i] for i in ((0, 2, 3, 5) if wide else (0, 1, 2, 4))))
    dynamic = next((part for part in segments if part[0] == _PT_DYNAMIC), None)
    if dynamic is None:
        return Elf(kind, "", (), arm=arm)
    pair = struct.Struct(order + ("qQ" if wide else "iI"))
    tags = []
    for index in range(min(dynamic[3] // pair.size, _MAX_TAGS)):
        tag, value = pair.unpack_from(data, dynamic[1] + index * pair.size)
        if tag == _DT_NULL:
            break
        tags.append((tag, value))
    strings = _offset(segments, dict(tags).get(_DT_STRTAB, 0))
    if strings is None:
        return Elf(kind, "", (), arm=arm)
    names = {
        wanted: [_name(data, strings + value) for tag, value in tags if tag == wanted][:MAX_NEEDED]
        for wanted in (_DT_NEEDED, _DT_SONAME)
    }
    soname, needed = "".join(names[_DT_SONAME][:1]), tuple(filter(None, names[_DT_NEEDED]))
    place = _offset(segments, dict(tags).get(_DT_VERNEED, 0))
    glibc = (0, 0) if place is None else _glibc(data, order, place, strings)
    return Elf(kind, soname, needed, glibc, arm)


def _arm_attributes(data: bytes | mmap.mmap, order: str) -> Attributes | None:
    """Return the build attributes of a program for ARM; ``None`` unless it has one section."""
    (table,) = struct.unpack_from(order + "I", data, 32)
    size, count = struct.unpack_from(order + "HH", data, 46)
    if count > _MAX_SECTIONS:
        return None
    headers = (struct.unpack_from(order + "6I", data, table + at * size) for at in range(count))
    found = [header for header in headers if header[1] == _ARM_ATTRIBUTES]
    if len(found) != 1 or found[0][5] > MAX_SIZE:
        return None
    *_, offset, length = found[0]
    return read_attributes(data[offset : offset + length], order)


def _offset(segments: Iterable[tuple[int, ...]], address: int) -> int | None:
    """Return where the content of *address* is in the file."""
    for kind, offset, start, length in segments:
        if kind == _PT_LOAD and start <= address < start + length:
            return address - start + offset
    return None


def _glibc(data: bytes | mmap.mmap, order: str, place: int, strings: int) -> tuple[int, ...]:
    """Return the newest version of glibc in the table of needed versions at *place*."""
    newest: tuple[int, ...] = (0, 0)
    file, version = struct.Struct(order + "HHIII"), struct.Struct(order + "IHHII")
    for _ in range(MAX_NEEDED):
        _, count, _, first, following = file.unpack_from(data, place)
        at = place + first
        for _ in range(min(count, MAX_NEEDED)):
            *_, name, step = version.unpack_from(data, at)
            if match := _GLIBC.fullmatch(_name(data, strings + name)):
                newest = max(newest, tuple(map(int, match[1].split("."))))
            at += step
        if not following:
            break
        place += following
    return newest


def _name(data: bytes | mmap.mmap, at: int) -> str:
    end = data.find(b"\0", at, at + 256)
    text = data[at:end].decode("ascii", "replace") if 0 <= at < end else ""
    return text if _LIBRARY_NAME.fullmatch(text) else ""


def _log() -> logging.Logger:
    return logging.getLogger("builder")
