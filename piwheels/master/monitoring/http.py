"""A small HTTP server that runs in the loop of a task and never blocks it.

It answers one GET or HEAD request for each connection, then closes it. h11 reads the requests. A
connection has a time limit in all, whatever it sends or reads; beyond a number of connections, the
oldest gives way to a new one.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import h11
import zmq

if TYPE_CHECKING:
    from collections.abc import Callable

    from piwheels.core.clock import Clock
    from piwheels.core.errors import PiWheelsError

#: The most connections; the seconds that each may take; the size of a request's head in bytes.
MAX_CONNECTIONS: Final = 32
SECONDS: Final = 5.0
MAX_HEAD: Final = 8192


class Answer(NamedTuple):
    """An answer to a request."""

    status: int
    content: bytes
    content_type: str = "text/plain; charset=utf-8"


class Loop(Protocol):
    """The part of a task that the server needs."""

    clock: Clock

    def register(self, queue: object, handler: Callable[..., None], flags: int = ...) -> None:
        """Have *handler* called when *queue* has the events *flags*."""

    def unregister(self, queue: object) -> None:
        """End :meth:`register`."""

    def every(self, interval: timedelta, handler: Callable[[], None]) -> None:
        """Have *handler* called every *interval*."""

    def unexpected(self, what: str, exc: Exception) -> PiWheelsError:
        """Log an unexpected error in the handling of one request."""


class HttpServer:
    """Serves the *listener* in the loop of a task.

    *answer* returns the answer for a path (without its query) and the value of ``Accept``.
    """

    def __init__(
        self, loop: Loop, listener: socket.socket, answer: Callable[[str, str], Answer]
    ) -> None:
        self._loop, self._listener, self._answer = loop, listener, answer
        #: The open connections, the oldest first.
        self._open: dict[socket.socket, _Connection] = {}
        listener.setblocking(False)
        loop.register(listener, self._accept)
        loop.every(timedelta(seconds=1), self._expire)

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port."""
        host, port = self._listener.getsockname()[:2]
        return host, port

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(MAX_CONNECTIONS):
            try:
                peer, _ = listener.accept()
            except OSError:  # none waits, or the process has no file descriptor left
                return
            if len(self._open) >= MAX_CONNECTIONS:
                self._close(next(iter(self._open)))
            peer.setblocking(False)
            self._open[peer] = _Connection(self._loop.clock.monotonic() + SECONDS)
            self._loop.register(peer, self._read)

    def _expire(self) -> None:
        now = self._loop.clock.monotonic()
        for peer in [peer for peer, each in self._open.items() if each.deadline <= now]:
            self._close(peer)

    def _close(self, peer: socket.socket) -> None:
        if self._open.pop(peer, None) is not None:
            self._loop.unregister(peer)
            peer.close()

    def _read(self, peer: socket.socket) -> None:
        try:
            data = peer.recv(MAX_HEAD)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        connection = self._open[peer]
        if not data or connection.answered:
            if not data:  # else the rest of a request, which is ignored until the peer closes
                self._close(peer)
            return
        try:
            request = connection.feed(data)
            if request is not None:
                connection.finish(self._answer_to(request))
                self._loop.register(peer, self._write, zmq.POLLOUT)
        except Exception as exc:  # noqa: BLE001 (one request never ends the task)
            self._loop.unexpected("a request for monitoring", exc)
            self._close(peer)

    def _answer_to(self, request: h11.Request | Answer) -> tuple[Answer, bool]:
        if isinstance(request, Answer):
            return request, True
        if request.method not in (b"GET", b"HEAD"):
            return Answer(405, b"only GET and HEAD\n"), True
        accept = next((value for name, value in request.headers if name == b"accept"), b"")
        path = request.target.partition(b"?")[0].decode("ascii", "replace")
        return self._answer(path, accept.decode("latin-1")), request.method != b"HEAD"

    def _write(self, peer: socket.socket) -> None:
        connection = self._open[peer]
        try:
            sent = peer.send(connection.output)
        except BlockingIOError:
            return
        except OSError:
            self._close(peer)
            return
        connection.output = connection.output[sent:]
        if not connection.output:
            # Closing now would discard the answer if the peer has sent more than its request.
            with suppress(OSError):
                peer.shutdown(socket.SHUT_WR)
            self._loop.register(peer, self._read)

    def close(self) -> None:
        """Close the connections; the task closes the listener."""
        for peer in list(self._open):
            self._close(peer)


class _Connection:
    """One connection: its time limit, the reader of its request, the rest of the answer."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.answered = False
        self.output = memoryview(b"")
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)

    def feed(self, data: bytes) -> h11.Request | Answer | None:
        """Take bytes; return the request when it is complete, or the answer to an invalid one."""
        try:
            self._h11.receive_data(data)
            event = self._h11.next_event()
        except h11.RemoteProtocolError as exc:
            return Answer(exc.error_status_hint, b"not a valid request\n")
        return event if isinstance(event, h11.Request) else None

    def finish(self, answer: tuple[Answer, bool]) -> None:
        """Prepare the answer: with its content, or only its head."""
        (status, content, content_type), whole = answer
        head = h11.Response(
            status_code=status,
            headers=[
                ("Content-Type", content_type),
                ("Content-Length", str(len(content))),
                ("Cache-Control", "no-store"),
                ("Connection", "close"),
                *([("Allow", "GET, HEAD")] if status == 405 else []),
            ],
        )
        # A fresh writer, because the reader may be in an error state.
        writer = h11.Connection(h11.SERVER)
        self.output = memoryview((writer.send(head) or b"") + (content if whole else b""))
        self.answered = True
