"""Lumberjack, who takes the site's access log from piw-logger and has the database keep it."""

from __future__ import annotations

import itertools
import time
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import zmq

from piwheels.core.errors import BadMessage, PiWheelsError, Unavailable, worth_telling
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
    is kept until the database has confirmed it.
    """

    name = "lumberjack"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        logs = self.socket(zmq.PULL, lumberjack)
        logs.hwm = 10_000
        logs.setsockopt(zmq.MAXMSGSIZE, MAX_ROW)
        logs.bind(config.log_queue)
        self.register(logs, self.handle_log)
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
        """Have what is left noted, then close everything."""
        rows = [*itertools.chain(*self._groups), *self._rows]
        if rows:
            last = DbClient(self.config, self.logger, LAST)
            try:
                last.log_many(rows)
            except PiWheelsError as exc:
                self.logger.error("%d rows of the access log are lost: %s", len(rows), exc)
            last.close()
        self.stats.close()
        super().close()

    def handle_log(self, queue: Socket) -> None:
        """Take the rows that have come, as many as fit a group."""
        for _ in range(BATCH):
            if not queue.poll(0):
                break
            try:
                _, row = queue.recv_msg()
            except BadMessage as exc:
                self.note_bad_message(exc)
            else:
                self._take(row)
        if len(self._rows) >= BATCH:
            self.flush()

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
        now = time.monotonic()
        if self._ticket is not None or now < self._next_try:
            return
        if not self._groups and self._rows:
            size = min(BATCH, len(self._rows))
            rows = sorted((self._rows.popleft() for _ in range(size)), key=_kind)
            self._groups.extend(list(group) for _, group in itertools.groupby(rows, _kind))
            self._first_try = now
        if self._groups:
            try:
                self._ticket = self.db.request("log_many", self._groups[0])
            except Unavailable as exc:
                self._again(exc)

    def handle_answer(self, _: Socket) -> None:
        """Forget the rows that were noted; keep, for a while, those that were not."""
        for answer in self.db.answers():
            if answer.ticket != self._ticket:
                continue
            self._ticket = None
            if answer.error is None:
                self._noted()
            else:
                self._again(answer.error)
            self.flush()

    def _noted(self) -> None:
        group = self._groups.popleft()
        self._first_try, self._pause = time.monotonic(), 1.0
        if isinstance(group[0], DownloadState):
            try:
                self.stats.send_msg("LOGDOWNLOAD", len(group), zmq.DONTWAIT)
            except Unavailable:
                self.logger.debug("nobody counts the downloads just now")

    def _again(self, error: Exception) -> None:
        now = time.monotonic()
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
