"""The proxy of one build: it speaks HTTP with the build, and connects it to allowed hosts.

It trusts nothing that the build sends; h11 reads it. A build that floods its proxy harms only
itself: each build has its own, with a number of connections.
"""

from __future__ import annotations

import http.client
import logging
import os
import select
import socket
import urllib.request
from contextlib import suppress
from threading import BoundedSemaphore, Lock, Thread, current_thread
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import h11
import urllib3

from piwheels.core.clock import SYSTEM
from piwheels.core.fetching import nearness
from piwheels.core.program.builds import place
from piwheels.slave.egress.mirror import Answer
from piwheels.slave.egress.rules import own_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from piwheels.core.host.pip_config import IndexAccess
    from piwheels.core.program.builds import Place
    from piwheels.slave.egress.ledger import Ledger
    from piwheels.slave.egress.mirror import Mirror

#: The most connections; further ones wait. The size of a request's head, in bytes.
MAX_CONNECTIONS: Final = 64
MAX_HEAD: Final = 16 * 2**10
#: How long a connection may be idle, and how long connecting may take, in seconds.
IDLE: Final = 120.0
CONNECT_SECONDS: Final = 30.0

_CLOSE_SECONDS: Final = 5.0
_CHUNK: Final = 2**16
#: The words after the status of an answer: printable, of one line.
_REASON: Final = str.maketrans({chr(code): "?" for code in (*range(32), *range(127, 160))})

logger = logging.getLogger("egress")


class Proxy(Thread):
    """Serves the requests of one build on the socket that *listen* returns (``None``: none).

    *access* says how to reach allowed hosts. *is_known* tells whether a peer's address is one of
    this user's processes.
    """

    def __init__(
        self,
        listen: Callable[[], socket.socket | None],
        mirror: Mirror,
        ledger: Ledger,
        access: IndexAccess,
        is_known: Callable[[tuple[str, int]], bool] = lambda _: True,
    ) -> None:
        super().__init__(name="proxy", daemon=True)
        self._listen, self._mirror, self._ledger = listen, mirror, ledger
        self._access, self._is_known = access, is_known
        self._places = BoundedSemaphore(MAX_CONNECTIONS)
        self._open: set[socket.socket] = set()
        self._threads: set[Thread] = set()
        self._closed = False
        self._lock = Lock()

    def run(self) -> None:
        """Serve until :meth:`close`."""
        listener = self._listen()
        if listener is None or not self._add(listener):
            return
        while True:
            self._places.acquire()
            try:
                peer, address = listener.accept()
            except OSError:  # closed
                return
            if not self._add(peer) or not self._is_known(address):
                self._remove(peer)
                self._places.release()
                continue
            thread = Thread(target=self._serve, args=(peer,), name="proxy", daemon=True)
            self._threads.add(thread)
            thread.start()

    def close(self) -> None:
        """End all connections; the owner of the listener has shut it down."""
        with self._lock:
            self._closed = True
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        deadline = SYSTEM.monotonic() + _CLOSE_SECONDS
        for thread in (self, *self._threads):
            if thread.ident is not None:
                thread.join(max(0.0, deadline - SYSTEM.monotonic()))

    def _add(self, each: socket.socket) -> bool:
        """Have :meth:`close` end *each*; return False if it has been called."""
        with self._lock:
            self._open.add(each)
            return not self._closed

    def _remove(self, each: socket.socket) -> None:
        with self._lock:
            self._open.discard(each)
            each.close()

    # A connection ---------------------------------------------------------------------------------

    def _serve(self, peer: socket.socket) -> None:
        peer.settimeout(IDLE)
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        try:
            while self._exchange(peer, connection):
                connection.start_next_cycle()
        except h11.RemoteProtocolError as error:
            if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                with suppress(h11.LocalProtocolError, OSError):
                    answer = Answer(error.error_status_hint, "the request is no valid HTTP")
                    self._send(peer, connection, answer)
        except (h11.LocalProtocolError, OSError):
            pass  # the build went away, or its proxy was closed
        except Exception:
            logger.exception("internal error during a build")
        finally:
            self._remove(peer)
            self._threads.discard(current_thread())
            self._places.release()

    def _exchange(self, peer: socket.socket, connection: h11.Connection) -> bool:
        """Answer one request; return whether another may follow."""
        request = _read(peer, connection)
        if not isinstance(request, h11.Request):
            return False
        method, target = request.method.decode(), request.target.decode("latin-1")
        if method == "CONNECT":
            self._connect(peer, connection, target)
            return False
        has_body = not isinstance(_read(peer, connection), h11.EndOfMessage)
        if has_body or method not in ("GET", "HEAD"):
            answer = Answer(405, "the proxy only passes GET, HEAD and CONNECT, without a body")
            self._send(peer, connection, answer)
            return False
        answer = self._answer(target, dict(request.headers), peer)
        try:
            self._send(peer, connection, answer, content=method == "GET")
        finally:
            answer.close()
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    def _answer(self, target: str, headers: dict[bytes, bytes], peer: socket.socket) -> Answer:
        host, accept = (headers.get(name, b"").decode("latin-1") for name in (b"host", b"accept"))
        path = own_path(target, host, peer.getsockname()[1])
        if path is not None:
            return self._mirror.page_or_file(path, accept)
        if target.startswith("/"):
            return Answer(421, "the request is for another host")
        return self._mirror.plain(target)

    def _send(
        self, peer: socket.socket, connection: h11.Connection, answer: Answer, content: bool = True
    ) -> None:
        reason = answer.reason.translate(_REASON).encode("latin-1", "replace")[:300]
        parts: Iterable[bytes] = [reason + b"\n"] if answer.body is None else _parts(answer.body)
        size = len(reason) + 1 if answer.body is None else answer.size
        headers = [
            ("Content-Type", answer.kind or "text/plain; charset=latin-1"),
            ("Content-Length", str(size)),
        ]
        if answer.location:
            headers.append(("Location", answer.location))
        response = h11.Response(status_code=answer.status, headers=headers, reason=reason)
        _write(peer, connection, response)
        for part in parts if content else ():
            _write(peer, connection, h11.Data(data=part))
        _write(peer, connection, h11.EndOfMessage())

    # Connections to allowed hosts -----------------------------------------------------------------

    def _connect(self, peer: socket.socket, connection: h11.Connection, target: str) -> None:
        wanted = place(target)
        if wanted is None:
            self._send(peer, connection, self._mirror.refuse(target, "it is not HOST:PORT"))
            return
        near, why = self._mirror.may_connect(wanted)
        if why:
            self._send(peer, connection, Answer(403, f"{wanted}: {why}"))
            return
        try:
            far = open_connection(wanted, self._access, near)
        except (OSError, http.client.HTTPException) as error:
            self._send(peer, connection, Answer(502, f"{wanted} cannot be reached: {error}"))
            return
        try:
            if self._add(far):
                self._ledger.passed(str(wanted), 0)
                _write(peer, connection, h11.Response(status_code=200, headers=[], reason=b"OK"))
                far.sendall(connection.trailing_data[0])
                self._pass_on(peer, far, wanted)
        finally:
            self._remove(far)

    def _pass_on(self, peer: socket.socket, far: socket.socket, wanted: Place) -> None:
        """Pass bytes in both directions until both sides have ended."""
        sides = {peer.fileno(): (peer, far), far.fileno(): (far, peer)}
        reading = select.poll()
        for number in sides:
            reading.register(number, select.POLLIN)
        while sides and (ready := reading.poll(IDLE * 1000)):
            for number, _ in ready:
                side, other = sides[number]
                if data := side.recv(_CHUNK):
                    other.sendall(data)
                    self._ledger.passed(str(wanted), len(data) if side is far else 0)
                else:
                    other.shutdown(socket.SHUT_WR)
                    reading.unregister(number)
                    del sides[number]


