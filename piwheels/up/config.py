"""The options of ``piw-up``, with the addresses and the names of slaves that follow from them."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.errors import Fatal
from piwheels.core.paths import address, host, runtime_dir
from piwheels.core.program.builds import (
    allow_host_option,
    emulate_option,
    jobs_option,
    no_packages_option,
    offline_build_option,
    sandbox_option,
)
from piwheels.core.program.command_line import Common, option, port_number
from piwheels.core.program.report import json_option
from piwheels.up import summary
from piwheels.up.boards import PORTS
from piwheels.up.site import free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence

    from piwheels.core.host.interpreters import Interpreter

#: The length limit of a unix socket's folder, in bytes.
FOLDER_LIMIT: Final = 90


def _queue(default: str, help: str) -> Any:  # noqa: A002 (as option has it)
    parse = lambda text: address(text) if text else ""  # noqa: E731
    return option(default="", metavar="ADDR", help=f"{help} (default: {default})", parse=parse)


@dataclass(frozen=True, kw_only=True)
class UpConfig(Common):
    """Run a whole farm on this machine, from the database to the web server, until stopped.

    PACKAGE is NAME (its newest release with sources) or NAME==VERSION. Without any, it builds a
    small set as a demonstration. With a lock file (-r), it builds all that this names, and writes a
    lock file with which pip installs from the index of the farm alone.
    """

    packages: list[str] = option(
        default=[],
        help="what to build",
        metavar="PACKAGE",
        parse=summary.parse,
        positional=True,
    )
    requirement: Path | None = option(
        "-r",
        default=None,
        metavar="FILE",
        help="build what this lock file names: requirements.txt, pylock.toml or uv.lock",
    )
    from_source: str = option(
        default="missing",
        choices=("missing", "all"),
        help="with -r, build from source what has no upstream wheel for this target; or all, with"
        " all that the builds require (default: missing)",
    )
    lock_file: Path | None = option(
        default=None,
        metavar="FILE",
        help="with -r, write the lock file of the farm here: requirements, or a pylock.toml"
        " (default: requirements-ABI.txt in the directory of the farm)",
    )
    python: list[str] = option(
        default=[],
        metavar="PYTHON",
        help="build for this interpreter: a path, or a version such as 3.13 (can be repeated;"
        " default: the one that runs this)",
    )
    jobs: int | None = jobs_option(None, "one for each interpreter")
    emulate: list[str] = emulate_option()
    dir: Path | None = option(
        default=None,
        metavar="DIR",
        help="the directory of the farm (default: piwheels in the user's data directory)",
    )
    no_deps: bool = option(default=False, help="do not build the dependencies of the packages")
    no_console: bool = option(default=False, help="do not open the console on a terminal")
    once: bool = option(default=False, help="exit once every package was attempted")
    json: bool = json_option()
    host: str = option(
        default="127.0.0.1",
        metavar="ADDRESS",
        help="the address to serve the site on",
        parse=host,
    )
    port: int = option(
        default=8080,
        metavar="NUMBER",
        parse=port_number,
        help="the port to serve the site on (0: any free one)",
    )
    timeout: timedelta = option(
        "-t", default=timedelta(hours=3), metavar="DURATION", help="how long a build may take"
    )
    dsn: str = option(
        "-d",
        default="",
        metavar="URL",
        help="use this PostgreSQL server, as a superuser (default: an embedded one)",
    )
    sandbox: str = sandbox_option()
    allow_host: list[str] = allow_host_option()
    offline_build: bool = offline_build_option()
    no_packages: bool = no_packages_option()
    no_boards: bool = option(
        default=False,
        help="let no other board build: do not listen for slaves on the network, and print no"
        " command for a board that joins",
    )
    slave_queue: str = _queue(
        "tcp://*:5555 with keys; with --once or --no-boards a private socket",
        "listen for slaves here",
    )
    file_queue: str = _queue("the same, port 5556", "take files from slaves here")
    status_queue: str = _queue("a private socket", "publish to consoles here")
    control_queue: str = _queue("a private socket", "take operators' commands here")
    console_queue: str = _queue("a private socket", "answer consoles here")
    import_queue: str = _queue("a private socket", "take the admin tools' requests here")

    @property
    def boards(self) -> bool:
        """Whether other boards may join the farm."""
        own = self.once or self.no_boards or self.slave_queue.startswith("ipc:")
        # The builds of other machines would take what they require from elsewhere.
        return not (own or (self.requirement and self.from_source == "all"))


def label_for(interpreters: Sequence[Interpreter]) -> str:
    """Return the name of the slave for *interpreters*: slave-cp311, or slave for several ABIs."""
    abis = {each.abi for each in interpreters}
    return f"slave-{abis.pop()}" if len(abis) == 1 else "slave"


def port_in_use(config: UpConfig) -> int | None:
    """Return a default port for other boards on which another program listens, if there is one."""
    for name, port in PORTS.items():
        if not getattr(config, f"{name}_queue"):
            try:
                socket.create_server(("", port)).close()
            except OSError:
                return port
    return None


def queues(
    config: UpConfig, home: Path, *, boards: bool = False, keyed: bool = False
) -> dict[str, str]:
    """Return the addresses of the master's sockets: those of *config*, else private ones.

    With *boards*, other machines reach those for slaves; *keyed*: slaves of this one need keys.
    """
    folder = home / "run"
    if len(os.fsencode(folder)) > FOLDER_LIMIT:
        folder = runtime_dir() / f"up-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}"
    if len(os.fsencode(folder)) > FOLDER_LIMIT:
        folder = Path("/tmp", f"piwheels-{os.getuid()}", folder.name)  # noqa: S108 (checked below)
    for private in (folder.parent, folder) if folder.parent != home else (folder,):
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = private.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
            raise Fatal(f"{private} belongs to another user: remove it, or set XDG_RUNTIME_DIR")
        private.chmod(0o700)
    names = ("slave", "file", "status", "control", "console", "import", "log")
    given = {name: getattr(config, f"{name}_queue", "") for name in names}
    if boards:
        given |= {name: given[name] or f"tcp://*:{port}" for name, port in PORTS.items()}
    if keyed:
        ports = zip(PORTS, free_ports(), strict=False)
        given |= {name: given[name] or f"tcp://127.0.0.1:{port}" for name, port in ports}
    found = {name: value or f"ipc://{folder}/{name}" for name, value in given.items()}
    over_tcp = [name for name in PORTS if found[name].startswith("tcp:")]
    return found | {f"keyless-{name}": f"ipc://{folder}/{name}" for name in over_tcp}
