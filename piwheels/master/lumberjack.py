"""Lumberjack, who takes the site's access log from piw-logger and has the database keep it."""

from __future__ import annotations

import itertools
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import zmq

from piwheels.core.errors import BadMessage, Unavailable, worth_telling
from piwheels.core.protocols import lumberjack
from piwheels.core.states import DownloadState
from piwheels.core.tasks import NonStopTask
from piwheels.master.the_oracle import DbClient
from piwheels.master.wiring import big_brother

if TYPE_CHECKING:
    from piwheels.core.transport import Socket
    from piwheels.master.wiring import MasterConfig

#: Rows in one transaction, at most; and the seconds that a row waits for others.
BATCH, WAIT = 1000, 0.5
#: Rows that wait while the database is away; what comes then is lost.
MAX_WAITING: Final = 200_000
#: No row is near this size, in bytes.
MAX_ROW: Final = 256 * 1024
#: A group of rows is tried again for so many seconds, with pauses that grow.
GIVE_UP: Final = 600.0
MAX_PAUSE: Final = 30.0
#: Seconds that the last rows may take when the master stops.
LAST: Final = 5.0


class Lumberjack(NonStopTask):
    """Collects rows of the access log, and hands them to the database in groups.

    One group is under way at a time; each is of one kind, and so is noted wholly or not at all. It
    is kept until the database has confirmed it. Where that confirmation is lost, the group is noted
    again: a row may be there twice.
    """

    name = "lumberjack"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        logs = self.socket(zmq.PULL, lumberjack)
        logs.hwm = 10_000
        logs.setsockopt(zmq.MAXMSGSIZE, MAX_ROW)
        logs.bind(config.log_queue)
        self.register(logs, self.handle_log)
        self._logs = logs
        self.db = DbClient(config, self.logger)
        self.register(self.db.socket, self.handle_answer)
        self.stats = self.socket(zmq.PUSH, reversed(big_brother))
        self.stats.connect(config.stats_queue)
        self.every(timedelta(seconds=WAIT), self.flush)
        self._rows: deque[Any] = deque()
        self._lost = 0
        self._groups: deque[list[Any]] = deque()
        self._ticket: int | None = None
        self._first_try = self._next_try = 0.0
        self._pause = 1.0

    def close(self) -> None:
        """Take the rows that have come, have all of them noted, then close everything."""
        while len(self._rows) < MAX_WAITING and self._logs.poll(0):
            self._receive()
        end = self.clock.monotonic() + LAST
        self._next_try = 0.0
        self.flush()
        while self._ticket is not None and self.db.socket.poll(end - self.clock.monotonic()):
            self.handle_answer(self.db.socket)
        if rows := len(self._rows) + sum(map(len, self._groups)):
            self.logger.error("the master ends: %d rows of the access log are lost", rows)
        self.stats.close()
        super().close()

    def handle_log(self, queue: Socket) -> None:
        """Take the rows that have come, as many as fit a group."""
        for _ in range(BATCH):
            if not queue.poll(0):
                break
            self._receive()
        if len(self._rows) >= BATCH:
            self.flush()

    def _receive(self) -> None:
        try:
            _, row = self._logs.recv_msg()
        except BadMessage as exc:
            self.note_bad_message(exc)
        else:
            self._take(row)

    def _take(self, row: Any) -> None:
        if len(self._rows) < MAX_WAITING:
            self._rows.append(row)
            return
        self._lost += 1
        if worth_telling(self._lost):
            self.logger.error(
                "the database does not keep up: %d rows of the access log lost so far", self._lost
            )

    def flush(self) -> None:
        """Send the database the next group of rows.

        Not while it is busy with one, nor within the pause after a failure.
        """
        now = self.clock.monotonic()
        if self._ticket is not None or now < self._next_try:
            return
        if not self._groups and self._rows:
            size = min(BATCH, len(self._rows))
            rows = sorted((self._rows.popleft() for _ in range(size)), key=_kind)
            self._groups.extend(list(group) for _, group in itertools.groupby(rows, _kind))
            self._first_try = now
        while self._groups and self._ticket is None:
            try:
                self._ticket = self.db.request("log_many", self._groups[0])
            except Unavailable as exc:
                self._again(exc)
                return
            except ValueError:  # more than a message may hold
                group = self._groups.popleft()
                half = len(group) // 2
                self._groups.extendleft((group[half:], group[:half]))

    def handle_answer(self, _: Socket) -> None:
        """Forget the rows that were noted; keep, for a while, those that were not."""
        for answer in self.db.answers():
            if answer.ticket != self._ticket:
                continue
            self._ticket = None
            if answer.error is None:
                self._noted(answer.result)
            else:
                self._again(answer.error)
            self.flush()

    def _noted(self, downloads: int) -> None:
        self._groups.popleft()
        self._first_try, self._pause = self.clock.monotonic(), 1.0
        if downloads:
            try:
                self.stats.send_msg("LOGDOWNLOAD", downloads, zmq.DONTWAIT)
            except Unavailable:
                self.logger.debug("nobody counts the downloads just now")

    def _again(self, error: Exception) -> None:
        now = self.clock.monotonic()
        rows = len(self._groups[0])
        if now - self._first_try > GIVE_UP:
            self._groups.popleft()
            self._first_try, self._pause = now, 1.0
            self.logger.error("%d rows of the access log are lost: %s", rows, error)
            return
        self.logger.warning(
            "%d rows of the access log wait for the database, next try in %g s: %s",
            rows + len(self._rows),
            self._pause,
            error,
        )
        self._next_try = now + self._pause
        self._pause = min(2 * self._pause, MAX_PAUSE)


def _kind(row: Any) -> str:
    # As Database.log_many tells them apart.
    metadata = isinstance(row, DownloadState) and row.filename.endswith(".metadata")
    return f"{type(row).__name__}{'.metadata' if metadata else ''}"
