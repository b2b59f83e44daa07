"""The Queue screen: the queue of each ABI, a forecast, the longest and newest builds."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final

from textual import on
from textual.binding import Binding
from textual.containers import Horizontal

from piwheels.console.model.heat import natural
from piwheels.console.model.slave import PastBuild
from piwheels.console.text import clean, number, short_span, spark
from piwheels.console.ui.builds import explanation
from piwheels.console.ui.cycle import next_choice
from piwheels.console.ui.screens.base import FarmScreen
from piwheels.console.ui.widgets.line_list import Column, LineList
from piwheels.console.ui.widgets.panel import Panel
from piwheels.console.ui.widgets.ratiobar import ratio_bar
from piwheels.core.targets import FIRST
from piwheels.core.words import duration_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from piwheels.console.model.eta import AbiQueue
    from piwheels.console.model.farm import Changes
    from piwheels.console.model.slave import Slave
    from piwheels.console.ui.widgets.line_list import Cell
    from piwheels.core.protocols import Job

#: The forecast's horizon, in hours.
_DAY: Final = 24

#: Sort keys, in the sequence in which ``o`` cycles through them.
_SORTS: Final[dict[str, Callable[[AbiQueue], object]]] = {
    "abi": lambda queue: natural(queue.abi),
    "pending": lambda queue: -queue.pending,
    "eta": lambda queue: -_hours(queue),
}
_TONES: Final = {
    "ok": "tone--good",
    "failed": "tone--warn",
    "put off": "tone--accent",
    "skipped": "tone--dim",
}

#: The most causes of failures that are shown.
_CAUSES: Final = 3


class QueueScreen(FarmScreen):
    """The queue of each ABI; below, the forecast, the longest builds, and the newest."""

    title_in_tabs = "Queue"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "sort", "sort", id="queue.sort", tooltip="sort by the next column"),
        Binding("T", "app.targets", "the queue of each target", show=False, id="queue.targets"),
        Binding("F", "app.failures", "failures", show=False, id="queue.failures",
                tooltip="what has failed, and why"),
        Binding("f", "first", "first", show=False, id="queue.first",
                tooltip="build the version at the cursor before others"),
        Binding("e", "why", "explain the place of this version", show=False, id="queue.why"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._sort = "abi"
        self._text = ""
        self._abis: LineList[AbiQueue] = LineList(
            (
                Column("ABI", 7, lambda queue: queue.abi),
                Column("PENDING", 8, _pending, right=True),
                Column("SLAVES", 6, lambda queue: f"{queue.slaves:,}", right=True),
                Column("BUSY", 4, lambda queue: f"{queue.busy:,}", right=True),
                Column("IDLE", 4, lambda queue: f"{queue.idle:,}", right=True),
                Column("/H", 5, lambda queue: f"{queue.per_hour:,.0f}", right=True),
                Column("ETA", 7, _eta, right=True),
                Column("PENDING 16m", 30, self._history, least=118),
                Column("NOTE", 0, self._note),
            ),
            lambda queue: queue.abi,
            empty="the master has not reported its queue yet",
            id="abis",
        )
        self._total = Panel(id="total")
        self._forecast = Panel("Forecast", id="forecast")
        self._causes = Panel("What fails", id="causes")
        self._longest: LineList[Slave] = LineList(
            (
                Column("PACKAGE", 0, lambda slave: " ".join(slave.job or ("",))),
                Column("ABI", 6, lambda slave: slave.abi, least=46),
                Column("SLAVE", 6, lambda slave: f"#{slave.id}"),
                Column("TIME", 8, self._elapsed, right=True),
                Column("PEERS", 6, _ratio, right=True),
            ),
            lambda slave: slave.id,
            empty="nothing is being built",
            id="longest",
        )
        self._heads: LineList[Job] = LineList(
            (Column("PACKAGE", 0, lambda job: clean(" ".join(job))),),
            tuple,
            empty="nothing waits",
            id="heads",
        )
        self._recent: LineList[PastBuild] = LineList(
            (
                Column("ENDED", 8, lambda build: f"{build.ended.astimezone():%H:%M:%S}", least=46),
                Column("PACKAGE", 0, lambda build: f"{build.package} {build.version}"),
                Column("ABI", 6, lambda build: build.abi, least=54),
                Column("RESULT", 7, lambda b: (b.outcome or "?", _TONES.get(b.outcome, ""))),
                Column("WHY", 24, lambda build: build.about, least=84),
                Column("TIME", 6, _took, right=True),
            ),
            lambda build: (build.slave_id, build.package, build.version, build.ended),
            empty="no build has ended yet",
            id="recent",
        )
        self._longest.border_title = "Longest running builds"
        self._recent.border_title = "Newest builds"

    def compose_body(self) -> ComposeResult:
        """Yield the table of ABIs, the forecast, and three lists."""
        yield self._abis
        yield self._total
        yield self._forecast
        yield self._causes
        yield Horizontal(self._longest, self._heads, self._recent, id="lists")

    # What it shows ----------------------------------------------------------------------------

    def apply(self, changes: Changes) -> None:
        """Show new stats, and answers of the master."""
        if changes.stats or changes.answers or changes.epoch:
            self.show_all()

    def tick(self) -> None:
        """Update durations and estimates."""
        self.show_all()

    def show_all(self) -> None:
        """Show the queue as it is now."""
        farm, session = self.session.farm, self.session
        queues = [queue for queue in farm.queues(self.console.now()) if self._text in queue.abi]
        self._abis.show(sorted(queues, key=_SORTS[self._sort]))  # type: ignore[arg-type]
        self._longest.show(farm.longest(50))
        recent = [PastBuild.of(outcome, outcome.ended) for outcome in session.recent] or list(
            reversed(farm.builds)
        )
        # Without the focus the list always shows the newest.
        newest = self._recent.at_top and not self._recent.has_focus
        self._recent.show(recent[:200], follow=newest)
        self._show_heads()
        width = max(20, self._total.size.width)
        self._total.show(self._totals(queues, width))
        self._forecast.show(_forecast(queues, width - 4, ascii_only=self.console.ascii))
        self._show_causes()

    @on(LineList.Moved, "#recent")
    def _show_causes(self) -> None:
        """Show why the build at the cursor failed, or what fails everywhere."""
        build = self.chosen_build()
        if build is not None and build.about:
            title, lines = "Why it failed", explanation(build, max(20, self.size.width - 6))
        else:
            causes = self.session.farm.causes()[:_CAUSES]
            title, lines = "What fails", [[(cause, "tone--warn")] for cause in causes]
        self._causes.border_title = title
        self._causes.display = bool(lines) and not self.has_class("-short")
        self._causes.show(lines)

    def _show_heads(self) -> None:
        chosen = self._abis.item
        heads = {head.abi: head for head in self.session.queue}
        self.set_class(bool(heads), "-level1")
        if chosen:
            head = heads.get(chosen.abi)
            self._heads.border_title = f"Next for {chosen.abi}"
            self._heads.show(head.first if head else [])

    def _history(self, queue: AbiQueue) -> Cell:
        return spark(queue.history, 30, ascii_only=self.console.ascii), "tone--bar"

    def _note(self, queue: AbiQueue) -> Cell:
        return (f"{self.console.symbol('▲')} {queue.note}", "tone--warn") if queue.note else ""

    def _elapsed(self, slave: Slave) -> str:
        return duration_text(self.session.farm.elapsed(slave))

    def _totals(self, queues: Sequence[AbiQueue], width: int) -> list[list[Cell]]:
        if not queues:
            return []
        pending = number(sum(queue.pending for queue in queues))
        capped = "+" if any(queue.capped for queue in queues) else ""
        counts = [sum(getattr(q, name) for q in queues) for name in ("slaves", "busy", "idle")]
        head = (
            f" {'total':7} {pending + capped:>8} {counts[0]:6,} {counts[1]:4,} {counts[2]:4,} "
            f"{self.session.farm.rate(self.console.now()):5,.0f} "
        )
        shares = [(queue.abi, float(queue.pending)) for queue in queues]
        bar = ratio_bar(shares, max(0, width - len(head) - 9), ascii_only=self.console.ascii)
        return [[head, ("  share ", "tone--dim"), (bar, "tone--bar")] if bar else [head]]

    def view_state(self) -> str:
        """Return sort and filter."""
        text = f"   / {self._text}" if self._text else ""
        return f"sort: {self._sort}{text}"

    # Keys ----------------------------------------------------------------------------

    def find(self, text: str) -> str:
        """Show only ABIs that contain *text*."""
        self._text = text.strip().casefold()
        self.show_all()
        return ""

    def targets(self) -> list[int]:
        """Return the slaves of the ABI at the cursor, or the slave of the build at it."""
        slaves = self.session.farm.slaves.values()
        if self._longest.has_focus:
            chosen = self._longest.item
            return [slave.id for slave in slaves if slave is chosen]
        queue = self._abis.item
        return [slave.id for slave in slaves if queue and slave.abi == queue.abi]

    def chosen_build(self) -> PastBuild | None:
        """Return the ended build at the cursor."""
        return self._recent.item if self._recent.has_focus else None

    def rows(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return the list that has the focus, or the table of ABIs."""
        lists = (self._longest, self._heads, self._recent)
        return next((found.table() for found in lists if found.has_focus), self._abis.table())

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._sort = next_choice(self._sort, _SORTS)
        self.show_all()

    @on(LineList.Moved, "#abis")
    def moved(self) -> None:
        """Show the next packages of the ABI at the cursor."""
        self._show_heads()

    @on(LineList.Opened, "#abis")
    def open_abi(self) -> None:
        """Show the slaves of the ABI."""
        if (queue := self._abis.item) is not None:
            self.console.open_fleet("" if queue.abi == FIRST.abi else f"abi={queue.abi}")

    def _job(self) -> tuple[str, str] | None:
        """Return the version at the cursor: in its ABI's queue, the first."""
        if self._longest.has_focus and (slave := self._longest.item) is not None:
            return slave.job
        if self._recent.has_focus and (build := self._recent.item) is not None:
            return build.package, build.version
        return self._heads.item

    def action_why(self) -> None:
        """Explain the place of the version at the cursor."""
        if (job := self._job()) is not None:
            self.console.open_why(*job)

    def action_first(self) -> None:
        """Have the version at the cursor built before others."""
        if (job := self._job()) is not None:
            self.console.commands.put_first(*job)

    @on(LineList.Opened, "#heads")
    def open_head(self) -> None:
        """Explain the place of the version."""
        self.action_why()

    @on(LineList.Opened, "#longest")
    def open_slave(self) -> None:
        """Show the slave that builds it."""
        if (slave := self._longest.item) is not None:
            self.console.open_slave(slave.id)

    @on(LineList.Opened, "#recent")
    def open_log(self) -> None:
        """Show the build's log."""
        if (build := self._recent.item) is not None:
            self.console.open_log(build.slave_id, build)


