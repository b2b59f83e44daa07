"""The packages of Debian that have what a build misses.

Each release has a table for each kind of things. It is a text of lines, compressed: package, folder
and names, separated by tabs. The folder is relative to the place of its kind (``/usr/include``,
``/usr/lib``, ...), without the name of an architecture; :data:`EMPTY` is that place itself. Spaces
surround each name. Lines are in the order of preference. A header that is deep in folders has no
name, only its folder.
"""

from __future__ import annotations

import lzma
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The folder of what is directly in its place.
EMPTY: Final = "."
#: The releases that have a table, and those of derivatives whose packages have the same names.
RELEASES: Final = {
    "bookworm": "bookworm", "trixie": "trixie", "jammy": "bookworm", "noble": "trixie",
}  # fmt: skip
#: The most packages of an answer.
MAX_PACKAGES: Final = 5

#: The kinds in which a reason (a class of failures) looks for its subject, in turn.
_KINDS: Final = {
    "missing-header": ("header",),
    "missing-library": ("library",),
    "missing-tool": ("program",),
    "missing-pkgconfig": ("pkgconfig",),
    "missing-cmake": ("cmake", "pkgconfig", "library", "header"),
    "missing-meson": ("pkgconfig", "cmake", "library", "header", "program"),
}
#: The subject of reasons that name none.
_SUBJECTS: Final = {"missing-rust": "cargo", "missing-fortran": "gfortran"}
#: What the contents do not say: links that scripts of packages make, and a choice among several.
_CHOSEN: Final = {
    thing: package
    for package, things in {
        "automake": ("program automake", "program aclocal"),
        "bison": ("program yacc",),
        "default-jdk-headless": ("program javac", "header jni.h", "library jvm"),
        "default-jre-headless": ("program java",),
        "default-libmysqlclient-dev": (
            "program mysql_config", "library mysqlclient", "header mysql.h",
            "pkgconfig mysqlclient",
        ),
        "g++": ("program c++", "program g++"),
        "gcc": ("program cc", "program gcc"),
        "gfortran": ("program f77", "program f95"),
        "golang-go": ("program go",),
        "imagemagick": ("program convert", "program magick"),
        "libblas-dev": ("library blas", "header cblas.h", "pkgconfig blas"),
        "libboost-python-dev": ("library boost_python",),
        "libcurl4-openssl-dev": (
            "program curl-config", "library curl", "header curl/curl.h", "pkgconfig libcurl",
            "cmake curl",
        ),
        "libglib2.0-dev": (
            "header glib.h", "header gio.h", "pkgconfig glib-2.0", "pkgconfig gio-2.0",
            "pkgconfig gobject-2.0",
        ),
        "libhdf5-dev": ("cmake hdf5", "header hdf5.h", "library hdf5", "pkgconfig hdf5"),
        "liblapack-dev": ("library lapack", "pkgconfig lapack"),
        "libopenblas-dev": ("library openblas", "pkgconfig openblas"),
        "libopenmpi-dev": ("program mpicc", "program mpicxx", "header mpi.h"),
        "libsdl2-dev": ("header SDL.h",),
        "libtool": ("program libtool", "program libtoolize"),
        "libwxgtk3.2-dev": ("program wx-config",),
        "python3-dev": ("header Python.h", "program python3-config"),
        "qtbase5-dev": ("program qmake",),
    }.items()
    for thing in things
}  # fmt: skip

_SUBJECT: Final = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_.+:@/-]{0,199}", re.ASCII)
_AFFIXES: Final = re.compile(r"^lib|-dev$|[0-9.+_-]+")


class _Row(NamedTuple):
    """A line of a table, without its names."""

    package: str
    folder: str


def table_path(release: str, kind: str) -> Path:
    """Return the file of the table of *release* for *kind*."""
    return Path(__file__).with_name(f"{release}-{kind}.xz")


