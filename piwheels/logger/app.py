"""The program: reads the log and sends the relevant requests to the master."""

from __future__ import annotations

import fcntl
import logging
import os
import select
import signal
import stat
import struct
import sys
import termios
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import zmq

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal, Unavailable, should_log
from piwheels.core.keys.options import client_pair, key_option, master_key_option
from piwheels.core.paths import address, master_socket
from piwheels.core.program.command_line import Common, option, program
from piwheels.core.program.logs import reopen_on_hangup
from piwheels.core.program.report import Report, json_option
from piwheels.core.program.terminal import Progress
from piwheels.core.protocols import lumberjack
from piwheels.core.transport import Context
from piwheels.logger.hits import KINDS, Entry, entry_of
from piwheels.logger.lines import FORMATS, MAX_LINE, BadLine, Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from piwheels.core.keys.files import KeyPair

logger = logging.getLogger("logger")

#: The size of one read, in bytes.
_BLOCK: Final = 256 * 1024
#: How many entries may wait for the master.
_MAX_QUEUED: Final = 10_000
#: Seconds to wait for a connection before --drop drops an entry.
_CONNECT: Final = 1.0
#: Seconds of a blocked wire before a warning; seconds for the last entries to arrive.
_BLOCKED, _FLUSH = 5.0, 10.0
#: Seconds to read the rest of a pipe after a signal to end.
_DRAIN: Final = 3.0
#: Seconds between two checks for a signal to end.
_CHECK: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class LoggerConfig(Common):
    """Report the site's requests to the master, from the web server's access log."""

    files: list[Path] = option(
        default=[], positional=True, metavar="FILE",
        help="a log to read (- or none: standard input, as it arrives)",
    )  # fmt: skip
    format: str = option("-f", default="combined", choices=FORMATS, help="the format of its lines")
    site: str = option(
        default="", metavar="NAME", help="report only this virtual host (formats vhost and json)"
    )
    drop: bool = option(default=False, help="drop entries that the master does not take at once")
    json: bool = json_option()
    log_queue: str = option(
        default="", metavar="ADDR", parse=address,
        help="the address of the master (default: this user's, or else the service's)",
    )  # fmt: skip
    key: Path | None = key_option()
    master_key: list[str] = master_key_option()


EXAMPLES: Final = [
    ("piw-logger /var/log/nginx/access.log", "read a complete log"),
    ("tail -n0 -F access.log | piw-logger --drop", "follow a growing log"),
]


@program("piw-logger", LoggerConfig, examples=EXAMPLES)
def main(config: LoggerConfig) -> int:
    """Run ``piw-logger``."""
    run = Run(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, run.stop)
    reopen_on_hangup()
    return run.run()


class Run:
    """One run of the program, with its counts of read, sent, refused and dropped lines."""

    def __init__(self, config: LoggerConfig) -> None:
        self.found: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._parse = FORMATS[config.format]
        self._format = config.format
        self._site = config.site.lower()
        self._stopping = False
        self._report = Report(config)
        self._sources = [_Source(path) for path in config.files or [Path("-")]]
        self._sender = Sender(
            config.log_queue or master_socket("log"), drop=config.drop, ending=self._is_stopping,
            key=client_pair(config.key, config.master_key),
        )  # fmt: skip
        total = sum(source.size for source in self._sources)
        self._progress = Progress(total, "bytes", quiet=config.quiet or not total)

    def stop(self, *_: object) -> None:
        """End the run after reading the rest of a pipe; a signal handler may call it."""
        self._stopping = True

    def _is_stopping(self) -> bool:
        return self._stopping

    def run(self) -> int:
        """Read all sources, send the relevant entries, and return the exit status."""
        try:
            with self._progress:
                complete = all(self._read(source) for source in self._sources)
        finally:
            sent = self._sender.close()
            self._summarize()
        if not complete:
            logger.warning("ended by a signal: the rest of the log was not read")
        wrong_format = self.refused and not self.found
        if wrong_format:
            logger.error("no line has the format %s: choose another --format", self._format)
        return 0 if complete and sent and not wrong_format else 1

    def _read(self, source: _Source) -> bool:
        """Read one file; return whether all of it was read."""
        lines = Lines()
        for block in source.blocks(self._is_stopping):
            for line in lines.feed(block):
                self._take(line)
            if source.size:
                self._progress.step(len(block), source.name)
        for line in lines.end():
            self._take(line)
        return source.complete

    def _take(self, line: bytes | None) -> None:
        if line is None:
            self._refuse(f"longer than {MAX_LINE:,} bytes")
            return
        if not line or line.isspace():
            return
        try:
            hit = self._parse(line)
        except BadLine as exc:
            self._refuse(f"{exc} ({self._format})", line)
            return
        ours = not self._site or hit.site.lower() == self._site
        entry = entry_of(hit) if ours else None
        self.found[entry.kind if entry else ""] += 1
        if entry:
            self._sender.send(entry)

    def _refuse(self, why: str, line: bytes = b"") -> None:
        self.refused[why] += 1
        if should_log(self.refused[why]):
            self._progress.clear()
            shown = f": {line[:100]!r}" if line else ""
            logger.warning("refused %d lines, %s%s", self.refused[why], why, shown)

    def _summarize(self) -> None:
        kinds = ", ".join(f"{self.found[kind]:,} {kind}" for kind in KINDS if self.found[kind])
        read, refused = self.found.total(), self.refused.total()
        self._report.record(
            event="finished", lines=read + refused, irrelevant=self.found[""], refused=refused,
            sent=self._sender.sent, dropped=self._sender.dropped,
            **{kind: self.found[kind] for kind in KINDS},
        )  # fmt: skip
        logger.info(
            "read %s lines: %s; %s irrelevant, %s refused; %s sent, %s dropped",
            f"{read + refused:,}", kinds or "nothing", f"{self.found['']:,}", f"{refused:,}",
            f"{self._sender.sent:,}", f"{self._sender.dropped:,}",
        )  # fmt: skip


