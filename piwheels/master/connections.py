"""Which slaves have lost their connections, from the events of their socket."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import zmq

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piwheels.core.transport import Socket

#: How many events are read before other sockets are served.
BURST: Final = 1000


class Connections:
    """The connections to *queue*, a ROUTER. 0MQ names them by their file descriptors."""

    def __init__(self, queue: Socket) -> None:
        self._stack = ExitStack()
        #: Can be read when connections are lost: see :meth:`lost`.
        self.events = self._stack.enter_context(queue.monitor(zmq.EVENT_DISCONNECTED))
        self._addresses: dict[int, bytes] = {}

    def note(self, address: bytes, connection: int | None) -> bytes | None:
        """Record that a message of *address* came over *connection*.

        Return the address that had this connection before: it has lost it.
        """
        if connection is None or (before := self._addresses.get(connection)) == address:
            return None
        self._addresses[connection] = address
        return before

    def lost(self) -> Iterator[bytes]:
        """Yield the addresses that have lost their connections since the last call."""
        for _ in range(BURST):
            if not self.events.poll(0):
                return
            _, connection = self.events.recv_event()
            if (address := self._addresses.pop(connection, None)) is not None:
                yield address

    def close(self) -> None:
        """Stop the events. Call it before the socket is closed."""
        self._stack.close()
