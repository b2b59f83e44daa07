"""The menu of verbs, and the list of commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from piwheels.console.model.commands import Command, Verb
from piwheels.console.text import clean, short_span
from piwheels.console.ui.screens.base import Dialog
from piwheels.console.ui.verbs import ACTIONS, SLAVE_VERBS, explain, select_targets
from piwheels.console.ui.widgets.line_list import Column, LineList
from piwheels.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from piwheels.console.session import Session
    from piwheels.console.ui.widgets.line_list import Cell


class MenuScreen(Dialog[Verb | None]):
    """Offers the verbs for *targets*, each with its effect, or why it does not apply."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,a,f9,ctrl+c", "leave", "back", show=False, id="menu.leave"),
        Binding("j", "cursor(1)", show=False),
        Binding("k", "cursor(-1)", show=False),
        *(
            Binding(ACTIONS[verb].key, f"choose('{verb}')", ACTIONS[verb].name, show=False)
            for verb in SLAVE_VERBS
        ),
    ]

    def __init__(self, session: Session, targets: Sequence[int]) -> None:
        super().__init__()
        self._session, self._targets = session, targets

    def compose(self) -> ComposeResult:
        """Yield the list."""
        menu = OptionList(*map(self._option, SLAVE_VERBS), id="menu", markup=False, compact=True)
        slaves, targets = self._session.farm.slaves, self._targets
        known = [slaves[one].name for one in targets if one in slaves]
        name = f"#{targets[0]} {known[0]}" if len(known) == 1 else counted(len(known), "slave")
        menu.border_title = Content(name)
        menu.border_subtitle = Content(self._session.why_not(Verb.PAUSE))
        yield menu

    def _option(self, verb: Verb) -> Option:
        action, to = ACTIONS[verb], select_targets(self._session, verb, self._targets)
        text = (
            action.does if to.ids else explain(self._session, to.excluded) or "no slave is chosen"
        )
        line = f" {action.key}  {action.name:6}{len(to.ids or ()):>6,}  {clean(text)}"
        impossible = not to.ids or bool(self._session.why_not(verb))
        return Option(Content(line), id=verb.value, disabled=impossible)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Return the chosen verb."""
        self.dismiss(Verb(event.option_id or ""))

    def action_choose(self, verb: str) -> None:
        """Return the verb of a key."""
        if not self.query_one(OptionList).get_option(verb).disabled:
            self.dismiss(Verb(verb))

    def action_cursor(self, by: int) -> None:
        """Move the cursor."""
        menu = self.query_one(OptionList)
        if by > 0:
            menu.action_cursor_down()
        else:
            menu.action_cursor_up()

    def action_leave(self) -> None:
        """Return no verb."""
        self.dismiss(None)


class CommandsScreen(Dialog[None]):
    """All commands of this session and their outcomes, newest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+c", "dismiss(None)", "back", show=False, id="commands.leave"),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._list: LineList[Command] = LineList(
            (
                Column("TIME", 8, lambda one: f"{session.shown(one.at).astimezone():%H:%M:%S}"),
                Column("VERB", 5, lambda one: one.verb),
                Column("SLAVE", 6, lambda one: "" if one.slave_id is None else f"#{one.slave_id}"),
                Column("LABEL", 14, lambda one: one.label or "(the farm)", least=76),
                Column("STATUS", 12, _phase),
                Column("TOOK", 5, lambda one: _took(one, session.now), right=True),
                Column("", 0, lambda one: one.note),
            ),
            id,
            empty="no command was given yet",
            id="commands",
        )
        self._list.border_title = "Commands"

    def compose(self) -> ComposeResult:
        """Yield the list."""
        yield self._list

    def on_mount(self) -> None:
        """Show the list."""
        self.follow()
        self._list.focus()

    def follow(self) -> None:
        """Update the list."""
        newest = reversed(self._session.batches)
        self._list.show([one for batch in newest for one in batch.commands])


def _phase(one: Command) -> Cell:
    if one.phase.pending:
        return one.phase, "tone--accent"
    good = one.phase in ("acknowledged", "superseded")
    return one.phase, "tone--good" if good else "tone--bad"


def _took(one: Command, now: datetime) -> str:
    return short_span((one.ended or now) - one.at)
