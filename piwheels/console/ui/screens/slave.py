"""The Slave screen: one slave, its state, stats, timeline and builds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from textual import on
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content

from piwheels.console.model.slave import State
from piwheels.console.text import bar, clean, short_span, size
from piwheels.console.ui.builds import explanation, result_cell
from piwheels.console.ui.screens.base import FarmScreen
from piwheels.console.ui.widgets.line_list import Column, LineList
from piwheels.console.ui.widgets.panel import Panel
from piwheels.console.ui.widgets.sparklines import Curve, Sparks
from piwheels.core.words import duration_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from textual import events
    from textual.app import ComposeResult
    from textual.binding import BindingType

    from piwheels.console.model.farm import Changes
    from piwheels.console.model.slave import Moment, PastBuild, Slave
    from piwheels.console.ui.host import Host
    from piwheels.console.ui.widgets.line_list import Cell
    from piwheels.core.states import SlaveStats, Transition

_WORDS: Final = {
    "FAIL": "tone--warn",
    "DIE": "tone--bad",
    "CMD": "tone--accent",
    "BUILD": "tone--good",
}
#: The width of the bar of a build's duration.
_BAR: Final = 12


class Metric(NamedTuple):
    """A statistic of a slave: its name (also of its alert), value and format.

    *whole*: the quantity of which it is a share; a slave without it (no swap) shows none.
    """

    name: str
    value: Callable[[SlaveStats], float]
    text: str
    whole: str = ""


def _share(what: str) -> Callable[[SlaveStats], float]:
    def share(stats: SlaveStats) -> float:
        full = getattr(stats, f"{what}_size")
        return 100 * (1 - getattr(stats, f"{what}_free") / full) if full else 0.0

    return share


METRICS: Final[tuple[Metric, ...]] = (
    Metric("load", lambda stats: stats.load_average, "{:.2f}"),
    Metric("temp", lambda stats: stats.cpu_temp, "{:.0f}°C"),
    *(Metric(what, _share(what), "{:.0f}%", what) for what in ("mem", "swap", "disk")),
)


def curves(slave: Slave, console: Host) -> list[Curve]:
    """Return the curves of a slave's stats."""
    return [_curve(metric, slave, console) for metric in METRICS] if slave.stats else []


def _curve(metric: Metric, slave: Slave, console: Host) -> Curve:
    symbol, shown = console.symbol, console.session.shown
    last = slave.stats[-1]
    value = metric.value(last)
    text = metric.text.format(value).replace("°", symbol("°")).rjust(5)
    if metric.whole:
        full = getattr(last, f"{metric.whole}_size")
        text = f"{text} of {size(full)}" if full else " none"
    elif metric.name == "temp" and not value:
        text = " unknown"
    alerts = [alert.since for alert in slave.alerts if alert.reason == metric.name]
    alert = f"{symbol('▲')} since {shown(min(alerts)).astimezone():%H:%M}" if alerts else ""
    return Curve(metric.name, [metric.value(one) for one in slave.stats], text, alert)


def neighbour(screen: FarmScreen, slave_id: int, step: int) -> int:
    """Return the next (previous) slave in the fleet's table; cycle at its ends."""
    order = list(screen.console.fleet_order()) or [slave_id]
    if slave_id not in order:
        return order[0]
    return order[(order.index(slave_id) + step) % len(order)]


