"""The columns of the fleet table, and the choice of those that fit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from piwheels.console.model.health import MACHINE
from piwheels.console.model.query import Row, load, task, temp, used
from piwheels.console.model.slave import State
from piwheels.console.text import clean, short_span, spark
from piwheels.console.ui.widgets.line_list import Cell, Column
from piwheels.core.targets import family
from piwheels.core.words import duration_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from piwheels.console.model.commands import Command
    from piwheels.console.model.slave import Alert

    Symbol = Callable[[str], str]

#: The width before the first column: cursor, mark, symbol and gaps.
LEAD: Final = 5
#: The width from which rows have more than state, id, label and time.
TINY: Final = 60
_TINY: Final = ("STATE", "ID", "LABEL", "TIME")
#: The columns about the machine, which a board has in common for its lanes.
MACHINE_COLUMNS: Final = ("LOAD", "TREND", "TEMP", "MEM", "SWAP", "DISK", "SKEW")
_TEN_HOURS: Final = timedelta(hours=10)
_TREND: Final = 16
#: The columns that shrink where the table is narrower than 80 cells, and by how much.
_GIVEN_UP: Final = (("TASK", 9), ("LABEL", 5), ("TASK", 8))


def columns(width: int, widest_id: int, symbol: Symbol, *, ascii_only: bool) -> list[Column[Row]]:
    """Return the columns for a table of *width* cells: those that fit, then the others.

    *widest_id*: the digits of the longest id. The others are visible by scrolling.
    """
    every = [
        replace(column, width=max(column.width, widest_id)) if column.name == "ID" else column
        for column in _every(symbol, ascii_only=ascii_only, tiny=width < TINY)
    ]
    kept = [column for column in every if _fits(column, width)]
    others = [column for column in every if column not in kept]
    rest = width - LEAD - sum(column.width + 1 for column in kept) + 1
    if width < TINY:
        return [*_widened(kept, {"LABEL": rest}), *others]
    if rest >= 0:
        task_more, label_more = min(20, rest // 4), min(12, rest // 6)
        more = {"TASK": task_more, "LABEL": label_more, "ALERT": rest - task_more - label_more}
        return [*_widened(kept, more), *others]
    for name, most in _GIVEN_UP:
        given = min(most, -rest)
        kept, rest = _widened(kept, {name: -given}), rest + given
    return [*kept, *others]


def _fits(column: Column[Row], width: int) -> bool:
    return column.name in _TINY if width < TINY else column.least <= width


def _widened(kept: list[Column[Row]], more: dict[str, int]) -> list[Column[Row]]:
    return [replace(column, width=column.width + more.get(column.name, 0)) for column in kept]


def _every(symbol: Symbol, *, ascii_only: bool, tiny: bool) -> list[Column[Row]]:
    def alert(row: Row) -> Cell:
        return alert_cell(
            [one for one in row.slave.alerts if not row.branch or one.reason not in MACHINE], symbol
        )

    def trend(row: Row) -> Cell:
        if row.branch:
            return ""
        loads = [stats.load_average for stats in row.slave.stats]
        return spark(loads, _TREND, ascii_only=ascii_only), "tone--dim"

    degree = symbol("°")
    return [
        Column("STATE", 5, lambda row: row.state),
        Column("CMD", 6, lambda row: command_cell(row.command, symbol)),
        Column("ID", 3, lambda row: str(row.slave.id), right=True),
        Column("LABEL", 13, lambda row: _label(row, symbol, tiny=tiny)),
        Column("ABI", 5, lambda row: row.slave.abi, least=74),
        Column("TASK", 21, doing),
        Column("TIME", 7, _time, right=True),
        Column("ETA", 5, _eta, right=True, least=86),
        Column("SLOW", 6, _slow, right=True, least=150),
        Column("LOAD", 5, lambda row: _metric(row, "load", load(row), ".2f"),
               right=True, least=102),
        Column("TREND", _TREND, trend, least=170),
        Column("TEMP", 4, lambda row: _metric(row, "temp", temp(row), ".0f", degree),
               right=True, least=97),
        Column("MEM", 4, lambda row: _metric(row, "mem", used(row, "mem"), ".0f", "%"),
               right=True, least=107),
        Column("SWAP", 4, lambda row: _metric(row, "swap", used(row, "swap"), ".0f", "%"),
               right=True, least=140),
        Column("DISK", 4, lambda row: _metric(row, "disk", used(row, "disk"), ".0f", "%"),
               right=True, least=91),
        Column("SKEW", 6, _skew, right=True, least=160),
        Column("ALERT", 8, alert),
    ]  # fmt: skip


def alert_cell(alerts: Sequence[Alert], symbol: Symbol) -> Cell:
    """Return the most severe of *alerts*: the ALERT column."""
    if not alerts:
        return ""
    worst = max(alerts, key=lambda alert: alert.weight)
    more = f" +{len(alerts) - 1}" if len(alerts) > 1 else ""
    return f"{symbol('▲')}{worst}{more}", "tone--bad" if worst.weight > 2 else "tone--warn"


def _label(row: Row, symbol: Symbol, *, tiny: bool) -> str:
    """Return the slave's label; below the row of its board, its lane and what it builds for."""
    if not row.branch:
        return row.slave.name
    platform = family(row.slave.info.native_platform).removeprefix("linux_")
    abi = f"{row.slave.abi} " if tiny else ""  # it has no column there
    target = f"{abi}{platform.replace('musllinux_', 'musl ')}"
    return clean(f"{symbol(row.branch)}{row.slave.lane} {target}")


