"""The parts of the application that screens, widgets and commands may use.

They depend on these protocols, never on the application's class, so that a screen can be read,
changed and tested without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from textual.app import App
    from textual.binding import ActiveBinding
    from textual.screen import ModalScreen

    from piwheels.console.model.commands import Verb
    from piwheels.console.model.slave import PastBuild, State
    from piwheels.console.session import Session
    from piwheels.console.ui.prefs import Prefs
    from piwheels.core.protocols import FailuresAsked

T = TypeVar("T")


class Commands(Protocol):
    """Gives commands to slaves; it asks the operator first where that is due."""

    def give(self, verb: Verb, slaves: Sequence[int] | None) -> None:
        """Give a command to *slaves* (``None``: the whole farm)."""

    def retry(self, package: str, version: str) -> None:
        """Have the failed builds of a version repeated."""

    def retry_failures(self, failures: FailuresAsked, about: str) -> None:
        """Have all *failures* repeated, after a confirmation."""

    def put_first(self, package: str, version: str) -> None:
        """Have a version built before others."""

    def open_menu(self, slaves: Sequence[int]) -> None:
        """Offer all verbs for *slaves*."""

    def undo_text(self) -> str:
        """Return how to take the last command back; ``""`` if that is no longer possible."""


class Host(Protocol):
    """The application, as screens and widgets see it."""

    @property
    def session(self) -> Session:
        """The session that is shown."""

    @property
    def commands(self) -> Commands:
        """The way to give commands."""

    @property
    def ascii(self) -> bool:
        """Whether only ASCII may be drawn."""

    @property
    def message(self) -> tuple[str, bool]:
        """The text below the body, and whether it is an error."""

    @property
    def current_mode(self) -> str:
        """The main screen that is shown or lies below."""

    def now(self) -> datetime:
        """Return the moment that is shown: the present, or a recording's."""

    def symbol(self, symbol: str) -> str:
        """Return *symbol*, or its stand-in in ASCII."""

    def state_symbol(self, state: State) -> tuple[str, str]:
        """Return a state's glyph and component class."""

    def key_name(self, key: str) -> str:
        """Return the name of a key as the screen shows it."""

    def farm_name(self, *, short: bool = False) -> str:
        """Return the farm's name."""

    def tabs(self) -> list[tuple[str, str]]:
        """Return the modes with the titles of their screens."""

    def fleet_order(self) -> Sequence[int]:
        """Return the slaves in the order of the fleet's table."""

    def flash(self, text: str, error: bool = False) -> None:
        """Show *text* below the body for some seconds."""

    def open_slave(self, slave_id: int) -> None:
        """Open the screen of a slave."""

    def open_log(self, slave_id: int, build: PastBuild | None = None) -> None:
        """Open the log of *build*, by default of the slave's running build."""

    def open_why(self, package: str, version: str = "") -> None:
        """Show why there is no wheel of a version (``""``: of any) of *package*."""

    def open_fleet(self, filter_text: str) -> None:
        """Show the slaves that match a filter."""

    def run_command(self, text: str) -> None:
        """Run a typed command."""

    def save(self, name: str) -> None:
        """Save the table that is shown; ``""``: choose a file name."""


class CommandHost(Host, Protocol):
    """The application, as typed commands, settings and the dialogs before a command see it."""

    @property
    def prefs(self) -> Prefs:
        """The operator's settings."""

    @property
    def themes(self) -> Mapping[str, object]:
        """All themes, by name."""

    @property
    def filter(self) -> str:
        """The filter of the fleet's table."""

    def targets(self) -> list[int]:
        """Return the slaves that a verb applies to now."""

    def hidden(self, slaves: Sequence[int]) -> int:
        """Return how many of *slaves* the screen hides."""

    def go(self, mode: str) -> None:
        """Show a main screen."""

    def group(self, by: str) -> None:
        """Group the fleet's table."""

    def open_dialog(self, dialog: ModalScreen[T], answered: Callable[[T | None], None]) -> None:
        """Show *dialog*; call *answered* with its result."""

    def show_command(self) -> None:
        """Show at once that a command was given."""

    def use_theme(self, name: str) -> None:
        """Switch to a theme."""

    def use_rate(self, rate: float) -> None:
        """Refresh *rate* times per second."""

    def action_failures(self) -> None:
        """Open the screen of the failures."""

    def action_targets(self) -> None:
        """Open the screen of the targets."""

    def action_commands(self) -> None:
        """Show all commands of this session."""

    def action_help(self) -> None:
        """Show the keys."""

    def action_reattach(self) -> None:
        """Ask the master for a full replay."""

    def action_ask_quit(self) -> None:
        """Quit the console."""

    def screenshot(self, name: str) -> None:
        """Save a picture of the screen."""


class Key(NamedTuple):
    """A key in the footer; *group*: 0 of the screen, 1 a verb, 2 of the frame."""

    group: int
    active: ActiveBinding


class Framed(Protocol):
    """A screen, as the lines of its frame see it."""

    title_in_tabs: ClassVar[str]

    def targets(self) -> list[int]:
        """Return the slaves that a verb applies to now."""

    def view_state(self) -> str:
        """Return how the view differs from the usual one."""

    def crumbs(self) -> str:
        """Return the path to this screen."""

    def shown_bindings(self) -> Iterator[Key]:
        """Yield the keys for the footer."""


class _InApp(Protocol):
    @property
    def app(self) -> App[object]: ...


class Hosted:
    """Mixin of screens and widgets: typed access to the application and its session."""

    @property
    def console(self: _InApp) -> Host:
        """The application."""
        return cast("Host", self.app)

    @property
    def session(self: _InApp) -> Session:
        """The session that is shown."""
        return cast("Host", self.app).session
