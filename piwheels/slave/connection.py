"""The slave's connection to its master, and the pauses between attempts."""

from __future__ import annotations

import math
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import zmq

from piwheels.core.clock import SYSTEM
from piwheels.core.codec import NoData
from piwheels.core.errors import BadMessage, PiWheelsError, Unavailable
from piwheels.core.protocols import LEVEL_1_ID
from piwheels.core.transport import REFUSALS, Poller
from piwheels.slave.lane import MasterTimeout, Pauses, SlaveRefused

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable, Iterator

    from piwheels.core.clock import Clock
    from piwheels.core.keys.files import KeyPair
    from piwheels.core.transport import Socket

#: The pause before the slave connects again, in seconds: the first one, and the longest.
RETRY_FIRST, RETRY_MAX = 0.2, 5.0
#: Seconds to wait for the reply to HELLO before a log message reports it.
PATIENCE: Final = 5.0
#: The longest wait for replies, in seconds: between two looks at the connection and the clock.
SLICE: Final = 0.5
#: The line of the log about a refusal.
REFUSED: Final = "the master refused this slave: %s; trying again in %.0f s"

#: A request to the master: its name and its data.
Request = tuple[str, Any]


class Stopped(PiWheelsError):
    """The slave must end, because of a signal or :meth:`PiWheelsSlave.stop`."""


class Wake:
    """Ends the wait of the conversation from any thread, or from a signal handler."""

    def __init__(self) -> None:
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._event

    def set(self) -> None:
        """End the wait."""
        os.eventfd_write(self._event, 1)

    def clear(self) -> None:
        """Let the next wait last."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)


class Connection:
    """A slave's connection to the master at *address*, opened again as often as it is lost.

    *level* is the protocol level that the slave speaks, *pair* its key. When *stopping* is set,
    waits end early with :exc:`Stopped`. Each wait calls *alive* at least once a second.
    """

    def __init__(
        self,
        address: str,
        logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
        alive: Callable[[], None] = lambda: None,
        *,
        level: int = 1,
        pair: KeyPair | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.address = address
        #: The key of the slave.
        self.pair = pair
        self.stopping = False
        self.wake = Wake()
        #: The time of the last reply, in seconds since boot.
        self.last_reply = clock.since_boot()
        self._level = level
        self._clock = clock
        self._alive = alive
        self._logger = logger
        self._losses = Pauses(RETRY_FIRST, RETRY_MAX)
        #: When to report that no master has answered.
        self._report_at = math.inf
        self._monitor: Socket | None = None
        self._queue: Socket | None = None
        self._poller = Poller()

    @contextmanager
    def open(self, queue: Socket) -> Iterator[None]:
        """Connect *queue*, a DEALER socket, for the duration of the block."""
        if self._level > 0:
            # It tells the master that the slave understands the replies HELLO and REFUSED.
            queue.setsockopt(zmq.ROUTING_ID, LEVEL_1_ID + os.urandom(16))
        try:
            with queue.monitor(zmq.EVENT_DISCONNECTED | REFUSALS) as self._monitor:
                self._queue, self._poller = queue, Poller()
                for each in (queue, self._monitor, self.wake):
                    self._poller.register(each)
                self._report_at = self._clock.monotonic() + PATIENCE
                queue.identify(self.pair)
                queue.connect(self.address)
                yield
        finally:
            self._monitor = None

    def send(self, lane: int, request: Request) -> None:
        """Send the *request* of a *lane*. Raises ``MasterTimeout``."""
        assert self._queue is not None  # noqa: S101 (it is open)
        try:
            self._queue.send_lane_msg(lane, *request, flags=zmq.DONTWAIT)
        except Unavailable:  # 0MQ has dropped a connection that the master has refused
            self.check()
            raise MasterTimeout(f"lost the master at {self.address}") from None

    def receive(self, limit: float) -> Iterator[tuple[int, str, Any]]:
        """Wait for replies up to *limit* seconds or :data:`SLICE`; yield each with its lane.

        Raises as :meth:`check`.
        """
        assert self._queue is not None  # noqa: S101 (it is open)
        if self.stopping:
            raise Stopped
        ready = self._poller.poll(max(0.0, min(limit, SLICE)))
        if self.wake in ready:
            self.wake.clear()
        while self._queue.poll(0):
            try:
                reply = self._queue.recv_lane_msg()
            except BadMessage as exc:
                raise MasterTimeout(f"cannot understand the master ({exc})") from exc
            self._report_at = math.inf
            yield reply
            self.last_reply = self._clock.since_boot()
        self.check()
        if self._clock.monotonic() > self._report_at:
            self._report_at = math.inf
            self._logger.warning("no master at %s yet: waiting for it", self.address)

    def may_be_forgotten(self, after: float) -> bool:
        """Return whether the connection is lost, or had no reply for longer than *after* seconds.

        The master may not know this slave any more.
        """
        is_lost = self._monitor is not None and self._monitor.poll(0)
        return is_lost or self._clock.since_boot() - self.last_reply > after

    def check(self) -> None:
        """Raise ``Stopped`` if the slave must end, ``MasterTimeout`` if the connection is lost.

        Raises ``SlaveRefused`` if the master does not admit this slave.
        """
        self._alive()
        if self.stopping:
            raise Stopped
        if self._monitor is not None and self._queue is not None and self._monitor.poll(0):
            if why := self._queue.why_refused(self._monitor.recv_event()[0]):
                raise SlaveRefused(why)
            raise MasterTimeout(f"lost the master at {self.address}")

    def welcomed(self) -> None:
        """Record an ``ACK``: the next pause after a loss is the shortest one."""
        self._losses.reset()
        self._logger.info("welcomed by the master at %s", self.address)

    def pause_after(self, exc: MasterTimeout | SlaveRefused, refusals: Pauses) -> None:
        """Log why the connection ended, and wait before the next one: longer each time."""
        if isinstance(exc, SlaveRefused):
            pause = refusals.grow()
            self._logger.warning(REFUSED, exc, pause)
        else:
            pause = self._losses.grow()
            self._logger.warning("%s; connecting again", exc)
        deadline = self._clock.monotonic() + pause
        while (left := deadline - self._clock.monotonic()) > 0:
            self.check()
            time.sleep(min(0.1, left))

    def leave(self, lanes: Iterable[int]) -> None:
        """Send the ``BYE`` of each of *lanes*, which end."""
        with suppress(zmq.ZMQError, MasterTimeout, SlaveRefused, Stopped):
            for lane in lanes:
                self.send(lane, ("BYE", NoData))

    def close(self) -> None:
        """Close the socket, once it has sent its last messages."""
        if self._queue is not None:
            self._queue.close(linger=1)
