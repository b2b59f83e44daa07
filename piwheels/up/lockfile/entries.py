"""The entries of lock files, for one target: pip's requirements, pylock.toml and uv.lock. Pure.

All functions raise ``ValueError`` with a sentence about a file that is no lock file, or is not for
the target. A single entry that cannot come from an index has a *problem* instead.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName
from packaging.pylock import (
    PackageSdist,
    Pylock,
    PylockSelectError,
    PylockUnsupportedVersionError,
    PylockValidationError,
)
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from piwheels.core.wheels.tags import canonical, is_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from packaging.markers import Environment
    from packaging.pylock import Package

NO_INDEX: Final = "not from the index"
#: The endings of paths and addresses of archives.
_ARCHIVES: Final = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz")
#: The version of the format of uv.lock.
_UV_VERSION: Final = 1
#: The kinds of sources in uv.lock that are folders of the project itself.
_OWN: Final = ("editable", "virtual")


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry for the target: *requirement* (PEP 508) of the project *name*.

    It is pinned to *version* (``""``: it is not); *hashes* are those of its files
    (``sha256:...``; empty: any). *problem* and *detail* say why the index cannot have it.
    """

    requirement: str
    name: str
    version: str = ""
    hashes: frozenset[str] = frozenset()
    problem: str = ""
    detail: str = ""


class Lock(NamedTuple):
    """A lock file: its entries, *constraints* for what is not pinned, and *notes* for people.

    *is_closed*: the entries include all their dependencies.
    """

    entries: tuple[Entry, ...]
    is_closed: bool
    constraints: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Line(NamedTuple):
    """A line of a file of requirements, as pip reads it."""

    place: str
    requirement: str | None
    is_editable: bool
    is_constraint: bool
    hashes: list[str]
    options: list[str]


# pip's requirements -------------------------------------------------------------------------------


def from_requirements(lines: Iterable[Line], environment: Mapping[str, str]) -> Lock:
    """Return the lock file that consists of *lines*."""
    found: dict[str, Entry] = {}
    constraints, notes = [], []
    for line in lines:
        if line.options:
            notes.append(
                f"{line.place}: {', '.join(line.options)} is ignored: pip's configuration counts"
            )
        if line.requirement is None:
            continue
        entry = _of_line(line, environment)
        if entry is None:
            continue
        if line.is_constraint:
            constraints.append(entry.requirement)
            continue
        other = found.setdefault(entry.name, entry)
        if other.version != entry.version:
            raise ValueError(f"{line.place}: {entry.requirement}, but before {other.requirement}")
        hashes = other.hashes | entry.hashes
        found[entry.name] = replace(other, hashes=hashes)
    entries = tuple(found.values())
    is_closed = bool(entries) and all(each.problem or each.hashes for each in entries)
    return Lock(entries, is_closed, tuple(constraints), tuple(notes))


def _of_line(line: Line, environment: Mapping[str, str]) -> Entry | None:
    text = line.requirement or ""
    if line.is_editable:
        return Entry(text, text, problem=NO_INDEX, detail="an editable folder")
    try:
        need = Requirement(text)
    except InvalidRequirement as exc:
        if "/" in text or text.endswith(_ARCHIVES):
            return Entry(text, text, problem=NO_INDEX, detail="a path or an address")
        why = str(exc).partition("\n")[0]
        raise ValueError(f"{line.place}: {text[:100]!r} is no requirement ({why})") from None
    if not _applies(need.marker, environment):
        return None
    return entry_of(need, line.hashes)


def entry_of(need: Requirement, hashes: Iterable[str] = ()) -> Entry:
    """Return the entry of the requirement *need*, whose marker applies."""
    name = canonical(need.name)
    if need.url is not None:
        return Entry(str(need), name, problem=NO_INDEX, detail=need.url)
    extras = f"[{','.join(sorted(need.extras))}]" if need.extras else ""
    text = f"{name}{extras}{need.specifier}"
    pins = [each.version for each in need.specifier if each.operator in ("==", "===")]
    is_pinned = len(need.specifier) == 1 and pins and is_version(pins[0])
    return Entry(text, name, pins[0] if is_pinned else "", frozenset(hashes))


def _applies(marker: Marker | None, environment: Mapping[str, str]) -> bool:
    if marker is None:
        return True
    try:
        return marker.evaluate({"extra": "", **environment})
    except UndefinedEnvironmentName:
        return False


# pylock.toml (PEP 751) ----------------------------------------------------------------------------


def from_pylock(document: Mapping[str, Any], environment: Mapping[str, str]) -> Lock:
    """Return the lock file *document* (pylock.toml), without extras, with its default groups."""
    try:
        lock = Pylock.from_dict(document)
        # pip chooses the files: here, each package of the index has one that suits any target.
        simple = [
            each if each.is_direct else replace(each, wheels=None, sdist=_ANY)
            for each in lock.packages
        ]
        given = {id(new): old for old, new in zip(lock.packages, simple, strict=True)}
        target = cast("Environment", environment)
        chosen = replace(lock, packages=simple).select(environment=target)
        return Lock(tuple(_of_package(given[id(package)]) for package, _ in chosen), True)
    except PylockUnsupportedVersionError as exc:
        raise ValueError(f"unknown version of the format: {exc}") from None
    except (PylockValidationError, PylockSelectError) as exc:
        raise ValueError(str(exc)) from None


