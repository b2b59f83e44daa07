"""TheArchitect: reads the build queue, and sends it to SlaveDriver when it changes."""

from __future__ import annotations

from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Final

from piwheels.core.database import Database
from piwheels.core.errors import BadMessage, PiWheelsError
from piwheels.core.protocols import Job
from piwheels.core.schema import schema_of
from piwheels.core.targets import Target
from piwheels.core.tasks import PauseableTask
from piwheels.master.messages import BuildQueue, BuildsPending, QueueEmpty
from piwheels.master.ports import Ports
from piwheels.master.the_oracle import DbClient

if TYPE_CHECKING:
    from piwheels.core.database import Listener
    from piwheels.core.states import Pending
    from piwheels.master.ports import Inbox
    from piwheels.master.wiring import MasterConfig

#: How many rows SlaveDriver gets, about, and for each target, at least. It asks for more.
ROWS, LEAST = 2000, 100
#: How many packages get another popularity at a time.
RANKED: Final = 1000
#: Seconds between two refreshes, however often the queue changes.
PAUSE: Final = 1.0
#: Seconds between two updates of the popularity of packages.
RANKING: Final = 3600.0
#: Seconds between two looks for failed builds that are due to be tried again.
RELEASING: Final = 5.0
#: Seconds that the database may take to answer, and the pause after it failed.
DB_TIMEOUT: Final = 20.0
RETRY: Final = 5.0


class TheArchitect(PauseableTask):
    """Reads the build queue and pushes it to SlaveDriver, which replaces what it had.

    PostgreSQL notifies when the queue has changed, and it is read at once, but at most once a
    second. It is also read each minute, in case a notification was lost, and to have the versions
    of vanished slaves built again.
    """

    name = "the_architect"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.ports = Ports("TheArchitect", config, self.logger, self)
        self.db = DbClient(self.ports, DB_TIMEOUT)
        with Database(config.dsn) as database:
            self.listener = database.listen()
        self.register(self.listener, self.handle_notification)
        self.ports.serve("architect", self.handle_more)
        self._changed = False
        self._active = 0
        self._refreshed = -PAUSE
        self._ranked = -RANKING
        self.every(timedelta(minutes=1), self.update_build_queue)
        self.every(timedelta(minutes=1), self.rank_packages)
        self.every(timedelta(seconds=RELEASING), self.release_retries)
        self.every(timedelta(seconds=PAUSE / 4), self.check_notifications)

    def handle_notification(self, queue: Listener) -> None:
        """Refresh the queue if the database has notified of a change.

        If the last refresh is less than a second ago, this one is a little later.
        """
        self._changed |= queue.drain()
        self.refresh_if_due()

    def handle_more(self, queue: Inbox[QueueEmpty]) -> None:
        """Read on in the queue, beyond the versions that are being built."""
        self._active = queue.recv().active
        self._changed = True
        self.refresh_if_due()

    def check_notifications(self) -> None:
        """Refresh the queue if that is due.

        It reads the notifications too: a lost connection never becomes readable.
        """
        self.handle_notification(self.listener)

    def refresh_if_due(self) -> None:
        """Refresh the queue if it has changed and the last time is a while ago."""
        if self._changed and self.clock.monotonic() - self._refreshed >= PAUSE:
            self.update_build_queue()

    def update_build_queue(self) -> None:
        """Read the build queue, up to a limit for each target, and push it to SlaveDriver."""
        self._changed, self._refreshed = False, self.clock.monotonic()
        try:
            targets = [
                Target(row.platform, row.abi_tag) for row in self.db.get_targets() if not row.skip
            ]
            # The first ones may all be under way.
            limit = max(LEAST, ROWS // (len(targets) + 1)) + self._active
            rows = self.db.get_target_queue(limit), self.db.get_second_opinions(limit)
            pending = self.db.get_statistics()["builds_pending"]
        except PiWheelsError as exc:
            self.logger.warning("cannot read the build queue, trying again soon: %s", exc)
            self._changed, self._refreshed = True, self.clock.monotonic() + RETRY - PAUSE
            return
        by_target: dict[Target, list[Pending]] = {}
        for row in chain.from_iterable(rows):
            if self._is_valid(row.package, row.version):
                by_target.setdefault(row.target, []).append(row)
        self._changed = not self.ports.push("builds", BuildQueue(targets, [*by_target.values()]))
        self.ports.push("stats", BuildsPending(pending))

    def rank_packages(self) -> None:
        """Bring the popularity of packages up to date each hour, a thousand a minute."""
        now = self.clock.monotonic()
        if now - self._ranked < RANKING:
            return
        try:
            if self.db.rank_packages(RANKED) < RANKED:
                self._ranked = now
        except PiWheelsError as exc:
            self.logger.warning("the popularity of packages is not up to date: %s", exc)

    def release_retries(self) -> None:
        """Put the failed builds into the queue whose next attempt is due."""
        try:
            self.db.release_retries()
        except PiWheelsError as exc:
            self.logger.warning("failed builds are tried again later: %s", exc)

    def _is_valid(self, package: str, version: str) -> bool:
        # One by one, so that an invalid name in the database stops no other build.
        try:
            schema_of(Job).validate((package, version))
        except BadMessage as exc:
            self.logger.warning("cannot build %r %r (skip it): %s", package, version, exc)
            return False
        return True
