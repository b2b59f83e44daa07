"""The options of programs that run builds."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from piwheels.core.architectures import parse_systems
from piwheels.core.paths import bracketed, host
from piwheels.core.program.command_line import option

#: The sandboxes, the strongest first.
SANDBOXES: Final = ("bwrap", "landlock", "none")

#: The most builds at once, and the number of ``--jobs`` that stands for ``auto``.
MAX_JOBS: Final = 64
AUTO: Final = 0

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


def emulate_option() -> Any:
    """Declare the option ``--emulate``."""
    return option(
        default=[],
        metavar="ARCH[/RELEASE]",
        parse=_systems,
        help="build for Debian of this architecture, too, such as armhf or riscv64/trixie: qemu"
        " runs it (can be repeated, or a list with commas)",
    )


def _systems(text: str) -> str:
    """Return *text*, if it names systems that can be emulated. Raises ``ValueError``."""
    parse_systems(text)
    return text


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


def no_packages_option() -> Any:
    """Declare the option ``--no-packages``."""
    return option(
        default=False,
        help="show no packages of Debian to a build but those of this machine; else builds that"
        " failed for lack of one may see it, from the sources of this machine's apt",
    )


def jobs_option(default: int | None, words: str = "") -> Any:
    """Declare the option ``--jobs``; *words* describe its *default* if it is ``None``."""
    return option(
        "-j",
        default=default,
        metavar="N|auto",
        parse=_jobs,
        help="how many builds to run at once; auto: as many as this machine has room for"
        + (f" (default: {words})" if words else ""),
    )


def _jobs(text: str) -> int:
    """Return the number of builds to run at once, or :data:`AUTO`. Raises ``ValueError``."""
    if text == "auto":
        return AUTO
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= MAX_JOBS):
        raise ValueError(f"{text!r} is not a number from 1 to {MAX_JOBS}, nor auto")
    return int(text)
