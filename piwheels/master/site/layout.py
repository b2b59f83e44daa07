"""Writes the pages of all projects again after an upgrade, in the background.

Each page is written when its project changes. So a project without changes would lack the files
that a newer version of the master adds to its page. :data:`~piwheels.core.site.LAYOUT` numbers the
versions of these pages. The working directory remembers for which one the site is written, and how
far the work has come.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import DatabaseError, Unavailable
from piwheels.core.site import LAYOUT, LAYOUT_FILE

if TYPE_CHECKING:
    from collections.abc import Callable

    from piwheels.core.clock import Clock
    from piwheels.master.site.files import Site

#: How long one call of :meth:`LayoutUpgrade.work` may take, in seconds (and one project more).
BURST: Final = 0.1
#: The seconds between two notes of the progress; the delay after an error of the database.
_NOTE_INTERVAL: Final = 60.0
RETRY: Final = 30.0

_NOTE: Final = re.compile(r"([0-9]{1,9})(?: ([a-z0-9-]{1,200}))?\n")

logger = logging.getLogger("the_scribe")


class LayoutUpgrade:
    """Calls *write* for each project with a page, in order of their names.

    Call :meth:`work` regularly: it returns soon, so that other requests are served in between.
    A restarted master continues where the last one has noted its progress.
    """

    def __init__(self, site: Site, write: Callable[[str], None], clock: Clock = SYSTEM) -> None:
        self._site, self._write, self._clock = site, write, clock
        #: The projects that remain, in reverse order (``None``: not known yet).
        self._left: list[str] | None = None
        self._last = ""
        self._due = self._note_due = 0.0

    def work(self) -> None:
        """Write the pages of some projects, if any remain."""
        now = self._clock.monotonic()
        if self._left is None:
            self._begin(now)
        if not self._left or now < self._due:
            return
        while self._left and self._clock.monotonic() < now + BURST:
            if not self._write_next(self._left[-1], now):
                return
            self._last = self._left.pop()
        if not self._left:
            self._site.note(LAYOUT_FILE, f"{LAYOUT}\n")
            logger.info("the pages of all projects are up to date")
        elif now >= self._note_due:
            self.note()
            self._note_due = now + _NOTE_INTERVAL

    def note(self) -> None:
        """Note the progress, so that the next master continues from there."""
        if self._left and self._last:
            self._site.note(LAYOUT_FILE, f"{LAYOUT} {self._last}\n")

    def _begin(self, now: float) -> None:
        match = _NOTE.fullmatch(self._site.read_note(LAYOUT_FILE))
        same = match is not None and int(match[1]) == LAYOUT
        after = (match[2] or "") if match is not None and same else ""
        self._note_due = now + _NOTE_INTERVAL
        if same and not after:
            self._left = []
            return
        names = (name for name in self._site.pages() if name > after)
        self._left = sorted(names, reverse=True)
        if self._left:
            logger.info(
                "writing the pages of %d projects again, in the background: this version of"
                " piwheels writes other pages than the last one",
                len(self._left),
            )
        else:
            self._site.note(LAYOUT_FILE, f"{LAYOUT}\n")

    def _write_next(self, package: str, now: float) -> bool:
        """Write the pages of *package*; return ``False`` to try again later."""
        try:
            write_again(self._write, package)
        except (DatabaseError, Unavailable) as exc:
            logger.warning("could not write the pages of all projects, trying again: %s", exc)
            self._due = now + RETRY
            return False
        return True


def write_again(write: Callable[[str], None], package: str) -> None:
    """Call *write* with *package*, and log an error: one project never stops the others.

    Raises the errors that concern all projects: those of the database.
    """
    try:
        write(package)
    except (DatabaseError, Unavailable):
        raise
    except Exception as exc:  # noqa: BLE001 (as above)
        logger.error(
            "could not write the pages of %s: %s; run piw-rebuild project %s later",
            package, exc, package,
        )  # fmt: skip
