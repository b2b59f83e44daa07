"""A pool of threads for work that would keep a task's loop waiting."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from piwheels.core.clock import SYSTEM
from piwheels.master.result import Result, failed

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class WorkerPool:
    """Runs submitted work in *count* threads, in the order of submission.

    The task registers :attr:`socket`, and calls :meth:`run` when it is readable. The threads are
    daemons named after *name*: work that hangs never keeps the process from ending.
    """

    def __init__(self, count: int, name: str) -> None:
        self.socket, self._waker = socket.socketpair()
        for end in (self.socket, self._waker):
            end.setblocking(False)
        self._todo: SimpleQueue[tuple[Callable[[Any], None], Callable[[], Any]] | None]
        self._todo = SimpleQueue()
        self._done: SimpleQueue[tuple[Callable[[Any], None], Result[Any]]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._count, self._name = count, name

    def submit(self, work: Callable[[], T], then: Callable[[Result[T]], None]) -> None:
        """Run *work* in a thread of the pool; :meth:`run` passes its result to *then*."""
        if not self._threads:
            self._threads = [
                threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True)
                for number in range(self._count)
            ]
            for thread in self._threads:
                thread.start()
        self._todo.put((then, work))

    def wake(self) -> None:
        """Make the socket readable; from any thread."""
        with suppress(BlockingIOError, OSError):  # woken already, or closed
            self._waker.send(b"!")

    def run(self) -> None:
        """Pass the available results to their callbacks, in the thread of the task.

        An error in a callback is raised here; the other results are left for the next call.
        """
        with suppress(BlockingIOError, OSError):
            self.socket.recv(4096)
        while True:
            try:
                then, result = self._done.get_nowait()
            except Empty:
                return
            then(result)

    def close(self, wait: float = 0) -> None:
        """Start nothing more, and wait up to *wait* seconds for the work that runs.

        Work that has not begun is dropped, and work that still runs is left behind: neither reaches
        its callback.
        """
        with suppress(Empty):
            while True:
                self._todo.get_nowait()
        for _ in self._threads:
            self._todo.put(None)
        deadline = SYSTEM.monotonic() + wait
        for thread in self._threads:
            thread.join(max(0.0, deadline - SYSTEM.monotonic()))
        self._waker.close()
        self.socket.close()

    def _work(self) -> None:
        while (job := self._todo.get()) is not None:
            then, work = job
            try:
                result = Result(work())
            except Exception as exc:  # noqa: BLE001 (the callback decides)
                result = failed(exc)
            self._done.put((then, result))
            self.wake()
