"""The panel of the Fleet screen: six lines about the slave at the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from piwheels.console.model.query import Row, load, task, temp, used
from piwheels.console.text import bar, clean, short_span, size, spark
from piwheels.console.ui.widgets.fleet_columns import doing
from piwheels.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from piwheels.console.model.fleet_view import Board, Group
    from piwheels.console.model.slave import Alert, PastBuild
    from piwheels.console.ui.widgets.line_list import Cell

    Symbol = Callable[[str], str]
    Shown = Callable[[datetime], datetime]

_BAR, _SPARK = 14, 20


def peek(
    row: Row, now: datetime, symbol: Symbol, *, shown: Shown, ascii_only: bool
) -> list[list[Cell]]:
    """Return the lines about *row* at *now*; *shown* gives times by the wall clock."""
    dot = f" {symbol('·')} "
    return [
        [(dot.join(filter(None, _platform(row))), "tone--dim")],
        _now(row, symbol, ascii_only=ascii_only),
        _trends(row, symbol("°"), ascii_only=ascii_only),
        _fillings(row, now, ascii_only=ascii_only),
        _last_builds(list(row.slave.builds)[:-6:-1], dot),
        _command(row, now, symbol, shown),
    ]


def peek_group(group: Group) -> list[list[Cell]]:
    """Return the lines about a group of slaves."""
    states = ", ".join(f"{number:,} {state.lower()}" for state, number in group.counts)
    alerts = f"{counted(group.alerts, 'slave')} with alerts" if group.alerts else "no alerts"
    tone = "tone--warn" if group.alerts else "tone--dim"
    return [
        [f"{counted(len(group.members), 'slave')}: {states}"],
        [(alerts, tone)],
        [("enter shows or hides them; commands apply to all of them", "tone--dim")],
    ]


def peek_board(
    board: Board, lanes: Sequence[Row], now: datetime, symbol: Symbol, *, ascii_only: bool
) -> list[list[Cell]]:
    """Return the lines about a board with several *lanes*."""
    row = board.first
    return [
        [(f" {symbol('·')} ".join(filter(None, _machine(row))), "tone--dim")],
        [f"{counted(len(lanes), 'lane')}", *_alerts(board.alerts, symbol)],
        _trends(row, symbol("°"), ascii_only=ascii_only),
        _fillings(row, now, ascii_only=ascii_only),
        [f"{lane.slave.lane} {lane.slave.abi} {doing(lane) or lane.state.lower()}   "
         for lane in lanes],
        [("commands apply to all lanes that are shown below it", "tone--dim")],
    ]  # fmt: skip


def _platform(row: Row) -> list[str]:
    info = row.slave.info
    return [
        row.slave.abi,
        f"py{clean(info.native_py_version)}",
        clean(info.native_platform),
        *_machine(row),
    ]


def _machine(row: Row) -> list[str]:
    info, skew = row.slave.info, row.slave.skew
    return [
        clean(f"{info.os_name} {info.os_version}"),
        clean(info.board_revision),
        clean(f"serial {info.board_serial}") if info.board_serial else "",
        "" if skew is None else f"clock {skew.total_seconds():+.1f}s",
    ]


def _now(row: Row, symbol: Symbol, *, ascii_only: bool) -> list[Cell]:
    slave = row.slave
    if slave.job is None:
        return [
            f"{row.state.lower()} for {short_span(row.elapsed)}",
            *_alerts(slave.alerts, symbol),
        ]
    limit = slave.info.build_timeout
    filled = bar(row.elapsed / limit if limit else 0, _BAR, ascii_only=ascii_only)
    cells: list[Cell] = [
        f"{row.state.lower()} {clean(task(row))}  {short_span(row.elapsed)} of "
        f"{short_span(limit)}  {filled}"
    ]
    if slave.median is not None:
        cells.append(f"  peers: median {short_span(slave.median)} (n={slave.peers})")
    if slave.ratio is not None:
        cells.append(f" {symbol('→')} x{slave.ratio:.1f}")
    if slave.eta is not None:
        cells.append(f"  ETA ~{short_span(slave.eta)}")
    return [*cells, *_alerts(slave.alerts, symbol)]


def _alerts(alerts: Iterable[Alert], symbol: Symbol) -> list[Cell]:
    return [
        (f"  {symbol('▲')}{alert}", "tone--bad" if alert.weight > 2 else "tone--warn")
        for alert in alerts
    ]


def _trends(row: Row, degree: str, *, ascii_only: bool) -> list[Cell]:
    stats = row.slave.stats
    loaded, warm, taken = load(row), temp(row), used(row, "mem")
    if loaded is None:
        return [("no stats yet", "tone--dim")]

    def line(values: list[float]) -> str:
        return spark(values, _SPARK, ascii_only=ascii_only)

    cells: list[Cell] = [("load ", "tone--dim"), line([one.load_average for one in stats])]
    cells.append(f" {loaded:.2f}   ")
    if warm is not None:
        cells += [("temp ", "tone--dim"), line([one.cpu_temp for one in stats])]
        cells.append(f" {warm:.0f}{degree}C   ")
    if taken is not None:
        cells += [("mem ", "tone--dim"), line([one.mem_size - one.mem_free for one in stats])]
        cells.append(f" {taken:.0f}% of {size(stats[-1].mem_size)}")
    return cells


def _fillings(row: Row, now: datetime, *, ascii_only: bool) -> list[Cell]:
    cells: list[Cell] = []
    for what in ("disk", "swap"):
        taken = used(row, what)
        if taken is not None:
            full = size(getattr(row.slave.stats[-1], f"{what}_size"))
            filled = bar(taken / 100, _BAR, ascii_only=ascii_only)
            cells += [(f"{what} ", "tone--dim"), f"{filled} {taken:.0f}% of {full}   "]
    contact = f"last message {short_span(now - row.slave.last_contact)} ago"
    what = clean(row.slave.last_message)
    return [*cells, (f"{contact} ({what})" if what else contact, "tone--dim")]


def _last_builds(builds: Sequence[PastBuild], dot: str) -> list[Cell]:
    """Return the line about the last builds, the newest first; and why that one failed."""
    why = builds[0].about if builds else ""
    newest = dot.join(map(past, builds[:1]))
    cells: list[Cell] = [("last 5  ", "tone--dim"), newest or "none"]
    if why:
        cells.append((f" ({why})", "tone--warn" if builds[0].counts else "tone--accent"))
    return [*cells, *(f"{dot}{past(build)}" for build in builds[1:])]


def past(build: PastBuild) -> str:
    """Describe a build that has ended: ``lxml 6.0.1 ok 3m``."""
    took = short_span(build.duration) if build.duration is not None else ""
    result = "FAIL" if build.outcome == "failed" else build.outcome
    return " ".join(filter(None, (clean(build.package), clean(build.version), result, took)))


def _command(row: Row, now: datetime, symbol: Symbol, shown: Shown) -> list[Cell]:
    command = row.command
    if command is None:
        return [("cmd     ", "tone--dim"), "none"]
    since = f"{command.verb} {command.phase} {shown(command.at).astimezone():%H:%M:%S}"
    note = f": {command.note}" if command.note else ""
    if not command.phase.pending:
        return [("cmd     ", "tone--dim"), (f"{since}{note}", "tone--bad")]
    expires = f" (expires after {short_span(command.limit - command.at)})" if command.limit else ""
    waits = f"{symbol('…')} {short_span(now - command.at)}{note}{expires}"
    return [("cmd     ", "tone--dim"), (f"{since} {waits}", "tone--warn")]
