"""Which slaves have lost their connections, from the events of their socket."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import zmq

from piwheels.core.transport import split_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from piwheels.core.transport import Socket

#: How many events are read before other sockets are served.
BURST: Final = 1000


class Connections:
    """The connections to *queue*, a ROUTER. 0MQ names them by their file descriptors.

    A connection has one routing id, and an address for each of its lanes.
    """

    def __init__(self, queue: Socket) -> None:
        self._stack = ExitStack()
        #: Can be read when connections are lost: see :meth:`lost`.
        self.events = self._stack.enter_context(queue.monitor(zmq.EVENT_DISCONNECTED))
        self._addresses: dict[int, dict[bytes, None]] = {}

    def note(self, address: bytes, connection: int | None) -> Iterable[bytes]:
        """Record that a message of *address* came over *connection*.

        Return the addresses that had this connection before: they have lost it.
        """
        if connection is None:
            return ()
        known = self._addresses.setdefault(connection, {})
        if address in known:
            return ()
        peer = split_address(address)[0]
        if all(split_address(each)[0] == peer for each in known):
            known[address] = None
            return ()
        self._addresses[connection] = {address: None}
        return known

    def lost(self) -> Iterator[bytes]:
        """Yield the addresses that have lost their connections since the last call."""
        for _ in range(BURST):
            if not self.events.poll(0):
                return
            _, connection = self.events.recv_event()
            yield from self._addresses.pop(connection, ())

    def close(self) -> None:
        """Stop the events. Call it before the socket is closed."""
        self._stack.close()
