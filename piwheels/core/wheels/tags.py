"""Wheel file names and compatibility tags (PEP 427, PEP 425, PEP 503). Pure: no file access.

File names come from builds and from peers, so the grammar is stricter than the standard's: a bare
ASCII name without separators, leading dots or control characters, which names exactly one file.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain, product
from math import prod
from typing import TYPE_CHECKING, Final, NamedTuple

from packaging.tags import compatible_tags, cpython_tags, generic_tags
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from piwheels.core.errors import BadWheel

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from packaging.tags import Tag

#: ABI tags that do not name one ABI: of wheels without an extension, and of stable ABIs (PEP 384,
#: PEP 803).
FLEXIBLE: Final = frozenset({"none", "abi3", "abi3t"})
#: The most combinations of tags that the name of a wheel may stand for.
MAX_TAGS = 1000
#: The longest file name on common file systems, in bytes.
MAX_FILENAME = 255

_FILENAME = re.compile(
    r"(?P<package>[A-Za-z0-9](?:[A-Za-z0-9_.]*[A-Za-z0-9])?)"
    r"-(?P<version>[0-9A-Za-z][0-9A-Za-z_.!+]*)"
    r"(?:-(?P<build>[0-9]{1,18}[A-Za-z0-9_.]*))?"
    r"-(?P<py>[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*)"
    r"-(?P<abi>[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*)"
    r"-(?P<platform>[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*)"
    r"\.whl",
    re.ASCII,
)
_CPYTHON = re.compile(r"cp([0-9])([0-9]{1,4})([a-z]*)", re.ASCII)
_MACHINE = re.compile(r"_(x86_64|[A-Za-z0-9]+)$", re.ASCII)
#: The machines that one system may report, depending on the interface. A system for armv6l has
#: another compiler.
_SAME: Final = ({"armv7l", "armv8l"}, {"i386", "i486", "i586", "i686"})
_PYPY = re.compile(r"pypy([0-9])([0-9]{1,4})_[a-z0-9_]+", re.ASCII)


class WheelName(NamedTuple):
    """The parts of a wheel's file name, as spelled; *build* is ``""`` without a build tag."""

    package: str
    version: str
    build: str
    py: str
    abi: str
    platform: str

    def __str__(self) -> str:
        """Return the file name."""
        return "-".join(part for part in self if part) + ".whl"


def canonical(name: str) -> str:
    """Return the normalized name of a project (PEP 503)."""
    return canonicalize_name(name)


def is_version(text: str) -> bool:
    """Return whether *text* is a version (PEP 440)."""
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def same_version(left: str, right: str) -> bool:
    """Return whether two spellings name the same version (PEP 440); other text must be equal."""
    try:
        return Version(left) == Version(right)
    except InvalidVersion:
        return left == right


def known_spelling(version: str, known: Collection[str]) -> str:
    """Return how *known* spells *version*; itself if it is not known."""
    if version in known:
        return version
    return next((each for each in known if same_version(each, version)), version)


def parse_filename(name: str) -> WheelName:
    """Split the bare name of a wheel file into its parts (PEP 427).

    Raises :exc:`~piwheels.core.errors.BadWheel` unless *name* is the plain name of a wheel with a
    valid version (PEP 440).
    """
    match = _FILENAME.fullmatch(name) if len(name) <= MAX_FILENAME else None
    if match is None:
        raise BadWheel(f"{name[:MAX_FILENAME]!r} is not the name of a wheel file")
    result = WheelName(*(part or "" for part in match.groups()))
    try:
        Version(result.version)
    except InvalidVersion:
        raise BadWheel(f"{name!r} has no valid version (PEP 440)") from None
    if prod(part.count(".") + 1 for part in result[3:]) > MAX_TAGS:
        raise BadWheel(f"{name!r} stands for more than {MAX_TAGS} tags (PEP 425)")
    return result


