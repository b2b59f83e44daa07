"""FileJuggler, who takes files from build slaves and from tools that import them.

The protocol of the file wire is raw frames (protocols.md); anyone may send anything there. Bytes
are written only for a file that SlaveDriver (or MrChase) expects, only where they were asked for,
and only to a temporary file in the site's working directory. What takes long (hashing what did not
come in order, looking into the wheel, syncing it to the disk) is done by two helper threads, so
that no big file stops the others.
"""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, ClassVar, Final

import zmq

from piwheels.core.errors import BadMessage, BadWheel, Refused, Unavailable
from piwheels.core.states import TransferState
from piwheels.core.tasks import NonStopTask
from piwheels.core.transfers import CHUNK_SIZE, CREDIT
from piwheels.core.wheels.tags import parse_filename
from piwheels.master.fs_client import FsClient
from piwheels.master.incoming import (
    Incoming,
    TransferDone,
    TransferError,
    TransferIgnoreChunk,
    Verified,
    number,
)
from piwheels.master.logic.names import Names
from piwheels.master.rpc import Request, recv_request, send_error, send_result
from piwheels.master.site.files import Site
from piwheels.master.wiring import MasterConfig, big_brother, files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

    from piwheels.core.states import FileState
    from piwheels.core.transport import Socket

__all__ = ["FileJuggler", "FsClient", "TransferDone", "TransferError", "TransferIgnoreChunk"]

#: How many messages of the file wire are taken before the other sockets are looked at.
_BATCH: Final = 8


