"""Follows some projects of an index by its simple API; logic/releases has the rules."""

from __future__ import annotations

import errno
import stat
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.database.rows import UpstreamPackage, UpstreamVersion, WatchedRow
from piwheels.core.errors import BadMessage, DatabaseError, Refused, Rejected, Unavailable
from piwheels.core.schema import schema_of
from piwheels.core.states import Package
from piwheels.core.wheels.tags import canonical
from piwheels.master.logic.failures import Failures
from piwheels.master.logic.polling import WHOLE, PollSchedule, WatchedProject
from piwheels.master.logic.releases import MAX_VERSION, judge
from piwheels.master.upstream.follower import fault_of

if TYPE_CHECKING:
    from pathlib import Path

    from piwheels.core.fetching import UpstreamFault
    from piwheels.master.logic.releases import Project
    from piwheels.master.result import Result
    from piwheels.master.upstream.follower import Gazer
    from piwheels.master.upstream.pypi import Page, Upstream

#: The default interval between two requests for one project, in seconds.
INTERVAL: Final = 300.0
#: The most requests that are in flight.
MAX_REQUESTS: Final = 3
#: How many projects must fail, without an answer in between, for a fault of the index; the longest
#: wait of all projects after it, in seconds.
INDEX_FAULTS: Final = 3
LONGEST_WAIT: Final = 600.0
#: How many requests for a project are left out in a row while the index has not changed.
IDLE: Final = 12
#: Seconds until a request for the index's serial is repeated if it had none.
ROOT_RETRY: Final = 3600.0
#: The longest file of names that is read, in bytes.
MAX_FILE: Final = 4 * 2**20
#: The most projects in a file of names: more cannot be polled within the interval.
MAX_NAMES: Final = 20_000
#: How many invalid lines of the file of names to log.
MAX_LOGGED_LINES: Final = 20


