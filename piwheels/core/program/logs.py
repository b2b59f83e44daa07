"""The log file of ``--log-file``, and SIGHUP, which means: open it again.

Other programs (logrotate) may move or remove the file at any time. SIGHUP also comes when a
terminal is closed: then a daemon that was started in it ends as after SIGTERM.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from logging.handlers import WatchedFileHandler
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger("log")


class LogFile(WatchedFileHandler):
    """Writes the log to *path*, and opens it again when it was moved or removed.

    A file that cannot be written is reported once, to the other handlers, and tried again with
    each line: a full disk or a missing folder must not end a task that logs something.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self._error: BaseException | None = None
        self._reported = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*."""
        self._error = None
        try:
            super().emit(record)
        except OSError as exc:
            self._error = exc
            self._drop()
        if self._error is None:
            self._reported = False
        elif not self._reported:
            self._reported = True  # first: this handler gets the warning, too
            logger.warning(
                "cannot write %s (%s): make it writable; until then, lines are missing there",
                self.baseFilename,
                self._error,
            )

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (as in logging)
        """Note why *record* was not written."""
        self._error = sys.exception()
        if not isinstance(self._error, OSError):  # a bug: Python shows where
            super().handleError(record)

    def reopen(self) -> None:
        """Open the file again if it was moved or removed."""
        self.acquire()
        try:
            self.reopenIfNeeded()
        except OSError:
            self._drop()  # the next line opens it, or reports why not
        finally:
            self.release()

    def _drop(self) -> None:
        """Close the file with what could not be written."""
        stream, self.stream = self.stream, None
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def reopen_on_hangup() -> None:
    """Have SIGHUP open the log files again, or end the program if its terminal was closed.

    Under ``nohup``, SIGHUP stays without effect; the log files do not need it. Call it in the main
    thread, after :func:`~piwheels.core.program.command_line.set_up_logging`.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return
    had_terminal = _has_terminal()
    hangups: SimpleQueue[int] = SimpleQueue()  # its put is safe in a signal handler, logging is not

    def hung_up(number: int, _: object) -> None:
        if had_terminal and not _has_terminal():
            signal.raise_signal(signal.SIGTERM)
        else:
            hangups.put(number)

    def reopen() -> None:
        while hangups.get():
            for handler in logging.getLogger().handlers:
                if isinstance(handler, LogFile):
                    handler.reopen()
            logger.info("SIGHUP: the log files are open again")

    threading.Thread(target=reopen, name="log", daemon=True).start()
    signal.signal(signal.SIGHUP, hung_up)


def _has_terminal() -> bool:
    """Return whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
