"""The base of all screens: the frame, and the methods that the application calls."""

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
from piwheels.console.ui.verbs import ACTIONS, SLAVE_VERBS
from piwheels.console.ui.widgets.flash_line import FlashLine
from piwheels.console.ui.widgets.frame_lines import FrameLine, KeyLine, KpiLine, StatusLine, TabLine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from textual import events
    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.widget import Widget

    from piwheels.console.model.farm import Changes
    from piwheels.console.model.slave import PastBuild

T = TypeVar("T")
#: Below this size only the status line and the body are shown.
_TINY_WIDTH, _TINY_HEIGHT = 60, 15


def _group(name: str) -> int:
    return {"verb": 1, "frame": 2}.get(name.partition(".")[0], 0)


class FarmScreen(Hosted, Screen[None]):
    """A screen within the frame: status line, stats, tabs, *body*, flash line, footer.

    The application calls :meth:`apply` on the active screen several times a second, and
    :meth:`tick` once a second. :meth:`show_all` is called whenever the screen comes into view, for
    changes that it missed.
    """

    #: The breadcrumb and, for the five main screens, the tab's name.
    title_in_tabs: ClassVar[str] = ""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (160, "-xwide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(ACTIONS[verb].key, f"give('{verb}')", ACTIONS[verb].name, id=f"verb.{verb}")
            for verb in SLAVE_VERBS
        ),
        Binding("a,f9", "menu", "menu", id="frame.menu", tooltip="the verbs for the chosen slaves"),
        # With priority, so that fast typing after it is not taken for keys.
        Binding(
            "slash,f3",
            "find",
            "filter",
            priority=True,
            id="frame.find",
            tooltip="filter or search",
        ),
        Binding("y", "yank", "copy the label", show=False, id="frame.yank"),
        Binding("Y", "yank_row", "copy the row as JSON", show=False, id="frame.yank-row"),
        Binding("r", "retry", "try again", show=False, id="frame.retry",
                tooltip="try the failed build at the cursor again"),
        Binding("ctrl+s", "save", "save the table", show=False, id="frame.save"),
        Binding("t", "time", "move in time (recordings)", show=False, id="frame.time"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._found = ""
        self._focused_before: Widget | None = None

    # The frame --------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Yield the frame with the body in it."""
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
        """Show changes that were missed."""
        self.show_all()
        self.show_frame()

    def on_resize(self, event: events.Resize) -> None:
        """Hide the frame where there is no room for it."""
        self.set_class(event.size.width < _TINY_WIDTH or event.size.height < _TINY_HEIGHT, "-tiny")

    def show_frame(self, *, counted: bool = True) -> None:
        """Update the frame; *counted*: also the line of counts, which is expensive."""
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
        """Focus the body again, which loses the focus while it is hidden."""
        widgets = self.query("#body *")  # none, if it is just being made or taken down
        first = next((each for each in widgets if each.focusable), None)
        self.set_focus(first, scroll_visible=False)

    def shown_bindings(self) -> Iterator[Key]:
        """Yield the keys for the footer: of the focused widget, screen, verbs, frame."""
        shown: dict[str, Key] = {}
        for active in self.active_bindings.values():
            binding = active.binding
            if binding.show and active.enabled:
                shown.setdefault(binding.action, Key(_group(binding.id or ""), active))
        yield from sorted(shown.values(), key=lambda key: key.group)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let the operator type a slash into a prompt."""
        return not (action == "find" and isinstance(self.focused, Input))

    # For subclasses -----------------------------------------------------------------------

    def compose_body(self) -> ComposeResult:
        """Yield the widgets between the tabs and the flash line."""
        raise NotImplementedError

    def apply(self, changes: Changes) -> None:
        """Show changes."""

    def tick(self) -> None:
        """Update ages."""

    def show_all(self) -> None:
        """Show everything again."""

    def targets(self) -> list[int]:
        """Return the slaves that a verb applies to: the marked ones, or the one at the cursor."""
        return []

    def chosen_build(self) -> PastBuild | None:
        """Return the build at the cursor, if that has ended."""
        return None

    def hidden(self, slaves: Sequence[int]) -> int:
        """Return how many of the chosen *slaves* the screen hides."""
        return 0

    def crumbs(self) -> str:
        """Return the path to this screen: ``Fleet › #3 pi4-rack1-03``."""
        return self.title_in_tabs

    def view_state(self) -> str:
        """Return how the view is set: sort, filter, marks, frozen or live."""
        return ""

    def find(self, text: str) -> str:
        """Filter or search for *text* (``""``: end that); return an error, or ``""``."""
        return ""

    def rows(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return the table (column names, rows) for ctrl+s, or an empty one."""
        return (), ()

    # The prompt ----------------------------------------------------------------------------

    def search(self, text: str) -> str:
        """Call :meth:`find`, and remember *text* for the next prompt."""
        wrong = self.find(text)
        if not wrong:
            self._found = text
        return wrong

    @property
    def found(self) -> str:
        """The last search or filter."""
        return self._found

    def action_find(self, begin: str = "") -> None:
        """Open the prompt for a filter."""
        self._ask("/", begin or self._found)

    def ask_command(self, offers: Sequence[str]) -> None:
        """Open the prompt for a command."""
        self._ask(":", "", offers)

    def _ask(self, kind: str, text: str, offers: Sequence[str] = ()) -> None:
        line = self.query_one(FlashLine)
        if not line.asks:
            self._focused_before = self.focused
        line.ask(kind, text, offers)

    def on_flash_line_typed(self, message: FlashLine.Typed) -> None:
        """Filter while the operator types; run a command at the end."""
        line = self.query_one(FlashLine)
        if message.kind == "/":
            line.wrong(self.search(message.text))
        if message.done:
            self._close_prompt()
            if message.kind == ":":
                self.console.run_command(message.text)

    def on_flash_line_left(self, message: FlashLine.Left) -> None:
        """Clear the filter."""
        if message.kind == "/":
            self.search("")
        self._close_prompt()

    def _close_prompt(self) -> None:
        self.query_one(FlashLine).close()
        self.set_focus(self._focused_before)

    # Keys -----------------------------------------------------------------------------

    def action_give(self, verb: str) -> None:
        """Give a command to the targets."""
        self.console.commands.give(Verb(verb), self.targets())

    def action_menu(self) -> None:
        """Open the menu of verbs."""
        self.console.commands.open_menu(self.targets())

    def action_retry(self) -> None:
        """Have the failed build at the cursor repeated."""
        build = self.chosen_build()
        if build is not None and build.result == "failed":
            self.console.commands.retry(build.package, build.version)
        else:
            self.console.flash("choose a failed build to try it again", error=True)

    def action_save(self) -> None:
        """Save the table."""
        self.console.save("")

    def action_time(self) -> None:
        """Focus the time bar, if there is one."""
        if self.session.recording is None:
            self.console.flash("only a recording has a time bar: --record FILE, then --replay FILE")
        else:
            self.query_one(TimeBar).focus()

    def action_yank(self) -> None:
        """Copy the labels of the targets."""
        slaves = self.session.farm.slaves
        labels = [slaves[one].label for one in self.targets() if one in slaves]
        self._copy("\n".join(labels), "the label" if len(labels) == 1 else f"{len(labels)} labels")

    def action_yank_row(self) -> None:
        """Copy the targets as JSON."""
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
    """A dialog above a screen that keeps running."""

    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-tall")]  # noqa: RUF012

    def follow(self) -> None:
        """Update the dialog."""
