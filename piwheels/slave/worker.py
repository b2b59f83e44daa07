"""What happens in the background, in threads: the build of a lane, transfers, clean-ups."""

from __future__ import annotations

from concurrent.futures import Future, wait
from datetime import timedelta
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeVar

from piwheels.core.errors import Unavailable
from piwheels.slave.connection import Stopped
from piwheels.slave.lane import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from piwheels.slave.builder import Builder
    from piwheels.slave.connection import Wake
    from piwheels.slave.lane import Lane
    from piwheels.slave.workshops import Workshop

T = TypeVar("T")


def in_background(function: Callable[[], T], wake: Wake) -> Future[T]:
    """Call *function* in a thread; *wake* the conversation when it ends."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = function()
        except BaseException as exc:  # noqa: BLE001 (it is raised by the result)
            future.set_exception(exc)
        else:
            future.set_result(result)
        wake.set()

    Thread(target=run, name="background", daemon=True).start()
    return future


def end_build(builder: Builder, timeout: timedelta) -> None:
    """End *builder*, and remove its files. Raises ``Unavailable`` if it does not end in time."""
    builder.stop()
    builder.join(timeout.total_seconds())
    if builder.is_alive():
        raise Unavailable(f"the build of {builder.package} does not end: restart this slave")
    builder.close()


class Worker:
    """Serves *lane*: it builds in *workshop*, one version at a time."""

    def __init__(self, lane: Lane, workshop: Workshop, wake: Wake) -> None:
        self.lane, self.workshop = lane, workshop
        self.builder: Builder | None = None
        #: The memory that its build uses, and the most that it was seen to use, in bytes.
        self.memory = self.most_memory = 0
        self._wake = wake
        self._work: Future[str | None] | None = None
        self._gives_up = Event()

    @property
    def works(self) -> bool:
        """Whether its build still runs; if the lane does not build, its transfer or clean-up."""
        if self.lane.step is Step.BUILD:
            return self.builder is not None and self.builder.is_alive()
        return self._work is not None and not self._work.done()

    @property
    def asks(self) -> bool:
        """Whether it has asked for work, and has no reply."""
        return self.lane.step is Step.LISTEN and self.lane.request == "IDLE"

    def measure(self) -> None:
        """Measure the memory of the build."""
        self.memory = self.builder.memory() if self.builder is not None else 0
        self.most_memory = max(self.memory, self.most_memory)

    def result(self) -> str:
        """Return, once, what the log should say of what has ended; ``""``: nothing."""
        if self._work is None or not self._work.done():
            return ""
        work, self._work = self._work, None
        return work.result() or ""

    def build(self, builder: Builder) -> None:
        """Begin a build."""
        self.builder, self.memory, self.most_memory = builder, 0, 0
        builder.start()
        self._begin(builder.join)

    def send(self, filename: str, transfer: Callable[[Callable[[], None]], None]) -> None:
        """Begin a *transfer* of *filename*, which calls its argument often."""
        self._gives_up, before = Event(), self._work
        check = partial(_stop_if, self._gives_up)

        def send() -> str:
            if before is not None:
                wait([before])  # an earlier transfer, which has given up
            try:
                transfer(check)
            except (Unavailable, OSError) as exc:
                # The master notices when it verifies the file, and asks again.
                return f"could not send {filename}, the master has to ask again: {exc}"
            except Stopped:
                pass
            return ""

        self._begin(send)

    def clear(self, timeout: timedelta = timedelta(seconds=60)) -> None:
        """End the build, if there is one, and remove its files."""
        builder, self.builder = self.builder, None
        self.give_up()
        if builder is not None:
            builder.stop()
            self._begin(partial(end_build, builder, timeout))

    def give_up(self) -> None:
        """Have a running transfer end soon."""
        self._gives_up.set()

    def wait(self) -> None:
        """Wait for the end of what was begun. Raises ``Unavailable`` if a build does not end."""
        if self._work is not None:
            wait([self._work])
            self.result()

    def _begin(self, function: Callable[[], str | None]) -> None:
        self._work = in_background(function, self._wake)


def _stop_if(event: Event) -> None:
    if event.is_set():
        raise Stopped
