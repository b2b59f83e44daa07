"""The application: it feeds events and time to the session, and shows the screens."""

from __future__ import annotations

import gc
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from textual import events
from textual.binding import Binding
from textual.screen import ModalScreen
from textual.widgets import Input

from piwheels.console.model.commands import Phase
from piwheels.console.model.link import LinkState
from piwheels.console.text import clean
from piwheels.console.ui import settings
from piwheels.console.ui.ascii import AsciiFilter
from piwheels.console.ui.commander import Commander
from piwheels.console.ui.export import save_table
from piwheels.console.ui.glyphs import STATE_SYMBOLS, SYMBOLS
from piwheels.console.ui.palette import ConsoleCommands, Palette, entries, find_entry
from piwheels.console.ui.prefs import Prefs
from piwheels.console.ui.screens.base import Dialog, FarmScreen
from piwheels.console.ui.screens.events import EventsScreen
from piwheels.console.ui.screens.failures import FailuresScreen
from piwheels.console.ui.screens.fleet import FleetScreen
from piwheels.console.ui.screens.heat import HeatScreen
from piwheels.console.ui.screens.help import HelpScreen, help_lines
from piwheels.console.ui.screens.log import LogScreen
from piwheels.console.ui.screens.master import MasterScreen
from piwheels.console.ui.screens.menu import CommandsScreen
from piwheels.console.ui.screens.queue import QueueScreen
from piwheels.console.ui.screens.slave import SlaveScreen
from piwheels.console.ui.screens.targets import TargetsScreen
from piwheels.console.ui.screens.why import WhyScreen
from piwheels.console.ui.theme import next_theme, suitable
from piwheels.console.ui.widgets.line_list import TonedApp
from piwheels.core.clock import SYSTEM
from piwheels.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from textual.binding import BindingType
    from textual.filter import LineFilter
    from textual.timer import Timer

    from piwheels.console.model.slave import PastBuild, State
    from piwheels.console.session import Session

T = TypeVar("T")
#: How long events are folded at a time before keys and painting have their turn, in seconds.
_FOLD_SECONDS: Final = 0.015
#: The pause for keys and painting, in seconds.
_PAUSE: Final = 0.005
#: The number of events between two readings of the clock.
_BATCH: Final = 20
#: The interval at which pages of a replay are read, in seconds.
_ATTACHING: Final = 0.03
#: How long the flash line shows a message.
_MESSAGE: Final = timedelta(seconds=8)
#: While commands are under way, the time in which a second quit key quits.
_AGAIN: Final = timedelta(seconds=8)
#: The refresh rate without the focus, per second.
_BLURRED_RATE: Final = 1.0

_SCREENS: Final[dict[str, type[FarmScreen]]] = {
    "fleet": FleetScreen,
    "queue": QueueScreen,
    "events": EventsScreen,
    "master": MasterScreen,
    "heat": HeatScreen,
}


_STYLES: Final = ("app", "slave", "log", "targets", "failures", *_SCREENS)


