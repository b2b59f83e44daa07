"""What was asked of a master of level 1, and who waits for the answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.console.model.events import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from piwheels.core.protocols import Output

    #: What is called with an answer, or with ``None`` and why there is none.
    Then = Callable[[Any, str], None]

#: How long an answer is waited for.
ANSWER_WAIT: Final = timedelta(seconds=10)


class Questions:
    """The questions that wait for an answer, and the running builds that are watched."""

    def __init__(self, tickets: Iterator[int]) -> None:
        self._tickets = tickets
        self._asked: dict[int, tuple[datetime, Then]] = {}
        self._watchers: dict[int, Callable[[int, str], None]] = {}

    def ask(self, msg: str, data: Any, then: Then, now: datetime) -> Outgoing:
        """Note a question; return what is to be sent."""
        ticket = next(self._tickets)
        self._asked[ticket] = now, then
        return Outgoing("console", ticket, msg, data)

    def answer(self, ticket: int, data: Any, why: str = "") -> bool:
        """Pass an answer on; return whether anybody waited for it."""
        asked = self._asked.pop(ticket, None)
        if asked is None:
            return False
        asked[1](None if why else data, why)
        return True

    def tick(self, now: datetime) -> None:
        """Give up what was asked too long ago."""
        for ticket in [ticket for ticket, (at, _) in self._asked.items() if now - at > ANSWER_WAIT]:
            self.answer(ticket, None, "the master does not answer")

    def watch(self, slave_id: int, then: Callable[[int, str], None]) -> None:
        """Have *then* called with offset and text of what comes of a slave's build."""
        self._watchers[slave_id] = then

    def unwatch(self, slave_id: int) -> bool:
        """End :meth:`watch`; return whether there was one."""
        return self._watchers.pop(slave_id, None) is not None

    def heard(self, output: Output) -> None:
        """Pass on what has come of a build."""
        watcher = self._watchers.get(output.slave_id)
        if watcher is not None:
            watcher(output.offset, output.text)

    def lose(self, why: str) -> None:
        """Give everything up."""
        for ticket in list(self._asked):
            self.answer(ticket, None, why)
        self._watchers.clear()
