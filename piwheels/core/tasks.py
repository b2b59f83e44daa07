"""The base of every task of the master: a thread with a loop, sockets, timers and a control socket.

A task registers handlers for its sockets and for intervals, and is then run. Three kinds of error
end in three ways: a ``BadMessage`` is counted and logged once, and the task goes on; ``TaskQuit``
ends it in order; anything else is a bug of ours, ends the task, and is kept in
``Task.failure`` for the master, which then stops with a non-zero exit status.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import zmq

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import BadMessage, PiWheelsError, Unavailable, should_log
from piwheels.core.protocols import NoData, Protocol, task_control
from piwheels.core.transport import Context, Poller, Socket

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from piwheels.core.clock import Clock


class TaskQuit(Exception):
    """Raised by a handler to end the task in order."""


class TaskControl(Exception):
    """Raised by :meth:`Task.handle_control` for a message that the base class does not know."""

    def __init__(self, msg: str, data: Any = NoData) -> None:
        super().__init__(msg, data)
        self.msg, self.data = msg, data


class BadMessages(Counter[str]):
    """Counts what peers did wrong, by its kind; tells *logger* of the first of each, and the
    10th.
    """

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self._logger = logger

    def note(self, exc: BadMessage) -> None:
        """Count *exc*, and log it if it is the first of its kind (or the 10th, 100th, ...)."""
        what = str(exc)[:60]
        if len(self) >= 1000:  # an enemy may make up as many kinds as it likes
            self.clear()
        self[what] += 1
        if should_log(self[what]):
            self._logger.warning("refused a message (%d so far): %s", self[what], exc)


@dataclass(slots=True)
class _Timer:
    interval: float
    handler: Callable[[], None]
    due: float


class Task(threading.Thread):
    """A thread with a loop, sockets, timers and a control socket.

    *config* is its program's configuration, *control_protocol* is what its control socket takes.
    Use one of :class:`NonStopTask`, :class:`PauseableTask` and :class:`PausingTask`, which differ
    in what a pause means. Register sockets and timers in ``__init__``, or later in the task's own
    thread; never from another one.
    """

    #: The thread's name (it shows in ``top``) and the logger's.
    name: str = "task"
    #: How long one cycle waits for its sockets when no timer is due sooner, in seconds.
    cycle: ClassVar[float] = 1.0
    #: How long one turn of the loop may take before the task counts as stuck, in seconds: longer
    #: than all that a handler may have to wait for.
    stuck_after: ClassVar[float] = 300.0
    #: The clock of its timers, limits and timestamps.
    clock: Clock = SYSTEM

    def __init__(self, config: Any, control_protocol: Protocol = task_control) -> None:
        super().__init__(name=type(self).name, daemon=True)
        self.config = config
        self.logger = logging.getLogger(type(self).name)
        self.failure: BaseException | None = None
        #: When the loop last began a turn, by :attr:`clock` (``None``: it has not yet).
        self.turn_began: float | None = None
        self.bad_messages = BadMessages(self.logger)
        address = f"inproc://control-{self.name}-{uuid.uuid4().hex}"
        self._poller = Poller()
        self._handlers: dict[Any, Callable[[Any], None]] = {}
        self._timers: list[_Timer] = []
        self._owned: list[Any] = []
        control = Context().socket(zmq.PULL, control_protocol, self.logger)
        control.hwm = 1000
        control.bind(address)
        self.register(control, self.handle_control)
        self._control = control
        # One for all threads, so that what they say is heard in the order in which it is said.
        commands = Context().socket(zmq.PUSH, reversed(control_protocol), self.logger)
        commands.connect(address)
        self._commands: Socket | None = commands
        self._commanding = threading.Lock()

    # What a task has ------------------------------------------------------------------------

    def register(self, queue: Any, handler: Callable[[Any], None], flags: int = zmq.POLLIN) -> None:
        """Have *handler* called with *queue* whenever it has the events *flags*."""
        self._poller.register(queue, flags)
        self._handlers[queue] = handler

    def every(self, interval: timedelta, handler: Callable[[], None]) -> None:
        """Have *handler* called every *interval*, the first time as soon as the task runs."""
        self._timers.append(_Timer(interval.total_seconds(), handler, due=self.clock.monotonic()))

    def own(self, thing: Any) -> None:
        """Close *thing* with the task."""
        self._owned.append(thing)

    def close(self) -> None:
        """Close what the task owns and the sockets that are registered; in the task's thread."""
        for thing in (*reversed(self._owned), *self._handlers):
            thing.close()
        self._owned.clear()
        self._handlers.clear()
        with self._commanding:
            if self._commands is not None:
                self._commands.close()
                self._commands = None

    def stuck_for(self) -> float:
        """Return for how long the loop has not turned, in seconds, if that is too long (else 0)."""
        idle = 0.0 if self.turn_began is None else self.clock.monotonic() - self.turn_began
        return idle if idle > self.stuck_after else 0.0

    # From other threads ---------------------------------------------------------------------

    def pause(self) -> None:
        """Ask the task to pause; does nothing to one that is paused or cannot be."""
        self.send_control("PAUSE")

    def resume(self) -> None:
        """Ask the task to go on after a pause."""
        self.send_control("RESUME")

    def quit(self) -> None:
        """Ask the task to end; ``join`` waits for it."""
        self.send_control("QUIT")

    def send_control(self, msg: str, data: Any = NoData) -> None:
        """Send the task a message of its control protocol; from any thread.

        A task that has ended hears nothing.
        """
        with self._commanding:
            if self._commands is not None:
                try:
                    self._commands.send_msg(msg, data, zmq.DONTWAIT)
                except Unavailable:
                    self.logger.warning("%s is too busy for commands: %s is lost", self.name, msg)

    # The loop -------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the task until it is told to quit. Not to be called: ``start`` does."""
        _name_thread(self.name)
        try:
            self.logger.debug("starting")
            self.once()
            while True:
                self.poll(self.cycle)
        except TaskQuit:
            self.logger.debug("ending")
        except BaseException as exc:
            self.failure = exc
            self.logger.critical("%s has ended by an error: %s", self.name, exc, exc_info=exc)
        finally:
            try:
                self.close()
            except PiWheelsError as exc:
                self.logger.error("could not close in order: %s", exc)

    def once(self) -> None:
        """Run once, in the task's thread, before the loop. Override for what must happen there."""

    def poll(self, timeout: float = 1) -> None:
        """Do one cycle: run the timers that are due, then wait for the sockets.

        It waits *timeout* seconds at most, and less if a timer is due sooner.
        """
        now = self.turn_began = self.clock.monotonic()
        for timer in self._timers:
            if timer.due <= now:
                # Never catch up: after a long pause, one run is enough.
                timer.due = now + timer.interval
                self._guarded(timer.handler)
        if self._timers:
            timeout = min(
                timeout, max(0.0, min(t.due for t in self._timers) - self.clock.monotonic())
            )
        for queue in self._poller.poll(timeout):
            self._guarded(self._handlers[queue], queue)

    def _guarded(self, handler: Callable[..., None], *args: Any) -> None:
        try:
            handler(*args)
        except BadMessage as exc:
            self.note_bad_message(exc)

    def note_bad_message(self, exc: BadMessage) -> None:
        """Count what a peer did wrong; log the 1st, the 10th, the 100th, ... of its kind."""
        self.bad_messages.note(exc)

    def handle_control(self, queue: Socket) -> None:
        """Take a message from the control socket: PAUSE, RESUME or QUIT.

        Any other raises ``TaskControl``.
        """
        msg, data = queue.recv_msg()
        match msg:
            case "QUIT":
                raise TaskQuit
            case "PAUSE":
                self.on_pause()
            case "RESUME":
                self.on_resume()
            case _:
                raise TaskControl(msg, data)

    def on_pause(self) -> None:
        """React to PAUSE; here: not at all."""

    def on_resume(self) -> None:
        """React to RESUME; here: not at all."""


def _name_thread(name: str) -> None:
    """Give the calling thread the *name* that ``top`` shows (Python itself does from 3.14 on)."""
    set_name = 15  # PR_SET_NAME, see prctl(2)
    ctypes.CDLL(None).prctl(set_name, name.encode()[:15])


class NonStopTask(Task):
    """A task that no pause stops."""


class PauseableTask(Task):
    """A task that does nothing at all while it is paused: no timer, no socket but control."""

    def on_pause(self) -> None:
        """Wait, deaf to all but control, until RESUME or QUIT."""
        self.logger.info("paused")
        while True:
            self.turn_began = self.clock.monotonic()
            if self._control.poll(self.cycle):
                match self._control.recv_msg():
                    case ("QUIT", _):
                        raise TaskQuit
                    case ("RESUME", _):
                        self.logger.info("resumed")
                        return
                    case _:
                        continue


class PausingTask(Task):
    """A task that goes on while it is paused, but knows that it is: see ``paused``."""

    def __init__(self, config: Any, control_protocol: Protocol = task_control) -> None:
        super().__init__(config, control_protocol)
        self.paused = False

    def on_pause(self) -> None:
        """Note the pause."""
        self.paused = True

    def on_resume(self) -> None:
        """Note its end."""
        self.paused = False
