"""The cost of one console: its share of a core, and its longest stall."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import pty
import select
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from support import program, table
from support.flood import Flood

from piwheels.console.clock import ConsoleClock
from piwheels.console.session import Session
from piwheels.console.ui.app import ConsoleApp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual.pilot import Pilot

SIZES = ((80, 24), (120, 40), (200, 50))
CASES = ((500, 50, SIZES), (5_000, 150, SIZES[1:2]))
WARM, SECONDS, RUNS = 1.5, 4.0, 3
ATTACHED = 30.0  # the limit for receiving all slaves, in seconds
PROBE = 0.005  # the interval at which the event loop is checked, in seconds


class Cost(NamedTuple):
    """The share of a core, in percent, and the longest stall of the event loop, in ms.

    Both use the processor time of this process, so that other processes do not count.
    """

    cpu: float
    stall: float


def idle() -> float:
    """Return the share of a core that the measurement itself uses, in percent."""

    async def measure() -> float:
        return (await _measured(2.0)).cpu

    return asyncio.run(measure())


async def _measured(seconds: float) -> Cost:
    longest, begin, used = 0.0, time.monotonic(), time.process_time()
    last = used
    while time.monotonic() - begin < seconds:
        await asyncio.sleep(PROBE)
        now = time.process_time()
        longest, last = max(longest, now - last), now
    return Cost(100 * (last - used) / (time.monotonic() - begin), 1000 * longest)


def headless(
    slaves: int, rate: float, size: tuple[int, int], warm: float = WARM, seconds: float = SECONDS
) -> Cost:
    """Measure the fleet screen without a terminal."""

    async def run() -> Cost:
        app = ConsoleApp(Session(Flood(slaves, rate)), clock=ConsoleClock())
        async with app.run_test(size=size) as pilot:
            await _shown(app, pilot, slaves)
            await asyncio.sleep(warm)
            return await _measured(seconds)

    gc.collect()  # collect the garbage of earlier measurements first
    return asyncio.run(run())


async def _shown(app: ConsoleApp, pilot: Pilot[None], slaves: int) -> None:
    """Wait until the console knows all slaves."""
    begin = time.monotonic()
    while len(app.session.farm.slaves) < slaves:
        if time.monotonic() - begin > ATTACHED:
            sys.exit("the console has not attached")
        await pilot.pause(0.1)


def on_pty(slaves: int, size: tuple[int, int]) -> tuple[float, float]:
    """Measure a complete console on a terminal: its share of a core, and its output in KiB/s."""
    home = Path(tempfile.mkdtemp(prefix="piw-bench-", dir="/tmp"))  # short: sockets are in it
    options = [f"--slaves={slaves}", f"--dir={home}", "--history=10m"]
    try:
        with program(home, "piwheels.console.simulate", *options), console(home, size) as screen:
            process, terminal = screen
            _drain(terminal, 3 * WARM)
            used, begin = _used(process.pid), time.monotonic()
            written = _drain(terminal, SECONDS)
            seconds = time.monotonic() - begin
            if process.poll() is not None:
                sys.exit("the console has ended")
            return 100 * (_used(process.pid) - used) / seconds, written / seconds / 1024
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def console(home: Path, size: tuple[int, int]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run ``piw-console`` on a new pseudo-terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    env = {
        **os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_STATE_HOME": str(home),
        "TERM": "xterm-256color", "COLORTERM": "truecolor",
    }  # fmt: skip
    command = [sys.executable, "-m", "piwheels.console", f"--status-queue=ipc://{home}/status"]
    process = subprocess.Popen(command, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _drain(terminal: int, seconds: float) -> int:
    written, end = 0, time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            written += len(os.read(terminal, 65_536))
    return written


def _used(pid: int) -> float:
    """Return the processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Measure the cases, and print them."""
    overhead = idle()
    rows = []
    for slaves, rate, sizes in CASES:
        for size in sizes:
            costs = [headless(slaves, rate, size) for _ in range(RUNS)]
            what = f"{slaves:,} slaves, {rate} messages/s, {size[0]}x{size[1]}"
            cpu = statistics.median(cost.cpu for cost in costs) - overhead
            rows += [
                (f"{what}: median of {RUNS}", f"{cpu:.1f}", "% of a core"),
                ("  longest stall", f"{max(cost.stall for cost in costs):.0f}", "ms"),
            ]
    for size in SIZES[1:]:
        share, written = on_pty(500, size)
        what = f"500 slaves, on a terminal, {size[0]}x{size[1]}"
        rows += [(what, f"{share:.1f}", "% of a core"), ("  written", f"{written:.0f}", "KiB/s")]
    table("One console", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
