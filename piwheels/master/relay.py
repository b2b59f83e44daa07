"""Accepts the connections of other programs and machines, and relays their bytes to 0MQ.

0MQ accepts any number of connections, assembles messages of any number of frames, and stops the
process if a peer resets its connection while 0MQ waits for room. Therefore a thread of our own
listens on all addresses for other programs. It counts the frames and bytes that a task has not read
yet, and passes on no more than there is room for. 0MQ listens on sockets that nobody else knows,
never waits, and never sees a connection break.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal, PiWheelsError
from piwheels.core.host.descriptors import are_critical, limit
from piwheels.core.repeats import Repeats
from piwheels.core.tasks import Faults
from piwheels.core.transport import LOST_AFTER, bind_error, prepare_folder
from piwheels.master.gate import Guard
from piwheels.master.logic import shares
from piwheels.master.logic.zmtp import REFUSAL, Incoming, Rules

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable, Sequence

    from piwheels.master.gate import Entrance, Gate

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
#: The bytes that are read at a time, those that the kernel moves at a time if more are to come of
#: one frame, and the connections that are accepted at a time.
_PART, _MOVED, _BURST = 32 * 1024, 2**20, 100
#: The share of the open files that the connections to an address may number, for TCP and for local
#: programs: each needs three files. The most connections of one peer to an address.
_TCP, _LOCAL, _OF_PEER = 1 / 12, 1 / 50, 1000
#: The most handshakes of a peer with an address at one time, and its most connections in a second.
_HANDSHAKES, _A_SECOND = 100, 200
#: The seconds for a handshake, for the last bytes to a client, and for the end of the master.
_HANDSHAKE, _LAST, _END = 10.0, 5.0, 1.0
#: For how many seconds a connection may wait for room, before somebody is cut; and how long a large
#: message may be handled without an answer, before the next one is passed on.
_PATIENCE, _ANSWER = 60.0, 5.0
#: The bytes that wait for a client that does not read; of one, and of all.
_UNREAD, _ALL_UNREAD = 32 * 2**20, 64 * 2**20
#: The longest waits in one turn, in seconds: at an end, otherwise. How often to look for time-outs.
_SOON, _CYCLE = 0.05, 0.25


class Door(NamedTuple):
    """An *address* for other programs, and the *inner* one on which 0MQ listens for them.

    *wire* is what it belongs to; *window* is how many unread bytes a connection may have.
    """

    wire: Entrance
    address: str
    inner: str
    guard: Guard
    rules: Rules
    window: int

    @property
    def is_tcp(self) -> bool:
        """Whether other machines may reach it."""
        return self.address.startswith("tcp:")


class _Peer(shares.Share):
    def __init__(self, name: str) -> None:
        super().__init__(shares.OF_PEER)
        self.name = name
        self.clients: dict[Client, None] = {}
        self.handshakes = 0
        #: When it has last connected (a whole second), and how often since then.
        self.connected, self.times = 0.0, 0

    def is_idle(self, now: float) -> bool:
        """Return whether it has no connections, nor had any a moment ago."""
        return not self.clients and now - self.connected > 2

    def connects(self, second: float) -> int:
        """Note a new connection; return how many there were within this *second*."""
        if self.connected != second:
            self.connected, self.times = second, 0
        self.times += 1
        return self.times


class _Listener:
    """What listens at *door*, and who has connected."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.sockets: list[socket.socket] = []
        self.clients: set[Client] = set()
        self.peers: dict[str, _Peer] = {}
        self.most = limit() * (_TCP if door.is_tcp else _LOCAL)
        self.most_of_peer = min(_OF_PEER, self.most)
        self.is_accepting = False

    def peer(self, name: str) -> _Peer:
        return self.peers.get(name) or self.peers.setdefault(name, _Peer(name))


class Client:
    """One connection: to a client, and to 0MQ (*inner*)."""

    def __init__(
        self,
        listener: _Listener,
        sock: socket.socket,
        peer: _Peer,
        of_all: shares.Share,
        place: str,
    ) -> None:
        self.door, self.listener, self.place = listener.door, listener, place
        self.socket = sock
        self.inner: socket.socket | None = None
        self.peers = [peer]
        self.share = shares.Connection(self.door.window, peer, of_all)
        checked, curve = (self.door.guard is each for each in (Guard.ADDRESSES, Guard.KEYS))
        self.incoming = Incoming(self.door.rules, place if checked else "", curve=curve)
        #: What the client has sent, and has not been passed on; what was, and is not sent yet.
        self.held, self.to_inner, self.to_client = b"", bytearray(), bytearray()
        #: The share without room for its next frame: just now, and since when it waits for it.
        self.blocked: shares.Share | None = None
        self.full: shares.Share | None = None
        self.full_since = 0.0
        #: When a task has last read a message, and when a large message has begun.
        self.progress = self.began = SYSTEM.monotonic()
        #: When the connection ends at the latest, and whether the client has sent everything.
        self.deadline: float | None = self.progress + _HANDSHAKE
        self.has_ended = self.is_closed = False
        #: Its key; ``""``: none, or not known before the first message, which it may have sent.
        self.user, self.has_spoken = "", False


