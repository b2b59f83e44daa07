"""The Failures screen: what has failed, why, what to do, and a key to try all of it again."""

from __future__ import annotations

import textwrap
from collections import Counter
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from textual import on
from textual.binding import Binding

from piwheels.console.model.slave import PastBuild
from piwheels.console.text import clean, number
from piwheels.console.ui.cycle import next_choice
from piwheels.console.ui.screens.base import FarmScreen
from piwheels.console.ui.widgets.line_list import Column, LineList
from piwheels.console.ui.widgets.panel import Panel
from piwheels.core.debian.contents import packages_for, release_of
from piwheels.core.diagnosis import Diagnosis
from piwheels.core.protocols import FailureCount, FailuresAsked
from piwheels.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from piwheels.console.ui.widgets.line_list import Cell
    from piwheels.core.protocols import BuildOutcome

#: The periods, in days, in the sequence in which ``d`` cycles through them.
_PERIODS: Final = (7, 30, 365, 1)
#: How often the master is asked for the failures of a month, or fewer days; of more, less often.
_EVERY: Final = timedelta(seconds=20)
#: Sort keys, in the sequence in which ``o`` cycles through them; the master's order is the first.
_SORTS: Final[dict[str, Callable[[FailureCount], object]]] = {
    "builds": lambda _: 0,
    "packages": lambda row: -row.packages,
    "class": lambda row: (_about(row), row.subject),
}
#: The tone of a class, by who is at fault.
_TONES: Final = {"environment": "tone--warn", "farm": "tone--accent"}


