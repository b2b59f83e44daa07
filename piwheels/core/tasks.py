"""The base classes of the master's tasks: threads with a loop, sockets and timers.

A task registers handlers for its sockets and timers. A handler can raise three sorts of errors:
``BadMessage`` is counted and logged, and the task continues; ``TaskQuit`` stops the task; any
other exception is a bug, which ends the task. ``Task.failure`` holds that exception for the
master, which then stops with a non-zero exit status.

A bug that one input triggers (a message, a row, a page, a file) ends only the handling of that
input: whatever handles single inputs passes the exception to :meth:`Faults.unexpected`. For the
messages of wires, and for answers, :class:`~piwheels.master.ports.Ports` does that.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import uuid
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import zmq

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import (
    BadMessage,
    PiWheelsError,
    Refused,
    Unavailable,
    one_line,
    should_log,
)
from piwheels.core.protocols import NoData, Protocol, task_control
from piwheels.core.repeats import Repeats
from piwheels.core.transport import Context, Poller, Socket

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from piwheels.core.clock import Clock


#: The limits of the buckets in which the durations of handlers are counted, in seconds.
BUCKETS: Final = (0.01, 0.1, 1.0, 10.0)


class TaskQuit(Exception):
    """A handler raises it to stop the task."""


class TaskControl(Exception):
    """Raised by :meth:`Task.handle_control` for a message that the base class does not handle."""

    def __init__(self, msg: str, data: Any = NoData) -> None:
        super().__init__(msg, data)
        self.msg, self.data = msg, data


class BadMessages:
    """Counts invalid messages, and logs them by peer and error: see :class:`Repeats`."""

    def __init__(self, logger: logging.Logger, clock: Clock = SYSTEM) -> None:
        self._repeats = Repeats(logger, clock)
        #: How many there were in all.
        self.seen = 0

    def note(self, exc: BadMessage) -> None:
        """Count *exc*, and log it unless its peer has caused the same error a moment ago."""
        self.seen += 1
        of_peer = f" of {exc.peer}" if exc.peer else ""
        self._repeats.note(exc.peer, str(exc)[:60], f"refused a message{of_peer}: {exc}")

    def summarise(self) -> None:
        """Log what was repeated. Call it about once a second."""
        self._repeats.summarise()


class Faults:
    """Counts and logs the unexpected exceptions in the handling of single inputs."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger, self._count = logger, 0

    def unexpected(self, what: str, exc: Exception) -> PiWheelsError:
        """Log that handling *what*, a single input, has raised *exc*; return the error to answer.

        An error that is raised on purpose is that answer, and is not logged.
        """
        if isinstance(exc, PiWheelsError):
            return exc
        self._count += 1
        why = one_line(f"{type(exc).__name__}: {exc}")[:300]
        self._logger.error(
            "a fault of piwheels, please report it: %s has failed: %s", one_line(what)[:200], why,
            exc_info=exc if should_log(self._count) else None,
        )  # fmt: skip
        return Refused("FAULT", f"a fault of piwheels, see the master's log: {why}")


@dataclass(slots=True)
class _Timer:
    interval: float
    handler: Callable[[], None]
    due: float


