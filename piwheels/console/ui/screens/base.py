"""What all screens have in common: the frame, and what the application calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual.binding import Binding
from textual.containers import Container
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, Static

from piwheels.console.model.commands import Verb
from piwheels.console.text import clean
from piwheels.console.ui.export import as_json
from piwheels.console.ui.host import Hosted, Key
from piwheels.console.ui.screens.timetravel import TimeBar
from piwheels.console.ui.verbs import DEEDS, OF_SLAVES
from piwheels.console.ui.widgets.flash import FlashLine
from piwheels.console.ui.widgets.status import FrameLine, KeyLine, KpiLine, StatusLine, TabLine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from textual import events
    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.widget import Widget

    from piwheels.console.model.farm import Changes

T = TypeVar("T")
#: Below this size there is the status line, the body, and nothing else.
_TINY_WIDTH, _TINY_HEIGHT = 60, 15


def _group(name: str) -> int:
    return {"verb": 1, "frame": 2}.get(name.partition(".")[0], 0)


class FarmScreen(Hosted, Screen[None]):
    """A screen within the frame: status line, figures, tabs, *body*, flash line, footer.

    The application calls :meth:`apply` on the active screen alone, four times a second, and
    :meth:`tick` once a second; what changed while another screen was shown is made good by
    :meth:`show_all`, which is called whenever the screen comes (back) into view.
    """

    #: The breadcrumb and, for the five main screens, the tab's name.
    title_in_tabs: ClassVar[str] = ""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (160, "-xwide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(DEEDS[verb].key, f"give('{verb}')", DEEDS[verb].name, id=f"verb.{verb}")
            for verb in OF_SLAVES
        ),
        Binding(
            "a,f9", "menu", "menu", id="frame.menu", tooltip="what can be done to the chosen slaves"
        ),
        # With priority, so that what is typed fast after it is not taken for keys.
        Binding(
            "slash,f3",
            "find",
            "filter",
            priority=True,
            id="frame.find",
            tooltip="filter, or look for something",
        ),
        Binding("y", "yank", "copy the label", show=False, id="frame.yank"),
        Binding(
            "Y", "yank_row", "copy all that is known, as JSON", show=False, id="frame.yank-row"
        ),
        Binding("ctrl+s", "save", "save what is shown", show=False, id="frame.save"),
        Binding("t", "time", "move in time (recordings)", show=False, id="frame.time"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._found = ""
        self._focused_before: Widget | None = None

    # The frame --------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Give the frame, and the body in it."""
        yield StatusLine()
        yield KpiLine()
        yield TabLine()
        yield Static(id="advice", markup=False)
        with Container(id="body"):
            yield from self.compose_body()
        yield TimeBar()
        yield FlashLine()
        yield KeyLine()

    def on_screen_resume(self) -> None:
        """Make good what was missed."""
        self.show_all()
        self.show_frame()

    def on_resize(self, event: events.Resize) -> None:
        """Leave the frame out where there is no room for it."""
        self.set_class(event.size.width < _TINY_WIDTH or event.size.height < _TINY_HEIGHT, "-tiny")

    def show_frame(self, *, counted: bool = True) -> None:
        """Show what is around the body; *counted*: also what has to be counted for it."""
        advice = self.session.advice()
        empty = self.session.farm.info is None
        self.set_class(bool(advice), "-advice")
        self.set_class(empty, "-empty")
        if self.focused is None and not (advice and empty):
            self._focus_body()
        if advice:
            for panel in self.query("#advice").results(Static):  # none, if the screen is just going
                panel.update("\n".join(map(clean, advice)))
        for line in self.query(FrameLine):
            if counted or not isinstance(line, KpiLine):
                line.update()

    def _focus_body(self) -> None:
        """Give the body its focus again, which it loses while it is hidden."""
        widgets = self.query("#body *")  # none, if it is just being made or taken down
        first = next((each for each in widgets if each.focusable), None)
        self.set_focus(first, scroll_visible=False)

    def shown_bindings(self) -> Iterator[Key]:
        """Give the keys for the footer: what has the focus, the screen, the verbs, the frame."""
        shown: dict[str, Key] = {}
        for active in self.active_bindings.values():
            binding = active.binding
            if binding.show and active.enabled:
                shown.setdefault(binding.action, Key(_group(binding.id or ""), active))
        yield from sorted(shown.values(), key=lambda key: key.group)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let a slash be typed into a prompt."""
        return not (action == "find" and isinstance(self.focused, Input))

    # What a screen says -----------------------------------------------------------------------

    def compose_body(self) -> ComposeResult:
        """Give the widgets between the tabs and the flash line."""
        raise NotImplementedError

    def apply(self, changes: Changes) -> None:
        """Show what has changed."""

    def tick(self) -> None:
        """Show that time has passed."""

    def show_all(self) -> None:
        """Show everything anew."""

    def targets(self) -> list[int]:
        """Return the slaves that a verb is for now: the marked ones, or the one at the cursor."""
        return []

    def hidden(self, slaves: Sequence[int]) -> int:
        """Return how many of *slaves*, which were chosen here, are not to be seen here."""
        return 0

    def crumbs(self) -> str:
        """Return where we are: ``Fleet › #3 pi4-rack1-03``."""
        return self.title_in_tabs

    def view_state(self) -> str:
        """Return what is special about the view: sort, filter, marks, frozen or live."""
        return ""

    def find(self, text: str) -> str:
        """Filter or search for *text* (``""``: no longer); return what is wrong with it, or ""."""
        return ""

    def rows(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return what is shown as a table (names of columns, rows), for ctrl+s; or nothing."""
        return (), ()

    # What is typed ----------------------------------------------------------------------------

    def look_for(self, text: str) -> str:
        """Have :meth:`find` look for *text*, and know it when the prompt is opened again."""
        wrong = self.find(text)
        if not wrong:
            self._found = text
        return wrong

    @property
    def found(self) -> str:
        """What was looked for last."""
        return self._found

    def action_find(self, begin: str = "") -> None:
        """Let a filter be typed."""
        self._ask("/", begin or self._found)

    def ask_command(self, offers: Sequence[str]) -> None:
        """Let a command be typed."""
        self._ask(":", "", offers)

    def _ask(self, kind: str, text: str, offers: Sequence[str] = ()) -> None:
        line = self.query_one(FlashLine)
        if not line.asks:
            self._focused_before = self.focused
        line.ask(kind, text, offers)

    def on_flash_line_typed(self, message: FlashLine.Typed) -> None:
        """Filter while it is typed; run a command when it is complete."""
        line = self.query_one(FlashLine)
        if message.kind == "/":
            line.wrong(self.look_for(message.text))
        if message.done:
            self._close_prompt()
            if message.kind == ":":
                self.console.run_command(message.text)

    def on_flash_line_left(self, message: FlashLine.Left) -> None:
        """Take the filter back."""
        if message.kind == "/":
            self.look_for("")
        self._close_prompt()

    def _close_prompt(self) -> None:
        self.query_one(FlashLine).close()
        self.set_focus(self._focused_before)

    # What keys do -----------------------------------------------------------------------------

    def action_give(self, verb: str) -> None:
        """Have a command given to the targets."""
        self.console.commands.give(Verb(verb), self.targets())

    def action_menu(self) -> None:
        """Offer the verbs, with what they do."""
        self.console.commands.open_menu(self.targets())

    def action_save(self) -> None:
        """Save what is shown as a table."""
        self.console.save("")

    def action_time(self) -> None:
        """Give the keys to the time bar, if there is one."""
        if self.session.recording is None:
            self.console.flash(
                "time can be moved in a recording: --record FILE, then --replay FILE"
            )
        else:
            self.query_one(TimeBar).focus()

    def action_yank(self) -> None:
        """Copy the labels of the targets."""
        slaves = self.session.farm.slaves
        labels = [slaves[one].label for one in self.targets() if one in slaves]
        self._copy("\n".join(labels), "the label" if len(labels) == 1 else f"{len(labels)} labels")

    def action_yank_row(self) -> None:
        """Copy what is known of the targets."""
        slaves = self.session.farm.slaves
        known = [as_json(slaves[one]) for one in self.targets() if one in slaves]
        self._copy("\n".join(known), "the row as JSON")

    def _copy(self, text: str, what: str) -> None:
        if not text:
            self.console.flash("there is nothing to copy here", error=True)
            return
        self.app.copy_to_clipboard(text)
        self.console.flash(f"copied {what} (if the terminal takes it: OSC 52)")


class Dialog(Hosted, ModalScreen[T]):
    """A dialog above a screen that goes on."""

    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-tall")]  # noqa: RUF012

    def follow(self) -> None:
        """Show what has changed meanwhile."""
