"""Whether the programs in a wheel run where its name says: their machine, manylinux, musllinux.

The last two are PEP 600 and PEP 656.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.wheels.arm import HARD_FLOAT, VFP_ARGS, why_not_armv6
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


class Machine(NamedTuple):
    """The programs of an architecture in ELF: class, byte order, number, float ABI.

    Each but the number is as in :class:`~piwheels.core.wheels.dependencies.Elf`.
    """

    wide: int
    order: int
    number: int
    floats: int = 0


_ARM: Final = 40
_SOFT, _HARD, _DOUBLE = 0x200, 0x400, 4
#: The programs by architecture in tags.
MACHINES: Final = {
    "x86_64": Machine(2, 1, 62), "aarch64": Machine(2, 1, 183), "ppc64": Machine(2, 2, 21),
    "ppc64le": Machine(2, 1, 21), "s390x": Machine(2, 2, 22), "loongarch64": Machine(2, 1, 258),
    "riscv64": Machine(2, 1, 243, _DOUBLE), "armv5tel": Machine(1, 1, _ARM, _SOFT),
    **dict.fromkeys(("armv6l", "armv7l", "armv8l"), Machine(1, 1, _ARM, _HARD)),
    **dict.fromkeys(("i386", "i486", "i586", "i686"), Machine(1, 1, 3)),
}  # fmt: skip

#: The oldest glibc of the tags without a version in them (PEP 513, 571, 599).
_LEGACY: Final = {"1": (2, 5), "2010": (2, 12), "2014": (2, 17)}
_TAG: Final = re.compile(
    r"(?:(?P<plain>linux)|(?P<libc>many|musl)linux"
    r"(?:(?P<legacy>1|2010|2014)|_(?P<major>[0-9]{1,3})_(?P<minor>[0-9]{1,3})))"
    r"_(?P<machine>[a-z0-9_]{1,20})",
    re.ASCII,
)
_LOADER: Final = re.compile(r"ld-(?:linux.*|musl-.*)\.so\.[0-9]|ld64\.so\.[0-9]")
_MUSL: Final = re.compile(r"libc\.musl-\w+\.so\.1|libc\.so")


def unjustified(path: Path, platforms: Collection[str]) -> str | None:
    """Return why the wheel at *path* does not run on one of *platforms*, tags of its name.

    Only tags of Linux are verified; ``None``: it runs there. Raises
    :exc:`~piwheels.core.errors.BadWheel` if the wheel cannot be read.
    """
    tags = [tag for tag in platforms if tag.startswith(("linux", "manylinux", "musllinux"))]
    if not tags:
        return None
    files, bundled, complete = elf_files(path)
    if not complete:
        return "it has native programs that cannot be read, so its platform cannot be verified"
    for tag in tags:
        if why := _problem(tag, files, bundled):
            return f"it is no wheel for {tag}: {why}"
    return None


def _problem(tag: str, files: Collection[Elf], bundled: Collection[str]) -> str | None:
    match = _TAG.fullmatch(tag)
    if match is None:
        return "there is no such platform"
    if why := next(filter(None, (_misfit(elf, match["machine"]) for elf in files)), None):
        return f"a program in it {why}"
    if match["plain"]:
        return None
    if not files:
        return "it has no native programs, so it is for any machine or for one system"
    if match["machine"] not in MACHINES:
        return "there is no such machine"
    major, minor = match["major"], match["minor"]
    oldest = _LEGACY[match["legacy"]] if match["legacy"] else (int(major), int(minor))
    musl = match["libc"] == "musl"
    for elf in files:
        if elf.glibc > ((0, 0) if musl else oldest):
            return f"a program in it needs glibc {'.'.join(map(str, elf.glibc))}"
        for library in elf.needed:
            known = _MUSL.fullmatch(library) if musl else library in EVERYWHERE
            if not known and library not in bundled and not _LOADER.fullmatch(library):
                return f"a program in it needs {library}, which not each of these systems has"
    return None


def _misfit(elf: Elf, name: str) -> str:
    """Return why *elf* does not run on the machine *name*; ``""`` if it does, or it is unknown."""
    machine = MACHINES.get(name)
    if machine is None:
        return ""
    wide, order, number, floats = elf.kind
    if (wide, order, number) != machine[:3]:
        return f"is for another machine (number {number} in ELF, {32 * wide} bits)"
    if number == _ARM and not floats:  # an object file, or an old linker
        floats = _HARD if elf.arm and elf.arm.get(VFP_ARGS) == {HARD_FLOAT} else _SOFT
    if floats != machine.floats:
        return f"has another float ABI than {name}"
    why = why_not_armv6(elf.arm) if name == "armv6l" else ""
    return why and f"is not proven to run on {name}: {why}"
