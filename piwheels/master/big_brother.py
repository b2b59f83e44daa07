"""BigBrother, who watches the farm's figures, and has them published."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import zmq

from piwheels.core.errors import Unavailable
from piwheels.core.host import machine
from piwheels.core.protocols import monitor_stats
from piwheels.core.states import MasterStats
from piwheels.core.tasks import NonStopTask
from piwheels.master.rpc import Client
from piwheels.master.the_oracle import DbClient
from piwheels.master.wiring import big_brother, news

if TYPE_CHECKING:
    from piwheels.core.transport import Socket
    from piwheels.master.wiring import MasterConfig

#: How many sets of figures a console that attaches gets to see.
HISTORY: Final = 100
#: Seconds until the list of packages is written again, although its figures are the same.
LIST_AT_LEAST: Final = 86_400.0

#: The figures that the database keeps, until it has told them.
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
    """Puts the figures of the database, of the site's disk and of this machine together.

    They are published every ten seconds (in ``dev_mode`` every second), kept for consoles that
    attach later, and go to the home page every ten minutes (in ``dev_mode`` every half). So often,
    too, the list of packages is written, if its downloads or packages may be others than last time:
    that asks the database for much. It never waits for the database: while that is silent, the
    figures are those it told last.
    """

    name = "big_brother"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        stats = self.socket(zmq.PULL, big_brother)
        stats.hwm = 10_000
        stats.bind(config.stats_queue)
        self.register(stats, self.handle_stats)
        self.db = DbClient(config, self.logger)
        self.register(self.db.socket, self.handle_database)
        self.web = Client(self.ctx, config.web_queue, "TheSecretary", self.logger)
        self.register(self.web.socket, self.handle_web)
        self.events = self.socket(zmq.PUSH, monitor_stats)
        self.events.connect(config.events_queue)
        self._news = self.socket(zmq.PUSH, reversed(news))
        self._news.hwm = HISTORY
        self._news.connect(config.news_queue)
        self.history: deque[MasterStats] = deque(maxlen=HISTORY)
        self._figures: dict[str, Any] = dict(_UNKNOWN)
        self._disk = machine.disk_space(config.output_path)
        self._asked = self._known = False
        self._home_pause = 30 if config.dev_mode else 600
        self._home_due = self.clock.monotonic() + self._home_pause / 10
        #: What the list of packages was made from last.
        self._listed: Any = None
        self._list_due = 0.0
        self.every(timedelta(seconds=1 if config.dev_mode else 10), self.ask)

    def close(self) -> None:
        """Close the sockets that are not registered, too."""
        super().close()
        self.events.close()
        self._news.close()

    def replay(self) -> None:
        """Have the kept figures published again for a new console; from any thread."""
        with self.ctx.socket(zmq.PUSH, reversed(big_brother), self.logger) as socket:
            socket.connect(self.config.stats_queue)
            socket.send_msg("HELLO")
            socket.close(linger=1)

    def ask(self) -> None:
        """Ask the database for its figures.

        If it still owes us the last ones, publish what we have.
        """
        if self._asked:
            self.publish()
            return
        try:
            self.db.request("get_statistics")
            self._asked = True
        except Unavailable as exc:
            self.logger.warning("cannot ask for the database's figures, trying again: %s", exc)

    def handle_database(self, _: Socket) -> None:
        """Note the database's figures, and publish all of them."""
        for answer in self.db.answers():
            self._asked = False
            if answer.error is None:
                found = answer.result
                self._figures |= {name: found[name] for name in _UNKNOWN if name in found}
                self._known = True
            else:
                self.logger.warning("no figures of the database, trying again: %s", answer.error)
            self.publish()

    def handle_stats(self, queue: Socket) -> None:
        """Note what another task tells, or do what it asks for."""
        msg, data = queue.recv_msg()
        match msg:
            case "STATFS":
                self._disk = data
            case "STATBQ":
                self._figures["builds_pending"] = data
            case "LOGDOWNLOAD":  # until the database tells its own count
                for name in ("downloads_last_hour", "downloads_last_month", "downloads_all"):
                    self._figures[name] += data
            case "HELLO":
                for stats in self.history:
                    self._send(stats)
                self.publish()
            case "HOME":
                self.update_home()

    def handle_web(self, _: Socket) -> None:
        """Hear what became of the home page and the list of packages."""
        for answer in self.web.answers():
            if answer.error is not None:
                self._listed = None
                self.logger.warning("a page was not written, but will be: %s", answer.error)

    def gather(self) -> MasterStats:
        """Return the figures of now."""
        here = machine.slave_stats(self.config.output_path, self.clock.now())
        disk_size, disk_free = self._disk
        return MasterStats(
            **here._asdict() | self._figures | {"disk_size": disk_size, "disk_free": disk_free}
        )

    def publish(self) -> None:
        """Publish the figures of now, and keep them; have pages written if they are due."""
        stats = self.gather()
        self.history.append(stats)
        self._send(stats)
        with suppress(Unavailable):  # TheOperator has a hundred of them to read
            self._news.send_msg("FIGURES", stats, zmq.DONTWAIT)
        if self._known and self.clock.monotonic() >= self._home_due:
            self.update_home()
            self.update_search()

    def update_home(self) -> None:
        """Have the home page written with the figures of now."""
        self._home_due = self.clock.monotonic() + self._home_pause
        try:
            self.web.request("HOME", self.gather()._asdict())
        except Unavailable as exc:
            self.logger.warning("the home page was not written, but will be: %s", exc)

    def update_search(self) -> None:
        """Have the list of packages written, if what it shows may have changed.

        A package comes with versions to build, and its downloads leave the last month as days pass.
        """
        shown = ("downloads_all", "packages_built", "builds_pending", "files_count")
        made_from = tuple(self._figures[name] for name in shown)
        now = self.clock.monotonic()
        if made_from == self._listed and now < self._list_due:
            return
        try:
            self.web.request("SEARCH")
        except Unavailable as exc:
            self.logger.warning("the list of packages was not written, but will be: %s", exc)
        else:
            self._listed, self._list_due = made_from, now + LIST_AT_LEAST

    def _send(self, stats: MasterStats) -> None:
        try:
            self.events.send_msg("STATS", stats, zmq.DONTWAIT)
        except Unavailable:
            self.logger.debug("nobody publishes the figures just now")
