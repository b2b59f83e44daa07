"""Where a build's log comes from: the master's live output, then what it has stored."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from piwheels.console.model.link import LinkState
from piwheels.console.model.logtext import LogText

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from piwheels.console.model.slave import PastBuild, Slave
    from piwheels.console.session import Session
    from piwheels.core.protocols import LogPart


class Source(Enum):
    """What the lines are, or why there are none."""

    LIVE = "live output"
    ENDED = "live output, ended"  # what is stored is not known yet, or not to be had
    LOADING = "stored log, loading"
    STORED = "stored log"
    NONE = "none"


NO_LEVEL: Final = (
    "the master speaks level 0: it gives no logs, neither of running nor of old builds"
)
NO_OUTPUT: Final = "nothing has come yet; a slave of level 0 sends its log when the build has ended"
NO_NUMBER: Final = "the master has not told under which number it keeps this log"
SKIPPED: Final = "the build was skipped: nothing of it is kept"
NO_BUILD: Final = "it builds nothing, and nothing was built on it since the console attached"
RESTARTED: Final = "the master was restarted: this slave is not known any more"


class LogFeed:
    """The log of what a slave builds now, or of *build*.

    *changed* is called with the number of the first line that is new; with ``None`` if
    :attr:`log` is another.
    """

    def __init__(
        self,
        session: Session,
        slave_id: int,
        build: PastBuild | None,
        changed: Callable[[int | None], None],
    ) -> None:
        self.log = LogText()
        self.slave_id = slave_id
        self.build = build
        #: What is (or was) built while we look, package and version, and how long it took so far.
        self.job: tuple[str, str] | None = None
        self.elapsed: timedelta | None = None
        self.source = Source.NONE
        #: Why there is no log, or no more of it.
        self.why = ""
        #: How many characters the stored log has in all.
        self.size = 0
        self._session = session
        self._changed = changed
        self._epoch = session.farm.info.started if session.farm.info else None
        self._watching = False
        self._heard_once = False
        self._closed = False
        slave = self._slave()
        self._abi = slave.abi if slave is not None else ""
        self._since = slave.job_since if slave is not None else None
        if build is None and slave is not None:
            if slave.job is not None:
                self.job = slave.job
                self.source = Source.LIVE
            else:
                self.build = slave.outcome or (slave.builds[-1] if slave.builds else None)

    @property
    def name(self) -> tuple[str, str, str]:
        """The package, the version and the ABI of the build; empty if there is none."""
        if self.build is not None:
            return self.build.package, self.build.version, self.build.abi
        return (*(self.job or ("", "")), self._abi)

    def start(self) -> None:
        """Begin to read."""
        if self.job is None:
            self._load()
        else:
            self.update()

    def update(self) -> None:
        """Look whether the build has ended, and how; whether the link allows to go on."""
        farm, state = self._session.farm, self._session.state
        if farm.info is not None and self._epoch not in (None, farm.info.started):
            if self.source in (Source.LIVE, Source.LOADING):
                self.source, self.why = Source.ENDED, RESTARTED
            self._watching = False
            return
        if state is LinkState.LOST:
            self._watching = False
        if self.source is Source.LIVE:
            slave = self._builder()
            if slave is not None:
                self.elapsed = farm.elapsed(slave)
                self._watch()
            else:
                self.source = Source.ENDED
                self._unwatch()
        if self.source in (Source.ENDED, Source.NONE) and self.job is not None:
            self._find_build()

    def _slave(self) -> Slave | None:
        return self._session.farm.slaves.get(self.slave_id)

    def _builder(self) -> Slave | None:
        """Return the slave if it still is at the build that we look at."""
        slave = self._slave()
        same = slave is not None and (slave.job, slave.job_since) == (self.job, self._since)
        return slave if same else None

    @property
    def next_job(self) -> tuple[str, str] | None:
        """What the slave builds by now, if that is something else."""
        slave = self._slave()
        if self.source is Source.LIVE or slave is None or self.why == RESTARTED:
            return None
        return slave.job

    def close(self) -> None:
        """Let nothing come any more."""
        self._closed = True
        self._unwatch()

    # Live -------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._watching:
            return
        self._heard_once = False
        self._watching = self._session.watch(self.slave_id, self._heard)
        if not self.log.lines:
            self.why = NO_OUTPUT if self._watching else NO_LEVEL

    def _unwatch(self) -> None:
        if self._watching:
            self._session.unwatch(self.slave_id)
        self._watching = False

    def _heard(self, offset: int, text: str) -> None:
        if self._closed or self.source is not Source.LIVE or self._builder() is None:
            return
        # The first part is what was written before we asked: nobody knows when.
        at = self.elapsed if self._heard_once else None
        self._heard_once = True
        self.why = ""
        self._changed(self.log.add(offset, text, at))

    def _find_build(self) -> None:
        """Look for how the build ended, and for the number of its log."""
        for build in reversed(self._session.farm.builds):
            mine = build.slave_id == self.slave_id and (build.package, build.version) == self.job
            if mine and (self._since is None or build.ended >= self._since):
                if build != self.build:
                    self.build = build
                    self._load()
                return

    # Stored -----------------------------------------------------------------------------------

    def _load(self) -> None:
        build = self.build
        if build is None:
            self.why = NO_BUILD
        elif build.result == "skipped":
            self.why = SKIPPED
        elif self._session.level == 0:
            self.why = NO_LEVEL
        elif build.build_id is None:
            self.why = NO_NUMBER
        else:
            stored = LogText()
            if not self.log.lines:
                self.log = stored
                self._changed(None)
            self.source = Source.LOADING
            self._ask(build.build_id, stored)

    def _ask(self, build_id: int, stored: LogText) -> None:
        def then(part: LogPart | None, why: str) -> None:
            if self._closed:
                return
            if part is None:
                self._fail(stored, why)
            else:
                self._take(build_id, stored, part)

        if not self._session.ask("LOG", [build_id, stored.end], then):
            self._fail(stored, "the link was lost")

    def _fail(self, stored: LogText, why: str) -> None:
        self.source = Source.NONE if self.log is stored else Source.ENDED
        self.why = why
        self._changed(len(self.log.lines))

    def _take(self, build_id: int, stored: LogText, part: LogPart) -> None:
        first = stored.add(part.offset, part.text)
        self.size = part.size
        whole = stored.end >= part.size or not part.text
        if whole:
            self.source, self.why = Source.STORED, "" if stored.lines else "the log is empty"
        else:
            self._ask(build_id, stored)
        if self.log is stored:
            self._changed(first)
        elif whole:
            stored.take_times(self.log)
            self.log = stored
            self._changed(None)
