"""Reads METADATA in a process of its own, with limits on time and memory.

Its authors may have written a text that keeps a parser busy for hours. TheScribe, which writes all
pages, must not wait for it: the process is killed after some seconds of *its* processor time, so
that a busy machine changes no result.

The parent sends the length of a METADATA in a line, and its bytes. The process answers with two
lines of JSON: what :func:`piwheels.master.logic.wheel_metadata.parse` returns, without the
description; and the description as HTML.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from piwheels.core.clock import SYSTEM
from piwheels.master.logic import wheel_metadata
from piwheels.master.logic.wheel_metadata import Metadata

if TYPE_CHECKING:
    from piwheels.core.clock import Clock

#: The limits of one METADATA: seconds of processor time, seconds in all; memory in bytes.
CPU_SECONDS, WALL_SECONDS, MEMORY = 4.0, 30.0, 2**30
#: The process ends after so many seconds without work. It takes 75 MB.
_IDLE: Final = 60.0
#: The longest answer, in bytes.
_MAX_ANSWER: Final = 32 * 2**20
#: How many METADATA that failed are remembered, so that they take no time again.
_MOST_FAILED: Final = 1000


class Described(NamedTuple):
    """What a METADATA says, and its description as HTML.

    *metadata* is ``None`` if it could not be read within the limits. *left_out* are the names of
    fields with invalid values; *failed* tells that a limit was exceeded.
    """

    metadata: Metadata | None = None
    html: str = ""
    left_out: tuple[str, ...] = ()
    failed: bool = False


#: Nothing is known.
UNKNOWN: Final = Described()


class Describer:
    """Describes METADATA files, with a process that is started when there is one to read."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._failed: dict[bytes, Described] = {}

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            with self._process as process:
                process.kill()
            self._process = None

    def describe(self, data: bytes) -> Described:
        """Return what the METADATA *data* says; raises ``OSError`` if no process can be started.

        If the description cannot be rendered within the limits, it is shown as plain text.
        """
        digest = hashlib.sha256(data).digest()
        if digest not in self._failed:
            lines = self._ask(data)
            metadata, left_out = _metadata(lines[0]) if lines else (None, ())
            if len(lines) == 2:
                return Described(metadata, json.loads(lines[1]), left_out)
            html = wheel_metadata.preformatted(wheel_metadata.body(data))
            while len(self._failed) >= _MOST_FAILED:
                del self._failed[next(iter(self._failed))]
            self._failed[digest] = Described(metadata, html, left_out, failed=True)
        return self._failed[digest]

    def _ask(self, data: bytes) -> list[bytes]:
        """Return the lines of the answer: fewer than two if the process exceeds its limits."""
        process = self._process
        if process is not None and process.poll() is None:
            lines = self._exchange(process, data)
            if len(lines) == 2 or process.poll() != 0:
                return lines
            # It has just ended because it had no work
        self.close()
        command = [sys.executable, "-m", "piwheels.master.site.describer"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        return self._exchange(self._process, data)

    def _exchange(self, process: subprocess.Popen[bytes], data: bytes) -> list[bytes]:
        deadline = self._clock.monotonic() + WALL_SECONDS
        sending = memoryview(b"%d\n%s" % (len(data), data))
        answer = bytearray()
        poll = select.poll()
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        writing, reading = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(writing, False)
        poll.register(writing, select.POLLOUT)
        poll.register(reading, select.POLLIN)
        while answer.count(b"\n") < 2:
            left = deadline - self._clock.monotonic()
            ready = dict(poll.poll(1000 * min(left, 1.0))) if left > 0 else {}
            if left <= 0 or len(answer) > _MAX_ANSWER:
                process.kill()
                break
            if reading in ready:
                if not (part := os.read(reading, 2**20)):
                    break  # it has ended
                answer += part
            elif writing in ready:
                try:
                    sending = sending[os.write(writing, sending) :]
                except BrokenPipeError:
                    sending = sending[:0]
                if not sending:
                    poll.unregister(writing)
        else:
            return bytes(answer).split(b"\n")[:2]
        with suppress(subprocess.TimeoutExpired):
            process.wait(WALL_SECONDS)
        return bytes(answer).split(b"\n")[:-1]


def _metadata(line: bytes) -> tuple[Metadata, tuple[str, ...]]:
    fields, left_out = json.loads(line)
    return Metadata(*map(_tuples, fields)), tuple(left_out)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


# The process --------------------------------------------------------------------------------------


def main() -> None:
    """Answer requests until standard input ends, or none has come for a minute."""
    from piwheels.master.site import descriptions  # noqa: PLC0415 (it needs much memory)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the master, and that ends this
    for limit, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (most, most))
    while select.select([sys.stdin], [], [], _IDLE)[0]:
        size = sys.stdin.buffer.readline()
        if not size:
            return
        data = sys.stdin.buffer.read(int(size))
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # its signal ends the process
        parsed = wheel_metadata.parse(data)
        _say([parsed.metadata, parsed.left_out])
        _say(descriptions.render(parsed.description, parsed.media_type))
        signal.setitimer(signal.ITIMER_PROF, 0)


def _say(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
