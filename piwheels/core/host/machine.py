"""Statistics of this machine, from ``/proc``, ``/sys`` and the like.

No function here fails: an unknown value is 0 or ``""``, so containers, virtual machines and boards
of any kind all report.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from piwheels.core.states import SlaveStats

if TYPE_CHECKING:
    from datetime import datetime

_MAX_TEXT = 200
_MEMINFO = re.compile(r"^(\w+):\s+([0-9]+) kB$", re.MULTILINE)
_CPUINFO = re.compile(r"^(\w+)\s*: (.*)$", re.MULTILINE)


class Machine(NamedTuple):
    """The constant properties of a machine; ``""`` if unknown."""

    os_name: str
    os_version: str
    board_revision: str
    board_serial: str


def machine(root: Path = Path("/")) -> Machine:
    """Return the operating system's name and version, the board's revision and serial number."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    cpu = dict(_CPUINFO.findall(_read(root / "proc/cpuinfo")))
    tree = root / "proc/device-tree"
    return Machine(
        _clean(release.get("NAME", "") or platform.system()),
        _clean(release.get("VERSION", "") or release.get("VERSION_ID", "") or platform.release()),
        _clean(cpu.get("Revision", "") or _read(tree / "model")),
        _clean(cpu.get("Serial", "") or _read(tree / "serial-number")),
    )


def slave_stats(path: Path, now: datetime, root: Path = Path("/")) -> SlaveStats:
    """Return this machine's statistics, stamped *now*, with the disk that holds *path*."""
    memory = {
        key: int(value) * 1024 for key, value in _MEMINFO.findall(_read(root / "proc/meminfo"))
    }
    disk_size, disk_free = disk_space(path)
    return SlaveStats(
        timestamp=now,
        disk_size=disk_size,
        disk_free=disk_free,
        mem_size=memory.get("MemTotal", 0),
        mem_free=memory.get("MemAvailable", memory.get("MemFree", 0)),
        swap_size=memory.get("SwapTotal", 0),
        swap_free=memory.get("SwapFree", 0),
        load_average=load_average(),
        cpu_temp=cpu_temperature(root),
    )


def disk_space(path: Path) -> tuple[int, int]:
    """Return the size and the free space (for users) of the disk that holds *path*, in bytes."""
    try:
        disk = os.statvfs(path)
    except OSError:
        return (0, 0)
    return (disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize)


def load_average() -> float:
    """Return the load average of the last minute."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return 0.0


def cpu_temperature(root: Path = Path("/")) -> float:
    """Return the temperature of the first thermal zone in degrees Celsius (0: unknown)."""
    try:
        return int(_read(root / "sys/class/thermal/thermal_zone0/temp")) / 1000
    except ValueError:
        return 0.0


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(2**20).decode("utf-8", "replace")
    except OSError:
        return ""


def _clean(text: str) -> str:
    return "".join(char for char in text if char.isprintable()).strip()[:_MAX_TEXT]


def return_large_blocks() -> None:
    """Have this process return memory of large messages to the system as soon as it is free.

    The C library keeps more and more of it otherwise, and a pool for each thread.
    """
    threshold, pools = -3, -8  # M_MMAP_THRESHOLD, M_ARENA_MAX: see mallopt(3)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(threshold, 2**18)
        mallopt(pools, 2)
