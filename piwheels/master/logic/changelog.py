"""Translates events of the upstream changelog into changes of packages and versions. Pure.

Every list of events is sorted by serial, which is the order in which they happened. Serials have
gaps and may repeat; times may go backwards by minutes. Spellings of a version that are equal
(PEP 440) are one version, here and in the database, which keeps the first spelling.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from packaging.utils import canonicalize_version

from piwheels.core.database.rows import UpstreamPackage, UpstreamVersion
from piwheels.core.errors import BadMessage
from piwheels.core.schema import schema_of
from piwheels.core.states import Package
from piwheels.core.states import Version as VersionText
from piwheels.core.wheels.tags import canonical, is_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Set

#: The greatest serial that the database can store; the year 3000 in seconds since 1970.
_MAX_SERIAL: Final = 2**63 - 1
_MAX_TIME: Final = 32_503_680_000

#: The actions on whole projects, each with the fields of ``UpstreamPackage`` that it changes.
_PROJECT_CHANGES: Final[dict[str, dict[str, Any]]] = {
    "create": {"known": True},
    "remove project": {"known": False, "deleted": True},
    "project quarantined": {"status": "quarantined"},
    "project quarantine cleared": {"status": "active"},
}
#: The actions that add a version or a file, and those that change a version.
_ADDS: Final = re.compile(r"new release|add (\S+) file (\S.*)")
_VERSION_CHANGES: Final[dict[str, dict[str, Any]]] = {
    "remove release": {"deleted": True},
    "yank release": {"yanked": True},
    "unyank release": {"yanked": False},
    "release quarantined": {"quarantined": True},
    "release quarantine cleared": {"quarantined": False},
}
_REMOVES_FILE: Final = re.compile(r"remove file (\S.*)")


class Event(NamedTuple):
    """An event. *package* is the canonical name; *spelling* is the name as the index writes it."""

    package: str
    spelling: str
    version: str | None
    when: datetime
    action: str
    serial: int


class Removal(NamedTuple):
    """A removal of one version, or (``None``) of a whole package."""

    package: str
    version: str | None

    @property
    def key(self) -> tuple[str, str | None]:
        """Return what is equal for each spelling of the version."""
        return self.package, None if self.version is None else canonicalize_version(self.version)


class Batch(NamedTuple):
    """An answer of the changelog. *invalid* are the entries that were left out, as text."""

    events: list[Event]
    last_serial: int
    invalid: list[str]


class Changes(NamedTuple):
    """The net changes of a slice of events, each package and version once.

    *unknown* are the events that change nothing here.
    """

    packages: list[UpstreamPackage]
    versions: list[UpstreamVersion]
    unknown: list[Event]


def parse(answer: Any, since: int) -> Batch:
    """Return the events after the serial *since*.

    *answer* is the result of ``changelog_since_serial``. Raises ``BadMessage`` if it is not a list
    of entries with serials: without a serial, events could be missed unnoticed.
    """
    if not isinstance(answer, list):
        raise BadMessage("the changelog is not a list")
    found, last_serial, invalid = [], since, []
    for entry in answer:
        if not (isinstance(entry, list) and len(entry) == 5 and is_serial(entry[4])):
            raise BadMessage(f"the changelog has an entry without a serial: {entry!r:.100}")
        if entry[4] > since:
            try:
                found.append(_event(*entry))
            except Exception as exc:  # noqa: BLE001 (one entry never stops the others)
                why = exc if isinstance(exc, BadMessage) else f"a fault of piwheels: {exc!r:.200}"
                invalid.append(f"{entry[0]!r:.80} {entry[1]!r:.80} ({why})")
        last_serial = max(last_serial, entry[4])
    return Batch(sorted(found, key=lambda event: event.serial), last_serial, invalid)


def is_serial(value: Any) -> bool:
    """Tell whether *value* can be a serial."""
    return type(value) is int and 0 <= value <= _MAX_SERIAL


def _event(name: Any, version: Any, when: Any, action: Any, serial: int) -> Event:
    if type(when) is not int or not 0 <= when < _MAX_TIME or not isinstance(action, str):
        raise BadMessage("an entry without a valid time or action")
    if version is not None and _ADDS.fullmatch(action) and not is_version(_VERSION(version)):
        raise BadMessage("its version is invalid (PEP 440)")
    spelling: str = _NAME(name)
    return Event(
        canonical(spelling),
        spelling,
        None if version is None else _VERSION(version),
        datetime.fromtimestamp(when, UTC),
        action,
        serial,
    )


_NAME, _VERSION = schema_of(Package).validate, schema_of(VersionText).validate


def slice_length(events: Sequence[Event], limit: int, in_removal: Set[Removal]) -> int:
    """Return how many of *events* to process next in one transaction, at most *limit*.

    A slice ends before an event about a package or version that was removed earlier in the slice,
    or whose removal is in progress (*in_removal*): a project that returns starts without data of
    its predecessor. It also ends before an event that adds a package or version that the slice has
    already changed, because the change may have been meant for one that did not exist yet.
    """
    removed = {removal.key for removal in in_removal}
    changed: set[tuple[str, str | None]] = set()
    for number, event in enumerate(events[:limit]):
        whole, part = (Removal(event.package, each).key for each in (None, event.version))
        adds = event.action == "create" or _ADDS.fullmatch(event.action)
        if {whole, part} & (removed | changed if adds else removed):
            return number
        if event.action == "remove project":
            removed.add(whole)
        elif event.action == "remove release":
            removed.add(part)
        elif event.action in _PROJECT_CHANGES and not adds:
            changed.add(whole)
        elif event.action in _VERSION_CHANGES:
            changed.add(part)
    return min(limit, len(events))


def serial_after(events: Sequence[Event], number: int) -> int:
    """Return the last serial that is complete after the first *number* of *events*.

    It is one less than that of the last event if further events share the serial.
    """
    last = events[number - 1].serial
    shared = number < len(events) and events[number].serial == last
    return last - 1 if shared else last


def fold(events: Iterable[Event]) -> Changes:
    """Return the net changes of *events*, a slice as long as :func:`slice_length` allows."""
    packages: dict[str, UpstreamPackage] = {}
    versions: dict[tuple[str, str | None], UpstreamVersion] = {}
    unknown = []
    for event in events:
        package = packages.get(event.package, UpstreamPackage(event.package, known=False))
        if event.spelling != event.package:
            package = package._replace(name=event.spelling, seen=event.when)
        if (change := _PROJECT_CHANGES.get(event.action)) is not None:
            package = package._replace(**change)
        elif (version := _changed(versions, event)) is not None:
            versions[Removal(event.package, event.version).key] = version
            if version.released is not None:
                package = package._replace(known=True)
        else:
            unknown.append(event)
            continue
        packages[event.package] = package
    remaining = [each for each in versions.values() if not packages[each.package].deleted]
    return Changes(list(packages.values()), remaining, unknown)


def _changed(
    versions: Mapping[tuple[str, str | None], UpstreamVersion], event: Event
) -> UpstreamVersion | None:
    """Return the version as *event* changes it, or ``None`` if the event changes nothing."""
    if event.version is None:
        return None
    key = Removal(event.package, event.version).key
    before = versions.get(key, UpstreamVersion(event.package, event.version))
    if (change := _VERSION_CHANGES.get(event.action)) is not None:
        after = before._replace(**change)
        return after._replace(released=None) if after.deleted else after
    if removes := _REMOVES_FILE.fullmatch(event.action):
        return _with_source(before, removes[1], there=False)
    adds = _ADDS.fullmatch(event.action)
    if adds is None:
        return None
    if before.released is None:  # the first spelling of the version that exists
        before = before._replace(version=event.version, released=event.when)
    return _with_source(before, adds[2], there=True) if adds[1] == "source" else before


def _with_source(version: UpstreamVersion, name: str, *, there: bool) -> UpstreamVersion:
    added, removed = {*version.added} - {name}, {*version.removed} - {name}
    (added if there else removed).add(name)
    return version._replace(added=tuple(sorted(added)), removed=tuple(sorted(removed)))
