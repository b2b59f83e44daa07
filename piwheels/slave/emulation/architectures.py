"""The architectures that can be emulated, by their names in Debian. Pure."""

from __future__ import annotations

import re
import struct
from typing import Final, NamedTuple


class Architecture(NamedTuple):
    """An architecture: the name of qemu for it, its ELF files, the processor to emulate.

    *bits* and *order* are those of its words, *machine* is its number in ELF files. *cpu* is as in
    ``QEMU_CPU``, or ``""`` for the default.
    """

    qemu: str
    bits: int
    order: str
    machine: int
    cpu: str = ""


#: The processor decides what the kernel's interface calls the machine, and so the tag of wheels:
#: armv7l for armhf, armv5tel for armel.
ARCHITECTURES: Final = {
    "arm64": Architecture("aarch64", 64, "<", 183),
    "armel": Architecture("arm", 32, "<", 40, "arm926"),
    "armhf": Architecture("arm", 32, "<", 40, "cortex-a15"),
    "ppc64el": Architecture("ppc64le", 64, "<", 21),
    "riscv64": Architecture("riscv64", 64, "<", 243),
    "s390x": Architecture("s390x", 64, ">", 22),
}
#: The name of a machine in Linux: the architecture that needs no emulation there.
OWN: Final = {
    "aarch64": "arm64", "ppc64le": "ppc64el", "riscv64": "riscv64", "s390x": "s390x",
}  # fmt: skip

_RELEASE: Final = re.compile(r"[a-z]{2,20}", re.ASCII)


class System(NamedTuple):
    """A Debian of another architecture; without a release: that of this machine."""

    architecture: str
    release: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, self))


def parse_systems(text: str) -> list[System]:
    """Return the systems in *text*, such as ``armhf,riscv64/trixie``. Raises ``ValueError``."""
    found: dict[System, None] = {}
    for word in text.split(","):
        name, slash, release = word.strip().partition("/")
        if name not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise ValueError(f"{name[:40]!r} cannot be emulated: choose among {known}")
        if slash and not _RELEASE.fullmatch(release):
            raise ValueError(f"{release[:40]!r} is no release of Debian: give one, such as trixie")
        found[System(name, release)] = None
    return list(found)


def binfmt_rule(name: str, qemu: str) -> bytes:
    r"""Return the rule by which the kernel runs programs of the architecture *name* with *qemu*.

    It is for the file ``register`` of binfmt_misc. The kernel opens *qemu* at once (``F``), and
    passes the original name of the program (``P``).
    """
    about = ARCHITECTURES[name]
    head = struct.pack("4sBBB", b"\x7fELF", about.bits // 32, 1 if about.order == "<" else 2, 1)
    # Of any OS ABI; a program, or one that can be anywhere (ET_EXEC, ET_DYN)
    magic = head + bytes(9) + struct.pack(about.order + "HH", 2, about.machine)
    mask = b"\xff" * 7 + bytes(9) + struct.pack(about.order + "HH", 0xFFFE, 0xFFFF)
    fields = (_escaped(magic), _escaped(mask), qemu)
    return ":piwheels:M:0:{}:{}:{}:PF".format(*fields).encode()


def _escaped(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)
