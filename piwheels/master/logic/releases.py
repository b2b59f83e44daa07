"""Reads a project's page in the upstream index, and decides what changes here. Pure.

The page is JSON (PEP 691), with sizes and times (PEP 700), yanks (PEP 592) and the project's status
(PEP 792) if the index has them.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from packaging.version import Version

from piwheels.core.database.rows import UpstreamPackage, UpstreamVersion
from piwheels.core.errors import BadMessage
from piwheels.core.pythons import excluded_by, supports
from piwheels.core.wheels.tags import canonical, is_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from piwheels.core.database.rows import KnownVersion, WatchedRow

#: The file name extensions of source distributions that pip accepts (the first is that of PEP 625).
_SUFFIXES: Final = (".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar")
_STATUSES: Final = ("active", "archived", "quarantined", "deprecated")
#: The most files of a page, and the longest text and version that are stored, in characters.
MAX_FILES: Final = 200_000
_MAX_TEXT: Final = 8192
#: The longest name of a file that is stored, in characters.
_MAX_NAME: Final = 255
MAX_VERSION: Final = 180
_VERSION: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._+!-]{{0,{MAX_VERSION - 1}}}", re.ASCII)


@dataclass(slots=True)
class Release:
    """An upstream release: its *version* as spelled there, its *sources*, its first upload time.

    It is *yanked* if all of its files are; *reason* may be empty. *wheels* is as in
    ``UpstreamVersion``. *requires* are the specifiers of its sources (``""``: of one without any),
    *marks* what the page says about the identity of each.
    """

    version: str
    sources: list[str] = field(default_factory=list)
    uploaded: datetime | None = None
    yanked: bool = True
    reason: str = ""
    wheels: str = ""
    requires: set[str] = field(default_factory=set)
    marks: list[str] = field(default_factory=list)

    @property
    def requires_python(self) -> str | None:
        """The specifier that all of its sources have; ``None`` if that is not one, or unknown."""
        return next(iter(self.requires), None) or None if len(self.requires) == 1 else None

    @property
    def excluded(self) -> int:
        """The mask of the Pythons that it excludes (:mod:`piwheels.core.pythons`)."""
        return excluded_by(self.requires_python or "")

    @property
    def digest(self) -> str:
        """The SHA-256 of its sources, in hexadecimal; ``""`` if it has none."""
        text = "\n".join(sorted(self.marks))
        return hashlib.sha256(text.encode()).hexdigest() if text else ""


class Project(NamedTuple):
    """An upstream project with its releases. *serial* is 0 if the index does not report it.

    *ignored* are the names of source distributions without a usable version.
    """

    status: str
    serial: int
    releases: dict[Version, Release]
    ignored: frozenset[str] = frozenset()


class Verdict(NamedTuple):
    """The changes that a page causes.

    *gone* are the versions that are missing upstream, unless a later page has them again; *new* are
    the releases to build. *substitute* is the release to build in place of the newest one, if that
    is yanked or gone. *row* is the new row of the watched project.
    """

    package: UpstreamPackage
    versions: list[UpstreamVersion]
    gone: set[str]
    new: list[str]
    row: WatchedRow
    substitute: UpstreamVersion | None = None


def parse(document: Any, package: str) -> Project:
    """Return the project that *document* describes. Raises ``BadMessage`` if it is invalid."""
    if not isinstance(document, dict) or not isinstance(document.get("files"), list):
        raise BadMessage("the page has no list of files (PEP 691)")
    meta, name = document.get("meta"), document.get("name")
    if not isinstance(meta, dict) or not re.fullmatch(
        r"1\.[0-9]{1,9}", str(meta.get("api-version", ""))
    ):
        raise BadMessage("the page is not of version 1 of the simple API (PEP 691)")
    if not isinstance(name, str) or canonical(name[:200]) != package:
        raise BadMessage(f"the page is of another project: {name!r:.100}")
    if len(document["files"]) > MAX_FILES:
        raise BadMessage(f"the page has more than {MAX_FILES:,} files")
    releases: dict[Version, Release] = {}
    ignored: set[str] = set()
    for file in document["files"]:
        _add(releases, ignored, file, package)
    status = document.get("project-status", {})
    word = status.get("status", "active") if isinstance(status, dict) else None
    if not isinstance(word, str):
        raise BadMessage(f"the page has an invalid status (PEP 792): {status!r:.100}")
    if word not in _STATUSES:
        word = "active"  # a status of a later standard
    return Project(word, serial_of(meta.get("_last-serial")), releases, frozenset(ignored))


def serial_of(value: Any) -> int:
    """Return the serial that *value*, a number or its digits, means; 0 if it is not a serial."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value, re.ASCII):
        return int(value)
    return value if type(value) is int and 0 < value < 2**63 else 0