def open_connection(wanted: Place, access: IndexAccess, near: int) -> socket.socket:
    """Connect to *wanted*, through the proxy of *access*, if there is one. Raises ``OSError``.

    Its address may be as *near* as that, unless a proxy looks it up.
    """
    address = access.proxy
    if address is None and not urllib.request.proxy_bypass(wanted.host):
        address = urllib.request.getproxies().get("https")
    if not address:
        return _checked(socket.create_connection(wanted, CONNECT_SECONDS), near)
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if parts.scheme != "http":
        raise OSError(f"the slave's proxy is one of {parts.scheme}, not of http")
    way = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=IDLE)
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
    way.set_tunnel(*wanted, headers=urllib3.make_headers(proxy_basic_auth=pair))
    way.connect()
    connection: socket.socket = way.sock
    return connection


def _checked(far: socket.socket, near: int) -> socket.socket:
    """Return *far*, unless an allowed name leads to an address that is nearer than *near*."""
    address = far.getpeername()[0]
    far.settimeout(IDLE)
    if nearness(address) > near:
        far.close()
        raise OSError(f"its address {address} is one of this {'machine' if near else 'network'}")
    return far


def _read(peer: socket.socket, connection: h11.Connection) -> object:
    """Return the next event of the build."""
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(peer.recv(_CHUNK))
    return event


def _write(peer: socket.socket, connection: h11.Connection, event: h11.Event) -> None:
    if data := connection.send(event):
        peer.sendall(data)


def _parts(body: IO[bytes]) -> Iterable[bytes]:
    """Yield *body*, which several threads may read."""
    offset = 0
    while part := os.pread(body.fileno(), _CHUNK, offset):
        offset += len(part)
        yield part
