"""The confirmation of a command: its targets, the work that is lost, and dropped targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual import on
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from piwheels.console.model.commands import Verb
from piwheels.console.text import clean
from piwheels.console.ui.screens.base import Dialog
from piwheels.console.ui.verbs import (
    ACTIONS,
    Targets,
    explain,
    loss,
    queue_effect,
    select_targets,
    title,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from piwheels.console.session import Session

#: The most labels that are listed.
_NAMED: Final = 5


class Plan(NamedTuple):
    """A command to confirm: the slaves, each with its build (``None``: the farm).

    If there is a *word*, the operator has to type it.
    """

    verb: Verb
    ids: list[int] | None
    others: dict[int, str]
    jobs: dict[int, tuple[str, str] | None]
    #: The master's start: after a restart the numbers are of other slaves.
    epoch: datetime | None
    word: str = ""
    #: How many of the slaves the screen hides.
    hidden: int = 0


def plan(
    session: Session, verb: Verb, to: Targets, *, level: int, farm_name: str, hidden: int = 0
) -> Plan:
    """Return the plan; level 3 asks for the number of slaves, or the farm's name."""
    slaves = session.farm.slaves
    jobs = {one: slaves[one].job for one in to.ids or ()}
    number = len(select_targets(session, verb, slaves).ids or ()) if to.ids is None else len(to.ids)
    word = farm_name if verb is Verb.QUIT or not number else str(number)
    epoch = session.link.epoch
    return Plan(verb, to.ids, to.excluded, jobs, epoch, word if level == 3 else "", hidden)


def still(session: Session, asked: Plan) -> Targets:
    """Return the targets that are left of a plan; a skip is for one particular build."""
    if asked.ids is None:
        return Targets(None, {})
    to = select_targets(session, asked.verb, asked.ids)
    assert to.ids is not None  # noqa: S101 (they are slaves)
    ids = []
    for slave_id in to.ids:
        if asked.verb is Verb.SKIP and session.farm.slaves[slave_id].job != asked.jobs[slave_id]:
            to.excluded[slave_id] = "builds something else now"
        else:
            ids.append(slave_id)
    return Targets(ids, to.excluded)


class QuestionScreen(Dialog[bool]):
    """Asks whether to do *what*; returns the answer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "Do it", show=False, id="question.yes"),
        Binding("n,escape,ctrl+c", "dismiss(False)", "Do nothing", show=False, id="question.no"),
        Binding("left,right", "app.focus_next", show=False),
    ]
    AUTO_FOCUS = "#no"

    def __init__(self, what: str, lines: Sequence[str]) -> None:
        super().__init__()
        self._what, self._lines = clean(what), lines

    def compose(self) -> ComposeResult:
        """Yield the question and the buttons."""
        with Vertical(id="dialog") as box:
            box.border_title = Content(self._what)
            yield Static("\n".join(map(clean, self._lines)), id="question", markup=False)
            with Horizontal(id="answers"):
                yield Button("Cancel (n)", id="no", compact=True)
                yield Button(Content(f"{self._what} (y)"), id="yes", compact=True)

    @on(Button.Pressed)
    def pressed(self, event: Button.Pressed) -> None:
        """Confirm or cancel."""
        self.dismiss(event.button.id == "yes")


class ConfirmScreen(Dialog[Targets | None]):
    """Asks for confirmation; returns the targets, or ``None``: do nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "yes", "Do it", show=False, id="confirm.yes"),
        Binding("n,escape,ctrl+c", "no", "Do nothing", show=False, id="confirm.no"),
        Binding("left,right", "app.focus_next", show=False),
    ]
    AUTO_FOCUS = "#no, #word"

    def __init__(self, asked: Plan) -> None:
        super().__init__()
        self.asked = asked
        self._text = Static(id="question", markup=False)

    def compose(self) -> ComposeResult:
        """Yield the question, an input if a word is required, and the buttons."""
        asked = self.asked
        with Vertical(id="dialog"):
            yield self._text
            if asked.word:
                yield Input(id="word", compact=True)
            with Horizontal(id="answers"):
                yield Button("Cancel (n)", id="no", compact=True)
                label = title(asked.verb, asked.ids)
                yield Button(label if asked.word else f"{label} (y)", id="yes", compact=True)

    def on_mount(self) -> None:
        """Fill the dialog."""
        self.query_one("#dialog").border_title = title(self.asked.verb, self.asked.ids)
        if self.asked.word:
            self.query_one("#yes", Button).disabled = True
            self.query_one("#word", Input).cursor_blink = False
        self.follow()

    def follow(self) -> None:
        """Update the question; close it if the master was restarted."""
        if self.session.link.epoch != self.asked.epoch:
            self.app.bell()
            self.dismiss(None)
            return
        self._text.update("\n".join(self._lines()))

    def _lines(self) -> Sequence[str]:
        verb, ids, others, _, _, word, hidden = self.asked
        session = self.session
        action, to = ACTIONS[verb], still(session, self.asked)
        lines = [f"{action.farm if ids is None else action.does}.".capitalize()]
        if to.ids is not None:
            slaves = session.farm.slaves
            most = 1 if self.has_class("-short") else _NAMED
            lines += ["", *(f"#{one} {clean(slaves[one].name)}" for one in to.ids[:most])]
            if (more := len(to.ids) - most) > 0:
                lines.append(f"+{more:,} more")
            elif not to.ids:
                lines.append("No slave is left.")
            if hidden:
                lines += ["", f"{hidden:,} of them are hidden by the filter."]
        if (why := loss(session, verb, to.ids)) or others:
            lines += ["", *filter(None, (why, explain(session, others)))]
        if longer := queue_effect(session, verb, to.ids):
            lines += ["", longer]
        if to.excluded:
            lines += [f"Dropped since: {explain(session, to.excluded)}."]
        if refused := session.why_not(verb):
            lines += ["", f"Not possible now: {refused}."]
        if word:
            lines += ["", f"Type {clean(word)} to confirm:"]
        return lines

    @on(Input.Changed)
    def typed(self, event: Input.Changed) -> None:
        """Enable the button once the word is there."""
        self.query_one("#yes", Button).disabled = not self._is_word(event.value)

    def _is_word(self, text: str) -> bool:
        return text.strip() == self.asked.word.strip()

    @on(Input.Submitted)
    def entered(self, event: Input.Submitted) -> None:
        """Confirm if the word is right."""
        if self._is_word(event.value):
            self._do()

    @on(Button.Pressed)
    def pressed(self, event: Button.Pressed) -> None:
        """Confirm or cancel."""
        if event.button.id == "yes":
            self._do()
        else:
            self.dismiss(None)

    def action_yes(self) -> None:
        """Confirm, unless a word is required."""
        if not self.asked.word:
            self._do()

    def action_no(self) -> None:
        """Cancel."""
        self.dismiss(None)

    def _do(self) -> None:
        to = still(self.session, self.asked)
        self.dismiss(None if to.ids == [] else to)
