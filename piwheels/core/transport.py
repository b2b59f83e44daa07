"""0MQ sockets that send and receive messages in CBOR, and check them against a protocol.

Time-outs are in seconds. Every socket has limits, so that no peer can exhaust this process: the
size of a frame (:data:`~piwheels.core.codec.MAX_FRAME`), the duration of a handshake, and the
length of its queues. The system notices when the other machine of a TCP connection has gone;
no socket has 0MQ's own heartbeats, which can end the process (docs/decisions/0044).
"""

from __future__ import annotations

import errno
import logging
import math
import os
import re
import socket
import struct
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar

import zmq

from piwheels.core import codec
from piwheels.core.clock import SYSTEM
from piwheels.core.codec import MAX_FRAME, NoData
from piwheels.core.errors import BadMessage, Fatal, Unavailable
from piwheels.core.paths import runtime_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from piwheels.core.protocols import Protocol

__all__ = ["Context", "NoData", "Origin", "Poller", "Socket"]

#: How many characters of a message's data are shown in the log.
_SHOWN = 120
#: Seconds after which a TCP connection counts as lost if the other machine does not answer.
LOST_AFTER: Final = 30
#: The events of a connection that is refused: see :meth:`Socket.why_refused`.
REFUSALS: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
#: The events that end a trial of a key of the other end, and those by which it has that key.
_TRIED: Final = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_CLOSED | zmq.EVENT_DISCONNECTED
_HAS_KEY: Final = (zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_HANDSHAKE_FAILED_AUTH)
#: The longest wait between two readings of the clock, in seconds.
_SLICE: Final = 1.0

#: The most lanes of a connection, and the number of one in an envelope.
MAX_LANES: Final = 256
_LANE: Final = re.compile(rb"[1-9][0-9]{0,2}")

#: Seconds that a master has to show which of several keys it has.
_KEY_SECONDS: Final = 5.0

#: A key pair: the public and the secret part, and the public part of the other end (or several,
#: with commas in between).
Pair = tuple[str, str, str]

T = TypeVar("T")


class Origin(NamedTuple):
    """The connection that a message came over.

    *descriptor* is its file, as the events of :meth:`Socket.monitor` name it; within the process
    there is none. *user* is the peer as the ZAP handler (ZeroMQ RFC 27) has authenticated it;
    ``None``: it was not asked. *address* is that of the peer, as the property ``X-Peer`` of its
    messages tells; ``None``: they have none.
    """

    descriptor: int | None = None
    address: str | None = None
    user: str | None = None


class Context:
    """Creates sockets of *context*, by default the process's own, which all threads share."""

    def __init__(self, context: zmq.Context[Any] | None = None) -> None:
        self._context = context or zmq.Context.instance()

    def socket(
        self, type_: int, protocol: Protocol | None = None, logger: logging.Logger | None = None
    ) -> Socket:
        """Return a new socket of the 0MQ type *type_* (such as ``zmq.REQ``).

        *protocol* is as seen from this end (see ``reversed`` for the other one); *logger* gets a
        debug message for each message.
        """
        return Socket(self._context.socket(type_), protocol, logger)

    def __repr__(self) -> str:
        return "<Context>"


