"""What each peer of an address may use: connections, and memory for messages not read yet. Pure.

A *peer* is an IP address, a local process, or a key. Whoever floods an address uses up its own
share, and when an address is full, the peer with the most connections loses one to a newcomer.
"""

from __future__ import annotations

from typing import Final

#: The memory for messages that a task has not read, in bytes: what a connection may always use;
#: with less than that, a connection may send a message of any size; of one peer; of all.
ALWAYS: Final = 8 * 2**10
OF_PEER, OF_ALL = 32 * 2**20, 96 * 2**20
#: The most handshakes of a peer at one time.
HANDSHAKES: Final = 100


class Share:
    """A part of the memory that is in *use*, of at most *most* bytes."""

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0

    def has_room(self, size: int) -> bool:
        """Return whether *size* more bytes fit."""
        return self.used + size <= self.most


class Connection:
    """The share of a connection: *window* bytes, or one larger message at a time."""

    def __init__(self, window: int, *shares: Share) -> None:
        self._own, self.shares = Share(window), list(shares)

    @property
    def used(self) -> int:
        """The bytes that have been passed on and were not read yet."""
        return self._own.used

    @property
    def is_large(self) -> bool:
        """Whether a message is on its way that is larger than the window."""
        return self._own.used > self._own.most

    def take(self, size: int) -> Share | None:
        """Use *size* bytes; return the share that has no room for them (``None``: all have)."""
        full = self._full(size)
        if full is None:
            self._add(size)
        return full

    def _full(self, size: int) -> Share | None:
        if self.used + size <= ALWAYS:
            return None
        if not self._own.has_room(size) and self.used > ALWAYS:
            return self._own
        return next((share for share in self.shares if not share.has_room(size)), None)

    def give_back(self, size: int) -> None:
        """Stop using *size* bytes, which a task has read."""
        self._add(-min(size, self.used))

    def join(self, share: Share) -> None:
        """Use memory of a further *share*, too."""
        share.used += self.used
        self.shares.append(share)

    def _add(self, size: int) -> None:
        for share in (self._own, *self.shares):
            share.used += size
