"""The lock file of a farm: its wheels with their hashes. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Locked(NamedTuple):
    """A wheel of the farm's index; *sha256* is in hexadecimal."""

    package: str
    version: str
    filename: str
    sha256: str


def requirements(wheels: Iterable[Locked], missing: Iterable[str], abi: str, install: str) -> str:
    """Return a file of requirements for pip; *missing* are sentences, *install* is its use."""
    lines = [
        f"# The wheels of a farm for {abi}. This installs them from its index alone:",
        f"#   {install}",
        *(f"# missing: {each}" for each in missing),
    ]
    for each in sorted(wheels):
        lines += [f"{each.package}=={each.version} \\", f"    --hash=sha256:{each.sha256}"]
    return "\n".join([*lines, ""])


def pylock(wheels: Sequence[Locked], missing: Iterable[str], index: str, python: str) -> str:
    """Return a ``pylock.toml`` (PEP 751) for *python* (``"3.13"``) and the simple index *index*."""
    lines = [
        *(f"# missing: {each}" for each in missing),
        'lock-version = "1.0"',
        f'requires-python = "=={python}.*"',
        'created-by = "piw-up"',
        *(["packages = []"] if not wheels else []),
        "",
    ]
    for each in sorted(wheels):
        url = f"{index}{each.package}/{each.filename}"
        lines += [
            "[[packages]]",
            *_pairs(("name", each.package), ("version", each.version), ("index", index)),
            "[[packages.wheels]]",
            *_pairs(("name", each.filename), ("url", url)),
            f"hashes = {{ sha256 = {json.dumps(each.sha256)} }}",
            "",
        ]
    return "\n".join(lines)


def _pairs(*pairs: tuple[str, str]) -> Sequence[str]:
    return [f"{name} = {json.dumps(value)}" for name, value in pairs]
