"""Queries of piw-audit: what the site must contain, and whether derived data is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from piwheels.core.database import Database
from piwheels.core.database.builds import FULL_REFRESH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class AuditFile(NamedTuple):
    """A file. Hashes: SHA-256 in hexadecimal.

    *shown*: it must be there (its version is not marked as deleted); *listed*: the index must have
    it (neither its version nor its package is in quarantine either).
    """

    filename: str
    version: str
    filesize: int
    filehash: str
    metadata_hash: str | None
    requires_python: str | None
    yanked: bool
    shown: bool
    listed: bool


class AuditBuild(NamedTuple):
    """A build; *pending*: its log is in no file yet."""

    build_id: int
    version: str
    pending: bool


class AuditPackage(NamedTuple):
    """What the site must have of a package.

    *rewriting*: its pages wait to be written; *names*: its other spellings; *leased*: the versions
    that are being built, or were within the hour.
    """

    package: str
    deleted: bool
    status: str
    rewriting: bool
    names: list[str]
    leased: list[str]
    builds: list[AuditBuild]
    files: list[AuditFile]


class DerivedFault(NamedTuple):
    """Something within the database that is not as it must be."""

    kind: str
    package: str
    subject: str
    why: str


class AuditDatabase(Database):
    """The database as piw-audit asks it: a page at a time, and one moment a question."""

    def audit_totals(self, packages: Sequence[str] | None) -> tuple[int, int]:
        """Return how many packages and bytes there are, of *packages* or (none given) of all."""
        ((count, size),) = self._rows("audit_totals", packages and list(packages))
        return count, size

    def audit_names(self, after: str, limit: int) -> list[str]:
        """Return up to *limit* packages after the name *after*, in order."""
        return self._column("audit_names", after, limit)

    def audit_packages(self, packages: Sequence[str]) -> list[AuditPackage]:
        """Return what the site must have of those of *packages* that are known."""
        return [
            AuditPackage._make(
                [*rest, [AuditBuild(*b) for b in builds], [AuditFile(**f) for f in files]]
            )
            for *rest, builds, files in self._rows("audit_packages", list(packages))
        ]

    def audit_spellings(self, names: Sequence[str]) -> dict[str, tuple[str, bool]]:
        """Return which packages *names* are spellings of, and whether these are deleted."""
        rows = self._rows("audit_spellings", list(names))
        return {name: (package, deleted) for name, package, deleted in rows}

    def audit_builds(self, build_ids: Iterable[int]) -> set[int]:
        """Return which of these builds there are, or have logs that are about to be removed."""
        return set(self._column("audit_builds", list(build_ids)))

    def audit_published(self, after: str, limit: int) -> list[tuple[str, bool]]:
        """Return up to *limit* packages with files after *after*, and whether some are shown."""
        return self._rows("audit_published", after, limit)

    def audit_derived(self, limit: int) -> list[DerivedFault]:
        """Return up to *limit* faults of each kind within the database, all of one moment."""
        rows = self._rows("audit_derived", limit, limit=FULL_REFRESH)
        return [DerivedFault(*row) for row in rows]

    def refresh_derived(self) -> None:
        """Rebuild all derived tables; blocks writers."""
        self._rows("refresh_derived", limit=FULL_REFRESH)
