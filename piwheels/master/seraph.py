"""Seraph, who hands each request to the database to the oracle that has idled longest."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import zmq

from piwheels.core import codec
from piwheels.core.errors import BadMessage, Unavailable, worth_telling
from piwheels.core.tasks import NonStopTask
from piwheels.master.rpc import Request, send_error
from piwheels.master.wiring import DB_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from piwheels.core.transport import Socket
    from piwheels.master.wiring import MasterConfig

#: An oracle that is silent for so many seconds is given up: the database's own limits are shorter.
ORACLE_LIMIT: Final = 2 * DB_LIMIT
#: How many requests may wait, and how many bytes in all.
MAX_WAITING, MAX_BYTES = 10_000, 256 * 2**20
#: How many builds an oracle gets at once, to be logged in one transaction; at most so many bytes.
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

    A request that no oracle has taken within the time that its asker waits is dropped; an oracle
    that never answers is given up, until it does. In both cases the asker is told
    (``Unavailable``).
    """

    name = "seraph"

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.front = self.socket(zmq.ROUTER)
        self.front.hwm = 100_000
        self.front.bind(config.db_queue)
        self.register(self.front, self.handle_front)
        self.back = self.socket(zmq.ROUTER)
        self.back.hwm = 1000
        self.back.bind(config.oracle_queue)
        self.register(self.back, self.handle_back)
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
        """Pass an oracle's answers on; it is free again."""
        oracle, *parts = queue.recv_multipart()
        if self._busy.pop(oracle, None) is not None:
            for answer in range(0, len(parts), 3):
                self.front.send_multipart(parts[answer : answer + 3])
        elif oracle in self._idle:
            raise BadMessage("an answer from an oracle that was not asked")
        else:  # a newcomer, or back after it was given up: nobody waits for what it has to say
            self.logger.debug("%s oracles are there", len(self._idle) + len(self._busy) + 1)
        self._idle.append(oracle)
        self._hand_out()

    def expire(self) -> None:
        """Give up what has waited too long."""
        now = self.clock.monotonic()
        for queue in (self._builds, self._others):
            while queue and queue[0].since < now - DB_LIMIT:
                self._refuse(
                    [self._take(queue, now)], "the database has no time: is it overloaded?"
                )
        # What is under way was stamped anew when it was handed out.
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
            if worth_telling(self._given_up):
                self.logger.error("gave up %d requests so far: %s", self._given_up, why)
            send_error(
                self.front, Request(request.peer, request.ticket, "", None), Unavailable(why)
            )
