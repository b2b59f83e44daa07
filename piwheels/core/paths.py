"""Where things are on a machine, by the XDG Base Directory specification."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Final

#: The role of piw-master in the database.
DAEMON: Final = "piwheels"
#: The file in the folder of piw-up that has the options by which programs find that farm.
FARM_FILE: Final = "farm.toml"
#: Where docs/deploy/piw-master.service has its sockets.
SERVICE: Final = Path("/run/piwheels")


def runtime_dir() -> Path:
    """Return the private folder for this user's sockets.

    It is not made here, but (with mode 0700) when a socket is bound in it. A service has the one
    that systemd made for it.
    """
    if own := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(own.partition(":")[0])
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and Path(base).is_dir() and os.access(base, os.W_OK):
        return Path(base, "piwheels")
    return Path(tempfile.gettempdir(), f"piwheels-{os.getuid()}")


def data_dir() -> Path:
    """Return the folder for this user's farm (not made here)."""
    base = os.environ.get("XDG_DATA_HOME")
    return Path(base, "piwheels") if base else Path.home() / ".local/share/piwheels"


def master_socket(name: str) -> str:
    """Return where the master has its socket *name*.

    It is this user's piw-master, or else this user's piw-up, or else the machine's service. One
    that was killed has left a socket at which nobody listens.
    """
    paths = [folder / name for folder in (runtime_dir(), data_dir() / "run", SERVICE)]
    return f"ipc://{next(filter(_listens, paths), paths[0])}"


def running_farm() -> Path | None:
    """Return the folder of this user's piw-up, if that is the master which programs reach."""
    home = data_dir()
    return home if master_socket("import") == f"ipc://{home}/run/import" else None


def _listens(path: Path) -> bool:
    """Tell whether there is somebody who listens at *path*, and whom we may reach."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def address(text: str) -> str:
    """Return a socket's address with ``{run}`` replaced by :func:`runtime_dir`.

    Raises ``ValueError`` for what is no address of a kind that we use.
    """
    if not text.startswith(("tcp://", "ipc://", "inproc://")):
        raise ValueError(f"{text!r} is not an address: write tcp://HOST:PORT or ipc://PATH")
    return text.replace("{run}", str(runtime_dir()))