def _add(releases: dict[Version, Release], ignored: set[str], file: Any, package: str) -> None:
    """Add *file* to its release, or to *ignored* if its name has no usable version."""
    filename = file.get("filename") if isinstance(file, dict) else None
    if not isinstance(filename, str):
        return
    source = text = None
    if len(filename) <= _MAX_NAME:
        source = source_version(filename, package)
        text = source or wheel_version(filename)
    if text is None:
        if filename.endswith((*_SUFFIXES, ".whl")):
            ignored.add(filename[:_MAX_NAME])
        return
    release = releases.setdefault(Version(text), Release(text))
    yanked = file.get("yanked", False)
    if not yanked:
        release.yanked = False
    elif isinstance(yanked, str):
        release.reason = release.reason or yanked[:_MAX_TEXT]
    if source is not None:
        when = _time(file.get("upload-time"))
        if not release.sources:
            release.version = source
        release.sources.append(filename)
        release.requires.add(_requires(file.get("requires-python")))
        identity = [filename, file.get("hashes"), file.get("upload-time"), file.get("size")]
        release.marks.append(json.dumps(identity, sort_keys=True))
        times = [each for each in (release.uploaded, when) if each is not None]
        release.uploaded = min(times, default=None)
    else:
        release.wheels = max(release.wheels, wheel_kind(filename))


def source_version(filename: str, package: str) -> str | None:
    """Return the version of a source distribution of *package*, ``None`` for other files."""
    suffix = next((end for end in _SUFFIXES if filename.endswith(end)), None)
    if suffix is None:
        return None
    stem = filename.removesuffix(suffix)
    for dash in re.finditer("-", stem):  # old names and versions contain dashes
        name, version = stem[: dash.start()], stem[dash.end() :]
        if canonical(name) == package and _is_version(version):
            return version
    return None


def wheel_version(filename: str) -> str | None:
    """Return the version of a wheel, ``None`` for other files."""
    parts = filename.split("-")
    good = filename.endswith(".whl") and len(parts) in (5, 6) and _is_version(parts[1])
    return parts[1] if good else None


def wheel_kind(filename: str) -> str:
    """Return ``pure`` for the name of a wheel for any machine, ``native`` for another wheel."""
    return "pure" if filename.endswith("-none-any.whl") else "native"


def _is_version(text: str) -> bool:
    return is_version(text) and bool(_VERSION.fullmatch(text))


def _requires(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) and len(value) <= _MAX_TEXT else ""


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        when = datetime.fromisoformat(value)
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return when if 1990 <= when.year < 3000 else None


