"""The Master screen: the farm's stats over time, and commands for the whole farm."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll

from piwheels.console.model.commands import Verb
from piwheels.console.model.heat import natural
from piwheels.console.model.slave import State
from piwheels.console.text import bar, clean, number, short_span, size, spark
from piwheels.console.ui.screens.base import FarmScreen
from piwheels.console.ui.verbs import ACTIONS, title
from piwheels.console.ui.widgets.line_list import Column, LineList
from piwheels.console.ui.widgets.panel import Panel
from piwheels.console.ui.widgets.plot import Plot
from piwheels.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from piwheels.console.model.farm import Changes
    from piwheels.console.ui.widgets.line_list import Cell
    from piwheels.core.states import MasterStats


class Metric(NamedTuple):
    """A statistic of the farm: its value, format and limit."""

    name: str
    value: Callable[[MasterStats], float]
    text: Callable[[float], str]
    of: Callable[[MasterStats], int] = lambda stats: 0
    limit: float = float("inf")


def _percent(value: float) -> str:
    return f"{value:.0f}%"


def _temperature(value: float) -> str:
    return f"{value:.0f}°C" if value else "-"


def _used(what: str) -> tuple[Callable[[MasterStats], float], Callable[[MasterStats], int]]:
    def whole(stats: MasterStats) -> int:
        return int(getattr(stats, f"{what}_size"))

    def used(stats: MasterStats) -> float:
        return (
            100 * (1 - getattr(stats, f"{what}_free") / (whole(stats) or 1)) if whole(stats) else 0
        )

    return used, whole


_MEM, _SWAP, _DISK = _used("mem"), _used("swap"), _used("disk")
METRICS: Final[tuple[Metric, ...]] = (
    Metric("builds/h", lambda stats: sum(stats.builds_last_hour.values()), number),
    Metric("queue", lambda stats: sum(stats.builds_pending.values()), number),
    Metric("download/h", lambda stats: stats.downloads_last_hour, number),
    Metric("load", lambda stats: stats.load_average, "{:.2f}".format),
    Metric("temp", lambda stats: stats.cpu_temp, _temperature, limit=78),
    Metric("mem used", _MEM[0], _percent, _MEM[1], 90),
    Metric("swap used", _SWAP[0], _percent, _SWAP[1], 50),
    Metric("disk used", _DISK[0], _percent, _DISK[1], 90),
)


#: The commands for the whole farm, by key.
CONTROLS: Final[dict[str, Verb]] = {
    "P": Verb.PAUSE,
    "W": Verb.RESUME,
    "H": Verb.HALT,
    "X": Verb.KILL,
    "Q": Verb.QUIT,
}


class MetricList(LineList[Metric]):
    """The list of stats: ``g`` draws the one at the cursor, pages scroll the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "g",
            "screen.zoom",
            "graph",
            id="master.zoom",
            tooltip="draw the line at the cursor as a graph",
        ),
        Binding("enter", "screen.zoom", "draw a graph", show=False),
    ]

    def action_page(self, by: int) -> None:
        """Scroll the screen."""
        around = self.screen.query_one(VerticalScroll)
        around.scroll_relative(y=by * (around.size.height - 2), animate=False)


