"""The attached consoles of protocol level 1, their watched slaves, and recent build output. Pure.

``now`` is monotonic time in seconds. *peer* is the address of a console's connection. Each message
to a console carries the *ticket* of the request that asked for it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from piwheels.core.errors import Refused
from piwheels.core.protocols import Output

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The most consoles that are attached, and how long each may be silent, in seconds.
MAX_CONSOLES, SILENCE = 100, 90.0
#: The most slaves that a console may watch, and the most requests that it may have unanswered.
MAX_WATCHED, MAX_OPEN_REQUESTS = 100, 16
#: The most output that is kept of one build, and of all builds together, in characters.
MAX_TAIL, MAX_TAILS = 2**16, 2**25


class Requester(NamedTuple):
    """The recipient of a message: a console, and the ticket of its request."""

    peer: bytes
    ticket: bytes


@dataclass(slots=True, eq=False)
class Console:
    """An attached console: its operator, the ticket of its last HELLO, its last request (when).

    *owner* is the holder of its key.
    """

    who: str
    ticket: bytes
    last_contact: float
    owner: str = ""
    #: The tickets of its WATCH requests, by watched slave.
    watched: dict[int, bytes] = field(default_factory=dict)
    #: The tickets of its unanswered requests.
    open_requests: set[bytes] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class OutputTail:
    """The end of one build's output, in *parts*; the first part begins at *offset* (characters)."""

    package: str
    version: str
    offset: int
    parts: deque[str] = field(default_factory=deque)
    size: int = 0

    def add(self, output: Output, limit: int) -> None:
        """Append *output* and keep the last *limit* characters; after a gap, keep only it."""
        if output.offset != self.offset + self.size:
            self.parts.clear()
            self.offset, self.size = output.offset, 0
        self.parts.append(output.text)
        self.size += len(output.text)
        while self.size > limit:
            first = self.parts.popleft()
            cut = min(len(first), self.size - limit)
            self.offset, self.size = self.offset + cut, self.size - cut
            if cut < len(first):
                self.parts.appendleft(first[cut:])


class OutputTails:
    """The recent output of running builds.

    *limit* is the maximum for each build, *total_limit* for all together, in characters.
    """

    def __init__(self, limit: int = MAX_TAIL, total_limit: int = MAX_TAILS) -> None:
        self._limit, self._total_limit = limit, total_limit
        self._size = 0
        #: By slave, the one with the latest output last.
        self._tails: dict[int, OutputTail] = {}

    def add(self, output: Output) -> None:
        """Store *output*; above the total limit, drop the builds that were silent for longest."""
        tail = self._tails.pop(output.slave_id, None)
        self._size -= tail.size if tail is not None else 0
        if tail is None or (tail.package, tail.version) != (output.package, output.version):
            tail = OutputTail(output.package, output.version, output.offset)
        tail.add(output, self._limit)
        self._tails[output.slave_id] = tail
        self._size += tail.size
        while self._size > self._total_limit:
            self.drop(next(iter(self._tails)))

    def drop(self, slave_id: int) -> None:
        """Forget the output of a slave's build, which has ended."""
        tail = self._tails.pop(slave_id, None)
        self._size -= tail.size if tail is not None else 0

    def get(self, slave_id: int) -> Output | None:
        """Return the end of the output of a slave's build, or ``None`` if there is none."""
        tail = self._tails.get(slave_id)
        if tail is None:
            return None
        return Output(slave_id, tail.package, tail.version, tail.offset, "".join(tail.parts))

    def validate(self) -> None:
        """Raise ``AssertionError`` unless all invariants hold."""
        sizes = [sum(map(len, tail.parts)) for tail in self._tails.values()]
        assert sizes == [tail.size for tail in self._tails.values()]  # noqa: S101
        assert sum(sizes) == self._size <= self._total_limit  # noqa: S101
        assert max(sizes, default=0) <= self._limit  # noqa: S101


class Consoles:
    """The attached consoles: those that have sent HELLO and are not silent for too long.

    :meth:`identify`, :meth:`open_request` and :meth:`watch` raise ``Refused`` with a sentence for
    the console.
    """

    def __init__(self) -> None:
        self.attached: dict[bytes, Console] = {}

    def attach(self, requester: Requester, who: str, now: float, owner: str = "") -> None:
        """Attach a console of *owner*; if it is attached already, use its new ticket from now on.

        At the limit, the console that was silent for longest is detached: it has probably gone.
        """
        console = self.attached.get(requester.peer)
        if console is not None and console.owner == owner:
            console.who, console.ticket, console.last_contact = who, requester.ticket, now
            return
        if console is None and len(self.attached) >= MAX_CONSOLES:
            self.forget(min(self.attached, key=lambda peer: self.attached[peer].last_contact))
        self.attached[requester.peer] = Console(who, requester.ticket, now, owner)

    def identify(self, requester: Requester, now: float, owner: str = "") -> Console:
        """Return the console that sent a request, and record the time of contact."""
        console = self.attached.get(requester.peer)
        if console is None or console.owner != owner:
            raise Refused("HELLO", "send HELLO first, and again at least every 90 seconds")
        console.last_contact = now
        return console

    def open_request(self, requester: Requester) -> None:
        """Record that a request of an attached console waits for its answer."""
        tickets = self.attached[requester.peer].open_requests
        if requester.ticket in tickets:
            raise Refused("TICKET", "another request waits under this ticket: use a new ticket")
        if len(tickets) >= MAX_OPEN_REQUESTS:
            raise Refused("BUSY", f"{MAX_OPEN_REQUESTS} requests wait already: await their answers")
        tickets.add(requester.ticket)

    def close_request(self, requester: Requester) -> None:
        """Record that a request has its answer. Its console may have been forgotten."""
        console = self.attached.get(requester.peer)
        if console is not None:
            console.open_requests.discard(requester.ticket)

    def watch(self, requester: Requester, slave_id: int) -> None:
        """Send an attached console the output of the slave's builds, under this ticket."""
        watched = self.attached[requester.peer].watched
        if len(watched) >= MAX_WATCHED and slave_id not in watched:
            raise Refused("WATCH", f"{MAX_WATCHED} slaves are watched already: UNWATCH one")
        watched[slave_id] = requester.ticket

    def unwatch(self, requester: Requester, slave_id: int) -> None:
        """End :meth:`watch`."""
        self.attached[requester.peer].watched.pop(slave_id, None)

    def watchers(self, slave_id: int) -> Iterator[Requester]:
        """Yield the recipients of the output of the slave's build."""
        for peer, console in self.attached.items():
            if slave_id in console.watched:
                yield Requester(peer, console.watched[slave_id])

    def all(self) -> Iterator[Requester]:
        """Yield the recipients of events of the farm."""
        for peer, console in self.attached.items():
            yield Requester(peer, console.ticket)

    def forget(self, peer: bytes) -> None:
        """Forget a console that has left, or that does not read its messages."""
        self.attached.pop(peer, None)

    def tick(self, now: float) -> None:
        """Forget the consoles that have been silent for too long."""
        for peer, console in list(self.attached.items()):
            if now - console.last_contact > SILENCE:
                self.forget(peer)

    def validate(self) -> None:
        """Raise ``AssertionError`` unless all invariants hold."""
        assert len(self.attached) <= MAX_CONSOLES  # noqa: S101
        for console in self.attached.values():
            assert len(console.watched) <= MAX_WATCHED  # noqa: S101
            assert len(console.open_requests) <= MAX_OPEN_REQUESTS  # noqa: S101
