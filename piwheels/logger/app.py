"""The program: reads the log, and sends the master what is of interest in it."""

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
from piwheels.core.errors import Fatal, Unavailable, worth_telling
from piwheels.core.program.command_line import Common, option, program
from piwheels.core.program.paths import address, master_socket
from piwheels.core.program.terminal import Progress
from piwheels.core.protocols import lumberjack
from piwheels.core.transport import Context
from piwheels.logger.hits import KINDS, Entry, entry_of
from piwheels.logger.lines import FORMATS, MAX_LINE, BadLine, Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger("logger")

#: What is read at once, in bytes.
_PIECE: Final = 256 * 1024
#: How many entries may wait to be taken.
_WAITING: Final = 10_000
#: Seconds that the master may take to be found, before an entry is dropped for its absence.
_FIND: Final = 1.0
#: Seconds that it may take nothing, before we say so; and that the last entries may take.
_SILENCE, _LAST = 5.0, 10.0
#: Seconds that what a pipe holds may take, when we are told to end.
_DRAIN: Final = 3.0
#: Seconds between two looks at whether we are told to end.
_LOOK: Final = 0.5


def _format(name: str) -> str:
    if name not in FORMATS:
        raise ValueError(f"{name!r} is not a format: choose one of {', '.join(FORMATS)}")
    return name


@dataclass(frozen=True, kw_only=True)
class LoggerConfig(Common):
    """Tell the master what was fetched from the site, from the web server's access log."""

    files: list[Path] = option(
        default=[], positional=True, metavar="FILE",
        help="a log to read; - or none: standard input, as it comes",
    )  # fmt: skip
    format: str = option(
        "-f", default="combined", metavar="FORMAT", parse=_format,
        help=f"how its lines look: {', '.join(FORMATS)}",
    )  # fmt: skip
    site: str = option(
        default="", metavar="NAME", help="the virtual host that counts (formats vhost and json)"
    )
    drop: bool = option(default=False, help="drop what the master does not take at once")
    log_queue: str = option(
        default="", metavar="ADDR", parse=address,
        help="where the master listens (default: this user's, or else the service)",
    )  # fmt: skip


EXAMPLES: Final = [
    ("piw-logger /var/log/nginx/access.log", "read a log that is complete"),
    ("tail -n0 -F access.log | piw-logger --drop", "follow one that grows"),
]


@program("piw-logger", LoggerConfig, examples=EXAMPLES)
def main(config: LoggerConfig) -> int:
    """Run ``piw-logger``."""
    run = Run(config)
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, run.stop)
    return run.run()


class Run:
    """One run of the program: what it has read, sent, refused and dropped so far."""

    def __init__(self, config: LoggerConfig) -> None:
        self.found: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._parse = FORMATS[config.format]
        self._format = config.format
        self._site = config.site.lower()
        self._stopping = False
        self._sources = [_Source(path) for path in config.files or [Path("-")]]
        self._sender = Sender(
            config.log_queue or master_socket("log"), drop=config.drop, ending=self._is_stopping
        )
        total = sum(source.size for source in self._sources)
        self._progress = Progress(total, "bytes", quiet=config.quiet or not total)

    def stop(self, *_: object) -> None:
        """Have the run end: what a pipe holds is still read; fit for a signal's handler."""
        self._stopping = True

    def _is_stopping(self) -> bool:
        return self._stopping

    def run(self) -> int:
        """Read all, send what is of interest; return the exit status."""
        try:
            with self._progress:
                complete = all(self._read(source) for source in self._sources)
        finally:
            sent = self._sender.close()
            self._sum_up()
        if not complete:
            logger.warning("told to end: what was left of the log is not read")
        alien = self.refused and not self.found
        if alien:
            logger.error("no line is of the format %s: choose another --format", self._format)
        return 0 if complete and sent and not alien else 1

    def _read(self, source: _Source) -> bool:
        """Read one file; return whether all of it was read."""
        lines = Lines()
        for piece in source.pieces(self._is_stopping):
            for line in lines.feed(piece):
                self._take(line)
            if source.size:
                self._progress.step(len(piece), source.name)
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
        if worth_telling(self.refused[why]):
            self._progress.clear()
            shown = f": {line[:100]!r}" if line else ""
            logger.warning("refused %d lines, %s%s", self.refused[why], why, shown)

    def _sum_up(self) -> None:
        kinds = ", ".join(f"{self.found[kind]:,} {kind}" for kind in KINDS if self.found[kind])
        read, refused = self.found.total(), self.refused.total()
        logger.info(
            "read %s lines: %s; %s of no interest, %s refused; %s sent, %s dropped",
            f"{read + refused:,}", kinds or "nothing", f"{self.found['']:,}", f"{refused:,}",
            f"{self._sender.sent:,}", f"{self._sender.dropped:,}",
        )  # fmt: skip


