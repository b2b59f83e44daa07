"""The data of the pages, pending rewrites of pages, and the farm's statistics."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from piwheels.core.database.connection import Client, clean
from piwheels.core.database.rows import (
    Activity,
    Published,
    RewritePendingRow,
    SimpleFile,
    SimpleProject,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from piwheels.core.database.rows import ProjectData

#: The number of rows in one part of a result that exceeds a message.
PART: Final = 25_000


class Pages(Client):
    """The queries of TheScribe, TheSecretary and BigBrother."""

    # Data of pages -------------------------------------------------------------------------------

    def get_simple_index(self) -> list[str]:
        """Return the packages with published files, sorted."""
        return self._column("get_simple_index")

    def get_quarantined(self) -> list[str]:
        """Return the packages that upstream has quarantined, sorted."""
        return self._column("get_quarantined")

    def get_simple_project(self, package: str) -> SimpleProject | None:
        """Return the simple-index page of *package*, or ``None`` if it does not exist."""
        found = self._value("get_simple_project", clean(package))
        if found is None:
            return None
        files = [
            SimpleFile(**{**each, "published_at": datetime.fromisoformat(each["published_at"])})
            for each in found.pop("files")
        ]
        return SimpleProject(files=files, **found)

    def get_package_files(self, package: str) -> dict[str, str]:
        """Return the SHA-256 of each file of *package*, by file name."""
        return dict(self._rows("get_package_files", clean(package)))

    def get_published(self, package: str, version: str) -> Published:
        """Return the names that *package* has published, and upstream's wheels of *version*."""
        return Published(*self._rows("get_published", clean(package), clean(version))[0])

    def get_project_data(self, package: str) -> ProjectData | None:
        """Return the data of the project page of *package*, or ``None`` if it does not exist."""
        found = self._value("get_project_data", clean(package))
        if found is None:
            return None
        found["releases"] = {key: _release(each) for key, each in found["releases"]}
        return cast("ProjectData", found)

    def get_search_index(self) -> dict[str, tuple[int, int]]:
        """Return the downloads of each package: in the last 30 days, and in total.

        The packages are sorted by name and read in parts, because all of them exceed a message.
        """
        found: dict[str, tuple[int, int]] = {}
        while part := self.get_search_part(next(reversed(found), "")):
            found |= part
        return found

    def get_search_part(self, after: str, limit: int = PART) -> dict[str, tuple[int, int]]:
        """Return a part of :meth:`get_search_index`: *limit* packages after *after*."""
        rows = self._rows("get_search_part", clean(after), limit)
        return {package: (recent, total) for package, recent, total in rows}

    def get_summaries(self, packages: Sequence[str], length: int) -> dict[str, str]:
        """Return the description or summary of each of *packages* that has one, cut to *length*.

        The caller asks in parts, because all of them exceed a message.
        """
        names = [clean(package) for package in packages]
        return dict(self._rows("get_summaries", names, length))

    # Links between project pages -----------------------------------------------------------------

    def links_changed(self, package: str) -> None:
        """Schedule the project pages that name *package*, whose page is about to appear or go."""
        self._value("links_changed", clean(package))

    def get_links_pending(self, limit: int) -> list[str]:
        """Return up to *limit* packages whose page :meth:`links_changed` has scheduled."""
        return self._column("get_links_pending", limit)

    def links_written(self, package: str) -> None:
        """Record that the page of *package*, which was scheduled, is written."""
        self._value("links_written", clean(package))

    # Pending rewrites -----------------------------------------------------------------------------

    def add_rewrite(self, package: str, command: str) -> None:
        """Schedule the pages of *package*: ``PROJECT``, or ``BOTH`` (the simple index, too).

        ``BOTH`` overrides ``PROJECT``; the first ``added_at`` stays.
        """
        self._value("add_rewrite", clean(package), clean(command))

    def get_rewrite_note(self, package: str, command: str) -> int | None:
        """Return the number of the pending rewrite of *package*.

        Return ``None`` if there is none, or if it asks for more than *command*. Read it before
        the data of the pages.
        """
        return cast("int | None", self._value("get_rewrite_note", clean(package), clean(command)))

    def rewrite_done(self, package: str, note: int) -> None:
        """Complete the rewrite *note* of *package*.

        A rewrite that was requested later has another number and stays pending.
        """
        self._value("rewrite_done", clean(package), note)

    def load_rewrites_pending(self) -> list[RewritePendingRow]:
        """Return the pending rewrites, oldest first; read in parts, as above."""
        found: list[RewritePendingRow] = []
        while part := self.load_rewrites_part(found[-1].package if found else ""):
            found += part
        return sorted(found, key=lambda row: (row.added_at, row.package))

    def load_rewrites_part(self, after: str, limit: int = PART) -> list[RewritePendingRow]:
        """Return the pending rewrites of *limit* packages after *after*, sorted by name."""
        rows = self._rows("load_rewrites_part", clean(after), limit)
        return [RewritePendingRow(*row) for row in rows]

    def save_rewrites_pending(self, queue: Iterable[RewritePendingRow]) -> None:
        """Add pending rewrites to those already recorded; leave out what the database rejects."""

        def store(rows: Sequence[RewritePendingRow]) -> None:
            self._value(
                "save_rewrites_pending",
                [clean(row.package) for row in rows],
                [row.added_at for row in rows],
                [clean(row.command) for row in rows],
            )

        self._accepted(list(queue), store)

    # Statistics -----------------------------------------------------------------------------------

    def get_statistics(self) -> dict[str, Any]:
        """Return the database's statistics by the field names of ``MasterStats``; always cheap."""
        found: dict[str, Any] = self._value("get_statistics")
        return {**found, "builds_time": timedelta(seconds=found["builds_time"])}

    def get_activity(self) -> Activity:
        """Return the builds of the last seven days by ABI, and the downloads of the last 30."""
        found = self._value("get_activity")
        builds = {abi: (succeeded, failed) for abi, (succeeded, failed) in found["builds"].items()}
        return Activity(builds, found["downloads"])

    def get_initial_statistics(self) -> dict[str, Any]:
        """Return the same as :meth:`get_statistics`: none of them is expensive here."""
        return self.get_statistics()


def _release(found: dict[str, Any]) -> dict[str, Any]:
    """Return a release with its times converted from text."""
    builds = [
        {
            **build,
            "built_at": datetime.fromisoformat(build["built_at"]),
            "retry_at": _moment(build["retry_at"]),
            "next": build["next"] and {**build["next"], "due": _moment(build["next"]["due"])},
            "duration": timedelta(seconds=build["duration"]),
        }
        for build in found["builds"]
    ]
    released = datetime.fromisoformat(found["released"])
    return {**found, "released": released, "builds": builds}


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