class ConsoleApp(TonedApp, inherit_bindings=False):
    """The console's screens over *session*. *clock* gives console time."""

    TITLE = "piw-console"
    # All at once: loading a screen's own file when it first shows would restyle everything.
    CSS_PATH: ClassVar[Any] = [f"css/{name}.tcss" for name in _STYLES]
    MODES: ClassVar[dict[str, Any]] = dict(_SCREENS)
    DEFAULT_MODE = "fleet"
    COMMANDS = {ConsoleCommands}  # noqa: RUF012 (as Textual has it)
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        # With priority, so that fast typing after it is not taken for keys.
        Binding("colon", "command", "cmd", priority=True, id="frame.command",
                tooltip="type a command by its name"),
        Binding("question_mark,f1", "help", "help", id="frame.help", tooltip="keys and symbols"),
        *(
            Binding(str(at), f"mode('{mode}')", f"the {screen.title_in_tabs} screen", show=False,
                    id=f"tab.{mode}")
            for at, (mode, screen) in enumerate(_SCREENS.items(), 1)
        ),
        Binding("ctrl+p", "command_palette", "choose a command", show=False, id="frame.palette"),
        Binding("f2", "theme", "next theme", show=False, id="frame.theme"),
        Binding("f5", "reattach", "ask the master for a full replay", show=False,
                id="frame.reattach"),
        Binding("plus", "rate(1)", "show changes more often", show=False, id="frame.faster"),
        Binding("minus", "rate(-1)", "show changes less often", show=False, id="frame.slower"),
        Binding("ctrl+z", "suspend_process", "suspend the console; fg continues", show=False,
                id="frame.suspend"),
        Binding("q,f10,ctrl+c", "ask_quit", "quit the console; the farm continues", show=False,
                id="frame.quit"),
    ]  # fmt: skip

    def __init__(
        self,
        session: Session,
        *,
        prefs: Prefs | None = None,
        ascii: bool = False,  # noqa: A002 (as the option is called)
        farm_name: str = "",
        theme: str = "",
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__()
        self.session = session
        self.prefs = prefs or Prefs()
        self.ascii = ascii
        self._clock = clock
        self._ascii_filter = AsciiFilter()
        self._farm_name = clean(farm_name)
        self._wanted_theme = theme
        #: The last message, whether it is an error, and its time.
        self._message: tuple[str, bool, datetime] | None = None
        self._leaving: datetime | None = None
        self._timer: Timer | None = None
        self._rest: Timer | None = None
        self.commands = Commander(self)
        self._state = session.state

    # Start and end ------------------------------------------------------------------------

    def on_load(self) -> None:
        """Start to attach before the first screen asks for something."""
        self.session.start(self.now())

    def on_mount(self) -> None:
        """Start the timers."""
        self._use_theme()
        self.set_keymap(self.prefs.keymap)
        if self.prefs.problem:
            self.flash(self.prefs.problem, error=True)
        self.app_resume_signal.subscribe(self, lambda _: self._resumed())
        self.use_rate(self.prefs.rate)
        self.set_interval(1.0, self._tick)
        self._page_timer = self.set_interval(_ATTACHING, self._read_pages, pause=True)

    def _resumed(self) -> None:
        """Draw all of it again; console time stood still while the console was suspended."""
        self.session.farm.redate()
        self.refresh(layout=True)

    def _use_theme(self) -> None:
        for name in (self._wanted_theme, self.prefs.theme):
            if name in self.available_themes:
                self.theme = name
                return
            if name:
                self.flash(f"there is no theme {name}", error=True)
        self.theme = suitable(self.console.color_system)

    def on_unmount(self) -> None:
        """Close the session."""
        self.session.close()

    def action_ask_quit(self) -> None:
        """Quit; while commands are under way, only at the second key press."""
        now = self.now()
        waiting = self.session.tracker.pending
        if not waiting or (self._leaving is not None and now - self._leaving < _AGAIN):
            self.exit()
            return
        self._leaving = now
        self.flash(
            f"{counted(waiting, 'command')} still under way (quitting does not cancel): again?"
        )

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Filter everything to ASCII if that is set."""
        filters = super().get_line_filters()
        return [*filters, self._ascii_filter] if self.ascii else filters

    # Time and events --------------------------------------------------------------------------

    def use_rate(self, rate: float) -> None:
        """Refresh *rate* times per second."""
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_interval(1 / rate, self.pump)

    def on_app_blur(self) -> None:
        """Refresh less often without the focus."""
        self.use_rate(min(_BLURRED_RATE, self.prefs.rate))

    def on_app_focus(self) -> None:
        """Refresh at the usual rate."""
        self.use_rate(self.prefs.rate)

    def pump(self) -> None:
        """Fold events for a short time, and show the changes."""
        self._fold()
        self._show()

    def _fold(self) -> None:
        """Fold events for a short time; continue after a pause if there are more.

        A single timer continues: a callback in the application's own queue would never yield to the
        event loop, and nothing else would run until all events are folded.
        """
        until = SYSTEM.monotonic() + _FOLD_SECONDS
        more = True
        while more and SYSTEM.monotonic() < until:
            more = self.session.pump(self.now(), _BATCH)
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(_PAUSE, self._fold) if more else None

    def _read_pages(self) -> None:
        """Request the next page as soon as one is there; show them at the usual rate."""
        self.session.pump(self.now(), _BATCH * 10)
        self._follow_link()

    def _show(self) -> None:
        self._follow_link()
        screen = self.farm_screen
        if screen is None or not screen.is_mounted:
            return
        if changes := self.session.take_changes():
            screen.apply(changes)
        screen.show_frame(counted=False)
        if isinstance(self.screen, Dialog) and self.screen.is_mounted:
            self.screen.follow()

    def _tick(self) -> None:
        waiting = self.session.tracker.pending
        self.session.tick(self.now())
        if waiting:
            self._notify_expired()
        screen = self.farm_screen
        if screen is not None and screen.is_mounted:
            screen.tick()
            screen.show_frame()

    @property
    def farm_screen(self) -> FarmScreen | None:
        """The screen below all dialogs; ``None`` as soon as the console ends.

        Timers and answers still come then, while the screens lose their widgets.
        """
        if not self.is_running:
            return None
        above = (each for each in reversed(self.screen_stack) if isinstance(each, FarmScreen))
        return next(above, None)

    def _follow_link(self) -> None:
        before, self._state = self._state, self.session.state
        if self._state in (LinkState.ATTACHING, LinkState.REPLAYING):
            self._page_timer.resume()
        else:
            self._page_timer.pause()
        if self._state is LinkState.LIVE and before is LinkState.REPLAYING:
            # These objects stay: collecting them again would block the screen for a tenth of a
            # second with 5,000 slaves.
            gc.collect()
            gc.freeze()
        if self._state is LinkState.LOST and before is not LinkState.LOST:
            self._toast(
                "The connection to the master is lost. Commands are refused until it is back.",
                "error",
            )

    def _notify_expired(self) -> None:
        now = self.session.now
        expired = [
            one
            for batch in self.session.batches
            for one in batch.commands
            if one.phase is Phase.EXPIRED and one.ended == now
        ]
        if expired:
            what = f"{expired[0].verb} of {counted(len(expired), 'slave')}: {expired[0].note}"
            self._toast(what, "warning")

    def _toast(self, text: str, severity: Any) -> None:
        self.notify(clean(text), severity=severity, markup=False)

    async def on_event(self, event: events.Event) -> None:
        """Take an event, except keys that were meant for a dialog that has just closed."""
        if isinstance(event, events.Key) and self.commands.ignores_keys:
            return
        await super().on_event(event)

    # For screens ---------------------------------------------------------------------

    def symbol(self, symbol: str) -> str:
        """Return *symbol*, or its stand-in in ASCII."""
        return SYMBOLS.get(symbol, symbol) if self.ascii else symbol

    def state_symbol(self, state: State) -> tuple[str, str]:
        """Return a state's glyph and component class."""
        mark = STATE_SYMBOLS[state]
        return (mark.ascii if self.ascii else mark.glyph), mark.style

    def key_name(self, key: str) -> str:
        """Return the name of a key as the screen shows it."""
        if key == "space" and not self.ascii:
            return "␣"
        name = self.get_key_display(Binding(key, ""))
        return key if self.ascii and not name.isascii() else name

    def farm_name(self, *, short: bool = False) -> str:
        """Return the farm's name: the configured one, else its host."""
        info = self.session.farm.info
        name = self._farm_name or (clean(info.label) if info is not None else "")
        name = name or clean(self.session.source.name)
        return name.partition(".")[0][:20] if short else name[:60]

    def now(self) -> datetime:
        """Return the moment that is shown: the present, or a recording's."""
        recording = self.session.recording
        return self._clock() if recording is None else recording.position

    def tabs(self) -> list[tuple[str, str]]:
        """Return the modes with the titles of their screens."""
        return [(mode, screen.title_in_tabs) for mode, screen in _SCREENS.items()]

    def targets(self) -> list[int]:
        """Return the slaves that a verb applies to now."""
        return [] if self.farm_screen is None else self.farm_screen.targets()

    def hidden(self, slaves: Sequence[int]) -> int:
        """Return how many of *slaves* the screen hides."""
        return 0 if self.farm_screen is None else self.farm_screen.hidden(slaves)

    def flash(self, text: str, error: bool = False) -> None:
        """Show *text* below the body for some seconds."""
        self._message = (clean(text), error, self._clock())
        if self.farm_screen is not None and self.farm_screen.is_mounted:
            self.farm_screen.show_frame(counted=False)

    @property
    def message(self) -> tuple[str, bool]:
        """The message of the flash line, and whether it is an error."""
        if self._message is not None and self._clock() - self._message[2] < _MESSAGE:
            return self._message[:2]
        return "", False

    # Commands ---------------------------------------------------------------------------------

    def open_dialog(self, dialog: ModalScreen[T], answered: Callable[[T | None], None]) -> None:
        """Show *dialog*; call *answered* with its result."""
        self.push_screen(dialog, answered)

    def show_command(self) -> None:
        """Show at once that a command was given, in place of the last message."""
        self._message = None
        self._show()

    def action_commands(self) -> None:
        """Show all commands of this session."""
        self.push_screen(CommandsScreen(self.session))

    def action_reattach(self) -> None:
        """Ask the master for a full replay."""
        self.session.reattach()
        self.flash("asked the master for a full replay")

    # Places -----------------------------------------------------------------------------------

    def go(self, mode: str) -> None:
        """Show a main screen; close the screens above it."""
        self.switch_mode(mode)
        while len(self.screen_stack) > 1:
            self.pop_screen()

    def action_mode(self, mode: str) -> None:
        """Show a main screen."""
        self.go(mode)

    def open_fleet(self, filter_text: str) -> None:
        """Show the slaves that match a filter."""
        self.go("fleet")
        wrong = self.fleet.search(filter_text)
        if wrong:
            self.flash(wrong, error=True)

    def action_fleet(self, filter_text: str) -> None:
        """Show the slaves that match a filter."""
        self.open_fleet(filter_text)

    @property
    def fleet(self) -> FleetScreen:
        """The Fleet screen, which exists from the start."""
        (screen,) = (each for each in self._screen_stacks["fleet"] if type(each) is FleetScreen)
        return screen

    @property
    def filter(self) -> str:
        """The filter of the fleet's table."""
        return self.fleet.found

    def fleet_order(self) -> list[int]:
        """Return the slaves in the order of the fleet's table."""
        return [key for key in self.fleet.view.keys if isinstance(key, int)]

    def group(self, by: str) -> None:
        """Group the fleet's table by ``abi``, ``rack`` or ``os``; ``""``: no longer."""
        self.go("fleet")
        if wrong := self.fleet.group(by):
            self.flash(wrong, error=True)

    def open_slave(self, slave_id: int) -> None:
        """Open the screen of a slave."""
        self.push_screen(SlaveScreen(slave_id))

    def action_targets(self) -> None:
        """Open the screen of the targets."""
        if not isinstance(self.screen, TargetsScreen):
            self.push_screen(TargetsScreen())

    def action_failures(self) -> None:
        """Open the screen of the failures."""
        if not isinstance(self.screen, FailuresScreen):
            self.push_screen(FailuresScreen())

    def open_why(self, package: str, version: str = "") -> None:
        """Show why there is no wheel of a version (``""``: of any) of *package*."""
        if package:
            known = self.session.version_of(package)
            self.push_screen(WhyScreen(self.session, package, version, known))
        else:
            self.flash("name a package: :why NAME [VERSION]", error=True)

    def open_log(self, slave_id: int, build: PastBuild | None = None) -> None:
        """Open the log of *build*, by default of the slave's running build."""
        self.push_screen(LogScreen(slave_id, build))

    def action_help(self) -> None:
        """Show the keys that work here."""
        self.push_screen(HelpScreen(help_lines(self, self.screen.active_bindings.values())))

    # Typed commands ----------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let the operator type a colon into a prompt or a dialog."""
        typing = isinstance(self.focused, Input) or isinstance(self.screen, ModalScreen)
        return not (action == "command" and typing)

    def action_command_palette(self) -> None:
        """Open the palette."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_command(self) -> None:
        """Open the prompt for a command."""
        if self.farm_screen is not None:
            offers = [each.name + (" " if each.takes else "") for each in entries(self)]
            self.farm_screen.ask_command(offers)

    def run_command(self, text: str) -> None:
        """Run a typed command."""
        if not text.strip():
            return
        entry, rest = find_entry(entries(self), text)
        if entry is None:
            self.flash(rest, error=True)
        else:
            entry.run(self, rest)

    # Settings and files -----------------------------------------------------------

    @property
    def themes(self) -> Mapping[str, object]:
        """All themes, by name."""
        return self.available_themes

    def use_theme(self, name: str) -> None:
        """Switch to a theme."""
        self.theme = name

    def action_theme(self) -> None:
        """Switch to the next theme."""
        settings.choose_theme(self, next_theme(self.theme))

    def action_rate(self, by: int) -> None:
        """Change the refresh rate by one step."""
        settings.step_rate(self, by)

    def save(self, name: str) -> None:
        """Save the table that is shown into the working folder, and say where."""
        screen = self.farm_screen
        if screen is None:
            return
        names, rows = screen.rows()
        if not names:
            self.flash("there is no table to save here", error=True)
            return
        path = Path(name or f"piw-{screen.title_in_tabs.lower() or 'table'}-{self._stamp()}.csv")
        self._saved(path, lambda: save_table(path, names, rows), counted(len(rows), "row"))

    def _saved(self, path: Path, write: Callable[[], object], what: str) -> None:
        try:
            write()
        except OSError as exc:
            self.flash(f"not saved: {exc}", error=True)
        else:
            self.flash(f"saved {what}: {path.absolute()}")

    def _stamp(self) -> str:
        return f"{self.session.shown(self._clock()).astimezone():%Y%m%d-%H%M%S}"

    def screenshot(self, name: str) -> None:
        """Save a picture of the screen as SVG."""
        path = Path(name or f"piw-console-{self._stamp()}.svg")
        self._saved(path, lambda: path.write_text(self.export_screenshot()), "the screen")
