"""A subscription to the events that a master publishes."""

from __future__ import annotations

import math
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final, Self

import zmq

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import BadMessage, Unavailable
from piwheels.core.protocols import SlaveEvent, master_control, monitor_stats
from piwheels.core.states import MasterInfo, MasterStats
from piwheels.core.transport import Context, Pair

if TYPE_CHECKING:
    from piwheels.core.clock import Clock

#: A master's description, its statistics, and the messages of slaves and to them.
Event = MasterInfo | MasterStats | SlaveEvent

#: Seconds between two requests for the farm's state until it arrives: at first, and at most.
_FIRST_PAUSE, _MAX_PAUSE = 1.0, 30.0
#: The number of events to queue for a busy receiver; the master drops further ones.
_MAX_WAITING: Final = 10_000


class Subscription:
    """A subscription to the events of the master with the sockets *status* and *control*.

    *key* is the key pair of this program.

    After each connection it requests the farm's state, again until the state arrives: the
    subscription may reach the master after the first request. Use it in one thread; it is a
    context manager.
    """

    def __init__(
        self, status: str, control: str, clock: Clock = SYSTEM, *, key: Pair | None = None
    ) -> None:
        self.status = status
        self.invalid = 0  #: The number of invalid messages that :meth:`receive` has skipped.
        self._clock = clock
        self._ask_at, self._pause = math.inf, _FIRST_PAUSE
        context = Context()
        with ExitStack() as stack:
            self._events = stack.enter_context(context.socket(zmq.SUB, reversed(monitor_stats)))
            self._control = stack.enter_context(context.socket(zmq.PUSH, reversed(master_control)))
            self._events.hwm = _MAX_WAITING
            self._events.subscribe()
            monitor = self._events.monitor(zmq.EVENT_HANDSHAKE_SUCCEEDED)
            self._connected = stack.enter_context(monitor)
            self._control.setsockopt(zmq.IMMEDIATE, 1)
            for each in (self._events, self._control):
                each.identify(key)
            self._events.connect(status)
            self._control.connect(control)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def receive(self, seconds: float) -> Event | None:
        """Return the next event; ``None`` after *seconds*, or after an invalid message."""
        self._request_state()
        if not self._events.poll(seconds):
            return None
        event: Event
        try:
            msg, event = self._events.recv_msg()
        except BadMessage:
            self.invalid += 1
            return None
        if msg == "HELLO":  # the state follows
            self._ask_at = math.inf
        return event

    def _request_state(self) -> None:
        now = self._clock.monotonic()
        if self._connected.poll(0):
            self._connected.drain()
            self._ask_at, self._pause = now, _FIRST_PAUSE
        if now >= self._ask_at:
            with suppress(Unavailable):  # no connection; the next one triggers another request
                self._control.send_msg("HELLO", flags=zmq.DONTWAIT)
            self._ask_at, self._pause = now + self._pause, min(2 * self._pause, _MAX_PAUSE)