def command_word(command: Command | None, symbol: Symbol) -> str:
    """Return ``skip?`` for a command under way, ``✗skip`` for one that failed."""
    if command is None:
        return ""
    return f"{command.verb}?" if command.phase.pending else f"{symbol('✗')}{command.verb}"


def command_cell(command: Command | None, symbol: Symbol) -> Cell:
    """Return the newest command of a slave: the CMD column."""
    pending = command is not None and command.phase.pending
    return command_word(command, symbol), "tone--warn" if pending else "tone--bad"


def doing(row: Row) -> str:
    """Return the slave's work, cleaned for display: the TASK column."""
    slave, job = row.slave, clean(task(row))
    match slave.reported:
        case State.SLEEP:
            return "waiting for jobs"
        case State.SEND if slave.files:
            return f"{job} ({slave.files})"
        case State.CLEAN if slave.outcome is not None:
            past = slave.outcome
            return clean(f"{past.package} {past.version} {past.outcome}".rstrip())
        case State.DEAD:
            return f"bye ({job})" if job else "bye"
    return job


def _time(row: Row) -> str:
    long = row.elapsed >= _TEN_HOURS
    return short_span(row.elapsed) if long else duration_text(row.elapsed)


def _eta(row: Row) -> str:
    return "" if row.slave.eta is None else f"~{short_span(row.slave.eta)}"


def _slow(row: Row) -> Cell:
    ratio = row.slave.ratio
    return "" if ratio is None else (f"x{ratio:.1f}", "tone--warn" if ratio >= 3 else "")


def _metric(row: Row, reason: str, value: float | None, spec: str, unit: str = "") -> Cell:
    text = "" if value is None or row.branch else f"{value:{spec}}{unit}"
    alerts = row.slave.alerts
    warns = bool(alerts) and any(alert.reason == reason for alert in alerts)
    return (text, "tone--warn") if warns else text


def _skew(row: Row) -> str:
    skew = row.slave.skew
    if skew is None or row.branch:
        return ""
    seconds = skew.total_seconds()
    if abs(seconds) < 100:
        return f"{seconds:+.1f}s"
    return ("-" if seconds < 0 else "+") + short_span(abs(skew))
