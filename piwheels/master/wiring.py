"""The master's configuration and its wires: each address, who binds it, who connects to it.

What other processes speak is in :mod:`piwheels.core.protocols`; what stays among the tasks is
here. ``rpc`` is question and answer as in :mod:`piwheels.core.rpc`; ``push`` goes one way and is
never answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from piwheels.core.cli import Common, option
from piwheels.core.paths import address
from piwheels.core.protocols import (
    Job,
    NoData,
    Outcome,
    Output,
    Protocol,
    Told,
    console,
    lumberjack,
    master_control,
    monitor_stats,
    mr_chase,
    slave_driver,
    task_control,
)
from piwheels.core.site import work_path
from piwheels.core.states import (
    Count,
    Filename,
    FileState,
    MasterInfo,
    MasterStats,
    Package,
    Tag,
    Version,
)

_NOTHING = type(NoData)

#: How many seconds a task waits for the database's answer to one question.
DB_LIMIT: Final = 60.0


def _queue(default: str, help: str, *, internal: bool = False) -> Any:  # noqa: A002 (as option has it)
    return option(default=default, metavar="ADDR", help=help, parse=address, secret=internal)


@dataclass(frozen=True, kw_only=True)
class MasterConfig(Common):
    """Run the farm's master: hand versions to build slaves, take their wheels, write the site."""

    dsn: str = option("-d", default="postgresql:///piwheels", metavar="URL", help="the database")
    output_path: Path = option(
        "-o", default=Path("/var/www/piwheels"), metavar="DIR", help="where the site is written"
    )
    dev_mode: bool = option(default=False, help="write pages at once instead of within a minute")
    debug: list[str] = option(
        default=[], metavar="TASK", help="log everything of this task (can be repeated)"
    )
    pypi_xmlrpc: str = option(
        default="", metavar="URL", help="the upstream's XML-RPC interface (not used yet)"
    )
    pypi_simple: str = option(
        default="", metavar="URL", help="where slaves get sources (default: pip's own index)"
    )
    pypi_json: str = option(
        default="", metavar="URL", help="the upstream's JSON interface (not used yet)"
    )
    status_queue: str = _queue("ipc://{run}/status", "publish to consoles here")
    control_queue: str = _queue("ipc://{run}/control", "take operators' commands here")
    console_queue: str = _queue("ipc://{run}/console", "answer consoles here")
    import_queue: str = _queue("ipc://{run}/import", "take the admin tools' requests here")
    log_queue: str = _queue("ipc://{run}/log", "take access-log entries here")
    slave_queue: str = _queue("tcp://127.0.0.1:5555", "listen for slaves here")
    file_queue: str = _queue("tcp://127.0.0.1:5556", "take files from slaves here")
    # Among the tasks; hidden from --help, since nobody but a test has reason to change them.
    architect_queue: str = _queue(
        "inproc://architect", "SlaveDriver to TheArchitect", internal=True
    )
    builds_queue: str = _queue("inproc://builds", "TheArchitect to SlaveDriver", internal=True)
    db_queue: str = _queue("inproc://db", "anyone to Seraph", internal=True)
    delete_queue: str = _queue("inproc://delete", "anyone to SlaveDriver", internal=True)
    events_queue: str = _queue("inproc://events", "tasks to the status socket", internal=True)
    fleet_queue: str = _queue("inproc://fleet", "TheOperator to SlaveDriver", internal=True)
    fs_queue: str = _queue("inproc://fs", "anyone to FileJuggler", internal=True)
    news_queue: str = _queue("inproc://news", "tasks to TheOperator", internal=True)
    oracle_queue: str = _queue("inproc://oracle", "Seraph to TheOracle", internal=True)
    orders_queue: str = _queue("inproc://orders", "TheOperator to the master", internal=True)
    scribe_queue: str = _queue("inproc://scribe", "TheSecretary to TheScribe", internal=True)
    stats_queue: str = _queue("inproc://stats", "anyone to BigBrother", internal=True)
    web_queue: str = _queue("inproc://web", "anyone to TheSecretary", internal=True)

    @property
    def work_path(self) -> Path:
        """The working directory beside the site, on the same file system and never served."""
        return work_path(self.output_path)


#: SlaveDriver's own control socket: what an operator can ask of slaves, and what every task hears.
driver_control: Final = Protocol({**master_control.recv, **task_control.recv}, {})

#: TheArchitect to SlaveDriver: what needs building, first things first; replaces what went before.
builds: Final = Protocol(recv={"QUEUE": dict[Tag, list[Job]]}, send={})

#: SlaveDriver to TheArchitect: the queue has run dry, while so many builds are under way.
architect: Final = Protocol(recv={"MORE": Count}, send={})

#: Anyone to BigBrother. STATFS: the site's file system, its size and free bytes; STATBQ: the builds
#: that are pending, by ABI; LOGDOWNLOAD: so many more downloads; HELLO: publish what is kept.
big_brother: Final = Protocol(
    recv={
        "STATFS": tuple[Count, Count],
        "STATBQ": dict[Tag, Count],
        "HOME": _NOTHING,
        "HELLO": _NOTHING,
        "LOGDOWNLOAD": Count,
    },
    send={},
)

