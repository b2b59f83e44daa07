"""Accepts the connections to the master's ``ipc`` addresses, and limits their number.

0MQ accepts any number, and ends the process if no file descriptor is left for one to an ``ipc``
address. Therefore a thread of our own listens on these addresses, and relays the bytes of each
connection to 0MQ, which listens on an address next to it that nobody else knows.
"""

from __future__ import annotations

import dataclasses
import os
import selectors
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal
from piwheels.core.host.descriptors import (
    are_critical,
    most_local_connections,
    report_too_many,
)
from piwheels.core.tasks import Faults
from piwheels.core.transport import bind_error, prepare_folder

if TYPE_CHECKING:
    import logging

    from piwheels.master.wiring import MasterConfig

#: The bytes that are read at a time.
_PART: Final = 256 * 1024
#: How long an address that has too many connections lets nobody in, before all are closed; and how
#: long it pauses while 0MQ does not listen yet or descriptors are nearly used up, in seconds.
_FULL, _PAUSE = 2.0, 0.1
#: The longest waits for the sockets in one turn, in seconds: while an address is full; otherwise.
_SOON, _CYCLE = 0.05, 0.25
#: How long the last bytes may take when the master ends, in seconds.
_LAST: Final = 1.0


def inner_config(config: MasterConfig) -> MasterConfig:
    """Return *config* with the addresses on which 0MQ listens in place of the public ones."""
    inner: dict[str, Any] = {name: _inner(address) for name, address in _public(config).items()}
    return dataclasses.replace(config, **inner)


def _public(config: MasterConfig) -> dict[str, str]:
    """Return the addresses for other programs with a socket file, by option."""
    names = [field.name for field in dataclasses.fields(config) if field.name.endswith("_queue")]
    found = {name: getattr(config, name) for name in names}
    return {
        name: address
        for name, address in found.items()
        if address.startswith("ipc://") and not address.startswith("ipc://@")
    }


def _inner(address: str) -> str:
    return f"{address}~"


