"""The source of a build's log: the master's live output, then the stored log."""

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


class LogSource(Enum):
    """The source of the lines."""

    LIVE = "live output"
    ENDED = "live output, ended"  # the stored log is not known yet, or unavailable
    LOADING = "stored log, loading"
    STORED = "stored log"
    NONE = "none"


NO_LEVEL: Final = "the master speaks protocol level 0, which has no logs"
NO_OUTPUT: Final = "no output yet; a level-0 slave sends its log when the build ends"
NO_NUMBER: Final = "the master has not reported the number of this log"
SKIPPED: Final = "the build was skipped: its log is not stored"
NO_BUILD: Final = "it builds nothing, and has built nothing since the console attached"
RESTARTED: Final = "the master was restarted: this slave is no longer known"


class LogFeed:
    """The log of a slave's running build, or of *build*.

    *changed* is called with the number of the first new line, or with ``None`` if :attr:`log` was
    replaced.
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
        #: Package and version of the running (or just ended) build, and its duration so far.
        self.job: tuple[str, str] | None = None
        self.elapsed: timedelta | None = None
        self.source = LogSource.NONE
        #: Why there is no log, or not more of it.
        self.why = ""
        #: The length of the stored log, in characters.
        self.size = 0
        self._session = session
        self._changed = changed
        self._epoch = session.farm.info.started if session.farm.info else None
        self._watching = False
        self._received_output = False
        self._closed = False
        slave = self._slave()
        self._abi = slave.abi if slave is not None else ""
        self._since = slave.job_since if slave is not None else None
        if build is None and slave is not None:
            if slave.job is not None:
                self.job = slave.job
                self.source = LogSource.LIVE
            else:
                self.build = slave.outcome or (slave.builds[-1] if slave.builds else None)

    @property
    def name(self) -> tuple[str, str, str]:
        """The package, the version and the ABI of the build; empty if there is none."""
        if self.build is not None:
            return self.build.package, self.build.version, self.build.abi
        return (*(self.job or ("", "")), self._abi)

    def start(self) -> None:
        """Start to read."""
        if self.job is None:
            self._load()
        else:
            self.update()

    def update(self) -> None:
        """Check whether the build has ended, and how, and whether the link is up."""
        farm, state = self._session.farm, self._session.state
        if farm.info is not None and self._epoch not in (None, farm.info.started):
            if self.source in (LogSource.LIVE, LogSource.LOADING):
                self.source, self.why = LogSource.ENDED, RESTARTED
            self._watching = False
            return
        if state is LinkState.LOST:
            self._watching = False
        if self.source is LogSource.LIVE:
            slave = self._builder()
            if slave is not None:
                self.elapsed = farm.elapsed(slave)
                self._watch()
            else:
                self.source = LogSource.ENDED
                self._unwatch()
        if self.source in (LogSource.ENDED, LogSource.NONE) and self.job is not None:
            self._find_build()

    def _slave(self) -> Slave | None:
        return self._session.farm.slaves.get(self.slave_id)

    def _builder(self) -> Slave | None:
        """Return the slave if the followed build is still running."""
        slave = self._slave()
        same = slave is not None and (slave.job, slave.job_since) == (self.job, self._since)
        return slave if same else None

    @property
    def next_job(self) -> tuple[str, str] | None:
        """What the slave builds now, if that is another build."""
        slave = self._slave()
        if self.source is LogSource.LIVE or slave is None or self.why == RESTARTED:
            return None
        return slave.job

    def close(self) -> None:
        """Stop following the log."""
        self._closed = True
        self._unwatch()

    # Live -------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._watching:
            return
        self._received_output = False
        self._watching = self._session.watch(self.slave_id, self._receive)
        if not self.log.lines:
            self.why = NO_OUTPUT if self._watching else NO_LEVEL

    def _unwatch(self) -> None:
        if self._watching:
            self._session.unwatch(self.slave_id)
        self._watching = False

    def _receive(self, offset: int, text: str) -> None:
        if self._closed or self.source is not LogSource.LIVE or self._builder() is None:
            return
        # The first part was written earlier, at an unknown time.
        at = self.elapsed if self._received_output else None
        self._received_output = True
        self.why = ""
        self._changed(self.log.add(offset, text, at))

    def _find_build(self) -> None:
        """Find the outcome of the build, and the number of its log."""
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
            self.source = LogSource.LOADING
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
        self.source = LogSource.NONE if self.log is stored else LogSource.ENDED
        self.why = why
        self._changed(len(self.log.lines))

    def _take(self, build_id: int, stored: LogText, part: LogPart) -> None:
        first = stored.add(part.offset, part.text)
        self.size = part.size
        whole = stored.end >= part.size or not part.text
        if whole:
            self.source, self.why = LogSource.STORED, "" if stored.lines else "the log is empty"
        else:
            self._ask(build_id, stored)
        if self.log is stored:
            self._changed(first)
        elif whole:
            stored.take_times(self.log)
            self.log = stored
            self._changed(None)