class Watcher:
    """Polls the watched projects in turn, and stores their changes.

    The database has the projects: those that MrChase adds, and those of ``--watch-file``. Of
    projects that it has for other reasons, and with ``--source known`` of all projects, it follows
    only the versions that it has. If the
    index reports a serial of its own, most requests are left out while that does not change.
    """

    def __init__(self, gazer: Gazer, upstream: Upstream) -> None:
        self._gazer, self._upstream, self._logger = gazer, upstream, gazer.logger
        every = gazer.config.poll_every
        self._interval = INTERVAL if every is None else every.total_seconds()
        self._schedule = PollSchedule(self._interval, MAX_REQUESTS)
        self._sync_every = 1.0 if gazer.config.dev_mode else 10.0
        self._sync_due = 0.0
        #: The projects that failed since the last answer.
        self._failed_projects: set[str] = set()
        self._index_failures = Failures(gazer.back_off, longest=LONGEST_WAIT)
        self._retry_at = 0.0
        #: The identity of the file of names when it was last read, or the error number.
        self._file_mark: Any = ()
        #: The serial of the whole index, and when it is requested next.
        self._root_serial, self._root_due = 0, 0.0
        self._logged_missing = False
        self._logger.info("watching projects at %s", upstream.simple)

    def __str__(self) -> str:
        return f"{len(self._schedule)} projects are watched"

    def work(self, now: float) -> bool:
        """Do one step; return ``False``: the next step is due after an answer, or later."""
        if now >= self._sync_due:
            self._sync(now)
        if now < self._retry_at:
            return False
        if now >= self._root_due and len(self._schedule):
            self._root_due = now + max(self._interval / 10, self._gazer.back_off)
            self._gazer.pool.submit(self._upstream.root_serial, self._received_root)
        removed = {removal.package for removal in self._gazer.removals}
        # A failing index gets one request at a time, until it answers.
        limit = MAX_REQUESTS
        if self._index_failures.count:
            limit = 1 - self._schedule.in_flight
        for watched in self._schedule.take_due(now, limit):
            if watched.row.package in removed:
                self._schedule.postpone(watched, now + self._sync_every)
            elif watched.is_unchanged(self._root_serial) and watched.idle < IDLE:
                watched.idle += 1
                self._schedule.done(watched, now)
            else:
                watched.idle = 0
                request = partial(self._upstream.page, watched.row)
                self._gazer.pool.submit(
                    request, partial(self._received, watched, self._root_serial)
                )
        return False

    # Watched projects ---------------------------------------------------------------------------

    def _sync(self, now: float) -> None:
        self._sync_due = now + self._sync_every
        self._read_names(self._gazer.config.watch_file)
        before = len(self._schedule)
        rows = self._gazer.db.get_watched()
        if self._gazer.config.source == "known":
            rows = [row._replace(pinned=True) for row in rows]
        self._schedule.sync(rows, now)
        if len(self._schedule) != before:
            self._logger.info("%s", self)

    def _read_names(self, path: Path | None) -> None:
        """Store the names in the file of names in the database, if the file has changed."""
        if path is None:
            if self._file_mark == ():
                self._gazer.db.watch_listed([])
                self._file_mark = None
            return
        try:
            about = path.stat()
            mark = about.st_mtime_ns, about.st_size, about.st_ino
            if mark == self._file_mark:
                return
            if not stat.S_ISREG(about.st_mode):  # reading from a pipe might block
                raise OSError(errno.EINVAL, "it is not a file")
            with path.open("rb") as file:
                data = file.read(MAX_FILE + 1)
        except OSError as exc:
            if self._file_mark != exc.errno:
                self._logger.error(
                    "cannot read %s (%s): its projects are still watched", path, exc.strerror
                )
                self._file_mark = exc.errno
            return
        names = self._names(path, data[:MAX_FILE].decode("utf-8-sig", "replace"))
        if len(data) > MAX_FILE:
            self._logger.warning("%s is too long: only its first %d bytes are used", path, MAX_FILE)
        if len(names) > MAX_NAMES:
            self._logger.warning(
                "%s has more than %d projects: ignored the others", path, MAX_NAMES
            )
        try:
            self._gazer.db.watch_listed(names[:MAX_NAMES])
        except (Refused, Rejected) as exc:
            self._logger.error("%s: its projects cannot be stored, ignored it: %s", path, exc)
            self._file_mark = mark
            return
        self._logger.info("%s lists %d projects", path, len(names[:MAX_NAMES]))
        self._file_mark = mark

    def _names(self, path: Path, text: str) -> list[str]:
        """Return the projects that *text* names, each once; log invalid lines."""
        found: dict[str, None] = {}
        bad = 0
        for number, line in enumerate(text.splitlines(), 1):
            name = line.partition("#")[0].strip()
            try:
                if name:
                    found[canonical(_NAME(name))] = None
            except BadMessage:
                bad += 1
                if bad > MAX_LOGGED_LINES:
                    continue
                self._logger.warning(
                    "%s, line %d: %.80r is not the name of a project: ignored", path, number, name
                )
        if bad > MAX_LOGGED_LINES:
            self._logger.warning("%s: %d more lines are invalid", path, bad - MAX_LOGGED_LINES)
        return list(found)

    # Answers ------------------------------------------------------------------------------------

    def _received_root(self, result: Result[int]) -> None:
        try:
            self._root_serial = result.get()
        except Exception as exc:  # noqa: BLE001 (as below)
            fault = fault_of(self._gazer, "the serial of the whole index", exc)
            self._logger.debug("the serial of the whole index: %s", fault)
            self._root_serial = 0
        if not self._root_serial:
            self._root_due = self._gazer.clock.monotonic() + ROOT_RETRY

    def _received(self, watched: WatchedProject, root: int, result: Result[Page]) -> None:
        now, package = self._gazer.clock.monotonic(), watched.row.package
        try:
            page = result.get()
        except Exception as exc:  # noqa: BLE001 (one page never ends the task)
            self._failed(watched, fault_of(self._gazer, f"the page of {package}", exc), now)
            self._asked(watched)
            return
        self._answered()
        try:
            if not page.found:
                self._missing(watched, now)
            else:
                self._found(watched, page, now)
        except Exception as exc:
            if isinstance(exc, DatabaseError | Unavailable) and not isinstance(exc, Rejected):
                self._schedule.postpone(watched, now + self._gazer.back_off)
                raise  # the database has no answer for any project
            self._failed(watched, fault_of(self._gazer, f"the page of {package}", exc), now)
            return
        if page.found and (over := watched.failures.recovered()):
            self._logger.info("%s: available again (failures: %d)", package, over)
        watched.root = root
        self._schedule.done(watched, now)

    def _answered(self) -> None:
        """Record that the index works."""
        self._failed_projects.clear()
        if over := self._index_failures.recovered():
            self._logger.info("the index answers again (failures: %d)", over)

    def _asked(self, watched: WatchedProject) -> None:
        """Record an answer without a new page."""
        if not watched.row.polled:
            self._gazer.db.watch_asked(watched.row)
            watched.row = watched.row._replace(polled=True)

    def _failed(self, watched: WatchedProject, fault: UpstreamFault, now: float) -> None:
        """Record a failed request, and decide whether it is a fault of the index."""
        package = watched.row.package
        if fault.of_index:
            self._failed_projects.add(package)
        else:
            self._answered()
        if len(self._failed_projects) >= INDEX_FAULTS:
            wait, log = self._index_failures.failed(fault.retry_after)
            self._retry_at = max(self._retry_at, now + wait)
            if log:
                self._logger.warning(
                    "the index: %s; trying again in %.3g s (failure %d in a row, for %s)",
                    fault, wait, self._index_failures.count, package,
                )  # fmt: skip
            self._schedule.postpone(watched, self._retry_at)
            return
        wait, log = watched.failures.failed(fault.retry_after)
        if log:
            self._logger.warning(
                "%s: %s; trying again in %.3g s (failure %d in a row)",
                package, fault, wait, watched.failures.count,
            )  # fmt: skip
        self._schedule.postpone(watched, now + wait)

    def _found(self, watched: WatchedProject, page: Page, now: float) -> None:
        if page.project is None:
            watched.missing.clear()
            self._asked(watched)
            return
        self._log_ignored(watched, page.project.ignored)
        row, new = self._store(watched, page, page.project, now)
        self._gazer.db.watch_polled(row)
        watched.row = row
        for version in new:
            self._logger.info("%s %s is a new upstream release", row.package, version)

    def _log_ignored(self, watched: WatchedProject, ignored: frozenset[str]) -> None:
        """Log, once, the files that are left out: a line for each project, however many."""
        if new := ignored - watched.ignored:
            self._logger.warning(
                "%s: ignored %d files with an invalid version, or one of more than %d characters:"
                " %.1000s",
                watched.row.package, len(new), MAX_VERSION, ", ".join(map(repr, sorted(new))),
            )  # fmt: skip
        watched.ignored = ignored

    def _store(
        self, watched: WatchedProject, page: Page, project: Project, now: float
    ) -> tuple[WatchedRow, list[str]]:
        """Store the changes of a page; return the new row of the project, and the new releases."""
        package = watched.row.package
        known = self._gazer.db.get_known_versions(package)
        abis = self._gazer.db.get_build_abis(exclude_skipped=True)
        verdict = judge(watched.row, known, project, self._gazer.clock.now(), abis)
        before = set(watched.missing)
        gone = watched.confirmed(verdict.gone, now, self._gazer.confirm)
        deleted = [UpstreamVersion(package, version, deleted=True) for version in sorted(gone)]
        new, changes = verdict.new, [*verdict.versions, *deleted]
        if verdict.substitute is not None and verdict.gone == gone:
            changes.append(verdict.substitute)
            self._logger.info(
                "%s: its newest release is yanked or gone upstream: building %s in its place",
                package, verdict.substitute.version,
            )  # fmt: skip
        self._gazer.store([verdict.package], changes)
        if first := verdict.gone - gone - before:
            self._logger.info(
                "%s: no longer upstream: %.300s; removed if that is confirmed",
                package, ", ".join(sorted(first)),
            )  # fmt: skip
        if verdict.gone - gone:  # read the page again: without a condition or a serial
            return verdict.row._replace(serial=0, etag="", modified=""), new
        return verdict.row._replace(etag=page.etag, modified=page.modified), new

    def _missing(self, watched: WatchedProject, now: float) -> None:
        """Handle a project that does not exist upstream: not yet, not now, or no longer."""
        package = watched.row.package
        _, log = watched.failures.failed()
        self._asked(watched)
        if watched.row.pinned and not watched.row.found:
            return  # an operator's own project
        if log:
            self._logger.warning(
                "%s: no such project upstream%s (request %d)",
                package, " any more: removed if that is confirmed" if watched.row.found else "",
                watched.failures.count,
            )  # fmt: skip
        if not watched.row.found or not watched.confirmed({WHOLE}, now, self._gazer.confirm):
            return
        missing, found = self._schedule.missing()
        if missing > max(1, found // 3):
            if not self._logged_missing:
                self._logger.error(
                    "%d of %d projects are missing upstream: none is removed while so many are"
                    " missing; check whether --pypi-simple is the right index",
                    missing, found,
                )  # fmt: skip
            self._logged_missing = True
            return
        self._logged_missing = False
        self._gazer.store([UpstreamPackage(package, known=False, deleted=True)], [])
        row = WatchedRow(package, pinned=watched.row.pinned, polled=True)
        self._gazer.db.watch_polled(row)
        watched.row, watched.missing = row, {}


_NAME: Final = schema_of(Package).validate
