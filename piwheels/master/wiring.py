"""The master's configuration, and the table of its wires: addresses, sides, messages and limits.

:mod:`piwheels.master.ports` makes each task's sockets from the table. The protocols with other
programs are in :mod:`piwheels.core.protocols`, the messages between tasks in
:mod:`piwheels.master.messages`.
"""

from __future__ import annotations

import ipaddress
import uuid
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

from piwheels.core.codec import MAX_FRAME
from piwheels.core.keys.ring import Role
from piwheels.core.paths import address, host, runtime_dir
from piwheels.core.program.checking import check_option
from piwheels.core.program.command_line import Common, duration, option, port_number, size
from piwheels.core.program.report import json_option
from piwheels.core.protocols import (
    SMALL,
    Protocol,
    console,
    lumberjack,
    master_control,
    monitor_stats,
    mr_chase,
    slave_driver,
    task_control,
)
from piwheels.core.site import site_address, webhook_address, work_path
from piwheels.core.transfers import CHUNK_SIZE, CREDIT
from piwheels.master.gate import Gate, Guard
from piwheels.master.logic.zmtp import Rules
from piwheels.master.messages import (
    BuildQueue,
    CommandMaster,
    ConsoleEvent,
    Deletion,
    EnrolSlave,
    FileRequest,
    FleetRequest,
    Message,
    MonitorMessage,
    PinPlatforms,
    QueueEmpty,
    ScribeRequest,
    StatsMessage,
    WebRequest,
)
from piwheels.master.relay import Door, Relay

#: The seconds for which a task waits for an answer of the database.
DB_LIMIT: Final = 60.0


def _queue(default: str, help: str) -> Any:  # noqa: A002 (as option has it)
    return option(default=default, metavar="ADDR", help=help, parse=address)


def _keyless_queue(name: str, help: str) -> Any:  # noqa: A002 (as option has it)
    return option(
        default="", metavar="ADDR", parse=lambda text: address(text) if text else "",
        help=f"{help} (default: with --keys, the socket {name} next to --import-queue)",
    )  # fmt: skip


