"""Following some projects of an index by its simple API; the rules are in logic/releases."""

from __future__ import annotations

import errno
import stat
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.database.rows import UpstreamPackage, UpstreamVersion, WatchedRow
from piwheels.core.errors import BadMessage, PiWheelsError
from piwheels.core.schema import schema_of
from piwheels.core.states import Package
from piwheels.core.wheels.tags import canonical
from piwheels.master.logic.failures import Failures
from piwheels.master.logic.polling import WHOLE, Poll, Polls
from piwheels.master.logic.releases import judge
from piwheels.master.upstream.fetching import UpstreamFault

if TYPE_CHECKING:
    from pathlib import Path

    from piwheels.master.cloud_gazer import CloudGazer
    from piwheels.master.logic.releases import Project
    from piwheels.master.result import Result
    from piwheels.master.upstream.pypi import Page, Upstream

#: Seconds between two looks at one project, where the operator does not say.
INTERVAL: Final = 300.0
#: How many projects are asked for at once.
ROOM: Final = 3
#: How many faults in a row are the index's own, not those of what was asked for.
WIDE: Final = 3
#: How often in a row a project is not asked for because the index as a whole has not changed.
IDLE: Final = 12
#: Seconds until an index that tells no serial of its whole is asked for that again.
NO_ROOT: Final = 3600.0
#: The longest file of names that is read, in bytes.
MAX_FILE: Final = 4 * 2**20
#: The most projects that a file may name: more could not be asked for in turn.
MAX_NAMES: Final = 20_000
#: Of how many of its lines that name nothing we tell.
TOLD: Final = 20