_ANY: Final = PackageSdist(name="any-0.tar.gz", path="any-0.tar.gz", hashes={"sha256": ""})


def _of_package(package: Package) -> Entry:
    name, version = package.name, str(package.version or "")
    text = f"{name}=={version}" if version else name
    if package.is_direct:
        kind = "a repository" if package.vcs else "a folder" if package.directory else "an address"
        return Entry(text, name, version, problem=NO_INDEX, detail=kind)
    if not version:
        return Entry(text, name, problem=NO_INDEX, detail="it has no version")
    all_hashes = [file.hashes for file in package.wheels or ()]
    all_hashes += [package.sdist.hashes] if package.sdist else []
    hashes = {f"{kind}:{digest}" for each in all_hashes for kind, digest in each.items()}
    return Entry(text, name, version, frozenset(hashes))


# uv.lock ------------------------------------------------------------------------------------------


def from_uv(document: Mapping[str, Any], environment: Mapping[str, str]) -> Lock:
    """Return what the projects in the lock file *document* (uv.lock) need, without extras.

    It is for many targets: only what the dependencies reach on this one is an entry.
    """
    if document.get("version") != _UV_VERSION:
        raise ValueError(f"unknown version of the format: {document.get('version')!r:.40}")
    try:
        wanted = document.get("requires-python", "")
        if not SpecifierSet(wanted).contains(environment["python_full_version"], prereleases=True):
            raise ValueError(f"it is for Python {wanted}, not {environment['python_full_version']}")
        return _Walk(document, environment).lock()
    except (LookupError, TypeError, AttributeError, InvalidMarker, InvalidSpecifier) as exc:
        raise ValueError(f"it is not as uv writes it ({type(exc).__name__}: {exc})") from None


class _Walk:
    """The way from the projects of a uv.lock along the dependencies that apply."""

    def __init__(self, document: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._packages: dict[str, list[Mapping[str, Any]]] = {}
        for package in document.get("package", ()):
            self._packages.setdefault(package["name"], []).append(package)
        manifest = document.get("manifest", {})
        own = [
            p["name"]
            for p in document.get("package", ())
            if not p["source"].keys().isdisjoint(_OWN)
        ]
        members = manifest.get("members", own)
        self._roots = [{"name": name} for name in members] + list(manifest.get("requirements", ()))
        self._members = frozenset(members)

    def lock(self) -> Lock:
        """Return the entries, in the order of the file."""
        if not self._roots:
            raise ValueError("it has no project and no script whose dependencies it locks")
        seen: dict[tuple[str, str], Entry] = {}
        done: set[tuple[str, str, str]] = set()
        queue = deque(self._roots)
        while queue:
            need = queue.popleft()
            package = self._find(need)
            extras = need.get("extra", need.get("extras", ()))
            for extra in ("", *extras):
                step = package["name"], package.get("version", ""), extra
                if step not in done:
                    done.add(step)
                    queue.extend(self._needs(package, extra))
            if package["name"] not in self._members:
                entry = _of_uv(package)
                seen[entry.name, entry.version] = entry
        if len({name for name, _ in seen}) < len(seen):
            names = [name for name, _ in seen]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"it has several versions of {twice} for this target")
        return Lock(
            tuple(sorted(seen.values(), key=lambda each: each.name)), True, notes=self._notes()
        )

    def _needs(self, package: Mapping[str, Any], extra: str) -> Iterator[Mapping[str, Any]]:
        """Yield the dependencies that *extra* of *package* (``""``: itself) has on the target."""
        part = (
            package.get("optional-dependencies", {}).get(extra, ())
            if extra
            else package.get("dependencies", ())
        )
        for need in part:
            marker = need.get("marker")
            if _applies(Marker(marker) if marker else None, self._environment):
                yield need

    def _find(self, need: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the package that *need* names: its only version, or the one for the target."""
        found = [
            package
            for package in self._packages[need["name"]]
            if all(package.get(key) == need[key] for key in ("version", "source") if key in need)
        ]
        if len(found) > 1:
            found = [each for each in found if self._is_for_target(each)]
        if len(found) != 1:
            raise ValueError(f"it has {len(found)} versions of {need['name']} for this target")
        return found[0]

    def _is_for_target(self, package: Mapping[str, Any]) -> bool:
        markers = package.get("resolution-markers", ())
        return not markers or any(_applies(Marker(each), self._environment) for each in markers)

    def _notes(self) -> tuple[str, ...]:
        left_out = {
            name
            for member in self._members
            for package in self._packages.get(member, ())
            for part in ("optional-dependencies", "dev-dependencies")
            for name in package.get(part, {})
        }
        if not left_out:
            return ()
        names = ", ".join(sorted(left_out))
        return (f"its extras and groups ({names}) are left out: uv export writes them, too",)


def _of_uv(package: Mapping[str, Any]) -> Entry:
    name, version = canonical(package["name"]), package.get("version", "")
    text = f"{name}=={version}" if version else name
    if "registry" not in package["source"]:
        kind = ", ".join(f"{key} {value}" for key, value in package["source"].items())
        return Entry(text, name, version, problem=NO_INDEX, detail=kind)
    files = [*package.get("wheels", ()), *filter(None, (package.get("sdist"),))]
    return Entry(text, name, version, frozenset(file["hash"] for file in files if "hash" in file))