def network(text: str) -> str:
    """Return the address or network *text* in its normal form. Raises ``ValueError``."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError(
            f"{text!r} is not an address or a network, such as 192.168.1.0/24"
        ) from None


def _serial(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError(f"{text!r} is not a serial, which is a whole number")
    return int(text)


def _interval(text: str) -> timedelta:
    found = duration(text)
    if found < timedelta(seconds=1):
        raise ValueError(f"{text!r} is less than a second")
    return found


@dataclass(frozen=True, kw_only=True)
class MasterConfig(Common):
    """Run a master: hand out versions to slaves, receive their wheels, write the site."""

    dsn: str = option("-d", default="postgresql:///piwheels", metavar="URL", help="the database")
    output_path: Path = option(
        "-o", default=Path("/var/www/piwheels"), metavar="DIR", help="the directory of the site"
    )
    site_url: str = option(
        default="", metavar="URL", parse=site_address,
        help="the public address of the site, for its sitemap, feeds, link previews and the"
        " commands on its pages",
    )  # fmt: skip
    disk_reserve: int = option(
        default=64 * 2**20,
        metavar="SIZE",
        parse=size,
        help="hand out no work while the disk of the site has less free space, such as 500M or 2G",
    )
    allow_pth: list[str] = option(
        default=[], metavar="PROJECT",
        help="publish wheels of this project that run code at each start of an interpreter, by a"
        " .pth file (can be repeated)",
    )  # fmt: skip
    targets_of_slaves: bool = option(
        default=False,
        help="build for each target that a slave offers, unless it is retired: at most 100 targets",
    )
    dev_mode: bool = option(
        default=False, help="write pages immediately instead of within a minute"
    )
    debug: list[str] = option(
        default=[], metavar="TASK", help="log debug messages of this task (can be repeated)"
    )
    source: str = option(
        default="none",
        choices=("changelog", "watch", "known", "none"),
        help="how to follow the upstream index: all projects, by its changelog; only watched"
        " projects; only the versions that the farm knows; or not at all",
    )
    pypi_simple: str = option(
        default="",
        metavar="URL",
        help="the upstream index, also for the slaves (default: the one in pip's configuration)",
    )
    pypi_xmlrpc: str = option(
        default="",
        metavar="URL",
        help="its XML-RPC interface, for --source changelog (default: pypi, next to the index)",
    )
    pypi_serial: int | None = option(
        default=None,
        metavar="NUMBER",
        parse=_serial,
        help="for a new database: start after this serial of the changelog (default: the newest;"
        " 0 imports the whole changelog)",
    )
    watch_file: Path | None = option(
        default=None,
        metavar="FILE",
        help="a file of projects to watch, one name per line, in addition to piw-add --watch",
    )
    poll_every: timedelta | None = option(
        default=None,
        metavar="DURATION",
        parse=_interval,
        help="how often to poll the index (default: 10s for the changelog, 5m for each project)",
    )
    status_queue: str = _queue("ipc://{run}/status", "publish to consoles on this address")
    control_queue: str = _queue("ipc://{run}/control", "accept operators' commands on this address")
    console_queue: str = _queue("ipc://{run}/console", "answer consoles on this address")
    import_queue: str = _queue(
        "ipc://{run}/import", "accept requests of admin tools on this address"
    )
    log_queue: str = _queue("ipc://{run}/log", "accept access-log entries on this address")
    slave_queue: str = _queue("tcp://127.0.0.1:5555", "listen for slaves on this address")
    file_queue: str = _queue("tcp://127.0.0.1:5556", "receive files on this address")
    keyless_slave_queue: str = _keyless_queue("slave", "listen for slaves without keys here, too")
    keyless_file_queue: str = _keyless_queue("file", "receive files without a key here, too")
    keys: Path | None = option(
        default=None, metavar="DIR",
        help="admit only the keys in this directory on tcp addresses (piw-keys)",
    )  # fmt: skip
    allow_from: list[str] = option(
        default=[], metavar="NETWORK", parse=network,
        help="admit slaves without keys from this address or network, such as 192.168.1.0/24 (can"
        " be repeated); with --keys only on the keyless addresses",
    )  # fmt: skip
    insecure: bool = option(
        default=False, help="admit everybody who can reach the tcp addresses: anyone can publish"
    )
    monitor_host: str = option(
        default="127.0.0.1",
        metavar="ADDRESS",
        parse=host,
        help="serve --monitor-port on this address",
    )
    monitor_port: int | None = option(
        default=None, metavar="NUMBER", parse=port_number,
        help="serve /healthz and /metrics (Prometheus) on this port (default: on none; 0: any free"
        " one)",
    )  # fmt: skip
    webhook: list[str] = option(
        default=[], metavar="URL", parse=webhook_address,
        help="report failed builds, lost slaves and a full disk to this address (can be repeated)",
    )  # fmt: skip
    webhook_secret_file: Path | None = option(
        default=None, metavar="FILE",
        help="sign these reports with the secret in this file (required with --webhook)",
    )  # fmt: skip
    check: bool = check_option()
    json: bool = json_option()
    #: Sets the wires between this master's tasks apart from those of others in the same process.
    token: str = field(default_factory=lambda: uuid.uuid4().hex, repr=False, compare=False)
    #: Decides who is admitted; ``None``: nobody is refused.
    gate: Gate | None = field(default=None, repr=False, compare=False)
    #: Has accepted the connections of other programs; ``None``: they are of this process.
    relay: Relay | None = field(default=None, repr=False, compare=False)

    @property
    def work_path(self) -> Path:
        """The working directory next to the site, on the same file system and never served."""
        return work_path(self.output_path)


def complete(config: MasterConfig) -> MasterConfig:
    """Return *config* with the sockets for local slaves and importers, which need no keys."""
    if config.keys is None or not config.import_queue.startswith("ipc:///"):
        return config
    folder = config.import_queue.rpartition("/")[0]
    found: dict[str, Any] = {
        f"keyless_{name}_queue": f"{folder}/{name}"
        for name in ("slave", "file")
        if is_tcp(getattr(config, f"{name}_queue")) and not getattr(config, f"keyless_{name}_queue")
    }
    return replace(config, **found)


#: The control socket of SlaveDriver: operators' commands, and the commands of every task.
driver_control: Final = Protocol({**master_control.recv, **task_control.recv}, {})


class Limits(NamedTuple):
    """The limits of a wire's sockets.

    *unread* and *unsent* are the high-water marks, in messages; *message* is the size of the
    largest frame that is read, in bytes; *linger* is for how many seconds a socket that is closed
    still sends. A *mandatory* ROUTER reports peers that have gone. A message of another program
    has at most so many *frames*. Before it is read, its connection may send *window* bytes, and
    *messages* in all (0: any number).
    """

    unread: int = 1000
    unsent: int = 1000
    message: int = MAX_FRAME
    linger: float = 0
    mandatory: bool = False
    frames: int = 3
    window: int = 256 * 2**10
    messages: int = 0


def is_tcp(address: str) -> bool:
    """Return whether *address* is that of a TCP port."""
    return address.startswith("tcp:")


def guard_of(address: str, config: MasterConfig) -> Guard:
    """Return who is admitted at an *address* of the master."""
    if not is_tcp(address):
        return Guard.NONE
    if address in (config.keyless_slave_queue, config.keyless_file_queue):
        return Guard.ADDRESSES
    if config.keys is not None:
        return Guard.KEYS
    of_slaves = address in (config.slave_queue, config.file_queue)
    known_by_address = of_slaves and (config.insecure or bool(config.allow_from))
    return Guard.ADDRESSES if known_by_address else Guard.NONE


def doors(config: MasterConfig) -> list[Door]:
    """Return the addresses for other programs, on which the relay listens."""
    found = []
    for wire in WIRES:
        limits = wire.limits
        rules = Rules(limits.message, limits.frames, limits.messages)
        for place in wire.addresses(config) if wire.is_public(config) else ():
            if not place.startswith(("inproc:", "ipc://@")):
                guard = guard_of(place, config)
                found.append(Door(wire, place, _inner(place), guard, rules, limits.window))
    return found


def inner_config(config: MasterConfig) -> MasterConfig:
    """Return *config* with the addresses on which 0MQ listens in place of those of the relay."""
    inner = {door.address: door.inner for door in doors(config)}
    names = [each.name for each in fields(config) if each.name.endswith("_queue")]
    found: dict[str, Any] = {name: getattr(config, name) for name in names}
    return replace(config, **{name: inner.get(each, each) for name, each in found.items()})


def _inner(address: str) -> str:
    if is_tcp(address):
        return f"ipc://{runtime_dir()}/{address.removeprefix('tcp://')}~"
    return f"{address}~"


def is_guarded(config: MasterConfig) -> bool:
    """Return whether not everybody is admitted at all addresses."""
    return any(guard_of(address, config) is not Guard.NONE for address in _public(config))


def exposed(config: MasterConfig) -> list[str]:
    """Return the addresses at which all other machines are admitted."""
    return [
        address
        for address in _public(config)
        if (guard_of(address, config) is Guard.NONE or config.insecure)
        and is_tcp(address)
        and not _is_local(address)
    ]


def warning_of(config: MasterConfig) -> str:
    """Return the warning for all operators; ``""``: there is none."""
    if not (addresses := exposed(config)):
        return ""
    return (
        f"INSECURE: anyone who can reach {', '.join(addresses)} can publish wheels and control the"
        " farm; start piw-master with --keys"
    )


def _public(config: MasterConfig) -> list[str]:
    wires = [wire for wire in WIRES if wire.is_public(config)]
    return [address for wire in wires for address in wire.addresses(config)]


def _is_local(address: str) -> bool:
    place = address.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(place).is_loopback
    except ValueError:
        return place == "localhost"


class Wire(NamedTuple):
    """One wire. *binds* and *connects* are names of tasks, ``main``, or other programs.

    *speaks* describes its messages: a protocol with other programs, as seen by the side that binds;
    the messages between tasks; or ``None`` for raw frames and calls of ``Database``. ``rpc`` wires
    carry requests and answers (:mod:`piwheels.master.ports`). *roles* are those of the keys that
    are admitted over the network.
    """

    name: str
    pattern: Literal["router", "rpc", "push", "pub"]
    binds: str
    connects: tuple[str, ...]
    speaks: Protocol | tuple[type[Message], ...] | None
    limits: Limits = Limits()
    roles: tuple[Role, ...] = ()

    @property
    def messages(self) -> tuple[type[Message], ...]:
        """The messages between tasks that the wire carries."""
        return () if self.speaks is None or isinstance(self.speaks, Protocol) else self.speaks

    def address(self, config: MasterConfig) -> str:
        """Return the address of the wire: an option's, or one inside the process."""
        inside = f"inproc://{self.name}-{config.token}"
        return str(getattr(config, f"{self.name}_queue", inside))

    def addresses(self, config: MasterConfig) -> list[str]:
        """Return all addresses on which the wire listens."""
        keyless = getattr(config, f"keyless_{self.name}_queue", None)
        return [*([keyless] if keyless else []), self.address(config)]

    def is_public(self, config: MasterConfig) -> bool:
        """Whether other programs can connect to it."""
        return hasattr(config, f"{self.name}_queue")


