"""Data mirrored from the upstream index, and the watched projects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from packaging.utils import canonicalize_version

from piwheels.core.database.connection import REASON, Client, call, clean, halved, log_skipped
from piwheels.core.database.rows import (
    BINARY_ONLY,
    KnownVersion,
    UpstreamPackage,
    UpstreamVersion,
    WatchedRow,
)
from piwheels.core.errors import Rejected
from piwheels.core.pythons import excluded_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection

#: The width of columns for names of source distributions.
FILENAME: Final = 255


class Upstream(Client):
    """The queries of CloudGazer."""

    def follow_upstream(
        self,
        packages: Iterable[UpstreamPackage],
        versions: Iterable[UpstreamVersion],
        serial: int | None = None,
    ) -> list[tuple[str, str]]:
        """Apply upstream changes, and record the *serial* of the last event with them.

        *packages* has each package once, also one of which only versions change; *versions* has
        each version once, in any spelling: it means the version that is here in another one, if
        there is one (PEP 440). The call is idempotent. It returns the pages to rewrite, as packages
        with ``PROJECT``, ``BOTH`` or ``URGENT``, and records them as pending. Deletions are only
        marked: see :meth:`get_deletions`. What the database rejects is left out, and logged.
        """
        packages, versions = list(packages), list(versions)
        try:
            return self._follow(packages, versions, serial)
        except Rejected:
            found = self._follow_accepted(packages, versions)
            # Last: the serial never precedes its changes.
            return [*found, *self._follow([], [], serial)]

    def _follow(
        self,
        packages: Sequence[UpstreamPackage],
        versions: Sequence[UpstreamVersion],
        serial: int | None = None,
    ) -> list[tuple[str, str]]:
        named = {each.package for each in packages} | {each.package for each in versions}
        names = sorted(map(clean, named))

        def follow(conn: Connection) -> list[tuple[str, str]]:
            known = call(conn, "get_spellings", names)
            texts = (
                json.dumps([_package(each) for each in packages]),
                json.dumps([_version(each) for each in _spelled_as_here(versions, known)]),
            )
            columns = [package for package, _ in known], [version for _, version in known]
            return call(conn, "follow_upstream", *texts, BINARY_ONLY, serial, *columns)

        return self._try(follow, again=True)

    def _follow_accepted(
        self, packages: Sequence[UpstreamPackage], versions: Sequence[UpstreamVersion]
    ) -> list[tuple[str, str]]:
        """Store the projects that the database accepts, and what it accepts of the others."""
        found: list[tuple[str, str]] = []
        skipped: list[tuple[object, Rejected]] = []

        def skip(row: object, exc: Rejected) -> None:
            skipped.append((row, exc))

        def store(projects: Sequence[UpstreamPackage]) -> None:
            names = {each.package for each in projects}
            found.extend(self._follow(projects, [v for v in versions if v.package in names]))

        def store_in_parts(project: UpstreamPackage, _: Rejected) -> None:
            own = [each for each in versions if each.package == project.package]
            try:
                found.extend(self._follow([project], []))
            except Rejected as own_fault:
                skip(project, own_fault)
            else:
                halved(own, lambda part: found.extend(self._follow([project], part)), skip)

        halved(packages, store, store_in_parts)
        log_skipped(skipped)
        return found

    def get_deletions(self) -> list[tuple[str, str | None]]:
        """Return the versions, or whole packages (version ``None``), marked as deleted."""
        return [(package, version) for package, version in self._rows("get_deletions")]

    def get_known_versions(self, package: str) -> dict[str, KnownVersion]:
        """Return the versions of *package*, and what upstream says about them."""
        rows = self._rows("get_known_versions", clean(package))
        return {version: KnownVersion(*about) for version, *about in rows}

    def get_unpolled(self, packages: Iterable[str]) -> list[str]:
        """Return those of *packages* for which the index has not been asked yet."""
        return self._column("get_unpolled", [clean(package) for package in packages])

    def watch_package(self, package: str) -> None:
        """Watch *package* at an administrator's request."""
        self._value("watch_package", clean(package))

    def unwatch_package(self, package: str) -> bool:
        """End :meth:`watch_package`; a listed package stays watched. Return whether it applied."""
        return bool(self._value("unwatch_package", clean(package), again=False))

    def watch_listed(self, packages: Iterable[str]) -> None:
        """Watch the *packages* of the watch file; replaces the earlier list."""
        self._value("watch_listed", sorted({clean(package) for package in packages}))

    def get_watched(self) -> list[WatchedRow]:
        """Return the watched projects."""
        return [WatchedRow(*row) for row in self._rows("get_watched")]

    def watch_asked(self, row: WatchedRow) -> None:
        """Record that the index was asked for a watched project, and had nothing new about it."""
        validators = row.serial, clean(row.etag, REASON), clean(row.modified)
        self._value("watch_asked", clean(row.package), *validators)

    def watch_polled(self, row: WatchedRow) -> None:
        """Record the result of polling a watched project."""
        self._value(
            "watch_polled",
            clean(row.package),
            row.found,
            clean(row.newest),
            row.latest,
            row.serial,
            clean(row.etag, REASON),
            clean(row.modified),
        )


def _spelled_as_here(
    versions: Sequence[UpstreamVersion], here: Sequence[tuple[str, str]]
) -> list[UpstreamVersion]:
    """Return *versions* in the spellings that the database has: *here*, with their packages."""
    exact = set(here)
    new = {each.package for each in versions if (each.package, each.version) not in exact}
    known = {
        (package, canonicalize_version(version)): version
        for package, version in sorted(here)
        if package in new
    }

    def spelling(each: UpstreamVersion) -> str:
        if (each.package, each.version) in exact:
            return each.version
        return known.get((each.package, canonicalize_version(each.version)), each.version)

    return [each._replace(version=spelling(each)) for each in versions]


def _package(each: UpstreamPackage) -> dict[str, object]:
    return {
        **each._asdict(),
        "package": clean(each.package),
        "name": clean(each.name),
        "seen": _time(each.seen),
    }


def _version(each: UpstreamVersion) -> dict[str, object]:
    return {
        **each._asdict(),
        "package": clean(each.package),
        "version": clean(each.version),
        "released": _time(each.released),
        "uploaded": _time(each.uploaded),
        "added": _array(each.added),
        "removed": _array(each.removed),
        "yank_reason": clean(each.yank_reason, REASON),
        **requirement(each.requires_python),
    }


def requirement(requires_python: str | None) -> dict[str, object]:
    """Return the columns for *requires_python*: the specifier, and the Pythons that it excludes."""
    if requires_python is None:
        return {"requires_python": None, "excluded": 0}
    text = clean(requires_python, REASON)
    return {"requires_python": text, "excluded": excluded_by(text)}


def _array(names: Iterable[str]) -> list[str]:
    return sorted({clean(name, FILENAME) for name in names})


def _time(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()
