"""Walk over the site, and find unknown entries and dangling links."""

from __future__ import annotations

import stat
from itertools import islice
from typing import TYPE_CHECKING, Final

from piwheels.audit.findings import Finding
from piwheels.audit.pages import LIST, MUST, foreign
from piwheels.audit.tree import reason
from piwheels.core.site import INDEX_FILES, OWN, log_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piwheels.audit.packages import AuditContext
    from piwheels.core.database.audit import AuditDatabase

#: The number of names in one query.
BATCH: Final = 1000
_FOLDERS: Final = ("simple", "project", "logs")


def batches(names: Iterator[str]) -> Iterator[list[str]]:
    """Yield *names* in lists of :data:`BATCH`."""
    while some := list(islice(names, BATCH)):
        yield some


class Walk:
    """The walk, level by level. It does not descend into unknown folders."""

    def __init__(self, context: AuditContext, db: AuditDatabase) -> None:
        self._context, self._tree, self._db = context, context.tree, db
        self.errors: list[Finding] = []

    def entries(self, folder: str) -> Iterator[list[str]]:
        """Yield the paths in *folder*, in batches."""
        there, found = self._tree.folder(folder)
        self.errors += found
        if not there:
            return
        try:
            for some in batches(self._tree.names(folder)):
                yield [f"{folder}/{name}" if folder else name for name in some]
        except OSError as exc:
            self.errors.append(Finding("unreadable", folder or ".", reason(exc)))

    def root(self, paths: list[str]) -> Iterator[Finding]:
        """Yield the findings about these entries of the site's root."""
        for path in paths:
            if path in (*MUST, LIST):
                continue  # check_root checks them
            if OWN.fullmatch(path):
                yield from self._tree.file(path, "missing-page", "has disappeared")[1]
            elif path not in _FOLDERS:
                yield foreign(self._context, path)

    def simple(self, paths: list[str]) -> Iterator[Finding]:
        """Yield the findings about these entries of the simple index."""
        for path, name, package, _ in self._known(paths):
            if name != package and name not in INDEX_FILES:
                yield foreign(self._context, path)

    def project(self, paths: list[str]) -> Iterator[Finding]:
        """Yield the findings about these entries of the project pages."""
        for path, name, package, deleted in self._known(paths):
            target = self._tree.target(path)
            if not target and name != package:
                yield foreign(self._context, path)
            elif target and (deleted or not package):
                yield self._link(path, target)

    def _link(self, path: str, target: str) -> Finding:
        if self._tree.outside(path):
            return self._tree.link(path)
        if self._tree.about(f"project/{target}") is None:
            return Finding("dangling-alias", path, f"leads to {target}, which is missing")
        return Finding("foreign", path, f"is a link to {target} that the database does not have")

    def _known(self, paths: list[str]) -> Iterator[tuple[str, str, str, bool]]:
        """Yield each path with its name, the package it spells (``""``: none), and if deleted."""
        names = [path.partition("/")[2] for path in paths]
        # The database has no other names.
        valid = [name for name in names if name.isascii() and name.isprintable()]
        known = self._db.audit_spellings(valid)
        for path, name in zip(paths, names, strict=True):
            yield path, name, *known.get(name, ("", False))

    def log_folders(self) -> Iterator[list[str]]:
        """Yield the paths of all three levels below ``logs``, in batches."""
        for first in self.entries("logs"):
            yield first
            for folder in first:
                if self._is_part(folder):
                    for second in self.entries(folder):
                        yield second
                        for inner in second:
                            if self._is_part(inner):
                                yield from self.entries(inner)

    def logs(self, paths: list[str]) -> Iterator[Finding]:
        """Yield the findings about these entries of the log folders."""
        numbers = {path: log_number(path) for path in paths}
        known = self._db.audit_builds({each for each in numbers.values() if each is not None})
        for path, number in numbers.items():
            if number is None:
                if not self._is_part(path):
                    yield foreign(self._context, path)
            elif number not in known and self._tree.about(path) is not None:
                why = f"build {number} does not exist"
                yield Finding("foreign-log", path, why)

    def _is_part(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        if path.count("/") > 2 or len(name) != 4 or not (name.isascii() and name.isdecimal()):
            return False
        try:
            about = self._tree.about(path)
        except OSError:
            return False
        return about is not None and stat.S_ISDIR(about.st_mode)