class Relay(threading.Thread):
    """Relays the connections to *doors*. Raises ``Fatal`` if it cannot listen.

    *gate* decides whose addresses are admitted without a key.
    """

    def __init__(self, doors: Iterable[Door], gate: Gate | None, logger: logging.Logger) -> None:
        super().__init__(name="relay", daemon=True)
        self.doors = {door.inner: door for door in doors}
        self._gate, self._logger, self._faults = gate, logger, Faults(logger)
        self._repeats = Repeats(logger)
        self._listeners = [_Listener(door) for door in self.doors.values()]
        #: All connections, by the name of their inner socket; those with a deadline; those that
        #: wait for room.
        self._named: dict[bytes, Client] = {}
        self._timed: dict[Client, None] = {}
        self._full: dict[Client, None] = {}
        #: Those whose large message is being handled.
        self._large: dict[Client, None] = {}
        #: The shares of which less is in use now, and whether this thread will wake up.
        self._freed: dict[shares.Share, None] = {}
        self._is_woken = False
        self._shared = shares.Share(shares.OF_ALL)
        self._unread = 0
        self._buffer = memoryview(bytearray(_PART))
        self._pipe = os.pipe2(os.O_NONBLOCK)
        with suppress(OSError):  # then less is moved at a time
            fcntl.fcntl(self._pipe[1], fcntl.F_SETPIPE_SZ, _MOVED)
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[int, Callable[[Any, int], None], Any]] = {}
        #: What other threads report: read messages, users, and connections to be cut.
        self._news: deque[tuple[Client, int, int, str]] = deque()
        self._waker, self._woken = socket.socketpair()
        self._stopping = threading.Event()
        self._next_look = 0.0
        for each in (self._waker, self._woken):
            each.setblocking(False)
        self._watch(self._woken, _IN, self._drain, "news")
        try:
            for listener in self._listeners:
                _listen(listener)
        except BaseException:
            self._release()
            raise

    # For other threads --------------------------------------------------------------------------

    def taken(self, descriptor: int | None, frames: Sequence[bytes]) -> Client | None:
        """Note that a task has read a message of these *frames*; return its connection.

        *descriptor* is the file on which 0MQ has received it.
        """
        client = self._named.get(_name_of_peer(descriptor)) if descriptor is not None else None
        if client is not None:
            client.has_spoken = True
            self._news.append((client, client.incoming.memory(frames), len(frames), ""))
            if self._full and not self._is_woken:
                self._wake()
        return client

    def identify(self, client: Client, user: str) -> None:
        """Note the *user* of a connection: its key."""
        if client.user != user and client.door.guard is Guard.KEYS:
            client.user = user
            self._news.append((client, 0, 0, user))

    def cut(self, is_meant: Callable[[Client], bool]) -> None:
        """Cut the connections with keys that *is_meant* returns true for."""
        for client in list(self._named.values()):
            if client.door.guard is Guard.KEYS and is_meant(client):
                self._news.append((client, -1, 0, ""))
        self._wake()

    def stop(self) -> None:
        """Send the last bytes, then close all connections."""
        self._stopping.set()
        self._wake()
        if self.is_alive():
            self.join(3 * _END)
        if not self.is_alive() and not self._epoll.closed:
            self._release()

    def _wake(self) -> None:
        self._is_woken = True
        with suppress(OSError):  # it will wake up anyway
            self._waker.send(b"x")

    # The loop -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Relay until :meth:`stop`."""
        deadline = None
        while True:
            now = SYSTEM.monotonic()
            self._read_news(now)
            if self._stopping.is_set():
                deadline = deadline or now + _END
                if now > deadline or not any(each.clients for each in self._listeners):
                    break
            if now >= self._next_look:
                self._next_look = now + _CYCLE
                self._look(now)
            for number, events in self._epoll.poll(_SOON if deadline else _CYCLE):
                if number in self._watched:
                    self._handle(number, events)
        for client in [each for listener in self._listeners for each in listener.clients]:
            self._close(client)

    def _handle(self, number: int, events: int) -> None:
        _, handler, whose = self._watched[number]
        try:
            handler(whose, events)
        except Exception as exc:  # noqa: BLE001 (one connection never ends the thread)
            self._failed(whose, exc)

    def _failed(self, whose: object, exc: Exception) -> None:
        """Close the connection that has caused an error, if it was one."""
        client = whose if isinstance(whose, Client) else None
        if not isinstance(exc, (PiWheelsError, OSError)) or client is None:
            where = client.door.address if client is not None else "the master"
            self._faults.unexpected(f"a connection to {where}", exc)
        if client is not None:
            self._drop(client, str(exc) if isinstance(exc, PiWheelsError) else "")

    def _drain(self, _: object, __: int) -> None:
        with suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass

    def _read_news(self, now: float) -> None:
        self._is_woken = False
        for _ in range(len(self._news)):
            client, size, frames, user = self._news.popleft()
            if client.is_closed:
                continue
            if size < 0:
                self._close(client)
                continue
            client.share.give_back(size, frames)
            client.progress = now
            self._freed.update(dict.fromkeys(client.share.shares))
            if user:
                self._join(client, user)
        freed, self._freed = self._freed, {}
        for share in freed:
            while share.is_low:
                client = next(iter(share.waiting))
                self._try(client)
                if client in share.waiting:
                    break

    def _try(self, client: Client) -> None:
        try:
            self._pass(client, client.held)
        except Exception as exc:  # noqa: BLE001 (as above)
            self._failed(client, exc)

    def _answered(self, client: Client) -> None:
        """Let another large message come, because that of *client* has been handled."""
        self._large.pop(client, None)
        client.share.finish_large()
        self._freed.update(dict.fromkeys(client.share.shares))

    def _look(self, now: float) -> None:
        """Accept connections if 0MQ listens, and cut those that take too long."""
        self._repeats.summarise()
        for listener in self._listeners:
            for peer in [each for each in listener.peers.values() if each.is_idle(now)]:
                del listener.peers[peer.name]
            self._accept_if(listener, accepts=not self._stopping.is_set() and not are_critical())
        for client in [each for each in self._timed if each.deadline and each.deadline < now]:
            late = not client.incoming.is_open
            self._drop(client, "it does not complete its handshake" if late else "")
        for client in list(self._large):
            if not client.share.size and now - client.progress > _ANSWER:
                self._answered(client)
        for client in [each for each in self._full if now - each.full_since > _PATIENCE]:
            self._make_room(client, now)

    def _make_room(self, waiting: Client, now: float) -> None:
        """Cut whose message has no end, or takes so long that others cannot send theirs."""
        if waiting.full is not None and waiting.share.is_own(waiting.full):
            if waiting.incoming.is_curve and now - waiting.progress > _PATIENCE:
                self._drop(waiting, "it sends a message without an end")
            return
        slow = [
            each for each in self._large
            if waiting.full in each.share.shares and now - each.began > _PATIENCE
        ]  # fmt: skip
        if slow:
            self._drop(slow[0], "its message takes too long")

    def _watch(
        self, sock: socket.socket, events: int, handler: Callable[[Any, int], None], whose: Any
    ) -> None:
        """Watch *sock* for *events* only, for which *handler* is called with *whose* it is."""
        number = sock.fileno()
        before = self._watched.get(number)
        if not events:
            if before is not None:
                self._epoll.unregister(number)
                del self._watched[number]
        elif before is None:
            self._epoll.register(number, events)
            self._watched[number] = events, handler, whose
        elif before[0] != events:
            self._epoll.modify(number, events)
            self._watched[number] = events, handler, whose

    # Accepting ----------------------------------------------------------------------------------

    def _accept_if(self, listener: _Listener, *, accepts: bool) -> None:
        if accepts and not listener.is_accepting:  # 0MQ begins to listen after us
            accepts = Path(listener.door.inner.removeprefix("ipc://")).exists()
        if accepts != listener.is_accepting:
            listener.is_accepting = accepts
            for sock in listener.sockets:
                self._watch(sock, _IN if accepts else 0, self._accept, (listener, sock))

    def _accept(self, whose: tuple[_Listener, socket.socket], _: int) -> None:
        listener, sock = whose
        for _ in range(_BURST):
            try:
                client, address = sock.accept()
            except OSError:  # nobody waits, or no file descriptor is left
                return
            try:
                self._admit(listener, client, address)
            except OSError:
                client.close()
        if are_critical():
            self._accept_if(listener, accepts=False)

    def _admit(self, listener: _Listener, sock: socket.socket, address: Any) -> None:
        sock.setblocking(False)
        place, name = _place(sock, address)
        peer = listener.peer(name)
        if why := self._why_refused(listener, peer):
            sock.close()
            self._report(listener.door, place, why)
            return
        if listener.door.is_tcp:
            _keep_alive(sock)
        client = Client(listener, sock, peer, self._shared, place)
        listener.clients.add(client)
        peer.clients[client] = None
        peer.handshakes += 1
        self._timed[client] = None
        gate = self._gate
        if gate is not None and listener.door.guard is Guard.ADDRESSES:
            try:
                gate.check_address(listener.door.wire, place)
            except PiWheelsError as exc:
                self._refuse(client, str(exc))
                return
        self._update(client)

    def _why_refused(self, listener: _Listener, peer: _Peer) -> str:
        """Return why a connection of *peer* is refused; ``""``: it has a place."""
        count = len(peer.clients)
        if count >= listener.most_of_peer or peer.handshakes >= _HANDSHAKES:
            return f"too many connections, {count:,} are open"
        if peer.connects(SYSTEM.monotonic() // 1) > _A_SECOND:
            return "it connects too often"
        if len(listener.clients) < listener.most:
            return ""
        heaviest = max(listener.peers.values(), key=lambda each: len(each.clients))
        if len(heaviest.clients) <= count + 1:
            return f"too many connections of all, {len(listener.clients):,} are open"
        self._drop(
            min(heaviest.clients, key=lambda each: each.has_spoken),
            f"too many connections of all, and most of one peer: {len(heaviest.clients):,}",
        )
        return ""

    def _refuse(self, client: Client, why: str) -> None:
        """Tell a client that it is not admitted."""
        self._report(client.door, client.place, why)
        client.has_ended = True
        client.to_client += REFUSAL
        self._unread += len(REFUSAL)
        self._end(client)
        self._update(client)

    def _join(self, client: Client, user: str) -> None:
        """Count a connection among those of a key, too."""
        peer = client.listener.peer(f"key {user}")
        if len(peer.clients) >= client.listener.most_of_peer:
            self._drop(client, f"too many connections of one key, {len(peer.clients):,} are open")
            return
        peer.clients[client] = None
        client.peers.append(peer)
        client.share.join(peer)

    # Relaying -----------------------------------------------------------------------------------

    def _update(self, client: Client) -> None:
        """Watch both ends of *client* for what can be done now."""
        reads = not (client.full or client.to_inner or client.has_ended)
        events = (_IN if reads else 0) | (_OUT if client.to_client else 0)
        self._watch(client.socket, events, self._outer, client)
        if client.inner is not None:
            events = _IN | (_OUT if client.to_inner else 0)
            self._watch(client.inner, events, self._inner, client)

    def _outer(self, client: Client, events: int) -> None:
        if events & _OUT:
            self._send_out(client, b"")
        if client.is_closed or client.has_ended or client.full or client.to_inner:
            if events & ~(_IN | _OUT):
                self._close(client)
            return
        moves = client.incoming.left >= 2 * _PART
        try:
            count = self._move(client) if moves else client.socket.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        client.has_ended = not count
        if client.has_ended and client.incoming.is_strange:
            self._drop(
                client, "it has no key" if client.door.guard is Guard.KEYS else "it has a key"
            )
            return
        if moves and count:
            self._update(client)
            return
        data = self._buffer[:count]
        self._pass(client, client.held + data if client.held else data)

    def _move(self, client: Client) -> int:
        """Have the kernel move bytes of a large frame; return how many."""
        assert client.inner is not None  # noqa: S101
        (source, target), now = self._pipe, os.SPLICE_F_NONBLOCK
        most = min(client.incoming.left, _MOVED)
        count = os.splice(client.socket.fileno(), target, most, flags=now)
        sent = 0
        with suppress(OSError):  # the rest is sent later; nothing may stay in the pipe
            sent = os.splice(source, client.inner.fileno(), count, flags=now) if count else 0
        if sent < count:
            client.to_inner += os.read(source, count - sent)
        client.incoming.left -= count
        return count

    def _pass(self, client: Client, data: bytes | memoryview) -> None:
        """Pass on what there is room for of *data*, all that was not passed on yet."""
        incoming, at = client.incoming, 0
        was_open = incoming.is_open
        while not incoming.is_open:
            out, used = incoming.handshake(bytes(data[at : at + 2048]))
            if not used:
                break
            at += used
            self._send_in(client, out)
        if incoming.is_open and not was_open:
            self._opened(client)
        client.blocked = None
        if incoming.is_open and at < len(data):
            rest = data[at:] if at else data
            used = incoming.messages(rest, lambda size: self._has_room(client, size))
            self._send_in(client, rest[:used])
            at += used
        self._wait_for(client, client.blocked)
        client.held = bytes(data[at:])
        if client.has_ended and not client.full and not client.to_inner:
            self._end(client)
        if not client.is_closed:
            self._update(client)

    def _has_room(self, client: Client, size: int) -> bool:
        had_large = client.share.has_large
        client.blocked = client.share.take(size)
        if client.share.has_large and not had_large:
            self._large[client] = None
            client.began = SYSTEM.monotonic()
        return client.blocked is None

    def _wait_for(self, client: Client, share: shares.Share | None) -> None:
        """Have *client* wait for room in *share*; ``None``: it need not wait any more."""
        if client.full is share:
            return
        if client.full is not None:
            client.full.waiting.pop(client, None)
        client.full = share
        if share is None:
            self._full.pop(client, None)
            return
        share.waiting[client] = None
        if client not in self._full:
            self._full[client] = None
            client.full_since = SYSTEM.monotonic()

    def _opened(self, client: Client) -> None:
        client.peers[0].handshakes -= 1
        client.deadline = None
        self._timed.pop(client, None)

    def _send_in(self, client: Client, data: bytes | memoryview) -> None:
        if client.inner is None:
            self._connect(client)
        assert client.inner is not None  # noqa: S101
        if client.to_inner:
            client.to_inner += data
        elif data and (sent := _send(client.inner, data)) < len(data):
            client.to_inner += data[sent:]

    def _connect(self, client: Client) -> None:
        client.inner = socket.socket(socket.AF_UNIX)
        client.inner.setblocking(False)
        client.inner.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOVED)
        client.inner.bind("")  # a name by which :meth:`taken` finds it
        self._named[client.inner.getsockname()] = client
        client.inner.connect(client.door.inner.removeprefix("ipc://"))

    def _inner(self, client: Client, events: int) -> None:
        assert client.inner is not None  # noqa: S101
        if events & _OUT and client.to_inner:
            del client.to_inner[: _send(client.inner, client.to_inner)]
            if not client.to_inner and client.has_ended and not client.full:
                self._end(client)
            self._update(client)
        if events & ~_OUT and not client.is_closed:
            try:
                count = client.inner.recv_into(self._buffer)
            except BlockingIOError:
                return
            if count:
                if client in self._large and not client.share.size:
                    self._answered(client)
                self._send_out(client, self._buffer[:count])
            else:
                self._inner_ended(client)

    def _inner_ended(self, client: Client) -> None:
        """0MQ has closed the connection: send the rest to the client, which may be the reason."""
        if not client.incoming.is_open:
            self._report(client.door, client.place, "it was refused in its handshake")
        if not client.to_client:
            self._close(client)
            return
        inner, client.inner = client.inner, None
        assert inner is not None  # noqa: S101
        self._close_inner(client, inner)
        client.has_ended = True
        client.to_inner.clear()
        self._end(client)
        self._update(client)

    def _send_out(self, client: Client, data: bytes | memoryview) -> None:
        before = len(client.to_client)
        if client.to_client:
            client.to_client += data
            del client.to_client[: _send(client.socket, client.to_client)]
        elif (sent := _send(client.socket, data)) < len(data):
            client.to_client += data[sent:]
        after = len(client.to_client)
        self._unread += after - before
        if not after and client.has_ended and client.inner is None:
            self._close(client)
            return
        if (after > 0) != (before > 0):
            self._update(client)
        if after > _UNREAD:
            self._drop(client, "it does not read what it gets")
        elif self._unread > _ALL_UNREAD:
            clients = (each for listener in self._listeners for each in listener.clients)
            most = max(clients, key=lambda each: len(each.to_client))
            self._drop(most, "it does not read what it gets")

    # Ends ---------------------------------------------------------------------------------------

    def _end(self, client: Client) -> None:
        """Tell 0MQ that nothing follows. It closes the connection when it has read everything."""
        client.deadline = SYSTEM.monotonic() + _LAST
        self._timed[client] = None
        if client.inner is not None:
            client.inner.shutdown(socket.SHUT_WR)
        elif not client.to_client:
            self._close(client)

    def _drop(self, client: Client, why: str) -> None:
        if not client.is_closed:
            if why:
                self._report(client.door, client.place, why)
            self._close(client)

    def _report(self, door: Door, place: str, why: str) -> None:
        kind = f"{door.address}: {why.partition(',')[0]}"
        self._repeats.note(place, kind, f"cut a connection of {place} to {door.address}: {why}")

    def _close(self, client: Client) -> None:
        if client.is_closed:
            return
        client.is_closed = True
        listener = client.listener
        listener.clients.discard(client)
        self._wait_for(client, None)
        self._large.pop(client, None)
        self._timed.pop(client, None)
        self._unread -= len(client.to_client)
        if not client.incoming.is_open:
            client.peers[0].handshakes -= 1
        client.share.close()
        self._freed.update(dict.fromkeys(client.share.shares))
        for peer in client.peers:
            peer.clients.pop(client, None)
        self._watch(client.socket, 0, self._outer, client)
        client.socket.close()
        if client.inner is not None:
            self._close_inner(client, client.inner)

    def _close_inner(self, client: Client, inner: socket.socket) -> None:
        self._watch(inner, 0, self._inner, client)
        self._named.pop(inner.getsockname(), None)
        inner.close()

    def _release(self) -> None:
        """Close everything but the connections."""
        for each in (self._waker, self._woken, self._epoll):
            each.close()
        for number in self._pipe:
            os.close(number)
        for listener in self._listeners:
            for sock in listener.sockets:
                sock.close()
            listener.sockets.clear()
            for address in (listener.door.address, listener.door.inner):
                if address.startswith("ipc:"):
                    Path(address.removeprefix("ipc://")).unlink(missing_ok=True)


