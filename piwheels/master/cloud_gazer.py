"""CloudGazer, who follows the upstream index: new, changed and deleted releases."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final, cast

from piwheels.core.errors import Fatal, PiWheelsError, Unavailable
from piwheels.core.host.pip_config import index_access
from piwheels.core.tasks import PauseableTask
from piwheels.master.logic.changelog import Deletion
from piwheels.master.logic.failures import Failures
from piwheels.master.messages import DeletePackage, DeleteVersion, PagesNoted
from piwheels.master.ports import Ports
from piwheels.master.the_oracle import DbClient
from piwheels.master.upstream.changelog import Changelog
from piwheels.master.upstream.fetching import Limits
from piwheels.master.upstream.pypi import Upstream
from piwheels.master.upstream.watch import Watch
from piwheels.master.worker_pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from piwheels.core.database.rows import UpstreamPackage, UpstreamVersion
    from piwheels.core.host.pip_config import IndexAccess
    from piwheels.master.messages import Part, Request
    from piwheels.master.result import Result
    from piwheels.master.wiring import MasterConfig

#: Seconds that another task may take for one answer: less than the master gives us to end.
PATIENCE: Final = 10.0
#: How many requests to the index are in flight at once.
ROOM: Final = 4
#: How often the log shows the number of requests and the size of the answers.
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
    #: The limits of a request to the index.
    limits: ClassVar[Limits] = Limits()
    #: How often the task checks what is due, in seconds; answers are handled at once.
    beat: ClassVar[float] = 1.0
    #: Seconds between a first failure and the next try.
    back_off: ClassVar[float] = 10.0
    #: Seconds for which something must be missing upstream before it counts as deleted.
    confirm: ClassVar[float] = 120.0

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.ports = Ports("CloudGazer", config, self.logger, self)
        self.db = DbClient(self.ports, PATIENCE)
        self.pool = WorkerPool(ROOM, "gazer")
        self.own(self.pool)
        self.register(self.pool.socket, lambda _: self.work())
        self.upstream: Upstream | None = None
        #: Deletions that are marked in the database, and when each is carried out (again).
        self.removals: dict[Deletion, float] = {}
        self._marks_known = False
        self._source: Changelog | Watch | None = None
        self._failures = Failures(self.back_off, longest=60)
        self._rest = 0.0
        self.every(timedelta(seconds=self.beat), self.work)
        self.every(REPORT, self.report)

    def once(self) -> None:
        """Ask pip for the address of the index and the way to it."""
        if self.config.source == "none":
            self.logger.info("the upstream index is not followed: only what is added gets built")
        else:
            self.pool.submit(index_access, self._follow)

    def _follow(self, result: Result[IndexAccess]) -> None:
        config = self.config
        try:
            access = result.get()
            if config.pypi_simple:
                access = access._replace(url=config.pypi_simple)
            self.upstream = Upstream(access, config.pypi_xmlrpc, self.limits)
        except (Fatal, Unavailable) as exc:
            # The farm works without it; a task that ends would stop the master.
            self.logger.error("the upstream index is not followed: %s", exc)
            return
        kind = Changelog if config.source == "changelog" else Watch
        self._source = kind(self, self.upstream)

    def close(self) -> None:
        """Abandon running requests, and close every connection."""
        if self.upstream is not None:
            self.upstream.close()
        super().close()

    # The loop -----------------------------------------------------------------------------------

    def work(self) -> None:
        """Handle the answers that have come, and do one step of the work."""
        now = self.clock.monotonic()
        if now < self._rest:
            return  # the answers wait
        try:
            self.pool.run()
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
            self.pool.wake()

    def _step(self, now: float) -> bool:
        """Do one step; return whether another one is due now."""
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
            self._ask(
                "web", PagesNoted(cast("Part", how), package)
            )  # the database knows, if this gets lost
        for each in packages:
            if each.status == "quarantined":
                self._ask("deletions", DeletePackage(each.package))
        for version in versions:
            if version.quarantined:
                self._ask("deletions", DeleteVersion(version.package, version.version))

    def _ask(self, wire: str, request: Request[object]) -> None:
        def then(result: Result[object]) -> None:
            if result.error is not None:
                self.logger.error("could not pass on %s: %s", request, result.error)

        self.ports.ask(wire, request, then, PATIENCE)

    # What is gone upstream ----------------------------------------------------------------------

    def _find_marked(self) -> None:
        for package, version in self.db.get_deletions():
            self.removals.setdefault(Deletion(package, version), 0.0)

    def _remove(self, gone: Deletion, now: float) -> None:
        """Remove a marked package or version from the queue, the site and the database."""
        package, version = gone
        what = package if version is None else f"{package} {version}"
        deletion = DeletePackage(package) if version is None else DeleteVersion(package, version)
        try:
            for wire in ("deletions", "web"):
                self.ports.call(wire, deletion, PATIENCE)
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
        """Log the number of requests and the size of the answers."""
        if self.upstream is not None and self._source is not None and self.upstream.questions:
            self.logger.info(
                "so far %d questions to the index, %.1f MB of answers; %s",
                self.upstream.questions, self.upstream.received / 1e6, self._source,
            )  # fmt: skip
