"""CloudGazer: follows the upstream index, with its new, changed and deleted releases."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final, cast

from piwheels.core.errors import Fatal, PiWheelsError, Unavailable
from piwheels.core.fetching import Limits
from piwheels.core.host.pip_config import index_access
from piwheels.core.tasks import PauseableTask
from piwheels.core.wheels.tags import known_spelling
from piwheels.master.logic.changelog import Removal
from piwheels.master.logic.failures import Failures
from piwheels.master.messages import DeletePackage, DeleteVersion, PagesNoted, UpstreamSeen
from piwheels.master.ports import Ports
from piwheels.master.the_oracle import DbClient
from piwheels.master.upstream.changelog import Changelog
from piwheels.master.upstream.pypi import Upstream
from piwheels.master.upstream.watch import Watcher
from piwheels.master.worker_pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from piwheels.core.database.rows import UpstreamPackage, UpstreamVersion
    from piwheels.core.host.pip_config import IndexAccess
    from piwheels.master.messages import Part, Request
    from piwheels.master.result import Result
    from piwheels.master.wiring import MasterConfig

#: Seconds that another task may take to answer: less than this task may take to stop.
ANSWER_LIMIT: Final = 10.0
#: The most requests to the index that are in flight.
MAX_REQUESTS: Final = 4
#: The interval of log lines with the number of requests and the size of the answers.
REPORT_INTERVAL: Final = timedelta(minutes=10)


class CloudGazer(PauseableTask):
    """Mirrors the upstream index into the database, and removes releases that upstream removes.

    ``--source changelog`` follows a whole index (:mod:`~piwheels.master.upstream.changelog`),
    ``--source watch`` follows some projects (:mod:`~piwheels.master.upstream.watch`). Helper
    threads send the requests to the index; the task handles QUIT and PAUSE between two steps.

    The transaction that records a removal marks the version as deleted. Then the version is removed
    from the queue, the site and finally the database. After a crash, the mark shows what remains.
    """

    name = "cloud_gazer"
    #: The limits of a request to the index.
    limits: ClassVar[Limits] = Limits()
    #: The interval of checks for work that is due, in seconds; answers are handled at once.
    check_interval: ClassVar[float] = 1.0
    #: Seconds between a first failure and its retry.
    back_off: ClassVar[float] = 10.0
    #: Seconds for which a release must be missing upstream before it counts as deleted.
    confirm: ClassVar[float] = 120.0

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.ports = Ports("CloudGazer", config, self.logger, self)
        self.db = DbClient(self.ports, ANSWER_LIMIT)
        self.pool = WorkerPool(MAX_REQUESTS, "gazer")
        self.own(self.pool)
        self.register(self.pool.socket, lambda _: self.work())
        self.upstream: Upstream | None = None
        #: The removals that are marked in the database, and when each is due (again).
        self.removals: dict[Removal, float] = {}
        self._marks_read = False
        self._follower: Changelog | Watcher | None = None
        self._failures = Failures(self.back_off, longest=60)
        self._retry_at = 0.0
        self.every(timedelta(seconds=self.check_interval), self.work)
        self.every(REPORT_INTERVAL, self.report)
        self.every(timedelta(seconds=10), self.report_lag)

    def once(self) -> None:
        """Ask pip for the address of the index and for the access to it."""
        if self.config.source == "none":
            self.logger.info("the upstream index is not followed: only added versions are built")
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
            # The farm works without the index; an error here would stop the master.
            self.logger.error("the upstream index is not followed: %s", exc)
            return
        follower = Changelog if config.source == "changelog" else Watcher
        self._follower = follower(self, self.upstream)

    def close(self) -> None:
        """Abandon running requests, and close every connection."""
        if self.upstream is not None:
            self.upstream.close()
        super().close()

    # The loop -----------------------------------------------------------------------------------

    def work(self) -> None:
        """Handle the answers that have arrived, and do one step of work."""
        now = self.clock.monotonic()
        if now < self._retry_at:
            return  # the answers wait in the pool
        try:
            self.pool.run()
            more = self._step(now)
        except PiWheelsError as exc:
            wait, log = self._failures.failed()
            self._retry_at = now + wait
            if log:
                self.logger.error(
                    "%s; continuing in %.3g s (failure %d in a row)",
                    exc,
                    wait,
                    self._failures.count,
                )
            return
        if over := self._failures.recovered():
            self.logger.info("continuing (failures: %d)", over)
        if more:
            self.pool.wake()

    def _step(self, now: float) -> bool:
        """Do one step; return whether another step is due now."""
        if not self._marks_read:
            self._find_marked()
            self._marks_read = True
        due = next((removal for removal, when in self.removals.items() if when <= now), None)
        if due is not None:
            self._remove(due, now)
            return True
        return self._follower is not None and self._follower.work(now)

    # Changes upstream ---------------------------------------------------------------------------

    def store(
        self,
        packages: Sequence[UpstreamPackage],
        versions: Sequence[UpstreamVersion],
        serial: int | None = None,
    ) -> None:
        """Store changes (``Database.follow_upstream``), and inform the other tasks.

        Raises ``PiWheelsError`` if the database may not have stored them; then it may be repeated.
        """
        rewrites = self.db.follow_upstream(packages, versions, serial)
        if any(each.deleted for each in packages) or any(each.deleted for each in versions):
            self._find_marked()
        for package, part in rewrites:
            self._request(
                "web", PagesNoted(cast("Part", part), package)
            )  # if the message is lost, the note in the database remains
        for each in packages:
            if each.status == "quarantined":
                self._request("deletions", DeletePackage(each.package))
        for version in versions:
            if version.quarantined:
                here = known_spelling(version.version, self.db.get_known_versions(version.package))
                self._request("deletions", DeleteVersion(version.package, here))

    def _request(self, wire: str, request: Request[object]) -> None:
        def log_error(result: Result[object]) -> None:
            if result.error is not None:
                self.logger.error("could not pass on %s: %s", request, result.error)

        self.ports.ask(wire, request, log_error, ANSWER_LIMIT)

    # Removals -----------------------------------------------------------------------------------

    def _find_marked(self) -> None:
        for package, version in self.db.get_deletions():
            self.removals.setdefault(Removal(package, version), 0.0)

    def _remove(self, removal: Removal, now: float) -> None:
        """Remove a marked package or version from the queue, the site and the database."""
        package, version = removal
        what = package if version is None else f"{package} {version}"
        deletion = DeletePackage(package) if version is None else DeleteVersion(package, version)
        try:
            for wire in ("deletions", "web"):
                self.ports.call(wire, deletion, ANSWER_LIMIT)
            if version is None:
                self.db.delete_package(package)
            else:
                self.db.delete_version(package, version)
        except PiWheelsError as exc:
            wait = 3 * self.back_off
            self.removals[removal] = now + wait
            self.logger.error("could not remove %s, trying again in %.3g s: %s", what, wait, exc)
        else:
            del self.removals[removal]
            self.logger.info("removed %s, which was deleted upstream", what)

    def report_lag(self) -> None:
        """Report to TheSentinel since when the index has not answered."""
        if (upstream := self.upstream) is not None:
            lag = self.clock.monotonic() - upstream.answered
            self.ports.push("monitor", UpstreamSeen(lag, upstream.requests, upstream.received))

    # The log ------------------------------------------------------------------------------------

    def report(self) -> None:
        """Log the number of requests and the size of the answers."""
        if self.upstream is not None and self._follower is not None and self.upstream.requests:
            self.logger.info(
                "so far %d requests to the index, %.1f MB of answers; %s",
                self.upstream.requests, self.upstream.received / 1e6, self._follower,
            )  # fmt: skip
