"""The line below the body: the outcome of the last command, or a prompt."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding
from textual.containers import Horizontal
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from piwheels.console.model.commands import Phase
from piwheels.console.text import short_span
from piwheels.console.ui.widgets.frame_lines import FrameLine, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from piwheels.console.model.commands import Batch

#: How long the outcome of a command is shown.
_SHOWN: Final = timedelta(seconds=60)
#: Final phases, the worst first: symbol and tone.
_ENDS: Final[dict[Phase, tuple[str, str]]] = {
    Phase.REFUSED: ("✗", "tone--bad"),
    Phase.EXPIRED: ("✗", "tone--bad"),
    Phase.UNKNOWN: ("?", "tone--warn"),
    Phase.SUPERSEDED: ("·", "tone--dim"),
    Phase.ACKNOWLEDGED: ("✓", "tone--good"),
}


def describe(batch: Batch, now: datetime, symbol: Callable[[str], str]) -> Part:
    """Describe a batch of commands: ``» skip 12/17 acknowledged, 5 waiting``."""
    commands = batch.commands
    if len(commands) == 1:
        one = commands[0]
        who = f"{batch.verb} {'farm' if one.slave_id is None else f'#{one.slave_id}'}"
        if one.phase.pending:
            waits = f", {one.note}" if one.note else ""
            took = short_span(now - one.at)
            return Part(
                f"{symbol('»')} {who} {one.phase}{symbol('…')} {took}{waits}", "tone--accent"
            )
        mark, tone = _ENDS[one.phase]
        took = short_span((one.ended or now) - one.at)
        note = f": {one.note}" if one.note else ""
        return Part(f"{symbol(mark)} {who} {one.phase} ({took}){note}", tone)
    counts = {phase: sum(one.phase is phase for one in commands) for phase in _ENDS}
    ends = ", ".join(f"{count:,} {phase}" for phase, count in counts.items() if count)
    done = counts.pop(Phase.ACKNOWLEDGED)
    if batch.pending:
        text = f"{done:,}/{len(commands):,} acknowledged, {batch.pending:,} waiting"
        bad = ", ".join(f"{count:,} {phase}" for phase, count in counts.items() if count)
        text += f", {bad}" if bad else ""
        return Part(f"{symbol('»')} {batch.verb} {text}", "tone--accent")
    worst = next((phase for phase, count in counts.items() if count), Phase.ACKNOWLEDGED)
    mark, tone = _ENDS[worst]
    return Part(f"{symbol(mark)} {batch.verb} {ends}", tone)


def recent(batches: Sequence[Batch], now: datetime) -> list[Batch]:
    """Return the batches to show, newest first, two at most."""
    shown = [
        batch
        for batch in list(batches)[-2:]
        if batch.commands
        and (batch.pending or now - max(one.ended or now for one in batch.commands) < _SHOWN)
    ]
    return shown[::-1]


class Outcomes(FrameLine, can_focus=True):
    """A message, or the last commands; enter or a click lists all commands."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "app.commands", "all commands", id="flash.commands"),
    ]

    def left(self) -> Iterator[Part]:
        """Yield the message, or the state of commands."""
        console, session = self.console, self.session
        now = console.now()
        if session.banner:
            yield Part(f"{console.symbol('⚠')} {session.banner}", "tone--warn")
        message, error = console.message
        if message:
            yield Part(message, "tone--bad" if error else "", 1)
            return
        if undo := console.commands.undo_text():
            yield Part(undo, "tone--warn")
        for rank, batch in enumerate(recent(session.batches, now)):
            yield describe(batch, now, console.symbol)._replace(rank=rank, action="app.commands")


class Prompt(Input):
    """An input for a filter or a command."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "accept"),
        Binding("escape", "leave", "cancel"),
        Binding("ctrl+c", "leave", "cancel", show=False),
        Binding("tab", "complete", "complete", show=False),
    ]

    class Left(Message):
        """The prompt was cancelled."""

    def action_leave(self) -> None:
        """Cancel."""
        self.post_message(self.Left())

    def action_complete(self) -> None:
        """Accept the suggestion."""
        self.action_cursor_right()


class FlashLine(Horizontal):
    """Shows outcomes of commands, or a prompt."""

    class Typed(Message):
        """The text in the prompt; *done*: enter was pressed."""

        def __init__(self, kind: str, text: str, *, done: bool) -> None:
            super().__init__()
            self.kind, self.text, self.done = kind, text, done

    class Left(Message):
        """The prompt was cancelled."""

        def __init__(self, kind: str) -> None:
            super().__init__()
            self.kind = kind

    def __init__(self) -> None:
        super().__init__()
        self._outcomes = Outcomes()
        self._kind = ""
        self._sign = Static("", id="prompt-kind", markup=False)
        self._prompt = Prompt(compact=True, select_on_focus=False, id="prompt")
        self._prompt.cursor_blink = False
        self._wrong = Static("", id="prompt-wrong", markup=False)

    def compose(self) -> ComposeResult:
        """Yield the line and the prompt, of which one is visible."""
        yield self._outcomes
        yield self._sign
        yield self._prompt
        yield self._wrong
        self.close()

    @property
    def asks(self) -> bool:
        """Whether the prompt is open."""
        return self._prompt.display

    def update(self) -> None:
        """Update the line."""
        self._outcomes.update()

    def ask(self, kind: str, text: str, offers: Sequence[str] = ()) -> None:
        """Open the prompt (``/`` or ``:``) with *text*."""
        self._kind = kind
        self._sign.update(f" {kind}")
        self._wrong.update("")
        self._prompt.suggester = SuggestFromList(offers) if offers else None
        with self._prompt.prevent(Input.Changed):
            self._prompt.value = text
        self._prompt.cursor_position = len(text)
        self._switch(asks=True)
        self.screen.set_focus(self._prompt)  # at once: the next keys belong here

    def wrong(self, what: str) -> None:
        """Show an error in the prompt."""
        self._wrong.update(f"{what} " if what else "")

    def close(self) -> None:
        """Close the prompt."""
        self._switch(asks=False)

    def _switch(self, *, asks: bool) -> None:
        self._outcomes.display = not asks
        for each in (self._sign, self._prompt, self._wrong):
            each.display = asks

    def on_input_changed(self, event: Input.Changed) -> None:
        """Report the text."""
        event.stop()
        self.post_message(self.Typed(self._kind, event.value, done=False))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Report the final text."""
        event.stop()
        self.post_message(self.Typed(self._kind, event.value, done=True))

    def on_prompt_left(self) -> None:
        """Report that the prompt was cancelled."""
        self.post_message(self.Left(self._kind))
