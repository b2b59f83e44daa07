"""The access log: downloads, searches and page hits, in one round trip for each type."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from piwheels.core.database.connection import NAME, REASON, Client, clean
from piwheels.core.errors import Rejected
from piwheels.core.states import (
    DownloadState,
    JSONState,
    PageState,
    ProjectState,
    SearchState,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LogState = DownloadState | SearchState | ProjectState | JSONState | PageState

# The SQL function for each type of entry.
_FUNCTIONS: dict[type[LogState], str] = {
    DownloadState: "log_downloads",
    SearchState: "log_searches",
    ProjectState: "log_projects",
    JSONState: "log_jsons",
    PageState: "log_pages",
}


class Logs(Client):
    """The access log. Text from clients is clipped and cleaned, so that hardly any row fails."""

    def log_many(self, entries: Iterable[LogState]) -> int:
        """Record *entries* of any type, all or none; ``*.metadata`` is a metadata download.

        Only those that the database rejects are left out, and logged.
        Return how many of them are downloads of published files.
        """
        groups: dict[str, list[LogState]] = {}
        for entry in entries:
            name = _FUNCTIONS[type(entry)]
            if isinstance(entry, DownloadState) and entry.filename.endswith(".metadata"):
                name = "log_metadata_downloads"
            groups.setdefault(name, []).append(entry)
        try:
            values = self._all((name, _as_json(group)) for name, group in groups.items())
            found = dict(zip(groups, values, strict=True))
        except Rejected:
            found = {name: self._store(name, group) for name, group in groups.items()}
        counted: int = found.get("log_downloads", 0)
        return counted

    def _store(self, name: str, group: list[LogState]) -> int:
        """Record those of *group* that the database accepts; return the sum of the results."""

        def store(part: Sequence[LogState]) -> int:
            return self._all([(name, _as_json(part))])[0] or 0

        return sum(self._accepted(group, store))

    def log_download(self, download: DownloadState) -> None:
        """Record a download of a file."""
        self.log_many([download])

    def log_metadata_download(self, download: DownloadState) -> None:
        """Record a download of a file's metadata."""
        self._all([("log_metadata_downloads", _as_json([download]))])

    def log_search(self, search: SearchState) -> None:
        """Record a request for a project's page in the simple index."""
        self.log_many([search])


def _as_json(entries: Iterable[LogState]) -> str:
    return json.dumps([_row(entry) for entry in entries])


def _row(entry: LogState) -> list[str | None]:
    """Return *entry* as a row, clipped to the widths of its columns."""
    first, host, when, *rest = entry
    # Page hits keep the whole user agent, which may be long.
    width = NAME if isinstance(entry, (DownloadState, SearchState)) else REASON
    return [
        clean(first, 255),
        clean(host),
        _utc(when).isoformat(),
        *(value and clean(value, width) for value in rest),
    ]


def _utc(when: datetime) -> datetime:
    try:
        return when.astimezone(UTC)
    except OverflowError:  # the first or the last day of the calendar
        return when.replace(tzinfo=UTC)
