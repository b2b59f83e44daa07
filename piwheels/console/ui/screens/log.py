"""The log of a build, live while it runs, or stored."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding

from piwheels.console.model.logtext import Grade
from piwheels.console.text import clean, short_span, size
from piwheels.console.ui.builds import RESULTS, summary
from piwheels.console.ui.logfeed import LogFeed, LogSource
from piwheels.console.ui.screens.base import FarmScreen
from piwheels.console.ui.screens.slave import neighbour
from piwheels.console.ui.widgets.log_view import LogView
from piwheels.console.ui.widgets.panel import Panel
from piwheels.core.words import counted, duration_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from piwheels.console.model.farm import Changes
    from piwheels.console.model.slave import PastBuild
    from piwheels.console.ui.widgets.line_list import Cell

#: The width from which the head fits on one line.
_WIDE: Final = 100
#: The most lines of the head that say why the build failed.
_WHY: Final = 4


class LogScreen(FarmScreen):
    """The log of *build*; without it, of the slave's running or else last build."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", id="log.back", tooltip="end the search, or go back"),
        Binding("left_square_bracket", "slave(-1)", "previous slave", show=False, id="log.before"),
        Binding("right_square_bracket", "slave(1)", "next slave", show=False, id="log.after"),
        Binding("l", "newest", "the newest log of this slave", show=False, id="log.newest"),
        Binding("y", "yank", "copy line", id="log.yank", tooltip="copy the line"),
        Binding("ctrl+s", "save", "save", id="log.save", tooltip="save the log"),
    ]

    def __init__(self, slave_id: int, build: PastBuild | None = None) -> None:
        super().__init__()
        self.slave_id = slave_id
        self._build = build
        self._feed: LogFeed | None = None
        self._head = Panel(id="head")
        self._view = LogView(id="log")
        self._nothing = Panel("No log", id="nothing")
        self._foot = Panel(id="foot")

    def compose_body(self) -> ComposeResult:
        """Yield the head, the lines or the reason why there are none, and the foot."""
        yield self._head
        yield self._view
        yield self._nothing
        yield self._foot

    def on_mount(self) -> None:
        """Start to read."""
        view, symbols = self._view, map(self.console.symbol, ("↻", "▌", "»"))
        view.folds, view.mark, view.points = symbols
        self._open()
        self._view.focus()

    def on_unmount(self) -> None:
        """Stop reading."""
        if self._feed is not None:
            self._feed.close()

    @property
    def feed(self) -> LogFeed:
        """The source of the log."""
        assert self._feed is not None, "the screen is not shown yet"  # noqa: S101
        return self._feed

    def _open(self) -> None:
        if self._feed is not None:
            self._feed.close()
        self._feed = None
        feed = LogFeed(self.session, self.slave_id, self._build, self._grown)
        self._feed = feed
        self._view.follows = feed.source is LogSource.LIVE
        self._view.show(feed.log)
        feed.start()
        self._show_around()

    def _grown(self, first: int | None) -> None:
        if self._feed is None:
            return
        if first is None:
            self._view.show(self.feed.log)
        else:
            self._view.grown(first)
        self._show_around()

    # What it shows ----------------------------------------------------------------------------

    def apply(self, changes: Changes) -> None:
        """Show the state of the build."""
        if changes.slaves or changes.link or changes.answers or changes.epoch:
            self.show_all()

    def tick(self) -> None:
        """Update the duration of the build."""
        self.show_all()

    def show_all(self) -> None:
        """Show everything as it is now."""
        if self._feed is not None:
            self._feed.update()
            self._show_around()

    def on_log_view_changed(self) -> None:
        """Show the cursor and the search."""
        self._show_around()

    def _show_around(self) -> None:
        empty = not self.feed.log.lines
        if empty != self.has_class("-nothing"):
            self.set_class(empty, "-nothing")
        if empty:
            self._nothing.show(self._reason())
        width = self.size.width - 1
        build = self.feed.build
        self._view.explain("" if build is None else build.cause)
        why: list[list[Cell]] = [] if build is None else summary(build, width - 1)
        why = [[" ", *line] for line in why[: 1 if self.has_class("-short") else _WHY]]
        if self.size.width >= _WIDE:
            self._head.show([_apart(self._about(), self._how(), width), *why])
            self._foot.show([_apart(self._counts(), self._source(), width)])
        else:
            self._head.show([self._about(), *why])
            self._foot.show([_apart(self._counts(), self._how(), width), self._source()])

    def _about(self) -> list[Cell]:
        feed, console = self.feed, self.console
        head = f" #{self.slave_id} {' '.join(map(clean, feed.name))}".rstrip()
        cells: list[Cell] = [(head, "tone--accent"), "  "]
        if feed.source is LogSource.LIVE:
            time = "" if feed.elapsed is None else f" {duration_text(feed.elapsed)}"
            cells.append((f"{console.symbol('▶')} running{time}", "state--build"))
        elif feed.build is not None:
            cells.append(self._outcome(feed.build))
        elif feed.job is not None:
            cells.append(("ended; result not known yet", "tone--warn"))
        if (lines := len(feed.log.lines)) and self.size.width >= _WIDE:
            cells.append(f"   {counted(lines, 'line')} {size(feed.log.end)}")
        return cells

    def _outcome(self, build: PastBuild) -> Cell:
        symbol, word, tone = RESULTS[build.outcome]
        took = f" {short_span(build.duration)}" if build.duration is not None else ""
        files = f" {counted(build.files, 'file')}" if build.files else ""
        when = f"{build.ended.astimezone():%H:%M:%S}"
        return f"{self.console.symbol(symbol)} {word}{took}{files} at {when}", tone

    def _how(self) -> list[Cell]:
        view = self._view
        cells: list[Cell] = []
        if view.follows:
            cells.append((f"{self.console.symbol('●')} FOLLOW  ", "tone--accent"))
        if view.wraps:
            cells.append("WRAP  ")
        if view.needle:
            cells.append(f"/ {view.needle}  {counted(len(view.found), 'hit')}")
        return cells

    def _counts(self) -> list[Cell]:
        counts, symbol, view = self.feed.log.counts, self.console.symbol, self._view
        warnings, errors = counts[Grade.WARNING], counts[Grade.ERROR]
        return [
            (
                f" {symbol('⚠')} {counted(warnings, 'warning')}",
                "tone--warn" if warnings else "tone--dim",
            ),
            (
                f"  {symbol('✗')} {counted(errors, 'error')}",
                "tone--warn" if errors else "tone--dim",
            ),
            (f"  line {view.cursor + 1:,} of {len(self.feed.log.lines):,}", "tone--dim"),
            (f"  hidden {view.hidden:,}" if view.hidden else "", "tone--warn"),
        ]

    def _source(self) -> list[Cell]:
        feed = self.feed
        if feed.next_job is not None:
            package, version = feed.next_job
            return [(f" now builds {package} {version}: l shows it", "tone--accent")]
        if feed.why and feed.log.lines:
            return [(f" {feed.why}", "tone--warn")]
        of = (
            f" {size(feed.log.end)} of {size(feed.size)}"
            if feed.source is LogSource.LOADING
            else ""
        )
        gap = f", {feed.log.missing:,} characters missing" if feed.log.missing else ""
        return [(f" source: {feed.source.value}{of}{gap}", "tone--dim")]

    def _reason(self) -> list[list[Cell]]:
        feed = self.feed
        why = textwrap.wrap(feed.why or "loading the log", max(20, self.size.width - 8))
        lines: list[list[Cell]] = [[(line, "tone--warn")] for line in why]
        slave = self.session.farm.slaves.get(self.slave_id)
        package, version, abi = feed.name
        facts = {
            "slave": f"#{self.slave_id} {slave.name}" if slave is not None else "",
            "build": f"{package} {version} {abi}".strip(),
            "since": f"{slave.job_since.astimezone():%H:%M:%S}"
            if slave is not None and slave.job_since is not None and feed.source is LogSource.LIVE
            else "",
            "runs": duration_text(feed.elapsed)
            if feed.elapsed is not None and feed.source is LogSource.LIVE
            else "",
        }
        lines.append([])
        return lines + [[(f"{name:8}", "tone--dim"), text] for name, text in facts.items() if text]

    def crumbs(self) -> str:
        """Return where we are: ``Fleet › #3 › log grpcio 1.75.1``."""
        name = " ".join(self.feed.name[:2]) if self._feed is not None else ""
        return f"Fleet › #{self.slave_id} › log {clean(name)}".rstrip()

    # Keys ----------------------------------------------------------------------------

    def targets(self) -> list[int]:
        """Return the slave, while it runs the build."""
        return [self.slave_id] if self.feed.source is LogSource.LIVE else []

    def chosen_build(self) -> PastBuild | None:
        """Return the build whose log this is, if it has ended."""
        return self.feed.build

    def find(self, text: str) -> str:
        """Search for *text*."""
        self._view.search(text)
        return "no match" if text and not self._view.found else ""

    def rows(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return the lines."""
        return ("line",), [(line.text,) for line in self.feed.log.lines]

    def action_back(self) -> None:
        """End the search, or go back."""
        if self._view.needle:
            self._view.search("")
        else:
            self.dismiss()

    def action_slave(self, step: int) -> None:
        """Show the log of the next slave, or of the previous one."""
        self._show_slave(neighbour(self, self.slave_id, step))

    def action_newest(self) -> None:
        """Show the slave's running or else last build."""
        self._show_slave(self.slave_id)

    def _show_slave(self, slave_id: int) -> None:
        self.slave_id, self._build = slave_id, None
        self._open()

    def action_yank(self) -> None:
        """Copy the line at the cursor."""
        if (line := self._view.line) is not None:
            self.app.copy_to_clipboard(line.text)
            self.console.flash(f"line {self._view.cursor + 1:,} copied")

    def action_save(self) -> None:
        """Save the log as it is shown, into the working folder."""
        lines = self.feed.log.lines
        name = re.sub(r"[^\w.+-]", "_", "-".join(filter(None, self.feed.name)) or "build")
        when = self.session.shown(self.console.now()).astimezone()
        path = Path(f"{name}-{when:%Y%m%d-%H%M%S}.log")
        try:
            with path.open("x", encoding="utf-8") as file:
                file.writelines(f"{line.text}\n" for line in lines)
        except OSError as exc:
            self.console.flash(f"not saved: {exc}", error=True)
        else:
            self.console.flash(f"saved {counted(len(lines), 'line')}: {path.absolute()}")


def _apart(left: list[Cell], right: list[Cell], width: int) -> list[Cell]:
    """Return a line of *width* with cells at both ends."""
    used = sum(len(cell if isinstance(cell, str) else cell[0]) for cell in [*left, *right])
    return [*left, " " * max(2, width - used), *right]
