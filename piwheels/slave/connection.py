"""The slave's line to its master: a question at a time, and what to do when the master is gone."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import zmq

from piwheels.core.errors import BadMessage, PiWheelsError, Unavailable
from piwheels.core.transport import Poller

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from piwheels.core.transport import Socket

__all__ = ["Connection", "MasterTimeout", "Request", "Stopped"]

#: How long a slave waits before it connects anew, in seconds: the first time, and at most.
RETRY_FIRST, RETRY_MOST = 0.2, 5.0
#: How long the wait for the master's welcome is before the log says what it waits for, in seconds.
PATIENCE: Final = 5.0

#: A request to the master: its name and its data.
Request = tuple[str, Any]


class MasterTimeout(PiWheelsError):
    """The master has gone, or has not answered in time: connect anew."""


class Stopped(PiWheelsError):
    """We have been told to end by a signal."""


class Connection:
    """A slave's connection to the master at *address*, made anew as often as it is lost.

    It ends the slave's waits, too: :meth:`check` raises :exc:`Stopped` once *stopping* is set.
    *alive* is called at least once a second, whatever is waited for.
    """

    def __init__(
        self,
        address: str,
        logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self.address = address
        self._alive = alive
        self.stopping = False
        self.last_reply = time.monotonic()
        self._logger = logger
        self._retry = RETRY_FIRST
        self._monitor: Socket | None = None

    @contextmanager
    def open(self, queue: Socket) -> Iterator[None]:
        """Connect *queue* for as long as the block lasts; say ``BYE`` if the slave ends in it."""
        try:
            with queue.monitor(zmq.EVENT_DISCONNECTED) as self._monitor:
                queue.connect(self.address)
                yield
        except (SystemExit, Stopped):
            self._say_bye(queue)
            raise
        finally:
            self._monitor = None

    def ask(
        self,
        queue: Socket,
        request: Request,
        timeout: timedelta,
        forgotten: timedelta,
        *,
        welcome: bool = False,
    ) -> Request:
        """Send *request* on *queue*, and return the master's reply.

        A *welcome* is waited for as long as it takes, any other reply up to *timeout*. Raises
        ``MasterTimeout`` if there is none, or if it is the ``DIE`` of a master that does not know
        us: one that was restarted, or that took us for dead since we were silent for longer than
        *forgotten* (this machine slept).
        """
        silent = time.monotonic() - self.last_reply
        queue.send_msg(*request)
        reply = self._reply(queue, None if welcome else timeout.total_seconds())
        if reply[0] == "DIE" and (self._lost or silent > forgotten.total_seconds()):
            raise MasterTimeout("the master does not know us any more")
        return reply

    def _reply(self, queue: Socket, limit: float | None) -> Request:
        poller = Poller()
        poller.register(queue)
        poller.register(self._monitor)
        begin = time.monotonic()
        told = False
        while limit is None or time.monotonic() - begin < limit:
            if self.stopping:
                raise Stopped
            ready = poller.poll(0.5)
            if queue in ready:
                try:
                    reply = queue.recv_msg()
                except BadMessage as exc:
                    raise MasterTimeout(
                        f"the master sent what we do not understand ({exc})"
                    ) from exc
                self.last_reply = time.monotonic()
                return reply
            self.check()
            if limit is None and not told and time.monotonic() - begin > PATIENCE:
                told = True
                self._logger.warning("no master at %s yet: waiting for it", self.address)
        raise MasterTimeout(f"no answer of the master for {limit:g} s")

    @property
    def _lost(self) -> bool:
        return self._monitor is not None and self._monitor.poll(0)

    def check(self) -> None:
        """Raise ``Stopped`` if we are to end, ``MasterTimeout`` if the connection has gone."""
        self._alive()
        if self.stopping:
            raise Stopped
        if self._lost:
            raise MasterTimeout(f"lost the master at {self.address}")

    def welcomed(self) -> None:
        """Note that a master has welcomed us: the next loss is the first one again."""
        self._retry = RETRY_FIRST
        self._logger.info("welcomed by the master at %s", self.address)

    def pause(self) -> None:
        """Wait before connecting anew: longer each time, until a master has welcomed us."""
        deadline = time.monotonic() + self._retry
        self._retry = min(self._retry * 2, RETRY_MOST)
        while (left := deadline - time.monotonic()) > 0:
            self.check()
            time.sleep(min(0.1, left))

    def _say_bye(self, queue: Socket) -> None:
        # A REQ socket that waits for a reply cannot say anything more; then silence has to do.
        try:
            queue.send_msg("BYE", flags=zmq.DONTWAIT)
            queue.close(linger=1)
        except (zmq.ZMQError, Unavailable):
            self._logger.debug("the master does not hear our BYE")
