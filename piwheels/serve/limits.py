"""The limits of a connection: how long a request may take, how large it is, and how many there are.

A client that exceeds a limit is cut. While all places are taken, each new client gets one of the
address with the most connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

#: The most connections; of one of them, the size of a request in bytes, and the requests that wait.
MOST, MAX_REQUEST_SIZE, MAX_WAITING = 1000, 64 * 2**10, 16
#: The seconds in which a request must arrive, from the connection or its first byte on.
REQUEST_TIME: Final = 15.0
#: How often to look whether a client reads, in seconds; and the bytes that it must read until then.
READ_TIME, READ_BYTES = 30.0, 64 * 2**10


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits."""

    #: The connections of each address, the oldest first.
    places: ClassVar[dict[str, dict[LimitedProtocol, None]]] = {}

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._place = ""
        #: Ends a request that does not arrive.
        self._late: TimerHandle | None = None
        #: The bytes of the present request.
        self._size = 0
        #: Ends a response that is not read, of which so many bytes waited.
        self._reads: TimerHandle | None = None
        self._unread = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Take a place, and wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > MOST:
            self._make_room()
        self._place = self.client[0] if self.client else ""
        self.places.setdefault(self._place, {})[self] = None
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        mine = self.places.get(self._place, {})
        mine.pop(self, None)
        if not mine:
            self.places.pop(self._place, None)
        for timer in (self._late, self._reads):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def _make_room(self) -> None:
        heaviest = max(self.places.values(), key=len, default={})
        waiting = (each for each in heaviest if each.is_idle)
        oldest = next(waiting, None) or next(iter(heaviest), None)
        if oldest is not None:
            heaviest.pop(oldest)  # connection_lost comes later
            oldest.transport.abort()

    @property
    def is_idle(self) -> bool:
        """Whether no response is being sent."""
        answered = self.cycle is None or self.cycle.response_complete
        return answered and not self.transport.get_write_buffer_size()

    # Requests -------------------------------------------------------------------------------------

    def _expect_request(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(REQUEST_TIME, self.transport.abort)

    def got_request(self) -> None:
        """Note that a whole request has arrived."""
        self._size = 0
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def on_message_begin(self) -> None:
        """Begin a request, unless too many wait for their responses."""
        if len(self.pipeline) >= MAX_WAITING:
            raise httptools.HttpParserError("too many requests at once")
        super().on_message_begin()
        self._expect_request()

    def on_message_complete(self) -> None:
        """Note that a whole request has arrived."""
        super().on_message_complete()
        self.got_request()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        self._size += len(data)
        super().data_received(data)
        if self._size > MAX_REQUEST_SIZE:  # and it has no end yet
            self.transport.abort()

    # Responses ------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """Wait for the client to read, but not for ever."""
        super().pause_writing()
        if self._reads is None:
            self._watch_reader()

    def resume_writing(self) -> None:
        """Continue: the client has read."""
        super().resume_writing()
        if self._reads is not None:
            self._reads.cancel()
            self._reads = None

    def _watch_reader(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        self._reads = self.loop.call_later(READ_TIME, self._check_reader)

    def _check_reader(self) -> None:
        if self._unread - self.transport.get_write_buffer_size() < READ_BYTES:
            self.transport.abort()
        else:
            self._watch_reader()
