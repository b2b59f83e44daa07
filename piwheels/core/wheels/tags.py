"""Wheel file names and compatibility tags (PEP 427, PEP 425, PEP 503). Pure: no file access.

File names come from builds and from peers, so the grammar is stricter than the standard's: a bare
ASCII name without separators, leading dots or control characters, which names exactly one file.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from piwheels.core.errors import BadWheel

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
    return result


def with_build_tag(filename: str, number: int) -> str:
    """Return *filename* with its build tag, if any, replaced by *number*."""
    return str(parse_filename(filename)._replace(build=str(number)))


def abi_key(abi_tag: str) -> tuple[int, int, int, str, str]:
    """Return a sort key by Python version: cp39, cp310, cp313, cp313t, then other ABIs."""
    match = _CPYTHON.fullmatch(abi_tag)
    if match is None:
        return (1, 0, 0, "", abi_tag)
    major, minor, flags = match.groups()
    return (0, int(major), int(minor), flags, abi_tag)


def serves(file_abi: str, abi: str, *, built_by: str | None = None) -> bool:
    """Return whether interpreters of *abi* can use a file with the ABI tag *file_abi*.

    A pure file (``none``) serves all interpreters. A file for the stable ABI (``abi3``, PEP 384)
    serves the ABI that it was *built_by* (default: *abi*) and later ones, except free-threaded
    ones (PEP 703). Any other file serves its own ABI only. A compressed tag (PEP 425) serves every
    ABI that one of its parts serves.
    """
    parts = file_abi.split(".")
    if "none" in parts or abi in parts:
        return True
    return (
        "abi3" in parts and not is_free_threaded(abi) and abi_key(built_by or abi) <= abi_key(abi)
    )


def is_free_threaded(abi: str) -> bool:
    """Return whether *abi* is a free-threaded CPython (``cp313t``, PEP 703)."""
    match = _CPYTHON.fullmatch(abi)
    return match is not None and "t" in match[3]
