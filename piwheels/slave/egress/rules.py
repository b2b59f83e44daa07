"""What a build may ask its proxy for. Pure."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from piwheels.core.paths import bracketed
from piwheels.core.program.builds import place

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from piwheels.core.program.builds import Place

#: The ports of an allowed host, unless it is allowed with a port.
_PORTS: Final = (80, 443)
_MIRRORED: Final = re.compile(
    r"/([0-9]{1,3})/(?:([A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?)/)?([^/?#]{0,800})",
    re.ASCII,
)


class Mirrored(NamedTuple):
    """A page (without *filename*) or a file of the upstream *number*; a list has no *project*."""

    number: int
    project: str
    filename: str


def own_path(target: str, host: str, port: int) -> str | None:
    """Return the path of a request to the proxy itself; ``None`` if it is one to another host.

    *target* and *host* are those of the request, *port* is that of the proxy.
    """
    own = {f"127.0.0.1:{port}", f"localhost:{port}"}
    if target.startswith("/"):
        return target if host in own else None
    scheme, _, rest = target.partition("://")
    netloc, _, path = rest.partition("/")
    return f"/{path}" if scheme == "http" and netloc in own else None


def mirrored(path: str) -> Mirrored | None:
    """Return what *path* is in the mirror; ``None``: nothing."""
    match = _MIRRORED.fullmatch(path)
    return Mirrored(int(match[1]), match[2] or "", unquote(match[3])) if match else None


def place_of(url: str) -> Place | None:
    """Return the place of *url*, if it is one of plain HTTP; else ``None``."""
    try:
        parts = urlsplit(url)
        port = 80 if parts.port is None else parts.port
    except ValueError:
        return None
    if parts.scheme != "http" or not parts.hostname or parts.username is not None:
        return None
    return place(f"{bracketed(parts.hostname)}:{port}")


def allowances(allowed: Collection[str], of_recipe: Collection[str] = ()) -> dict[str, int]:
    """Return how near the address of each allowed host may be (:mod:`piwheels.core.fetching`).

    Both have values of `allowed_host`. Those that only a recipe allows are public hosts.
    """
    own = {text: _nearest(found.host if (found := place(text)) else text) for text in allowed}
    return dict.fromkeys(of_recipe, 0) | own


def allowance(wanted: Place, allowed: Mapping[str, int]) -> int | None:
    """Return how near *wanted* may be, by :func:`allowances`; ``None``: it is not allowed."""
    exact = allowed.get(str(wanted))
    return allowed.get(bracketed(wanted.host)) if exact is None and wanted.port in _PORTS else exact


def _nearest(host: str) -> int:
    """Return how near the address of *host*, which the slave's operator allows, may be.

    A name must not lead to this machine. To reach it, allow the address.
    """
    host = host.strip("[]")
    try:
        ip_address(host)
    except ValueError:
        return 2 if host == "localhost" else 1
    return 2
