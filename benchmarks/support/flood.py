"""A source of events for a console: a farm of any size, at any rate."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from piwheels.console.model.events import Incoming, Sent, WireUp
from piwheels.core.codec import NoData
from piwheels.core.protocols import Job, SlaveEvent
from piwheels.core.states import MasterInfo, SlaveInfo, SlaveStats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piwheels.console.model.events import Event, Outgoing

GIB = 2**30
ABIS = ("cp39", "cp311", "cp313", "cp314")
PACKAGES = ("numpy", "grpcio", "pillow", "lxml", "tensorflow-io", "scipy")
STATISTICS = 30  # the number of earlier messages STATS of each slave


class Flood:
    """A master of level 0 with *slaves* and *rate* events a second, three of four STATS."""

    name = "flood"

    def __init__(self, slaves: int, rate: float) -> None:
        self.sent = 0
        self._slaves, self._rate = slaves, rate
        self._random = Random(1)  # noqa: S311 (a load, no secret)
        self._waiting: deque[Event] = deque()
        self._building: set[int] = set()
        self._since: datetime | None = None

    def start(self) -> None:
        """Report that the sockets are connected."""
        self._waiting += (WireUp("status"), WireUp("control"))

    def stop(self) -> None:
        """Do nothing."""

    def send(self, outgoing: Outgoing) -> None:
        """Handle a message; the answer to HELLO is the state of the farm."""
        self._waiting.append(Sent(outgoing.ticket))
        if outgoing.msg == "HELLO":
            now = datetime.now(UTC)
            self._waiting.append(MasterInfo(now, "farm.example", "Debian", "12", "", ""))
            for number in range(1, self._slaves + 1):
                self._waiting += self._joined(number, now)

    def take(self) -> Iterator[Incoming]:
        """Yield the events that are due."""
        now = datetime.now(UTC)
        if self._since is None and not self._waiting:
            self._since = now
        if self._since is not None:
            due = int((now - self._since).total_seconds() * self._rate)
            self._waiting += (self._next(now) for _ in range(due - self.sent))
            self.sent = due
        while self._waiting:
            yield Incoming(now, self._waiting.popleft())

    def _joined(self, number: int, now: datetime) -> Iterator[SlaveEvent]:
        label = f"pi4-rack{1 + number // 50}-{number % 50:02}"
        info = SlaveInfo(
            timedelta(hours=3), timedelta(hours=1), "3.13.5", self._random.choice(ABIS),
            "linux_aarch64", label, "Debian", "13", "c03115", f"{number:016x}",
        )  # fmt: skip
        before = now - timedelta(seconds=10 * STATISTICS)
        yield SlaveEvent(number, before, "HELLO", info)
        for step in range(STATISTICS):
            at = before + timedelta(seconds=10 * step)
            yield SlaveEvent(number, at, "STATS", self._stats(at))
        yield self._work(number, now)

    def _next(self, now: datetime) -> SlaveEvent:
        number = self._random.randint(1, self._slaves)
        if self._random.random() < 0.75:
            return SlaveEvent(number, now, "STATS", self._stats(now))
        return self._work(number, now)

    def _work(self, number: int, now: datetime) -> SlaveEvent:
        if number in self._building:
            self._building.discard(number)
            return SlaveEvent(number, now, "DONE", NoData)
        self._building.add(number)
        job = Job(self._random.choice(PACKAGES), f"1.{self._random.randint(0, 99)}")
        return SlaveEvent(number, now, "BUILD", job)

    def _stats(self, at: datetime) -> SlaveStats:
        some = self._random.random
        return SlaveStats(
            at, 58 * GIB, int(some() * 58 * GIB), 4 * GIB, int(some() * 4 * GIB),
            GIB, GIB, 5 * some(), 45 + 30 * some(),
        )  # fmt: skip
