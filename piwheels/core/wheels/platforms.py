"""Whether the programs in a wheel run where its name says: manylinux, musllinux (PEP 600, 656)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from piwheels.core.wheels.dependencies import elf_files

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from piwheels.core.wheels.dependencies import Elf

#: The libraries that each manylinux system has (PEP 600).
EVERYWHERE: Final = frozenset(
    [
        "libgcc_s.so.1",
        "libstdc++.so.6",
        "libm.so.6",
        "libdl.so.2",
        "librt.so.1",
        "libc.so.6",
        "libnsl.so.1",
        "libutil.so.1",
        "libpthread.so.0",
        "libresolv.so.2",
        "libX11.so.6",
        "libXext.so.6",
        "libXrender.so.1",
        "libICE.so.6",
        "libSM.so.6",
        "libGL.so.1",
        "libgobject-2.0.so.0",
        "libgthread-2.0.so.0",
        "libglib-2.0.so.0",
        "libz.so.1",
        "libexpat.so.1",
        "libatomic.so.1",
        "libmvec.so.1",
        "libanl.so.1",
    ]
)
#: The number of the machine in ELF files, by architecture in tags.
MACHINES: Final = {
    "x86_64": 62, "i686": 3, "aarch64": 183, "armv7l": 40, "armv6l": 40, "ppc64": 21,
    "ppc64le": 21, "s390x": 22, "riscv64": 243, "loongarch64": 258,
}  # fmt: skip

#: The oldest glibc of the tags without a version in them (PEP 513, 571, 599).
_LEGACY: Final = {"1": (2, 5), "2010": (2, 12), "2014": (2, 17)}
_TAG: Final = re.compile(
    r"(?P<libc>many|musl)linux"
    r"(?:(?P<legacy>1|2010|2014)|_(?P<major>[0-9]{1,3})_(?P<minor>[0-9]{1,3}))"
    r"_(?P<machine>[a-z0-9_]{1,20})",
    re.ASCII,
)
_LOADER: Final = re.compile(r"ld-(?:linux.*|musl-.*)\.so\.[0-9]|ld64\.so\.[0-9]")
_MUSL: Final = re.compile(r"libc\.musl-\w+\.so\.1|libc\.so")


def unjustified(path: Path, platforms: Collection[str]) -> str | None:
    """Return why the wheel at *path* does not run on one of *platforms*, tags of its name.

    Only tags of several systems are verified (manylinux, musllinux); ``None``: it runs there.
    Raises :exc:`~piwheels.core.errors.BadWheel` if the wheel cannot be read.
    """
    wide = [tag for tag in platforms if tag.startswith(("manylinux", "musllinux"))]
    if not wide:
        return None
    files, bundled, complete = elf_files(path)
    if not complete:
        return "it has native programs that cannot be read, so its platform cannot be verified"
    for tag in wide:
        if why := _problem(tag, files, bundled):
            return f"it is no wheel for {tag}: {why}"
    return None


def _problem(tag: str, files: Collection[Elf], bundled: Collection[str]) -> str | None:
    match = _TAG.fullmatch(tag)
    if match is None:
        return "there is no such platform"
    if not files:
        return "it has no native programs, so it is for any machine or for one system"
    major, minor = match["major"], match["minor"]
    oldest = _LEGACY[match["legacy"]] if match["legacy"] else (int(major), int(minor))
    musl = match["libc"] == "musl"
    for elf in files:
        if elf.kind[2] != MACHINES.get(match["machine"]):
            return f"a program in it is for another machine (number {elf.kind[2]} in ELF)"
        if elf.glibc > ((0, 0) if musl else oldest):
            return f"a program in it needs glibc {'.'.join(map(str, elf.glibc))}"
        for library in elf.needed:
            known = _MUSL.fullmatch(library) if musl else library in EVERYWHERE
            if not known and library not in bundled and not _LOADER.fullmatch(library):
                return f"a program in it needs {library}, which not each of these systems has"
    return None
