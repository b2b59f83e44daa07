"""What a build sees of its machine: read-only paths, and its own folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piwheels.core.program.privileges import interpreter_dirs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: The directories of the system's programs and libraries.
SYSTEM: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store",
    "/sys/devices/system/cpu",
)  # fmt: skip
#: The configuration of the system that compilers and TLS read. No passwords, no keys.
CONFIGURATION: Final = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "debian_version",
    "fonts", "gai.conf", "host.conf", "hosts", "java-17-openjdk", "ld.so.cache", "ld.so.conf",
    "ld.so.conf.d", "localtime", "magic", "mime.types", "nsswitch.conf", "os-release", "perl",
    "pki/ca-trust", "pki/tls/cert.pem", "pki/tls/certs", "pki/tls/openssl.cnf", "protocols",
    "resolv.conf", "services", "ssl/ca-bundle.pem", "ssl/cert.pem", "ssl/certs",
    "ssl/openssl.cnf", "timezone",
)  # fmt: skip

#: An absolute path in the value of a variable, and an address.
_PATH: Final = re.compile(r"(?:^|[\s:=,;'\"]|-[IL])(/[^\s:=,;'\"/][^\s:=,;'\"]*)")
_ADDRESS: Final = re.compile(r"(?!file:)\b[a-z][a-z0-9+.-]*://[^\s,;'\"]*")


@dataclass(frozen=True, slots=True)
class View:
    """The paths outside of its own folder that a build may read."""

    #: Absolute paths without links in them, none of them inside of another one.
    paths: tuple[Path, ...]
    #: Links (such as ``/bin``) with their targets.
    links: tuple[tuple[Path, str], ...]


def view_of(paths: Iterable[Path], hidden: Iterable[Path], *, system: bool = True) -> View:
    """Return a view of *paths*, those that exist, and of the *system*'s directories.

    A path that contains one of *hidden* is left out: the slave's home, for example.
    """
    wanted = [Path(name) for name in SYSTEM if system]
    wanted += [Path("/etc", name) for name in CONFIGURATION if system]
    wanted += paths
    secret = [path.resolve() for path in hidden]
    links: dict[Path, str] = {}
    found: dict[Path, None] = {}
    for path in wanted:
        for link in _links_on(path):
            links[link] = str(link.readlink())
        real = Path(os.path.realpath(path))
        reveals = any(real == each or real in each.parents for each in secret)
        if os.path.exists(real) and not reveals:  # noqa: PTH110 (Path raises if it may not look)
            found[real] = None
    outer = [path for path in found if not any(parent in found for parent in path.parents)]
    shown = [(link, to) for link, to in links.items() if not _is_below(link, outer)]
    return View(tuple(outer), tuple(sorted(shown)))


def _links_on(path: Path) -> list[Path]:
    """Return the symbolic links on the way to *path*, itself included, links of links, too."""
    links: list[Path] = []
    todo = [path]
    while todo and len(links) < 40:  # as the kernel's limit; a loop is no path
        each = todo.pop()
        for step in (*reversed(each.parents), each):
            if os.path.islink(step):  # noqa: PTH114 (as above)
                if step not in links:
                    links.append(step)
                    target = step.parent / step.readlink()
                    todo.append(Path(os.path.normpath(target / each.relative_to(step))))
                break
    return links


def _is_below(path: Path, places: Iterable[Path]) -> bool:
    return any(place in path.parents for place in places)


def named_paths(texts: Iterable[str]) -> list[Path]:
    """Return the absolute paths that *texts*, the values of variables, name.

    Devices are left out: each sandbox has its own.
    """
    found = [_PATH.findall(_ADDRESS.sub("", text).replace("file://", "")) for text in texts]
    return [Path(path) for paths in found for path in paths if not path.startswith("/dev/")]


def build_paths(pythons: Sequence[Path], environment: Mapping[str, str]) -> list[Path]:
    """Return the paths that builds need: the interpreters, and what their variables name.

    Raises :exc:`~piwheels.core.errors.Fatal` if an interpreter does not run.
    """
    paths = [path for python in pythons for path in interpreter_dirs(str(python))]
    return paths + named_paths(environment.values())
