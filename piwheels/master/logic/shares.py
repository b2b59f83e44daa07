"""What each peer of an address may use: memory for messages that no task has read yet. Pure.

A *peer* is an IP address, a local process, or a key. A peer that floods an address uses up its own
share, and its further messages wait where they are.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple


class Most(NamedTuple):
    """The most of a share: bytes, frames, and messages that are larger than a window."""

    size: float
    frames: float
    large: int


#: A peer, so that others wait for few of its messages; and all together.
OF_PEER: Final = Most(32 * 2**20, 256, 2)
OF_ALL: Final = Most(64 * 2**20, math.inf, 3)
#: What a connection may use of the memory of all, even if nothing is left of it, in bytes.
ALWAYS: Final = 8 * 2**10


class Share:
    """What is in use of *most*, and who is *waiting* for more, in order."""

    def __init__(self, most: Most) -> None:
        self.most = most
        self.size = self.frames = self.large = 0
        self.waiting: dict[Any, None] = {}

    def has_room(self, size: int, *, large: bool) -> bool:
        """Return whether one more frame of *size* bytes fits."""
        most = self.most
        return (
            self.size + size <= most.size
            and self.frames < most.frames
            and not (large and self.large >= most.large)
        )

    @property
    def is_low(self) -> bool:
        """Whether it is time to let others use it: seldom, for many frames at a time."""
        return bool(self.waiting) and 2 * self.frames <= self.most.frames

    def add(self, size: int, frames: int, large: int) -> None:
        """Count what is used, or not any more (negative)."""
        self.size += size
        self.frames += frames
        self.large += large


class Connection:
    """The share of a connection, which is part of that of its *peer*, and of all.

    It may use *window* bytes, or one larger message at a time.
    """

    def __init__(self, window: int, peer: Share, of_all: Share) -> None:
        self._window = window
        self._own, self._all = Share(Most(math.inf, math.inf, 1)), of_all
        self.shares = [self._own, of_all, peer]

    @property
    def size(self) -> int:
        """The bytes that were passed on and not read yet."""
        return self._own.size

    @property
    def has_large(self) -> bool:
        """Whether a message is being handled that is larger than the window."""
        return self._own.large > 0

    def is_own(self, share: Share) -> bool:
        """Return whether nobody else uses *share*."""
        return share is self._own

    def take(self, size: int) -> Share | None:
        """Use *size* bytes for a frame; return the share without room for it (``None``: none)."""
        large = size > self._window
        if not large and self.size + size > max(self._window, ALWAYS):
            return self._own
        for share in self.shares:
            is_spared = share is self._all and self.size + size <= ALWAYS
            if not is_spared and not share.has_room(size, large=large):
                return share
        self._add(size, 1, int(large))
        return None

    def give_back(self, size: int, frames: int) -> None:
        """Stop using *size* bytes in *frames*, which a task has read."""
        self._add(-min(size, self._own.size), -min(frames, self._own.frames), 0)

    def finish_large(self) -> None:
        """Stop to handle a large message."""
        self._add(0, 0, -self._own.large)

    def close(self) -> None:
        """Stop using anything."""
        self._add(-self._own.size, -self._own.frames, -self._own.large)

    def join(self, share: Share) -> None:
        """Use a further *share*, too."""
        share.add(self._own.size, self._own.frames, self._own.large)
        self.shares.append(share)

    def _add(self, size: int, frames: int, large: int) -> None:
        for share in self.shares:
            share.add(size, frames, large)