class Socket:
    """A 0MQ socket that checks each message that it sends or receives against *protocol*."""

    def __init__(
        self,
        socket: zmq.Socket[Any],
        protocol: Protocol | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self._socket = socket
        self._protocol = protocol
        self._logger = logger
        #: Where the last message came from; only :meth:`recv_addr_msg` and guarded sockets know.
        self.origin = Origin()
        self._guarded = False
        self._pair: Pair | None = None
        #: The addresses of all binds, with the ports that the system chose.
        self.bound: list[str] = []
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        socket.setsockopt(zmq.HANDSHAKE_IVL, 10_000)
        socket.setsockopt(zmq.RECONNECT_IVL, 200)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 5_000)
        self.lost_after(LOST_AFTER)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type_: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Socket {self._socket!r}>"

    # Connecting -----------------------------------------------------------------------------

    def bind(self, address: str) -> None:
        """Listen on *address*. Raises ``Fatal`` with the remedy if that is impossible."""
        if address.startswith("ipc://") and not address.startswith("ipc://@"):
            prepare_folder(address)
        self._allow_ipv6(address)
        old = os.umask(0o077)
        try:
            self._socket.bind(address)
        except zmq.ZMQError as exc:
            raise Fatal(bind_error(address, exc)) from exc
        finally:
            os.umask(old)
        if self.address not in self.bound:
            self.bound.append(self.address)

    def connect(self, address: str) -> None:
        """Connect to *address*; nothing has to listen there yet.

        Raises ``Fatal`` if *address* is invalid.
        """
        self._allow_ipv6(address)
        if self._pair is not None and address.startswith("tcp:"):
            self._use_pair(self._pair, address)
        try:
            self._socket.connect(address)
        except zmq.ZMQError as exc:
            raise Fatal(f"cannot connect to {address!r} ({exc}): give another address") from exc

    def reconnect(self, address: str) -> None:
        """Connect to *address* again, which has refused this end: 0MQ does not try again."""
        with suppress(zmq.ZMQError):
            self._socket.disconnect(address)
        self.connect(address)

    def _allow_ipv6(self, address: str) -> None:
        # Only for such an address: with it, 0MQ never tries the IPv4 address of a name.
        if address.startswith("tcp://["):
            self._socket.setsockopt(zmq.IPV6, 1)

    @property
    def address(self) -> str:
        """The address of the last bind or connect, with the port that the system chose."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def close(self, linger: float | None = None) -> None:
        """Close the socket; it still sends queued messages for up to *linger* seconds."""
        for address in self.bound:
            if address.startswith("inproc:"):  # 0MQ would release it later, in another thread
                with suppress(zmq.ZMQError):  # it is closed already
                    self._socket.unbind(address)
        self._socket.close(linger=None if linger is None else int(linger * 1000))

    @contextmanager
    def monitor(self, events: int) -> Iterator[Socket]:
        """Yield a socket that receives the connection *events* (``zmq.EVENT_...``) of this one.

        :meth:`recv_event` reads them.
        """
        address = f"inproc://monitor-{uuid.uuid4().hex}"
        self._socket.monitor(address, events)
        monitor = Context(self._socket.context).socket(zmq.PAIR)
        # Without a limit: 0MQ's only thread waits if an event finds no room.
        monitor.setsockopt(zmq.RCVHWM, 0)
        monitor.connect(address)
        try:
            yield monitor
        finally:
            # In this order: otherwise 0MQ's only thread would wait for ever to deliver an event,
            # and no socket of the process would work any more.
            self._socket.disable_monitor()
            monitor.close()

    # Keys -----------------------------------------------------------------------------------

    def identify(self, pair: Pair | None) -> None:
        """Use the key *pair* (public, secret, and the key of the other end) on TCP (CURVE).

        ``None`` uses none. Call it before :meth:`connect`.
        """
        self._pair = pair

    def _use_pair(self, pair: Pair, address: str) -> None:
        pair = (*pair[:2], self._key_of(address, *pair))
        options = zmq.CURVE_PUBLICKEY, zmq.CURVE_SECRETKEY, zmq.CURVE_SERVERKEY
        try:
            for key, value in zip(options, pair, strict=True):
                self._socket.setsockopt(key, value.encode())
        except zmq.ZMQError as exc:
            raise Fatal("a key is invalid: make one with piw-keys create") from exc

    def _key_of(self, address: str, public: str, secret: str, others: str) -> str:
        """Return the one of *others* that the other end has; the first if it does not answer."""
        keys = others.split(",")
        context, kind = Context(self._socket.context), int(self._socket.getsockopt(zmq.TYPE))
        for key in keys if len(keys) > 1 else ():
            with context.socket(kind) as trial:
                trial.identify((public, secret, key))
                with trial.monitor(_TRIED | REFUSALS) as monitor:
                    trial.connect(address)
                    if monitor.poll(_KEY_SECONDS) and monitor.recv_event()[0] in _HAS_KEY:
                        return key
        return keys[0]

    def guard(self, domain: str, secret: str = "") -> None:
        """Have the ZAP handler decide about connections to addresses that are bound from now on.

        *domain* is its parameter. With the *secret* key of this end, peers must use CURVE.
        """
        self._guarded = True
        self._socket.setsockopt(zmq.ZAP_DOMAIN, domain.encode())
        # Otherwise everyone is admitted while there is no handler.
        self._socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        self._socket.setsockopt(zmq.CURVE_SERVER, int(bool(secret)))
        if secret:
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, secret.encode())

    # Settings -------------------------------------------------------------------------------

    @property
    def hwm(self) -> int:
        """The high-water mark: the number of queued messages from which it blocks or drops."""
        return int(self._socket.getsockopt(zmq.SNDHWM))

    @hwm.setter
    def hwm(self, value: int) -> None:
        self._socket.set_hwm(value)

    def lost_after(self, seconds: int) -> None:
        """Have a TCP connection end when the other machine does not answer for *seconds*.

        Call it before the socket binds or connects. Idle connections are tested, too.
        """
        pause = max(1, seconds // 6)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 2 * pause)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, pause)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 4)
        # For data that is not acknowledged; a slow link acknowledges some of it again and again.
        self._socket.setsockopt(zmq.TCP_MAXRT, 1000 * seconds)

    def setsockopt(self, option: int, value: int | bytes) -> None:
        """Set the 0MQ *option* (``zmq.IMMEDIATE``) for which this class has no method."""
        self._socket.setsockopt(option, value)

    def subscribe(self, topic: str = "") -> None:
        """Subscribe a SUB socket to messages that begin with *topic* (``""``: all)."""
        self._socket.setsockopt_string(zmq.SUBSCRIBE, topic)

    def unsubscribe(self, topic: str = "") -> None:
        """Unsubscribe a SUB socket from *topic*."""
        self._socket.setsockopt_string(zmq.UNSUBSCRIBE, topic)

    # Frames ---------------------------------------------------------------------------------

    def poll(self, timeout: float | None = None, flags: int = zmq.POLLIN) -> bool:
        """Wait up to *timeout* seconds (``None``: without limit); return whether it is ready."""
        return bool(_wait(lambda wait: self._socket.poll(wait, flags), timeout))

    def drain(self) -> None:
        """Discard all messages that have arrived."""
        while self.poll(0):
            self.recv_multipart()

    def recv_multipart(self, flags: int = 0) -> list[bytes]:
        """Receive the frames of one message."""
        if self._guarded:
            return self._receive(flags)
        frames: list[bytes] = self._socket.recv_multipart(flags)
        return frames

    def _receive(self, flags: int) -> list[bytes]:
        """Receive the frames of one message, and note its origin."""
        first = self._socket.recv(flags, copy=False)
        names = (zmq.SRCFD, "X-Peer", "User-Id")
        found = (_property(first, name) for name in names[: None if self._guarded else 1])
        self.origin = Origin(*found)
        return [first.bytes, *(self._socket.recv_multipart() if first.more else [])]

    def send_multipart(self, msg_parts: Sequence[bytes | memoryview], flags: int = 0) -> None:
        """Send the frames *msg_parts* as one message.

        Raises ``Unavailable`` if *flags* contain ``zmq.DONTWAIT`` and it would block.
        """
        try:
            self._socket.send_multipart(msg_parts, flags)
        except zmq.Again as exc:
            raise Unavailable(f"{self.address}: the peer does not accept messages") from exc

    # Messages -------------------------------------------------------------------------------

    def send_msg(self, msg: str, data: Any = NoData, flags: int = 0) -> None:
        """Send the message *msg* with *data*. Raises ``BadMessage`` if they are invalid."""
        self.send_multipart([self._encode(msg, data)], flags)

    def recv_msg(self, flags: int = 0) -> tuple[str, Any]:
        """Receive a message; return its name and its data. Raises ``BadMessage``."""
        frames = self.recv_multipart(flags)
        if len(frames) != 1:
            raise BadMessage(f"{len(frames)} frames instead of one")
        return self._decode(frames[0])

    def send_addr_msg(self, addr: bytes, msg: str, data: Any = NoData, flags: int = 0) -> None:
        """Send a message from a ROUTER socket to *addr*, a REQ or DEALER socket or a lane of it."""
        self.send_multipart([*split_address(addr), b"", self._encode(msg, data)], flags)

    def why_refused(self, event: int) -> str:
        """Return why the other end has refused the connection, by an *event* of :meth:`monitor`.

        ``""`` for other events.
        """
        match event, self._pair is not None:
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH, True:
                return "it does not admit this key: enrol it there (piw-keys enrol), or see its log"
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH, False:
                return "it admits only keys or listed addresses: give --key, or see --allow-from"
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, True:
                return "it uses no keys: start it with --keys, or leave out --key"
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, False:
                return "it admits only enrolled keys: make one with piw-keys create, and give --key"
            case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, True:
                return "it has another key than --master-key: piw-keys list shows it there"
        return ""

    def recv_event(self) -> tuple[int, int]:
        """Receive an event of the socket that this one monitors; return it with its value.

        The value of ``zmq.EVENT_DISCONNECTED`` is the file descriptor of the connection.
        """
        event, value = struct.unpack("=HI", self.recv_multipart()[0])
        return event, value

    def recv_addr_msg(self, flags: int = 0) -> tuple[bytes, str, Any]:
        """Receive a message on a ROUTER socket; return the peer's address, the name and the data.

        A lane of a peer has an address of its own: see :func:`split_address`. Raises
        ``BadMessage``; its ``address`` is the peer's.
        """
        peer, *frames = self._receive(flags)
        lane, frames = _open_envelope(frames)
        addr = join_address(peer, lane)
        try:
            return (addr, *self._decode_only(frames))
        except BadMessage as exc:
            exc.address = addr
            raise

    def send_lane_msg(self, lane: int, msg: str, data: Any = NoData, flags: int = 0) -> None:
        """Send a message of *lane* from a DEALER to a ROUTER socket; 0: that of a REQ socket."""
        self.send_multipart([*_envelope(lane), b"", self._encode(msg, data)], flags)

    def recv_lane_msg(self, flags: int = 0) -> tuple[int, str, Any]:
        """Receive a message on a DEALER socket; return its lane, name and data.

        Raises ``BadMessage``.
        """
        lane, frames = _open_envelope(self.recv_multipart(flags))
        return (int(lane or 0), *self._decode_only(frames))

    def _decode_only(self, frames: list[bytes]) -> tuple[str, Any]:
        if len(frames) != 2 or frames[0]:
            raise BadMessage(f"{len(frames)} frames instead of an empty one and a message")
        return self._decode(frames[1])

    def _encode(self, msg: str, data: Any) -> bytes:
        if self._protocol is not None:
            data = self._protocol.to_send(msg, data)
        frame = codec.dumps(msg, data)
        if self._logger is not None and self._logger.isEnabledFor(logging.DEBUG):
            self._logger.debug("sent %s %.*r", msg, _SHOWN, data)
        return frame

    def _decode(self, frame: bytes) -> tuple[str, Any]:
        if self._protocol is not None:
            self._protocol.check_size(frame)
        msg, data = codec.loads(frame)
        if self._protocol is not None:
            try:
                data = self._protocol.received(msg, data)
            except BadMessage as exc:
                exc.message = msg
                raise
        if self._logger is not None and self._logger.isEnabledFor(logging.DEBUG):
            self._logger.debug("received %s %.*r", msg, _SHOWN, data)
        return msg, data


def join_address(peer: bytes, lane: bytes = b"") -> bytes:
    """Return the address of a *lane* of the peer with this routing id; ``b""``: it has no lanes."""
    is_like_another = peer.endswith(b"/") or len(split_address(peer)) > 1
    return peer + b"/" + lane if lane or is_like_another else peer


def split_address(address: bytes) -> list[bytes]:
    """Return the routing id of an *address*, and its lane if it has one."""
    peer, slash, lane = address.rpartition(b"/")
    if slash and not lane:
        return [peer]
    return [peer, lane] if slash and _is_lane(lane) else [address]


def _is_lane(frame: bytes) -> bool:
    return _LANE.fullmatch(frame) is not None and int(frame) <= MAX_LANES


def _envelope(lane: int) -> list[bytes]:
    return [b"%d" % lane] if lane else []


def _open_envelope(frames: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Return the lane of a message (``b""``: it has none) and its other frames."""
    has_lane = len(frames) == 3 and _is_lane(frames[0])
    return (frames[0], frames[1:]) if has_lane else (b"", frames)


