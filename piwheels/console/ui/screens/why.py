"""Why a version is where it is in the queue of each target."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content

from piwheels.console.text import clean
from piwheels.console.ui.screens.base import Dialog
from piwheels.console.ui.widgets.line_list import Column, LineList
from piwheels.console.ui.widgets.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from piwheels.console.session import Session
    from piwheels.core.protocols import Job, Position


class WhyScreen(Dialog[None]):
    """The place of *job* in the queue of each target, and the reasons of the one at the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+c", "dismiss(None)", "back", show=False, id="why.leave"),
    ]

    def __init__(self, session: Session, job: Job) -> None:
        super().__init__()
        self._session, self._job = session, job
        self._list: LineList[Position] = LineList(
            (
                Column("TARGET", 0, lambda one: f"{one.platform}/{one.abi}"),
                Column("PLACE", 7, lambda one: f"{one.place:,}", right=True),
                Column("OF", 7, lambda one: f"{one.of:,}", right=True),
            ),
            lambda one: one[:2],
            id="places",
        )
        self._reasons = Panel(id="reasons")

    def compose(self) -> ComposeResult:
        """Yield the places and the reasons."""
        with Vertical(id="why") as box:
            box.border_title = Content(clean(f"{' '.join(self._job)} in the queue (esc: back)"))
            yield self._list
            yield self._reasons

    def on_mount(self) -> None:
        """Ask the master."""
        self._list.focus()
        if not self._session.ask("POSITION", self._job, self._show):
            self._say("only an attached level-1 master knows")

    def _show(self, places: Sequence[Position] | None, why: str) -> None:
        if not self.is_mounted:
            return
        self._list.show(places or ())
        if not places:
            self._say(why or "it does not wait: it is built or skipped, or unknown to the master")
        else:
            self._explain()

    def _say(self, text: str) -> None:
        self._list.display = False
        self._reasons.show([[text]])

    def on_line_list_moved(self) -> None:
        """Show the reasons of the target at the cursor."""
        self._explain()

    def _explain(self) -> None:
        if (chosen := self._list.item) is not None:
            self._reasons.show([[f"{self.console.symbol('·')} {one}"] for one in chosen.why])
