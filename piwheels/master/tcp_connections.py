"""Limits the number of connections to the master's ``tcp`` addresses.

Otherwise a program that opens too many would use up the file descriptors of this process. Local
connections have their own limit (:mod:`piwheels.master.local_connections`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal
from piwheels.core.host.descriptors import are_scarce, has_too_many, report_too_many

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable

    from piwheels.core.clock import Clock
    from piwheels.core.transport import Socket

#: How long an address with too many connections is closed, in seconds: longer while file
#: descriptors are still scarce.
CLOSED_AT_LEAST, CLOSED_AT_MOST = 0.25, 2.0


@dataclass
class _Listener:
    """A *socket* that listens on *address*, unless it is closed since then."""

    socket: Socket
    address: str
    closed_at: float | None = None
    times_closed: int = 0


class TcpConnections:
    """The connections to those *sockets* that listen on ``tcp`` addresses."""

    def __init__(
        self, sockets: Iterable[Socket], logger: logging.Logger, clock: Clock = SYSTEM
    ) -> None:
        self._logger, self._clock = logger, clock
        self._listeners = [
            _Listener(socket, address)
            for socket in sockets
            for address in socket.bound
            if address.startswith("tcp:")
        ]

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def limit(self) -> None:
        """Close all connections of an address that has too many, and listen again a moment later.

        Call it every :func:`~piwheels.core.host.descriptors.check_interval` seconds. Programs
        connect again by themselves.
        """
        scarce = are_scarce()
        for each in self._listeners:
            if each.closed_at is not None:
                self._listen_again(each, self._clock.monotonic() - each.closed_at, scarce=scarce)
            elif scarce and has_too_many(each.address):
                self._close(each)

    def _close(self, listener: _Listener) -> None:
        listener.socket.unbind(listener.address)
        listener.closed_at = self._clock.monotonic()
        listener.times_closed += 1
        report_too_many(self._logger, listener.address, listener.times_closed)

    def _listen_again(self, listener: _Listener, closed_for: float, *, scarce: bool) -> None:
        """Bind an address that was closed, once the connections are closed, or after a while."""
        if closed_for < (CLOSED_AT_MOST if scarce else CLOSED_AT_LEAST):
            return
        try:
            listener.socket.bind(listener.address)
        except Fatal as exc:  # 0MQ takes a moment to close it
            if closed_for > CLOSED_AT_MOST:
                listener.closed_at = self._clock.monotonic()
                self._logger.error("%s, trying again", exc)
        else:
            listener.closed_at = None