class _Address:
    """An address for other programs: its *listener*, and its connections."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.path = address.removeprefix("ipc://")
        self.connections: set[_End] = set()
        self.listener: socket.socket | None = None
        #: When it may accept again (0: it accepts now), and since when it is full (0: it is not).
        self.resume = self.full_since = 0.0
        self.times_full = 0

    def __str__(self) -> str:
        return self.address

    def listen(self) -> None:
        """Begin to listen. Raises ``Fatal``."""
        prepare_folder(self.address)
        listener = socket.socket(socket.AF_UNIX)
        old = os.umask(0o077)
        try:
            Path(self.path).unlink(missing_ok=True)
            listener.bind(self.path)
        except OSError as exc:
            listener.close()
            raise Fatal(bind_error(self.address, exc)) from exc
        finally:
            os.umask(old)
        listener.listen(100)
        listener.setblocking(False)
        self.listener = listener


class _End:
    """One end of a relayed connection: its bytes go to *other*, which keeps them in *unsent*."""

    other: _End

    def __init__(self, address: _Address, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.address, self.socket = address, sock
        self.unsent = b""
        #: Whether nothing follows what is unsent.
        self.ending = False

    def __str__(self) -> str:
        return str(self.address)

    @property
    def is_closed(self) -> bool:
        """Whether it is closed: the other end is, too."""
        return self.socket.fileno() < 0


class LocalConnections(threading.Thread):
    """Relays the connections to all ``ipc`` addresses of *config*.

    An address has at most :func:`~piwheels.core.host.descriptors.most_local_connections`. Further
    clients wait. If nobody leaves for a while, all connections of the address are closed; programs
    connect again by themselves. Raises ``Fatal`` if it cannot listen.
    """

    def __init__(self, config: MasterConfig, logger: logging.Logger) -> None:
        super().__init__(name="local_connections", daemon=True)
        self._logger, self._faults = logger, Faults(logger)
        self._addresses = [_Address(each) for each in _public(config).values()]
        self._selector = selectors.DefaultSelector()
        self._stopping = threading.Event()
        try:
            for each in self._addresses:
                each.listen()
        except BaseException:
            self._close_listeners()
            raise

    def stop(self) -> None:
        """Send the last bytes, then close all connections."""
        self._stopping.set()
        if self.is_alive():
            self.join(2 * _LAST)
        self._close_listeners()

    def run(self) -> None:
        """Relay until :meth:`stop`."""
        deadline = None
        while True:
            now = SYSTEM.monotonic()
            if self._stopping.is_set():
                deadline = deadline or now + _LAST
                if now > deadline or not any(each.connections for each in self._addresses):
                    break
            else:
                for each in self._addresses:
                    self._admit(each, now)
            waits = any(each.full_since or each.resume > now for each in self._addresses)
            for key, events in self._selector.select(_SOON if waits or deadline else _CYCLE):
                try:
                    self._handle(key.data, events)
                except Exception as exc:  # noqa: BLE001 (one connection never ends the thread)
                    self._faults.unexpected(f"a connection to {key.data}", exc)
                    if isinstance(key.data, _End):
                        self._close(key.data)
        for each in self._addresses:
            self._close_all(each)

    def _handle(self, source: _Address | _End, events: int) -> None:
        if isinstance(source, _Address):
            self._accept(source)
        else:
            self._relay(source, events)

    # Accepting ----------------------------------------------------------------------------------

    def _admit(self, address: _Address, now: float) -> None:
        """Listen as long as there is room for further connections."""
        assert address.listener is not None  # noqa: S101
        full = len(address.connections) >= most_local_connections()
        if not full:
            address.full_since = 0.0
        elif not address.full_since:
            address.full_since = now
        elif now - address.full_since > _FULL:
            self._close_all(address)
            address.full_since = 0.0
            address.times_full += 1
            report_too_many(self._logger, address.address, address.times_full)
            full = False
        may_accept = not full and now >= address.resume
        self._watch(address.listener, address, selectors.EVENT_READ if may_accept else 0)

    def _accept(self, address: _Address) -> None:
        assert address.listener is not None  # noqa: S101
        starting = not Path(_inner(address.path)).exists()
        full = len(address.connections) >= most_local_connections()
        if starting or full or are_critical():
            address.resume = SYSTEM.monotonic() + _PAUSE
            self._watch(address.listener, address, 0)
            return
        client = inner = None
        try:
            client = address.listener.accept()[0]
            inner = socket.socket(socket.AF_UNIX)
            inner.settimeout(1)
            inner.connect(_inner(address.path))
        except OSError:  # the client has gone; the master ends; nothing is left
            for each in (client, inner):
                if each is not None:
                    each.close()
            return
        ends = _End(address, client), _End(address, inner)
        ends[0].other, ends[1].other = reversed(ends)
        address.connections.add(ends[0])
        for end in ends:
            self._watch(end.socket, end, selectors.EVENT_READ)

    # Relaying -----------------------------------------------------------------------------------

    def _relay(self, end: _End, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE and not end.is_closed:
                self._send(end, b"")
            if events & selectors.EVENT_READ and not end.is_closed:
                data = end.socket.recv(_PART)
                end.other.ending = not data
                self._send(end.other, data)
        except BlockingIOError:
            pass
        except OSError:
            self._close(end)

    def _send(self, end: _End, data: bytes) -> None:
        """Send *data*; read no more from the other end until it is sent."""
        end.unsent += data
        with suppress(BlockingIOError):
            end.unsent = end.unsent[end.socket.send(end.unsent) :] if end.unsent else b""
        if end.ending and not end.unsent:
            self._close(end)
            return
        write = selectors.EVENT_WRITE if end.unsent else 0
        self._watch(end.socket, end, write | (0 if end.other.unsent else selectors.EVENT_READ))
        other_write = selectors.EVENT_WRITE if end.other.unsent else 0
        self._watch(
            end.other.socket, end.other, other_write | (0 if write else selectors.EVENT_READ)
        )

    def _watch(self, sock: socket.socket, data: _Address | _End, events: int) -> None:
        """Watch *sock* for *events* only."""
        known = self._selector.get_map().get(sock)
        if known is None:
            if events:
                self._selector.register(sock, events, data)
        elif not events:
            self._selector.unregister(sock)
        elif known.events != events:
            self._selector.modify(sock, events, data)

    # Ends ---------------------------------------------------------------------------------------

    def _close(self, end: _End) -> None:
        if end.is_closed:
            return
        end.address.connections -= {end, end.other}
        for each in (end, end.other):
            self._watch(each.socket, each, 0)
            each.socket.close()

    def _close_all(self, address: _Address) -> None:
        for end in list(address.connections):
            self._close(end)

    def _close_listeners(self) -> None:
        for each in self._addresses:
            if each.listener is not None:
                each.listener.close()
                each.listener = None
                for path in (each.path, _inner(each.path)):
                    Path(path).unlink(missing_ok=True)
