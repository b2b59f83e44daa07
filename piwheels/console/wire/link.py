"""The link to a master: the console's sockets, in a thread of their own.

The thread puts messages into a deque, which the session reads at its own pace: a burst of 50,000
messages must not block the screen. Only that thread creates, uses and closes the sockets.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import zmq

from piwheels.console.model.events import (
    Answer,
    Event,
    Garbled,
    Incoming,
    Outgoing,
    Sent,
    Unsent,
    Wire,
    WireDown,
    WireUp,
)
from piwheels.core import codec
from piwheels.core.clock import SYSTEM
from piwheels.core.codec import NoData
from piwheels.core.errors import BadMessage, Unavailable
from piwheels.core.protocols import (
    CONSOLE_ANSWERS,
    Protocol,
    console,
    master_control,
    monitor_stats,
)
from piwheels.core.transport import REFUSALS, Context, Poller, Socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from piwheels.core.keys.files import KeyPair


#: The most messages that wait for the session before the sockets are no longer read.
MOST_WAITING: Final = 100_000
#: The most messages that are read from a socket at a time.
BURST: Final = 1000
#: Seconds after which a master whose machine does not answer counts as lost.
LOST_AFTER: Final = 8
#: How often the reason for a missing master is determined, in seconds.
PROBE_EVERY: Final = 3.0

_SOCKETS: Final[dict[Wire, int]] = {"status": zmq.SUB, "control": zmq.PUSH, "console": zmq.DEALER}
_STATUS: Final = reversed(monitor_stats)
_CONSOLE: Final = reversed(console)
_ANSWERS: Final = Protocol(CONSOLE_ANSWERS, {})
#: Bytes in a ticket.
TICKET: Final = 8
_EVENTS: Final = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED | REFUSALS
)


class Link:
    """A source of a session: the master at *addresses* (``status``, ``control``, ``console``).

    *clock* gives console time, which stamps events; *key* is the key pair of the operator. Raises
    ``Fatal`` for an invalid address.
    """

    def __init__(
        self,
        addresses: dict[Wire, str],
        clock: Callable[[], datetime],
        key: KeyPair | None = None,
    ) -> None:
        for wire, address in addresses.items():
            _check_address(wire, address)
        self.name = addresses["status"]
        self._addresses = addresses
        self._clock, self._key = clock, key
        self._inbox: deque[Incoming] = deque()
        self._outbox: deque[Outgoing] = deque()
        self._stopping = threading.Event()
        waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._waker = os.fdopen(waker, "r+b", buffering=0)
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._failure: Exception | None = None

    def start(self) -> None:
        """Start to connect."""
        self._thread.start()

    def take(self) -> Iterator[Incoming]:
        """Yield the events that have come, oldest first; never block.

        Raises the exception that ended the thread, which is a bug.
        """
        while self._inbox:
            yield self._inbox.popleft()
        if self._failure is not None:
            raise self._failure

    def send(self, outgoing: Outgoing) -> None:
        """Send a message; Sent or Unsent follows, and perhaps an Answer."""
        self._outbox.append(outgoing)
        self._wake()

    def stop(self) -> None:
        """Stop the thread, which closes the sockets."""
        self._stopping.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(5)
        self._waker.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # it is awake, or has stopped
            os.eventfd_write(self._waker.fileno(), 1)

    def _run(self) -> None:
        try:
            with contextlib.ExitStack() as stack:
                sockets = _Sockets(self._addresses, self._put, stack, self._key)
                sockets.poller.register(self._waker)
                while not self._stopping.is_set():
                    if len(self._inbox) > MOST_WAITING:
                        self._stopping.wait(0.1)  # until the session catches up
                        continue
                    if self._waker in sockets.poll(1):
                        self._waker.read(8)
                    while self._outbox:
                        sockets.send(self._outbox.popleft())
        except Exception as exc:  # noqa: BLE001 (raised again by take)
            self._failure = exc

    def _put(self, event: Event) -> None:
        self._inbox.append(Incoming(self._clock(), event))


class _Sockets:
    """A socket and its monitor for each address; *put* takes their events."""

    def __init__(
        self,
        addresses: dict[Wire, str],
        put: Callable[[Event], None],
        stack: contextlib.ExitStack,
        key: KeyPair | None,
    ) -> None:
        self.poller = Poller()
        self._addresses = addresses
        self._put = put
        self._sockets: dict[Wire, Socket] = {}
        self._monitors: dict[Wire, Socket] = {}
        self._up: set[Wire] = set()
        self._check: dict[Wire, float] = {}
        #: Those that the master has refused.
        self._again: set[Wire] = set()
        self._asked: dict[int, str] = {}
        context = Context()
        for wire, address in addresses.items():
            protocol = reversed(master_control) if wire == "control" else None
            made = stack.enter_context(context.socket(_SOCKETS[wire], protocol))
            _prepare(made, wire)
            monitor = stack.enter_context(made.monitor(_EVENTS))
            self._sockets[wire], self._monitors[wire] = made, monitor
            self.poller.register(monitor)
            if wire != "control":
                self.poller.register(made)
            made.identify(key)
            made.connect(address)

    def poll(self, timeout: float) -> dict[Any, int]:
        """Wait up to *timeout* seconds, read messages, and return what was ready."""
        ready = self.poller.poll(timeout)
        # Messages first, then the end of connections.
        for wire, each in self._sockets.items():
            if each in ready:
                self._read(wire, each)
        for wire, monitor in self._monitors.items():
            if monitor in ready:
                self._watch(wire, monitor)
        for wire in [each for each in self._again if SYSTEM.monotonic() >= self._check[each]]:
            self._again.discard(wire)
            self._sockets[wire].reconnect(self._addresses[wire])
        return ready

    def _watch(self, wire: Wire, monitor: Socket) -> None:
        while monitor.poll(0):
            event, _ = monitor.recv_event()
            if why := self._sockets[wire].why_refused(event):
                self._put(WireDown(wire, f"the master refuses this console: {why}"))
                self._check[wire] = SYSTEM.monotonic() + PROBE_EVERY
                self._again.add(wire)  # 0MQ does not connect again by itself
            elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._up.add(wire)
                self._put(WireUp(wire))
            elif event == zmq.EVENT_DISCONNECTED and wire in self._up:
                self._up.discard(wire)
                if wire == "console":
                    self._asked.clear()
                self._put(WireDown(wire, "the connection has ended"))
            elif wire not in self._up and SYSTEM.monotonic() >= self._check.get(wire, 0.0):
                self._put(WireDown(wire, why_unreachable(self._addresses[wire])))
                self._check[wire] = SYSTEM.monotonic() + PROBE_EVERY

    def _read(self, wire: Wire, each: Socket) -> None:
        for _ in range(BURST):
            try:
                frames = each.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            try:
                self._put(self._status(frames) if wire == "status" else self._console(frames))
            except BadMessage as exc:
                self._put(Garbled(wire, str(exc)[:200], b" ".join(frames[:4])[:64]))

    def _status(self, frames: list[bytes]) -> Event:
        if len(frames) != 1:
            raise BadMessage(f"{len(frames)} frames instead of one")
        event: Event = _STATUS.received(*codec.loads(frames[0]))
        return event

    def _console(self, frames: list[bytes]) -> Event:
        if len(frames) != 2 or len(frames[0]) != TICKET:
            raise BadMessage(f"{len(frames)} frames instead of a ticket and one")
        msg, data = codec.loads(frames[1])
        data = _CONSOLE.received(msg, data)
        if msg not in ("OK", "REFUSED"):
            event: Event = data
            return event
        ticket = int.from_bytes(frames[0], "big")
        asked = self._asked.pop(ticket, None)
        if asked is None:
            raise BadMessage("an answer without a request")
        if msg == "REFUSED":
            return Answer(ticket, asked, NoData, data or "refused")
        return Answer(ticket, asked, _ANSWERS.received(asked, data))

    def send(self, outgoing: Outgoing) -> None:
        """Send a message now or never."""
        each = self._sockets.get(outgoing.wire)
        try:
            if each is None:
                raise Unavailable(f"there is no {outgoing.wire} socket")
            if outgoing.wire == "control":
                each.send_msg(outgoing.msg, outgoing.data, zmq.DONTWAIT)
            else:
                data = _CONSOLE.to_send(outgoing.msg, outgoing.data)
                ticket = outgoing.ticket.to_bytes(TICKET, "big")
                each.send_multipart([ticket, codec.dumps(outgoing.msg, data)], zmq.DONTWAIT)
                self._asked[outgoing.ticket] = outgoing.msg
        except (Unavailable, BadMessage) as exc:  # an operator may type any name
            self._put(Unsent(outgoing.ticket, str(exc)))
        else:
            self._put(Sent(outgoing.ticket))


def _prepare(made: Socket, wire: Wire) -> None:
    """Make commands fail at once if nobody takes them, instead of being delivered later."""
    if wire == "status":
        made.hwm = 200_000  # a whole replay
        made.subscribe()
    else:
        made.hwm = 1000
        made.setsockopt(zmq.IMMEDIATE, 1)
    made.lost_after(LOST_AFTER)


def _check_address(wire: Wire, address: str) -> None:
    with Context().socket(_SOCKETS[wire]) as trial:
        trial.connect(address)


def why_unreachable(address: str) -> str:
    """Return, as a sentence, why *address* cannot be reached; ``""`` if it seems fine.

    Takes up to a second, or longer if a name server does.
    """
    kind, _, rest = address.partition("://")
    try:
        if kind == "ipc":
            _knock(socket.AF_UNIX, rest)
        elif kind == "tcp":
            host, _, port = rest.rpartition(":")
            with socket.create_connection((host.strip("[]"), int(port)), timeout=1):
                pass
    except FileNotFoundError:
        return "no such socket: no master was started there"
    except ConnectionRefusedError:
        return "nobody listens there (any more)"
    except PermissionError:
        return "this user may not use that socket: run as the master's user"
    except TimeoutError:
        return "no answer: is that host up, and does a firewall let us through?"
    except socket.gaierror:
        return "no host has that name"
    except (OSError, ValueError) as exc:
        return f"{exc}"
    return ""


def _knock(family: int, path: str) -> None:
    with socket.socket(family) as trial:
        trial.settimeout(1)
        trial.connect(path)