def is_deep(folder: str) -> bool:
    """Return whether the table of headers lists only *folder*, not its files."""
    return folder.count("/") > 1


def release_of(os_version: str) -> str:
    """Return the release of a system that calls its version *os_version*; ``""``: unknown.

    That is ``VERSION`` of ``/etc/os-release``, such as ``12 (bookworm)``.
    """
    words = re.findall(r"[a-z]+", os_version[:200].lower())
    return next((RELEASES[word] for word in words if word in RELEASES), "")


def packages_for(reason: str, subject: str, release: str) -> list[str]:
    """Return the packages of *release*, each of which cures a failure; the best one comes first.

    *reason* is the code of a class of :mod:`piwheels.core.diagnosis.classes`, and *subject* what it
    is about, both from an untrusted log. The list is empty if no package is known.
    """
    subject = _SUBJECTS.get(reason, subject)
    if release not in RELEASES or not _SUBJECT.fullmatch(subject):
        return []
    for kind in _KINDS.get(reason, ("program",) if reason in _SUBJECTS else ()):
        for name in _names(kind, subject):
            if found := _find(RELEASES[release], kind, name):
                return found[:MAX_PACKAGES]
    return []


@lru_cache
def _table(release: str, kind: str) -> bytes:
    return lzma.decompress(table_path(release, kind).read_bytes())


def _names(kind: str, subject: str) -> list[str]:
    """Return the names to look for, in turn, among those of *kind*."""
    match kind:
        case "library":
            name = re.sub(r"\.so(?:\.[0-9.]*)?$|\.a$", "", subject.rpartition("/")[2])
            names = [name, name.removeprefix("lib"), name.lower(), name.rstrip("0123456789.")]
        case "header":
            name = re.sub(r"^/usr/(?:local/)?include/", "", subject)
            names = [name, f"{name}.h", f"{name}.h".lower()]
        case "program":
            names = [subject.rpartition("/")[2]]
        case "pkgconfig":
            name = subject.removesuffix(".pc")
            names = [name, name.lower(), f"lib{name.lower()}"]
        case _:
            names = [subject.lower()]
    return list(dict.fromkeys(filter(None, names)))


@lru_cache(maxsize=1000)
def _find(release: str, kind: str, subject: str) -> list[str]:
    """Return the packages that have *subject*: rather at its place than in a folder there.

    A package that is named after the subject may be one folder deeper than others.
    """
    text = _table(release, kind)
    folder, _, name = subject.rpartition("/")
    rows = [row for row in _rows(text, f" {name} ") if _ends_with(row.folder, folder)]
    if not rows and "/" in folder:
        rows = [row for row in _rows(text, f"{folder}\t") if _ends_with(row.folder, folder)]
        rows = [row for row in rows if is_deep(row.folder)]
    topic = _plain((folder or name.partition(".")[0]).partition("/")[0].lower())

    def distance(row: _Row) -> tuple[bool, int]:
        depth = 0 if row.folder == EMPTY else row.folder.count("/") + 1
        is_other = kind == "program" and row.package != name
        return is_other, depth + (topic not in _plain(row.package))

    found = [row.package for row in sorted(rows, key=distance)]
    chosen = _CHOSEN.get(f"{kind} {subject}") or (found and _CHOSEN.get(f"{kind} {name}"))
    return list(dict.fromkeys([chosen, *found] if chosen else found))


def _plain(package: str) -> str:
    """Return the name of *package* without what only packages have: ``snappy``."""
    return _AFFIXES.sub("", package)


def _ends_with(path: str, folder: str) -> bool:
    return not folder or f"/{path}".endswith(f"/{folder}")


def _rows(text: bytes, words: str) -> Iterator[_Row]:
    """Yield the lines of *text* that have *words*."""
    wanted = words.encode()
    at = text.find(wanted)
    while at >= 0:
        start, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
        yield _Row(*text[start:end].decode().split("\t")[:2])
        at = text.find(wanted, end)
