"""FileJuggler, who takes files from build slaves and from tools that import them.

The file wire carries raw frames (protocols.md); anyone may send anything there. Bytes are written
only for a file that SlaveDriver (or MrChase) expects, only where they were asked for, and only to a
temporary file in the site's working directory. A pool of two threads does the slow work (hashing
chunks that came out of order, inspecting the wheel, syncing it to the disk), so that no big file
delays the others.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, assert_never

from piwheels.core.errors import BadWheel, Refused
from piwheels.core.states import TransferState
from piwheels.core.tasks import NonStopTask
from piwheels.core.wheels.tags import parse_filename
from piwheels.master.fs_client import FsClient
from piwheels.master.incoming_file import (
    Incoming,
    TransferDone,
    TransferError,
    TransferIgnoreChunk,
    Verified,
    number,
)
from piwheels.master.logic.name_claims import Names
from piwheels.master.messages import (
    DiskSpace,
    ExpectFile,
    FileRequest,
    MissingBytes,
    VerifyFile,
    WithdrawFiles,
)
from piwheels.master.ports import Ports
from piwheels.master.site.files import Site
from piwheels.master.worker_pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from piwheels.core.states import FileState
    from piwheels.core.transport import Socket
    from piwheels.master.ports import Inbox, Ticket
    from piwheels.master.result import Result
    from piwheels.master.wiring import MasterConfig

__all__ = ["FileJuggler", "FsClient", "TransferDone", "TransferError", "TransferIgnoreChunk"]

#: How many messages of the file wire are read before the other sockets have their turn.
_BATCH: Final = 8
#: Seconds that the files which are being published may take when the master stops.
_LAST: Final = 10.0


class FileJuggler(NonStopTask):
    """Receives expected files from slaves, and publishes those that verify on the site."""

    name = "file_juggler"
    #: The largest file that is taken, and the space that always stays free on the disk, in bytes.
    max_size: ClassVar[int] = 2 * 2**30
    reserve: ClassVar[int] = 64 * 2**20
    #: Seconds of silence after which another address may continue a transfer: a little less than
    #: the 5 s after which slaves send HELLO again.
    takeover: ClassVar[float] = 4.0
    #: Seconds without a byte after which a transfer is given up.
    patience: ClassVar[float] = 300.0

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.site = Site(config.output_path, config.work_path)
        #: Transfers by the slave's id, and those that have begun by its address.
        self.pending: dict[int, Incoming] = {}
        self.transfers: dict[bytes, Incoming] = {}
        self._names = Names()

        self.ports = Ports("FileJuggler", config, self.logger, self)
        self.ports.serve("file", self.handle_file)
        self.ports.serve("files", self.handle_files)
        self._pool = WorkerPool(2, "juggler")
        self.register(self._pool.socket, lambda _: self._pool.run())
        #: Transfers that the pool verifies.
        self._verifying: set[Incoming] = set()
        self.every(timedelta(minutes=1), self.report_disk)
        self.every(timedelta(seconds=15), self.expire)

    def close(self) -> None:
        """Finish the files that are being published, and drop every other transfer."""
        self._pool.close(wait=_LAST)
        for transfer in (*self.pending.values(), *self._verifying):
            transfer.discard()
        self.pending.clear()
        self.transfers.clear()
        super().close()

    # Requests of other tasks ----------------------------------------------------------------

    def handle_files(self, queue: Inbox[FileRequest]) -> None:
        """Answer a request: VerifyFile when the file has been verified, the others at once."""
        ticket = queue.recv_ticket()
        try:
            match ticket.request:
                case ExpectFile(number, state, publish_as):
                    self.do_expect(number, state, publish_as)
                    ticket.answer()
                case VerifyFile(number, package):
                    self.do_verify(number, package, partial(self._verified, ticket))
                case MissingBytes(number):
                    coming = self.pending.get(number)
                    ticket.answer(coming and coming.state.missing)
                case WithdrawFiles(number, package, filenames):
                    self.do_withdraw(number, package, filenames)
                    ticket.answer()
                case never:
                    assert_never(never)
        except (BadWheel, Refused, OSError) as exc:
            ticket.refuse(self._refusal(exc))

    def do_expect(
        self, slave_id: int, file_state: FileState, publish_as: str | None = None
    ) -> None:
        """Expect *file_state* from *slave_id*, to be published as *publish_as*.

        (``None``: under its own name.) A file that was expected from that slave before is dropped.
        Raises ``Refused``: ``BADWHEEL`` for an invalid name of a wheel, ``TAKEN`` if other bytes
        have just been published under that name, ``TOOBIG``, or ``NOROOM`` for a full disk.
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
        """Drop the file that *slave_id* still sends, and remove its published *filenames*.

        They are files of *package*. A file that another slave has sent as well, with the same
        bytes, stays. Raises ``OSError``.
        """
        self._drop(slave_id)
        folder = self.site.project_dir(package)
        for filename in filenames:
            if self._names.take_back(slave_id, filename):
                self.site.remove(folder / filename)  # the wheel first: each has its metadata
                self.site.remove(folder / f"{filename}.metadata")
        with suppress(OSError):  # there is no folder, or it has other files
            folder.rmdir()

    def do_verify(
        self,
        slave_id: int,
        package: str,
        then: Callable[[Result[Verified]], None] = lambda result: None,
    ) -> None:
        """Verify the file that *slave_id* has sent, and publish it as a file of *package*.

        The transfer ends in any case; *then* gets the result. Raises ``Refused`` (or the result
        has that error): ``UNKNOWN`` if no file was expected, ``BADHASH`` if the file is not whole
        or not the one declared (it may be sent again), ``TAKEN`` if other bytes were published
        under its name meanwhile (send it again, under another), ``BADWHEEL`` if it is not a wheel
        of that package (final), ``NOROOM`` if it could not be written.
        """
        transfer = self._forget(slave_id)
        if transfer is None:
            raise Refused("UNKNOWN", f"no file is expected from slave {slave_id}")
        try:
            if transfer.failure:
                raise Refused("NOROOM", transfer.failure)
            if not transfer.state.done:
                missing = transfer.state.missing
                raise Refused("BADHASH", f"{transfer.target}: {missing:,} bytes have not come")
            filehash = transfer.state.file_state.filehash
            if not self._names.give(slave_id, transfer.target, filehash, self.clock.monotonic()):
                raise Refused("TAKEN", f"other bytes have just been published as {transfer.target}")
        except BaseException:
            transfer.discard()
            raise
        self._verifying.add(transfer)
        publish = partial(transfer.publish, self.site, package)
        self._pool.submit(publish, partial(self._published, transfer, then))

    def _published(
        self,
        transfer: Incoming,
        then: Callable[[Result[Verified]], None],
        result: Result[Verified],
    ) -> None:
        self._verifying.discard(transfer)
        transfer.discard()
        if result.error is not None:
            self._names.take_back(transfer.state.slave_id, transfer.target)
        then(result)

    def _verified(self, ticket: Ticket[Any], result: Result[Verified]) -> None:
        try:
            ticket.answer(result.get())
        except (BadWheel, Refused, OSError) as exc:
            ticket.refuse(self._refusal(exc))

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
        """Read messages of slaves, and fetch more from them or end their transfers."""
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
        """Return the transfer that a HELLO with a slave's id begins or continues.

        Raises ``TransferError`` for any other message (``TransferIgnoreChunk`` for a CHUNK), or if
        no file is expected from that slave.
        """
        match msg, args:
            case b"HELLO", (slave_id,):
                # Old importers send 0, or a number that they made up (docs/decisions/0027).
                transfer = self.pending.get(number(slave_id)) or self.pending.get(0)
                if transfer is None:
                    raise TransferError("HELLO from a slave of which no file is expected")
                return transfer
            case b"CHUNK", _:
                raise TransferIgnoreChunk("CHUNK from an address without a transfer")
        raise TransferError("neither HELLO nor CHUNK on the file wire")

    def current_transfer(self, transfer: Incoming, msg: bytes, *args: bytes) -> None:
        """Take a message that belongs to *transfer*.

        It is CHUNK, with offset and bytes, or HELLO again, which fetches all missing bytes again.
        Raises ``TransferDone`` when no byte is missing (or the file cannot be written, which
        VerifyFile reports), ``BadMessage`` for an invalid message.
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
        """Give up the transfers that have been silent for too long."""
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
        """Report the size and the free space of the site's file system to BigBrother."""
        try:
            disk = os.statvfs(self.site.root)
        except OSError as exc:
            self.logger.error(
                "cannot look at %s, see to its disk: %s", self.site.root, exc.strerror
            )
            return
        size, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
        self.ports.push("stats", DiskSpace(size, free))
