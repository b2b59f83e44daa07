"""The contents of the simple index. Pure: equal state gives equal bytes.

The index implements PEP 503, 592, 691, 700, 714 and 792 in API version 1.4. This module makes its
JSON; a template makes its HTML (frozen by PEP 833) from :func:`file_rows`. Names and texts come
from untrusted sources. Nothing here is markup; the templates escape every value.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from piwheels.core.wheels.tags import same_version

if TYPE_CHECKING:
    from piwheels.core.database.rows import SimpleFile, SimpleProject

#: The version of the simple API that the pages implement.
API_VERSION: Final = "1.4"
#: The statuses of PEP 792. A quarantined project lists no files.
_STATUSES: Final = frozenset({"active", "archived", "quarantined", "deprecated"})


class FileRow(NamedTuple):
    """A file in the HTML of the simple index; ``None`` omits the attribute."""

    filename: str
    href: str
    requires_python: str | None
    core_metadata: str | None
    yanked: str | None


def project_json(project: SimpleProject) -> bytes:
    """Return a project's page in the simple index as JSON (PEP 691)."""
    files = listed_files(project)
    known = {*project.versions, *(file.version for file in files)}
    versions = sorted(known, key=version_key)
    return to_json(
        {
            "meta": _META,
            "name": project.package,
            "project-status": {"status": status_of(project)},
            "versions": versions,
            "files": [_file_json(file) for file in files],
        }
    )


def file_rows(project: SimpleProject) -> list[FileRow]:
    """Return the rows of a project's page in the simple index (PEP 503)."""
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
    """Return the files to list, by version and then by name."""
    if status_of(project) == "quarantined":
        return []
    return sorted(project.files, key=lambda file: (version_key(file.version), file.filename))


def without_version(project: SimpleProject, version: str) -> SimpleProject:
    """Return *project* without the files of *version*."""
    files = [file for file in project.files if not same_version(file.version, version)]
    return project._replace(files=files)


def bad_specifiers(project: SimpleProject) -> list[tuple[str, str]]:
    """Return the files with an invalid ``Requires-Python``, each with that text."""
    return [
        (file.filename, file.requires_python)
        for file in listed_files(project)
        if file.requires_python and specifier(file.requires_python) is None
    ]


def specifier(text: str | None) -> str | None:
    """Return *text* if it is a set of version specifiers (PEP 440), else ``None``.

    An invalid value is never published: uv would drop the file, and pip ignores the value.
    """
    if not text or not text.strip():
        return None
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        return None
    return text.strip()


def version_key(text: str) -> tuple[bool, Version, str]:
    """Return a sort key that orders versions by PEP 440; invalid versions come first, as text."""
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
    """Return the project's status in the words of PEP 792."""
    return project.status if project.status in _STATUSES else "active"


# Helpers ------------------------------------------------------------------------------------------

_META: Final = {"api-version": API_VERSION}
_NO_VERSION: Final = Version("0")


def to_json(value: object) -> bytes:
    """Return *value* as JSON, with times in RFC 3339 and UTC, and durations in seconds."""
    # ASCII is safe in every encoding, in scripts and in pages
    return json.dumps(value, separators=(",", ":"), default=_plain).encode() + b"\n"


def _plain(value: object) -> Any:
    match value:
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        case timedelta():
            return value.total_seconds()
    raise TypeError(f"{type(value).__name__} has no place in JSON")
