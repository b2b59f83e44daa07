"""The tables of the existing implementation (piwheels 0.2x), as its documentation names them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from packaging.utils import canonicalize_version
from packaging.version import InvalidVersion, Version

from piwheels.core.targets import family
from piwheels.core.wheels.tags import canonical, parse_if_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: The type of text here.
TEXT: Final = 'text COLLATE "C"'
#: A column's type here, and the expression that reads it. A time without a zone is in UTC.
_KINDS: Final = {
    "key": ("text", "{}::text"),
    "text": ("text", "left({}::text, 8192)"),
    "word": ("text", "left({}::text, 200)"),
    "host": ("text", "coalesce(left({}::text, 200), '')"),
    "inet": ("text", "coalesce(host({}), '')"),
    "agent": ("text", "coalesce(left({}::text, 8192), '')"),
    "long": ("text", "left({}::text, 255)"),
    "time": ("timestamptz", "{}::timestamptz"),
    "utc": ("timestamptz", "({} AT TIME ZONE 'UTC')"),
    "number": ("bigint", "{}::bigint"),
    "flag": ("boolean", "{}::boolean"),
    "span": ("interval", "{}::interval"),
}
#: The kinds that depend on the type of the column there.
_BY_TYPE: Final = {
    ("time", "timestamp without time zone"): "utc",
    ("host", "inet"): "inet",
}
#: A farm has no earlier times, and no much later ones: others are unknown.
_PLAUSIBLE: Final = "CASE WHEN {0} BETWEEN '1990-01-01' AND now() + interval '1 day' THEN {0} END"


class Table(NamedTuple):
    """A table there: its *columns* with their kinds, and those of them that it must have.

    *computed* are columns of text that :attr:`change` adds. An *optional* table may be missing.
    """

    columns: Mapping[str, str]
    needed: frozenset[str] = frozenset()
    computed: tuple[str, ...] = ()
    change: Callable[[bytes], bytes] | None = None
    optional: bool = False


def column_type(kind: str) -> str:
    """Return the type here of a column of this *kind*."""
    return _KINDS[kind][0].replace("text", TEXT)


def expression(column: str, kind: str, data_type: str | None) -> str:
    """Return the expression that reads *column*, whose type there is *data_type* (or missing)."""
    pattern = _KINDS[_BY_TYPE.get((kind, data_type or ""), kind)][1]
    found = pattern.format(column if data_type else "NULL")
    return _PLAUSIBLE.format(found) if kind == "time" else found


def version_key(text: str) -> str:
    """Return a key that is equal for all spellings of a version (PEP 440); ``""``: it is none."""
    try:
        return canonicalize_version(Version(text))
    except InvalidVersion:
        return ""


_cached_key = lru_cache(maxsize=2**16)(version_key)


def _with_key(row: bytes) -> bytes:
    """Add the key of a version to a *row* of versions."""
    version = row.split(b"\t", 2)[1].decode()
    return b"%s\t%s" % (row, _cached_key(version).encode() or rb"\N")


def _with_parts(row: bytes) -> bytes:
    """Add the parts of the name of a wheel to a *row* of files."""
    wheel = parse_if_wheel(row.partition(b"\t")[0].decode())
    if wheel is None:
        return row + b"\t\\N" * len(PARTS)
    native = sorted({family(part) for part in wheel.platform.split(".")} - {"any"})
    parts = (
        canonical(wheel.package), _cached_key(wheel.version), wheel.package, wheel.version,
        wheel.py, wheel.abi, wheel.platform, native[-1] if native else "any",
    )  # fmt: skip
    return b"\t".join([row, *(part.encode() for part in parts)])


#: What the name of a wheel says.
PARTS: Final = (
    "package", "key", "package_tag", "package_version_tag", "py_version_tag", "abi_tag",
    "platform_tag", "family",
)  # fmt: skip

_BY: Final = {"accessed_by": "host", "accessed_at": "time"}
_CLIENT: Final = dict.fromkeys(
    (
        "arch", "distro_name", "distro_version", "os_name", "os_version", "py_name", "py_version",
        "installer_name", "installer_version", "setuptools_version",
    ),
    "word",
)  # fmt: skip

#: What is copied as it is, to be examined here.
TABLES: Final = {
    "packages": Table(
        {"package": "key", "skip": "text", "description": "text"}, frozenset({"package"})
    ),
    "package_names": Table(
        {"package": "key", "name": "key", "seen": "time"},
        frozenset({"package", "name"}),
        optional=True,
    ),
    "versions": Table(
        {
            "package": "key", "version": "key", "released": "time", "skip": "text",
            "yanked": "flag",
        },
        frozenset({"package", "version"}),
        ("key",),
        _with_key,
    ),
    "build_abis": Table({"abi_tag": "key", "skip": "text"}, frozenset({"abi_tag"}), optional=True),
    "builds": Table(
        {
            "build_id": "number", "package": "key", "version": "key", "built_by": "number",
            "built_at": "time", "duration": "span", "status": "flag", "abi_tag": "key",
        },
        frozenset({"build_id", "package", "version", "status", "abi_tag"}),
    ),
    "files": Table(
        {
            "filename": "key", "build_id": "number", "filesize": "number", "filehash": "key",
            "requires_python": "text", "location": "text",
        },
        frozenset({"filename", "build_id", "filesize", "filehash"}),
        PARTS,
        _with_parts,
    ),
    "dependencies": Table(
        {"filename": "key", "tool": "key", "dependency": "key"},
        frozenset({"filename", "tool", "dependency"}),
        optional=True,
    ),
    "preinstalled_apt_packages": Table(
        {"abi_tag": "key", "apt_package": "key"},
        frozenset({"abi_tag", "apt_package"}),
        optional=True,
    ),
}  # fmt: skip

#: The access log, which is copied month by month.
LOGS: Final = {
    "downloads": Table(
        {"filename": "long", **_BY, **_CLIENT}, frozenset({"filename", "accessed_at"})
    ),
    "searches": Table({"package": "long", **_BY, **_CLIENT}, frozenset({"package", "accessed_at"})),
    "project_page_hits": Table(
        {"package": "long", **_BY, "user_agent": "agent"}, frozenset({"package", "accessed_at"})
    ),
    "project_json_downloads": Table(
        {"package": "long", **_BY, "user_agent": "agent"}, frozenset({"package", "accessed_at"})
    ),
    "web_page_hits": Table(
        {"page": "long", **_BY, "user_agent": "agent"}, frozenset({"page", "accessed_at"})
    ),
}

#: Tables and columns that are known, and not copied.
KNOWN: Final = {
    "configuration": {"id", "version", "pypi_serial"},
    "rewrites_pending": {"package", "added_at", "command"},
    "files": {
        "package_tag", "package_version_tag", "py_version_tag", "abi_tag", "platform_tag",
    },
}  # fmt: skip
