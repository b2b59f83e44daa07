"""Whether this machine can build at all: its disk, and the slave's check of itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from piwheels.slave.builder import why_unusable
from piwheels.slave.selfcheck import Findings, check
from piwheels.slave.worker import in_background
from piwheels.slave.workshops import at_once, leave_out

if TYPE_CHECKING:
    import logging
    from concurrent.futures import Future
    from pathlib import Path

    from piwheels.slave.connection import Wake
    from piwheels.slave.workshops import Workshop

#: The first and the longest pause between two checks of a slave that cannot build, in seconds; and
#: that between two looks at the disk.
UNFIT_FIRST, UNFIT_MAX = 10.0, 120.0
LOOK: Final = 1.0


def examine(workshops: list[Workshop], folder: Path, *, leave_out_broken: bool = True) -> Findings:
    """Return what this machine lacks to build in *folder* for all *workshops*.

    With *leave_out_broken*, those leave the list that were only found and cannot build, if others
    can.
    """
    found = at_once(lambda each: _check(each, folder), workshops)
    broken = {each: findings for each, findings in found if findings.fatal}
    if leave_out_broken and len(broken) < len(found):
        for each, findings in broken.items():
            if each.is_found:
                about = each.interpreter
                leave_out(about.path, "; ".join(findings.fatal), about.root)
                workshops.remove(each)
    left = [findings for each, findings in found if each in workshops]
    fatal = dict.fromkeys(text for findings in left for text in findings.fatal)
    lacks = dict.fromkeys(text for findings in left for text in findings.lacks)
    return Findings(list(fatal), list(lacks))


def _check(workshop: Workshop, folder: Path) -> Findings:
    interpreter = workshop.interpreter
    return check(interpreter.path, workshop.pip, folder, interpreter.root)


class Readiness:
    """Says whether builds in *folder* for *workshops* would fail, whatever they build."""

    def __init__(
        self,
        workshops: list[Workshop],
        folder: Path,
        logger: logging.LoggerAdapter[logging.Logger],
        wake: Wake,
    ) -> None:
        #: What this slave lacks, although it can build something.
        self.lacks: list[str] = []
        #: Why no build would succeed; ``""``: some would.
        self.fault = ""
        #: Whether a build has shown a fault of this slave.
        self.suspect = False
        self._workshops, self._folder, self._logger, self._wake = workshops, folder, logger, wake
        self._check: Future[str] | None = None
        self._look_at, self._pause = -math.inf, UNFIT_FIRST

    def check_itself(self, *, at_start: bool = False) -> str:
        """Return why each build would fail here, and what to do; ``""`` if they would not.

        Other faults are logged; the master learns of them with the next ``HELLO``. Interpreters
        are left out only *at_start*: the master knows the others.
        """
        fatal, lacks = examine(self._workshops, self._folder, leave_out_broken=at_start)
        if lacks != self.lacks:
            self.lacks = lacks
            for lack in lacks:
                self._logger.warning("some builds will fail: %s", lack)
        self.suspect = bool(fatal)
        return "; ".join(fatal)

    def is_fit(self, now: float) -> bool:
        """Return whether a build may succeed.

        On a full disk, every build would fail. Everything else is checked in the background,
        after a failed build that shows a fault of this slave.
        """
        if now < self._look_at and (self.fault or not self.suspect):
            return not self.fault
        why = why_unusable(self._folder)
        if not why and self.suspect:
            self._check = self._check or in_background(self.check_itself, self._wake)
            if not self._check.done():
                return False
            why, self._check = self._check.result(), None
        self._judge(why)
        self._look_at = now + (self._pause if why else LOOK)
        self._pause = min(2 * self._pause, UNFIT_MAX) if why else UNFIT_FIRST
        return not why

    def _judge(self, why: str) -> None:
        if why and why != self.fault:
            self._logger.error("%s; asking for no work until then", why)
        elif self.fault and not why:
            self._logger.info("can build in %s again", self._folder)
        self.fault = why
