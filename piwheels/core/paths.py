"""The folders and sockets of a farm on this machine (XDG Base Directory Specification)."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
import tempfile
from pathlib import Path
from typing import Final

#: The default role of piw-master in the database.
DAEMON: Final = "piwheels"
#: The file in the folder of piw-up with the options that lead other programs to that farm.
FARM_FILE: Final = "farm.toml"
#: The folder of the sockets of docs/deploy/piw-master.service.
SERVICE: Final = Path("/run/piwheels")


def runtime_dir() -> Path:
    """Return the private folder for this user's sockets.

    A service has the one that systemd created for it. This function does not create the folder:
    :meth:`Socket.bind <piwheels.core.transport.Socket.bind>` does, with mode 0700.
    """
    if own := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(own.partition(":")[0])
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and Path(base).is_dir() and os.access(base, os.W_OK):
        return Path(base, "piwheels")
    return Path(tempfile.gettempdir(), f"piwheels-{os.getuid()}")


def data_dir() -> Path:
    """Return the folder for the data of this user's farm. This function does not create it."""
    base = os.environ.get("XDG_DATA_HOME")
    return Path(base, "piwheels") if base else Path.home() / ".local/share/piwheels"


def master_socket(name: str) -> str:
    """Return the address of the master's socket *name* (``"import"``, ``"status"``, ...).

    It looks for this user's piw-master, then this user's piw-up, then the machine's service, and
    skips sockets on which no process listens.
    """
    paths = [folder / name for folder in (runtime_dir(), data_dir() / "run", SERVICE)]
    return f"ipc://{next(filter(_listens, paths), paths[0])}"


def running_farm() -> Path | None:
    """Return the folder of this user's piw-up, if :func:`master_socket` leads to it."""
    home = data_dir()
    return home if master_socket("import") == f"ipc://{home}/run/import" else None


def _listens(path: Path) -> bool:
    """Return whether this user can connect to a socket at *path*."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def address(text: str) -> str:
    """Return a socket's address with ``{run}`` replaced by :func:`runtime_dir`.

    Raises ``ValueError`` unless it is an address of the transport tcp, ipc or inproc.
    """
    if not (_is_tcp(text) or re.fullmatch(r"(?:ipc|inproc)://.+", text)):
        raise ValueError(f"{text!r} is not an address: write tcp://HOST:PORT or ipc://PATH")
    return text.replace("{run}", str(runtime_dir()))


def _is_tcp(text: str) -> bool:
    """Return whether *text* is a tcp address with a host (``*``: any) and a port (or ``*``).

    0MQ accepts more: it would connect to the "host" ``localhost:19055`` for ever.
    """
    match = re.fullmatch(r"tcp://(\*|[^\[\]:]+|\[[^\[\]]+\]):(\*|[0-9]{1,5})", text, re.ASCII)
    if match is None or (match[2] != "*" and int(match[2]) > 65535):
        return False
    try:
        return match[1] == "*" or bool(host(match[1]))
    except ValueError:
        return False


def host(text: str) -> str:
    """Return the name or IP address *text* of a host, an IPv6 address without brackets.

    Raises ``ValueError`` for anything else, such as ``HOST:PORT``.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(bare).version == 6 or bare == text:
            return bare
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}", text, re.ASCII):
        raise ValueError(f"{text!r} is not a host: write a name or an IP address, without a port")
    return text


def bracketed(host: str) -> str:
    """Return *host* as part of an address or a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