def _hours(queue: AbiQueue) -> float:
    """Return the hours until the queue is empty; infinite if nobody builds it."""
    if not queue.pending:
        return 0
    return float("inf") if queue.eta is None else queue.eta / timedelta(hours=1)


def _pending(queue: AbiQueue) -> str:
    return number(queue.pending) + ("+" if queue.capped else "")


def _eta(queue: AbiQueue) -> Cell:
    if not queue.pending:
        return "-", "tone--dim"
    if queue.eta is None:
        return "never", "tone--warn"
    return (">" if queue.capped else "") + short_span(queue.eta)


def _ratio(slave: Slave) -> Cell:
    if slave.ratio is None:
        return "-", "tone--dim"
    return f"x{slave.ratio:.1f}", "tone--warn" if slave.ratio >= 2 else ""


def _took(build: PastBuild) -> str:
    return "-" if build.duration is None else short_span(build.duration)


def _forecast(
    queues: Sequence[AbiQueue], width: int, *, ascii_only: bool = False
) -> list[list[Cell]]:
    """Return a bar for each ABI with the time it needs, up to a day."""
    full, beyond = ("=", ">") if ascii_only else ("█", "▶")
    room = max(10, width - 18)
    lines: list[list[Cell]] = [
        [("drain forecast: pending / builds per hour over 15 min, linear", "tone--dim")]
    ]
    for queue in queues:
        if not queue.pending:
            continue
        share = _hours(queue) / _DAY
        bar = full * max(1, round(min(1.0, share) * room))
        late = beyond if share > 1 or queue.capped else " "
        eta = _eta(queue)
        words = eta if isinstance(eta, str) else eta[0]
        tone = "tone--warn" if queue.eta is None else "tone--bar"
        lines.append([f"{queue.abi:8.8}", (bar, tone), (late, tone), f" {words}"])
    middle = "+12h".center(room - 7)
    lines.append([(f"{'':8}now{middle}+24h", "tone--dim")])
    return lines
