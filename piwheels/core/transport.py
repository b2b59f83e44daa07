"""Sockets that speak our messages: pyzmq with CBOR, checked against a protocol.

Time-outs are in seconds. A socket that another process can reach is bounded here, whatever its
owner does: no frame larger than :data:`~piwheels.core.codec.MAX_FRAME`, a limit on hand-shakes,
heart-beats on TCP, and queues that end.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import zmq

from piwheels.core import codec
from piwheels.core.clock import SYSTEM
from piwheels.core.codec import MAX_FRAME, NoData
from piwheels.core.errors import BadMessage, Fatal, Unavailable
from piwheels.core.program.paths import runtime_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from piwheels.core.protocols import Protocol

__all__ = ["Context", "NoData", "Poller", "Socket"]

#: How many characters of a message's data are shown in the log.
_SHOWN = 120
#: The longest wait between two readings of the clock, in seconds.
_SLICE: Final = 1.0

T = TypeVar("T")


class Context:
    """Makes sockets. Wraps *context*, or else the process's own (which all threads share)."""

    def __init__(self, context: zmq.Context[Any] | None = None) -> None:
        self._context = context or zmq.Context.instance()

    def socket(
        self, kind: int, protocol: Protocol | None = None, logger: logging.Logger | None = None
    ) -> Socket:
        """Return a new socket of *kind* (``zmq.REQ``) for *protocol*, as seen from this side."""
        return Socket(self._context.socket(kind), protocol, logger)

    def __repr__(self) -> str:
        return "<Context>"


class Socket:
    """A socket whose messages are checked against *protocol* as they leave and as they come."""

    def __init__(
        self,
        socket: zmq.Socket[Any],
        protocol: Protocol | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self._socket = socket
        self._protocol = protocol
        self._logger = logger
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        socket.setsockopt(zmq.HANDSHAKE_IVL, 10_000)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 10_000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 30_000)
        socket.setsockopt(zmq.RECONNECT_IVL, 200)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 5_000)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Socket {self._socket!r}>"

    # Where it stands ------------------------------------------------------------------------

    def bind(self, address: str) -> None:
        """Listen on *address*. Raises ``Fatal`` with what to do if that cannot be."""
        if address.startswith("ipc://") and not address.startswith("ipc://@"):
            _make_room(address)
        old = os.umask(0o077)
        try:
            self._socket.bind(address)
        except zmq.ZMQError as exc:
            raise Fatal(_why_not_bound(address, exc)) from exc
        finally:
            os.umask(old)

    def connect(self, address: str) -> None:
        """Connect to *address*; the other side may come later.

        Raises ``Fatal`` if it is no address.
        """
        try:
            self._socket.connect(address)
        except zmq.ZMQError as exc:
            raise Fatal(f"cannot connect to {address!r} ({exc}): give another address") from exc

    @property
    def address(self) -> str:
        """Where the socket was last bound or connected (with the port that was chosen)."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def close(self, linger: float | None = None) -> None:
        """Close the socket, giving up to *linger* seconds to messages that still wait to leave."""
        self._socket.close(linger=None if linger is None else int(linger * 1000))

    @contextmanager
    def monitor(self, events: int) -> Iterator[Socket]:
        """Give a socket on which pyzmq's connection *events* of this one arrive (raw frames)."""
        monitor = Socket(self._socket.get_monitor_socket(events))
        try:
            yield monitor
        finally:
            # In this order: 0MQ's one thread would wait for ever to tell an event to nobody, and
            # no socket of the process would work any more.
            self._socket.disable_monitor()
            monitor.close()

    # Settings -------------------------------------------------------------------------------

    @property
    def hwm(self) -> int:
        """The high-water mark: how many messages may wait before the socket blocks or drops."""
        return int(self._socket.getsockopt(zmq.SNDHWM))

    @hwm.setter
    def hwm(self, value: int) -> None:
        self._socket.set_hwm(value)

    def setsockopt(self, option: int, value: int | bytes) -> None:
        """Set a 0MQ *option* that has no name of its own here."""
        self._socket.setsockopt(option, value)

    def subscribe(self, topic: str = "") -> None:
        """Subscribe a SUB socket to messages that begin with *topic* (all of them: '')."""
        self._socket.setsockopt_string(zmq.SUBSCRIBE, topic)

    def unsubscribe(self, topic: str = "") -> None:
        """Unsubscribe a SUB socket from *topic*."""
        self._socket.setsockopt_string(zmq.UNSUBSCRIBE, topic)

    # Frames ---------------------------------------------------------------------------------

    def poll(self, timeout: float | None = None, flags: int = zmq.POLLIN) -> bool:
        """Wait up to *timeout* seconds (``None``: for ever); return whether an event has come."""
        return bool(_wait(lambda wait: self._socket.poll(wait, flags), timeout))

    def drain(self) -> None:
        """Read and drop whatever waits to be read."""
        while self.poll(0):
            self.recv_multipart()

    def recv_multipart(self, flags: int = 0) -> list[bytes]:
        """Receive the frames of one message."""
        frames: list[bytes] = self._socket.recv_multipart(flags)
        return frames

    def send_multipart(self, msg_parts: Sequence[bytes | memoryview], flags: int = 0) -> None:
        """Send *msg_parts* as one message.

        Raises ``Unavailable`` where it would block and, by *flags*, may not.
        """
        try:
            self._socket.send_multipart(msg_parts, flags)
        except zmq.Again as exc:
            raise Unavailable(f"{self.address}: nobody takes what is sent") from exc

    # Messages -------------------------------------------------------------------------------

    def send_msg(self, msg: str, data: Any = NoData, flags: int = 0) -> None:
        """Send the message *msg* with *data*, which must fit the protocol (else ``BadMessage``)."""
        self.send_multipart([self._encode(msg, data)], flags)

    def recv_msg(self, flags: int = 0) -> tuple[str, Any]:
        """Receive a message; return its name and its checked data. Raises ``BadMessage``."""
        frames = self.recv_multipart(flags)
        if len(frames) != 1:
            raise BadMessage(f"{len(frames)} frames instead of one")
        return self._decode(frames[0])

    def send_addr_msg(self, addr: bytes, msg: str, data: Any = NoData, flags: int = 0) -> None:
        """Send a message to the peer *addr* of a ROUTER socket (to a REQ: an empty frame first)."""
        self.send_multipart([addr, b"", self._encode(msg, data)], flags)

    def recv_addr_msg(self, flags: int = 0) -> tuple[bytes, str, Any]:
        """Receive a message behind a ROUTER socket: the peer's address, the name, the checked data.

        Raises ``BadMessage``, whose ``address`` attribute is the peer's.
        """
        addr, *frames = self.recv_multipart(flags)
        try:
            if len(frames) != 2 or frames[0]:
                raise BadMessage(f"{len(frames)} frames instead of an empty one and one")
            return (addr, *self._decode(frames[1]))
        except BadMessage as exc:
            exc.address = addr
            raise

    def _encode(self, msg: str, data: Any) -> bytes:
        if self._protocol is not None:
            data = self._protocol.to_send(msg, data)
        frame = codec.dumps(msg, data)
        if self._logger is not None and self._logger.isEnabledFor(logging.DEBUG):
            self._logger.debug("sent %s %.*r", msg, _SHOWN, data)
        return frame

    def _decode(self, frame: bytes) -> tuple[str, Any]:
        msg, data = codec.loads(frame)
        if self._protocol is not None:
            data = self._protocol.received(msg, data)
        if self._logger is not None and self._logger.isEnabledFor(logging.DEBUG):
            self._logger.debug("received %s %.*r", msg, _SHOWN, data)
        return msg, data


