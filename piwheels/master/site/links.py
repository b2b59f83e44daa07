"""Keeps the links between project pages correct, in the background.

A page links to the projects that its wheel requires, if they have a page. So it is written again
when one of them gets its page, or loses it. The database knows which pages name a project: it can
be thousands. Pages that are written for other reasons come first.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from piwheels.core.clock import SYSTEM
from piwheels.master.site.layout import BURST, RETRY, write_again

if TYPE_CHECKING:
    from collections.abc import Callable

    from piwheels.core.clock import Clock
    from piwheels.core.database import Database

#: How many pages are read from the database at a time.
_PART: Final = 20


class LinkUpdates:
    """Calls *write* for each project whose page has wrong links, a few at a time."""

    def __init__(self, write: Callable[[str], None], clock: Clock = SYSTEM) -> None:
        self._write, self._clock = write, clock
        self._due = 0.0

    def changed(self, db: Database, package: str) -> None:
        """Schedule the pages that name *package*, whose own page is about to appear or go."""
        db.links_changed(package)
        self._due = 0.0

    def work(self, db: Database) -> None:
        """Write some of the scheduled pages, and return soon; wait after an error."""
        now = self._clock.monotonic()
        if now < self._due:
            return
        self._due = now + RETRY
        packages = db.get_links_pending(_PART)
        for package in packages:
            if self._clock.monotonic() > now + BURST:
                break
            write_again(self._write, package)
            db.links_written(package)
        self._due = now if packages else inf
