"""What stands on the site's pages, from what the database knows. Pure: equal state, equal bytes.

The simple index is that of PEP 503, 592, 691, 700, 714 and 792 in API version 1.4; its JSON is made
here, its HTML (frozen by PEP 833) by a template from :func:`file_rows`. Names and texts come from
enemies: nothing here is markup yet, whoever makes markup of it escapes it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from piwheels.core.site import log_name
from piwheels.core.tags import abi_key, same_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from piwheels.core.rows import ProjectData, ProjectRelease, SimpleFile, SimpleProject

#: The version of the simple API that the pages speak.
API_VERSION: Final = "1.4"
#: The words of PEP 792; of a quarantined project, no file is listed.
_STATUSES: Final = frozenset({"active", "archived", "quarantined", "deprecated"})


# The simple index ---------------------------------------------------------------------------------


class FileRow(NamedTuple):
    """A file as the HTML of the simple index shows it; ``None``: the attribute is left out."""

    filename: str
    href: str
    requires_python: str | None
    core_metadata: str | None
    yanked: str | None


def root_json(packages: Iterable[str]) -> bytes:
    """Return the JSON of the list of all projects (PEP 691)."""
    return _json({"meta": _META, "projects": [{"name": name} for name in sorted(packages)]})


def project_json(project: SimpleProject) -> bytes:
    """Return the JSON of one project's page in the simple index (PEP 691)."""
    files = listed_files(project)
    known = {*project.versions, *(file.version for file in files)}
    versions = sorted(known, key=version_key)
    return _json(
        {
            "meta": _META,
            "name": project.package,
            "project-status": {"status": status_of(project)},
            "versions": versions,
            "files": [_file_json(file) for file in files],
        }
    )


def file_rows(project: SimpleProject) -> list[FileRow]:
    """Return what the HTML of one project's page in the simple index lists (PEP 503)."""
    return [
        FileRow(
            filename=file.filename,
            href=f"{quote(file.filename)}#sha256={file.filehash}",
            requires_python=specifier(file.requires_python),
            core_metadata=file.metadata_hash and f"sha256={file.metadata_hash}",
            yanked=file.yank_reason.strip() if file.yanked else None,
        )
        for file in listed_files(project)
    ]


def listed_files(project: SimpleProject) -> list[SimpleFile]:
    """Return the files that are offered, by version and then by name."""
    if status_of(project) == "quarantined":
        return []
    return sorted(project.files, key=lambda file: (version_key(file.version), file.filename))


def without_version(project: SimpleProject, version: str) -> SimpleProject:
    """Return *project* without the files of *version*."""
    files = [file for file in project.files if not same_version(file.version, version)]
    return project._replace(files=files)


def bad_specifiers(project: SimpleProject) -> list[tuple[str, str]]:
    """Return the files whose ``Requires-Python`` no installer could use, each with that text."""
    return [
        (file.filename, file.requires_python)
        for file in listed_files(project)
        if file.requires_python and specifier(file.requires_python) is None
    ]


def specifier(text: str | None) -> str | None:
    """Return *text* if it is a set of version specifiers (PEP 440), else ``None``.

    With an invalid one, uv drops the file and pip ignores the value; so it is never published.
    """
    if not text or not text.strip():
        return None
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        return None
    return text.strip()


def version_key(text: str) -> tuple[bool, Version, str]:
    """Return a sort key that orders versions by PEP 440; what is none comes first, as text."""
    try:
        return (True, Version(text), text)
    except InvalidVersion:
        return (False, _NO_VERSION, text)


def _file_json(file: SimpleFile) -> dict[str, Any]:
    made: dict[str, Any] = {
        "filename": file.filename,
        "url": quote(file.filename),
        "hashes": {"sha256": file.filehash},
    }
    if (requires_python := specifier(file.requires_python)) is not None:
        made["requires-python"] = requires_python
    made["size"] = file.filesize
    made["upload-time"] = file.published_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if file.yanked:
        made["yanked"] = file.yank_reason.strip() or True
    if file.metadata_hash is not None:
        made["core-metadata"] = {"sha256": file.metadata_hash}
    made["_builder-abi"] = file.builder_abi
    if file.apt_dependencies:
        made["_apt-dependencies"] = sorted(file.apt_dependencies)
    return made


def status_of(project: SimpleProject) -> str:
    """Return the word of PEP 792 that the pages show."""
    return project.status if project.status in _STATUSES else "active"


# The pages for people -----------------------------------------------------------------------------


class FileLine(NamedTuple):
    """A file as a project's page shows it."""

    filename: str
    href: str
    size: str
    requires_python: str
    apt: str


