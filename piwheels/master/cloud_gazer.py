"""CloudGazer, who follows the upstream index for new, changed and deleted releases."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from piwheels.core.errors import Fatal, PiWheelsError, Unavailable
from piwheels.core.host.pip_config import index_access
from piwheels.core.tasks import PauseableTask
from piwheels.master.beside import Beside
from piwheels.master.logic.changelog import Deletion
from piwheels.master.logic.failures import Failures
from piwheels.master.rpc import Client
from piwheels.master.the_oracle import DbClient
from piwheels.master.upstream.changelog import Changelog
from piwheels.master.upstream.fetching import Limits
from piwheels.master.upstream.pypi import Upstream
from piwheels.master.upstream.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from piwheels.core.database.rows import UpstreamPackage, UpstreamVersion
    from piwheels.core.host.pip_config import IndexAccess
    from piwheels.master.beside import Outcome
    from piwheels.master.wiring import MasterConfig

#: Seconds that another task may take for one answer: less than the master gives us to end.
PATIENCE: Final = 10.0
#: How many questions are under way at once.
ROOM: Final = 4
#: How often it is told in the log what was asked and what came.
REPORT: Final = timedelta(minutes=10)


class CloudGazer(PauseableTask):
    """Mirrors the upstream index into the database, and removes what upstream has removed.

    ``--source changelog`` follows a whole index (:mod:`~piwheels.master.upstream.changelog`),
    ``--source watch`` follows some projects (:mod:`~piwheels.master.upstream.watch`). Helper
    threads send the requests to the index; the task reads QUIT and PAUSE between two steps.

    A removed version is marked in the transaction that records the removal. Then it leaves the
    queue, the site and finally the database. After a crash the mark shows what is left to do.
    """

    name = "cloud_gazer"
    #: What a question to the index may take.
    limits: ClassVar[Limits] = Limits()
    #: How often it looks what is due, in seconds; what comes is taken at once.
    beat: ClassVar[float] = 1.0
    #: How many seconds after a failure the next try is, at first.
    back_off: ClassVar[float] = 10.0
    #: For how many seconds something must be missing upstream until it is taken to be gone.
    confirm: ClassVar[float] = 120.0

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.db = DbClient(config, self.logger, PATIENCE)
        self.web = Client(self.ctx, config.web_queue, "TheSecretary", self.logger)
        self.driver = Client(self.ctx, config.delete_queue, "SlaveDriver", self.logger)
        self.beside = Beside(ROOM, "gazer")
        self.register(self.beside.socket, lambda _: self.work())
        self.upstream: Upstream | None = None
        #: What is marked as deleted, and when its removal is tried (again).
        self.removals: dict[Deletion, float] = {}
        self._marks_known = False
        self._source: Changelog | Watch | None = None
        self._failures = Failures(self.back_off, longest=60)
        self._rest = 0.0
        self.every(timedelta(seconds=self.beat), self.work)
        self.every(REPORT, self.report)

    def once(self) -> None:
        """Have pip asked where the index is, and how it is reached."""
        if self.config.source == "none":
            self.logger.info("the upstream index is not followed: only what is added gets built")
        else:
            self.beside.submit(index_access, self._follow)

    def _follow(self, outcome: Outcome[IndexAccess]) -> None:
        config = self.config
        try:
            access = outcome.get()
            if config.pypi_simple:
                access = access._replace(url=config.pypi_simple)
            self.upstream = Upstream(access, config.pypi_xmlrpc, self.limits)
        except (Fatal, Unavailable) as exc:
            # The farm can do without: a task that ends would take it all down.
            self.logger.error("the upstream index is not followed: %s", exc)
            return
        kind = Changelog if config.source == "changelog" else Watch
        self._source = kind(self, self.upstream)

    def close(self) -> None:
        """Leave what is under way, and close every connection."""
        if self.upstream is not None:
            self.upstream.close()
        self.beside.close()
        for each in (self.db, self.web, self.driver):
            each.close()
        super().close()

    # The loop -----------------------------------------------------------------------------------

    def work(self) -> None:
        """Take in what has come, and do one step of what there is to do."""
        for client in (self.web, self.driver):
            for answer in client.answers():
                if answer.error is not None:
                    self.logger.error("%s", answer.error)
        now = self.clock.monotonic()
        if now < self._rest:
            return  # what has come waits
        try:
            self.beside.run()
            more = self._step(now)
        except PiWheelsError as exc:
            wait, tell = self._failures.failed()
            self._rest = now + wait
            if tell:
                self.logger.error(
                    "%s; going on in %.3g s (failure %d in a row)", exc, wait, self._failures.count
                )
            return
        if over := self._failures.recovered():
            self.logger.info("going on (failures: %d)", over)
        if more:
            self.beside.wake()

    def _step(self, now: float) -> bool:
        """Do one step; return whether there is another one right now."""
        if not self._marks_known:
            self._find_marked()
            self._marks_known = True
        due = next((each for each, when in self.removals.items() if when <= now), None)
        if due is not None:
            self._remove(due, now)
            return True
        return self._source is not None and self._source.work(now)

    # What the sources find ----------------------------------------------------------------------

    def take_in(
        self,
        packages: Sequence[UpstreamPackage],
        versions: Sequence[UpstreamVersion],
        serial: int | None = None,
    ) -> None:
        """Store changes (``Database.follow_upstream``), and have the rest of the farm follow.

        Raises ``PiWheelsError`` if they may not be stored; it may be repeated.
        """
        rewrites = self.db.follow_upstream(packages, versions, serial)
        if any(each.deleted for each in packages) or any(each.deleted for each in versions):
            self._find_marked()
        for package, how in rewrites:
            self._ask(self.web, "NOTED", [how, package])  # the database has it, should this be lost
        for each in packages:
            if each.status == "quarantined":
                self._ask(self.driver, "DELPKG", each.package)
        for version in versions:
            if version.quarantined:
                self._ask(self.driver, "DELVER", [version.package, version.version])

    def _ask(self, whom: Client, msg: str, data: Any) -> None:
        try:
            whom.request(msg, data)
        except Unavailable as exc:
            self.logger.error("could not pass on %s %s: %s", msg, data, exc)

    # What is gone upstream ----------------------------------------------------------------------

    def _find_marked(self) -> None:
        for package, version in self.db.get_deletions():
            self.removals.setdefault(Deletion(package, version), 0.0)

    def _remove(self, gone: Deletion, now: float) -> None:
        """Take what is marked out of the queue, the site and the database, in this order."""
        package, version = gone
        what = package if version is None else f"{package} {version}"
        data = package if version is None else [package, version]
        try:
            for whom in (self.driver, self.web):
                whom.call("DELPKG" if version is None else "DELVER", data, PATIENCE)
            if version is None:
                self.db.delete_package(package)
            else:
                self.db.delete_version(package, version)
        except PiWheelsError as exc:
            wait = 3 * self.back_off
            self.removals[gone] = now + wait
            self.logger.error("could not remove %s, again in %.3g s: %s", what, wait, exc)
        else:
            del self.removals[gone]
            self.logger.info("removed %s: it is gone upstream", what)

    # The log ------------------------------------------------------------------------------------

    def report(self) -> None:
        """Tell what was asked, and what came."""
        if self.upstream is not None and self._source is not None and self.upstream.questions:
            self.logger.info(
                "so far %d questions to the index, %.1f MB of answers; %s",
                self.upstream.questions, self.upstream.received / 1e6, self._source,
            )  # fmt: skip
