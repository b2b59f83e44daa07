"""What a project's page in the upstream's simple index says, and what is to be done then. Pure.

The page is JSON as of PEP 691, with sizes and times (PEP 700), yanks (PEP 592) and the project's
status (PEP 792) where the index has them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from packaging.version import Version

from piwheels.core.database.rows import UpstreamPackage, UpstreamVersion
from piwheels.core.errors import BadMessage
from piwheels.core.wheels.tags import canonical, is_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from piwheels.core.database.rows import WatchedRow

#: What pip can build from (PEP 625 has the first; the others are older).
_SUFFIXES: Final = (".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar")
_STATUSES: Final = ("active", "archived", "quarantined", "deprecated")
#: How much of one page we look at, and how long the parts are that we keep.
MAX_FILES: Final = 200_000
_MAX_TEXT: Final = 8192
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,179}", re.ASCII)


@dataclass(slots=True)
class Release:
    """A version upstream: its name there, its sources, when the first of them was uploaded.

    *yanked* holds for all of its files; *reason* is why, if anybody said.
    """

    version: str
    sources: list[str] = field(default_factory=list)
    uploaded: datetime | None = None
    yanked: bool = True
    reason: str = ""


class Project(NamedTuple):
    """A project upstream, its releases by their versions; *serial* is 0 where there is none."""

    status: str
    serial: int
    releases: dict[Version, Release]


class Verdict(NamedTuple):
    """What a page means: the changes, what is gone unless a later page has it, what was new.

    *row* is what is known of the project from now on.
    """

    package: UpstreamPackage
    versions: list[UpstreamVersion]
    gone: set[str]
    new: list[str]
    row: WatchedRow


def parse(document: Any, package: str) -> Project:
    """Return what the page *document* says of *package*. Raises ``BadMessage`` if it is none."""
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
    for file in document["files"]:
        _add(releases, file, package)
    status = document.get("project-status", {})
    word = status.get("status", "active") if isinstance(status, dict) else None
    if not isinstance(word, str):
        raise BadMessage(f"the page has no such status as PEP 792 says: {status!r:.100}")
    if word not in _STATUSES:
        word = "active"  # what PEP 792 does not know yet forbids nothing that we know of
    return Project(word, serial_of(meta.get("_last-serial")), releases)


def serial_of(value: Any) -> int:
    """Return *value*, a number or its digits, if it can be a serial; else 0: there is none."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value, re.ASCII):
        return int(value)
    return value if type(value) is int and 0 < value < 2**63 else 0


def _add(releases: dict[Version, Release], file: Any, package: str) -> None:
    """Note *file*; what has no name that we can read says nothing to us."""
    filename = file.get("filename") if isinstance(file, dict) else None
    if not isinstance(filename, str) or len(filename) > 255:
        return
    source = source_version(filename, package)
    text = source or wheel_version(filename)
    if text is None:
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
        times = [each for each in (release.uploaded, when) if each is not None]
        release.uploaded = min(times, default=None)


def source_version(filename: str, package: str) -> str | None:
    """Return the version of a source distribution of *package*, ``None`` if it is no such."""
    suffix = next((end for end in _SUFFIXES if filename.endswith(end)), None)
    if suffix is None:
        return None
    stem = filename.removesuffix(suffix)
    for dash in re.finditer("-", stem):  # names had dashes once, and so have versions
        name, version = stem[: dash.start()], stem[dash.end() :]
        if canonical(name) == package and _is_version(version):
            return version
    return None


def wheel_version(filename: str) -> str | None:
    """Return the version of a wheel, ``None`` if the name is not that of one."""
    parts = filename.split("-")
    good = filename.endswith(".whl") and len(parts) in (5, 6) and _is_version(parts[1])
    return parts[1] if good else None


def _is_version(text: str) -> bool:
    return is_version(text) and bool(_VERSION.fullmatch(text))


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
    row: WatchedRow, known: Mapping[str, list[str]], project: Project, now: datetime
) -> Verdict:
    """Compare the page of a project with what is *known* of it: versions, and their sources.

    A project that is followed for the first time begins with its newest release that has sources
    (final, if there is one; not yanked); after that, what was uploaded later is new, and where the
    index tells no times, what has a greater version. What was there before is never new again, so
    that what an operator has removed stays away.
    """
    here = {Version(version): version for version in known if _is_version(version)}
    versions = [
        _update(row.package, version, set(known[version]), project.releases[key])
        for key, version in here.items()
        if key in project.releases
    ]
    buildable = {
        key: release
        for key, release in project.releases.items()
        if release.sources and not release.yanked
    }
    new = [buildable[key] for key in _new(row, buildable) if key not in here]
    versions += [
        UpstreamVersion(
            row.package, release.version, release.uploaded or now, tuple(release.sources)
        )
        for release in new
    ]
    # While a project is in quarantine, its page is empty: nothing is gone by that.
    gone = {
        version
        for key, version in here.items()
        if known[version] and key not in project.releases and project.status != "quarantined"
    }
    package = UpstreamPackage(row.package, known=bool(versions), status=project.status)
    row = row._replace(found=True, serial=project.serial, **_seen(row, buildable))
    return Verdict(package, versions, gone, [release.version for release in new], row)


def _update(package: str, version: str, known: set[str], release: Release) -> UpstreamVersion:
    there = set(release.sources)
    added, removed = tuple(sorted(there - known)), tuple(sorted(known - there))
    change = UpstreamVersion(package, version, added=added, removed=removed)
    return change._replace(yanked=release.yanked, yank_reason=release.reason)


def _new(row: WatchedRow, releases: Mapping[Version, Release]) -> list[Version]:
    if not row.newest:
        final = [version for version in releases if not version.is_prerelease]
        return [max(final or releases)] if releases else []
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
    """Return the newest version and the latest time that were seen by now."""
    versions = [*releases, *([Version(row.newest)] if row.newest else [])]
    times = [*(release.uploaded for release in releases.values()), row.latest]
    return {
        "newest": str(max(versions, default="")),
        "latest": max((when for when in times if when is not None), default=None),
    }
