"""Open requests to a level-1 master, by ticket."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.console.model.events import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from piwheels.core.protocols import Output

    #: A callback that takes an answer, or ``None`` and the reason.
    Then = Callable[[Any, str], None]

#: How long to wait for an answer.
ANSWER_WAIT: Final = timedelta(seconds=10)


class Tickets:
    """The open requests, and the running builds whose logs are followed."""

    def __init__(self, tickets: Iterator[int]) -> None:
        self._tickets = tickets
        self._asked: dict[int, tuple[datetime, Then]] = {}
        self._watchers: dict[int, Callable[[int, str], None]] = {}

    def ask(self, msg: str, data: Any, then: Then, now: datetime) -> Outgoing:
        """Open a request; return the message to send."""
        ticket = next(self._tickets)
        self._asked[ticket] = now, then
        return Outgoing("console", ticket, msg, data)

    def answer(self, ticket: int, data: Any, why: str = "") -> bool:
        """Deliver an answer; return whether a request was open for it."""
        asked = self._asked.pop(ticket, None)
        if asked is None:
            return False
        asked[1](None if why else data, why)
        return True

    @property
    def are_open(self) -> bool:
        """Whether any request has no answer yet."""
        return bool(self._asked)

    def tick(self, now: datetime) -> None:
        """Expire overdue requests."""
        for ticket in [ticket for ticket, (at, _) in self._asked.items() if now - at > ANSWER_WAIT]:
            self.answer(ticket, None, "the master does not answer")

    def watch(self, slave_id: int, then: Callable[[int, str], None]) -> None:
        """Call *then* with offset and text of each part of the log of a slave's build."""
        self._watchers[slave_id] = then

    def unwatch(self, slave_id: int) -> bool:
        """End :meth:`watch`; return whether there was one."""
        return self._watchers.pop(slave_id, None) is not None

    def deliver(self, output: Output) -> None:
        """Deliver a part of a log."""
        watcher = self._watchers.get(output.slave_id)
        if watcher is not None:
            watcher(output.offset, output.text)

    def fail_all(self, why: str) -> None:
        """Fail all requests, and stop following logs."""
        for ticket in list(self._asked):
            self.answer(ticket, None, why)
        self._watchers.clear()