def _send(sock: socket.socket, data: bytes | bytearray | memoryview) -> int:
    try:
        return sock.send(data) if data else 0
    except BlockingIOError:
        return 0


def _place(sock: socket.socket, address: Any) -> tuple[str, str]:
    """Return the place of a peer for people, and the name of those who share it."""
    if sock.family == socket.AF_UNIX:
        about = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        process, user, _ = struct.unpack("3i", about)
        return f"process {process} of user {user}", f"process {process}"
    place = str(address[0]).partition("%")[0].removeprefix("::ffff:")
    # One host commonly has all addresses of an IPv6 network.
    network = socket.inet_pton(socket.AF_INET6, place)[:8].hex() if ":" in place else place
    return place, network


def _name_of_peer(descriptor: int) -> bytes:
    """Return the name of the socket that is connected to *descriptor*, which 0MQ owns."""
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)
    except OSError:  # it is closed
        return b""
    try:
        name = sock.getpeername()
    except OSError:
        return b""
    finally:
        sock.detach()
    return name if isinstance(name, bytes) else b""


def _keep_alive(sock: socket.socket) -> None:
    """Have the connection end when the other machine does not answer."""
    pause = LOST_AFTER // 6
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, 2 * pause), (socket.TCP_KEEPINTVL, pause), (socket.TCP_KEEPCNT, 4),
        (socket.TCP_USER_TIMEOUT, 1000 * LOST_AFTER), (socket.TCP_NODELAY, 1),
    ):  # fmt: skip
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _listen(listener: _Listener) -> None:
    """Begin to listen. Raises ``Fatal``."""
    door = listener.door
    try:
        prepare_folder(door.inner)
        if not door.is_tcp:
            prepare_folder(door.address)
            listener.sockets.append(_bind_local(door.address.removeprefix("ipc://")))
        else:
            listener.sockets.append(_bind_tcp(door.address))
    except OSError as exc:
        raise Fatal(bind_error(door.address, exc)) from exc
    for sock in listener.sockets:
        sock.listen(1024)
        sock.setblocking(False)


def _bind_local(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    old = os.umask(0o077)
    try:
        Path(path).unlink(missing_ok=True)
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(old)
    return sock


def _bind_tcp(address: str) -> socket.socket:
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    host = host.strip("[]")
    family, *_, place = socket.getaddrinfo(
        None if host == "*" else host, int(port.replace("*", "0")), socket.AF_UNSPEC,
        socket.SOCK_STREAM, flags=socket.AI_PASSIVE,
    )[0]  # fmt: skip
    sock = socket.socket(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(place)
    except OSError:
        sock.close()
        raise
    return sock
