"""BigBrother: gathers the farm's statistics, and publishes them."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, assert_never

import zmq

from piwheels.core.errors import Unavailable
from piwheels.core.host import machine
from piwheels.core.states import MasterStats
from piwheels.core.tasks import NonStopTask
from piwheels.master.messages import (
    BuildsPending,
    DiskSpace,
    DownloadsCounted,
    PublishStats,
    RefreshHome,
    StatsMessage,
    StatsPublished,
    WriteHome,
    WriteSearch,
)
from piwheels.master.ports import Ports
from piwheels.master.the_oracle import DbClient

if TYPE_CHECKING:
    from piwheels.master.ports import Inbox
    from piwheels.master.result import Result
    from piwheels.master.wiring import MasterConfig

#: How many past statistics a console receives when it attaches.
HISTORY: Final = 100
#: Seconds after which the list of packages is written again without a change.
LIST_AT_LEAST: Final = 86_400.0

#: The statistics from the database, before its first answer.
_UNKNOWN: Final = {
    "packages_built": 0,
    "builds_last_hour": {},
    "builds_time": timedelta(),
    "builds_size": 0,
    "builds_pending": {},
    "new_last_hour": 0,
    "files_count": 0,
    "downloads_last_hour": 0,
    "downloads_last_month": 0,
    "downloads_all": 0,
}


class BigBrother(NonStopTask):
    """Gathers the statistics of the database, of the site's disk and of this machine.

    It publishes them every 10 s (in ``dev_mode`` every second), and keeps them for consoles that
    attach later. Every 10 minutes (in ``dev_mode`` every 30 s) it sends them to the home page, and
    has the list of packages written as well if that may have changed, because the list needs an
    expensive query. The task does not wait for the database: without an answer it publishes the
    previous statistics.
    """

    name = "big_brother"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.ports = Ports("BigBrother", config, self.logger, self)
        self.ports.serve("stats", self.handle_stats)
        self.db = DbClient(self.ports)
        self.history: deque[MasterStats] = deque(maxlen=HISTORY)
        self._statistics: dict[str, Any] = dict(_UNKNOWN)
        self._disk = machine.disk_space(config.output_path)
        self._requested = self._known = False
        self._home_pause = 30 if config.dev_mode else 600
        self._home_due = self.clock.monotonic() + self._home_pause / 10
        #: The statistics from which the list of packages was last written.
        self._listed: Any = None
        self._list_due = 0.0
        self.every(timedelta(seconds=1 if config.dev_mode else 10), self.request_statistics)

    def request_statistics(self) -> None:
        """Request the statistics of the database.

        If it has not answered the last request yet, publish the previous statistics.
        """
        if self._requested:
            self.publish()
        else:
            self._requested = True
            self.db.ask(self._answered, "get_statistics")

    def _answered(self, result: Result[dict[str, Any]]) -> None:
        self._requested = False
        if result.error is None:
            found = result.value
            self._statistics |= {name: found[name] for name in _UNKNOWN if name in found}
            self._known = True
        else:
            self.logger.warning("no statistics from the database, trying again: %s", result.error)
        self.publish()

    def handle_stats(self, queue: Inbox[StatsMessage]) -> None:
        """Handle a message of another task."""
        match queue.recv():
            case DiskSpace(size, free):
                self._disk = size, free
            case BuildsPending(by_abi):
                self._statistics["builds_pending"] = by_abi
            case DownloadsCounted(count):  # until the next statistics of the database include them
                for name in ("downloads_last_hour", "downloads_last_month", "downloads_all"):
                    self._statistics[name] += count
            case PublishStats():
                for stats in self.history:
                    self._send(stats)
                self.publish()
            case RefreshHome():
                self.update_home()
            case never:
                assert_never(never)

    def gather(self) -> MasterStats:
        """Return the current statistics."""
        machine_stats = machine.slave_stats(self.config.output_path, self.clock.now())
        disk_size, disk_free = self._disk
        return MasterStats(
            **machine_stats._asdict()
            | self._statistics
            | {"disk_size": disk_size, "disk_free": disk_free}
        )

    def publish(self) -> None:
        """Publish and keep the current statistics; have the pages written if they are due."""
        stats = self.gather()
        self.history.append(stats)
        self._send(stats)
        for wire in ("console_events", "monitor"):
            self.ports.push(wire, StatsPublished(stats))
        if self._known and self.clock.monotonic() >= self._home_due:
            self.update_home()
            self.update_search()

    def update_home(self) -> None:
        """Have the home page written with the current statistics."""
        self._home_due = self.clock.monotonic() + self._home_pause
        self.ports.ask("web", WriteHome(self.gather()._asdict()), self._written)

    def update_search(self) -> None:
        """Have the list of packages written, if its content may have changed.

        A new package changes the pending builds. Downloads leave the last month every day.
        """
        shown = ("downloads_all", "packages_built", "builds_pending", "files_count")
        made_from = tuple(self._statistics[name] for name in shown)
        now = self.clock.monotonic()
        if made_from != self._listed or now >= self._list_due:
            self._listed, self._list_due = made_from, now + LIST_AT_LEAST
            self.ports.ask("web", WriteSearch(), self._written)

    def _written(self, result: Result[None]) -> None:
        if result.error is not None:
            self._listed = None
            self.logger.warning("a page was not written, trying again: %s", result.error)

    def _send(self, stats: MasterStats) -> None:
        try:
            self.ports.socket("events").send_msg("STATS", stats, zmq.DONTWAIT)
        except Unavailable:
            self.logger.debug("events: no room for STATS")
