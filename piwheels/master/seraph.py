"""Seraph: hands each request to the database to the oracle that has been idle for longest."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core import codec
from piwheels.core.errors import BadMessage, Unavailable, should_log
from piwheels.core.tasks import NonStopTask
from piwheels.master.ports import Ports, Ticket
from piwheels.master.wiring import DB_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from piwheels.core.transport import Socket
    from piwheels.master.wiring import MasterConfig

#: Seconds after which a silent oracle is abandoned; the database's own limits are shorter.
ORACLE_LIMIT: Final = 2 * DB_LIMIT
#: How many requests may wait, and how many bytes in all.
MAX_WAITING, MAX_BYTES = 10_000, 64 * 2**20
#: How many builds an oracle logs in one transaction, at most; and their size in bytes.
GROUP, GROUP_BYTES = 16, codec.MAX_FRAME

# How a message ["log_build", data] begins: an array of two, then the name.
_LOG_BUILD: Final = b"\x82" + codec.dumps("log_build")


class _Waiting(NamedTuple):
    peer: bytes
    ticket: bytes
    frame: bytes
    since: float


class Seraph(NonStopTask):
    """Shares the requests to the database among the oracles.

    A request that no oracle has taken within the asker's limit is dropped. An oracle that does not
    answer gets nothing more until it does. In both cases the answer is ``Unavailable``.
    """

    name = "seraph"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.ports = Ports("Seraph", config, self.logger, self)
        self.ports.serve("database", self.handle_front)
        self.ports.serve("oracles", self.handle_back)
        self.front, self.back = self.ports.socket("database"), self.ports.socket("oracles")
        self.every(timedelta(seconds=1), self.expire)
        self._idle: deque[bytes] = deque()
        self._busy: dict[bytes, list[_Waiting]] = {}
        self._builds: deque[_Waiting] = deque()
        self._others: deque[_Waiting] = deque()
        self._bytes = 0
        self._given_up = 0

    def handle_front(self, queue: Socket) -> None:
        """Take a request; refuse it if too many wait already."""
        frames = queue.recv_multipart()
        if len(frames) != 3:
            raise BadMessage(f"{len(frames)} frames instead of three")
        request = _Waiting(frames[0], frames[1], frames[2], self.clock.monotonic())
        if len(self._builds) + len(self._others) >= MAX_WAITING or self._bytes > MAX_BYTES:
            self._refuse([request], "too many requests wait for the database already")
            return
        self._bytes += len(request.frame)
        (self._builds if request.frame.startswith(_LOG_BUILD) else self._others).append(request)
        self._hand_out()

    def handle_back(self, queue: Socket) -> None:
        """Pass on the answers of an oracle, which is free again."""
        oracle, *parts = queue.recv_multipart()
        was_asked = self._busy.pop(oracle, None) is not None
        if oracle in self._idle:
            raise BadMessage("an answer from an oracle that was not asked")
        self._idle.append(oracle)  # first: an answer that cannot be passed on must not lose it
        if was_asked:
            for answer in range(0, len(parts), 3):
                self.front.send_multipart(parts[answer : answer + 3])
        else:  # a new oracle, or an abandoned one, whose requests have been answered
            self.logger.debug("%s oracles are available", len(self._idle) + len(self._busy))
        self._hand_out()

    def expire(self) -> None:
        """Abandon the requests that have waited too long."""
        now = self.clock.monotonic()
        for queue in (self._builds, self._others):
            while queue and queue[0].since < now - DB_LIMIT:
                self._refuse(
                    [self._take(queue, now)],
                    "the database is too busy: is it overloaded?",
                )
        # A request is stamped again when it is handed out.
        late = [key for key, work in self._busy.items() if work[0].since < now - ORACLE_LIMIT]
        for oracle in late:
            self._refuse(self._busy.pop(oracle), "the database does not answer: see its log")

    def _hand_out(self) -> None:
        while self._idle and (self._builds or self._others):
            now = self.clock.monotonic()
            if not self._others or (self._builds and self._builds[0].since < self._others[0].since):
                work: list[_Waiting] = []
                size = 0
                while self._builds and len(work) < GROUP and size < GROUP_BYTES:
                    size += len(self._builds[0].frame)
                    work.append(self._take(self._builds, now))
            else:
                work = [self._take(self._others, now)]
            oracle = self._idle.popleft()
            self._busy[oracle] = work
            self.back.send_multipart([oracle, *(part for one in work for part in one[:3])])

    def _take(self, queue: deque[_Waiting], now: float) -> _Waiting:
        request = queue.popleft()
        self._bytes -= len(request.frame)
        return request._replace(since=now)

    def _refuse(self, requests: Iterable[_Waiting], why: str) -> None:
        for request in requests:
            self._given_up += 1
            if should_log(self._given_up):
                self.logger.error("abandoned %d requests so far: %s", self._given_up, why)
            Ticket(self.front, request.peer, request.ticket, None).refuse(Unavailable(why))
