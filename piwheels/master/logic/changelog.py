"""Events of the upstream's changelog, and what they mean for our packages. Pure.

Every list of events is in the order of their serials, which is that of what has happened; times may
go backwards by minutes, serials have gaps and may repeat.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from piwheels.core.database.rows import UpstreamPackage, UpstreamVersion
from piwheels.core.errors import BadMessage
from piwheels.core.schema import schema_of
from piwheels.core.states import Package
from piwheels.core.states import Version as VersionText
from piwheels.core.wheels.tags import canonical, is_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Set

#: A serial is as wide as the column that holds it; a time is before the year 3000.
_MAX_SERIAL: Final = 2**63 - 1
_MAX_TIME: Final = 32_503_680_000

#: What is done to whole projects, and what that changes.
_OF_PROJECTS: Final[dict[str, dict[str, Any]]] = {
    "create": {"known": True},
    "remove project": {"known": False, "deleted": True},
    "project quarantined": {"status": "quarantined"},
    "project quarantine cleared": {"status": "active"},
}
#: What is done to versions: those that are there because of it, and what changes those that are.
_MAKES: Final = re.compile(r"new release|add (\S+) file (\S.*)")
_CHANGES: Final[dict[str, dict[str, Any]]] = {
    "remove release": {"deleted": True},
    "yank release": {"yanked": True},
    "unyank release": {"yanked": False},
    "release quarantined": {"quarantined": True},
    "release quarantine cleared": {"quarantined": False},
}
_REMOVES: Final = re.compile(r"remove file (\S.*)")


class Event(NamedTuple):
    """An event: the project's canonical name, how it is *spelled*, what was done to what, when."""

    package: str
    spelled: str
    version: str | None
    when: datetime
    action: str
    serial: int


class Deletion(NamedTuple):
    """What is to be removed: a version, or (``None``) a whole package."""

    package: str
    version: str | None


class Batch(NamedTuple):
    """An answer of the changelog: its events, its greatest serial, how many entries were odd."""

    events: list[Event]
    top: int
    odd: int


class Changes(NamedTuple):
    """What a slice of events comes to, each package and each version once; and what was odd."""

    packages: list[UpstreamPackage]
    versions: list[UpstreamVersion]
    unknown: list[Event]


def parse(answer: Any, since: int) -> Batch:
    """Return the events after the serial *since*.

    *answer* is what ``changelog_since_serial`` gave. Raises ``BadMessage`` if it is no such list:
    where a serial is missing, nothing can be said of what was passed over.
    """
    if not isinstance(answer, list):
        raise BadMessage("the changelog is not a list")
    found, top, odd = [], since, 0
    for entry in answer:
        if not (isinstance(entry, list) and len(entry) == 5 and is_serial(entry[4])):
            raise BadMessage(f"the changelog has an entry without a serial: {entry!r:.100}")
        if entry[4] > since:
            try:
                found.append(_event(*entry))
            except BadMessage:
                odd += 1
        top = max(top, entry[4])
    return Batch(sorted(found, key=lambda event: event.serial), top, odd)


def is_serial(value: Any) -> bool:
    """Tell whether *value* can be a serial."""
    return type(value) is int and 0 <= value <= _MAX_SERIAL


def _event(name: Any, version: Any, when: Any, action: Any, serial: int) -> Event:
    if type(when) is not int or not 0 <= when < _MAX_TIME or not isinstance(action, str):
        raise BadMessage("neither a time nor an action")
    spelled: str = _NAME(name)
    return Event(
        canonical(spelled),
        spelled,
        None if version is None else _VERSION(version),
        datetime.fromtimestamp(when, UTC),
        action,
        serial,
    )


_NAME, _VERSION = schema_of(Package).validate, schema_of(VersionText).validate


def slice_of(events: Sequence[Event], most: int, barred: Set[Deletion]) -> int:
    """Return how many of *events* are worked off next, in one transaction: *most*, or fewer.

    It ends before an event of something that was removed earlier in the slice, or that is *barred*
    (its removal is under way): what comes back is new, and must find nothing that was before it.
    So it does before what makes something of which the slice has said more already: that was said
    of what may not have been there.
    """
    gone = set(barred)
    changed: set[Deletion] = set()
    for number, event in enumerate(events[:most]):
        whole, part = Deletion(event.package, None), Deletion(event.package, event.version)
        makes = event.action == "create" or _MAKES.fullmatch(event.action)
        if {whole, part} & (gone | changed if makes else gone):
            return number
        if event.action == "remove project":
            gone.add(whole)
        elif event.action == "remove release":
            gone.add(part)
        elif event.action in _OF_PROJECTS and not makes:
            changed.add(whole)
        elif event.action in _CHANGES:
            changed.add(part)
    return min(most, len(events))


def serial_after(events: Sequence[Event], number: int) -> int:
    """Return the serial up to which all is done once the first *number* of *events* are."""
    last = events[number - 1].serial
    shared = number < len(events) and events[number].serial == last
    return last - 1 if shared else last


def fold(events: Iterable[Event]) -> Changes:
    """Return what *events* come to, a slice that :func:`slice_of` has cut."""
    packages: dict[str, UpstreamPackage] = {}
    versions: dict[Deletion, UpstreamVersion] = {}
    unknown = []
    for event in events:
        package = packages.get(event.package, UpstreamPackage(event.package, known=False))
        if event.spelled != event.package:
            package = package._replace(name=event.spelled, seen=event.when)
        if (change := _OF_PROJECTS.get(event.action)) is not None:
            package = package._replace(**change)
        elif (version := _changed(versions, event)) is not None:
            versions[Deletion(event.package, event.version)] = version
            if version.released is not None:
                package = package._replace(known=True)
        else:
            unknown.append(event)
            continue
        packages[event.package] = package
    left = [version for version in versions.values() if not packages[version.package].deleted]
    return Changes(list(packages.values()), left, unknown)


def _changed(versions: Mapping[Deletion, UpstreamVersion], event: Event) -> UpstreamVersion | None:
    """Return what is known of the version after *event*; ``None``: the event says nothing to us."""
    if event.version is None:
        return None
    key = Deletion(event.package, event.version)
    before = versions.get(key, UpstreamVersion(event.package, event.version))
    if (change := _CHANGES.get(event.action)) is not None:
        after = before._replace(**change)
        return after._replace(released=None) if after.deleted else after
    if removes := _REMOVES.fullmatch(event.action):
        return _with_source(before, removes[1], there=False)
    makes = _MAKES.fullmatch(event.action)
    if makes is None or not is_version(event.version):
        return None
    after = before._replace(released=before.released or event.when)
    return _with_source(after, makes[2], there=True) if makes[1] == "source" else after


def _with_source(version: UpstreamVersion, name: str, *, there: bool) -> UpstreamVersion:
    added, removed = {*version.added} - {name}, {*version.removed} - {name}
    (added if there else removed).add(name)
    return version._replace(added=tuple(sorted(added)), removed=tuple(sorted(removed)))