class BuildLine(NamedTuple):
    """An attempt to build a release as a project's page shows it; *log* is below the site."""

    abi: str
    status: bool
    when: str
    duration: str
    log: str


class ReleaseBlock(NamedTuple):
    """A release as a project's page shows it; *state* is one of: built, failed, waiting, skipped.

    *note* is why it is skipped or yanked (``""``: it is not, or nobody said).
    """

    version: str
    released: str
    state: str
    yanked: bool
    note: str
    files: list[FileLine]
    builds: list[BuildLine]


def release_blocks(data: ProjectData) -> list[ReleaseBlock]:
    """Return the releases of a project, newest first, with their files and builds."""
    return [_release_block(data, *item) for item in _releases(data)]


def builds_json(data: ProjectData) -> bytes:
    """Return the JSON of a project's page: what the page shows, for programs.

    Times are RFC 3339 in UTC, durations seconds, sizes bytes.
    """
    return _json({**data, "releases": dict(_releases(data))})


def search_json(index: Mapping[str, tuple[int, int]]) -> bytes:
    """Return the JSON of all packages with their downloads, last month's and all, by name."""
    return _json([[name, *index[name]] for name in sorted(index)])


def home_facts(stats: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the figures of the home page, worded, as far as *stats* has them."""
    return [
        (word, show(stats[name]))
        for name, kind, word, show in _FACTS
        if type(stats.get(name)) is kind
    ]


def size_text(size: int) -> str:
    """Return a *size* in bytes as people write it: ``1.3 MB``."""
    if size < 1000:
        return f"{size} bytes"
    value = float(size)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            break
    return f"{value:.{1 if value < 9.95 else 0}f} {unit}"


def duration_text(duration: timedelta) -> str:
    """Return a *duration* as people write it: ``2 h 5 min``."""
    seconds = max(0, round(duration.total_seconds()))
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days:,} d {hour} h"
    if hours:
        return f"{hour} h {minute} min"
    return f"{minute} min {second} s" if minutes else f"{second} s"


def _releases(data: ProjectData) -> list[tuple[str, ProjectRelease]]:
    return sorted(data["releases"].items(), key=lambda item: version_key(item[0]), reverse=True)


def _release_block(data: ProjectData, version: str, release: ProjectRelease) -> ReleaseBlock:
    builds = sorted(
        release["builds"], key=lambda build: (abi_key(build["abi_tag"]), build["build_id"])
    )
    skip = release["skip"] or data["skip"]
    if release["files"]:
        state = "built"
    elif skip:
        state = "skipped"
    elif any(not build["status"] for build in builds):
        state = "failed"
    else:
        state = "waiting"
    notes = [release["yank_reason"] if release["yanked"] else "", skip]
    return ReleaseBlock(
        version=version,
        released=f"{release['released'].astimezone(UTC):%Y-%m-%d}",
        state=state,
        yanked=release["yanked"],
        note="; ".join(filter(None, notes)),
        files=[
            FileLine(
                filename=name,
                href=quote(name),
                size=size_text(file["size"]),
                requires_python=specifier(file["requires_python"]) or "",
                apt=" ".join(sorted(file["apt_dependencies"])),
            )
            for name, file in sorted(release["files"].items())
        ],
        builds=[
            BuildLine(
                abi=build["abi_tag"],
                status=build["status"],
                when=f"{build['built_at'].astimezone(UTC):%Y-%m-%d %H:%M} UTC",
                duration=duration_text(build["duration"]),
                log=log_name(build["build_id"]),
            )
            for build in builds
        ],
    )


def _count(number: int) -> str:
    return f"{number:,}"


# Within -------------------------------------------------------------------------------------------

_META: Final = {"api-version": API_VERSION}
_NO_VERSION: Final = Version("0")
#: The home page's figures: their names in MasterStats, their types, the words, how they are shown.
_FACTS: Final = (
    ("packages_built", int, "packages", _count),
    ("files_count", int, "wheels", _count),
    ("builds_size", int, "of wheels", size_text),
    ("builds_time", timedelta, "spent building", duration_text),
    ("downloads_last_month", int, "downloads in 30 days", _count),
)


def _json(value: object) -> bytes:
    # ASCII: no reader can misread it, and no character is dangerous in a script or a page.
    return json.dumps(value, separators=(",", ":"), default=_plain).encode() + b"\n"


def _plain(value: object) -> Any:
    match value:
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        case timedelta():
            return value.total_seconds()
    raise TypeError(f"{type(value).__name__} has no place in JSON")