class FileJuggler(NonStopTask):
    """Takes expected files from slaves and puts those that verify in their place on the site."""

    name = "file_juggler"
    #: The largest file that is expected, and what is always left free on the disk, in bytes.
    max_size: ClassVar[int] = 2 * 2**30
    reserve: ClassVar[int] = 64 * 2**20
    #: How long an address may be silent before another may go on with its transfer, in seconds: a
    #: little less than the 5 s after which slaves say HELLO again.
    takeover: ClassVar[float] = 4.0
    #: How long a transfer may go without a byte before it is given up, in seconds.
    patience: ClassVar[float] = 300.0

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.site = Site(config.output_path, config.work_path)
        #: Transfers by the slave's id, and those that have begun by its address.
        self.pending: dict[int, Incoming] = {}
        self.transfers: dict[bytes, Incoming] = {}
        self._names = Names()

        wire = self.socket(zmq.ROUTER)
        # A peer's memory here is bounded by size and number of what may wait to be read.
        wire.setsockopt(zmq.MAXMSGSIZE, CHUNK_SIZE + 1024)
        wire.setsockopt(zmq.RCVHWM, 2 * CREDIT)
        wire.setsockopt(zmq.SNDHWM, 4 * CREDIT)
        wire.bind(config.file_queue)
        self.register(wire, self.handle_file)
        self.wire = wire
        asked = self.socket(zmq.ROUTER)
        asked.hwm = 100_000
        asked.bind(config.fs_queue)
        self.register(asked, self.handle_fs)
        self._asked = asked
        self._stats = self.socket(zmq.PUSH, reversed(big_brother))
        self._stats.hwm = 1
        self._stats.connect(config.stats_queue)

        self._helpers = ThreadPoolExecutor(2, thread_name_prefix="juggler")
        self._results: SimpleQueue[tuple[Request, Incoming, Future[Verified]]] = SimpleQueue()
        woken, self._waker = socket.socketpair()
        woken.setblocking(False)
        self._waker.setblocking(False)
        self.register(woken, self.handle_results)
        self.every(timedelta(minutes=1), self.report_disk)
        self.every(timedelta(seconds=15), self.expire)

    def close(self) -> None:
        """Finish what is being put in its place, and drop every other transfer."""
        self._helpers.shutdown(cancel_futures=True)
        for transfer in self.pending.values():
            transfer.discard()
        self.pending.clear()
        self.transfers.clear()
        self._stats.close()
        self._waker.close()
        super().close()

    # Questions of other tasks ---------------------------------------------------------------

    def handle_fs(self, queue: Socket) -> None:
        """Take a question: EXPECT is answered at once, VERIFY when the file has been checked."""
        request = recv_request(queue)
        try:
            match request.msg, files.received(request.msg, request.data):
                case "EXPECT", (slave_id, file_state, publish_as):
                    self.do_expect(slave_id, file_state, publish_as)
                    send_result(queue, request)
                case "VERIFY", (slave_id, package):
                    transfer = self._awaited(slave_id)
                    future = self.do_verify(slave_id, package)
                    future.add_done_callback(partial(self._verified, request, transfer))
                case "MISSING", slave_id:
                    coming = self.pending.get(slave_id)
                    send_result(queue, request, coming and coming.state.missing)
                case "WITHDRAW", (slave_id, package, filenames):
                    self.do_withdraw(slave_id, package, filenames)
                    send_result(queue, request)
        except (BadMessage, BadWheel, Refused, OSError) as exc:
            send_error(queue, request, self._refusal(exc))

    def do_expect(
        self, slave_id: int, file_state: FileState, publish_as: str | None = None
    ) -> None:
        """Make ready for *file_state* from *slave_id*.

        It will be published as *publish_as* (``None``: by its own name). Whatever was expected
        from that slave before is dropped. Raises ``Refused``: ``BADWHEEL`` for a name that is not
        a wheel's, ``TAKEN`` for one that has just been given to other bytes, ``TOOBIG``, or
        ``NOROOM`` for a full disk.
        """
        self._drop(slave_id)
        target = publish_as or file_state.filename
        names = [parse_filename(name)._replace(build="") for name in (file_state.filename, target)]
        if names[0] != names[1]:
            raise Refused("BADWHEEL", f"{file_state.filename} cannot be published as {target}")
        size = file_state.filesize
        if size > self.max_size:
            raise Refused("TOOBIG", f"{size:,} bytes are more than a file may have")
        if not self._names.may_be(target, file_state.filehash):
            raise Refused("TAKEN", f"other bytes have just been published as {target}")
        path = self.site.temporary(".part")
        file = path.open("w+b", buffering=0)
        transfer = Incoming(
            TransferState(slave_id, file_state), target, path, file, self.clock.monotonic()
        )
        disk = os.fstatvfs(file.fileno())
        promised = sum(other.state.missing for other in self.pending.values())
        if disk.f_bavail * disk.f_frsize < size + promised + self.reserve:
            transfer.discard()
            raise Refused("NOROOM", f"the master's disk has no room for {size:,} bytes")
        self.pending[slave_id] = transfer

    def do_withdraw(self, slave_id: int, package: str, filenames: Iterable[str]) -> None:
        """Drop what *slave_id* still sends, and remove what it has sent of *package*.

        *filenames* are the names under which that was published; a file that somebody else has sent
        as well, of the same bytes, stays. Raises ``OSError``.
        """
        self._drop(slave_id)
        folder = self.site.project_dir(package)
        for filename in filenames:
            if self._names.take_back(slave_id, filename):
                self.site.remove(folder / filename)  # the wheel first: none is there without ...
                self.site.remove(folder / f"{filename}.metadata")
        with suppress(OSError):  # it is not there, or has other files
            folder.rmdir()

    def do_verify(self, slave_id: int, package: str) -> Future[Verified]:
        """Have what *slave_id* sent checked and published as a file of *package*.

        Either way the transfer ends. Raises ``Refused``, or the result does: ``UNKNOWN`` if
        nothing was expected, ``BADHASH`` if the file is not whole or not the one declared (it may
        be sent again), ``TAKEN`` if its name was given to other bytes meanwhile (send it again, as
        another), ``BADWHEEL`` if it is not a wheel of that package (final), ``NOROOM`` if it could
        not be written.
        """
        transfer = self._awaited(slave_id)
        self._forget(slave_id)
        try:
            if transfer.failure:
                raise Refused("NOROOM", transfer.failure)
            if not transfer.state.done:
                missing = transfer.state.missing
                raise Refused("BADHASH", f"{transfer.target}: {missing:,} bytes have not come")
            filehash = transfer.state.file_state.filehash
            if not self._names.give(slave_id, transfer.target, filehash, self.clock.monotonic()):
                raise Refused("TAKEN", f"other bytes have just been published as {transfer.target}")
            future = self._helpers.submit(transfer.publish, self.site, package)
        except BaseException:
            transfer.discard()
            raise
        future.add_done_callback(lambda _: transfer.discard())  # also if it never began
        return future

    def _awaited(self, slave_id: int) -> Incoming:
        transfer = self.pending.get(slave_id)
        if transfer is None:
            raise Refused("UNKNOWN", f"no file is expected from slave {slave_id}")
        return transfer

    def _verified(self, request: Request, transfer: Incoming, future: Future[Verified]) -> None:
        # In a helper's thread, which may touch no socket of 0MQ's but its own.
        self._results.put((request, transfer, future))
        with suppress(BlockingIOError, OSError):  # woken already, or ending
            self._waker.send(b"!")

    def handle_results(self, woken: socket.socket) -> None:
        """Answer the questions whose files the helpers are done with."""
        with suppress(BlockingIOError):
            woken.recv(4096)
        with suppress(Empty):
            while True:
                request, transfer, future = self._results.get_nowait()
                try:
                    send_result(self._asked, request, future.result(timeout=0))
                except (BadWheel, Refused, OSError) as exc:
                    self._names.take_back(transfer.state.slave_id, transfer.target)
                    send_error(self._asked, request, self._refusal(exc))

    def _refusal(self, exc: Exception) -> Exception:
        match exc:
            case BadWheel():
                return Refused("BADWHEEL", str(exc))
            case OSError():
                self.logger.error("cannot write to the site, see to its disk: %s", exc)
                return Refused("NOROOM", f"the master cannot write: {exc.strerror or exc}")
        return exc

    # The file wire --------------------------------------------------------------------------

    def handle_file(self, queue: Socket) -> None:
        """Take messages from slaves, and ask them for more, or tell them that they are done."""
        for _ in range(_BATCH):
            address, *frames = queue.recv_multipart()
            self._handle_one(queue, address, *(frames or [b""]))
            if not queue.poll(0):
                break

    def _handle_one(self, queue: Socket, address: bytes, msg: bytes, *args: bytes) -> None:
        transfer = self.transfers.get(address)
        try:
            if transfer is None or msg == b"HELLO":
                transfer = self.new_transfer(msg, *args)
                self._bind(transfer, address)
            self.current_transfer(transfer, msg, *args)
        except TransferDone:
            queue.send_multipart([address, b"DONE"])
        else:
            while (wanted := transfer.state.fetch()) is not None:
                place = (str(wanted.start).encode(), str(len(wanted)).encode())
                queue.send_multipart([address, b"FETCH", *place])

    def new_transfer(self, msg: bytes, *args: bytes) -> Incoming:
        """Return the transfer that a HELLO with a slave's id begins, or goes on with.

        Raises ``TransferError`` if it is something else (``TransferIgnoreChunk`` for a CHUNK), or
        nothing is expected from that slave.
        """
        match msg, args:
            case b"HELLO", (slave_id,):
                # Old importers say 0, or whichever number they made up (docs/decisions/0027).
                transfer = self.pending.get(number(slave_id)) or self.pending.get(0)
                if transfer is None:
                    raise TransferError("HELLO from a slave of which no file is expected")
                return transfer
            case b"CHUNK", _:
                raise TransferIgnoreChunk("CHUNK from an address without a transfer")
        raise TransferError("neither HELLO nor CHUNK on the file wire")

    def current_transfer(self, transfer: Incoming, msg: bytes, *args: bytes) -> None:
        """Take a message that belongs to *transfer*.

        It is CHUNK, with offset and bytes, or HELLO again, which has what is missing fetched anew.
        Raises ``TransferDone`` when nothing is missing (or the file cannot be written: VERIFY will
        say so), ``BadMessage`` for what is to be dropped.
        """
        match msg, args:
            case b"HELLO", _:
                transfer.state.reset()
            case b"CHUNK", (offset, data) if not transfer.failure:
                self._take(transfer, number(offset), data)
            case _:
                raise TransferError("not a message of a transfer that has begun")
        if transfer.state.done or transfer.failure:
            raise TransferDone("every byte has come")

    def _take(self, transfer: Incoming, offset: int, data: bytes) -> None:
        transfer.state.chunk(offset, data)
        transfer.progress = transfer.heard = self.clock.monotonic()
        try:
            transfer.write(offset, data)
        except OSError as exc:
            transfer.failure = f"the master cannot write: {exc.strerror}"
            self.logger.error("cannot write %s, see to the disk: %s", transfer.path, exc)

    def _bind(self, transfer: Incoming, address: bytes) -> None:
        if transfer.address == address:
            return
        now = self.clock.monotonic()
        if transfer.address is not None:
            if now - transfer.heard < self.takeover:
                raise TransferError("HELLO for a transfer that another address makes")
            del self.transfers[transfer.address]
        if (before := self.transfers.get(address)) is not None:
            before.address = None
        transfer.address, transfer.heard = address, now
        self.transfers[address] = transfer

    # Ends -----------------------------------------------------------------------------------

    def _forget(self, slave_id: int) -> Incoming | None:
        transfer = self.pending.pop(slave_id, None)
        if transfer is not None and transfer.address is not None:
            del self.transfers[transfer.address]
        return transfer

    def _drop(self, slave_id: int) -> None:
        if (transfer := self._forget(slave_id)) is not None:
            transfer.discard()

    def expire(self) -> None:
        """Give up the transfers of which nothing has come for a long time."""
        now = self.clock.monotonic()
        self._names.expire(now)
        before = now - self.patience
        for slave_id in [key for key, each in self.pending.items() if each.progress < before]:
            target = self.pending[slave_id].target
            self._drop(slave_id)
            self.logger.warning(
                "gave up %s of slave %d: nothing came for %d s; see whether that slave still runs",
                target,
                slave_id,
                self.patience,
            )

    def report_disk(self) -> None:
        """Tell BigBrother the size of the site's file system, and what is free there, in bytes."""
        try:
            disk = os.statvfs(self.site.root)
        except OSError as exc:
            self.logger.error(
                "cannot look at %s, see to its disk: %s", self.site.root, exc.strerror
            )
            return
        with suppress(Unavailable):  # BigBrother is behind; the next figures are as good
            sizes = (disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize)
            self._stats.send_msg("STATFS", sizes, zmq.DONTWAIT)