def _property(frame: zmq.Frame, name: Any) -> Any:
    try:
        return frame.get(name)
    except zmq.ZMQError:
        return None


def prepare_folder(address: str) -> None:
    """Create the folder of an ipc *address*, and check that no process listens on the address.

    0MQ would silently replace the socket of that process.
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
        raise Fatal(f"{path.parent} belongs to another user: remove it, or set XDG_RUNTIME_DIR")
    for _ in range(10):  # the last listener may be closing: 0MQ takes a moment for that
        with socket.socket(socket.AF_UNIX) as trial:
            trial.settimeout(1)
            try:
                trial.connect(str(path))
            except OSError:  # no listener, or an invalid address, which bind reports
                return
        time.sleep(0.1)
    raise Fatal(bind_error(address, zmq.ZMQError(zmq.EADDRINUSE)))


def bind_error(address: str, exc: zmq.ZMQError | OSError) -> str:
    """Return the sentence for a failure to listen on *address*, with the remedy."""
    match exc.errno:
        case zmq.EADDRINUSE:
            return (
                f"{address} is in use: stop the program that uses it (another master?), or choose"
                " another"
            )
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
        """Poll *socket*, a :class:`Socket` or an object with a ``fileno``, for events *flags*."""
        raw = _raw(socket)
        self._sockets[raw] = socket
        self._poller.register(raw, flags)

    def unregister(self, socket: Any) -> None:
        """Stop polling *socket*."""
        raw = _raw(socket)
        del self._sockets[raw]
        self._poller.unregister(raw)

    def poll(self, timeout: float | None = None) -> dict[Any, int]:
        """Wait up to *timeout* seconds; return the ready sockets with their events."""
        return {self._sockets[raw]: events for raw, events in _wait(self._poller.poll, timeout)}


def _wait(poll: Callable[[int], T], timeout: float | None) -> T:
    """Call *poll* with milliseconds until it returns events, for up to *timeout* seconds.

    It waits in slices, because time in which this process is suspended must not count.
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
