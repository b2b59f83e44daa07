"""ABIs, the build queue, builds and their logs, and the builds that are handed out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from piwheels.core.database.connection import LOG, REASON, Client, clean
from piwheels.core.database.listener import Listener
from piwheels.core.database.rows import BuildRow, EndedBuild, Lease
from piwheels.core.errors import Refused
from piwheels.core.text import clean_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from piwheels.core.states import BuildState, FileState

FULL_REFRESH = 900  # seconds that it may take to consider every version for another ABI


class Builds(Client):
    """What is to be built, what is being built, and what came of it."""

    # ABIs and the queue ---------------------------------------------------------------------------

    def add_build_abi(self, abi_tag: str, skip: str = "") -> bool:
        """Build for *abi_tag* from now on (not while *skip* gives a reason).

        Its place among the ABIs follows from the tag (cp39, cp310, cp313, cp313t; then the others,
        by name). Return ``False`` if it was there already; its skip reason is then set anew.
        """
        values = clean(abi_tag), clean(skip, REASON)
        return bool(self._value("add_build_abi", *values, limit=FULL_REFRESH))

    def get_build_abis(self, exclude_skipped: bool = False) -> set[str]:
        """Return the ABIs that we build for, on request without those that are skipped."""
        return set(self._column("get_build_abis", exclude_skipped))

    def get_build_queue(self, limit: int = 1000) -> dict[str, list[tuple[str, str]]]:
        """Return what needs building: up to *limit* (package, version) for each active ABI.

        The ABIs come in their order (oldest Python first), the versions in order of release.
        """
        queue: dict[str, list[tuple[str, str]]] = {}
        for abi_tag, package, version in self._rows("get_build_queue", limit):
            todo = queue.setdefault(abi_tag, [])
            if package is not None:
                todo.append((package, version))
        return queue

    def listen(self) -> Listener:
        """Return what is told at once when the queue has changed."""
        return Listener(self._engine.url)

    def get_pending(self, versions: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
        """Return which of *versions* are in the queue, as (package, version, ABI)."""
        return self._rows("get_pending", *_columns(versions, 2))

    # Builds ---------------------------------------------------------------------------------------

    def log_build(self, build: BuildState) -> int:
        """Note a build, with its files and its log, and return its number.

        The lease ends and the package's pages are to be rewritten, all in one transaction. Raises
        :exc:`~piwheels.core.errors.Refused` with ``NOVER`` (no such version), ``NOABI`` (no such
        ABI) or ``FILECONFLICT`` (a file name that is another version's, or known with other bytes).
        """
        (result,) = self.log_builds([build])
        if isinstance(result, Refused):
            raise result
        return result

    def log_builds(self, builds: Sequence[BuildState]) -> list[int | Refused]:
        """Note several builds as :meth:`log_build` does, in one transaction.

        What is refused stands in the place of its number, and does not lose the others.
        """
        text = json.dumps([_as_json(build) for build in builds])
        return [
            Refused(code, why) if build_id is None else build_id
            for build_id, code, why in self._rows("log_builds", text, again=False)
        ]

    def delete_build(self, package: str, version: str) -> None:
        """Remove all builds of *version* of *package*, and their files; it is to be built again."""
        self._value("delete_build", clean(package), clean(version))

    def get_all_build_ids(self) -> set[int]:
        """Return the numbers of all builds."""
        return set(self._column("get_all_build_ids"))

    def get_builds(self, versions: Sequence[tuple[str, str]]) -> list[BuildRow]:
        """Return the builds of *versions*, oldest first."""
        return [BuildRow(*row) for row in self._rows("get_builds", *_columns(versions, 2))]

    def get_recent_builds(self, limit: int = 100) -> list[EndedBuild]:
        """Return up to *limit* builds that ended last, the newest first."""
        return [EndedBuild(*row) for row in self._rows("get_recent_builds", limit)]

    def get_build_log(self, build_id: int, offset: int, length: int) -> tuple[str, int] | None:
        """Return a part of a log that is in no file yet, and the whole log's size, in characters.

        ``None`` if there is no such log (any more).
        """
        rows = self._rows("get_build_log", build_id, min(offset, LOG), min(length, LOG))
        return rows[0] if rows else None

    def get_unwritten_logs(self, limit: int = 100) -> list[tuple[int, str]]:
        """Return up to *limit* logs that are in no file yet, as (build, text), oldest first."""
        return self._rows("get_unwritten_logs", limit)

    def logs_written(self, build_ids: Iterable[int]) -> None:
        """Forget the logs of these builds: they are safe in files."""
        self._value("logs_written", list(build_ids))

    def log_waits(self, build_id: int) -> bool:
        """Tell whether the log of a build is in no file yet; not if the build is gone."""
        return bool(self._value("log_waits", build_id))

    def get_logs_gone(self, limit: int = 1000) -> list[int]:
        """Return up to *limit* builds that are gone, and whose logs have to leave the site."""
        return self._column("get_logs_gone", limit)

    def logs_removed(self, build_ids: Iterable[int]) -> None:
        """Forget these builds that are gone: so are their logs."""
        self._value("logs_removed", list(build_ids))

    # Leases ---------------------------------------------------------------------------------------

    def grant_lease(
        self, package: str, version: str, abi_tag: str, label: str, expires: datetime
    ) -> bool:
        """Note that a build was handed to the slave *label* until *expires* (again: anew).

        Return ``False`` if there is no such version (any more).
        """
        values = clean(package), clean(version), clean(abi_tag), clean(label), expires
        return bool(self._value("grant_lease", *values))

    def renew_leases(self, leases: Sequence[tuple[str, str, str]], expires: datetime) -> None:
        """Let these *leases* (package, version, ABI) end at *expires*; unknown ones do no harm."""
        self._value("renew_leases", *_columns(leases, 3), expires)

    def release_lease(self, package: str, version: str, abi_tag: str) -> None:
        """End a lease: the build was given up."""
        self._value("release_lease", clean(package), clean(version), clean(abi_tag))

    def get_leases(self) -> list[Lease]:
        """Return the leases, oldest first, with those that expired within the last seven days.

        A slave that lost its master may still be at a build whose lease has expired meanwhile.
        """
        return [Lease(*row) for row in self._rows("get_leases")]


def _columns(rows: Sequence[tuple[str, ...]], width: int) -> list[list[str]]:
    """Return *width* lists, one a column: the shape that ``unnest`` takes."""
    return [[clean(row[i]) for row in rows] for i in range(width)]


def _as_json(build: BuildState) -> dict[str, Any]:
    return {
        "slave_id": build.slave_id,
        "package": clean(build.package),
        "version": clean(build.version),
        "abi_tag": clean(build.abi_tag),
        "status": build.status,
        "duration": build.duration.total_seconds(),
        "output": clean_lines(build.output, LOG),
        "files": [_file_as_json(state) for state in build.files.values()],
    }


def _file_as_json(state: FileState) -> dict[str, Any]:
    python = state.requires_python
    return {
        "filename": clean(state.filename, 255),
        "filesize": state.filesize,
        "filehash": clean(state.filehash),
        "package_tag": clean(state.package_tag),
        "package_version_tag": clean(state.package_version_tag),
        "py_version_tag": clean(state.py_version_tag),
        "abi_tag": clean(state.abi_tag),
        "platform_tag": clean(state.platform_tag, REASON),
        "requires_python": None if python is None else clean(python, REASON),
        "location": clean(state.location, REASON),
        "metadata_hash": state.metadata_hash,
        "dependencies": [
            {"tool": tool, "dependency": clean(name)}
            for tool, names in state.dependencies.items()
            for name in names
        ],
    }