#: Questions to SlaveDriver of what has been deleted; the answer is OK.
delete: Final = Protocol(recv={"DELPKG": Package, "DELVER": tuple[Package, Version]}, send={})

#: Questions to SlaveDriver. SLAVES: what is known of those with a greater number, some at a time;
#: QUEUE: so many versions of each ABI; a command, and who is to take it (answer: who does not).
fleet: Final = Protocol(
    recv={
        "SLAVES": Count,
        "QUEUE": Count,
        **{verb: console.recv[verb] for verb in ("KILL", "SLEEP", "SKIP", "WAKE")},
    },
    send={},
)

#: What consoles may want to hear, for TheOperator. INFO: who the master is; FIGURES: the farm's of
#: now; OUTPUT: of a running build; ENDED: a slave's build is over, and how if that is kept; TOLD: a
#: command that came over the control socket.
news: Final = Protocol(
    recv={
        "INFO": MasterInfo,
        "FIGURES": MasterStats,
        "OUTPUT": Output,
        "ENDED": tuple[Count, Outcome | None],
        "TOLD": Told,
    },
    send={},
)

#: How much of it may wait (each up to 64 KiB).
NEWS_LIMIT: Final = 500

#: TheOperator to the master itself: what a console wants of all tasks.
orders: Final = Protocol(recv={"SLEEP": _NOTHING, "WAKE": _NOTHING, "QUIT": _NOTHING}, send={})

#: Anyone to TheSecretary, TheSecretary to TheScribe. TheSecretary answers when a request is noted
#: (DEL*: when it is done), TheScribe when it is done. HOME without figures keeps those shown,
#: SEARCH without an index takes the database's.
web: Final = Protocol(
    recv={
        "PROJECT": Package,
        "BOTH": Package,
        "LOG": tuple[Count, str],
        "HOME": dict[Tag, Any] | _NOTHING,
        "SEARCH": dict[Package, tuple[Count, Count]] | _NOTHING,
        "DELPKG": Package,
        "DELVER": tuple[Package, Version],
    },
    send={},
)

#: Questions to FileJuggler: EXPECT slave, file state, published name; VERIFY slave, package.
files: Final = Protocol(
    recv={"EXPECT": tuple[Count, FileState, Filename | None], "VERIFY": tuple[Count, Package]},
    send={},
)


class Wire(NamedTuple):
    """One wire: the option *queue* holds its address; *binds* and *connects* say whose it is.

    They are names of tasks, ``main``, or programs. *protocol* is as the side that binds sees it;
    ``None``: raw frames, or the calls of ``Database`` (:mod:`piwheels.master.logic.travel`).
    """

    queue: str
    pattern: Literal["router", "rpc", "push", "pub"]
    binds: str
    connects: tuple[str, ...]
    protocol: Protocol | None


_DB_CLIENTS: Final = (
    "TheArchitect", "SlaveDriver", "MrChase", "BigBrother", "TheSecretary", "TheScribe",
    "Lumberjack", "TheOperator",
)  # fmt: skip

#: The whole wiring, which tests/master/test_wiring.py holds the tasks to.
WIRES: Final = (
    Wire("slave_queue", "router", "SlaveDriver", ("piw-slave",), slave_driver),
    Wire("file_queue", "router", "FileJuggler", ("piw-slave",), None),
    Wire("control_queue", "push", "main", ("consoles", "piw-up"), master_control),
    Wire("status_queue", "pub", "main", ("consoles", "piw-up"), monitor_stats),
    Wire("console_queue", "router", "TheOperator", ("consoles",), console),
    Wire("import_queue", "router", "MrChase", ("admin tools", "piw-up"), mr_chase),
    Wire("log_queue", "push", "Lumberjack", ("piw-logger",), lumberjack),
    Wire("architect_queue", "push", "TheArchitect", ("SlaveDriver",), architect),
    Wire("builds_queue", "push", "SlaveDriver", ("TheArchitect",), builds),
    Wire("db_queue", "rpc", "Seraph", _DB_CLIENTS, None),
    Wire("oracle_queue", "rpc", "Seraph", ("TheOracle",), None),
    Wire("delete_queue", "rpc", "SlaveDriver", ("MrChase",), delete),
    Wire("events_queue", "push", "main", ("SlaveDriver", "BigBrother"), reversed(monitor_stats)),
    Wire("fleet_queue", "rpc", "SlaveDriver", ("TheOperator",), fleet),
    Wire("fs_queue", "rpc", "FileJuggler", ("SlaveDriver",), files),
    Wire("news_queue", "push", "TheOperator", ("BigBrother", "SlaveDriver", "main"), news),
    Wire("orders_queue", "push", "main", ("TheOperator",), orders),
    Wire("scribe_queue", "rpc", "TheScribe", ("TheSecretary",), web),
    Wire(
        "stats_queue", "push", "BigBrother",
        ("FileJuggler", "Lumberjack", "MrChase", "TheArchitect", "main"), big_brother,
    ),
    Wire("web_queue", "rpc", "TheSecretary", ("BigBrother", "MrChase", "SlaveDriver"), web),
)  # fmt: skip
