"""The root of a system of another architecture, and how its programs run."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piwheels.core.architectures import ARCHITECTURES, binfmt_rule
from piwheels.slave.emulation import enter
from piwheels.slave.sandbox.bubblewrap import find_program, text_program

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

#: The directories of a root that programs see.
_SYSTEM: Final = ("usr", "etc", "opt")
#: This machine's files in ``/etc`` that lead to the network.
_NETWORK: Final = ("hosts", "resolv.conf", "ssl/certs/ca-certificates.crt")
#: Variables of this machine's compilers and libraries.
_FOREIGN: Final = (
    "CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "PKG_CONFIG_PATH", "RUSTUP_HOME",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "CARGO_HTTP_CAINFO",
    "XDG_CONFIG_DIRS",
)  # fmt: skip
_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Root:
    """A root at *path*, ``ARCHITECTURE-.../root``; the folder next to it is for binfmt_misc."""

    path: Path

    @property
    def architecture(self) -> str:
        """The architecture's name in Debian."""
        return self.path.parent.name.partition("-")[0]

    def emulating(self, command: list[str]) -> list[str]:
        """Return the command that runs *command* where programs of this architecture run, too."""
        return emulating(self.architecture, self.path.parent / "binfmt", command)

    def prefix(self, how: str = "--ro-bind") -> list[str]:
        """Return the beginning of commands that run trusted programs of this root, offline.

        *how* is the option of bubblewrap for the root: ``--bind`` if they may change it.
        """
        mounts = [how, str(self.path), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108
        mounts += _network()  # a new pip reads the certificates at each start
        flags = ["--unshare-user", "--unshare-pid", "--unshare-net", "--die-with-parent"]
        return self.emulating([find_program(), *flags, *self.variables(), *mounts, "--"])

    def variables(self) -> list[str]:
        """Return the options of bubblewrap for the environment."""
        cpu = ARCHITECTURES[self.architecture].cpu
        options = [word for name in _FOREIGN for word in ("--unsetenv", name)]
        options += ["--setenv", "PATH", _PATH]
        return [*options, "--setenv", "QEMU_CPU", cpu] if cpu else options

    def mounts(self, paths: Collection[Path]) -> list[str]:
        """Return the options of bubblewrap for what builds see of this root.

        They leave room for *paths*, which come from elsewhere.
        """
        tops = [path for path in self.path.iterdir() if path.is_symlink() or path.name in _SYSTEM]
        binds = [word for path in tops for word in _binds(path, Path("/", path.name), paths)]
        return [*binds, *_network()]


def _network() -> Iterator[str]:
    """Yield the options of bubblewrap for this machine's files that lead to the network."""
    for name in _NETWORK:
        real = os.path.realpath(f"/etc/{name}")
        if os.path.isfile(real):  # noqa: PTH113 (Path raises if it may not look)
            yield from ("--ro-bind", real, f"/etc/{name}")


def _binds(source: Path, place: Path, others: Collection[Path]) -> Iterator[str]:
    """Yield the options that show *source* at *place*, but nothing at the places *others*."""
    if source.is_symlink():
        yield from ("--symlink", str(source.readlink()), str(place))
    elif not any(place in other.parents for other in others):
        yield from ("--ro-bind", str(source), str(place))
    else:
        for each in sorted(source.iterdir()):
            if place / each.name not in others:
                yield from _binds(each, place / each.name, others)


def emulating(architecture: str, place: Path, command: list[str]) -> list[str]:
    """Return the command that runs *command* where programs of *architecture* run, too.

    *place* is an empty folder. Raises ``LookupError`` if there is no qemu.
    """
    rule = binfmt_rule(architecture, find_qemu(architecture)).decode()
    return text_program(Path(enter.__file__), str(place), rule, *command)


def prepare(root: Path) -> None:
    """Complete *root*, which has the files of Debian's packages: what their scripts would do."""
    for name in ("passwd", "group", *_NETWORK):  # files to mount others on
        path = root / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for link, target in {"cc": "gcc", "c++": "g++", "awk": "mawk"}.items():
        path = root / "usr/bin" / link
        if not path.is_symlink():
            path.symlink_to(target)


def find_qemu(architecture: str) -> str:
    """Return the path of qemu for *architecture*. Raises ``LookupError`` if there is none."""
    name = f"qemu-{ARCHITECTURES[architecture].qemu}"
    for each in (f"{name}-static", name):
        if found := shutil.which(each):
            return found
    raise LookupError(f"there is no {name}-static: install qemu-user-static")
