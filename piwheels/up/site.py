"""Reads the site: the wheels that its index lists, and the logs of failed builds."""

from __future__ import annotations

import gzip
import ipaddress
import json
import os
import socket
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from packaging.markers import UndefinedEnvironmentName
from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion

from piwheels.core.errors import Fatal
from piwheels.core.paths import bracketed
from piwheels.core.site import log_name
from piwheels.core.wheels.tags import canonical

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

#: The limit for reading a log, in bytes.
MAX_LOG: Final = 32 * 2**20


def lists(site: Path, package: str, filenames: Collection[str]) -> bool:
    """Return whether *package*'s page in the simple index of *site* has all of *filenames*."""
    return hashes(site, package).keys() >= set(filenames)


def hashes(site: Path, package: str) -> dict[str, str]:
    """Return the SHA-256 of each file on *package*'s page in the simple index of *site*."""
    try:
        page = json.loads((site / "simple" / package / "index.v1_json").read_bytes())
        files = page["files"]
        return {file["filename"]: file.get("hashes", {}).get("sha256", "") for file in files}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def missing(site: Path, package: str, wheel: str, pythons: Iterable[str]) -> dict[str, str]:
    """Return the dependencies of *wheel* that *site* lacks, for any of *pythons* (``"3.11"``).

    The keys are names, the values are requirements (PEP 508: ``"tzdata>=2024"``).
    """
    try:
        data = (site / "simple" / package / f"{wheel}.metadata").read_bytes()
    except OSError:
        return {}
    metadata, _ = parse_email(data)
    places = [{"extra": "", "python_version": v, "python_full_version": f"{v}.0"} for v in pythons]
    wanted = {}
    for text in metadata.get("requires_dist", []):
        try:
            need = Requirement(text)
            if need.marker is None or any(need.marker.evaluate(place) for place in places):
                wanted[canonical(need.name)] = f"{canonical(need.name)}{need.specifier}"
        except (InvalidRequirement, InvalidVersion, UndefinedEnvironmentName):
            continue
    return {name: spec for name, spec in sorted(wanted.items()) if not hashes(site, name)}


def read_log(site: Path, build_id: int) -> str:
    """Return the log of a build, or ``""`` if it does not exist yet."""
    try:
        with gzip.open(site / log_name(build_id)) as file:
            return file.read(MAX_LOG).decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error):
        return ""


def free_port(host: str, port: int) -> int:
    """Return *port*, or a free one for 0; raise :exc:`Fatal` if it is in use."""
    try:
        family, type_, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, type_, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(1)
            return int(listener.getsockname()[1])
    except OSError as exc:
        raise Fatal(
            f"the site cannot be served on {host} port {port} ({exc.strerror}): stop what listens"
            " there, or choose another --port"
        ) from None


def free_ports() -> Iterator[int]:
    """Yield free ports of the loopback address, below those that the system gives to clients.

    A slave that connects to such a port before the master listens could be connected to itself.
    """
    for port in range(10_000 + os.getpid() % 20_000, 32_768):
        with suppress(Fatal):
            yield free_port("127.0.0.1", port)


def host_in_url(host: str) -> str:
    """Return *host* as part of a URL that works on this machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return bracketed(str(address))


def is_everywhere(host: str) -> bool:
    """Return whether *host* stands for all addresses of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def needs_trust(host: str) -> bool:
    """Return whether pip needs ``--trusted-host`` for an unencrypted index on *host*."""
    if host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return True
