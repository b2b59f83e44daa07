"""FileJuggler: receives files from build slaves, and from tools that import them.

The file wire carries raw frames (protocols.md), and any program on the network may send there.
Bytes are written only for a file that SlaveDriver or MrChase expects, only at the requested offset,
and only to a temporary file in the site's working directory. A pool of two threads does the slow
work (hashing chunks that arrived out of order, inspecting the wheel, syncing it to the disk), so
that a large file does not delay others.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, assert_never

from piwheels.core.errors import BadWheel, PiWheelsError, Refused
from piwheels.core.states import TransferState
from piwheels.core.tasks import NonStopTask
from piwheels.core.transfers import MIN_RATE
from piwheels.core.wheels.tags import canonical, parse_filename
from piwheels.master.fs_client import FsClient
from piwheels.master.incoming_file import (
    IncomingFile,
    TransferDone,
    TransferError,
    TransferIgnoreChunk,
    Verified,
    parse_number,
)
from piwheels.master.logic.name_claims import NameClaims
from piwheels.master.logic.quotas import reason_to_wait
from piwheels.master.messages import (
    DiskSpace,
    DropFile,
    ExpectFile,
    FileRequest,
    FreeSpace,
    MissingBytes,
    TransfersCounted,
    VerifyFile,
    WithdrawFiles,
)
from piwheels.master.ports import Ports
from piwheels.master.site.files import Site
from piwheels.master.worker_pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from piwheels.core.states import FileState
    from piwheels.master.gate import Sender
    from piwheels.master.ports import Inbox, Ticket
    from piwheels.master.result import Result
    from piwheels.master.wiring import MasterConfig

__all__ = ["FileJuggler", "FsClient", "TransferDone", "TransferError", "TransferIgnoreChunk"]

#: How many messages of the file wire are read before other sockets are served.
_BURST: Final = 8
#: How many HELLOs without an expected file end a transfer; for how many addresses they are counted.
_STRAYS: Final = 3
_MOST_STRAYS: Final = 1000
#: The seconds that files in publication may take when the master stops.
_CLOSING_LIMIT: Final = 10.0


class FileJuggler(NonStopTask):
    """Receives expected files from slaves, and publishes those that verify on the site."""

    name = "file_juggler"
    #: The largest file that is accepted, in bytes.
    max_size: ClassVar[int] = 2 * 2**30
    #: Seconds of silence after which another address may continue a transfer: a little less than
    #: the 5 s after which slaves send HELLO again.
    takeover: ClassVar[float] = 4.0
    #: Seconds without a byte after which a transfer is abandoned.
    patience: ClassVar[float] = 300.0

    def __init__(self, config: MasterConfig) -> None:
        super().__init__(config)
        self.site = Site(config.output_path, config.work_path)
        #: The disk space that always stays free, in bytes.
        self.reserve = config.disk_reserve
        #: The projects whose wheels may have ``.pth`` files.
        self.may_have_pth = frozenset(map(canonical, config.allow_pth))
        #: Expected files by the slave's number; those whose transfer has begun by its address.
        self.pending: dict[int, IncomingFile] = {}
        self.transfers: dict[bytes, IncomingFile] = {}
        #: The ended transfers by result, and the bytes of all chunks.
        self._ended: Counter[str] = Counter()
        self._received = 0
        self._claims = NameClaims()
        #: How often an address has said HELLO while no file was expected from it.
        self._strays: Counter[bytes] = Counter()

        self.ports = Ports("FileJuggler", config, self.logger, self)
        self.ports.serve("file", self.handle_file)
        self.ports.serve("files", self.handle_files)
        self._pool = WorkerPool(2, "juggler")
        self.register(self._pool.socket, lambda _: self._pool.run())
        #: Transfers that the pool is verifying.
        self._verifying: set[IncomingFile] = set()
        self.every(timedelta(minutes=1), self.report_disk)
        self.every(timedelta(seconds=15), self.expire)
        self.every(timedelta(seconds=10), self.report_transfers)

    def close(self) -> None:
        """Finish the publication of verified files, and drop all other transfers."""
        self._pool.close(wait=_CLOSING_LIMIT)
        for transfer in (*self.pending.values(), *self._verifying):
            transfer.discard()
        self.pending.clear()
        self.transfers.clear()
        super().close()

    # Requests of other tasks ----------------------------------------------------------------

    def handle_files(self, queue: Inbox[FileRequest]) -> None:
        """Answer a request: VerifyFile after the verification, the others at once."""
        ticket = queue.recv_ticket()
        try:
            match ticket.request:
                case ExpectFile(number, state, publish_as, owner):
                    self.do_expect(number, state, publish_as, owner)
                    ticket.answer()
                case VerifyFile(number, package):
                    self.do_verify(number, package, partial(self._verified, ticket))
                case MissingBytes(number):
                    coming = self.pending.get(number)
                    ticket.answer(coming and coming.state.missing)
                case DropFile(number):
                    self._drop(number)
                    ticket.answer()
                case FreeSpace():
                    ticket.answer((self._free_space(), self.reserve))
                case WithdrawFiles(number, package, filenames):
                    self.do_withdraw(number, package, filenames)
                    ticket.answer()
                case never:
                    assert_never(never)
        except (BadWheel, Refused, OSError) as exc:
            ticket.refuse(self._refusal(exc))

    def do_expect(
        self, slave_id: int, file_state: FileState, publish_as: str | None = None, owner: str = ""
    ) -> None:
        """Expect *file_state* from *slave_id* of *owner*, to be published as *publish_as*.

        ``None`` stands for its own name. A file that was expected from that slave before is
        dropped. Raises ``Refused``: ``BADWHEEL`` for an invalid file name, ``TAKEN`` if other
        content is being published under that name, ``TOOBIG``, or ``NOROOM`` for a full disk or a
        quota of *owner*.
        """
        self._drop(slave_id)
        target = publish_as or file_state.filename
        names = [parse_filename(name)._replace(build="") for name in (file_state.filename, target)]
        if names[0] != names[1]:
            raise Refused("BADWHEEL", f"{file_state.filename} cannot be published as {target}")
        size = file_state.filesize
        if size > self.max_size:
            raise Refused("TOOBIG", f"{size:,} bytes exceed the maximum size of a file")
        if not self._claims.is_free(target, file_state.filehash):
            raise Refused("TAKEN", f"other bytes have just been published as {target}")
        room = self._free_space() - self.reserve
        if room < size:
            raise Refused("NOROOM", f"the master's disk has no room for {size:,} bytes")
        mine = sum(each.state.missing for each in self.pending.values() if each.owner == owner)
        if (why := reason_to_wait(owner, size, mine, room)) is not None:
            raise Refused("NOROOM", why)
        path = self.site.temporary(".part")
        file = path.open("w+b", buffering=0)
        transfer = IncomingFile(
            TransferState(slave_id, file_state), target, path, file, self.clock.monotonic(),
            owner=owner, began=self.clock.monotonic(),
        )  # fmt: skip
        self.pending[slave_id] = transfer

    def _free_space(self) -> int:
        """Return the free bytes of the site's disk that no expected file needs."""
        disk = os.statvfs(self.site.root)
        if not disk.f_blocks:  # a file system that does not tell
            return 2**62
        promised = sum(other.state.missing for other in self.pending.values())
        return max(0, disk.f_bavail * disk.f_frsize - promised)

    def do_withdraw(self, slave_id: int, package: str, filenames: Iterable[str]) -> None:
        """Drop the file that *slave_id* is sending, and remove its published *filenames*.

        They are files of *package*. A file that another slave has sent with the same content stays.
        Raises ``OSError``.
        """
        self._drop(slave_id)
        folder = self.site.project_dir(package)
        for filename in filenames:
            if self._claims.release(slave_id, filename):
                self.site.remove(folder / filename)  # the wheel first: it needs its metadata
                self.site.remove(folder / f"{filename}.metadata")
        with suppress(OSError):  # the folder does not exist, or has other files
            folder.rmdir()

    def do_verify(
        self,
        slave_id: int,
        package: str,
        then: Callable[[Result[Verified]], None] = lambda result: None,
    ) -> None:
        """Verify the file that *slave_id* has sent, and publish it as a file of *package*.

        The transfer ends in any case; *then* receives the result. Raises ``Refused``, or the result
        has that error: ``UNKNOWN`` if no file was expected; ``BADHASH`` if the file is incomplete
        or not the declared one (it may be sent again); ``TAKEN`` if other content has been
        published under its name in the meantime (it may be sent again, for another name);
        ``BADWHEEL`` if it is not a wheel of that package; ``NOROOM`` if it could not be written.
        """
        transfer = self._forget(slave_id)
        if transfer is None:
            raise Refused("UNKNOWN", f"no file is expected from slave {slave_id}")
        try:
            if transfer.failure:
                raise Refused("NOROOM", transfer.failure)
            if not transfer.state.done:
                missing = transfer.state.missing
                raise Refused("BADHASH", f"{transfer.target}: {missing:,} bytes are missing")
            filehash = transfer.state.file_state.filehash
            if not self._claims.claim(slave_id, transfer.target, filehash, self.clock.monotonic()):
                raise Refused("TAKEN", f"other bytes have just been published as {transfer.target}")
        except BaseException:
            transfer.discard()
            raise
        self._verifying.add(transfer)
        publish = partial(transfer.publish, self.site, package, self.may_have_pth)
        self._pool.submit(publish, partial(self._published, transfer, then))

    def _published(
        self,
        transfer: IncomingFile,
        then: Callable[[Result[Verified]], None],
        result: Result[Verified],
    ) -> None:
        self._verifying.discard(transfer)
        transfer.discard()
        self._ended["published" if result.error is None else "refused"] += 1
        if result.error is not None:
            self._claims.release(transfer.state.slave_id, transfer.target)
        then(result)

    def _verified(self, ticket: Ticket[Any], result: Result[Verified]) -> None:
        try:
            ticket.answer(result.get())
        except Exception as exc:  # noqa: BLE001 (one file never ends the task)
            ticket.refuse(self._refusal(exc))

    def _refusal(self, exc: Exception) -> Exception:
        match exc:
            case BadWheel():
                return Refused("BADWHEEL", str(exc))
            case OSError():
                self.logger.error("cannot write to the site, check its disk: %s", exc)
                return Refused("NOROOM", f"the master cannot write: {exc.strerror or exc}")
            case PiWheelsError():
                return exc
        return Refused("BADWHEEL", str(self.unexpected("the verification of a file", exc)))

    # The file wire --------------------------------------------------------------------------

    def handle_file(self, queue: Inbox[Any]) -> None:
        """Read messages of senders; request further chunks, or end their transfers."""
        for _ in range(_BURST):
            address, *frames = queue.recv_multipart()
            self._handle_one(queue, address, *(frames or [b""]))
            if not queue.poll(0):
                break

    def _handle_one(self, queue: Inbox[Any], address: bytes, msg: bytes, *args: bytes) -> None:
        transfer = self.transfers.get(address)
        try:
            if transfer is None or msg == b"HELLO":
                try:
                    transfer = self.new_transfer(msg, *args)
                except TransferError:
                    if msg == b"HELLO":
                        self._note_stray(address)
                    raise
                _check_sender(transfer, queue.sender)
                self._bind(transfer, address)
            _check_sender(transfer, queue.sender)
            self.current_transfer(transfer, msg, *args)
        except TransferDone:
            queue.send_multipart([address, b"DONE"])
        else:
            now = self.clock.monotonic()
            while (wanted := transfer.state.fetch(now)) is not None:
                place = (str(wanted.start).encode(), str(len(wanted)).encode())
                queue.send_multipart([address, b"FETCH", *place])

    def _note_stray(self, address: bytes) -> None:
        """Raise ``TransferDone`` if a slave repeats a HELLO for a file that is not expected.

        An earlier master expected it. A slave of level 0 would repeat its HELLO for ever.
        """
        if len(self._strays) >= _MOST_STRAYS:
            self._strays.clear()
        self._strays[address] += 1
        if self._strays[address] >= _STRAYS:
            del self._strays[address]
            raise TransferDone("no file is expected any more")

    def new_transfer(self, msg: bytes, *args: bytes) -> IncomingFile:
        """Return the transfer that a HELLO with a slave's number begins or continues.

        Raises ``TransferError`` for other messages (``TransferIgnoreChunk`` for a CHUNK), and if no
        file is expected from that slave.
        """
        match msg, args:
            case b"HELLO", (slave_id,):
                # Old importers send 0, or a number of their own (docs/decisions/0027).
                transfer = self.pending.get(parse_number(slave_id)) or self.pending.get(0)
                if transfer is None:
                    raise TransferError("HELLO from a slave from which no file is expected")
                return transfer
            case b"CHUNK", _:
                raise TransferIgnoreChunk("CHUNK from an address without a transfer")
        raise TransferError("neither HELLO nor CHUNK on the file wire")

    def current_transfer(self, transfer: IncomingFile, msg: bytes, *args: bytes) -> None:
        """Handle a message that belongs to *transfer*.

        It is a CHUNK with offset and bytes, or another HELLO of a sender that waits. A slow link
        may still carry what was requested: only a long silence shows that it was lost. Raises
        ``TransferDone`` when no byte is missing, or if the file cannot be written (VerifyFile
        reports that); ``BadMessage`` for an invalid message.
        """
        match msg, args:
            case b"HELLO", _:
                transfer.state.expire(self.clock.monotonic())
            case b"CHUNK", (offset, data) if not transfer.failure:
                self._take(transfer, parse_number(offset), data)
            case _:
                raise TransferError("not a message of a transfer in progress")
        if transfer.state.done or transfer.failure:
            raise TransferDone("every byte has arrived")

    def _take(self, transfer: IncomingFile, offset: int, data: bytes) -> None:
        now = self.clock.monotonic()
        transfer.state.chunk(offset, data, now)
        self._received += len(data)
        transfer.progress = transfer.heard = now
        try:
            transfer.write(offset, data)
        except OSError as exc:
            transfer.failure = f"the master cannot write: {exc.strerror}"
            self.logger.error("cannot write %s, check the disk: %s", transfer.path, exc)

    def _bind(self, transfer: IncomingFile, address: bytes) -> None:
        if transfer.address == address:
            return
        now = self.clock.monotonic()
        if transfer.address is not None:
            if now - transfer.heard < self.takeover:
                raise TransferError("HELLO for a transfer from another address")
            del self.transfers[transfer.address]
        if (before := self.transfers.get(address)) is not None:
            before.address = None
        transfer.state.reset()  # a connection carries nothing for another one
        transfer.address, transfer.heard = address, now
        self.transfers[address] = transfer

    # Ends -----------------------------------------------------------------------------------

    def _forget(self, slave_id: int) -> IncomingFile | None:
        transfer = self.pending.pop(slave_id, None)
        if transfer is not None and transfer.address is not None:
            del self.transfers[transfer.address]
        return transfer

    def _drop(self, slave_id: int) -> None:
        if (transfer := self._forget(slave_id)) is not None:
            transfer.discard()

    def expire(self) -> None:
        """Abandon the transfers that have been silent for too long, or take too long."""
        now = self.clock.monotonic()
        self._claims.expire(now)
        for slave_id, transfer in list(self.pending.items()):
            longest = self.patience + transfer.state.file_state.filesize / MIN_RATE
            if now - transfer.progress > self.patience:
                why = f"nothing arrived for {self.patience:.0f} s"
            elif now - transfer.began > longest:
                why = f"it did not arrive within {longest:.0f} s"
            else:
                continue
            self._drop(slave_id)
            self._ended["abandoned"] += 1
            self.logger.warning(
                "abandoned %s of slave %d: %s; check whether that slave still runs",
                transfer.target, slave_id, why,
            )  # fmt: skip

    def report_disk(self) -> None:
        """Report the size and the free space of the site's file system to BigBrother."""
        try:
            disk = os.statvfs(self.site.root)
        except OSError as exc:
            self.logger.error(
                "cannot read the size of %s, check its disk: %s", self.site.root, exc.strerror
            )
            return
        size, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
        for wire in ("stats", "monitor"):
            self.ports.push(wire, DiskSpace(size, free))

    def report_transfers(self) -> None:
        """Report the transfers to TheSentinel."""
        waiting = self.pending.values()
        missing = sum(each.state.missing for each in waiting)
        counted = TransfersCounted(len(waiting), missing, dict(self._ended), self._received)
        self.ports.push("monitor", counted)


def _check_sender(transfer: IncomingFile, sender: Sender) -> None:
    if not transfer.is_from(sender):
        raise TransferError(f"{sender.name or 'a local program'} sends the file of another key")
