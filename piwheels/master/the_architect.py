"""TheArchitect, who knows what is to be built, and tells SlaveDriver as soon as that changes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import zmq

from piwheels.core.database import Database
from piwheels.core.errors import BadMessage, PiWheelsError, Unavailable
from piwheels.core.protocols import Job
from piwheels.core.schema import schema_of
from piwheels.core.tasks import PauseableTask
from piwheels.master.the_oracle import DbClient
from piwheels.master.wiring import architect, big_brother

if TYPE_CHECKING:
    from piwheels.core.database import Listener
    from piwheels.core.transport import Socket
    from piwheels.master.wiring import MasterConfig

#: How many versions SlaveDriver is told of, at most, for each ABI.
LIMIT: Final = 1000
#: Seconds between two refreshes, however often the queue changes.
PAUSE: Final = 1.0
#: Seconds that the database may take to tell the queue; the next refresh is soon.
DB_TIMEOUT: Final = 20.0


class TheArchitect(PauseableTask):
    """Reads the build queue and pushes it to SlaveDriver, which replaces what it had.

    The database tells when the queue has changed, and it is read at once, but not more often than
    once a second. It is also read each minute, in case word of a change was lost, and to have those
    versions built again whose slaves have vanished.
    """

    name = "the_architect"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.db = DbClient(config, self.logger, DB_TIMEOUT)
        with Database(config.dsn) as database:
            self.news = database.listen()
        self.register(self.news, self.handle_news)
        more = self.socket(zmq.PULL, architect)
        more.bind(config.architect_queue)
        self.register(more, self.handle_more)
        # What SlaveDriver has not taken yet is out of date soon: better to drop than to wait.
        self.builds = self.socket(zmq.PUSH)
        self.builds.hwm = 2
        self.builds.connect(config.builds_queue)
        self.stats = self.socket(zmq.PUSH, reversed(big_brother))
        self.stats.hwm = 10
        self.stats.connect(config.stats_queue)
        self._changed = False
        self._active = 0
        self._refreshed = -PAUSE
        self.every(timedelta(minutes=1), self.update_build_queue)
        self.every(timedelta(seconds=PAUSE / 4), self.check_news)

    def close(self) -> None:
        """Close the connections that are not registered, too."""
        super().close()
        for each in (self.db, self.builds, self.stats):
            each.close()

    def handle_news(self, queue: Listener) -> None:
        """Refresh the queue if the database says that it has changed.

        If the last time was less than a second ago, it is done a little later.
        """
        self._changed |= queue.drain()
        self.refresh_if_due()

    def handle_more(self, queue: Socket) -> None:
        """Read on in the queue, beyond what is being built: SlaveDriver has run out of it."""
        _, self._active = queue.recv_msg()
        self._changed = True
        self.refresh_if_due()

    def check_news(self) -> None:
        """Refresh the queue if that is due.

        It asks for news as well: a connection that was lost tells nothing of itself.
        """
        self.handle_news(self.news)

    def refresh_if_due(self) -> None:
        """Refresh the queue if it has changed and the last time is a while ago."""
        if self._changed and self.clock.monotonic() - self._refreshed >= PAUSE:
            self.update_build_queue()

    def update_build_queue(self) -> None:
        """Read the build queue, up to a limit for each ABI, and push it to SlaveDriver."""
        self._changed, self._refreshed = False, self.clock.monotonic()
        try:
            # Its first versions may all be under way.
            queue = self.db.get_build_queue(LIMIT + self._active)
            pending = self.db.get_statistics()["builds_pending"]
        except PiWheelsError as exc:
            self.logger.warning("cannot read the build queue, trying again soon: %s", exc)
            return
        fit = {abi: [job for job in jobs if self._fits(*job)] for abi, jobs in queue.items()}
        try:
            self.builds.send_msg("QUEUE", fit, zmq.DONTWAIT)
            self.stats.send_msg("STATBQ", pending, zmq.DONTWAIT)
        except Unavailable:
            self._changed = True
            self.logger.debug("the last queue has not been taken yet")

    def _fits(self, package: str, version: str) -> bool:
        # One by one, so that an odd name in the database costs nobody else's build.
        try:
            schema_of(Job).validate((package, version))
        except BadMessage as exc:
            self.logger.warning("cannot build %r %r (skip it): %s", package, version, exc)
            return False
        return True
