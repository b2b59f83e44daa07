"""Delivers webhooks over HTTP, in a thread for each address."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from piwheels import __version__
from piwheels.core.errors import Fatal, PiWheelsError, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from piwheels.master.wiring import MasterConfig

#: The seconds without a byte, and in total, after which an attempt has failed.
SILENCE, TOTAL = 5.0, 15.0
#: The limits of a secret, in bytes.
_SHORTEST, _LONGEST = 16, 4096
_CONNECTIONS: Final = {
    "http": http.client.HTTPConnection,
    "https": http.client.HTTPSConnection,
}


class NotSent(PiWheelsError):
    """An attempt failed before there was an answer; the text says why."""


def read_secret(config: MasterConfig) -> bytes:
    """Return the secret for signatures (empty without webhooks). Raises ``Fatal``."""
    path = config.webhook_secret_file
    if path is None:
        if config.webhook:
            raise Fatal("--webhook needs a --webhook-secret-file: name a file with a secret")
        return b""
    try:
        with path.open("rb") as file:
            secret = file.read(_LONGEST + 1).strip()
    except OSError as exc:
        raise Fatal(f"cannot read --webhook-secret-file {path}: {exc.strerror}") from exc
    if not _SHORTEST <= len(secret) <= _LONGEST:
        raise Fatal(
            f"--webhook-secret-file {path} has {len(secret):,} bytes: write {_SHORTEST} to"
            f" {_LONGEST:,} into it (openssl rand -hex 32)"
        )
    return secret


def host_of(url: str) -> str:
    """Return the host of *url* for the log: the path of a webhook may be secret."""
    return urlsplit(url).netloc


def post(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """Send *body* to *url*; return the status of the answer, whose body is not read.

    Redirects are not followed, and proxies are not used. Raises :exc:`NotSent` after
    :data:`TOTAL` seconds at the latest, unless the look-up of the name takes longer.
    """
    parts = urlsplit(url)
    connection = _CONNECTIONS[parts.scheme](parts.hostname or "", parts.port, timeout=SILENCE)
    expired = threading.Event()

    def end() -> None:
        expired.set()
        if connection.sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    timer = threading.Timer(TOTAL, end)
    timer.daemon = True
    timer.start()
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    more = {"User-Agent": f"piwheels/{__version__}", "Connection": "close"}
    try:
        connection.request("POST", target, body, {**headers, **more})
        return int(connection.getresponse().status)
    except (OSError, ssl.SSLError, http.client.HTTPException, ValueError) as exc:
        if expired.is_set():
            raise NotSent(f"no answer within {TOTAL:g} s") from exc
        raise NotSent(one_line(exc) or type(exc).__name__) from exc
    finally:
        timer.cancel()
        connection.close()