def _make_room(address: str) -> None:
    """See that an ipc *address* has its folder, and that nobody listens there.

    0MQ would push whoever does aside without a word.
    """
    path = Path(address.removeprefix("ipc://"))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = path.parent.stat().st_uid
    except OSError as exc:
        raise Fatal(
            f"cannot make the folder of {address} ({exc.strerror}): let this user make it, or"
            " choose another address"
        ) from exc
    if path.parent == runtime_dir() and owner != os.geteuid():
        raise Fatal(f"{path.parent} belongs to somebody else: remove it, or set XDG_RUNTIME_DIR")
    for _ in range(10):  # who was there may be leaving: 0MQ takes a moment to close
        with socket.socket(socket.AF_UNIX) as trial:
            trial.settimeout(1)
            try:
                trial.connect(str(path))
            except OSError:  # nobody there, or no such address: binding tells
                return
        time.sleep(0.1)
    raise Fatal(_why_not_bound(address, zmq.ZMQError(zmq.EADDRINUSE)))


def _why_not_bound(address: str, exc: zmq.ZMQError) -> str:
    match exc.errno:
        case zmq.EADDRINUSE:
            return f"{address} is in use: end what uses it (another master?), or choose another"
        case zmq.EADDRNOTAVAIL:
            return f"{address} is not an address of this machine: choose one that is"
        case errno.ENAMETOOLONG:
            return f"{address} is too long for a socket: choose a shorter folder"
    return f"cannot listen on {address!r} ({exc}): choose another address"


class Poller:
    """Waits for several sockets (or file descriptors) at once."""

    def __init__(self) -> None:
        self._poller = zmq.Poller()
        self._sockets: dict[Any, Any] = {}

    def register(self, socket: Any, flags: int = zmq.POLLIN) -> None:
        """Watch *socket*, a :class:`Socket` or anything with a ``fileno``, for events *flags*."""
        raw = _raw(socket)
        self._sockets[raw] = socket
        self._poller.register(raw, flags)

    def unregister(self, socket: Any) -> None:
        """Stop watching *socket*."""
        raw = _raw(socket)
        del self._sockets[raw]
        self._poller.unregister(raw)

    def poll(self, timeout: float | None = None) -> dict[Any, int]:
        """Wait up to *timeout* seconds; return the sockets that have events, with the events."""
        return {self._sockets[raw]: events for raw, events in _wait(self._poller.poll, timeout)}


def _wait(poll: Callable[[int], T], timeout: float | None) -> T:
    """Call *poll* with milliseconds until it returns events, for up to *timeout* seconds.

    It waits in slices, so that the time in which this process is suspended does not count.
    """
    if timeout is not None and timeout <= 0:
        return poll(0)  # 0MQ takes a negative number for "without limit"
    deadline = math.inf if timeout is None else SYSTEM.monotonic() + timeout
    while (left := deadline - SYSTEM.monotonic()) > 0:
        if events := poll(math.ceil(min(left, _SLICE) * 1000)):
            return events
    return poll(0)


def _raw(socket: Any) -> Any:
    if isinstance(socket, Socket):
        return socket._socket  # noqa: SLF001 (this module's own)
    return socket.fileno()