class MasterScreen(FarmScreen):
    """The master, totals, graphs, and controls of the farm."""

    title_in_tabs = "Master"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(
                key,
                f"farm('{verb}')",
                title(verb, None).lower(),
                id=f"master.{verb}",
                tooltip=f"{title(verb, None).lower()}: {ACTIONS[verb].farm}",
            )
            for key, verb in CONTROLS.items()
        ),
        Binding(
            "R",
            "app.reattach",
            "re-attach",
            id="master.reattach",
            tooltip="ask the master for a full replay",
        ),
        Binding("escape", "unzoom", "no graph", show=False, id="master.unzoom"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._host = Panel("Master", id="host")
        self._totals = Panel("Totals", id="totals")
        self._metrics = MetricList(
            (
                Column("", 10, lambda metric: metric.name),
                Column("", 24, self._value),
                Column("", 0, self._curve),
            ),
            lambda metric: metric.name,
            id="metrics",
        )
        self._plot = Plot(id="plot")
        self._abis = Panel("Builds last hour per ABI", id="per-abi")
        self._controls = Panel("Controls", id="controls")

    def compose_body(self) -> ComposeResult:
        """Yield panels that scroll together, and the graph that replaces them."""
        with VerticalScroll(id="panels", can_focus=False):
            yield Horizontal(self._host, self._totals, id="who")
            yield self._metrics
            yield self._plot
            yield self._abis
            yield self._controls

    # What it shows ----------------------------------------------------------------------------

    def apply(self, changes: Changes) -> None:
        """Show new stats, and which commands are possible."""
        if changes.stats or changes.link or changes.epoch:
            self.show_all()

    def tick(self) -> None:
        """Update uptime and controls."""
        self._show_host()
        self._show_controls()

    def show_all(self) -> None:
        """Show everything as it is now."""
        self._show_host()
        stats = self.session.farm.stats
        self._metrics.show(METRICS)
        past = stats[-1].timestamp - stats[0].timestamp if stats else timedelta()
        self._metrics.border_title = f"Last {short_span(past)}" if past else "Stats"
        last = stats[-1] if stats else None
        self._totals.show(_totals(last) if last else [[("no stats yet", "tone--dim")]])
        self._abis.show(self._per_abi(last) if last else [])
        self._show_controls()
        self._show_plot()

    def _show_host(self) -> None:
        info = self.session.farm.info
        if info is None:
            self._host.show([[("the master has not introduced itself", "tone--dim")]])
            return
        up = short_span(self.session.farm.uptime(self.console.now()))
        board = " ".join(clean(text) for text in (info.board_revision, info.board_serial) if text)
        paused = "paused" if self.session.paused else str(self.session.state).lower()
        facts = {
            "host": clean(info.label),
            "os": clean(f"{info.os_name} {info.os_version}"),
            "board": board or "-",
            "started": f"{info.started.astimezone():%Y-%m-%d %H:%M} ({up})",
            "protocol": f"level {self.session.level}",
            "state": paused,
        }
        self._host.show(_facts(facts, 9))

    def _values(self, metric: Metric) -> list[float]:
        return [metric.value(stats) for stats in self.session.farm.stats]

    def _curve(self, metric: Metric) -> Cell:
        room = max(1, self._metrics.size.width - 39)
        text = spark(self._values(metric), room, ascii_only=self.console.ascii)
        return text, "tone--bar"

    def _value(self, metric: Metric) -> Cell:
        stats = self.session.farm.stats
        if not stats:
            return ""
        value, whole = metric.value(stats[-1]), metric.of(stats[-1])
        text = f"{metric.text(value):>8}" + (f" of {size(whole)}" if whole else "")
        return (
            (f"{text} {self.console.symbol('▲')}", "tone--warn") if value > metric.limit else text
        )

    def _show_plot(self) -> None:
        metric = self._metrics.item
        if metric is None or not self.has_class("-zoom"):
            return
        times = [stats.timestamp for stats in self.session.farm.stats]
        self._plot.ascii_only = self.console.ascii
        self._plot.show(metric.name, self._values(metric), times, metric.text)

    def _per_abi(self, stats: MasterStats) -> list[list[Cell]]:
        most = max(stats.builds_last_hour.values(), default=0) or 1
        room = max(10, min(60, self._abis.size.width - 22))
        ascii_only = self.console.ascii
        return [
            [
                f"{abi:8.8} ",
                (bar(built / most, room, ascii_only=ascii_only), "tone--bar"),
                f" {built:6,}",
            ]
            for abi, built in sorted(
                stats.builds_last_hour.items(), key=lambda pair: natural(pair[0])
            )
        ] or [[("no build in the last hour", "tone--dim")]]

    def _show_controls(self) -> None:
        counts = self.session.farm.counts()
        stakes = {
            Verb.HALT: f" ({counted(counts[State.BUILD], 'build')})",
            Verb.KILL: f" ({counted(counts.total() - counts[State.DEAD], 'slave')})",
        }
        lines: list[list[Cell]] = []
        for key, verb in CONTROLS.items():
            why = self.session.why_not(verb)
            tone = "tone--dim" if why else "tone--accent"
            name = f"{title(verb, None):16}", "tone--dim" if why else ""
            what = why or ACTIONS[verb].farm + stakes.get(verb, "")
            lines.append([(f" {key}  ", tone), name, (what, "tone--dim")])
        what = "ask the master for a full replay"
        lines.append([(" R  ", "tone--accent"), f"{'Re-attach':16}", (what, "tone--dim")])
        self._controls.show(lines)
        disabled = self.session.why_not(Verb.PAUSE)
        self._controls.border_title = f"Controls ({'disabled' if disabled else 'each asks first'})"

    def view_state(self) -> str:
        """Return the name of the graph."""
        metric = self._metrics.item
        return f"graph: {metric.name}" if metric and self.has_class("-zoom") else ""

    # Keys ----------------------------------------------------------------------------

    def rows(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return the stats over time."""
        names = ["time", *(metric.name for metric in METRICS)]
        values = [
            [stats.timestamp.isoformat(), *(str(metric.value(stats)) for metric in METRICS)]
            for stats in self.session.farm.stats
        ]
        return names, values

    def action_farm(self, verb: str) -> None:
        """Give a command to the whole farm, or to the master."""
        self.console.commands.give(Verb(verb), None)

    def action_zoom(self) -> None:
        """Draw a graph, or no longer."""
        self.toggle_class("-zoom")
        self._metrics.focus()
        self._show_plot()

    def action_unzoom(self) -> None:
        """Show all panels."""
        self.remove_class("-zoom")

    def on_line_list_moved(self) -> None:
        """Draw the line at the cursor."""
        self._show_plot()


def _facts(facts: dict[str, Any], width: int) -> list[list[Cell]]:
    return [[(f"{name:{width}}", "tone--dim"), f"{value}"] for name, value in facts.items()]


def _totals(stats: MasterStats) -> list[list[Cell]]:
    days = stats.builds_time // timedelta(days=1)
    downloads = f"{number(stats.downloads_last_hour)} / {number(stats.downloads_last_month)}"
    return _facts(
        {
            "packages built": number(stats.packages_built),
            "files": number(stats.files_count),
            "builds size": size(stats.builds_size),
            "builds time": f"{days // 365}y {days % 365}d"
            if days
            else short_span(stats.builds_time),
            "new last hour": number(stats.new_last_hour),
            "downloads 1h/30d": downloads,
        },
        17,
    )
