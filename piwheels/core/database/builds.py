"""ABIs, the build queue, builds with their logs, and leases."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from piwheels.core.database.connection import LOG, REASON, Client, clean
from piwheels.core.database.listener import Listener
from piwheels.core.database.recipes import readable
from piwheels.core.database.rows import (
    BuildRow,
    EndedBuild,
    Lease,
    PlaceRow,
    PositionRow,
    Quarantine,
    ReasonCount,
    TargetRow,
)
from piwheels.core.database.upstream import requirement
from piwheels.core.errors import Refused, Rejected
from piwheels.core.pythons import REFUSALS, excluded_by, supports
from piwheels.core.states import MAX_URL, Attempt, Fetch, Pending, Trial
from piwheels.core.targets import Target
from piwheels.core.text import clean_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from piwheels.core.states import BuildState, FileState, Retry

FULL_REFRESH = 7200  # the time limit of statements that visit every version, in seconds


class Builds(Client):
    """The build queue, builds and leases."""

    # ABIs and the queue ---------------------------------------------------------------------------

    def add_build_abi(self, abi_tag: str, skip: str = "") -> bool:
        """Add the ABI *abi_tag* to those that the farm builds for, unless *skip* gives a reason.

        It is built on all platforms of the farm's targets (``any`` if there are none). The tag
        determines its position (cp39, cp310, cp313, cp313t; then the others, by name).
        Return ``False`` if the ABI existed; its skip reason is then replaced.
        """
        values = clean(abi_tag), clean(skip, REASON)
        return bool(self._value("add_build_abi", *values, limit=FULL_REFRESH))

    def get_build_abis(self, exclude_skipped: bool = False) -> set[str]:
        """Return the ABIs that the farm builds for, optionally without the skipped ones."""
        return set(self._column("get_build_abis", exclude_skipped))

    def get_build_queue(self, limit: int = 1000) -> dict[str, list[tuple[str, str]]]:
        """Return the versions without an attempt: up to *limit* pairs for each active ABI.

        ABIs are sorted by Python version, oldest first; versions in the order of the queue.
        """
        queue: dict[str, list[tuple[str, str]]] = {}
        for abi_tag, package, version in self._rows("get_build_queue", limit):
            todo = queue.setdefault(abi_tag, [])
            if package is not None:
                todo.append((package, version))
        return queue

    def get_target_queue(self, limit: int = 1000) -> list[Pending]:
        """Return up to *limit* builds without an attempt for each active target, in their order.

        Those of versions that may begin with any target are for ``any``/``any``.
        """
        return [_pending(row) for row in self._rows("get_target_queue", limit)]

    def get_second_opinions(self, limit: int = 1000) -> list[Pending]:
        """Return up to *limit* builds for each active target that need a second opinion.

        They are those with the oldest failures, sorted by the time of these.
        """
        return [_pending(row) for row in self._rows("get_second_opinions", limit)]

    def explain_position(self, package: str, version: str) -> list[PositionRow]:
        """Return where *version* is in the queue of each target, and why."""
        rows = self._rows("explain_position", clean(package), clean(version))
        return [PositionRow(*row) for row in rows]

    def get_places(self, package: str, versions: Sequence[str], most: int = 1000) -> list[PlaceRow]:
        """Return where *versions* of *package* are in the queue of each target, up to *most*.

        A version that a slave builds has a further row for its target.
        """
        names = [clean(version) for version in versions]
        rows = self._rows("get_places", clean(package), names, most)
        return [PlaceRow(*row) for row in rows]

    def set_urgency(self, package: str, version: str, urgency: str) -> bool:
        """Set how urgent *version* is: ``first``, ``security`` or ``""``.

        Return ``False`` if the version does not exist.
        """
        return bool(self._value("set_urgency", clean(package), clean(version), clean(urgency)))

    def rank_packages(self, limit: int = 1000) -> int:
        """Bring the popularity of up to *limit* packages up to date; return how many changed."""
        return int(self._value("rank_packages", limit, limit=FULL_REFRESH))

    # Targets --------------------------------------------------------------------------------------

    def get_targets(self) -> list[TargetRow]:
        """Return all targets in their order, the retired ones included."""
        return [TargetRow(*row) for row in self._rows("get_targets")]

    def add_targets(
        self, targets: Sequence[Target], system: str = "", position: int | None = None
    ) -> list[Target]:
        """Build for *targets*, also those that were retired. Return those that were not active.

        Those with the least *position* come first (``None``: that of their ABI).
        """
        values = *_columns(targets, 2), clean(system), position
        return [Target(*row) for row in self._rows("add_targets", *values, limit=FULL_REFRESH)]

    def retire_targets(self, targets: Sequence[Target], reason: str) -> list[Target]:
        """Build for *targets* no more, for a *reason*. Return those that were active."""
        values = *_columns(targets, 2), clean(reason, REASON)
        return [Target(*row) for row in self._rows("retire_targets", *values, limit=FULL_REFRESH)]

    def preview_target(self, target: Target) -> int:
        """Return how many builds *target* would add to the queue.

        Those of versions without any build are not among them: they wait in any case.
        """
        return int(self._value("preview_target", *map(clean, target), limit=FULL_REFRESH))

    def listen(self) -> Listener:
        """Return a listener that is notified of each change to the queue."""
        return Listener(self._engine.url)

    def get_pending(self, versions: Sequence[tuple[str, str]]) -> list[Pending]:
        """Return which of *versions* are in the queue."""
        return [_pending(row) for row in self._rows("get_pending", *_columns(versions, 2))]

    def release_retries(self, limit: int = 1000) -> int:
        """Put up to *limit* failed builds into the queue whose next attempt is due.

        Return their number.
        """
        return int(self._value("release_retries", limit))

    # Builds ---------------------------------------------------------------------------------------

    def log_build(self, build: BuildState) -> int:
        """Record a build with its files and its log; return its number.

        The same transaction ends the lease and schedules the package's pages. Raises
        :exc:`~piwheels.core.errors.Refused` with ``NOVER`` (unknown version), ``NOABI`` (unknown
        ABI) or ``FILECONFLICT`` (the file name belongs to another version, has other bytes,
        or the database rejects the data).
        """
        try:
            (result,) = self.log_builds([build])
        except Rejected as exc:
            raise Refused("FILECONFLICT", f"the database rejects this build: {exc}") from exc
        if isinstance(result, Refused):
            raise result
        return result

    def log_builds(self, builds: Sequence[BuildState]) -> list[int | Refused]:
        """Record several builds like :meth:`log_build`, in one transaction.

        The result has a number or a refusal for each build; one refusal does not affect the
        others.
        """
        text = json.dumps([_as_json(build) for build in builds])
        return [
            Refused(code, why) if build_id is None else build_id
            for build_id, code, why in self._rows("log_builds", text, again=False)
        ]

    def delete_build(self, package: str, version: str) -> None:
        """Remove all builds of *version* of *package* with their files; it returns to the queue."""
        self._value("delete_build", clean(package), clean(version))

    def count_failed(self, since: datetime, label: str = "") -> int:
        """Return how many builds have failed since *since*, on the slave *label* (``""``: any)."""
        return int(self._value("count_failed", since, clean(label)))

    def retry_failed(self, since: datetime, label: str = "") -> list[str]:
        """Delete the builds of :meth:`count_failed`; their versions return to the queue.

        Return the package of each deleted build; its pages are scheduled.
        """
        rows = self._rows("retry_failed", since, clean(label), again=False, limit=FULL_REFRESH)
        return [row[0] for row in rows]

    def count_reasons(self, since: datetime, limit: int = 100) -> list[ReasonCount]:
        """Return how many failures stand since *since*, by reason and subject, most first.

        A version that has failed for several targets is several failures.
        """
        return [ReasonCount(*row) for row in self._rows("count_reasons", since, limit)]

    def count_reason(self, reason: str, subject: str | None, since: datetime) -> int:
        """Return how many failures stand since *since* with *reason* and *subject* (or any)."""
        return int(self._value("count_reason", *_of_reason(reason, subject), since))

    def get_failures(
        self, reason: str, subject: str | None, since: datetime, limit: int = 100
    ) -> list[EndedBuild]:
        """Return the builds of :meth:`count_reason`, newest first."""
        rows = self._rows("get_failures", *_of_reason(reason, subject), since, limit)
        return [EndedBuild(*row) for row in rows]

    def retry_reason(self, reason: str, subject: str | None, since: datetime) -> list[str]:
        """Have the failures of :meth:`count_reason` built again, with all attempts before them.

        Return the package of each failure; its pages are scheduled.
        """
        values = *_of_reason(reason, subject), since
        rows = self._rows("retry_reason", *values, again=False, limit=FULL_REFRESH)
        return [row[0] for row in rows]

    def retry_version(self, package: str, version: str) -> int:
        """Delete the failed builds of *version*, which returns to the queue; return their number.

        The pages of *package* are scheduled.
        """
        return int(self._value("retry_version", clean(package), clean(version)))

    def take_back(self, build_ids: Sequence[int]) -> list[str]:
        """Delete those of these builds that have failed; their versions return to the queue.

        Return the package of each deleted build; its pages are scheduled.
        """
        return self._column("take_back", list(build_ids))

    def get_all_build_ids(self) -> set[int]:
        """Return the numbers of all builds."""
        return set(self._column("get_all_build_ids"))

    def get_builds(self, versions: Sequence[tuple[str, str]]) -> list[BuildRow]:
        """Return the builds of *versions*, oldest first."""
        return [BuildRow(*row) for row in self._rows("get_builds", *_columns(versions, 2))]

    def get_fetches(self, build_ids: Sequence[int]) -> dict[int, list[Fetch]]:
        """Return what each of these builds asked the proxy of its slave for."""
        found: dict[int, list[Fetch]] = {}
        for build_id, *entry in self._rows("get_fetches", list(build_ids)):
            found.setdefault(build_id, []).append(Fetch(*entry))
        return found

    def get_recent_builds(self, limit: int = 100) -> list[EndedBuild]:
        """Return the last *limit* builds, newest first."""
        return [EndedBuild(*row) for row in self._rows("get_recent_builds", limit)]

    def get_build_log(self, build_id: int, offset: int, length: int) -> tuple[str, int] | None:
        """Return a part of a log that is not yet in a file, and the log's size (characters).

        Return ``None`` if the database has no such log.
        """
        rows = self._rows("get_build_log", build_id, min(offset, LOG), min(length, LOG))
        return rows[0] if rows else None

    def get_unwritten_logs(self, limit: int = 100) -> list[tuple[int, str]]:
        """Return up to *limit* logs that are not yet in a file, as (build, text), oldest first."""
        return self._rows("get_unwritten_logs", limit)

    def logs_written(self, build_ids: Iterable[int]) -> None:
        """Delete the logs of these builds from the database: they are in files."""
        self._value("logs_written", list(build_ids))

    def log_waits(self, build_id: int) -> bool:
        """Return whether the log of an existing build still has to be written to a file."""
        return bool(self._value("log_waits", build_id))

    def get_logs_gone(self, limit: int = 1000) -> list[int]:
        """Return up to *limit* removed builds whose logs are still on the site."""
        return self._column("get_logs_gone", limit)

    def logs_removed(self, build_ids: Iterable[int]) -> None:
        """Record that the logs of these removed builds have left the site."""
        self._value("logs_removed", list(build_ids))

    # Quarantines ----------------------------------------------------------------------------------

    def get_quarantines(self) -> list[Quarantine]:
        """Return the slaves that are in quarantine."""
        return [Quarantine(*row) for row in self._rows("get_quarantines")]

    def save_quarantines(self, quarantines: Sequence[Quarantine]) -> None:
        """Record that the slaves of *quarantines* are in quarantine, and no others."""
        self._value("save_quarantines", *_columns(quarantines, 4))

    # Leases ---------------------------------------------------------------------------------------

    def grant_lease(  # noqa: PLR0917 (called by position)
        self,
        package: str,
        version: str,
        target: Target,
        label: str,
        expires: datetime,
        holder: str = "",
    ) -> bool:
        """Lease a version to the slave *label* until *expires*; replaces an earlier lease.

        *holder* is that of the slave's key. Return ``False`` if the version does not exist.
        """
        values = clean(package), clean(version), *map(clean, target), clean(label), expires
        return bool(self._value("grant_lease", *values, clean(holder)))

    def renew_leases(self, leases: Sequence[tuple[str, str, Target]], expires: datetime) -> None:
        """Extend these *leases* (package, version, target) to *expires*; ignore unknown ones."""
        rows = [(package, version, *target) for package, version, target in leases]
        self._value("renew_leases", *_columns(rows, 4), expires)

    def release_lease(self, package: str, version: str, target: Target) -> None:
        """End a lease: the build was abandoned."""
        self._value("release_lease", clean(package), clean(version), *map(clean, target))

    def get_leases(self) -> list[Lease]:
        """Return the leases, oldest first, including those that expired in the last seven days.

        A slave that lost its master may still run a build whose lease has expired.
        """
        return [Lease(*row) for row in self._rows("get_leases")]


def _columns(rows: Sequence[tuple[str, ...]], width: int) -> list[list[str]]:
    """Return *width* lists, one for each column, as ``unnest`` takes them."""
    return [[clean(row[i]) for row in rows] for i in range(width)]


def _of_reason(reason: str, subject: str | None) -> tuple[str, str | None]:
    return clean(reason), None if subject is None else clean(subject)


def _pending(row: Sequence[Any]) -> Pending:
    content, number, tried = row[8:]
    attempt = Attempt(number, tuple(tried))
    return Pending(*row[:8])._replace(recipe=readable(content, row[0]), attempt=attempt)


def _as_json(build: BuildState) -> dict[str, Any]:
    found, retry = build.diagnosis, build.retry
    return {
        "slave_id": build.slave_id,
        "package": clean(build.package),
        "version": clean(build.version),
        "abi_tag": clean(build.abi_tag),
        "platform": clean(build.platform),
        "label": clean(build.label),
        "owner": clean(build.owner),
        "final": build.final,
        "status": build.status,
        "duration": build.duration.total_seconds(),
        "output": clean_lines(build.output, LOG),
        "files": [_file_as_json(state) for state in build.files.values()],
        "fetches": [_fetch_as_json(fetch) for fetch in build.fetches],
        "reason": clean(found.reason),
        "subject": clean(found.subject),
        "cause": clean(found.cause, REASON),
        "counts": build.counts,
        "recipe": build.recipe.to_map(),
        "keeps": build.keeps.to_map(),
        "retry": None if retry is None else _retry_as_json(retry),
        **requirement(_learned(build)),
    }


def _learned(build: BuildState) -> str | None:
    """Return the Requires-Python for which pip has refused *build*; ``None``: it has not.

    Only a final failure says it for other Pythons, too.
    """
    found = build.diagnosis
    is_refused = build.final and not build.status and any(each in found.cause for each in REFUSALS)
    if not is_refused or supports(excluded_by(found.subject), build.abi_tag):
        return None
    return found.subject


def _retry_as_json(retry: Retry) -> dict[str, Any]:
    return {
        "attempt": retry.attempt.number,
        "tried": list(map(clean, retry.attempt.tried)),
        "recipe": retry.recipe.to_map(),
        "delay": None if retry.delay is None else retry.delay.total_seconds(),
    }


def _fetch_as_json(fetch: Fetch) -> dict[str, Any]:
    texts = {"url": clean(fetch.url, MAX_URL), "refused": clean(fetch.refused)}
    return texts | {"size": fetch.size, "sha256": fetch.sha256}


def _file_as_json(state: FileState) -> dict[str, Any]:
    python, trial = state.requires_python, state.trial or Trial(state.filename)
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
        "installs": trial.installs,
        "imports": trial.imports,
        "trial_why": clean(trial.why),
        "connects": clean(trial.connects),
        "starts": clean(trial.starts),
        "dependencies": [
            {"tool": tool, "dependency": clean(name)}
            for tool, names in state.dependencies.items()
            for name in names
        ],
    }