#: For wires with many waiting messages.
_LONG: Final = Limits(100_000, 100_000)
#: The size of messages that carry no logs and no files, in bytes.
_SMALL: Final = 64 * 2**10
#: For queues that are soon out of date: unread messages are dropped.
_SHORT: Final = Limits(2, 2)

_DB_CLIENTS: Final = (
    "TheArchitect", "SlaveDriver", "MrChase", "BigBrother", "TheSecretary", "TheScribe",
    "Lumberjack", "TheOperator", "CloudGazer",
)  # fmt: skip

#: All wires of the master. :class:`~piwheels.master.ports.Ports` makes the sockets from this table.
WIRES: Final = (
    # To other programs: the option NAME_queue holds the address.
    Wire(
        "slave", "router", "SlaveDriver", ("piw-slave",), slave_driver, Limits(unsent=16),
        (Role.SLAVE, Role.JOIN),
    ),
    Wire(
        "file", "router", "FileJuggler", ("piw-slave", "piw-import"), None,
        Limits(unsent=4 * CREDIT, message=CHUNK_SIZE + 1024, window=2 * CREDIT * CHUNK_SIZE),
        (Role.SLAVE, Role.ADMINISTER),
    ),
    Wire(
        "control", "push", "main", ("consoles", "piw-up"), master_control,
        Limits(message=_SMALL), (Role.VIEW,),
    ),
    Wire(
        "status", "pub", "main", ("consoles", "piw-up"), monitor_stats,
        Limits(100_000, 100_000, message=256, messages=64), (Role.VIEW,),
    ),
    Wire(
        "console", "router", "TheOperator", ("consoles",), console,
        Limits(100, 300, message=SMALL, linger=1, mandatory=True), (Role.VIEW,),
    ),
    Wire(
        "import", "router", "MrChase", ("admin tools", "piw-up"), mr_chase,
        roles=(Role.ADMINISTER,),
    ),
    Wire(
        "log", "push", "Lumberjack", ("piw-logger",), lumberjack,
        Limits(10_000, 10_000, message=_SMALL), (Role.LOG, Role.ADMINISTER),
    ),
    # Between the tasks.
    Wire("architect", "push", "TheArchitect", ("SlaveDriver",), (QueueEmpty,), _SHORT),
    Wire("builds", "push", "SlaveDriver", ("TheArchitect",), (BuildQueue,), _SHORT),
    Wire("database", "rpc", "Seraph", _DB_CLIENTS, None, _LONG),
    Wire("oracles", "router", "Seraph", ("TheOracle",), None),
    Wire("deletions", "rpc", "SlaveDriver", ("CloudGazer", "MrChase"), get_args(Deletion), _LONG),
    Wire(
        "events", "push", "main", ("SlaveDriver", "BigBrother"), reversed(monitor_stats), _LONG
    ),
    Wire("keys", "rpc", "TheGatekeeper", ("SlaveDriver",), (EnrolSlave, PinPlatforms)),
    Wire(
        "fleet", "rpc", "SlaveDriver", ("MrChase", "TheOperator"), get_args(FleetRequest), _LONG
    ),
    Wire("files", "rpc", "FileJuggler", ("SlaveDriver", "MrChase"), get_args(FileRequest), _LONG),
    Wire(
        "console_events", "push", "TheOperator", ("BigBrother", "SlaveDriver", "main"),
        get_args(ConsoleEvent), Limits(500, 500),  # each up to 64 KiB
    ),
    Wire(
        "monitor", "push", "TheSentinel",
        ("BigBrother", "CloudGazer", "FileJuggler", "SlaveDriver", "TheSecretary", "main"),
        get_args(MonitorMessage), Limits(10_000, 10_000),
    ),
    Wire("commands", "push", "main", ("TheOperator",), (CommandMaster,)),
    Wire("scribe", "rpc", "TheScribe", ("TheSecretary",), get_args(ScribeRequest), _LONG),
    Wire(
        "stats", "push", "BigBrother",
        ("FileJuggler", "Lumberjack", "MrChase", "TheArchitect", "main"), get_args(StatsMessage),
        Limits(10_000, 10_000),
    ),
    Wire(
        "web", "rpc", "TheSecretary",
        ("BigBrother", "CloudGazer", "MrChase", "SlaveDriver", "TheOperator"),
        get_args(WebRequest), _LONG,
    ),
)  # fmt: skip
