"""The options of ``piw-console``."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path  # noqa: TC003 (cli reads the annotations)
from typing import TYPE_CHECKING

from piwheels.core.keys.options import key_option, master_key_option
from piwheels.core.paths import address, host, master_socket
from piwheels.core.program.command_line import Common, option, port_number

if TYPE_CHECKING:
    from piwheels.console.model.events import Wire


@dataclass(frozen=True, kw_only=True)
class ConsoleConfig(Common):
    """Monitor and control a farm: what it builds, what waits, what fails.

    Quitting the console (q) stops nothing on the farm.
    """

    status_queue: str = option(
        default="",
        metavar="ADDR",
        help="the master's status socket (default: this user's master, or else its piw-up)",
        parse=address,
    )
    control_queue: str = option(
        default="",
        metavar="ADDR",
        help="the master's control socket (default: control, next to an ipc status queue)",
        parse=address,
    )
    console_queue: str = option(
        default="",
        metavar="ADDR",
        help="the master's console socket (default: console, next to an ipc status queue; without"
        " it, the console infers the outcomes of commands)",
        parse=address,
    )
    key: Path | None = key_option()
    master_key: list[str] = master_key_option()
    read_only: bool = option(default=False, help="refuse all commands")
    farm_name: str = option(
        default="", metavar="TEXT", help="the name of the farm (default: its host)"
    )
    ascii: bool = option(default=False, help="draw with ASCII characters only")
    theme: str = option(default="", metavar="NAME", help="the theme (F2 cycles through them)")
    plain: bool = option(
        default=False, help="write a line for each event, for pipes and screen readers"
    )
    once: bool = option(default=False, help="write the state of the farm, and exit")
    json: bool = option(default=False, help="with --once: as JSON")
    timeout: timedelta = option(
        default=timedelta(seconds=10),
        metavar="DURATION",
        help="with --once: how long to wait for the master",
    )
    record: Path | None = option(
        default=None, metavar="FILE", help="record all events, for --replay"
    )
    replay: Path | None = option(
        default=None, metavar="FILE", help="show a recording, with a time bar"
    )
    web: bool = option(default=False, help="serve this console to browsers instead")
    web_host: str = option(
        default="127.0.0.1",
        metavar="ADDRESS",
        help="with --web: serve on this address",
        parse=host,
    )
    web_port: int = option(
        default=8090, metavar="NUMBER", help="with --web: serve on this port", parse=port_number
    )
    web_control: bool = option(
        default=False,
        help="with --web: allow commands from browsers, for everyone who can reach the address",
    )

    @property
    def addresses(self) -> dict[Wire, str]:
        """The addresses of the sockets; without ``console`` if its address is unknown."""
        status = self.status_queue or master_socket("status")
        folder = status.rpartition("/")[0] if status.startswith("ipc:") else ""
        control = self.control_queue or (f"{folder}/control" if folder else "")
        console = self.console_queue or (f"{folder}/console" if folder else "")
        found: dict[Wire, str] = {"status": status}
        if control:
            found["control"] = control
        if console:
            found["console"] = console
        return found


def operator() -> str:
    """Return the operator of this console, for other consoles: ``dave@ops pts/3``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    try:
        where = os.ttyname(0).removeprefix("/dev/")
    except OSError:
        where = f"process {os.getpid()}"
    return f"{user}@{socket.gethostname()} {where}"[:200]
