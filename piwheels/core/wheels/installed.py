"""Verify where installers will put the files of a wheel, and what they will make of it.

PEP 427 says which folder of a wheel goes where; the specification of entry points says which
programs installers make.
"""

from __future__ import annotations

import configparser
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.errors import BadWheel
from piwheels.core.wheels.inspection import read_entry
from piwheels.core.wheels.tags import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zipfile import ZipFile, ZipInfo

#: The folders of ``NAME.data`` that installers know (PEP 427).
SCHEMES: Final = frozenset({"purelib", "platlib", "headers", "scripts", "data"})
#: The projects whose wheels may run code at the start of each interpreter.
MAY_RUN_AT_START: Final = frozenset({"coverage", "setuptools"})

#: The size limit of ``entry_points.txt`` in bytes, and of the programs that it defines.
_MAX_ENTRY_POINTS: Final = 2**20
_MAX_PROGRAMS: Final = 1000
_PROGRAM: Final = re.compile(r"(?!\.)[^\s/\\\[\]=;'\"\x00-\x1f\x7f]{1,60}")
#: As pip's distlib reads it.
_FUNCTION: Final = re.compile(r"\w+(?:\.\w+)*:\w+(?:\.\w+)*\s*(?:\[\s*[\w-]+(?:,\s*\w+)*\s*\])?")
#: The programs of an environment itself.
_INTERPRETER: Final = re.compile(
    r"(?:python|pypy|pip)[0-9.]*t?w?(?:\.exe)?|activate(?:\..*)?", re.IGNORECASE
)
#: Where the folder ``data`` would reach the packages of the interpreter, or its settings.
_INSIDE: Final = re.compile(
    r"(?:local/)?lib[0-9x]*/(?:python|pypy|site-packages).*|pyvenv\.cfg", re.IGNORECASE
)
_AT_START: Final = frozenset({"sitecustomize", "usercustomize"})
_INSTALLERS_FILES: Final = frozenset({"INSTALLER", "REQUESTED", "direct_url.json"})
_MAX_PTH: Final = 64 * 2**10
#: The statements by which setuptools declares a namespace package, since its version 20.
_STATEMENTS: Final = (
    r"",
    r"import sys, types, os",
    r"has_mfs = sys\.version_info > \(3, 5\)",
    r"p = os\.path\.join\(sys\._getframe\(1\)\.f_locals\['sitedir'\], \*\((?:NAME,? ?)+\)\)",
    r"ie = os\.path\.exists\(os\.path\.join\(p,'__init__\.py'\)\)",
    r"importlib = (?:has_mfs and )?__import__\('importlib\.util'\)",
    r"(?:has_mfs and )?__import__\('importlib\.machinery'\)",
    r"m = (?:has_mfs and )?sys\.modules\.setdefault\(NAME, importlib\.util\.module_from_spec"
    r"\(importlib\.machinery\.PathFinder\.find_spec\(NAME, \[os\.path\.dirname\(p\)\]\)\)\)",
    r"m = (?:m or|not ie and) sys\.modules\.setdefault\(NAME, types\.ModuleType\(NAME\)\)",
    r"mp = \(m or \[\]\) and m\.__dict__\.setdefault\('__path__',\[\]\)",
    r"\(p not in mp\) and mp\.append\(p\)",
    r"m and setattr\(sys\.modules\[NAME\], NAME, m\)",
)
_NAMESPACE: Final = re.compile("|".join(_STATEMENTS).replace("NAME", r"'[\w.]+'"), re.ASCII)


class _Place(NamedTuple):
    """The *path* of an installed file in the folder *root*: packages, scripts, headers or data."""

    entry: ZipInfo
    root: str
    path: str


def check_installed(archive: ZipFile, info: str, project: str, *, may_run_at_start: bool) -> None:
    """Check where the files of *archive* go, of the *project* whose dist-info folder is *info*.

    *may_run_at_start*: it may have code that each start of the interpreter runs. Raises
    :exc:`~piwheels.core.errors.BadWheel`.
    """
    seen: dict[tuple[str, str], str] = {}
    for place in _places(archive.infolist(), info):
        name = place.entry.filename
        if seen.setdefault(place[1:], name) != name:
            other = seen[place[1:]]
            raise BadWheel(f"{name!r} and {other!r} would be installed at the same place")
        _check_place(place, info, project)
        if not may_run_at_start and _runs_at_start(archive, place):
            raise BadWheel(
                f"{name!r} would run code at each start of the interpreter: an operator can permit"
                f" that for {project} (--allow-pth)"
            )
    _check_entry_points(archive, f"{info}/entry_points.txt", project)


