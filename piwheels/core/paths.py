"""The folders and sockets of a farm on this machine (XDG Base Directory Specification)."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import pwd
import re
import socket
import tempfile
import tomllib
from pathlib import Path
from typing import Final

#: The default role of piw-master in the database.
DAEMON: Final = "piwheels"
#: The file next to a master's sockets with the options by which tools find the farm.
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
    return Path(base, "piwheels") if base else _home() / ".local/share/piwheels"


def cache_dir() -> Path:
    """Return the folder for what this user's programs can make again. It may not exist."""
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base, "piwheels") if base else _home() / ".cache/piwheels"


def _home() -> Path:
    """Return this user's home: HOME, or that of the account if HOME does not exist."""
    home = Path.home()
    with contextlib.suppress(KeyError):  # an account without a name, in a container
        account = Path(pwd.getpwuid(os.getuid()).pw_dir)
        if not home.is_dir() and account.is_dir():
            return account
    return home


def master_socket(name: str) -> str:
    """Return the address of the master's socket *name* (``"import"``, ``"status"``, ...).

    It looks for this user's piw-master, then this user's piw-up, then the machine's service, and
    skips sockets on which no process listens.
    """
    paths = [folder / name for folder in _socket_dirs()]
    return f"ipc://{next(filter(_listens, paths), paths[0])}"


def farm_file() -> Path | None:
    """Return the file that describes the farm of :func:`master_socket`.

    If no master runs, return the file of the farm that started last. ``None`` if there is none.
    """
    found = {}
    for folder in _socket_dirs():
        with contextlib.suppress(OSError):
            about = (folder / FARM_FILE).lstat()
            # Another user could have made the folder of this user in /tmp.
            if about.st_uid == os.geteuid() or folder == SERVICE:
                found[folder] = about.st_mtime
    running = Path(master_socket("import").removeprefix("ipc://"))
    if _listens(running):
        return running.with_name(FARM_FILE) if running.parent in found else None
    return max(found, key=found.__getitem__) / FARM_FILE if found else None


def farm_dsn() -> str:
    """Return the database of the farm of :func:`farm_file`; ``""``: there is none."""
    file = farm_file()
    return "" if file is None else str(tomllib.loads(file.read_text("utf-8"))["audit"]["dsn"])


def write_farm_file(dsn: str, site: Path, import_queue: str, file_queue: str) -> None:
    """Write the options by which tools find a farm, next to its socket *import_queue*.

    Only this user can read the file: *dsn* may contain a password. Does nothing for other sockets.
    Raises :exc:`OSError`.
    """
    if not import_queue.startswith("ipc:///"):
        return
    path = Path(import_queue.removeprefix("ipc://")).with_name(FARM_FILE)
    audit = {"dsn": dsn, "output-path": str(site.absolute()), "import-queue": import_queue}
    importer = {"import-queue": import_queue, "file-queue": to_connect(file_queue)}
    lines = ["# Written by piw-master."]
    for table, options in {"audit": audit, "import": importer}.items():
        lines += ["", f"[{table}]"]
        lines += [
            f"{key} = {json.dumps(each, ensure_ascii=False)}" for key, each in options.items()
        ]
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(file, "w", encoding="utf-8", errors="replace") as stream:  # noqa: PTH123 (it is open)
        stream.write("\n".join([*lines, ""]))


def _socket_dirs() -> tuple[Path, ...]:
    """Return the folders of the sockets of this user's master and piw-up, and of the service."""
    return runtime_dir(), data_dir() / "run", SERVICE


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


def to_connect(where: str) -> str:
    """Return the address at which this machine reaches a socket bound to *where*."""
    for any_address in ("tcp://*:", "tcp://0.0.0.0:"):
        if where.startswith(any_address):
            return where.replace(any_address, "tcp://127.0.0.1:")
    return where.replace("tcp://[::]:", "tcp://[::1]:")


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
