"""Work beside a task's loop: helper threads, and a socket that tells when they are done."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")


class Outcome(NamedTuple, Generic[R]):
    """What a helper's work came to: its *result*, or the *error* that it raised."""

    result: R
    error: BaseException | None = None

    def get(self) -> R:
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.result


class Beside:
    """*count* helper threads that do what is submitted, in turn; *name* is theirs.

    They never keep the process from ending: work that hangs is left behind. The task registers
    :attr:`socket`, and calls :meth:`run` when it has something.
    """

    def __init__(self, count: int, name: str) -> None:
        self.socket, self._waker = socket.socketpair()
        for end in (self.socket, self._waker):
            end.setblocking(False)
        self._todo: SimpleQueue[tuple[Callable[[Any], None], Callable[[], Any]] | None]
        self._todo = SimpleQueue()
        self._done: SimpleQueue[tuple[Callable[[Any], None], Outcome[Any]]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._count, self._name = count, name

    def submit(self, work: Callable[[], R], then: Callable[[Outcome[R]], None]) -> None:
        """Have *work* done by a helper; its outcome is for *then*, which :meth:`run` calls."""
        if not self._threads:
            self._threads = [
                threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True)
                for number in range(self._count)
            ]
            for thread in self._threads:
                thread.start()
        self._todo.put((then, work))

    def wake(self) -> None:
        """Have the socket tell that there is something to do; from any thread."""
        with suppress(BlockingIOError, OSError):  # woken already, or ending
            self._waker.send(b"!")

    def run(self) -> None:
        """Call, in the thread of the task, what the outcomes are for that have come.

        What that raises is raised; the other outcomes are left for the next time.
        """
        with suppress(BlockingIOError):
            self.socket.recv(4096)
        while True:
            try:
                then, outcome = self._done.get_nowait()
            except Empty:
                return
            then(outcome)

    def close(self) -> None:
        """Do nothing more. What is under way is left to itself."""
        for _ in self._threads:
            self._todo.put(None)
        self._waker.close()

    def _work(self) -> None:
        while (job := self._todo.get()) is not None:
            then, work = job
            try:
                outcome: Outcome[Any] = Outcome(work())
            except BaseException as exc:  # noqa: BLE001 (the task raises it, as its own)
                outcome = Outcome(None, exc)
            self._done.put((then, outcome))
            self.wake()
