"""The slave's connection to its master: one request at a time, and the pauses between attempts."""

from __future__ import annotations

import os
import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import zmq

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import BadMessage, PiWheelsError, Unavailable
from piwheels.core.protocols import LEVEL_1_ID
from piwheels.core.transport import REFUSALS, Poller

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from piwheels.core.clock import Clock
    from piwheels.core.keys.files import KeyPair
    from piwheels.core.transport import Socket

__all__ = ["Connection", "MasterTimeout", "Request", "SlaveRefused", "Stopped"]

#: The pause before the slave connects again, in seconds: the first one, and the longest.
RETRY_FIRST, RETRY_MAX = 0.2, 5.0
#: The same for a slave that the master has refused.
REFUSED_FIRST, REFUSED_MAX = 1.0, 60.0
#: Seconds to wait for the reply to HELLO before a log message reports it.
PATIENCE: Final = 5.0

#: A request to the master: its name and its data.
Request = tuple[str, Any]


class MasterTimeout(PiWheelsError):
    """The connection is lost, or the master did not reply in time: connect again."""


class SlaveRefused(PiWheelsError):
    """The master has refused this slave, for the reason in the text: try again later."""


class Stopped(PiWheelsError):
    """The slave must end, because of a signal or :meth:`PiWheelsSlave.stop`."""


class Pauses:
    """Random pauses that grow, from about *first* to at most *most* seconds.

    They are random, so that not all slaves of a farm reconnect at the same time.
    """

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self._next = first

    def grow(self) -> float:
        """Return the next pause, in seconds."""
        pause, self._next = self._next, min(self._next * 2, self._most)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._next = self._first


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
        #: The time of the last reply, in seconds since boot.
        self.last_reply = clock.since_boot()
        self._level = level
        self._clock = clock
        self._alive = alive
        self._logger = logger
        self._losses = Pauses(RETRY_FIRST, RETRY_MAX)
        self._refusals = Pauses(REFUSED_FIRST, REFUSED_MAX)
        #: Whether the slave repeated its HELLO, and the master has not accepted it since.
        self._greets_again = False
        self._monitor: Socket | None = None
        self._queue: Socket | None = None

    @contextmanager
    def open(self, queue: Socket) -> Iterator[None]:
        """Connect *queue* for the duration of the block; send ``BYE`` if the slave ends in it."""
        if self._level > 0:
            # It tells the master that the slave understands the replies HELLO and REFUSED.
            queue.setsockopt(zmq.ROUTING_ID, LEVEL_1_ID + os.urandom(16))
        try:
            with queue.monitor(zmq.EVENT_DISCONNECTED | REFUSALS) as self._monitor:
                self._queue = queue
                queue.identify(self.pair)
                queue.connect(self.address)
                yield
        except (SystemExit, Stopped):
            self._say_bye(queue)
            raise
        finally:
            self._monitor = None

    def ask(
        self, queue: Socket, request: Request, timeout: timedelta, forgotten: timedelta
    ) -> Request:
        """Send *request* on *queue*, and return the master's reply.

        Waits up to *timeout*; at level 1 for the reply to ``HELLO`` without limit (at level 0, no
        reply can be a refusal). Raises ``MasterTimeout`` if there is none, and ``SlaveRefused`` if
        the reply is ``REFUSED``.

        At level 0, ``DIE`` has other meanings, too. In reply to ``HELLO``, it refuses the slave
        (``SlaveRefused``). After a lost connection, or when the master has heard nothing for longer
        than *forgotten*, it does not know the slave any more (``MasterTimeout``).
        """
        silent = self._clock.since_boot() - self.last_reply
        hello = request[0] == "HELLO"
        try:
            queue.send_msg(*request, flags=zmq.DONTWAIT)
        except Unavailable:  # 0MQ has dropped a connection that the master has refused
            self.check()
            raise MasterTimeout(f"lost the master at {self.address}") from None
        unlimited = hello and self._level > 0
        reply = self._reply(queue, None if unlimited else timeout.total_seconds(), hello=hello)
        match reply:
            case ("REFUSED", why):
                raise SlaveRefused(why)
            case ("HELLO", _) if hello or self._greets_again:
                raise SlaveRefused("it requests HELLO again and again")
            case ("DIE", _) if hello and self._level == 0:
                raise SlaveRefused("it accepts no more slaves (see its log)")
            case ("HELLO", _):
                self._greets_again = True
            case ("ACK", _):
                pass  # ACK does not prove that the master accepts this slave
            case ("DIE", _) if self._level == 0 and (
                self._lost or silent > forgotten.total_seconds()
            ):
                raise MasterTimeout("the master does not know this slave any more")
            case _:
                self._refusals.reset()
                self._greets_again = False
        return reply

    def _reply(self, queue: Socket, limit: float | None, *, hello: bool) -> Request:
        poller = Poller()
        poller.register(queue)
        poller.register(self._monitor)
        begin = self._clock.monotonic()
        logged = False
        while limit is None or self._clock.monotonic() - begin < limit:
            if self.stopping:
                raise Stopped
            ready = poller.poll(0.5)
            if queue in ready:
                try:
                    reply = queue.recv_msg()
                except BadMessage as exc:
                    raise MasterTimeout(f"cannot understand the master ({exc})") from exc
                self.last_reply = self._clock.since_boot()
                return reply
            self.check()
            if hello and not logged and self._clock.monotonic() - begin > PATIENCE:
                logged = True
                self._logger.warning("no master at %s yet: waiting for it", self.address)
        raise MasterTimeout(f"no reply of the master for {limit:g} s")

    @property
    def _lost(self) -> bool:
        return self._monitor is not None and self._monitor.poll(0)

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

    def pause_after(self, exc: MasterTimeout | SlaveRefused) -> None:
        """Log why the connection ended, and wait before the next one: longer each time."""
        if isinstance(exc, SlaveRefused):
            pause = self._refusals.grow()
            self._logger.warning(
                "the master refused this slave: %s; trying again in %.0f s", exc, pause
            )
        else:
            pause = self._losses.grow()
            self._logger.warning("%s; connecting again", exc)
        deadline = self._clock.monotonic() + pause
        while (left := deadline - self._clock.monotonic()) > 0:
            self.check()
            time.sleep(min(0.1, left))

    def _say_bye(self, queue: Socket) -> None:
        # A REQ socket that waits for a reply cannot send. The master then declares the slave dead.
        try:
            queue.send_msg("BYE", flags=zmq.DONTWAIT)
            queue.close(linger=1)
        except (zmq.ZMQError, Unavailable):
            self._logger.debug("could not send BYE to the master")
