"""The consoles of level 1: who is attached, who watches what, and what builds have said of late.

Time is an argument, in seconds of a clock that only goes on. A console is known by *peer*, the
address of its connection; what it is told carries the *ticket* of the request that asked for it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from piwheels.core.errors import Refused
from piwheels.core.protocols import Output

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How many consoles may be attached, and how long each may be silent (seconds).
MAX_CONSOLES, SILENCE = 100, 90.0
#: How many slaves a console may watch, and how many of its questions may wait for an answer.
MAX_WATCHED, MAX_OPEN = 100, 16
#: How much is kept of what a build says, and of all together, in characters.
TAIL, TAILS = 2**16, 2**25


class Asker(NamedTuple):
    """Where something goes to: a console, and the ticket of what it asked."""

    peer: bytes
    ticket: bytes


@dataclass(slots=True, eq=False)
class Console:
    """A console that is attached: *who* operates it, the *ticket* of its HELLO, when last heard."""

    who: str
    ticket: bytes
    heard: float
    #: The slaves that it watches, with the tickets of its WATCHes.
    watched: dict[int, bytes] = field(default_factory=dict)
    #: The tickets of its questions that wait for an answer.
    open: set[bytes] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Tail:
    """The end of what one build has said: *parts*, the first of which begins at *offset*."""

    package: str
    version: str
    offset: int
    parts: deque[str] = field(default_factory=deque)
    size: int = 0

    def add(self, said: Output, most: int) -> None:
        """Take the next part; if it does not follow on what is here, that goes."""
        if said.offset != self.offset + self.size:
            self.parts.clear()
            self.offset, self.size = said.offset, 0
        self.parts.append(said.text)
        self.size += len(said.text)
        while self.size > most:
            first = self.parts.popleft()
            cut = min(len(first), self.size - most)
            self.offset, self.size = self.offset + cut, self.size - cut
            if cut < len(first):
                self.parts.appendleft(first[cut:])


class Tails:
    """What the running builds have said of late: *each* and *all_of_them* at most (characters)."""

    def __init__(self, each: int = TAIL, all_of_them: int = TAILS) -> None:
        self._each, self._most = each, all_of_them
        self._size = 0
        #: By slave; who has just said something is the last.
        self._tails: dict[int, Tail] = {}

    def add(self, said: Output) -> None:
        """Keep what a build has said; if that is too much, who was silent for longest goes."""
        tail = self._tails.pop(said.slave_id, None)
        self._size -= tail.size if tail is not None else 0
        if tail is None or (tail.package, tail.version) != (said.package, said.version):
            tail = Tail(said.package, said.version, said.offset)
        tail.add(said, self._each)
        self._tails[said.slave_id] = tail
        self._size += tail.size
        while self._size > self._most:
            self.drop(next(iter(self._tails)))

    def drop(self, slave_id: int) -> None:
        """Forget what the build of a slave has said: it is over."""
        tail = self._tails.pop(slave_id, None)
        self._size -= tail.size if tail is not None else 0

    def of(self, slave_id: int) -> Output | None:
        """Return the end of what a slave's build has said, if it has said anything."""
        tail = self._tails.get(slave_id)
        if tail is None:
            return None
        return Output(slave_id, tail.package, tail.version, tail.offset, "".join(tail.parts))

    def validate(self) -> None:
        """Raise ``AssertionError`` unless all that must hold between events does."""
        sizes = [sum(map(len, tail.parts)) for tail in self._tails.values()]
        assert sizes == [tail.size for tail in self._tails.values()]  # noqa: S101
        assert sum(sizes) == self._size <= self._most  # noqa: S101
        assert max(sizes, default=0) <= self._each  # noqa: S101


class Consoles:
    """All consoles that have said HELLO and were heard of since. Who is not among them is told so.

    The methods that take an :class:`Asker` raise ``Refused`` with a sentence for it.
    """

    def __init__(self) -> None:
        self.attached: dict[bytes, Console] = {}

    def greet(self, asker: Asker, who: str, now: float) -> None:
        """Attach a console, or hear of it again: from now on it is told under the new ticket.

        Where too many are attached, who was silent for longest (most likely gone) makes room.
        """
        console = self.attached.get(asker.peer)
        if console is not None:
            console.who, console.ticket, console.heard = who, asker.ticket, now
            return
        if len(self.attached) >= MAX_CONSOLES:
            self.forget(min(self.attached, key=lambda peer: self.attached[peer].heard))
        self.attached[asker.peer] = Console(who, asker.ticket, now)

    def heard(self, asker: Asker, now: float) -> Console:
        """Return the console that asks, and note that it is there."""
        console = self.attached.get(asker.peer)
        if console is None:
            raise Refused("HELLO", "say HELLO first, and again at least every 90 seconds")
        console.heard = now
        return console

    def opened(self, asker: Asker) -> None:
        """Note that a question of an attached console waits for its answer."""
        tickets = self.attached[asker.peer].open
        if asker.ticket in tickets:
            raise Refused("TICKET", "another question waits under this ticket: take another")
        if len(tickets) >= MAX_OPEN:
            raise Refused("BUSY", f"{MAX_OPEN} questions wait already: await their answers")
        tickets.add(asker.ticket)

    def closed(self, asker: Asker) -> None:
        """Note that a question has its answer; its console may be gone by now."""
        console = self.attached.get(asker.peer)
        if console is not None:
            console.open.discard(asker.ticket)

    def watch(self, asker: Asker, slave_id: int) -> None:
        """Have an attached console told, under this ticket, what the slave's builds say."""
        watched = self.attached[asker.peer].watched
        if len(watched) >= MAX_WATCHED and slave_id not in watched:
            raise Refused("WATCH", f"{MAX_WATCHED} slaves are watched already: UNWATCH one")
        watched[slave_id] = asker.ticket

    def unwatch(self, asker: Asker, slave_id: int) -> None:
        """End :meth:`watch`."""
        self.attached[asker.peer].watched.pop(slave_id, None)

    def watchers(self, slave_id: int) -> Iterator[Asker]:
        """Give who is to be told what the slave's build says."""
        for peer, console in self.attached.items():
            if slave_id in console.watched:
                yield Asker(peer, console.watched[slave_id])

    def everyone(self) -> Iterator[Asker]:
        """Give who is to be told what happens on the farm."""
        for peer, console in self.attached.items():
            yield Asker(peer, console.ticket)

    def forget(self, peer: bytes) -> None:
        """Forget a console: it has left, or does not read what it is sent."""
        self.attached.pop(peer, None)

    def tick(self, now: float) -> None:
        """Forget the consoles that were silent for too long."""
        for peer, console in list(self.attached.items()):
            if now - console.heard > SILENCE:
                self.forget(peer)

    def validate(self) -> None:
        """Raise ``AssertionError`` unless all that must hold between events does."""
        assert len(self.attached) <= MAX_CONSOLES  # noqa: S101
        for console in self.attached.values():
            assert len(console.watched) <= MAX_WATCHED  # noqa: S101
            assert len(console.open) <= MAX_OPEN  # noqa: S101
