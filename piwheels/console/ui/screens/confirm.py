"""The question before a command: to whom, what is lost by it, and who has dropped out meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual import on
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Input, Static

from piwheels.console.model.commands import Verb
from piwheels.console.text import clean
from piwheels.console.ui.screens.base import Dialog
from piwheels.console.ui.verbs import DEEDS, Aim, aim, lost, queue_without, reasons, title

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from piwheels.console.session import Session

#: So many labels are named where there is room.
_NAMED: Final = 5


class Plan(NamedTuple):
    """A command that is asked about: the slaves, pinned with what each builds (``None``: the farm).

    *word* has to be typed if there is one.
    """

    verb: Verb
    ids: list[int] | None
    others: dict[int, str]
    jobs: dict[int, tuple[str, str] | None]
    #: The master's start: with another one the numbers are of other slaves.
    epoch: datetime | None
    word: str = ""
    #: How many of the slaves are not to be seen on the screen.
    hidden: int = 0


def plan(
    session: Session, verb: Verb, to: Aim, *, level: int, farm_name: str, hidden: int = 0
) -> Plan:
    """Return what is to be asked: at level 3 for the number of slaves, or the farm's name."""
    slaves = session.farm.slaves
    jobs = {one: slaves[one].job for one in to.ids or ()}
    number = len(aim(session, verb, slaves).ids or ()) if to.ids is None else len(to.ids)
    word = farm_name if verb is Verb.QUIT or not number else str(number)
    epoch = session.link.epoch
    return Plan(verb, to.ids, to.others, jobs, epoch, word if level == 3 else "", hidden)


def still(session: Session, asked: Plan) -> Aim:
    """Return whom of a plan's slaves it is for by now; a skip is for one certain build."""
    if asked.ids is None:
        return Aim(None, {})
    to = aim(session, asked.verb, asked.ids)
    assert to.ids is not None  # noqa: S101 (they are slaves)
    ids = []
    for slave_id in to.ids:
        if asked.verb is Verb.SKIP and session.farm.slaves[slave_id].job != asked.jobs[slave_id]:
            to.others[slave_id] = "builds something else by now"
        else:
            ids.append(slave_id)
    return Aim(ids, to.others)


class ConfirmScreen(Dialog[Aim | None]):
    """Asks; gives whom it is for by now, or ``None``: do nothing."""

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
        """Give the question, a place for the word if one is wanted, and the answers."""
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
        """Begin to ask."""
        self.query_one("#dialog").border_title = title(self.asked.verb, self.asked.ids)
        if self.asked.word:
            self.query_one("#yes", Button).disabled = True
            self.query_one("#word", Input).cursor_blink = False
        self.follow()

    def follow(self) -> None:
        """Show what the question is by now; with another master there is none."""
        if self.session.link.epoch != self.asked.epoch:
            self.app.bell()
            self.dismiss(None)
            return
        self._text.update("\n".join(self._lines()))

    def _lines(self) -> Sequence[str]:
        verb, ids, others, _, _, word, hidden = self.asked
        session = self.session
        deed, to = DEEDS[verb], still(session, self.asked)
        lines = [f"{deed.farm if ids is None else deed.does}.".capitalize()]
        if to.ids is not None:
            slaves = session.farm.slaves
            most = 1 if self.has_class("-short") else _NAMED
            lines += ["", *(f"#{one} {clean(slaves[one].label)}" for one in to.ids[:most])]
            if (more := len(to.ids) - most) > 0:
                lines.append(f"+{more:,} more")
            elif not to.ids:
                lines.append("No slave is left to do it to.")
            if hidden:
                lines += ["", f"{hidden:,} of them are not shown: the filter hides them."]
        if (why := lost(session, verb, to.ids)) or others:
            lines += ["", *filter(None, (why, reasons(session, others)))]
        if longer := queue_without(session, verb, to.ids):
            lines += ["", longer]
        if to.others:
            lines += [f"Dropped meanwhile: {reasons(session, to.others)}."]
        if refused := session.why_not(verb):
            lines += ["", f"It cannot be done now: {refused}."]
        if word:
            lines += ["", f"Type {clean(word)} to confirm:"]
        return lines

    @on(Input.Changed)
    def typed(self, event: Input.Changed) -> None:
        """Let it be done once the word is there."""
        self.query_one("#yes", Button).disabled = not self._is_word(event.value)

    def _is_word(self, text: str) -> bool:
        return text.strip() == self.asked.word.strip()

    @on(Input.Submitted)
    def entered(self, event: Input.Submitted) -> None:
        """Do it if the word is right."""
        if self._is_word(event.value):
            self._do()

    @on(Button.Pressed)
    def pressed(self, event: Button.Pressed) -> None:
        """Take the answer."""
        if event.button.id == "yes":
            self._do()
        else:
            self.dismiss(None)

    def action_yes(self) -> None:
        """Do it, unless a word is wanted."""
        if not self.asked.word:
            self._do()

    def action_no(self) -> None:
        """Do nothing."""
        self.dismiss(None)

    def _do(self) -> None:
        to = still(self.session, self.asked)
        self.dismiss(None if to.ids == [] else to)
