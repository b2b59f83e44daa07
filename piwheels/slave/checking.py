"""What ``piw-slave --check`` checks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from piwheels.core.errors import Fatal
from piwheels.core.keys.options import client_pair
from piwheels.core.program.checking import reaching_problem
from piwheels.core.program.privileges import refuse_root
from piwheels.slave.builder import why_unusable
from piwheels.slave.emulation.offers import unavailable
from piwheels.slave.readiness import examine
from piwheels.slave.workshops import open_workshops

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piwheels.slave.config import SlaveConfig


def problems(config: SlaveConfig) -> Iterator[str]:
    """Yield what would prevent a slave with *config* from building, each with its remedy."""
    folder = config.dir or Path(tempfile.gettempdir())
    try:
        refuse_root("piw-slave")
    except Fatal as exc:
        yield str(exc)
    try:
        found = examine(open_workshops(config.python), folder)
    except Fatal as exc:
        yield str(exc)
        if why := why_unusable(folder):
            yield why
    else:
        yield from (*found.fatal, *found.lacks)
    for system in config.systems:
        if why := unavailable(system):
            yield f"cannot emulate {system}: {why}"
    try:
        if config.join is None:
            client_pair(config.key, config.master_key)
    except Fatal as exc:
        yield str(exc)
    for name, address in zip(("slave", "file"), config.queues, strict=True):
        option = f"--{name}-queue" if getattr(config, f"{name}_queue") else "--master"
        if why := reaching_problem(address, option):
            yield why
