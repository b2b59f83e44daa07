"""The modules that a wheel installs, by the paths of its files. Pure."""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The most modules of a wheel that are imported.
MAX_MODULES: Final = 100
#: How deep regular packages may be in packages without an ``__init__`` (PEP 420).
_DEPTH: Final = 4
#: Names at the top of a wheel that its users do not import.
_OTHERS: Final = frozenset(
    [
        "benchmark",
        "benchmarks",
        "conftest",
        "doc",
        "docs",
        "example",
        "examples",
        "scripts",
        "setup",
        "test",
        "tests",
    ]
)
#: A module, also an extension: ``x.py``, ``x.so``, ``x.abi3.so``, ``x.cpython-311-...-gnu.so``.
_MODULE: Final = re.compile(
    r"([^.]+)(?:\.py|(?:\.abi3|\.abi3t|\.cpython-[\w-]+|\.pypy[\w-]+|\.graalpy[\w-]+)?\.so)"
)


def import_names(paths: Iterable[str]) -> list[str]:
    """Return the modules to import from a wheel with files at these *paths*, as RECORD has them.

    These are the modules and packages at its top. In place of a package without an ``__init__``,
    they are the packages in it that have one.
    """
    packages: set[tuple[str, ...]] = set()
    modules: set[tuple[str, ...]] = set()
    for path in paths:
        *folders, file = path.split("/")
        if folders[1:2] in (["purelib"], ["platlib"]) and folders[0].endswith(".data"):
            folders = folders[2:]
        if match := _MODULE.fullmatch(file):
            if match[1] == "__init__":
                packages.add(tuple(folders))
            elif not folders:
                modules.add((match[1],))
    found = [
        name for name in sorted(packages | modules, key=lambda name: (len(name), name))
        if len(name) <= _DEPTH and all(map(_is_importable, name))
        and not any(name[:count] in packages for count in range(1, len(name)))
    ]  # fmt: skip
    return [".".join(name) for name in found if name][:MAX_MODULES]


def _is_importable(part: str) -> bool:
    plain = part.isidentifier() and not keyword.iskeyword(part) and not part.startswith("__")
    return plain and part not in _OTHERS
