"""Targets: the platforms and ABIs that a farm builds for (PEP 425, PEP 600, PEP 656). Pure.

A *platform family* groups the platform tags of the wheels that one kind of machine builds:
``linux_x86_64`` has ``linux_x86_64`` and every ``manylinux`` tag of that machine,
``musllinux_x86_64`` has its ``musllinux`` tags. ``_family`` in ``sql/functions`` is equal to
:func:`family`. :mod:`piwheels.core.wheels.serving` says which wheels serve a target.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_PLATFORM: Final = re.compile(r"[a-z0-9_]{1,100}", re.ASCII)
_ABI: Final = re.compile(r"(cp[0-9]{2,5}[a-z]*|pypy[0-9]{2,5}_[a-z0-9_]+)", re.ASCII)
_WIDE: Final = re.compile(
    r"(?:many(?P<many>linux)(?:1|2010|2014|_[0-9]+_[0-9]+)|(?P<musl>musllinux)_[0-9]+_[0-9]+)"
    r"_(?P<machine>[a-z0-9_]+)",
    re.ASCII,
)
#: Other names of one machine.
_SAME: Final = {"armv8l": "armv7l", "i386": "i686", "i486": "i686", "i586": "i686"}


class Target(NamedTuple):
    """A platform family and an ABI: ``linux_armv7l/cp311``.

    With the platform ``any``, wheels for any one platform serve it.
    """

    platform: str
    abi: str

    def __str__(self) -> str:
        return f"{self.platform}/{self.abi}"

    @property
    def words(self) -> str:
        """Its name for people: ``cp311 armv7l``, ``cp311 musl x86_64``."""
        platform = self.platform.removeprefix("linux_").replace("musllinux_", "musl ")
        return f"{self.abi} {platform}".strip()

    @classmethod
    def parse(cls, text: str) -> Target:
        """Return the target that *text* names. Raises ``ValueError`` with a sentence."""
        platform, slash, abi = text.partition("/")
        if not slash or not _PLATFORM.fullmatch(platform) or not _ABI.fullmatch(abi):
            raise ValueError(
                f"{text[:100]!r} is no target: give PLATFORM/ABI, such as linux_armv7l/cp311"
            )
        if family(platform) != platform:
            raise ValueError(f"{text[:100]!r} names a tag: its platform is {family(platform)}")
        return cls(platform, abi)


#: In place of a target: a version that has no build may begin with any of them.
FIRST: Final = Target("any", "any")
#: Why a farm itself retires a target; it comes back when a slave offers it.
NO_SLAVE: Final = "no slave of this farm builds for it"


def family(platform: str) -> str:
    """Return the platform family of the platform tag *platform*."""
    platform = platform.lower()
    if match := _WIDE.fullmatch(platform):
        platform = f"{match['many'] or match['musl']}_{match['machine']}"
    system, _, machine = platform.partition("_")
    return f"{system}_{_SAME[machine]}" if machine in _SAME else platform


def release_name(os_version: str) -> str:
    """Return the name of a release: ``bookworm`` of ``12 (bookworm)``; ``""``: it has none."""
    match = re.search(r"\(([a-z]{1,40})\)", os_version)
    return match[1] if match else ""
