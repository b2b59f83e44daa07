"""Log lines that a peer can cause: the first of each kind and peer, then a summary each minute.

A noisy peer hides the lines of no other one, and the memory for this is limited.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from piwheels.core.clock import SYSTEM

if TYPE_CHECKING:
    from piwheels.core.clock import Clock

#: How often what was repeated is summarised, in seconds.
PERIOD: Final = 60.0
#: How many kinds of one peer are distinguished, and how many kinds and peers in all.
_KINDS, _ALL = 20, 2000
_OTHER: Final = "other"


@dataclass(slots=True)
class _Repeated:
    level: int
    until: float
    more: int = 0


class Repeats:
    """Logs to *logger*. For use in one thread."""

    def __init__(self, logger: logging.Logger, clock: Clock = SYSTEM) -> None:
        self._logger, self._clock = logger, clock
        #: By peer and kind, those that end first at the beginning.
        self._known: dict[tuple[str, str], _Repeated] = {}
        self._kinds: Counter[str] = Counter()

    def note(self, peer: str, kind: str, text: str, level: int = logging.WARNING) -> None:
        """Log *text*, or count it if *peer* has caused a line of this *kind* a moment ago."""
        if (peer, kind) not in self._known:
            if self._kinds[peer] >= _KINDS:
                kind = _OTHER
            elif len(self._known) >= _ALL:
                peer, kind = "other peers", _OTHER
        known = self._known.get((peer, kind))
        if known is None:
            self._known[peer, kind] = _Repeated(level, self._clock.monotonic() + PERIOD)
            self._kinds[peer] += 1
            self._logger.log(level, "%s", text)
        else:
            known.more += 1

    def summarise(self) -> None:
        """Log how much was repeated in the last minute. Call it about once a second."""
        now = self._clock.monotonic()
        while self._known:
            (peer, kind), first = next(iter(self._known.items()))
            if first.until > now:
                return
            del self._known[peer, kind]
            if not first.more:
                self._kinds -= Counter([peer])
                continue
            self._known[peer, kind] = _Repeated(first.level, now + PERIOD)
            self._logger.log(
                first.level, "... %s more of this kind from %s in the last minute: %s",
                f"{first.more:,}", peer or "a peer", kind,
            )  # fmt: skip
