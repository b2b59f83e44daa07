"""The Targets screen: the queue of each target, and who builds for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding

from piwheels.console.text import clean, number, short_span
from piwheels.console.ui.cycle import next_choice
from piwheels.console.ui.screens.base import FarmScreen
from piwheels.console.ui.widgets.line_list import Column, LineList
from piwheels.core.targets import family

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from piwheels.console.model.farm import Changes
    from piwheels.console.ui.widgets.line_list import Cell
    from piwheels.core.protocols import TargetState

#: Sort keys, in the sequence in which ``o`` cycles through them; the master's order is the first.
_SORTS: Final[dict[str, Callable[[TargetState], object]]] = {
    "position": lambda _: 0,
    "pending": lambda target: -target.pending,
    "slaves": lambda target: (target.slaves, -target.pending),
}


class TargetsScreen(FarmScreen):
    """The targets of the farm: platforms with ABIs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "back", id="targets.back"),
        Binding("o", "sort", "sort", id="targets.sort", tooltip="sort by the next column"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._sort = "position"
        self._text = ""
        self._list: LineList[TargetState] = LineList(
            (
                Column("PLATFORM", 20, lambda target: target.platform),
                Column("ABI", 8, lambda target: target.abi),
                Column("PENDING", 8, lambda target: number(target.pending), right=True),
                Column("SLAVES", 6, lambda target: f"{target.slaves:,}", right=True),
                Column("NOTE", 0, self._note),
            ),
            lambda target: target[:2],
            empty="the master has not reported its targets (level 1 does)",
            id="targets",
        )

    def compose_body(self) -> ComposeResult:
        """Yield the table."""
        yield self._list

    # What it shows ----------------------------------------------------------------------------

    def apply(self, changes: Changes) -> None:
        """Show new answers of the master."""
        if changes.answers or changes.epoch:
            self.show_all()

    def tick(self) -> None:
        """Update how long targets have waited."""
        self._list.refresh()

    def show_all(self) -> None:
        """Show the targets as they are now."""
        found = [
            target
            for target in self.session.targets
            if self._text in f"{target.platform}/{target.abi}".casefold()
        ]
        self._list.show(sorted(found, key=_SORTS[self._sort]))  # type: ignore[arg-type]

    def _note(self, target: TargetState) -> Cell:
        if target.skip:
            return f"retired: {clean(target.skip)}", "tone--dim"
        if target.waits_since is None:
            return ""
        farm = self.session.farm
        waits = short_span(farm.master_time(self.console.now()) - target.waits_since)
        late = target in self.session.unserved
        mark, tone = (f"{self.console.symbol('▲')} ", "tone--warn") if late else ("", "")
        return f"{mark}NO SLAVE for {waits}", tone

    def view_state(self) -> str:
        """Return sort and filter."""
        text = f"   / {self._text}" if self._text else ""
        return f"sort: {self._sort}{text}"

    def crumbs(self) -> str:
        """Return where we are."""
        return "Targets"

    # Keys ----------------------------------------------------------------------------

    def find(self, text: str) -> str:
        """Show only targets that contain *text*."""
        self._text = text.strip().casefold()
        self.show_all()
        return ""

    def targets(self) -> list[int]:
        """Return the slaves that build for the target at the cursor at present."""
        chosen = self._list.item
        return [
            slave.id
            for slave in self.session.farm.slaves.values()
            if chosen is not None
            and slave.abi == chosen.abi
            and chosen.platform in ("any", family(slave.info.native_platform))
        ]

    def rows(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return the table."""
        return self._list.table()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._sort = next_choice(self._sort, _SORTS)
        self.show_all()

    def on_line_list_opened(self) -> None:
        """Show the slaves that build for the target."""
        if (target := self._list.item) is not None:
            machine = target.platform.partition("_")[2]
            platform = f" platform~{machine}" if machine else ""
            self.console.open_fleet(f"abi={target.abi}{platform}")
