"""What all screens have in common: the frame, and what the application calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from piwheels.console.model.farm import Changes
    from piwheels.console.session import Session
    from piwheels.console.ui.app import ConsoleApp


class FarmScreen(Screen[None]):
    """A screen within the frame: status line, figures, tabs, *body*, flash line, footer.

    The application calls :meth:`apply` on the active screen alone, four times a second, and
    :meth:`tick` once a second; what changed while another screen was shown is made good by
    :meth:`show_all`, which is called whenever the screen comes (back) into view.
    """

    #: The breadcrumb and, for the five main screens, the tab's name.
    title_in_tabs: ClassVar[str] = ""

    @property
    def console(self) -> ConsoleApp:
        """The application."""
        raise NotImplementedError

    @property
    def session(self) -> Session:
        """The session that it shows."""
        return self.console.session

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
