"""The identity of a slave. It tells the master which of two slaves with one label has returned."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import Final

from piwheels.core.host.machine import machine
from piwheels.core.paths import data_dir

#: The file with the secret, in the folder of this user's data.
FILE: Final = "slave.id"

_SECRET: Final = re.compile(r"[0-9a-f]{64}\n?")


def identity(*about: str, root: Path = Path("/")) -> str:
    """Return 32 hexadecimal digits that stand for the slave *about* (its label, interpreter, ...).

    They follow from a random secret, which is made once and kept on the disk, and from the numbers
    of the machine and its board. So a copy of the disk in another board is another slave.
    """
    try:
        secret = _kept_secret(data_dir() / FILE)
    except (OSError, RuntimeError) as exc:  # RuntimeError: this user has no home
        logging.getLogger("slave").warning(
            "cannot keep the identity of this slave (%s): it is another one after a restart", exc
        )
        secret = secrets.token_hex(32)
    number = _read(root / "etc/machine-id")
    parts = [secret, number, machine(root).board_serial, *about]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _kept_secret(path: Path) -> str:
    """Return the secret in the file *path*; make it if it is missing or damaged."""
    if secret := _valid(path):
        return secret
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{FILE}-", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(handle)
        try:
            os.link(name, path)
        except FileExistsError:
            if not _valid(path):  # otherwise another slave has just made it
                Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    return _valid(path)


def _valid(path: Path) -> str:
    text = _read(path)
    return text.strip() if _SECRET.fullmatch(text) else ""


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(200).decode("ascii", "replace")
    except OSError:
        return ""
