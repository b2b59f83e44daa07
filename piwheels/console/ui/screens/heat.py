"""The Heat screen: one cell per slave, to make patterns visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding

from piwheels.console.model.heat import Grouping, Metric, groups, scale
from piwheels.console.model.query import Query, QueryError, Row, parse
from piwheels.console.model.slave import State
from piwheels.console.text import short_span
from piwheels.console.ui.cycle import next_choice
from piwheels.console.ui.screens.base import FarmScreen
from piwheels.console.ui.widgets.heatmap import HeatMap
from piwheels.console.ui.widgets.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from piwheels.console.model.farm import Changes
    from piwheels.console.model.slave import Slave
    from piwheels.console.ui.widgets.line_list import Cell


class HeatScreen(FarmScreen):
    """The heat map; ``m`` changes the metric, ``b`` the grouping."""

    title_in_tabs = "Heat"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "metric", "metric", id="heat.metric", tooltip="state, temp, load, age, slow"),
        Binding("b", "group", "group by", id="heat.group", tooltip="group by rack, abi, os"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._by = Grouping.RACK
        self._query = Query()
        self._head = Panel(id="scale")
        self._map = HeatMap(id="map")
        self._about = Panel(id="about")

    def compose_body(self) -> ComposeResult:
        """Yield the scale, the map, and details of the slave at the cursor."""
        yield self._head
        yield self._map
        yield self._about

    # What it shows ----------------------------------------------------------------------------

    def apply(self, changes: Changes) -> None:
        """Show slaves that came, went or changed."""
        if changes.epoch or changes.new or changes.gone:
            self.show_all()
        elif changes.slaves:
            self._map.repaint(self.session.farm.now)
            self._show_slave()

    def tick(self) -> None:
        """Update silent slaves and counts."""
        self.show_all()

    def show_all(self) -> None:
        """Show everything as it is now."""
        farm = self.session.farm
        shown = self._shown()
        self._map.ascii_only = self.console.ascii
        self._map.show(farm, groups(shown, self._by), farm.now)
        levels = f"   from {scale(self._map.metric)}" if scale(self._map.metric) else ""
        text = f"   / {self._query.text}" if self._query.text else ""
        alert = self.console.symbol("▲")
        self._head.show(
            [
                [
                    (" metric ", "tone--dim"), (self._map.metric, "tone--accent"), levels,
                    ("   group ", "tone--dim"), (self._by, "tone--accent"),
                    f"   {len(shown):,} slaves   {alert}{farm.alerting():,}", text,
                ]
            ]
        )  # fmt: skip
        self._show_slave()

    def _shown(self) -> list[Slave]:
        session, now = self.session, self.session.farm.now
        slaves = list(session.farm.slaves.values())
        if not self._query.tests:
            return slaves
        farm, command_of = session.farm, session.command_of
        rows = (
            Row(slave, slave.state_at(now), farm.elapsed(slave), command_of(slave.id))
            for slave in slaves
        )
        return [row.slave for row in rows if self._query.matches(row)]

    def _show_slave(self) -> None:
        slave = self._map.slave
        self._about.show(self._in_words(slave) if slave else [])

    def _in_words(self, slave: Slave) -> list[list[Cell]]:
        farm = self.session.farm
        now = farm.now
        state = slave.state_at(now)
        glyph, style = self.console.state_symbol(state)
        words = f"{glyph} {state} {short_span(farm.elapsed(slave))}"
        if state in (State.SILENT, State.EXPIRED):
            words = f"{glyph} {state} {short_span(now - slave.last_contact)}"
            words += f", was {slave.reported}"
        job = "  " + " ".join(slave.job) if slave.job else ""
        facts = slave.abi
        if slave.stats and (stats := slave.stats[-1]):
            facts += f"  temp {stats.cpu_temp:.0f}°" if stats.cpu_temp else ""
            facts += f"  load {stats.load_average:.2f}"
        alerts = "".join(f" {self.console.symbol('▲')}{alert}" for alert in slave.alerts)
        ratio = f"  x{slave.ratio:.1f} of {slave.peers} peers" if slave.ratio else ""
        name = f" {self.console.symbol('›')} #{slave.id} {slave.label}  "
        return [
            [name, (words, style), job],
            [(f"   {facts}{ratio} ", "tone--dim"), (alerts, "tone--warn")],
        ]

    def view_state(self) -> str:
        """Return the metric and the groups."""
        return f"{self._map.metric} by {self._by}"

    # Keys and mouse ----------------------------------------------------------------------------

    def find(self, text: str) -> str:
        """Show only slaves that match *text*; return an error, or ``""``."""
        try:
            self._query = parse(text)
        except QueryError as error:
            return str(error)
        self.show_all()
        return ""

    def targets(self) -> list[int]:
        """Return the slave at the cursor."""
        slave = self._map.slave
        return [slave.id] if slave else []

    def rows(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return a row for each slave: its group and state."""
        now = self.session.farm.now
        table = [
            [group.name, str(slave.id), slave.label, slave.state_at(now)]
            for group in groups(self._shown(), self._by)
            for slave in group.slaves
        ]
        return (self._by, "id", "label", "state"), table

    def action_metric(self) -> None:
        """Tint by the next metric."""
        self._map.metric = next_choice(self._map.metric, Metric)
        self.show_all()

    def action_group(self) -> None:
        """Change the grouping."""
        self._by = next_choice(self._by, Grouping)
        self.show_all()

    def on_heat_map_moved(self) -> None:
        """Show details of the slave at the cursor."""
        self._show_slave()

    def on_heat_map_opened(self) -> None:
        """Open the slave at the cursor."""
        for slave_id in self.targets():
            self.console.open_slave(slave_id)
