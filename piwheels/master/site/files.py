"""The only code that writes to the site.

The web server publishes the tree under *output_path*. It never contains incomplete files: a file is
written in the working directory next to it (same file system, never served), synced, and renamed
into place. Names come from untrusted sources (builds, messages, an index), so :class:`Site` checks
every name before it makes a path, and every path before it touches a file.

Several threads may have a :class:`Site` each. Only one *master* at a time may use the directory
(:meth:`Site.lock`).
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import io
import os
import re
import shutil
import stat
import tempfile
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from piwheels.core.errors import BadWheel, Fatal
from piwheels.core.site import ALIAS, LAYOUT_FILE, LOCK_FILE, MIN_PACKED, PACKED, log_name
from piwheels.core.wheels.inspection import MAX_METADATA
from piwheels.core.wheels.tags import canonical, parse_filename, parse_if_wheel, same_version
from piwheels.master.logic.intake import MAX_LOG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_CANONICAL: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_MAX_NAME: Final = 200


class Site:
    """The tree under *output_path*, with temporary files in *work_path*; neither need exist."""

    def __init__(self, output_path: Path, work_path: Path) -> None:
        self.root = output_path.absolute().resolve()
        self.work = work_path.absolute().resolve()
        self._lock: int | None = None
        #: The aliases of each project page, once the folder has been read.
        self._aliases: dict[str, set[str]] | None = None

    # Start ----------------------------------------------------------------------------------------

    def check_writable(self) -> None:
        """Create both directories and check write access. Raises ``Fatal`` if that fails."""
        for path in (self.root, self.work):
            try:
                path.mkdir(mode=0o755, parents=True, exist_ok=True)
                handle, name = tempfile.mkstemp(prefix=".piwheels-", dir=path)
                os.close(handle)
                os.unlink(name)  # noqa: PTH108 (as mkstemp gave it)
            except OSError as exc:
                raise Fatal(
                    f"cannot write to {path} ({exc.strerror}): let this user write there, "
                    "or choose another --output-path"
                ) from exc
        if self.root.stat().st_dev != self.work.stat().st_dev:
            raise Fatal(
                f"{self.root} and {self.work} are on different file systems: "
                "choose an --output-path whose parent folder is on its own file system"
            )

    def lock(self) -> None:
        """Lock the directory for this process, and remove temporary files of an earlier one.

        :meth:`close` or the end of the process releases the lock. Raises ``Fatal`` if another
        master holds it.
        """
        self.check_writable()
        handle = os.open(self.work / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(handle)
            raise Fatal(
                f"another master is writing to {self.root}: end it, or choose another --output-path"
            ) from exc
        self._lock = handle
        for stale in self.work.iterdir():
            if stale.name not in (LOCK_FILE, LAYOUT_FILE):
                _discard(stale)

    def close(self) -> None:
        """Release the lock of :meth:`lock`, if this object holds it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # Paths ----------------------------------------------------------------------------------------

    def project_dir(self, package: str) -> Path:
        """Return the folder of *package* in the simple index. Raises ``ValueError``."""
        return self.root / "simple" / _checked_name(package)

    def page_dir(self, package: str) -> Path:
        """Return the folder of the project page. Raises ``ValueError``."""
        return self.root / "project" / _checked_name(package)

    def log_path(self, build_id: int) -> Path:
        """Return the path of a build's log. Raises ``ValueError``."""
        return self.root / log_name(build_id)

    def temporary(self, suffix: str = "") -> Path:
        """Create an empty file in the working directory; the caller removes or publishes it."""
        self.work.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(suffix=suffix, dir=self.work)
        os.close(handle)
        return self.work / os.path.basename(name)  # noqa: PTH119 (fast: one object less per page)

    # Notes in the working directory ---------------------------------------------------------------

    def note(self, name: str, text: str) -> None:
        """Write *text* to the file *name* of the working directory, for a later master."""
        tmp = self.temporary()
        try:
            tmp.write_text(text, encoding="ascii")
            tmp.replace(self.work / name)
        finally:
            tmp.unlink(missing_ok=True)

    def read_note(self, name: str) -> str:
        """Return what :meth:`note` has written; ``""`` if there is nothing readable."""
        try:
            with (self.work / name).open("rb") as file:
                return file.read(1000).decode("ascii", "replace")
        except OSError:
            return ""

    # Writing --------------------------------------------------------------------------------------

    def publish(self, tmp: Path, package: str, filename: str, metadata: bytes) -> None:
        """Publish the wheel *tmp* as *filename* of *package*, together with its *metadata*.

        The ``.metadata`` file (PEP 658) is written first, so that no wheel lacks it. Both are
        synced to the disk on return. Raises ``BadWheel`` if *filename* is not a wheel of *package*.
        """
        if canonical(parse_filename(filename).package) != canonical(package):
            raise BadWheel(f"{filename} is not a file of {package}")
        target = self.project_dir(package) / filename
        self.write(target.with_name(f"{filename}.metadata"), metadata, sync=False)
        tmp.chmod(0o644)
        with tmp.open("rb") as file:
            os.fsync(file.fileno())
        self._place(tmp, target)
        self.sync([target.parent])

    def write(self, path: Path, data: bytes, *, sync: bool = True) -> bool:
        """Write *data* to *path*; return whether the file has changed.

        A file with equal contents is not touched. Without *sync*, call :meth:`sync` for the folder
        afterwards.
        """
        self._guard(path)
        if _holds(path, data):
            return False
        tmp = self.temporary()
        try:
            with tmp.open("wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            self._place(tmp, path)
        finally:
            tmp.unlink(missing_ok=True)
        if sync:
            self.sync([path.parent])
        return True

    def write_all(self, files: Mapping[Path, bytes]) -> bool:
        """Write *files* in this order and sync them; return whether any has changed."""
        changed = {
            path.parent for path, data in files.items() if self.write(path, data, sync=False)
        }
        self.sync(changed)
        return bool(changed)

    def write_pages(self, files: Mapping[Path, bytes]) -> bool:
        """Write *files* as :meth:`write_all`, each with a compressed copy for web servers.

        The copies come last: until then, a server sends an earlier page, but no page twice.
        """
        changed = self.write_all(files)
        packed = {
            _copy(path): gzip.compress(data, 6, mtime=0)  # without a time, equal data stay equal
            for path, data in files.items()
            if len(data) >= MIN_PACKED
        }
        for path, data in files.items():
            if len(data) < MIN_PACKED:
                self.remove(_copy(path))
        return self.write_all(packed) or changed

    def link_page(self, path: Path, target: str) -> None:
        """Make *path* a link to the page *target*, and its compressed copy one to that of it."""
        self.link(path, target)
        if _copy(path.with_name(target)).exists():
            self.link(_copy(path), f"{target}{PACKED}")
        else:
            self.remove(_copy(path))

    def remove_page(self, path: Path) -> None:
        """Remove a page; first its compressed copy, because web servers prefer it."""
        self.remove(_copy(path))
        self.remove(path)

    def write_log(self, build_id: int, text: str) -> Path:
        """Write a build's log, compressed; return its folder, for the caller to :meth:`sync`.

        Equal text gives equal bytes, because the file contains no time.
        """
        path = self.log_path(build_id)
        self.write(path, gzip.compress(text.encode("utf-8", "replace"), mtime=0), sync=False)
        return path.parent

    def read_log(self, build_id: int) -> str | None:
        """Return the log of a build, or ``None`` if there is none.

        Reads no more than the maximum size of a log. Raises ``OSError`` for a damaged file.
        """
        try:
            data = self._read(self.log_path(build_id), 2 * MAX_LOG)
        except ValueError:
            data = None
        if data is None:
            return None
        try:
            text = gzip.GzipFile(fileobj=io.BytesIO(data)).read(MAX_LOG)
        except (EOFError, zlib.error) as exc:
            raise OSError(errno.EINVAL, f"damaged ({exc})") from exc
        return text.decode("utf-8", "replace")

    def read_metadata(self, package: str, filename: str) -> bytes | None:
        """Return the METADATA of the wheel *filename* of *package*, or ``None`` if it is missing.

        Raises ``ValueError`` for a bad name, and ``OSError`` for a file that is none or too large.
        """
        if "/" in filename:
            raise ValueError(f"{filename!r} is not the name of a wheel")
        return self._read(self.project_dir(package) / f"{filename}.metadata", MAX_METADATA)

    def has_page(self, package: str) -> bool:
        """Return whether *package* has a project page."""
        try:
            return (self.page_dir(package) / "index.html").is_file()
        except ValueError:
            return False

    def link(self, path: Path, target: str) -> bool:
        """Make *path* a symbolic link to *target* in the same folder; return whether it is new.

        Raises ``OSError`` if *path* is a directory.
        """
        if "/" in target or target in {"", ".", ".."}:
            raise ValueError(f"{target!r} is not a file name to link to")
        self._guard(path)
        if path.is_symlink() and os.readlink(path) == target:  # noqa: PTH115 (text, not a path)
            return False
        tmp = self.temporary()
        try:
            tmp.unlink()
            tmp.symlink_to(target)
            self._place(tmp, path)
        finally:
            tmp.unlink(missing_ok=True)
        return True

    def link_alias(self, package: str, alias: str) -> bool:
        """Link *alias*, a spelling of *package*, to its page; return whether the link is new."""
        if not ALIAS.fullmatch(alias) or len(alias) > _MAX_NAME:
            raise ValueError(f"{alias[:_MAX_NAME]!r} is not the name of a project")
        page = self.page_dir(package)
        if alias == page.name:
            return False
        made = self.link(page.with_name(alias), page.name)
        self._links.setdefault(page.name, set()).add(alias)
        return made

    def sync(self, folders: Iterable[Path]) -> None:
        """Sync *folders*, so that the names of new files survive a crash."""
        for folder in sorted(folders):
            with suppress(FileNotFoundError):
                _sync_folder(folder)

    # Removing -------------------------------------------------------------------------------------

    def remove(self, path: Path) -> bool:
        """Remove the file or link *path*; return whether it existed."""
        self._guard(path)
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def remove_folder(self, path: Path) -> bool:
        """Remove the folder *path* atomically, with its contents; return whether it existed."""
        self._guard(path)
        if path.is_symlink():
            return self.remove(path)
        removed = self.temporary()
        removed.unlink()
        try:
            path.rename(removed)
        except FileNotFoundError:
            return False
        _discard(removed)
        return True

    def files_of(self, package: str, version: str) -> list[Path]:
        """Return the files of *version* in the simple index, including ``.metadata``."""
        return sorted(
            path
            for path in _entries(self.project_dir(package))
            if (found := _version_of(path.name)) is not None and same_version(found, version)
        )

    # Project pages --------------------------------------------------------------------------------

    def pages(self) -> list[str]:
        """Return the projects that have a page (600,000 take one second)."""
        return [
            entry.name
            for entry in _scan(self.root / "project")
            if entry.is_dir(follow_symlinks=False) and _CANONICAL.fullmatch(entry.name)
        ]

    def aliases_of(self, package: str) -> list[Path]:
        """Return the aliases of *package* that this object knows."""
        name = _checked_name(package)
        return sorted(self.root / "project" / alias for alias in self._links.get(name, ()))

    @property
    def _links(self) -> dict[str, set[str]]:
        if self._aliases is None:
            self._aliases = {}
            for entry in _scan(self.root / "project"):
                if entry.is_symlink():
                    target = os.readlink(entry)  # noqa: PTH115 (text, not a path)
                    self._aliases.setdefault(target, set()).add(entry.name)
        return self._aliases

    # Helpers --------------------------------------------------------------------------------------

    def _read(self, path: Path, limit: int) -> bytes | None:
        """Return the content of the regular file *path*, or ``None`` if it does not exist.

        Raises ``ValueError`` if it is outside of the site, and ``OSError`` if it is something else
        or has more than *limit* bytes.
        """
        self._guard(path)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        with os.fdopen(handle, "rb") as file:
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode) or about.st_size > limit:
                raise OSError(errno.EINVAL, "not a file that the master has written", str(path))
            return file.read(limit)

    def _guard(self, path: Path) -> None:
        """Raise ``ValueError`` unless *path*, with links resolved, is inside the site."""
        inside = path.parent.resolve().is_relative_to(self.root)
        if not inside or path == self.root or path.name in {"", ".", ".."} or "\0" in str(path):
            raise ValueError(f"{path} is not inside {self.root}")

    def _place(self, tmp: Path, path: Path) -> None:
        self._guard(path)
        for _ in range(3):
            _make_folder(path.parent)
            with suppress(FileNotFoundError):  # another thread has just removed the folder
                tmp.replace(path)
                return
        tmp.replace(path)


def _copy(path: Path) -> Path:
    return path.with_name(f"{path.name}{PACKED}")


def _checked_name(package: str) -> str:
    name = canonical(package)
    if len(name) > _MAX_NAME or not _CANONICAL.fullmatch(name):
        raise ValueError(f"{package[:_MAX_NAME]!r} is not the name of a project")
    return name


def _version_of(name: str) -> str | None:
    wheel = parse_if_wheel(name.removesuffix(".metadata"))
    return None if wheel is None else wheel.version


def _entries(folder: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError):
        yield from folder.iterdir()


def _scan(folder: Path) -> Iterator[os.DirEntry[str]]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        yield from entries


def _holds(path: Path, data: bytes) -> bool:
    """Return whether *path* is a regular file with exactly these bytes."""
    try:
        return (
            not path.is_symlink() and path.stat().st_size == len(data) and path.read_bytes() == data
        )
    except OSError:
        return False


def _make_folder(path: Path) -> None:
    """Create *path* and its parents, and sync each parent, so that a crash loses no files."""
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(mode=0o755, exist_ok=True)
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
