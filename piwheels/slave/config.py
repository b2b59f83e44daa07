"""The options of ``piw-slave``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path  # noqa: TC003 (the types of options are read)

from piwheels.core.architectures import System, parse_systems
from piwheels.core.keys.files import KeyPair, parse_invitation
from piwheels.core.keys.options import key_option, master_key_option
from piwheels.core.paths import address, bracketed, host
from piwheels.core.program.builds import (
    allow_host_option,
    emulate_option,
    jobs_option,
    no_packages_option,
    offline_build_option,
    sandbox_option,
)
from piwheels.core.program.checking import check_option
from piwheels.core.program.command_line import Common, option, size
from piwheels.core.program.report import json_option
from piwheels.core.recipes import package_fault
from piwheels.slave.limits import Limits


def _master(text: str) -> str:
    """Return the host *text*; raise ``ValueError`` with the options for its ports."""
    try:
        return host(text)
    except ValueError as exc:
        raise ValueError(
            f"{exc} (--slave-queue and --file-queue take other ports: tcp://HOST:PORT)"
        ) from None


def _package(text: str) -> str:
    """Return the name *text* of a package of Debian. Raises ``ValueError``."""
    if why := package_fault(text):
        raise ValueError(f"{why}, such as libyaml-dev")
    return text


def _mirror(text: str) -> str:
    """Return the address *text* of a mirror. Raises ``ValueError``."""
    if not re.fullmatch(r"(?:https?://|file:/)[!-~]+", text):
        raise ValueError(f"{text!r} is not the address of a mirror: write http://HOST/debian")
    return text


@dataclass(frozen=True, kw_only=True)
class SlaveConfig(Common):
    """Build wheels for a master: ask it for versions, build them with pip, send them back."""

    master: str = option(
        "-m", default="localhost", metavar="HOST", help="where the master runs", parse=_master
    )
    timeout: timedelta = option(
        "-t", default=timedelta(hours=3), metavar="DURATION", help="how long a build may take"
    )
    dir: Path | None = option(
        "-d",
        default=None,
        metavar="DIR",
        help="build here (default: the system's temporary folder)",
    )
    label: str = option(
        "-L", default="", metavar="TEXT", help="the name of this slave (default: the host's)"
    )
    python: list[str] = option(
        default=[],
        metavar="PATH",
        help="build for this interpreter (can be repeated); all: for each that is found on this"
        " machine (default: the one that runs this)",
    )
    jobs: int = jobs_option(1)
    emulate: list[str] = emulate_option()
    mirror: str = option(
        default="",
        metavar="URL",
        parse=_mirror,
        help="the mirror of Debian for --emulate (default: those of this machine's apt)",
    )
    root_package: list[str] = option(
        default=[],
        metavar="NAME",
        parse=_package,
        help="the systems of --emulate have this package of Debian, too (can be repeated)",
    )
    slave_queue: str = option(
        default="",
        metavar="ADDR",
        parse=address,
        help="the master's slave queue (default: tcp://HOST:5555)",
    )
    file_queue: str = option(
        default="",
        metavar="ADDR",
        parse=address,
        help="the master's file queue (default: tcp://HOST:5556)",
    )
    join: KeyPair | None = option(
        default=None, metavar="TEXT", parse=parse_invitation,
        help="join a farm with an invitation (piw-keys invite): make the file of --key (default:"
        " slave.key in this user's data directory)",
    )  # fmt: skip
    key: Path | None = key_option()
    master_key: list[str] = master_key_option()
    sandbox: str = sandbox_option()
    egress: str = option(
        default="proxy",
        choices=("proxy", "open"),
        help="what builds reach: the indexes, by a proxy of the slave; or everything"
        " (default: proxy)",
    )
    allow_host: list[str] = allow_host_option()
    offline_build: bool = offline_build_option()
    no_packages: bool = no_packages_option()
    requirements_index: str = option(
        default="",
        metavar="URL",
        help="take what builds require from this index only",
    )
    silence: timedelta = option(
        default=Limits.silence,
        metavar="DURATION",
        help="how long a build may write no output (default: 30m)",
    )
    cpu_time: timedelta = option(
        default=Limits.cpu, metavar="DURATION", help="processor time of a build (default: 12h)"
    )
    memory: int = option(
        default=0,
        metavar="SIZE",
        parse=size,
        help="memory of a build (default: three quarters of this machine's, shared by all builds)",
    )
    disk: int = option(
        default=Limits.disk, metavar="SIZE", parse=size, help="disk of a build (default: 20G)"
    )
    processes: int = option(
        default=Limits.processes, metavar="N", help="processes of a build (default: 1000)"
    )
    level: int = option(
        default=1,
        choices=(0, 1),
        help="the protocol level to use; 0 for a master of another implementation",
    )
    check: bool = check_option()
    json: bool = json_option()

    @property
    def queues(self) -> tuple[str, str]:
        """The addresses of the master's slave queue and file queue."""
        place = f"tcp://{bracketed(self.master)}"
        return self.slave_queue or f"{place}:5555", self.file_queue or f"{place}:5556"

    @property
    def systems(self) -> list[System]:
        """The systems to emulate."""
        return list(dict.fromkeys(each for text in self.emulate for each in parse_systems(text)))

    @property
    def limits(self) -> Limits:
        """The limits of each build."""
        return Limits(
            silence=self.silence, cpu=self.cpu_time, memory=self.memory, disk=self.disk,
            processes=self.processes,
        )  # fmt: skip
