"""The limits of a build, and the sentences about a build that exceeded one."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from piwheels.core.words import size_text

if TYPE_CHECKING:
    from piwheels.core.recipes import Recipe

#: The size limit of a file that a build writes, and the free space that it leaves, in bytes.
MAX_FILE: Final = 8 * 2**30
RESERVE: Final = 64 * 2**20
#: The limit of open files in each process of a build.
MAX_OPEN_FILES: Final = 16_384


def machine_memory() -> int:
    """Return this machine's memory, in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def most_memory() -> int:
    """Return how much memory a single build may use here, in bytes, also by a recipe."""
    return machine_memory() // 4 * 3


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one build may use: *memory* and *disk* are in bytes, *cpu* is processor time."""

    silence: timedelta = timedelta(minutes=30)
    cpu: timedelta = timedelta(hours=12)
    memory: int = 0  #: 0: three quarters of the machine's, for a single build
    disk: int = 20 * 10**9
    processes: int = 1000

    def totals(self) -> dict[str, int]:
        """Return the limits of all processes together, as a supervisor takes them."""
        return {
            "processes": self.processes,
            "memory": self.memory or most_memory(),
            "cpu": int(self.cpu.total_seconds()),
            "disk": self.disk,
        }

    def with_recipe(self, recipe: Recipe) -> Limits:
        """Return these limits, or those of *recipe* that are greater."""
        return replace(self, memory=max(self.totals()["memory"], recipe.memory))

    def reason(self, kind: str) -> str:
        """Return why a build was stopped, if *kind* is a limit; else ``""``."""
        totals = self.totals()
        texts = {
            "silent": f"it wrote nothing for {self.silence} (--silence)",
            "processes": f"it ran more than {self.processes} processes (--processes)",
            "memory": f"it used more than {size_text(totals['memory'])} of memory (--memory)",
            "cpu": f"it used more than {self.cpu} of processor time (--cpu-time)",
            "disk": f"it used more than {size_text(self.disk)} of disk (--disk)",
        }
        return f"the build was stopped: {texts[kind]}" if kind in texts else ""