def _places(entries: list[ZipInfo], info: str) -> Iterator[_Place]:
    """Yield the place of each file; raise ``BadWheel`` if installers know none."""
    data = info.removesuffix(".dist-info") + ".data"
    for entry in entries:
        if entry.is_dir():
            continue
        top, _, rest = entry.filename.partition("/")
        if not (rest and top.endswith(".data")):
            yield _Place(entry, "packages", entry.filename)
            continue
        if top != data:
            raise BadWheel(f"the folder {top!r} is not {data!r}")
        scheme, _, path = rest.partition("/")
        if scheme not in SCHEMES or not path:
            raise BadWheel(f"{entry.filename!r} is in no place that installers know")
        if scheme == "data" and path.startswith("bin/"):
            scheme, path = "scripts", path.removeprefix("bin/")
        yield _Place(entry, "packages" if scheme.endswith("lib") else scheme, path)


def _check_place(place: _Place, info: str, project: str) -> None:
    """Check that a file does not pass as one of the installer, the environment or a project."""
    name = place.entry.filename
    top, _, rest = place.path.partition("/")
    if place.root == "packages":
        kind = top.lower().rpartition(".")[2]
        own = top == info and name == place.path
        if own and rest in _INSTALLERS_FILES:
            raise BadWheel(f"{name!r} is a file that only installers write")
        if kind == "dist-info" and not own:
            raise BadWheel(f"{name!r} is in a dist-info folder that is not {info!r}")
        named = canonical(top.rpartition(".")[0].partition("-")[0])
        if kind == "egg-link" or (kind == "egg-info" and named != project):
            raise BadWheel(f"{name!r} would pass for an installed project")
    elif place.root == "scripts" and _is_reserved(place.path, project):
        raise BadWheel(f"{name!r} would replace a program of the environment")
    elif place.root == "data" and _INSIDE.fullmatch(place.path):
        raise BadWheel(f"{name!r} would change the interpreter's own folders")


def _is_reserved(program: str, project: str) -> bool:
    """Return whether a *program* belongs to the environment; those of pip are its own."""
    own = project == "pip" and program.startswith("pip")
    return not own and _INTERPRETER.fullmatch(program) is not None


def _runs_at_start(archive: ZipFile, place: _Place) -> bool:
    """Return whether a file runs code when an interpreter starts."""
    if place.root != "packages":
        return False
    if place.path.partition("/")[0].partition(".")[0] in _AT_START:
        return True
    if "/" in place.path or not place.path.lower().endswith(".pth"):
        return False
    text = read_entry(archive, place.entry, _MAX_PTH).decode("utf-8", "replace")
    return not all(map(_declares_namespace, text.splitlines()))


def _declares_namespace(line: str) -> bool:
    """Return whether *line* is of a ``-nspkg.pth`` file, as setuptools has written them."""
    return all(_NAMESPACE.fullmatch(statement.strip()) for statement in line.split(";"))


def _check_entry_points(archive: ZipFile, name: str, project: str) -> None:
    """Check the entry points, from which installers make programs."""
    if name not in archive.NameToInfo:
        return
    data = read_entry(archive, archive.getinfo(name), _MAX_ENTRY_POINTS)
    # As importlib.metadata and pip read it
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",), strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(data.decode())
    except (UnicodeDecodeError, configparser.Error) as error:
        reason = str(error).partition("\n")[0]
        raise BadWheel(f"entry_points.txt cannot be read: {reason}") from error
    scripts = "console_scripts", "gui_scripts"
    groups = [group for group in parser.sections() if group.strip("[]") in scripts]
    programs = [item for group in groups for item in parser.items(group)]
    if len(programs) > _MAX_PROGRAMS:
        raise BadWheel(f"entry_points.txt defines more than {_MAX_PROGRAMS} programs")
    for program, function in programs:
        if not _PROGRAM.fullmatch(program) or not _FUNCTION.fullmatch(function):
            raise BadWheel(f"pip refuses the program {program[:200]!r} of entry_points.txt")
        if _is_reserved(program, project):
            raise BadWheel(
                f"{program!r} of entry_points.txt would replace a program of the environment"
            )