class Task(threading.Thread):
    """A thread with a loop, sockets, timers and a control socket.

    *config* is its program's configuration; *control_protocol* is the protocol of its control
    socket. Derive tasks from :class:`NonStopTask`, :class:`PauseableTask` or
    :class:`PausingTask`, which differ in the effect of a pause. Register sockets and timers in
    ``__init__``, or later in the task's own thread, never in another one.
    """

    #: The name of the thread (as ``top`` shows it) and of the logger.
    name: str = "task"
    #: The longest wait for the sockets in one turn of the loop, in seconds.
    cycle: ClassVar[float] = 1.0
    #: The duration of a turn of the loop after which the task counts as stuck, in seconds: longer
    #: than any wait of a handler.
    stuck_after: ClassVar[float] = 300.0
    #: The clock of its timers, limits and timestamps.
    clock: Clock = SYSTEM

    def __init__(self, config: Any, control_protocol: Protocol = task_control) -> None:
        super().__init__(name=type(self).name, daemon=True)
        self.config = config
        self.logger = logging.getLogger(type(self).name)
        self.failure: BaseException | None = None
        #: The start of the loop's current turn, in monotonic seconds (``None``: not started).
        self.turn_began: float | None = None
        self.bad_messages = BadMessages(self.logger, self.clock)
        self._faults = Faults(self.logger)
        #: The seconds of all handlers so far, and how many ended within each of :data:`BUCKETS`.
        self.busy = 0.0
        self.handled = [0] * (len(BUCKETS) + 1)
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
        # One socket for all threads, so that commands arrive in the order in which they were sent.
        commands = Context().socket(zmq.PUSH, reversed(control_protocol), self.logger)
        commands.connect(address)
        self._commands: Socket | None = commands
        self._commanding = threading.Lock()

    # Sockets and timers ---------------------------------------------------------------------

    def register(self, queue: Any, handler: Callable[[Any], None], flags: int = zmq.POLLIN) -> None:
        """Call *handler* with *queue* whenever *queue* has the events *flags*."""
        self._poller.register(queue, flags)
        self._handlers[queue] = handler

    def unregister(self, queue: Any) -> None:
        """End :meth:`register`; call it before *queue* is closed."""
        self._poller.unregister(queue)
        del self._handlers[queue]

    def every(self, interval: timedelta, handler: Callable[[], None]) -> None:
        """Call *handler* every *interval*, for the first time as soon as the task runs."""
        self._timers.append(_Timer(interval.total_seconds(), handler, due=self.clock.monotonic()))

    def own(self, thing: Any) -> None:
        """Close *thing* (anything with a method ``close``) when the task ends."""
        self._owned.append(thing)

    def close(self) -> None:
        """Close the owned objects and the registered sockets. Call it in the task's thread."""
        for thing in (*reversed(self._owned), *self._handlers):
            thing.close()
        self._owned.clear()
        self._handlers.clear()
        with self._commanding:
            if self._commands is not None:
                self._commands.close()
                self._commands = None

    @property
    def turn(self) -> float:
        """The duration of the loop's current turn in seconds; 0 before the first one."""
        return 0.0 if self.turn_began is None else self.clock.monotonic() - self.turn_began

    def stuck_for(self) -> float:
        """Return the duration of the loop's current turn in seconds if it is too long, else 0."""
        idle = self.turn
        return idle if idle > self.stuck_after else 0.0

    # From other threads ---------------------------------------------------------------------

    def pause(self) -> None:
        """Ask the task to pause. No effect if it is paused already, or cannot pause."""
        self.send_control("PAUSE")

    def resume(self) -> None:
        """Ask the task to resume after a pause."""
        self.send_control("RESUME")

    def quit(self) -> None:
        """Ask the task to stop; ``join`` waits for it."""
        self.send_control("QUIT")

    def send_control(self, msg: str, data: Any = NoData) -> None:
        """Send the task a message of its control protocol. Call it from any thread.

        Does nothing if the task has ended.
        """
        with self._commanding:
            if self._commands is not None:
                try:
                    self._commands.send_msg(msg, data, zmq.DONTWAIT)
                except Unavailable:
                    self.logger.warning("%s is too busy for commands: %s is lost", self.name, msg)

    # The loop -------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the task until ``QUIT``. Do not call it: ``start`` does."""
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
                self.logger.error("could not close cleanly: %s", exc)

    def once(self) -> None:
        """Do the work that must precede the loop, in the task's thread. Override it for that."""

    def poll(self, timeout: float = 1) -> None:
        """Do one turn of the loop: run the timers that are due, then wait for the sockets.

        It waits for at most *timeout* seconds, or until the next timer is due.
        """
        now = self.turn_began = self.clock.monotonic()
        self.bad_messages.summarise()
        for timer in self._timers:
            if timer.due <= now:
                # Skip the runs that were missed during a long pause.
                timer.due = now + timer.interval
                self._handle(timer.handler)
        if self._timers:
            timeout = min(
                timeout, max(0.0, min(t.due for t in self._timers) - self.clock.monotonic())
            )
        for queue in self._poller.poll(timeout):
            if (handler := self._handlers.get(queue)) is not None:  # else just unregistered
                self._handle(handler, queue)

    def _handle(self, handler: Callable[..., None], *args: Any) -> None:
        began = self.clock.monotonic()
        try:
            handler(*args)
        except BadMessage as exc:
            self.note_bad_message(exc)
        took = self.clock.monotonic() - began
        self.busy += took
        self.handled[bisect_left(BUCKETS, took)] += 1

    def note_bad_message(self, exc: BadMessage) -> None:
        """Count an invalid message, and log it: see :class:`BadMessages`."""
        self.bad_messages.note(exc)

    def unexpected(self, what: str, exc: Exception) -> PiWheelsError:
        """Log that handling *what* has raised *exc*: see :meth:`Faults.unexpected`."""
        return self._faults.unexpected(what, exc)

    def handle_control(self, queue: Socket) -> None:
        """Handle a message from the control socket: PAUSE, RESUME or QUIT.

        Raises ``TaskControl`` for any other message.
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
        """Handle PAUSE; the default does nothing."""

    def on_resume(self) -> None:
        """Handle RESUME; the default does nothing."""


def _name_thread(name: str) -> None:
    """Name the calling thread for ``top`` (Python itself does so from 3.14 on)."""
    set_name = 15  # PR_SET_NAME, see prctl(2)
    ctypes.CDLL(None).prctl(set_name, name.encode()[:15])


class NonStopTask(Task):
    """A task that ignores pauses."""


class PauseableTask(Task):
    """A task that does nothing while it is paused: no timers, no sockets except control."""

    def on_pause(self) -> None:
        """Wait on the control socket for RESUME or QUIT."""
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
    """A task that continues while it is paused; its attribute ``paused`` is then true."""

    def __init__(self, config: Any, control_protocol: Protocol = task_control) -> None:
        super().__init__(config, control_protocol)
        self.paused = False

    def on_pause(self) -> None:
        """Set ``paused``."""
        self.paused = True

    def on_resume(self) -> None:
        """Clear ``paused``."""
        self.paused = False