class _Source:
    """A file to read. It is opened first, so that a missing one fails before anything is sent."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.complete = True
        try:
            self._fd = 0 if self.name == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            about = os.fstat(self._fd)
        except OSError as exc:
            raise Fatal(f"cannot read {path} ({exc.strerror}): give the name of a log") from exc
        if stat.S_ISDIR(about.st_mode):
            raise Fatal(f"{path} is a folder: give the name of a log")
        #: The size in bytes; 0 for a stream.
        self.size = about.st_size if stat.S_ISREG(about.st_mode) else 0
        if self.name == "-" and os.isatty(0):
            logger.info("reading the log from the terminal, until Ctrl-D")

    def blocks(self, stopping: Callable[[], bool]) -> Iterator[bytes]:
        """Yield blocks until the end; once *stopping*, only those that wait in a pipe."""
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        end = None
        while True:
            if stopping():
                end = end or SYSTEM.monotonic() + _DRAIN
                if self.size or SYSTEM.monotonic() > end:
                    break
            if not poller.poll(0 if end else 1000 * _CHECK):
                if end:
                    return
                continue
            try:
                block = os.read(self._fd, _BLOCK)
            except OSError as exc:
                raise Fatal(f"cannot read {self.name} ({exc.strerror})") from exc
            if not block:
                return
            yield block
        self.complete = False


class Sender:
    """Sends entries to the master at *address*.

    It waits for an absent or busy master until *ending* returns true. With *drop*, it drops
    entries that it cannot send at once.
    """

    def __init__(
        self, address: str, *, drop: bool, ending: Callable[[], bool], key: KeyPair | None = None
    ) -> None:
        self.sent = self.dropped = 0
        self._address = address
        self._drop = drop
        self._ending = ending
        self._warned = False
        self._ctx = zmq.Context()
        self._socket = Context(self._ctx).socket(zmq.PUSH, reversed(lumberjack))
        self._socket.hwm = _MAX_QUEUED
        if drop:
            # Then the socket queues nothing for an absent master.
            self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._watching = ExitStack()
        events = zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED
        self._connected = self._watching.enter_context(self._socket.monitor(events))
        try:
            self._socket.identify(key)
            self._socket.connect(address)
        except Fatal:
            self._watching.close()
            self._ctx.destroy(0)
            raise
        if drop:
            self._socket.poll(_CONNECT, zmq.POLLOUT)

    def send(self, entry: Entry) -> None:
        """Send *entry*, or drop it."""
        try:
            self._socket.send_msg(entry.msg, entry.data, zmq.DONTWAIT)
        except Unavailable:
            if self._drop or not self._wait():
                self._count_dropped()
                return
            self._socket.send_msg(entry.msg, entry.data, zmq.DONTWAIT)
        self.sent += 1

    def close(self) -> bool:
        """Flush the sent entries; return whether all of them arrived within a limit."""
        limit = _CONNECT if self._drop else _FLUSH
        end = SYSTEM.monotonic() + limit
        arrived = not self.sent or self._arrived(end)
        self._watching.close()
        self._socket.close(max(0.0, end - SYSTEM.monotonic()))
        self._ctx.term()
        if not arrived:
            logger.error(
                "the master took nothing for %g s, the last entries are lost: check that piw-master"
                " runs and listens at %s (--log-queue)", limit, self._address,
            )  # fmt: skip
        return arrived

    def _arrived(self, end: float) -> bool:
        """Wait until the master has read all entries.

        ZeroMQ loses the data in a Unix socket that closes while its reader is busy.
        """
        connection = None
        empty = 0
        while empty < 5:  # ZeroMQ may not have written all of them yet
            while self._connected.poll(0):
                event = self._connected.recv_multipart()[0]
                kind, number = struct.unpack("=Hi", event)
                connection = number if kind == zmq.EVENT_CONNECTED else None
            if SYSTEM.monotonic() > end:
                return False
            empty = 0 if connection is None or _unread(connection) else empty + 1
            time.sleep(0.02)
        return True

    def _wait(self) -> bool:
        """Wait until the socket takes an entry; return whether it does."""
        began = SYSTEM.monotonic()
        while not self._socket.poll(_CHECK, zmq.POLLOUT):
            waited = SYSTEM.monotonic() - began
            if waited > _BLOCKED and not self._warned:
                self._warned = True
                logger.warning(
                    "the master takes nothing, waiting: check that piw-master runs and listens at"
                    " %s (--log-queue), or give --drop", self._address,
                )  # fmt: skip
            if self._ending() and waited > _FLUSH:
                self._drop = True  # do not wait again for the others
                return False
        self._warned = False
        return True

    def _count_dropped(self) -> None:
        self.dropped += 1
        if should_log(self.dropped):
            logger.warning(
                "dropped %d entries so far: the master at %s is absent or busy",
                self.dropped, self._address,
            )  # fmt: skip


def _unread(connection: int) -> bool:
    """Return whether a Unix socket holds data that its peer has not read."""
    try:
        left = fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4))
    except OSError:  # closed, or another type of socket
        return False
    return any(left)


if __name__ == "__main__":
    sys.exit(main())