def parse_if_wheel(name: str) -> WheelName | None:
    """Return the parts of *name* as :func:`parse_filename`; ``None`` if it is no wheel's name."""
    try:
        return parse_filename(name)
    except BadWheel:
        return None


def with_build_tag(filename: str, number: int) -> str:
    """Return *filename* with its build tag, if any, replaced by *number*."""
    return str(parse_filename(filename)._replace(build=str(number)))


def for_one_python(name: WheelName, abi: str, platform: str) -> WheelName:
    """Return *name* with tags that installers for no Python but that of *abi* accept.

    A wheel for the stable ABI becomes one for *abi*. No wheel for any machine is for one PyPy
    alone: it becomes one for *platform*. Returns *name* itself if it has such tags, or if *abi* is
    that of an unknown interpreter.
    """
    if match := _CPYTHON.fullmatch(abi):
        python = "cp{}{}".format(*match.groups())
    elif match := _PYPY.fullmatch(abi):
        python = "pp{}{}".format(*match.groups())
        if name.platform == "any":
            name = name._replace(platform=platform)
    else:
        return name
    kinds = set(name.abi.lower().split("."))
    return name._replace(py=python, abi="none" if kinds == {"none"} else abi)


def abi_key(abi_tag: str) -> tuple[int, int, int, str, str]:
    """Return a sort key by Python version: cp39, cp310, cp313, cp313t, then other ABIs."""
    match = _CPYTHON.fullmatch(abi_tag)
    if match is None:
        return (1, 0, 0, "", abi_tag)
    major, minor, flags = match.groups()
    return (0, int(major), int(minor), flags, abi_tag)


def serves(name: WheelName, abi: str) -> bool:
    """Return whether installers for interpreters of *abi* accept the wheel *name*.

    Any platform but ``any`` counts as that of the interpreter.
    """
    accepted = accepted_tags(abi)
    pythons, abis, platforms = (part.lower().split(".") for part in name[3:])
    kinds = {"any" if platform == "any" else "native" for platform in platforms}
    return any("-".join(tag) in accepted for tag in product(pythons, abis, kinds))


def suits(tag: str, platform: str) -> bool:
    """Return whether a wheel with the platform *tag* can come from a machine of *platform*.

    It can if each part of the tag is ``any``, or of that system and machine.
    """
    own = _system_and_machine(platform)
    same = next((group for group in _SAME if own[1] in group), {own[1]})
    parts = [_system_and_machine(part) for part in tag.split(".") if part != "any"]
    return all(system == own[0] and machine in same for system, machine in parts)


def _system_and_machine(platform: str) -> tuple[str, str]:
    machine = match[1] if (match := _MACHINE.search(platform)) else platform
    system = platform.partition("_")[0]
    return "linux" if "linux" in system else system, machine  # manylinux, musllinux


@lru_cache(maxsize=256)
def accepted_tags(abi: str) -> frozenset[str]:
    """Return the tags (PEP 425) that installers for interpreters of *abi* accept.

    Their platform is ``any`` or ``native``. ``_accepted_tags`` in ``sql/functions`` is its equal.
    """
    tags: Iterable[Tag]
    if match := _CPYTHON.fullmatch(abi):
        version = int(match[1]), int(match[2])
        # A debug build can load the extensions of a normal one, too.
        normal = abi.replace("d", "") if version >= (3, 8) else abi
        python = "cp{}{}".format(*version)
        own = cpython_tags(version, list(dict.fromkeys((abi, normal))), ["native"])
        tags = chain(own, compatible_tags(version, python, ["native"]))
    elif match := _PYPY.fullmatch(abi):
        version = int(match[1]), int(match[2])
        own = generic_tags("pp{}{}".format(*version), [abi], ["native"])
        tags = chain(own, compatible_tags(version, f"pp{version[0]}", ["native"]))
    else:  # an interpreter of an unknown version of Python 3
        tags = chain(
            generic_tags("py3", [abi], ["native"]), compatible_tags((3,), None, ["native"])
        )
    return frozenset(map(str, tags))
