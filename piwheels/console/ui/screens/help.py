"""Help: the active keys, and the meaning of symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual.binding import Binding
from textual.containers import Vertical
from textual.scroll_view import ScrollView
from textual.widgets import Input

from piwheels.console.ui.glyphs import STATE_SYMBOLS
from piwheels.console.ui.screens.base import Dialog
from piwheels.console.ui.verbs import ACTIONS, SLAVE_VERBS
from piwheels.console.ui.widgets.line_list import Column, LineList

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.app import ComposeResult
    from textual.binding import ActiveBinding, BindingType

    from piwheels.console.ui.host import Host

_STATES: Final = {
    "IDLE": "it has registered, and nothing else yet",
    "SLEEP": "there is nothing to build for it",
    "BUILD": "it builds",
    "SEND": "it sends the files of a build",
    "CLEAN": "its build has ended",
    "PAUSE": "it, or the farm, is paused",
    "SILNT": "no message for longer than usual",
    "EXPIR": "no message for so long that the master drops it",
    "DEAD": "it has left; its row disappears soon",
}
#: Descriptions for Textual's own bindings; ``""``: hidden.
_OTHERS: Final = {
    "app.focus_next": "to the next list",
    "app.focus_previous": "to the list before",
    "screen.copy_text": "copy the selection; without one, quit",
    "scroll_left": "",
    "scroll_right": "",
    "page_left": "",
    "page_right": "",
}
_NOTES: Final = (
    ("skip?", "a command under way"),
    ("✗skip", "a command that was refused or had no visible effect"),
    ("/", "numpy abi=cp311 state=build,send load>4 disk>85 time>1h slow>3 alert !label~rack1"),
    ("esc", "closes a prompt, dialog or screen; the farm continues"),
)


class Line(NamedTuple):
    """A line of help: its context, a key or symbol, its effect or meaning."""

    where: str
    key: str
    what: str


class HelpScreen(Dialog[None]):
    """All keys; typing searches them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,ctrl+c", "dismiss(None)", "back", show=False, id="help.leave"),
        Binding("down", "scroll(1)", show=False, priority=True),
        Binding("up", "scroll(-1)", show=False, priority=True),
        Binding("pagedown", "page(1)", show=False, priority=True),
        Binding("pageup", "page(-1)", show=False, priority=True),
    ]

    def __init__(self, lines: Sequence[Line]) -> None:
        super().__init__()
        self._lines = lines
        self._search = Input(placeholder="search", compact=True, id="search")
        self._search.cursor_blink = False
        self._list: LineList[Line] = LineList(
            (
                Column("WHERE", 8, lambda line: (line.where, "tone--dim")),
                Column("KEY", 9, lambda line: (line.key, "tone--accent")),
                Column("", 0, lambda line: line.what),
            ),
            lambda line: line,
            empty="no match",
            id="keys",
        )

    def compose(self) -> ComposeResult:
        """Yield the search and its results."""
        with Vertical(id="help") as box:
            box.border_title = "Help (esc: back)"
            yield self._search
            yield self._list

    def on_mount(self) -> None:
        """Show all."""
        self._list.show(self._lines)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the lines that match."""
        words = event.value.casefold().split()
        found = [
            line for line in self._lines if all(word in " ".join(line).casefold() for word in words)
        ]
        self._list.show(found, follow=True)

    def action_scroll(self, by: int) -> None:
        """Move in the list."""
        self._list.action_move(by)

    def action_page(self, by: int) -> None:
        """Move in the list by pages."""
        self._list.action_page(by)


def help_lines(console: Host, active: Iterable[ActiveBinding]) -> list[Line]:
    """Return the lines: *active* bindings, states, symbols."""
    does = {f"verb.{verb}": ACTIONS[verb].does for verb in SLAVE_VERBS}
    lines: dict[tuple[str, str], list[str]] = {}
    for each in active:
        binding = each.binding
        name = _OTHERS.get(binding.action, binding.description)
        if name and not binding.key.startswith("super+"):  # no terminal sends these
            what = f"{name}: {does[binding.id]}" if binding.id in does else ""
            place = (_where(each), what or binding.tooltip or name)
            lines.setdefault(place, []).append(console.key_name(binding.key))
    result = [Line(where, " ".join(keys), what) for (where, what), keys in lines.items()]
    for state, mark in STATE_SYMBOLS.items():
        glyph = mark.ascii if console.ascii else mark.glyph
        result.append(Line("state", f"{glyph} {state}", _STATES[state]))
    result += [Line("symbol", "".join(map(console.symbol, key)), what) for key, what in _NOTES]
    return result


def _where(each: ActiveBinding) -> str:
    group = (each.binding.id or "").partition(".")[0]
    if group in ("", "verb", "frame", "tab"):
        return "list" if isinstance(each.node, ScrollView) else "all"
    return group
