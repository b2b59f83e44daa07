"""Finds the interpreters of this machine by their versions."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.version import Version

from piwheels.core.errors import Fatal

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION: Final = re.compile(r"(3\.[0-9]{1,3})(?:\.[0-9]{1,3})?(t?)", re.ASCII)


def interpreter_named(text: str) -> Path:
    """Return the interpreter *text*: a path, a command, or a version (``3.13``, ``3.13t``).

    One of a version is a command, or one that pyenv or uv has installed. Raises ``Fatal``.
    """
    version = _VERSION.fullmatch(text)
    if version is None:
        found = shutil.which(text)
        if found is None:
            raise Fatal(f"there is no interpreter {text}: name an existing one in --python")
        return Path(found).absolute()
    command = f"python{version[1]}{version[2]}"
    found = shutil.which(command) if text.rstrip("t") == version[1] else None
    if found is not None and Path(found).parent.name != "shims":  # pyenv's may lead to nothing
        return Path(found).absolute()
    installed = sorted(_installed(text, command), key=_patch)
    if not installed:
        raise Fatal(f"there is no Python {text} on this machine: install it, or name a path")
    return installed[-1]


def _installed(version: str, command: str) -> Iterator[Path]:
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 (Path.home() raises where this does not)
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python")
    wanted = version.rstrip("t")
    for folder, pattern in ((pyenv, f"{wanted}*"), (uv, f"cpython-{wanted}*")):
        for place in folder.glob(pattern):
            path = place / "bin" / command
            if _patch(path)[: wanted.count(".") + 1] == Version(wanted).release and path.exists():
                yield path


def _patch(path: Path) -> tuple[int, ...]:
    """Return the version in the name of the folder of *path*."""
    found = re.search(r"[0-9]+(\.[0-9]+)+", path.parts[-3])
    return Version(found[0]).release if found else ()