def judge(
    row: WatchedRow,
    known: Mapping[str, KnownVersion],
    project: Project,
    at: datetime,
    abis: Set[str] = frozenset(),
) -> Verdict:
    """Compare the page of a project with the *known* versions and their sources.

    A project that is new here begins with its newest release that has sources and is not yanked (a
    final release, if there is one), or those for *abis*, if their Pythons need different ones.
    After that, releases with a later upload time are new; if the index reports no times, those with
    a greater version. An older release never becomes new, so that a release which an operator has
    removed does not return. When the newest version here is yanked or gone, the release before it
    takes its place. *at* is the release time for files without an upload time. A *pinned* project
    gets no other versions.
    """
    keys = {version: Version(version) for version in known if _is_version(version)}
    here = set(keys.values())
    versions = [
        _update(row.package, version, set(known[version].sources), project.releases[key])
        for version, key in keys.items()
        if key in project.releases
    ]
    buildable = {
        key: release
        for key, release in project.releases.items()
        if release.sources and not release.yanked
    }
    new = [buildable[key] for key in _new(row, buildable, abis) if key not in here]
    versions += [_added(row.package, release, at) for release in new]
    # The page of a project in quarantine is empty, although its releases still exist.
    gone = {
        version
        for version, key in keys.items()
        if known[version].sources
        and key not in project.releases
        and project.status != "quarantined"
    }
    lost = gone | {
        version
        for version, key in keys.items()
        if key in project.releases and project.releases[key].yanked and not known[version].yanked
    }
    before = (
        None if row.pinned else _before({keys[version] for version in lost}, here, buildable, abis)
    )
    package = UpstreamPackage(row.package, known=bool(versions), status=project.status)
    row = row._replace(found=True, polled=True, serial=project.serial, **_seen(row, buildable))
    substitute = None if before is None else _added(row.package, before, at)
    return Verdict(package, versions, gone, [each.version for each in new], row, substitute)


def _added(package: str, release: Release, at: datetime) -> UpstreamVersion:
    sources, when = tuple(release.sources), release.uploaded or at
    return UpstreamVersion(
        package,
        release.version,
        when,
        sources,
        wheels=release.wheels,
        requires_python=release.requires_python,
        digest=release.digest,
    )


def _before(
    lost: Set[Version],
    here: Set[Version],
    releases: Mapping[Version, Release],
    abis: Set[str],
) -> Release | None:
    """Return the newest of *releases* before the newest version *here*, if that is *lost*.

    One that supports some of *abis* is preferred.
    """
    if not lost or max(lost) < max(here):
        return None
    older = {key: release for key, release in releases.items() if key < max(lost)}
    newest = max(_newest(older, abis), default=None)
    return None if newest is None or newest in here else releases[newest]


def _update(package: str, version: str, known: set[str], release: Release) -> UpstreamVersion:
    there = set(release.sources)
    added, removed = tuple(sorted(there - known)), tuple(sorted(known - there))
    change = UpstreamVersion(package, version, added=added, removed=removed)
    return change._replace(
        yanked=release.yanked,
        yank_reason=release.reason,
        uploaded=release.uploaded,
        wheels=release.wheels,
        requires_python=release.requires_python,
        digest=release.digest,
    )


def _newest(releases: Mapping[Version, Release], abis: Set[str]) -> list[Version]:
    """Return the newest final release for each of *abis*; a pre-release if none is final.

    If none supports any of them, it is the newest one.
    """
    final = [version for version in releases if not version.is_prerelease] or list(releases)
    each = [[v for v in final if supports(releases[v].excluded, abi)] for abi in abis]
    return sorted({max(versions) for versions in each if versions}) or sorted(final)[-1:]


def _new(row: WatchedRow, releases: Mapping[Version, Release], abis: Set[str]) -> list[Version]:
    if row.pinned:
        return []
    if not row.newest:
        return _newest(releases, abis)
    return sorted(
        key
        for key, release in releases.items()
        if (
            release.uploaded > row.latest
            if release.uploaded is not None and row.latest is not None
            else key > Version(row.newest)
        )
    )


def _seen(row: WatchedRow, releases: Mapping[Version, Release]) -> dict[str, Any]:
    """Return the newest version and the latest upload time that have been seen so far."""
    if row.pinned:
        return {}
    versions = [*releases, *([Version(row.newest)] if row.newest else [])]
    times = [*(release.uploaded for release in releases.values()), row.latest]
    return {
        "newest": str(max(versions, default="")),
        "latest": max((when for when in times if when is not None), default=None),
    }
