"""The master's configuration and its wires: each address, who binds it, who connects to it.

What other processes speak is in :mod:`piwheels.core.protocols`; what stays among the tasks is
here. ``rpc`` is question and answer as in :mod:`piwheels.master.rpc`; ``push`` goes one way and is
never answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from piwheels.core.program.command_line import Common, duration, option
from piwheels.core.program.paths import address
from piwheels.core.protocols import (
    CommandReport,
    Job,
    NoData,
    Outcome,
    Output,
    Protocol,
    console,
    lumberjack,
    master_control,
    monitor_stats,
    mr_chase,
    slave_driver,
    task_control,
)
from piwheels.core.site import site_address, work_path
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


def _serial(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError(f"{text!r} is no serial, which is a whole number")
    return int(text)


def _interval(text: str) -> timedelta:
    found = duration(text)
    if found < timedelta(seconds=1):
        raise ValueError(f"{text!r} is less than a second")
    return found


@dataclass(frozen=True, kw_only=True)
class MasterConfig(Common):
    """Run the farm's master: hand versions to build slaves, take their wheels, write the site."""

    dsn: str = option("-d", default="postgresql:///piwheels", metavar="URL", help="the database")
    output_path: Path = option(
        "-o", default=Path("/var/www/piwheels"), metavar="DIR", help="where the site is written"
    )
    site_url: str = option(
        default="", metavar="URL", parse=site_address,
        help="the site's address, for its sitemap and what its pages tell to type",
    )  # fmt: skip
    dev_mode: bool = option(default=False, help="write pages at once instead of within a minute")
    debug: list[str] = option(
        default=[], metavar="TASK", help="log everything of this task (can be repeated)"
    )
    source: str = option(
        default="none",
        choices=("changelog", "watch", "none"),
        help="how to follow the upstream index: all of it, by its changelog; only the watched"
        " projects; not at all",
    )
    pypi_simple: str = option(
        default="",
        metavar="URL",
        help="the upstream index, where slaves get sources, too (default: pip's own index)",
    )
    pypi_xmlrpc: str = option(
        default="",
        metavar="URL",
        help="its XML-RPC interface, for --source changelog (default: pypi, beside the index)",
    )
    pypi_serial: int | None = option(
        default=None,
        metavar="NUMBER",
        parse=_serial,
        help="where nothing was followed yet, begin after this serial of the changelog (default:"
        " its newest; 0: take in all that it has)",
    )
    watch_file: Path | None = option(
        default=None,
        metavar="FILE",
        help="the projects to watch, a name a line, besides those that piw-add --watch names",
    )
    poll_every: timedelta | None = option(
        default=None,
        metavar="DURATION",
        parse=_interval,
        help="how often upstream is asked (default: 10s for the changelog, 5m for each project)",
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

#: Questions to SlaveDriver. SLAVES: past events of the slaves with a greater number, some at a
#: time; HISTORY: the last transitions of a slave; QUEUE: so many versions of each ABI; a command,
#: and the slaves that are to carry it out (answer: those that reject it).
fleet: Final = Protocol(
    recv={
        "SLAVES": Count,
        "HISTORY": Count,
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
        "TOLD": CommandReport,
    },
    send={},
)

#: How much of it may wait (each up to 64 KiB).
NEWS_LIMIT: Final = 500

#: TheOperator to the master itself: what a console wants of all tasks.
orders: Final = Protocol(recv={"SLEEP": _NOTHING, "WAKE": _NOTHING, "QUIT": _NOTHING}, send={})

#: Anyone to TheSecretary, TheSecretary to TheScribe. TheSecretary answers when the database has
#: noted a request (DEL*: when it is done), TheScribe when it is done. NOTED is PROJECT or BOTH from
#: one who has noted it there already (URGENT: BOTH, without delay), and never goes to TheScribe.
#: HOME without figures and SEARCH without an index take the database's; ROOT has the index's root
#: written anew, although the set of projects is the same: it may be damaged.
web: Final = Protocol(
    recv={
        "PROJECT": Package,
        "BOTH": Package,
        "NOTED": tuple[Literal["PROJECT", "BOTH", "URGENT"], Package],
        "LOG": tuple[Count, str],
        "HOME": dict[Tag, Any] | _NOTHING,
        "SEARCH": dict[Package, tuple[Count, Count]] | _NOTHING,
        "ROOT": _NOTHING,
        "DELPKG": Package,
        "DELVER": tuple[Package, Version],
    },
    send={},
)

#: Questions to FileJuggler, of a slave's file or an import's (by its number): EXPECT number, file
#: state, published name; VERIFY number, package; MISSING: how many bytes have not come (None: no
#: file is expected); WITHDRAW number, package, published names: as if nothing had been sent.
files: Final = Protocol(
    recv={
        "EXPECT": tuple[Count, FileState, Filename | None],
        "VERIFY": tuple[Count, Package],
        "MISSING": Count,
        "WITHDRAW": tuple[Count, Package, list[Filename]],
    },
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
    "Lumberjack", "TheOperator", "CloudGazer",
)  # fmt: skip

#: The whole wiring, which tests/master/test_wiring.py holds the tasks to.
WIRES: Final = (
    Wire("slave_queue", "router", "SlaveDriver", ("piw-slave",), slave_driver),
    Wire("file_queue", "router", "FileJuggler", ("piw-slave", "piw-import"), None),
    Wire("control_queue", "push", "main", ("consoles", "piw-up"), master_control),
    Wire("status_queue", "pub", "main", ("consoles", "piw-up"), monitor_stats),
    Wire("console_queue", "router", "TheOperator", ("consoles",), console),
    Wire("import_queue", "router", "MrChase", ("admin tools", "piw-up"), mr_chase),
    Wire("log_queue", "push", "Lumberjack", ("piw-logger",), lumberjack),
    Wire("architect_queue", "push", "TheArchitect", ("SlaveDriver",), architect),
    Wire("builds_queue", "push", "SlaveDriver", ("TheArchitect",), builds),
    Wire("db_queue", "rpc", "Seraph", _DB_CLIENTS, None),
    Wire("oracle_queue", "rpc", "Seraph", ("TheOracle",), None),
    Wire("delete_queue", "rpc", "SlaveDriver", ("CloudGazer", "MrChase"), delete),
    Wire("events_queue", "push", "main", ("SlaveDriver", "BigBrother"), reversed(monitor_stats)),
    Wire("fleet_queue", "rpc", "SlaveDriver", ("TheOperator",), fleet),
    Wire("fs_queue", "rpc", "FileJuggler", ("SlaveDriver", "MrChase"), files),
    Wire("news_queue", "push", "TheOperator", ("BigBrother", "SlaveDriver", "main"), news),
    Wire("orders_queue", "push", "main", ("TheOperator",), orders),
    Wire("scribe_queue", "rpc", "TheScribe", ("TheSecretary",), web),
    Wire(
        "stats_queue", "push", "BigBrother",
        ("FileJuggler", "Lumberjack", "MrChase", "TheArchitect", "main"), big_brother,
    ),
    Wire(
        "web_queue", "rpc", "TheSecretary",
        ("BigBrother", "CloudGazer", "MrChase", "SlaveDriver"), web,
    ),
)  # fmt: skip
