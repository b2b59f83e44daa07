"""Why there is a wheel of a version for each target, or none; and its places in the queues."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content

from piwheels.console.session import NOT_UNDERSTOOD
from piwheels.console.text import clean
from piwheels.console.ui.screens.base import Dialog
from piwheels.console.ui.widgets.line_list import Column, LineList
from piwheels.console.ui.widgets.panel import Panel
from piwheels.core.protocols import AskWhy, Job, Why
from piwheels.core.targets import FIRST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from piwheels.console.session import Session
    from piwheels.console.ui.widgets.line_list import Cell
    from piwheels.core.protocols import Position, WhyAnswer

_TONES: Final = {
    "built": "tone--good", "building": "tone--good", "waiting": "tone--accent",
    "put-off": "tone--accent", "failed": "tone--warn",
}  # fmt: skip
#: The width of the panel's text, and the most lines of the decisive line of a log.
_WIDTH, _DETAIL = 100, 4


class WhyScreen(Dialog[None]):
    """Why there is no wheel of a version (``""``: of any) of *package* for each target.

    Below, the one at the cursor: all of the answer, and the reasons for its place in the queue. A
    master that knows no answers tells the places only, of the version *known*.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+c", "dismiss(None)", "back", show=False, id="why.leave"),
    ]

    def __init__(self, session: Session, package: str, version: str, known: str) -> None:
        super().__init__()
        self._session, self._package, self._version = session, package, version
        self._known = version or known
        self._places: dict[tuple[str, str, str], Position] = {}
        self._answers: Sequence[Why] = ()
        self._refused = ""
        self._list: LineList[Why] = LineList(
            (
                Column("VERSION", 14, lambda one: one.version),
                Column("TARGET", 24, lambda one: str(one.target)),
                Column("STATE", 14, lambda one: (one.state, _TONES.get(one.state, "tone--dim"))),
                Column("WHY", 0, lambda one: one.text, least=70),
            ),
            lambda one: one[:3],
            id="places",
        )
        self._reasons = Panel(id="reasons")

    def compose(self) -> ComposeResult:
        """Yield the answers and the reasons."""
        with Vertical(id="why") as box:
            name = f"{self._package} {self._version}".rstrip()
            box.border_title = Content(clean(f"{name}: why (esc: back)"))
            yield self._list
            yield self._reasons

    def on_mount(self) -> None:
        """Ask the master."""
        self._list.focus()
        ask = AskWhy(self._package, self._version)
        asked = self._session.ask_newer("WHY", ask, self._got_answers)
        if self._known:
            job = Job(self._package, self._known)
            asked = self._session.ask("POSITION", job, self._got_places) or asked
        if not asked:
            self._say("only an attached level-1 master knows")

    def _got_answers(self, answer: WhyAnswer | None, why: str) -> None:
        if not self.is_mounted:
            return
        if answer is not None:
            self._answers = answer.lines
            self._show("no target of this farm, or no version")
        elif not why.startswith(NOT_UNDERSTOOD) or not self._known:
            self._refused = why
            self._show(why)

    def _got_places(self, places: Sequence[Position] | None, why: str) -> None:
        if self.is_mounted:
            for one in places or ():
                self._places[self._known, one.platform, one.abi] = one
            self._show(
                self._refused
                or why
                or "it does not wait: it is built or skipped, or unknown to the master"
            )

    def _show(self, otherwise: str) -> None:
        """Show the answers, or the places alone; if there are none, say why."""
        rows = self._answers or [
            Why(version, platform, abi, "waiting", f"place {place.place:,} of {place.of:,}")
            for (version, platform, abi), place in self._places.items()
        ]
        self._list.display = bool(rows)
        self._list.show(rows)
        if rows:
            self._explain()
        else:
            self._say(otherwise)

    def _say(self, text: str) -> None:
        self._list.display = False
        self._reasons.show([[text]])

    def on_line_list_moved(self) -> None:
        """Show the reasons of the target at the cursor."""
        self._explain()

    def _explain(self) -> None:
        if (chosen := self._list.item) is None:
            return
        width = min(_WIDTH, max(20, self.size.width - 6))
        lines: list[list[Cell]] = [[line] for line in textwrap.wrap(chosen.text, width)]
        detail = textwrap.wrap(chosen.detail, width)[:_DETAIL]
        lines += [[(line, "tone--dim")] for line in detail]
        first = chosen.version, *FIRST
        place = self._places.get(chosen[:3]) or self._places.get(first)
        if place is not None and chosen.state in ("waiting", "failed", "put-off"):
            lines += [[f"{self.console.symbol('·')} {one}"] for one in place.why]
        self._reasons.show(lines)
