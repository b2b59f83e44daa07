"""Answers simple requests without uvicorn and without threads, and repeats the responses.

Most requests are a few plain lines. A file that is in the memory of the system is read at once; for
any other, and for any other request, uvicorn calls the application.

Installers send the same bytes for the same page. A response is repeated for a second. Then it is
repeated for another second if its file has not changed, and so on for a minute; all clients accept
pages that are a minute old.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from piwheels.core.clock import SYSTEM
from piwheels.serve.limits import LimitedProtocol
from piwheels.serve.site import STORE, PageResponse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from piwheels.core.clock import Clock
    from piwheels.serve.site import Site, Source

#: After how many seconds a response's file is looked at, and for how many it is repeated at most.
LIFE: Final = 1.0
LONGEST_LIFE: Final = 60.0
#: The maximum size of a request and of all stored responses, in bytes.
MAX_REQUEST: Final = 4096
MAX_STORED: Final = 64 * 2**20
#: One whole GET request of plain lines, and the headers that give it another meaning.
_SIMPLE: Final = re.compile(
    rb"GET (/[A-Za-z0-9._/-]*) HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[ -~\t]*\r\n)+)\r\n"
)
_OTHERS: Final = {"connection", "content-length", "expect", "transfer-encoding", "upgrade"}


@dataclass(slots=True)
class Stored:
    """A response: its first lines, its body, its file, when to look at that, and its end."""

    head: bytes
    body: bytes | memoryview
    source: Source | None
    until: float
    end: float

    @property
    def size(self) -> int:
        """Return the size in memory."""
        return len(self.head) + len(self.body) + MAX_REQUEST


class Responses:
    """The recent responses, by the bytes of the request; the oldest go first."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._stored: dict[bytes, Stored] = {}
        self._size = 0

    def get(self, request: bytes) -> Stored | None:
        """Return the response to *request*, if it is recent."""
        found = self._stored.get(request)
        if found is not None and found.until < (now := self._clock.monotonic()):
            if now >= found.end or found.source is None or not found.source.is_unchanged():
                self._remove(request)
                return None
            found.until = min(now + LIFE, found.end)
        return found

    def put(
        self,
        request: bytes,
        status: int,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes | memoryview,
        source: Source | None,
    ) -> Stored:
        """Store the response to *request*, and return it; *source* is the file that it shows."""
        self._remove(request)
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        now = self._clock.monotonic()
        stored = Stored(STATUS_LINE[status] + lines, body, source, now + LIFE, now + LONGEST_LIFE)
        self._stored[request] = stored
        self._size += stored.size
        while self._size > MAX_STORED:
            self._remove(next(iter(self._stored)))
        return stored

    def _remove(self, request: bytes) -> None:
        if (old := self._stored.pop(request, None)) is not None:
            self._size -= old.size


def simple_request(data: bytes) -> tuple[str, dict[str, str]] | None:
    """Return the path and the headers if *data* is one whole, simple GET request."""
    match = _SIMPLE.fullmatch(data) if len(data) <= MAX_REQUEST else None
    if match is None:
        return None
    headers: dict[str, str] = {}
    for line in match[2].decode().splitlines():
        name, _, value = line.partition(":")
        headers.setdefault(name.lower(), value.strip())
    return None if headers.keys() & _OTHERS else (match[1].decode(), headers)


class RepeatingProtocol(LimitedProtocol):
    """uvicorn's protocol; it calls the application only for what *site* cannot answer at once."""

    responses = Responses()
    #: The default headers of a second, and the lines that they are.
    _date: ClassVar[tuple[Any, bytes]] = (None, b"")

    def __init__(self, site: Site, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.site = site
        #: Whether a request has begun that has not ended: data belong to it.
        self._begun = False
        #: When the last response was repeated.
        self._repeated = 0.0

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        self._begun = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Note that a request ends."""
        self._begun = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Repeat a response, or let the application make it."""
        # Not while another response is being sent: the order counts, and the client may be slow.
        idle = (
            not self._begun
            and (self.cycle is None or self.cycle.response_complete)
            and not self.transport.get_write_buffer_size()
            and not self.transport.is_closing()
        )
        found = self.responses.get(data) if idle else None
        request = simple_request(data) if idle and found is None else None
        if request is not None:
            found = self._answer(data, *request)
        if found is not None:
            self.got_request()
            self._repeat(found)
            return
        super().data_received(data)
        if request is not None:
            self.scope["extensions"] = {STORE: {"put": partial(self.responses.put, data)}}

    def _answer(self, data: bytes, path: str, headers: dict[str, str]) -> Stored | None:
        """Return the response to a simple request, unless that has to wait for the disk."""
        try:
            response = self.site.answer("GET", path, headers)
        except BlockingIOError:
            return None
        source = response.source if isinstance(response, PageResponse) else None
        lines, body = response.raw_headers, response.body
        return self.responses.put(data, response.status_code, lines, body, source)

    def _repeat(self, found: Stored) -> None:
        headers, date = self._date
        if headers is not self.server_state.default_headers:  # uvicorn replaces them each second
            headers = self.server_state.default_headers
            date = b"".join(b"%b: %b\r\n" % each for each in headers) + b"\r\n"
            RepeatingProtocol._date = headers, date
        if isinstance(found.body, bytes):
            self.transport.write(b"".join((found.head, date, found.body)))
        else:
            self.transport.writelines([found.head, date, found.body])
        if self.timeout_keep_alive_task is None:
            self.on_response_complete()
        else:  # the timer continues, because a new one for each request takes long
            self.server_state.total_requests += 1
            self._repeated = self.loop.time()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, unless a response was repeated in the meantime."""
        left = self._repeated + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            handler = self.timeout_keep_alive_handler
            self.timeout_keep_alive_task = self.loop.call_later(left, handler)
        else:
            super().timeout_keep_alive_handler()