class FailuresScreen(FarmScreen):
    """The failures of the last days by class and subject; below, the versions of one row."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", id="failures.back"),
        Binding("r", "retry", "try again", id="failures.retry",
                tooltip="try all failures of the row, or the version at the cursor, again"),
        Binding("d", "period", "days", id="failures.days",
                tooltip="failures of the last 7, 30, 365 days, or of one"),
        Binding("o", "sort", "sort", id="failures.sort", tooltip="sort by the next column"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._days = _PERIODS[0]
        self._sort = "builds"
        self._text = ""
        self._counts: list[FailureCount] = []
        #: Why the master has not answered; ``""``: it has.
        self._why = "waiting for the master"
        self._due: datetime | None = None
        #: The row whose versions are shown.
        self._opened: FailureCount | None = None
        self._reasons: LineList[FailureCount] = LineList(
            (
                Column("BUILDS", 7, lambda row: number(row.builds), right=True),
                Column("PACKAGES", 8, lambda row: number(row.packages), right=True),
                Column("CLASS", 28, _title),
                Column("SUBJECT", 28, lambda row: row.subject),
                Column("WHAT TO DO", 0, lambda row: _diagnosis(row).sentence, least=110),
            ),
            lambda row: row[:2],
            empty="nothing has failed in this time",
            id="reasons",
        )
        self._advice = Panel("What to do", id="what-to-do")
        self._failed: LineList[PastBuild] = LineList(
            (
                Column("PACKAGE", 30, lambda build: f"{build.package} {build.version}"),
                Column("TARGET", 24, _target, least=100),
                Column("ENDED", 16, lambda build: f"{build.ended.astimezone():%Y-%m-%d %H:%M}"),
                Column("CAUSE", 0, lambda build: (build.cause, "tone--dim")),
            ),
            lambda build: build.build_id,
            empty="none is left",
            id="failed",
        )

    def compose_body(self) -> ComposeResult:
        """Yield the classes, what to do about the one at the cursor, and its versions."""
        yield self._reasons
        yield self._advice
        yield self._failed

    # What it shows ----------------------------------------------------------------------------

    def tick(self) -> None:
        """Ask the master from time to time."""
        now = self.session.now
        if self._due is None or now >= self._due:
            self._due = now + _EVERY * max(1, self._days // 30)
            if not self.session.ask_newer("FAILURES", self._days, self._got_counts):
                self._why = "only an attached master that diagnoses failures knows"
            if self._opened is not None:
                self._ask_failed(self._opened)
            self._show_advice()

    def show_all(self) -> None:
        """Ask the master at once."""
        self._due = None
        self.tick()

    def _got_counts(self, counts: list[FailureCount] | None, why: str) -> None:
        if counts is not None:
            self._counts = counts
        self._why = why
        self._show_counts()

    def _show_counts(self) -> None:
        if not self.is_mounted:
            return
        rows = [row for row in self._counts if self._text in _searched(row)]
        self._reasons.show(sorted(rows, key=_SORTS[self._sort]))  # type: ignore[arg-type]
        self._show_advice()

    @on(LineList.Moved, "#reasons")
    def _show_advice(self) -> None:
        """Show what to do about the row at the cursor."""
        row, width = self._reasons.item, max(20, self.size.width - 6)
        if row is None or self._why:
            lines: list[list[Cell]] = [[(self._why, "tone--warn")]] if self._why else []
        else:
            lines = [[line] for line in textwrap.wrap(_diagnosis(row).sentence, width)]
            if install := self._install(row):
                lines.append([(install, "tone--good")])
        self._advice.display = bool(lines)
        self._advice.show(lines)

    def _install(self, row: FailureCount) -> str:
        """Return which package of Debian the operator could install, in a sentence; or ``""``."""
        releases = Counter(
            release_of(slave.info.os_version) for slave in self.session.farm.slaves.values()
        )
        for release, _ in releases.most_common():
            if packages := packages_for(row.reason, row.subject, release):
                would = f"would build {counted(row.packages, 'package')}"
                return f"`apt install {packages[0]}` on the boards ({release}) {would}"
        return ""

    def _ask_failed(self, row: FailureCount) -> None:
        self.session.ask_newer("FAILED", self._asked(row), partial(self._got_failed, row))

    def _got_failed(self, row: FailureCount, found: list[BuildOutcome] | None, why: str) -> None:
        if not self.is_mounted or row != self._opened:
            return
        if found is None:
            self.console.flash(why, error=True)
            return
        self._failed.border_title = clean(f"{_about(row)}: the newest {len(found):,} (esc: close)")
        self._failed.show([PastBuild.of(one, one.ended) for one in found])

    def _asked(self, row: FailureCount) -> FailuresAsked:
        return FailuresAsked(self._days, row.reason, row.subject)

    def view_state(self) -> str:
        """Return the period, sort and filter."""
        text = f"   / {self._text}" if self._text else ""
        return f"last {counted(self._days, 'day')}   sort: {self._sort}{text}"

    def crumbs(self) -> str:
        """Return where we are."""
        return "Failures"

    # Keys ----------------------------------------------------------------------------

    def find(self, text: str) -> str:
        """Show only rows that contain *text*."""
        self._text = text.strip().casefold()
        self._show_counts()
        return ""

    def chosen_build(self) -> PastBuild | None:
        """Return the build at the cursor of the lower list."""
        return self._failed.item if self._failed.has_focus else None

    def rows(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return the list that has the focus."""
        return (self._failed if self._failed.has_focus else self._reasons).table()

    def action_retry(self) -> None:
        """Have all failures of the row, or the version at the cursor, repeated."""
        if self._failed.has_focus:
            super().action_retry()
        elif (row := self._reasons.item) is not None:
            self.console.commands.retry_failures(self._asked(row), _about(row))

    def action_period(self) -> None:
        """Show the failures of another period."""
        self._days = next_choice(self._days, _PERIODS)
        self.show_all()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._sort = next_choice(self._sort, _SORTS)
        self._show_counts()

    def action_back(self) -> None:
        """Close the list of versions, or go back."""
        if self._opened is None:
            self.dismiss()
            return
        self._opened = None
        self.remove_class("-opened")
        self._reasons.focus()

    @on(LineList.Opened, "#reasons")
    def open_reason(self) -> None:
        """Show the versions that have failed so."""
        if (row := self._reasons.item) is not None:
            self._opened = row
            self._failed.show([])
            self.add_class("-opened")
            self._failed.focus()
            self._ask_failed(row)

    @on(LineList.Opened, "#failed")
    def open_log(self) -> None:
        """Show the log of the build."""
        if (build := self._failed.item) is not None:
            self.console.open_log(build.slave_id, build)


def _diagnosis(row: FailureCount) -> Diagnosis:
    return Diagnosis(row.reason, row.subject)


def _about(row: FailureCount) -> str:
    return f"{_diagnosis(row).about.title} {row.subject}".rstrip()


def _title(row: FailureCount) -> Cell:
    about = _diagnosis(row).about
    return about.title, _TONES.get(about.fault, "")


def _searched(row: FailureCount) -> str:
    return f"{_about(row)}\n{_diagnosis(row).sentence}".casefold()


def _target(build: PastBuild) -> str:
    return f"{build.platform}/{build.abi}" if build.platform else build.abi