class _Source:
    """A file to read, open from the start, so that none is missed after others were sent."""

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
        #: How many bytes there are; 0 for what comes as it comes.
        self.size = about.st_size if stat.S_ISREG(about.st_mode) else 0
        if self.name == "-" and os.isatty(0):
            logger.info("reading the log from the terminal, until Ctrl-D")

    def pieces(self, stopping: Callable[[], bool]) -> Iterator[bytes]:
        """Give what is read, until the end; when *stopping*, only what waits in a pipe."""
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        end = None
        while True:
            if stopping():
                end = end or SYSTEM.monotonic() + _DRAIN
                if self.size or SYSTEM.monotonic() > end:
                    break
            if not poller.poll(0 if end else 1000 * _LOOK):
                if end:
                    return
                continue
            try:
                piece = os.read(self._fd, _PIECE)
            except OSError as exc:
                raise Fatal(f"cannot read {self.name} ({exc.strerror})") from exc
            if not piece:
                return
            yield piece
        self.complete = False


class Sender:
    """Sends entries to the master at *where*.

    It waits for a master that is not there, or busy, until *ending*; with *drop*, it drops what
    cannot leave at once.
    """

    def __init__(self, where: str, *, drop: bool, ending: Callable[[], bool]) -> None:
        self.sent = self.dropped = 0
        self._where = where
        self._drop = drop
        self._ending = ending
        self._told = False
        self._ctx = zmq.Context()
        self._socket = Context(self._ctx).socket(zmq.PUSH, reversed(lumberjack))
        self._socket.hwm = _WAITING
        if drop:
            # What waits for a master that is not connected has not left.
            self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._watching = ExitStack()
        events = zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED
        self._connected = self._watching.enter_context(self._socket.monitor(events))
        try:
            self._socket.connect(where)
        except Fatal:
            self._watching.close()
            self._ctx.destroy(0)
            raise
        if drop:
            self._socket.poll(_FIND, zmq.POLLOUT)

    def send(self, entry: Entry) -> None:
        """Send *entry*, or drop it."""
        try:
            self._socket.send_msg(entry.msg, entry.data, zmq.DONTWAIT)
        except Unavailable:
            if self._drop or not self._wait():
                self._lose()
                return
            self._socket.send_msg(entry.msg, entry.data, zmq.DONTWAIT)
        self.sent += 1

    def close(self) -> bool:
        """See what was sent out of the door; tell whether all of it went, within a limit."""
        limit = _FIND if self._drop else _LAST
        end = SYSTEM.monotonic() + limit
        arrived = not self.sent or self._arrived(end)
        self._watching.close()
        self._socket.close(max(0.0, end - SYSTEM.monotonic()))
        self._ctx.term()
        if not arrived:
            logger.error(
                "the master took nothing for %g s, the last entries are lost: see that piw-master"
                " runs and listens at %s (--log-queue)", limit, self._where,
            )  # fmt: skip
        return arrived

    def _arrived(self, end: float) -> bool:
        """Wait until the other side has read all that we wrote; what it has not is lost.

        (0MQ drops what is still in a unix socket when that is closed while the reader is busy.)
        """
        connection = None
        calm = 0
        while calm < 5:  # there may be more that has not been written
            while self._connected.poll(0):
                event = self._connected.recv_multipart()[0]
                kind, number = struct.unpack("=Hi", event)
                connection = number if kind == zmq.EVENT_CONNECTED else None
            if SYSTEM.monotonic() > end:
                return False
            calm = 0 if connection is None or _unread(connection) else calm + 1
            time.sleep(0.02)
        return True

    def _wait(self) -> bool:
        """Wait until there is room; return whether there is."""
        began = SYSTEM.monotonic()
        while not self._socket.poll(_LOOK, zmq.POLLOUT):
            waited = SYSTEM.monotonic() - began
            if waited > _SILENCE and not self._told:
                self._told = True
                logger.warning(
                    "the master takes nothing, waiting: see that piw-master runs and listens at %s"
                    " (--log-queue), or give --drop", self._where,
                )  # fmt: skip
            if self._ending() and waited > _LAST:
                self._drop = True  # of the others, none is waited for
                return False
        self._told = False
        return True

    def _lose(self) -> None:
        self.dropped += 1
        if worth_telling(self.dropped):
            logger.warning(
                "dropped %d entries so far: the master at %s is away, or busy",
                self.dropped, self._where,
            )  # fmt: skip


def _unread(connection: int) -> bool:
    """Return whether the other side of a unix socket has not read all that was written."""
    try:
        left = fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4))
    except OSError:  # it is gone, or of another kind
        return False
    return any(left)


if __name__ == "__main__":
    sys.exit(main())
