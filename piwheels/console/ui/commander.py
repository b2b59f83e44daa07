"""From a key to a command: its targets, its confirmation, and how it is taken back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.console.model.commands import Batch, Verb
from piwheels.console.model.link import LinkState
from piwheels.console.text import short_span
from piwheels.console.ui.screens.confirm import ConfirmScreen, QuestionScreen, plan
from piwheels.console.ui.screens.menu import MenuScreen
from piwheels.console.ui.verbs import ACTIONS, Targets, confirm_level, explain, select_targets
from piwheels.core.clock import SYSTEM
from piwheels.core.protocols import Job, RetryAsked
from piwheels.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from piwheels.console.tickets import Then
    from piwheels.console.ui.host import CommandHost
    from piwheels.core.protocols import FailuresAsked

#: How long keys are ignored after a confirmation, in seconds: they were meant for the dialog.
_IGNORE_KEYS: Final = 0.3
#: How long one key takes a kill or abort back.
_UNDO: Final = timedelta(seconds=10)


class Commander:
    """Gives the operator's commands."""

    def __init__(self, console: CommandHost) -> None:
        self._console = console
        self._session = console.session
        self._undo: tuple[datetime, list[int] | None, Batch] | None = None
        self._keys_ignored_until = 0.0

    @property
    def ignores_keys(self) -> bool:
        """Whether a key that comes now was meant for a dialog that has just closed."""
        return SYSTEM.monotonic() < self._keys_ignored_until

    def give(self, verb: Verb, slaves: Sequence[int] | None) -> None:
        """Give a command to *slaves* (``None``: the farm); confirm it first where that is due."""
        console, session = self._console, self._session
        if why := session.why_not(verb):
            console.flash(why, error=True)
            return
        if verb is Verb.RESUME and self._undoing():
            assert self._undo is not None  # noqa: S101 (there is something to undo)
            self._send(verb, self._undo[1])
            return
        to = select_targets(session, verb, slaves)
        if to.ids is not None and not to.ids:
            why = explain(session, to.excluded)
            text = f"there is nothing to {ACTIONS[verb].name}"
            console.flash(f"{text}: {why}" if why else f"{text}: no slave is chosen", error=True)
            return
        level = confirm_level(verb, to.ids)
        if level < console.prefs.confirm_from:
            self._send(verb, to.ids)
            return
        hidden, name = console.hidden(to.ids or ()), console.farm_name()
        asked = plan(session, verb, to, level=level, farm_name=name, hidden=hidden)
        console.open_dialog(ConfirmScreen(asked), lambda answer: self._answered(verb, answer))

    def retry(self, package: str, version: str) -> None:
        """Have the failed builds of a version repeated."""
        about = f"{package} {version}"

        def then(count: int | None, why: str) -> None:
            if count:
                self._console.flash(f"{about} is tried again")
            else:
                self._console.flash(why or f"no build of {about} has failed", error=True)

        self._change("RETRY", Job(package, version), then, about)

    def retry_failures(self, failures: FailuresAsked, about: str) -> None:
        """Have all *failures* repeated, after a confirmation with their number."""

        def repeated(count: int | None, why: str) -> None:
            done = f"{counted(count or 0, 'build')} in the queue again: {about}"
            self._console.flash(why or done, error=bool(why))

        def answered(answer: bool | None) -> None:
            if answer:
                self._keys_ignored_until = SYSTEM.monotonic() + _IGNORE_KEYS
                self._change("RETRY", RetryAsked(failures, preview=False), repeated, about)

        def found(count: int | None, why: str) -> None:
            if not count:
                self._console.flash(why or f"nothing to try again: {about}", error=True)
                return
            builds = counted(count, "failed build")
            lines = [
                f"{about}, in the last {counted(failures.days, 'day')}.",
                f"Puts {builds} back into the queue.",
                "Earlier attempts and their logs are forgotten.",
            ]
            dialog = QuestionScreen(f"Try {builds} again", lines)
            self._console.open_dialog(dialog, answered)

        self._change("RETRY", RetryAsked(failures, preview=True), found)

    def put_first(self, package: str, version: str) -> None:
        """Have a version built before others."""
        about = f"{package} {version}"

        def then(_: object, why: str) -> None:
            self._console.flash(why or f"{about} is the next", error=bool(why))

        self._change("FIRST", Job(package, version), then, about)

    def _change(self, msg: str, data: Any, then: Then, about: str = "") -> None:
        if why := self._session.change(msg, data, then, about):
            self._console.flash(why, error=True)

    def open_menu(self, slaves: Sequence[int]) -> None:
        """Offer all verbs for *slaves*."""

        def give(verb: Verb | None) -> None:
            if verb is not None:
                self.give(verb, slaves)

        self._console.open_dialog(MenuScreen(self._session, slaves), give)

    def _answered(self, verb: Verb, to: Targets | None) -> None:
        if to is not None:
            self._keys_ignored_until = SYSTEM.monotonic() + _IGNORE_KEYS
            self._send(verb, to.ids)

    def _send(self, verb: Verb, ids: list[int] | None) -> None:
        session = self._session
        self._undo = None
        builds, _ = session.affected_builds(list(session.farm.slaves) if ids is None else ids)
        batch = session.command(verb, ids)
        if builds and ACTIONS[verb].undone and not session.why_not(verb):
            self._undo = self._console.now() + _UNDO, ids, batch
        self._console.show_command()
        if session.state is LinkState.QUIET:
            self._console.flash("sent, but the master is silent: it may act much later")

    def _undoing(self) -> bool:
        if self._undo is None:
            return False
        until, _, batch = self._undo
        return self._console.now() < until and batch.pending > 0

    def undo_text(self) -> str:
        """Return how one key takes the last kill or abort back; ``""`` if none does."""
        if self._undo is None or not self._undoing() or self._session.why_not(Verb.RESUME):
            return ""
        left = short_span(self._undo[0] - self._console.now())
        return f"w within {left} takes it back (also resumes)"
