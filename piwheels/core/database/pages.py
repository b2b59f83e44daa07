"""What the pages are made of, which of them wait to be written, and the farm's figures."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from piwheels.core.database.connection import Client, clean
from piwheels.core.database.rows import Activity, RewritePendingRow, SimpleFile, SimpleProject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from piwheels.core.database.rows import ProjectData

#: Rows in one part of what is too long for a message.
PART: Final = 25_000


class Pages(Client):
    """What TheScribe, TheSecretary and BigBrother ask for."""

    # What a page holds ----------------------------------------------------------------------------

    def get_simple_index(self) -> list[str]:
        """Return the names of all packages that have files and may show them, in order."""
        return self._column("get_simple_index")

    def get_quarantined(self) -> list[str]:
        """Return the packages that the upstream has put into quarantine, in order."""
        return self._column("get_quarantined")

    def get_simple_project(self, package: str) -> SimpleProject | None:
        """Return *package* as the simple index shows it, or ``None`` if it is unknown."""
        found = self._value("get_simple_project", clean(package))
        if found is None:
            return None
        files = [
            SimpleFile(**{**each, "published_at": datetime.fromisoformat(each["published_at"])})
            for each in found.pop("files")
        ]
        return SimpleProject(files=files, **found)

    def get_package_files(self, package: str) -> dict[str, str]:
        """Return the files of *package*: their SHA-256 by name."""
        return dict(self._rows("get_package_files", clean(package)))

    def get_version_files(self, package: str, version: str) -> set[str]:
        """Return the names of the files of *version* of *package*."""
        return set(self._column("get_version_files", clean(package), clean(version)))

    def get_project_data(self, package: str) -> ProjectData | None:
        """Return all that the page of *package* shows, or ``None`` if it is unknown."""
        found = self._value("get_project_data", clean(package))
        if found is None:
            return None
        found["releases"] = {key: _release(each) for key, each in found["releases"]}
        return cast("ProjectData", found)

    def get_search_index(self) -> dict[str, tuple[int, int]]:
        """Return for each package how often it was downloaded: in the last 30 days, and ever.

        The packages come by name, and in parts: all that there are do not fit a message.
        """
        found: dict[str, tuple[int, int]] = {}
        while part := self.get_search_part(next(reversed(found), "")):
            found |= part
        return found

    def get_search_part(self, after: str, limit: int = PART) -> dict[str, tuple[int, int]]:
        """Return what :meth:`get_search_index` does, of the *limit* packages *after* one."""
        rows = self._rows("get_search_part", clean(after), limit)
        return {package: (recent, ever) for package, recent, ever in rows}

    # Which pages wait -----------------------------------------------------------------------------

    def add_rewrite(self, package: str, command: str) -> None:
        """Note that the pages of *package* are to be written: ``PROJECT``, or ``BOTH``.

        ``BOTH`` (the simple index too) wins over ``PROJECT``; the first ``added_at`` stays.
        """
        self._value("add_rewrite", clean(package), clean(command))

    def get_rewrite_note(self, package: str, command: str) -> int | None:
        """Return the number of the note that the pages of *package* are to be written.

        ``None`` if there is none, or *command* does less than it asks for. To be read before what
        the pages are made of.
        """
        return cast("int | None", self._value("get_rewrite_note", clean(package), clean(command)))

    def rewrite_done(self, package: str, note: int) -> None:
        """Note that the pages of *package* show all that was known when *note* was read.

        What was asked for since has another number, and stays.
        """
        self._value("rewrite_done", clean(package), note)

    def load_rewrites_pending(self) -> list[RewritePendingRow]:
        """Return the pages that wait to be written, oldest first; in parts, as above."""
        found: list[RewritePendingRow] = []
        while part := self.load_rewrites_part(found[-1].package if found else ""):
            found += part
        return sorted(found, key=lambda row: (row.added_at, row.package))

    def load_rewrites_part(self, after: str, limit: int = PART) -> list[RewritePendingRow]:
        """Return the pages of *limit* packages *after* one, by name, that wait to be written."""
        rows = self._rows("load_rewrites_part", clean(after), limit)
        return [RewritePendingRow(*row) for row in rows]

    def save_rewrites_pending(self, queue: Iterable[RewritePendingRow]) -> None:
        """Note the pages that wait to be written, besides those noted already."""
        rows = list(queue)
        self._value(
            "save_rewrites_pending",
            [clean(row.package) for row in rows],
            [row.added_at for row in rows],
            [clean(row.command) for row in rows],
        )

    # Figures --------------------------------------------------------------------------------------

    def get_statistics(self) -> dict[str, Any]:
        """Return the figures of the database, by the names of ``MasterStats``; cheap always."""
        found: dict[str, Any] = self._value("get_statistics")
        return {**found, "builds_time": timedelta(seconds=found["builds_time"])}

    def get_activity(self) -> Activity:
        """Return the builds of the last seven days by ABI, and the downloads of each of 30."""
        found = self._value("get_activity")
        builds = {abi: (succeeded, failed) for abi, (succeeded, failed) in found["builds"].items()}
        return Activity(builds, found["downloads"])

    def get_initial_statistics(self) -> dict[str, Any]:
        """Return the same as :meth:`get_statistics`: here no figure is expensive."""
        return self.get_statistics()


def _release(found: dict[str, Any]) -> dict[str, Any]:
    """Return a release with its times as times (JSON has none)."""
    builds = [
        {
            **build,
            "built_at": datetime.fromisoformat(build["built_at"]),
            "duration": timedelta(seconds=build["duration"]),
        }
        for build in found["builds"]
    ]
    released = datetime.fromisoformat(found["released"])
    return {**found, "released": released, "builds": builds}
