"""``--check``: a program says everything that is wrong with its configuration, and ends.

A check changes nothing: it makes no folder and no table, and takes no address for longer than it
needs to see that the address is free.
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import zmq

from piwheels.core.errors import Fatal, one_line
from piwheels.core.program.command_line import option
from piwheels.core.program.report import Report
from piwheels.core.transport import bind_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from piwheels.core.program.command_line import Common

#: The longest path of a Unix socket, in bytes.
_MAX_SOCKET_PATH: Final = 107
#: How long a connection may take, in seconds.
_REACH_SECONDS: Final = 5.0


def check_option() -> Any:
    """Declare the option ``--check``."""
    return option(default=False, help="only say what is wrong with the configuration, and end")


def report(config: Common, problems: Iterable[str]) -> int:
    """Write each of *problems* as a line; return the exit status: 1 if there are any."""
    out, found = Report(config), False
    for problem in problems:
        found = True
        out.write(problem, event="problem")
    if not found:
        out.write("the configuration is good", event="good")
    return 1 if found else 0


def folder_problem(path: Path, name: str) -> str:
    """Return what prevents this process from writing to the folder *path*, or ``""``.

    A folder that does not exist counts as good if it can be made. *name* is the option.
    """
    found = path.absolute()
    while not found.exists() and found != found.parent:
        found = found.parent
    if not found.is_dir():
        return f"{found} is not a folder: choose another {name}"
    if not os.access(found, os.W_OK | os.X_OK):
        return f"cannot write to {found}: let this user write there, or choose another {name}"
    return ""


def address_problem(address: str, name: str, *, busy_is_good: bool = False) -> str:
    """Return why this process cannot listen on *address*, or ``""``.

    *name* is the option. *busy_is_good*: a program that listens there already is no problem.
    """
    if address.startswith("ipc://") and not address.startswith("ipc://@"):
        return _path_problem(address, name, busy_is_good=busy_is_good)
    if not address.startswith("tcp://"):
        return ""
    with zmq.Context() as context, context.socket(zmq.PULL) as trial:
        trial.linger = 0
        try:
            trial.bind(address)
        except zmq.ZMQError as exc:
            busy = exc.errno == errno.EADDRINUSE and busy_is_good
            return "" if busy else f"{name}: {bind_error(address, exc)}"
    return ""


def _path_problem(address: str, name: str, *, busy_is_good: bool) -> str:
    path = Path(address.removeprefix("ipc://"))
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        return f"{name}: {address} is too long for a socket: choose a shorter folder"
    if problem := folder_problem(path.parent, name):
        return problem
    with socket.socket(socket.AF_UNIX) as trial:
        trial.settimeout(1)
        try:
            trial.connect(str(path))
        except OSError:
            return ""
    busy = zmq.ZMQError(errno.EADDRINUSE)
    return "" if busy_is_good else f"{name}: {bind_error(address, busy)}"


def reaching_problem(address: str, name: str) -> str:
    """Return why no program answers at *address*, the value of the option *name*, or ``""``."""
    path = address.removeprefix("ipc://")
    try:
        if path != address:
            with socket.socket(socket.AF_UNIX) as trial:
                trial.settimeout(_REACH_SECONDS)
                trial.connect(path)
        else:
            host, _, port = address.removeprefix("tcp://").rpartition(":")
            place = host.strip("[]"), int(port)
            socket.create_connection(place, timeout=_REACH_SECONDS).close()
    except (OSError, ValueError) as exc:
        return (
            f"nothing answers at {address} ({one_line(exc)}): start the master, or correct {name}"
            " or the firewall"
        )
    return ""


def listening_problem(host: str, port: int, name: str = "", *, busy_is_good: bool = False) -> str:
    """Return why this process cannot listen on *port* of *host*, or ``""``; see :func:`listen`."""
    try:
        listen(host, port, name).close()
    except Fatal as exc:
        busy = isinstance(exc.__cause__, OSError) and exc.__cause__.errno == errno.EADDRINUSE
        return "" if busy and busy_is_good else str(exc)
    return ""


def listen(host: str, port: int, name: str = "") -> socket.socket:
    """Return a socket that listens. Raises :exc:`Fatal` with the reason and what to do.

    *name* begins the names of the options for *host* and *port*: ``--NAME-host``.
    """
    flag = f"--{name}-" if name else "--"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Fatal(
            f"cannot listen on {host} ({error.strerror}): choose another {flag}host"
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise Fatal(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another {flag}port, or"
            " stop the program that listens there"
        ) from error
    return listener
