"""Read an untrusted directory tree without following links, opening pipes, or blocking.

Names are text as of :func:`os.fsdecode`, so that they may contain any bytes.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, Final

from piwheels.audit.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CHUNK: Final = 2**20
_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFREG: "a file",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Tree:
    """The site in *root*. Paths are relative to it and use slashes."""

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)

    def full(self, path: str) -> str:
        """Return the absolute path of *path*."""
        return os.path.join(self.root, path)  # noqa: PTH118 (names of any bytes, by the million)

    def about(self, path: str) -> os.stat_result | None:
        """Return the status of *path* itself, or ``None`` if it is missing. Raises ``OSError``."""
        try:
            return os.lstat(self.full(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, path: str) -> Iterator[str]:
        """Yield the names in the folder *path*, unsorted. Raises ``OSError``."""
        with os.scandir(self.full(path)) as entries:
            for entry in entries:
                yield entry.name

    def target(self, path: str) -> str:
        """Return the target of the link *path* (``""``: it is missing, or not a link)."""
        try:
            return os.readlink(self.full(path))  # noqa: PTH115 (text, not a path)
        except OSError:
            return ""

    def outside(self, path: str) -> bool:
        """Return whether the link *path* leads out of the site."""
        real = os.path.realpath(self.full(path))
        return os.path.commonpath([real, self.root]) != self.root

    def open(self, path: str) -> BinaryIO:
        """Open the regular file *path* for reading. Raises ``OSError`` for anything else."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(self.full(path), flags)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(0, "not a regular file")
        return os.fdopen(handle, "rb")

    def read(self, path: str, limit: int) -> bytes:
        """Return the content of *path*. Raises ``OSError`` if unreadable or over *limit* bytes."""
        with self.open(path) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise OSError(0, f"it has more than {limit:,} bytes")
        return data

    def digest(self, path: str, on_bytes: Callable[[int], None]) -> str:
        """Return the SHA-256 of the file *path*, in hexadecimal. Raises ``OSError``."""
        hash_ = hashlib.sha256()
        with self.open(path) as file:
            while chunk := file.read(_CHUNK):
                hash_.update(chunk)
                on_bytes(len(chunk))
        return hash_.hexdigest()

    def file(
        self, path: str, missing: str, why: str, package: str = "", version: str = ""
    ) -> tuple[os.stat_result | None, list[Finding]]:
        """Check that *path* is a regular file that everybody can read.

        Return its status (``None``: it is not such a file) and the findings; a missing file is a
        finding of the kind *missing* with the reason *why*.
        """

        def found(kind: str, text: str) -> Finding:
            return Finding(kind, path, text, package, version)

        try:
            about = self.about(path)
        except OSError as exc:
            return None, [found("unreadable", reason(exc))]
        if about is None:
            return None, [found(missing, why)]
        if stat.S_ISLNK(about.st_mode):
            return None, [self.link(path, package, version)]
        if not stat.S_ISREG(about.st_mode):
            return None, [found("not-a-file", f"is {kind_of(about)} where a file should be")]
        if not about.st_mode & stat.S_IROTH:
            return about, [found("mode", f"has mode {about.st_mode & 0o7777:04o}: {_CLOSED}")]
        return about, []

    def folder(self, path: str, package: str = "") -> tuple[bool, list[Finding]]:
        """Check that *path* is a folder; return whether it is one, and the findings."""
        try:
            about = self.about(path)
        except OSError as exc:
            return False, [Finding("unreadable", path, reason(exc), package)]
        if about is None:
            return False, []
        if stat.S_ISLNK(about.st_mode):
            return False, [self.link(path, package)]
        if not stat.S_ISDIR(about.st_mode):
            why = f"is {kind_of(about)} where a folder should be"
            return False, [Finding("not-a-file", path, why, package)]
        if about.st_mode & 0o005 != 0o005:
            why = f"has mode {about.st_mode & 0o7777:04o}: {_CLOSED}"
            return True, [Finding("mode", path, why, package)]
        return True, []

    def link(self, path: str, package: str = "", version: str = "") -> Finding:
        """Return the finding that *path* is a link and must not be one."""
        kind = "link-outside" if self.outside(path) else "link"
        return Finding(kind, path, f"is a link to {self.target(path)}", package, version)


_CLOSED: Final = "a web server cannot read it"


def kind_of(about: os.stat_result) -> str:
    """Return the type of a file in words."""
    return _KINDS.get(stat.S_IFMT(about.st_mode), "of an unknown type")


def reason(exc: OSError) -> str:
    """Return the system's message of an error, without the path."""
    return f"cannot be read: {exc.strerror or exc}"
