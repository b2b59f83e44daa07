"""The queries of piw-audit: the expected content of the site, and errors in derived data."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from piwheels.core.database import Database
from piwheels.core.database.builds import FULL_REFRESH
from piwheels.core.pythons import excluded_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class AuditFile(NamedTuple):
    """A file; hashes are SHA-256 in hexadecimal.

    *shown*: the file must exist on the site (its version is not marked as deleted); *listed*: the
    index must list it (neither its version nor its package is quarantined, either).
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
    """A build; *pending*: its log is not yet in a file; *shown*: its version is not deleted."""

    build_id: int
    version: str
    pending: bool
    shown: bool


class AuditPackage(NamedTuple):
    """The expected content of the site for a package.

    *rewriting*: its pages wait to be rewritten; *names*: its aliases; *leased*: the versions that
    are being built, or were within the last hour.
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
    """An error in the derived data of the database."""

    kind: str
    package: str
    subject: str
    why: str


class AuditDatabase(Database):
    """The queries of piw-audit, one page at a time; each query sees one snapshot."""

    def audit_totals(self, packages: Sequence[str] | None) -> tuple[int, int]:
        """Return the number of packages and of bytes, of *packages* or (``None``) of all."""
        ((count, size),) = self._rows("audit_totals", packages and list(packages))
        return count, size

    def audit_names(self, after: str, limit: int) -> list[str]:
        """Return up to *limit* packages after *after*, sorted by name."""
        return self._column("audit_names", after, limit)

    def audit_packages(self, packages: Sequence[str]) -> list[AuditPackage]:
        """Return the expected content of the site for the existing ones of *packages*."""
        return [
            AuditPackage._make(
                [*rest, [AuditBuild(*b) for b in builds], [AuditFile(**f) for f in files]]
            )
            for *rest, builds, files in self._rows("audit_packages", list(packages))
        ]

    def audit_spellings(self, names: Sequence[str]) -> dict[str, tuple[str, bool]]:
        """Return the packages that *names* spell, and whether they are deleted."""
        rows = self._rows("audit_spellings", list(names))
        return {name: (package, deleted) for name, package, deleted in rows}

    def audit_builds(self, build_ids: Iterable[int]) -> set[int]:
        """Return which of these builds exist, or have logs that are about to be removed."""
        return set(self._column("audit_builds", list(build_ids)))

    def audit_published(self, after: str, limit: int) -> list[tuple[str, bool]]:
        """Return up to *limit* packages with files after *after*, and whether any is shown."""
        return self._rows("audit_published", after, limit)

    def audit_derived(self, limit: int) -> list[DerivedFault]:
        """Return up to *limit* errors of each kind in derived data."""
        rows = self._rows("audit_derived", limit, limit=FULL_REFRESH)
        return [DerivedFault(*row) for row in (*rows, *self._wrong_requirements()[:limit])]

    def _wrong_requirements(self) -> list[tuple[str, str, str, str]]:
        """Return an error for each Requires-Python with a wrong mask (core/pythons.py)."""
        rows = self._rows("audit_requirements", limit=FULL_REFRESH)
        return [
            (
                "wrong-requirement", package, version,
                f"excludes the Pythons of {mask:#x} by {text[:100]!r} (in {count} versions),"
                f" but should exclude {excluded_by(text):#x}",
            )
            for text, mask, package, version, count in rows
            if mask != excluded_by(text)
        ]  # fmt: skip

    def refresh_derived(self) -> None:
        """Rebuild all derived data; blocks writers."""
        texts = sorted({row[0] for row in self._rows("audit_requirements", limit=FULL_REFRESH)})
        masks = list(map(excluded_by, texts))
        self._rows("correct_requirements", texts, masks, limit=FULL_REFRESH)
        self._rows("refresh_derived", limit=FULL_REFRESH)
