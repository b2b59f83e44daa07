"""Hosts with several lanes, as consoles know them. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from piwheels.core.protocols import Lane

if TYPE_CHECKING:
    from collections.abc import Iterable

    from piwheels.core.states import SlaveState


def lanes(slaves: Iterable[SlaveState]) -> list[Lane]:
    """Return which of *slaves* are lanes, and of which host.

    A host is named by a digest of its identity, with which another program could return in its
    place, and of the owner of its key.
    """
    found = []
    for slave in slaves:
        lane = (slave.features or {}).get("lane")
        if slave.level > 0 and type(lane) is int and 0 < lane < 2**31 and slave.identity:
            about = f"{slave.owner}\0{slave.identity}".encode("utf-8", "surrogatepass")
            found.append(Lane(slave.slave_id, hashlib.sha256(about).hexdigest()[:16], lane))
    return found
