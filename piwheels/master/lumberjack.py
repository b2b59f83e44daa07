"""Lumberjack: receives the site's access log from piw-logger, and stores it in the database."""

from __future__ import annotations

import itertools
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.errors import BadMessage, should_log
from piwheels.core.states import DownloadState
from piwheels.core.tasks import NonStopTask
from piwheels.master.messages import DownloadsCounted
from piwheels.master.ports import Ports
from piwheels.master.the_oracle import DbClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piwheels.core.transport import Socket
    from piwheels.master.result import Result
    from piwheels.master.wiring import MasterConfig

#: The most rows in one transaction, and their most memory in bytes; and for how many seconds a row
#: waits for others.
BATCH, BATCH_SIZE, WAIT = 1000, 2 * 2**20, 0.5
#: How much memory the rows may use that wait while the database is away, in bytes; further ones
#: are lost. That of a row, in addition to its texts.
MAX_WAITING: Final = 64 * 2**20
_ROW: Final = 500
#: Seconds that the database may take to answer: longer than Seraph lets any request wait, since a
#: group that is sent again may be stored twice.
DB_TIMEOUT: Final = 200.0
#: For how many seconds a group of rows is tried again, with pauses that grow.
GIVE_UP: Final = 600.0
MAX_PAUSE: Final = 30.0
#: Seconds that the last rows may take when the master stops.
LAST: Final = 5.0


class Lumberjack(NonStopTask):
    """Collects rows of the access log, and hands them to the database in groups.

    One group is in flight at a time. All of its rows are of one kind, so that it is stored wholly
    or not at all, except for rows that the database rejects. It is kept until the database has
    confirmed it. If the confirmation is lost, the group is stored again: a row may be there twice.
    """

    name = "lumberjack"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.ports = Ports("Lumberjack", config, self.logger, self)
        self.ports.serve("log", self.handle_log)
        self._logs = self.ports.socket("log")
        self.db = DbClient(self.ports, DB_TIMEOUT)
        self.every(timedelta(seconds=WAIT), self.flush)
        self._rows: deque[Any] = deque()
        #: The memory that they use, and how many were lost.
        self._size = self._lost = 0
        self._groups: deque[list[Any]] = deque()
        self._in_flight = False
        self._first_try = self._next_try = 0.0
        self._pause = 1.0

    def close(self) -> None:
        """Read the rows that have arrived, store all of them, then close everything."""
        while self._size < MAX_WAITING and self._logs.poll(0):
            self._receive()
        self._next_try = 0.0
        self.flush()
        self.ports.finish("database", LAST)
        if rows := len(self._rows) + sum(map(len, self._groups)):
            self.logger.error("the master ends: %d rows of the access log are lost", rows)
        super().close()

    def handle_log(self, queue: Socket) -> None:
        """Read the rows that have arrived, up to a group."""
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
        if self._size < MAX_WAITING:
            self._rows.append(row)
            self._size += _size_of(row)
            return
        self._lost += 1
        if should_log(self._lost):
            self.logger.error(
                "the database does not keep up: %d rows of the access log lost so far", self._lost
            )

    def flush(self) -> None:
        """Send the database the next group of rows.

        Do nothing while another group is in flight, or in the pause after a failure.
        """
        now = self.clock.monotonic()
        if self._in_flight or now < self._next_try:
            return
        if not self._groups and self._rows:
            rows = sorted(self._take_batch(), key=_kind)
            self._groups.extend(list(group) for _, group in itertools.groupby(rows, _kind))
            self._first_try = now
        while self._groups and not self._in_flight:
            try:
                self.db.ask(self._answered, "log_many", self._groups[0])
                self._in_flight = True
            except ValueError:  # more than a message may hold
                group = self._groups.popleft()
                half = len(group) // 2
                self._groups.extendleft((group[half:], group[:half]))

    def _take_batch(self) -> Iterator[Any]:
        size = 0
        for _ in range(BATCH):
            if not self._rows or size > BATCH_SIZE:
                return
            row = self._rows.popleft()
            size += _size_of(row)
            self._size -= _size_of(row)
            yield row

    def _answered(self, result: Result[int]) -> None:
        """Forget the rows that were stored; keep, for a while, those that were not."""
        self._in_flight = False
        if result.error is None:
            self._stored(result.value)
        else:
            self._again(result.error)
        self.flush()

    def _stored(self, downloads: int) -> None:
        self._groups.popleft()
        self._first_try, self._pause = self.clock.monotonic(), 1.0
        if downloads:
            self.ports.push("stats", DownloadsCounted(downloads))

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


def _size_of(row: Any) -> int:
    return _ROW + sum(len(each) for each in row if isinstance(each, str))


def _kind(row: Any) -> str:
    # As Database.log_many tells them apart.
    metadata = isinstance(row, DownloadState) and row.filename.endswith(".metadata")
    return f"{type(row).__name__}{'.metadata' if metadata else ''}"