class Watch:
    """Asks for each watched project in turn, and has stored what is new.

    The projects are in the database, where MrChase puts them, and those of ``--watch-file``. Where
    the index tells the serial of its whole, nothing is asked for while that stays.
    """

    def __init__(self, gazer: CloudGazer, upstream: Upstream) -> None:
        self._gazer, self._upstream, self._logger = gazer, upstream, gazer.logger
        every = gazer.config.poll_every
        self._interval = INTERVAL if every is None else every.total_seconds()
        self._polls = Polls(self._interval, ROOM)
        self._sync_every = 1.0 if gazer.config.dev_mode else 10.0
        self._sync_due = 0.0
        self._index = Failures(gazer.back_off)
        self._hold = 0.0
        #: What the file of names was when it was last read.
        self._file: Any = ()
        #: The serial of the whole index, and when it is asked for next.
        self._root, self._root_due = 0, 0.0
        self._told_held = False
        self._logger.info("watching projects at %s", upstream.simple)

    def __str__(self) -> str:
        return f"{len(self._polls)} projects are watched"

    def work(self, now: float) -> bool:
        """Do one step; there is never another one right now: answers come when they come."""
        if now >= self._sync_due:
            self._sync(now)
        if now < self._hold:
            return False
        if now >= self._root_due and len(self._polls):
            self._root_due = now + max(self._interval / 10, self._gazer.back_off)
            self._gazer.pool.submit(self._upstream.root_serial, self._rooted)
        removed = {deletion.package for deletion in self._gazer.removals}
        # An index in trouble is asked one thing at a time, until it answers.
        most = ROOM if self._index.count < WIDE else 1 - self._polls.out
        for poll in self._polls.due(now, most):
            if poll.row.package in removed:
                self._polls.later(poll, now + self._sync_every)
            elif self._root and self._root == poll.root and not poll.missing and poll.idle < IDLE:
                poll.idle += 1
                self._polls.done(poll, now)
            else:
                poll.idle = 0
                look = partial(self._upstream.page, poll.row)
                self._gazer.pool.submit(look, partial(self._looked, poll, self._root))
        return False

    # What is watched ----------------------------------------------------------------------------

    def _sync(self, now: float) -> None:
        self._sync_due = now + self._sync_every
        self._read_names(self._gazer.config.watch_file)
        before = len(self._polls)
        self._polls.sync(self._gazer.db.get_watched(), now)
        if len(self._polls) != before:
            self._logger.info("%s", self)

    def _read_names(self, path: Path | None) -> None:
        """Have the database know what the file of names lists, if it has changed."""
        if path is None:
            if self._file == ():
                self._gazer.db.watch_listed([])
                self._file = None
            return
        try:
            about = path.stat()
            mark = about.st_mtime_ns, about.st_size, about.st_ino
            if mark == self._file:
                return
            if not stat.S_ISREG(about.st_mode):  # a pipe might have us wait
                raise OSError(errno.EINVAL, "it is no file")
            with path.open("rb") as file:
                data = file.read(MAX_FILE + 1)
        except OSError as exc:
            if self._file != exc.errno:
                self._logger.error(
                    "cannot read %s (%s): what was watched still is", path, exc.strerror
                )
                self._file = exc.errno
            return
        names = self._names(path, data[:MAX_FILE].decode("utf-8-sig", "replace"))
        if len(data) > MAX_FILE:
            self._logger.warning("%s is too long: only its first %d bytes count", path, MAX_FILE)
        if len(names) > MAX_NAMES:
            self._logger.warning("%s lists more than %d projects: the first count", path, MAX_NAMES)
        self._gazer.db.watch_listed(names[:MAX_NAMES])
        self._logger.info("%s lists %d projects", path, len(names[:MAX_NAMES]))
        self._file = mark

    def _names(self, path: Path, text: str) -> list[str]:
        """Return the projects that *text* names, each once; tell of what names none."""
        found: dict[str, None] = {}
        bad = 0
        for number, line in enumerate(text.splitlines(), 1):
            name = line.partition("#")[0].strip()
            try:
                if name:
                    found[canonical(_NAME(name))] = None
            except BadMessage:
                bad += 1
                if bad > TOLD:
                    continue
                self._logger.warning(
                    "%s, line %d: %.80r is not the name of a project: left out", path, number, name
                )
        if bad > TOLD:
            self._logger.warning("%s: so are %d other lines", path, bad - TOLD)
        return list(found)

    # What comes ---------------------------------------------------------------------------------

    def _rooted(self, result: Result[int]) -> None:
        try:
            self._root = result.get()
        except UpstreamFault as fault:
            self._logger.debug("the serial of the whole index: %s", fault)
            self._root = 0
        if not self._root:
            self._root_due = self._gazer.clock.monotonic() + NO_ROOT

    def _looked(self, poll: Poll, root: int, result: Result[Page]) -> None:
        now = self._gazer.clock.monotonic()
        try:
            page = result.get()
        except UpstreamFault as fault:
            self._failed(poll, fault, now)
            return
        if over := self._index.recovered():
            self._logger.info("the index answers again (failures: %d)", over)
        try:
            if not page.found:
                self._missing(poll, now)
            else:
                self._found(poll, page, now)
        except PiWheelsError:
            self._polls.later(poll, now + self._gazer.back_off)
            raise
        poll.root = root
        self._polls.done(poll, now)

    def _failed(self, poll: Poll, fault: UpstreamFault, now: float) -> None:
        """Note that a project could not be asked for, and whether that is the index's fault."""
        package = poll.row.package
        if not fault.wide:
            self._index.recovered()
        elif fault.retry_after is not None or self._index.count + 1 >= WIDE:
            wait, tell = self._index.failed(fault.retry_after)
            self._hold = max(self._hold, now + wait)
            if tell or self._index.count == WIDE:
                self._logger.warning(
                    "the index: %s; asking again in %.3g s (failure %d in a row, of %s)",
                    fault, wait, self._index.count, package,
                )  # fmt: skip
            self._polls.later(poll, self._hold)
            return
        else:
            self._index.failed()
        wait, tell = poll.failures.failed(fault.retry_after)
        if tell:
            self._logger.warning(
                "%s: %s; asking again in %.3g s (failure %d in a row)",
                package, fault, wait, poll.failures.count,
            )  # fmt: skip
        self._polls.later(poll, now + wait)

    def _found(self, poll: Poll, page: Page, now: float) -> None:
        package = poll.row.package
        if over := poll.failures.recovered():
            self._logger.info("%s: it answers again (failures: %d)", package, over)
        if page.project is None:
            poll.missing.clear()
            return
        row, new = self._take_in(poll, page, page.project, now)
        self._gazer.db.watch_polled(row)
        poll.row = row
        for version in new:
            self._logger.info("%s %s is new upstream: to be built", package, version)

    def _take_in(
        self, poll: Poll, page: Page, project: Project, now: float
    ) -> tuple[WatchedRow, list[str]]:
        """Store what the page says; return what is known from now on, and what is new."""
        package = poll.row.package
        known = self._gazer.db.get_upstream_sources(package)
        verdict = judge(poll.row, known, project, self._gazer.clock.now())
        gone = poll.confirmed(verdict.gone, now, self._gazer.confirm)
        deleted = [UpstreamVersion(package, version, deleted=True) for version in sorted(gone)]
        self._gazer.take_in([verdict.package], [*verdict.versions, *deleted])
        if verdict.gone - gone:  # to be looked at again: no condition, no serial to compare with
            self._logger.info(
                "%s: %.300s not there any more: removed if it stays so",
                package, ", ".join(sorted(verdict.gone - gone)),
            )  # fmt: skip
            return verdict.row._replace(serial=0, etag="", modified=""), verdict.new
        return verdict.row._replace(etag=page.etag, modified=page.modified), verdict.new

    def _missing(self, poll: Poll, now: float) -> None:
        """Upstream has no such project: not yet, not for the moment, or not any more."""
        package = poll.row.package
        _, tell = poll.failures.failed()
        if tell:
            self._logger.warning(
                "%s: there is no such project upstream%s (look %d)",
                package, " any more: removed if it stays so" if poll.row.found else "",
                poll.failures.count,
            )  # fmt: skip
        if not poll.row.found or not poll.confirmed({WHOLE}, now, self._gazer.confirm):
            return
        missing, found = self._polls.missing()
        if missing > max(1, found // 3):
            if not self._told_held:
                self._logger.error(
                    "%d of %d projects are missing upstream: nothing is removed while it is so"
                    " many; see whether --pypi-simple is the right index",
                    missing, found,
                )  # fmt: skip
            self._told_held = True
            return
        self._told_held = False
        self._gazer.take_in([UpstreamPackage(package, known=False, deleted=True)], [])
        row = WatchedRow(package)
        self._gazer.db.watch_polled(row)
        poll.row, poll.missing = row, {}


_NAME: Final = schema_of(Package).validate
