"""Take over the site of the existing implementation: its wheels and logs.

The database decides. A wheel that is missing or damaged loses its row; a wheel gets its
``.metadata``. Used in place, the site keeps what the database knows, and everything else moves to a
folder next to it; nothing is deleted. A copy has only what the database knows. The master writes
all pages when it starts.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from piwheels.core.errors import BadWheel
from piwheels.core.program.locks import is_locked
from piwheels.core.site import (
    FEED,
    INDEX_FILES,
    LAYOUT,
    LAYOUT_FILE,
    LOCK_FILE,
    OWN,
    PACKED,
    log_name,
    log_number,
    work_path,
)
from piwheels.core.text import clean
from piwheels.core.wheels.inspection import inspect_wheel
from piwheels.core.wheels.tags import canonical
from piwheels.initdb.schema import CannotInit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from sqlalchemy.engine import Connection

    from piwheels.core.program.terminal import Progress

#: How many packages are one transaction; how many threads read wheels.
_BATCH: Final = 1000
_THREADS: Final = 4
#: So many files are looked for first; if none is there, the site is another one.
_SAMPLE: Final = 100
#: The builds whose logs share a folder.
_LOGS: Final = 10_000
#: The folders of a site, and what those of a project page may have.
_FOLDERS: Final = frozenset({"simple", "project", "logs"})
_PAGES: Final = frozenset(
    {"badge.svg", *(f"{name}{end}" for name in ("index.html", FEED) for end in ("", PACKED))}
)
_JSON: Final = frozenset({"index.json", f"index.json{PACKED}"})
_PART: Final = re.compile(r"[0-9]{4}", re.ASCII)
_NOTE: Final = "SELECT note FROM peer.steps WHERE step = %s"
_NO_LOG: Final = "This build is older than this farm, and its log was not kept.\n"


class _Package(NamedTuple):
    """A package with its spellings there, and the sizes of its files."""

    name: str
    spellings: list[str]
    sizes: dict[str, int]


class _Found(NamedTuple):
    """The SHA-256 of the METADATA of the good files, and why the others are lost."""

    metadata: dict[str, str]
    lost: dict[str, str]


class SiteImport:
    """Takes over *site*, or copies it to *copy*, for the database of *conn*."""

    def __init__(self, site: Path, copy: Path | None, conn: Connection) -> None:
        self._source = site.resolve()
        self._site = self._source if copy is None else copy.resolve()
        self._in_place = copy is None
        self._work = work_path(self._site)
        self._aside = self._site.with_name(f"{self._site.name}.left-out")
        self._conn = conn

    def files(self, progress: Progress) -> None:
        """Take over the files of all packages, or those that an interrupted import has left."""
        with _explained(self):
            self._check()
            with progress, ThreadPoolExecutor(_THREADS) as pool:
                while self._packages(pool, progress):
                    pass
            if self._in_place:
                self._sweep()
            # The master need not write the pages once more than the database requests
            (self._work / LAYOUT_FILE).write_text(f"{LAYOUT}\n")

    def _check(self) -> None:
        if not (self._source / "simple").is_dir():
            raise CannotInit(f"{self._source} has no folder simple: check --site")
        if is_locked(self._work / LOCK_FILE):
            raise CannotInit(f"a master writes to {self._site}: stop it")
        if self._site != self._source and (
            self._site.is_relative_to(self._source) or self._source.is_relative_to(self._site)
        ):
            raise CannotInit(f"{self._site} and {self._source} contain one another")
        for folder in (self._site / name for name in sorted(_FOLDERS)):
            if folder.is_symlink():
                raise CannotInit(
                    f"{folder} is a link: the master does not follow links; mount the folder there,"
                    " or use --copy-site"
                )
        for folder in (self._site / "simple", self._work):
            folder.mkdir(parents=True, exist_ok=True)
        with self._conn.begin():
            begun = self._note("site")
            sample = self._rows(
                "SELECT s.their_package, f.filename FROM files f JOIN builds b USING (build_id)"
                " JOIN peer.spellings s USING (package, version) LIMIT %s",
                0 if begun else _SAMPLE,
            )  # fmt: skip
        paths = [self._source / "simple" / folder / name for folder, name in sample]
        paths += [path.parent.with_name(canonical(path.parent.name)) / path.name for path in paths]
        if paths and not any(map(_is_file, paths)):
            raise CannotInit(
                f"{self._source} has none of {len(sample)} files of the database: check --site"
            )

    # Wheels -----------------------------------------------------------------------------------

    def _packages(self, pool: ThreadPoolExecutor, progress: Progress) -> bool:
        """Take over the files of the next packages; return whether there were any."""
        with self._conn.begin():
            packages = self._next_packages(self._note("site"))
            if not packages:
                return False
            metadata: dict[str, str] = {}
            lost: dict[str, str] = {}
            for found in pool.map(self._take, packages):
                metadata |= found.metadata
                lost |= found.lost
            os.sync()
            self._sql(
                "UPDATE files f SET metadata_hash = k.hash"
                " FROM unnest(%s::text[], %s::text[]) AS k (filename, hash)"
                " WHERE f.filename = k.filename",
                list(metadata), list(metadata.values()),
            )  # fmt: skip
            self._forget(lost)
            self._set_note("site", packages[-1].name)
        progress.step(len(packages), packages[-1].name)
        return True

    def _next_packages(self, after: str) -> list[_Package]:
        rows = self._rows(
            """
            SELECT p.package, ARRAY(SELECT spelled FROM peer.names n WHERE n.package = p.package),
                (SELECT coalesce(json_object_agg(f.filename, f.filesize), '{}')
                FROM builds b JOIN files f USING (build_id) WHERE b.package = p.package)
            FROM packages p WHERE p.package > %s ORDER BY p.package LIMIT %s
            """,
            after, _BATCH,
        )  # fmt: skip
        return [_Package(*row) for row in rows]

    def _take(self, package: _Package) -> _Found:
        """Take over the files of a *package*."""
        found = _Found({}, {})
        if (folder := self._site / "simple" / package.name).is_symlink() and self._in_place:
            self._move(folder)
        for filename, size in package.sizes.items():
            try:
                found.metadata[filename] = self._take_file(package, filename, size)
            except BadWheel as exc:
                found.lost[filename] = str(exc)
        return found

    def _take_file(self, package: _Package, filename: str, size: int) -> str:
        """Put a wheel and its ``.metadata`` in place; return the SHA-256 of that."""
        path = self._site / "simple" / package.name / filename
        source = self._find(package, filename)
        if source is None:
            raise BadWheel("the site does not have it")
        about = source.lstat()
        if about.st_size != size:
            raise BadWheel(f"it has {about.st_size:,} bytes, the database says {size:,}")
        metadata = inspect_wheel(source, package=package.name, filename=filename).metadata
        path.parent.mkdir(exist_ok=True)
        if not self._in_place:
            self._copy(source, path)
        elif source != path:
            source.rename(path)
        _make_readable(path)
        self._write(path.with_name(f"{filename}.metadata"), metadata)
        return sha256(metadata).hexdigest()

    def _find(self, package: _Package, filename: str) -> Path | None:
        for folder in dict.fromkeys([package.name, *package.spellings]):
            path = self._source / "simple" / folder / filename
            if not path.parent.is_symlink() and _is_file(path):
                return path
        return None

    def _forget(self, lost: dict[str, str]) -> None:
        """Delete the rows of the *lost* files, whose names stay taken."""
        names = list(lost)
        self._sql(
            "INSERT INTO peer.left_out (kind, what, why)"
            " SELECT 'files', * FROM unnest(%s::text[], %s::text[])",
            names, list(lost.values()),
        )  # fmt: skip
        self._sql(
            "INSERT INTO retired_files (filename, filehash, package)"
            " SELECT f.filename, f.filehash, b.package FROM files f JOIN builds b USING (build_id)"
            " WHERE f.filename = ANY (%s) ON CONFLICT DO NOTHING",
            names,
        )
        for table in ("dependencies", "files"):
            self._sql(f"DELETE FROM {table} WHERE filename = ANY (%s)", names)  # noqa: S608

    # Everything else ----------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Move aside what does not belong to the site, except for logs."""
        with self._conn.begin():
            after = ""
            while some := self._next_packages(after):
                for package in some:
                    self._keep_pages(package.name, package.sizes)
                after = some[-1].name
            packages = {name for (name,) in self._rows("SELECT package FROM packages")}
            aliases = dict(map(tuple, self._rows("SELECT name, package FROM package_names")))

            def is_page(entry: os.DirEntry[str]) -> bool:
                if entry.is_symlink():
                    return Path(entry).readlink() == Path(aliases.get(entry.name, "/"))
                return entry.name in packages and entry.is_dir()

            self._keep(
                self._site,
                lambda entry: (
                    (entry.is_dir(follow_symlinks=False) and entry.name in _FOLDERS)
                    or (entry.is_file(follow_symlinks=False) and bool(OWN.fullmatch(entry.name)))
                ),
            )
            self._keep(
                self._site / "simple",
                lambda entry: (
                    entry.name in packages
                    if entry.is_dir(follow_symlinks=False)
                    else entry.name in INDEX_FILES
                ),
            )
            self._keep(self._site / "project", is_page)

    def _keep_pages(self, package: str, files: Collection[str]) -> None:
        """Keep only the *files* and the pages of a *package*."""
        page = self._site / "project" / package
        known = {*INDEX_FILES, *files, *(f"{name}.metadata" for name in files)}
        self._keep(self._site / "simple" / package, lambda e: e.name in known and not e.is_dir())
        self._keep(page, lambda e: e.name == "json" if _is_folder(e) else e.name in _PAGES)
        self._keep(page / "json", lambda e: e.name in _JSON and not _is_folder(e))

    def _keep(self, folder: Path, wanted: Callable[[os.DirEntry[str]], bool]) -> None:
        """Move all entries of *folder* aside that are not *wanted*; let everybody list it."""
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            self._move(folder)
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            _make_readable(folder, 0o555)
            for entry in list(entries):
                if not wanted(entry):
                    self._move(Path(entry))

    def _move(self, path: Path) -> None:
        """Move *path* aside, under the same path."""
        target = self._aside / path.relative_to(self._site)
        target.parent.mkdir(parents=True, exist_ok=True)
        number, free = 0, target
        while os.path.lexists(free):
            number += 1
            free = target.with_name(f"{target.name}.{number}")
        path.rename(free)

    def report(self) -> None:
        """Note in the report what was moved aside, by this run or an earlier one."""
        moved = [
            clean(str(Path(folder, name).relative_to(self._aside)), 8192)
            for folder, folders, names in os.walk(self._aside)
            for name in (*names, *(each for each in folders if Path(folder, each).is_symlink()))
        ]
        self._sql(
            "INSERT INTO peer.changed (kind, what, why)"
            " SELECT 'site', what, %s FROM unnest(%s::text[]) AS what",
            f"moved to {self._aside}", moved,
        )  # fmt: skip

    # Logs -------------------------------------------------------------------------------------

    def logs(self) -> None:
        """Take over the logs of the builds that the database has; the others get a short one."""
        with _explained(self), self._conn.begin():
            rows = self._rows(f"SELECT DISTINCT build_id / {_LOGS} FROM builds")  # noqa: S608
            parts = {part for (part,) in rows} | set(self._log_folders())
            done = int(self._note("logs") or -1)
        for part in sorted(part for part in parts if part > done):
            with _explained(self), self._conn.begin():
                self._take_logs(part)
                self._set_note("logs", str(part))

    def _log_folders(self) -> Iterator[int]:
        logs = self._source / "logs"
        for path in sorted(logs.glob("[0-9][0-9][0-9][0-9]/[0-9][0-9][0-9][0-9]")):
            yield int(f"{path.parent.name}{path.name}")
        if self._in_place:
            self._keep(logs, _is_part)
            for folder in list(logs.glob("*")):
                self._keep(folder, _is_part)

    def _take_logs(self, part: int) -> None:
        first = part * _LOGS
        rows = self._rows(
            "SELECT build_id FROM builds WHERE build_id BETWEEN %s AND %s", first, first + _LOGS - 1
        )
        known = {build for (build,) in rows}
        folder = Path(log_name(first)).parent
        there = {
            number: path
            for path in sorted((self._source / folder).glob("*"))
            if (number := log_number(f"{folder}/{path.name}")) in known and _is_log(path)
        }
        if self._in_place:
            kept = {path.name for path in there.values()}
            self._keep(self._site / folder, lambda entry: entry.name in kept)
        for path in there.values():
            if not self._in_place:
                self._copy(path, self._site / folder / path.name)
            _make_readable(self._site / folder / path.name)
        self._sql(
            "INSERT INTO build_logs_pending (build_id, output)"
            " SELECT build, %s FROM unnest(%s::bigint[]) AS build ON CONFLICT DO NOTHING",
            _NO_LOG, sorted(known - there.keys()),
        )  # fmt: skip

    # Helpers ------------------------------------------------------------------------------------

    def _copy(self, source: Path, path: Path) -> None:
        """Copy *source* to *path*, unless an earlier run has."""
        if _is_file(path) and path.stat().st_size == source.stat().st_size:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._temporary() as name:
            shutil.copyfile(source, name)
            Path(name).replace(path)

    def _write(self, path: Path, data: bytes) -> None:
        """Write *data* to *path*, which web servers may be reading."""
        if _is_file(path) and path.read_bytes() == data:
            _make_readable(path)
            return
        with self._temporary() as name:
            Path(name).write_bytes(data)
            Path(name).chmod(0o644)
            Path(name).replace(path)

    @contextmanager
    def _temporary(self) -> Iterator[str]:
        handle, name = tempfile.mkstemp(prefix="peer-", dir=self._work)
        os.close(handle)
        try:
            yield name
        finally:
            Path(name).unlink(missing_ok=True)

    def _note(self, step: str) -> str:
        """Return how far an earlier run has come with *step*."""
        return "".join(note for (note,) in self._rows(_NOTE, step))

    def _set_note(self, step: str, note: str) -> None:
        self._sql(
            "INSERT INTO peer.steps (step, note) VALUES (%s, %s)"
            " ON CONFLICT (step) DO UPDATE SET note = EXCLUDED.note",
            step, note,
        )  # fmt: skip

    def _sql(self, statement: str, *values: object) -> Any:
        return self._conn.exec_driver_sql(statement, values)

    def _rows(self, query: str, *values: object) -> list[Any]:
        return list(self._sql(query, *values))

    def explain(self, exc: OSError) -> CannotInit:
        """Return the error for a file that this user cannot read or write."""
        return CannotInit(
            f"cannot use {exc.filename or self._site} ({exc.strerror}): let this user read"
            f" {self._source}, and write {self._site}, {self._work} and {self._aside}; the same"
            " command continues the import"
        )


@contextmanager
def _explained(site: SiteImport) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise site.explain(exc) from exc


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _is_part(entry: os.DirEntry[str]) -> bool:
    return _is_folder(entry) and bool(_PART.fullmatch(entry.name))


def _is_log(path: Path) -> bool:
    if not _is_file(path):
        return False
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _make_readable(path: Path, least: int = 0o444) -> None:
    """Let everybody read *path*: a web server must."""
    mode = path.stat().st_mode
    if mode & least != least:
        path.chmod(stat.S_IMODE(mode) | least)
