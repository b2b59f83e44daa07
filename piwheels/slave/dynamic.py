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


def has_dynamic_requirements(work: Path) -> bool:
    """Return whether the unpacked source in the directory *work* of a build says so in PKG-INFO.

    It is where pip has left it, or in ``source``. The build could write there: anything is there.
    """
    by_pip = [each for each in _folders(work / "tmp") if each.name.startswith("pip-wheel-")]
    sources = [source for place in by_pip for source in _folders(place)]
    return any(_says_so(source / "PKG-INFO") for source in (work / "source", *sources))


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
