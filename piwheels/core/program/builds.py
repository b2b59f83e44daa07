"""The options of programs that run builds."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from piwheels.core.paths import bracketed, host
from piwheels.core.program.command_line import option

#: The sandboxes, the strongest first.
SANDBOXES: Final = ("bwrap", "landlock", "none")

_PLACE: Final = re.compile(
    r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):([0-9]{1,5})", re.ASCII
)


class Place(NamedTuple):
    """A host with a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


def place(text: str) -> Place | None:
    """Return the place ``HOST:PORT`` that a build wants to be connected to; ``None``: none."""
    match = _PLACE.fullmatch(text)
    if match is None or not 0 < int(match[2]) < 2**16:
        return None
    return Place(match[1].strip("[]").lower().rstrip("."), int(match[2]))


def allowed_host(text: str) -> str:
    """Return *text*, ``HOST`` or ``HOST:PORT``, in its normal form; raises ``ValueError``."""
    found = place(text)
    return str(found) if found else bracketed(host(text).lower())


def sandbox_option() -> Any:
    """Declare the option ``--sandbox``."""
    return option(
        default="auto",
        choices=("auto", *SANDBOXES),
        help="what confines builds; auto: the strongest that works (default: auto)",
    )


def allow_host_option() -> Any:
    """Declare the option ``--allow-host``."""
    return option(
        default=[],
        metavar="HOST[:PORT]",
        parse=allowed_host,
        help="builds may reach this host, too (can be repeated; default ports: 80 and 443)",
    )


def offline_build_option() -> Any:
    """Declare the option ``--offline-build``."""
    return option(
        default=False, help="a build fetches all that it needs, then compiles without a network"
    )
