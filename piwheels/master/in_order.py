"""Requests to the database that must be carried out in the order in which they are sent."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from piwheels.master.logic.effects import Assignment
    from piwheels.master.result import Result

    Then = Callable[[Result[Any]], None]


class InOrder:
    """Sends the requests about one version one after another, each after the answer to the last.

    Otherwise another oracle could carry out a later one first. *ask* is that of ``DbClient``.
    """

    def __init__(self, ask: Callable[..., None]) -> None:
        self._ask = ask
        #: The requests about each version: the one that was sent, then those that wait.
        self._requests: dict[Assignment, deque[tuple[Then, str, tuple[Any, ...]]]] = {}

    def ask(self, about: Assignment, then: Then, name: str, *args: Any) -> None:
        """Have the method *name* called after all earlier requests *about* this version."""
        requests = self._requests.setdefault(about, deque())
        requests.append((then, name, args))
        if len(requests) == 1:
            self._send(about)

    def _send(self, about: Assignment) -> None:
        requests = self._requests[about]
        then, name, args = requests[0]

        def answered(result: Result[Any]) -> None:
            requests.popleft()
            if requests:
                self._send(about)
            else:
                del self._requests[about]
            then(result)

        self._ask(answered, name, *args)
