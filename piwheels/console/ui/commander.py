"""From a key to a command: whom it is for, what is asked first, and how it is taken back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from piwheels.console.model.commands import Batch, Verb
from piwheels.console.model.link import LinkState
from piwheels.console.text import short_span
from piwheels.console.ui.screens.confirm import ConfirmScreen, plan
from piwheels.console.ui.screens.menu import MenuScreen
from piwheels.console.ui.verbs import DEEDS, Aim, aim, danger, reasons
from piwheels.core.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from piwheels.console.ui.host import CommandHost

#: How long a key is not taken after a command was confirmed: it was meant for the dialog.
_DEAF: Final = 0.3
#: How long a stop can be taken back with one key.
_UNDO: Final = timedelta(seconds=10)


class Commander:
    """The commands that *console*'s operator gives."""

    def __init__(self, console: CommandHost) -> None:
        self._console = console
        self._session = console.session
        self._undo: tuple[datetime, list[int] | None, Batch] | None = None
        self._deaf_until = 0.0

    @property
    def deaf(self) -> bool:
        """Whether keys are still those that were meant for a dialog."""
        return SYSTEM.monotonic() < self._deaf_until

    def give(self, verb: Verb, slaves: Sequence[int] | None) -> None:
        """Give a command to *slaves* (``None``: the farm), after what has to be asked."""
        console, session = self._console, self._session
        if why := session.why_not(verb):
            console.flash(why, error=True)
            return
        if verb is Verb.WAKE and self._undoing():
            assert self._undo is not None  # noqa: S101 (there is something to undo)
            self._order(verb, self._undo[1])
            return
        to = aim(session, verb, slaves)
        if to.ids is not None and not to.ids:
            why = reasons(session, to.others)
            text = f"there is nothing to {DEEDS[verb].name}"
            console.flash(f"{text}: {why}" if why else f"{text}: no slave is chosen", error=True)
            return
        level = danger(verb, to.ids)
        if level < console.prefs.confirm_from:
            self._order(verb, to.ids)
            return
        hidden = console.hidden(to.ids or ())
        name = console.farm_name()
        asked = plan(session, verb, to, level=level, farm_name=name, hidden=hidden)
        console.open_dialog(ConfirmScreen(asked), lambda answer: self._answered(verb, answer))

    def open_menu(self, slaves: Sequence[int]) -> None:
        """Offer all verbs for *slaves*."""

        def give(verb: Verb | None) -> None:
            if verb is not None:
                self.give(verb, slaves)

        self._console.open_dialog(MenuScreen(self._session, slaves), give)

    def _answered(self, verb: Verb, to: Aim | None) -> None:
        if to is not None:
            self._deaf_until = SYSTEM.monotonic() + _DEAF
            self._order(verb, to.ids)

    def _order(self, verb: Verb, ids: list[int] | None) -> None:
        session = self._session
        self._undo = None
        builds, _ = session.blast(list(session.farm.slaves) if ids is None else ids)
        batch = session.order(verb, ids)
        if builds and DEEDS[verb].undone and not session.why_not(verb):
            self._undo = self._console.now() + _UNDO, ids, batch
        self._console.show_command()
        if session.state is LinkState.QUIET:
            self._console.flash("sent, but the master is silent: it may act on it much later")

    def _undoing(self) -> bool:
        if self._undo is None:
            return False
        until, _, batch = self._undo
        return self._console.now() < until and batch.pending > 0

    def undo_text(self) -> str:
        """Return how the last stop can be taken back, as long as it can be with one key."""
        if self._undo is None or not self._undoing() or self._session.why_not(Verb.WAKE):
            return ""
        left = short_span(self._undo[0] - self._console.now())
        return f"w within {left} cancels it (also un-pauses)"
