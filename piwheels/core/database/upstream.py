"""What is taken over from the upstream index, and which of its projects are watched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from piwheels.core.database.connection import REASON, Client, clean
from piwheels.core.database.rows import UpstreamPackage, UpstreamVersion, WatchedRow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

#: Why a version is not built of which upstream has no source distribution.
BINARY_ONLY: Final = "binary only"
#: The width of the columns that hold names of source distributions, and ETags.
FILENAME: Final = 255


class Upstream(Client):
    """What CloudGazer tells and asks."""

    def follow_upstream(
        self,
        packages: Iterable[UpstreamPackage],
        versions: Iterable[UpstreamVersion],
        serial: int | None = None,
    ) -> list[tuple[str, str]]:
        """Take in what upstream has said, and note the *serial* of its last event with it.

        Each package stands once in *packages*, also if it is only its versions that change; each
        version once in *versions*. It may be repeated. Returns the pages that are to be written,
        packages with ``PROJECT``, ``BOTH`` or ``URGENT``; they are noted as pending. What is gone
        is only marked: see :meth:`get_deletions`.
        """
        return [
            (which, how)
            for which, how in self._rows(
                "follow_upstream",
                json.dumps([_package(each) for each in packages]),
                json.dumps([_version(each) for each in versions]),
                BINARY_ONLY,
                serial,
            )
        ]

    def get_deletions(self) -> list[tuple[str, str | None]]:
        """Return what is marked as deleted: versions, or whole packages (version ``None``)."""
        return [(package, version) for package, version in self._rows("get_deletions")]

    def get_upstream_sources(self, package: str) -> dict[str, list[str]]:
        """Return the source distributions upstream of each version of *package*, by version."""
        return dict(self._rows("get_upstream_sources", clean(package)))

    def watch_package(self, package: str) -> None:
        """Watch *package*, because somebody has asked for it."""
        self._value("watch_package", clean(package))

    def unwatch_package(self, package: str) -> bool:
        """Watch *package* no more, unless it is listed; return whether it had been asked for."""
        return bool(self._value("unwatch_package", clean(package), again=False))

    def watch_listed(self, packages: Iterable[str]) -> None:
        """Watch these *packages* because they are listed; those listed earlier no more."""
        self._value("watch_listed", sorted({clean(package) for package in packages}))

    def get_watched(self) -> list[WatchedRow]:
        """Return what is watched."""
        return [WatchedRow(*row) for row in self._rows("get_watched")]

    def watch_polled(self, row: WatchedRow) -> None:
        """Note what is known now of a project that is watched."""
        self._value(
            "watch_polled",
            clean(row.package),
            row.found,
            clean(row.newest),
            row.latest,
            row.serial,
            clean(row.etag, REASON),
            clean(row.modified),
        )


def _package(each: UpstreamPackage) -> dict[str, object]:
    return {
        **each._asdict(),
        "package": clean(each.package),
        "name": clean(each.name),
        "seen": _time(each.seen),
    }


def _version(each: UpstreamVersion) -> dict[str, object]:
    return {
        **each._asdict(),
        "package": clean(each.package),
        "version": clean(each.version),
        "released": _time(each.released),
        "added": _array(each.added),
        "removed": _array(each.removed),
        "yank_reason": clean(each.yank_reason, REASON),
    }


def _array(names: Iterable[str]) -> list[str]:
    return sorted({clean(name, FILENAME) for name in names})


def _time(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()
