"""Whether the source of a build leaves its requirements open until then (PEP 643).

Such requirements may depend on the Python that builds.
"""

from __future__ import annotations

import os
import re
import stat
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The most bytes of a PKG-INFO file that are read, and the most entries of a folder.
MAX_BYTES: Final = 2**20
MAX_ENTRIES: Final = 1000
_DYNAMIC: Final = re.compile(rb"dynamic[ \t]{0,99}:[ \t]{0,99}requires-dist[ \t]{0,99}", re.I)


def has_dynamic_requirements(folder: Path) -> bool:
    """Return whether a source that pip has unpacked in *folder* says so in its PKG-INFO.

    The build could write there. It may have left anything.
    """
    return any(
        _says_so(source / "PKG-INFO")
        for place in _folders(folder)
        if place.name.startswith("pip-wheel-")
        for source in _folders(place)
    )


def _folders(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            found = [each.name for each in islice(entries, MAX_ENTRIES)
                     if each.is_dir(follow_symlinks=False)]  # fmt: skip
    except OSError:
        return
    yield from (folder / name for name in found)


def _says_so(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with open(handle, "rb") as file:  # noqa: PTH123 (a descriptor)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return False
        data = file.read(MAX_BYTES)
    headers = data.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    return any(_DYNAMIC.fullmatch(line) for line in headers.split(b"\n"))