class SlaveScreen(FarmScreen):
    """A slave; one that dies or is forgotten stays on the screen, greyed."""

    AUTO_FOCUS = ""  # focusing would scroll
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "back", id="slave.back"),
        Binding(
            "left_square_bracket",
            "slave(-1)",
            "previous",
            id="slave.before",
            tooltip="the previous slave",
        ),
        Binding(
            "right_square_bracket",
            "slave(1)",
            "next slave",
            id="slave.after",
            tooltip="the next slave",
        ),
        Binding("l", "log", "log", id="slave.log", tooltip="the log of its build"),
        Binding(
            "h",
            "history",
            "timeline, or last transitions on the master",
            show=False,
            id="slave.history",
        ),
    ]

    def __init__(self, slave_id: int) -> None:
        super().__init__()
        self.slave_id = slave_id
        self._slave: Slave | None = None
        #: The start of the master that numbered the slave.
        self._epoch: datetime | None = None
        self._who = Panel("Slave", id="slave")
        self._now = Panel("Now", id="now")
        self._sparks = Sparks("Resources", id="resources")
        self._timeline: LineList[Moment] = LineList(
            (
                Column("", 8, lambda moment: f"{moment.at.astimezone():%H:%M:%S}"),
                Column("", 5, lambda moment: (moment.word, _WORDS.get(moment.word, "tone--dim"))),
                Column("", 0, lambda moment: moment.what),
            ),
            lambda moment: moment,
            empty="nothing has happened since the console attached",
            id="timeline",
        )
        self._timeline.border_title = "Timeline"
        self._history: LineList[Transition] = LineList(
            (
                Column("", 8, lambda one: f"{one.when.astimezone():%H:%M:%S}"),
                Column("", 9, lambda one: (one.state, "tone--dim")),
                Column("", 0, lambda one: one.cause),
            ),
            lambda one: one,
            empty="no history",
            id="history",
        )
        self._history.border_title = "Last transitions on the master (h: timeline)"
        self._history.display = False
        self._builds: LineList[PastBuild] = LineList(
            (
                Column("package", 0, lambda build: f"{build.package} {build.version}"),
                Column("result", 7, result_cell),
                Column("why", 26, lambda build: build.about, least=84),
                Column("time", 6, _took, right=True),
                Column("files", 5, lambda build: str(build.files), right=True),
                Column("ended", 8, lambda build: f"{build.ended.astimezone():%H:%M:%S}", least=56),
            ),
            lambda build: (build.package, build.version, build.ended),
            empty="none since the console attached",
            id="builds",
        )
        self._builds.border_title = "Builds here"
        self._why = Panel("Why it failed", id="why-failed")

    def compose_body(self) -> ComposeResult:
        """Yield panels that scroll together."""
        with VerticalScroll(id="panels", can_focus=False):
            yield Horizontal(self._who, self._now, id="who")
            yield self._sparks
            yield Horizontal(self._timeline, self._history, self._builds, id="lists")
            yield self._why

    def on_mount(self) -> None:
        """Show the slave."""
        self._sparks.ascii_only = self.console.ascii
        self._builds.focus(scroll_visible=False)

    # Which slave ------------------------------------------------------------------------------

    @property
    def _forgotten(self) -> bool:
        """Whether the master has been restarted since."""
        info = self.session.farm.info
        return info is not None and self._epoch not in (None, info.started)

    def _find(self) -> Slave | None:
        farm = self.session.farm
        if self._epoch is None and farm.info is not None:
            self._epoch = farm.info.started
        if not self._forgotten:
            left = (slave for slave in reversed(farm.left) if slave.id == self.slave_id)
            self._slave = farm.slaves.get(self.slave_id) or self._slave or next(left, None)
        return self._slave

    def _state(self, slave: Slave) -> State:
        return State.DEAD if self._forgotten else slave.state_at(self.session.farm.now)

    # What it shows ----------------------------------------------------------------------------

    def apply(self, changes: Changes) -> None:
        """Show changes of the slave."""
        if changes.epoch or changes.commands or self.slave_id in changes.slaves | changes.gone:
            self.show_all()

    def tick(self) -> None:
        """Show that time has passed."""
        slave = self._find()
        if slave is not None:
            self._now.show(self._at_now(slave))
            self._who.show(self._facts(slave))

    def show_all(self) -> None:
        """Show everything as it is now."""
        slave = self._find()
        if slave is None:
            self._who.show([[(f"there is no slave #{self.slave_id}", "tone--dim")]])
            return
        self.tick()
        self.set_class(self._state(slave) is State.DEAD, "-gone")
        self._who.border_title = Content(f"Slave #{slave.id} {slave.name}")
        self._sparks.border_title = _title(slave.stats)
        self._sparks.show(curves(slave, self.console))
        self._timeline.show(list(reversed(slave.timeline)), follow=self._timeline.at_top)
        self._builds.show(list(reversed(slave.builds)))
        self._explain()
        if self._history.display:
            self._ask_history()

    @on(LineList.Moved, "#builds")
    def _explain(self) -> None:
        """Show why the build at the cursor failed."""
        build = self._builds.item
        lines = [] if build is None else explanation(build, max(20, self.size.width - 6))
        self._why.display = bool(lines) and not self.has_class("-short")
        self._why.show(lines)

    def on_resize(self, event: events.Resize) -> None:
        """Fit the facts to the size."""
        self.tick()

    def _facts(self, slave: Slave) -> list[list[Cell]]:
        info, now = slave.info, self.console.now()
        skew = slave.skew
        facts: dict[str, Any] = {
            "label": f"{slave.name}  id #{slave.id}",
            "abi": f"{slave.abi}  py{info.native_py_version}",
            "plat": info.native_platform,
            "os": f"{info.os_name} {info.os_version}",
            "board": info.board_revision,
            "serial": info.board_serial,
            "joined": f"{short_span(now - slave.appeared)} ago",
            "clock": "unknown" if skew is None else f"{skew.total_seconds():+.1f}s skew",
            "limits": f"build {short_span(info.build_timeout)}  "
            f"busy {short_span(info.busy_timeout)}",
        }
        if self.size.width < 100 or self.size.height < 30:
            dot = f" {self.console.symbol('·')} "
            texts = [
                *(
                    dot.join(str(facts[name]) for name in names if facts[name])
                    for names in (("abi", "plat", "os"), ("board", "serial"))
                ),
                dot.join(f"{name} {facts[name]}" for name in ("joined", "clock", "limits")),
            ]
            return [[text] for text in texts if text]
        return [[(f"{name:8}", "tone--dim"), f"{text}"] for name, text in facts.items()]

    def _at_now(self, slave: Slave) -> list[list[Cell]]:
        console, now = self.console, self.console.now()
        state = self._state(slave)
        glyph, style = console.state_symbol(state)
        lines: list[list[Cell]] = [
            [(f"{glyph} {state}", style), f"  {clean(' '.join(slave.job or ()))}"]
        ]
        if self._forgotten:
            why = "the master was restarted: this slave is no longer known (esc: back)"
            return [*lines, [(why, "tone--bad")]]
        if state is State.DEAD:
            return [*lines, *self._end(slave)]
        lines.append(self._time(slave))
        if slave.job is not None:
            lines += self._against_peers(slave)
        contact = short_span(now - slave.last_contact)
        message = f" ({clean(slave.last_message)})" if slave.last_message else ""
        lines.append([(f"last message {contact} ago{message}", "tone--dim")])
        lines += self._command(now)
        lines += [
            [(f"{console.symbol('▲')}{clean(str(alert))}", "tone--warn")] for alert in slave.alerts
        ]
        return lines

    def _end(self, slave: Slave) -> list[list[Cell]]:
        words = [clean(f"{moment.word} {moment.what}") for moment in list(slave.timeline)[-2:]]
        since = f"{slave.since.astimezone():%H:%M:%S}"
        return [
            [(f"it left at {since}", "tone--warn"), f"  {', '.join(words)}"],
            [("this is its last known state (esc: back)", "tone--dim")],
            *self._command(self.console.now()),
        ]

    def _time(self, slave: Slave) -> list[Cell]:
        elapsed, limit = self.session.farm.elapsed(slave), slave.info.build_timeout
        if slave.job is None:
            return [f"for {duration_text(elapsed)}"]
        filled = bar(elapsed / limit if limit else 0, _BAR, ascii_only=self.console.ascii)
        files = f"  file {slave.files}: {clean(slave.file)}" if slave.file else ""
        return [f"{duration_text(elapsed)} of {short_span(limit)}  ", (filled, "tone--bar"), files]

    def _against_peers(self, slave: Slave) -> list[list[Cell]]:
        if slave.median is None:
            return [[("no peers to compare it with yet", "tone--dim")]]
        ratio = f"  x{slave.ratio:.1f}" if slave.ratio is not None else ""
        lines: list[list[Cell]] = [
            [f"peers median {short_span(slave.median)} (n={slave.peers}){ratio}"]
        ]
        if slave.eta is not None:
            of = f"(from {slave.peers} {slave.abi} peers)"
            lines.append([f"ETA ~{short_span(slave.eta)}  ", (of, "tone--dim")])
        return lines

    def _command(self, now: datetime) -> list[list[Cell]]:
        command = self.session.command_of(self.slave_id)
        if command is None:
            return []
        at = self.session.shown(command.at).astimezone()
        what = f"cmd  {command.verb} {command.phase} {at:%H:%M:%S}"
        if command.phase.pending:
            what += f" {self.console.symbol('…')} {short_span(now - command.at)}"
        note = f": {command.note}" if command.note else ""
        return [[(what, "tone--accent" if command.phase.pending else "tone--warn"), note]]

    def crumbs(self) -> str:
        """Return where we are: ``Fleet › #3 pi4-rack1-03``."""
        return f"Fleet › #{self.slave_id} {self._slave.name if self._slave else ''}".rstrip()

    # Keys ----------------------------------------------------------------------------

    def targets(self) -> list[int]:
        """Return the slave, while it lives."""
        slave = self._find()
        living = slave is not None and self._state(slave) is not State.DEAD
        return [self.slave_id] if living else []

    def chosen_build(self) -> PastBuild | None:
        """Return the build at the cursor."""
        return self._builds.item

    def rows(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return the builds."""
        return self._builds.table()

    def action_slave(self, step: int) -> None:
        """Show the next slave, or the previous one."""
        self.slave_id = neighbour(self, self.slave_id, step)
        self._slave = self._epoch = None
        self.show_all()

    def action_history(self) -> None:
        """Show the slave's last transitions on the master in place of the timeline, or back."""
        shows = not self._history.display
        self._history.display, self._timeline.display = shows, not shows
        if shows and not self._ask_history():
            self.console.flash("only an attached level-1 master has a history", error=True)

    def _ask_history(self) -> bool:
        slave_id = self.slave_id

        def show(transitions: list[Transition] | None, why: str) -> None:
            if transitions is None:
                self.console.flash(why, error=True)
            elif slave_id == self.slave_id and self.is_mounted:
                self._history.show(transitions[::-1], follow=self._history.at_top)

        return self.session.ask("HISTORY", slave_id, show)

    def action_log(self) -> None:
        """Open the log of its build."""
        self.console.open_log(self.slave_id)

    @on(LineList.Opened, "#builds")
    def open_build(self) -> None:
        """Open the log of the build at the cursor."""
        if (build := self._builds.item) is not None:
            self.console.open_log(self.slave_id, build)


def _title(stats: Sequence[SlaveStats]) -> str:
    if not stats:
        return "Resources: no stats yet"
    time = short_span(stats[-1].timestamp - stats[0].timestamp)
    return f"Resources, last {time} ({len(stats)} samples)"


def _took(build: PastBuild) -> str:
    return short_span(build.duration) if build.duration is not None else ""
