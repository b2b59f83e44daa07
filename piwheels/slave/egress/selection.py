"""Which files of an index a build gets, by its recipe: all of its project, some of others. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from piwheels.core.wheels.tags import canonical, parse_if_wheel
from piwheels.slave.egress.pages import Document, without_suffix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from piwheels.core.recipes import Recipe


#: The oldest tools for a build as of its release, by the minor version of Python 3 from which on
#: they count. pip needs setuptools of 2019, and what is older than Python 3.12 and later does not
#: run there, since these have no distutils: their own first releases.
_OLDEST: Final = {
    0: datetime(2021, 1, 1, tzinfo=UTC),
    12: datetime(2023, 10, 2, tzinfo=UTC),
    13: datetime(2024, 10, 7, tzinfo=UTC),
    14: datetime(2025, 10, 7, tzinfo=UTC),
}


class Selection(NamedTuple):
    """The choice for the build of the project *own*.

    Versions of other projects fulfil their *constraints*, by normalized name, and were not uploaded
    later than *before*.
    """

    own: str
    constraints: Mapping[str, SpecifierSet] = {}
    before: datetime | None = None

    def of(self, document: Document, project: str) -> Document:
        """Return the page of *project* with those of its files that the build gets.

        *project* is ``""`` for a list of the files of several.
        """
        name = canonical(project)
        if name == self.own or not (self.constraints or self.before):
            return document
        return {**document, "files": [each for each in document["files"] if self._has(each, name)]}

    def has_undated(self, document: Document, project: str) -> bool:
        """Whether the page of *project* lists files without a time, which *before* cannot hide."""
        is_limited = self.before is not None and canonical(project) != self.own
        return is_limited and any(uploaded(each) is None for each in document["files"])

    def _has(self, file: Mapping[str, Any], project: str) -> bool:
        moment = uploaded(file)
        if self.before and moment and moment > self.before:
            return False
        projects = [project] if project else self.constraints
        return all(self._fulfils(file["filename"], each) for each in projects)

    def _fulfils(self, filename: str, project: str) -> bool:
        constraint = self.constraints.get(project)
        if constraint is None:
            return True
        version = version_of(filename, project)
        return version is None or constraint.contains(version, prereleases=True)


def selection(package: str, recipe: Recipe) -> Selection:
    """Return the choice for a build of *package* with *recipe*, which has no faults."""
    constraints: dict[str, SpecifierSet] = {}
    for text in recipe.constraints:
        found = Requirement(text)
        name = canonical(found.name)
        constraints[name] = constraints.get(name, SpecifierSet()) & found.specifier
    own = canonical(package)
    constraints.pop(own, None)
    return Selection(own, constraints, recipe.before)


def oldest_tools(python: str) -> datetime:
    """Return the time of the oldest tools that run on *python*, such as ``"311"``."""
    return max(time for minor, time in _OLDEST.items() if minor <= int(python[1:] or 0))


def version_of(filename: str, project: str) -> Version | None:
    """Return the version of an archive of *project*, a normalized name; ``None``: it is none."""
    if wheel := parse_if_wheel(filename):
        return Version(wheel.version) if canonical(wheel.package) == project else None
    stem = without_suffix(filename)
    for at, character in enumerate(stem):
        if character == "-" and canonical(stem[:at]) == project:
            try:
                return Version(stem[at + 1 :])
            except InvalidVersion:
                continue
    return None


def is_source(filename: str, project: str, version: Version) -> bool:
    """Return whether an archive is a source distribution of *version* of *project*."""
    return not filename.endswith(".whl") and version_of(filename, project) == version


def uploaded(file: Mapping[str, Any]) -> datetime | None:
    """Return when *file* was uploaded (PEP 700); ``None``: the page does not say it."""
    try:
        moment = datetime.fromisoformat(file["upload-time"])
    except (KeyError, TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
