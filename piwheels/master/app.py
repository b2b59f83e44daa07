"""The master program: starts the tasks, passes on operators' commands, stops the tasks in order."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from piwheels.core.clock import SYSTEM
from piwheels.core.database import Database
from piwheels.core.errors import BadMessage, Fatal, Refused
from piwheels.core.host.descriptors import raise_limit
from piwheels.core.host.machine import machine, return_large_blocks
from piwheels.core.paths import write_farm_file
from piwheels.core.program.checking import report
from piwheels.core.program.privileges import refuse_root
from piwheels.core.program.systemd import Notifier
from piwheels.core.protocols import STOPPED_BY_OPERATOR, CommandReport
from piwheels.core.states import MasterInfo
from piwheels.core.tasks import BUCKETS, BadMessages, Faults
from piwheels.core.transport import Poller
from piwheels.master import checking
from piwheels.master.big_brother import BigBrother
from piwheels.master.cloud_gazer import CloudGazer
from piwheels.master.file_juggler import FileJuggler
from piwheels.master.lumberjack import Lumberjack
from piwheels.master.messages import (
    CommandGiven,
    MasterStarted,
    PublishStats,
    TaskReport,
    TasksSeen,
)
from piwheels.master.mr_chase import MrChase
from piwheels.master.ports import Ports, handle
from piwheels.master.relay import Relay
from piwheels.master.seraph import Seraph
from piwheels.master.site.files import Site
from piwheels.master.slave_driver import SlaveDriver
from piwheels.master.the_architect import TheArchitect
from piwheels.master.the_gatekeeper import TheGatekeeper, gate_of
from piwheels.master.the_operator import TheOperator
from piwheels.master.the_oracle import TheOracle
from piwheels.master.the_scribe import TheScribe
from piwheels.master.the_secretary import TheSecretary
from piwheels.master.the_sentinel import TheSentinel
from piwheels.master.wiring import complete, doors, inner_config, warning_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from piwheels.core.tasks import Task
    from piwheels.master.ports import Inbox
    from piwheels.master.wiring import MasterConfig

    _Verb = Literal["KILL", "SLEEP", "SKIP", "WAKE", "QUIT"]

T = TypeVar("T")

#: The tasks in their starting order. They stop in reverse order, so that each task stops before the
#: tasks that it depends on.
CAST: tuple[type[Task], ...] = (
    TheGatekeeper,
    TheSentinel,
    Seraph,
    TheOracle,
    TheOracle,
    TheOracle,
    TheScribe,
    TheSecretary,
    FileJuggler,
    BigBrother,
    Lumberjack,
    SlaveDriver,
    TheArchitect,
    MrChase,
    TheOperator,
    CloudGazer,
)

#: The state of the farm is published for programs that ask at most once in so many seconds.
HELLO_PAUSE = 1.0
#: For how long a task that computes keeps others waiting, in seconds: Python's default is 5 ms.
_SWITCH = 0.0005
#: How long a task may take to end, in seconds.
STOP_LIMIT = 15.0


class PiWheelsMaster:
    """The ``piw-master`` program: its tasks, and the sockets for operators."""

    def __init__(self, config: MasterConfig) -> None:
        self.config = config = complete(config)
        #: With the addresses on which 0MQ listens: see Relay.
        self._inner_config = replace(inner_config(config), gate=gate_of(config))
        self.logger = logging.getLogger("master")
        self.tasks: list[Task] = []
        self._bad_messages, self._faults = BadMessages(self.logger), Faults(self.logger)
        self._stopping = False
        self._report_due = 0.0
        self._hello_waits, self._hello_due = False, 0.0
        self._systemd = Notifier()
        self._ready = self._paused = False
        self._stuck: dict[str, float] = {}
        # Not getfqdn(), which may wait long for a name server.
        self._info = MasterInfo(SYSTEM.now(), socket.gethostname()[:200], *machine())

    def main_loop(self) -> int:
        """Run the farm until it is stopped; return the exit status."""
        self._relay = Relay(doors(self.config), self._inner_config.gate, self.logger)
        self._inner_config = replace(self._inner_config, relay=self._relay)
        try:
            self._relay.start()
            return self._run(Ports("main", self._inner_config, self.logger))
        finally:
            self._relay.stop()

    def _run(self, ports: Ports) -> int:
        try:
            ports.push("console_events", MasterStarted(self._info))
            poller = Poller()
            handlers = self._handlers(ports)
            for wire in handlers:
                poller.register(ports.socket(wire))
            try:
                self._start()
                while not self._stopping and self._all_alive():
                    self._notify_systemd()
                    self._report_tasks(ports)
                    self._bad_messages.summarise()
                    ready = poller.poll(min(1, self._systemd.interval))
                    for wire, handler in handlers.items():
                        if ports.socket(wire) in ready:
                            self._handle(ports.socket(wire), handler)
                    self._answer_hello(ports)
            finally:
                # Consoles still see the events of the end.
                self._stop(lambda: _forward_events(ports))
        finally:
            ports.close()
        return 1 if any(task.failure for task in self.tasks) else 0

    def _describe_farm(self) -> None:
        """Write where database, site and file queue are, for the tools, next to the sockets."""
        config = self.config
        try:
            write_farm_file(config.dsn, config.output_path, config.import_queue, config.file_queue)
        except OSError as exc:
            self.logger.warning(
                "cannot write %s (%s): give piw-audit --dsn and --output-path, and piw-import"
                " --file-queue",
                exc.filename, exc.strerror,
            )  # fmt: skip

    # Tasks ----------------------------------------------------------------------------------

    def _start(self) -> None:
        for cls in CAST:
            self.tasks.append(cls(self._inner_config))
        for task in self.tasks:
            task.start()
        self._describe_farm()
        self.logger.info(
            "listening for slaves on %s, writing the site to %s",
            self.config.slave_queue, self.config.output_path,
        )  # fmt: skip

    def _all_alive(self) -> bool:
        dead = [each.name for each in (*self.tasks, self._relay) if not each.is_alive()]
        if dead:
            self.logger.critical("%s has ended: stopping the master", ", ".join(dead))
        return not dead

    def _notify_systemd(self) -> None:
        """Report the status to systemd, and a heartbeat while every task's loop turns."""
        if not self._ready:
            if any(task.turn_began is None for task in self.tasks):
                return
            self._ready = True
            self._systemd.ready(self._status())
        stuck = {task.name: idle for task in self.tasks if (idle := task.stuck_for())}
        if stuck.keys() - self._stuck.keys():
            self.logger.critical(
                "stuck: %s; restart the master, unless systemd does, if this does not end",
                ", ".join(f"{name} for {idle:.0f} s" for name, idle in stuck.items()),
            )
        self._stuck = stuck
        self._systemd.status(self._status())
        if not stuck:
            self._systemd.feed_watchdog()

    def _report_tasks(self, ports: Ports) -> None:
        """Report the state of the tasks to TheSentinel, once a second."""
        if (now := SYSTEM.monotonic()) < self._report_due:
            return
        self._report_due = now + 1
        reports = [
            TaskReport(
                task.name, task.is_alive(), task.turn_began is not None, bool(task.stuck_for()),
                task.turn, task.busy, list(task.handled), task.bad_messages.seen,
            )
            for task in self.tasks
        ]  # fmt: skip
        own = TaskReport(
            "main", True, True, False, 0, 0, [0] * (len(BUCKETS) + 1), self._bad_messages.seen
        )
        ports.push("monitor", TasksSeen([own, *reports]))

    def _status(self) -> str:
        if self._stuck:
            return f"stuck: {', '.join(self._stuck)}"
        paused = "paused by an operator, " if self._paused else ""
        return f"{paused}listening for slaves on {self.config.slave_queue}"

    def _stop(self, while_waiting: Callable[[], None]) -> None:
        self.logger.info("stopping")
        self._systemd.stopping()
        for task in self.tasks:
            if isinstance(task, TheOracle):
                task.abort_retries()
        for task in reversed(self.tasks):
            if not task.is_alive():
                continue
            task.quit()
            deadline = SYSTEM.monotonic() + STOP_LIMIT
            while task.is_alive() and SYSTEM.monotonic() < deadline:
                task.join(0.05)
                while_waiting()
            if task.is_alive():
                self.logger.critical("%s does not end: left behind", task.name)

    def stop(self, *_: object) -> None:
        """End the main loop; usable as a signal handler."""
        self._stopping = True

    # Operators ------------------------------------------------------------------------------

    def _handlers(self, ports: Ports) -> dict[str, Callable[[Inbox[Any]], None]]:
        """Return the handlers of the wires that the main thread reads, in the order of their turns.

        Events come first, so that consoles see them before the effects of a command.
        """
        return {
            "events": lambda _: _forward_events(ports),
            "control": lambda _: self._command(ports),
            "commands": lambda queue: self._master_command(queue.recv().verb),
            "status": _read_subscriptions,
        }

    def _handle(self, queue: Inbox[Any], handler: Callable[[Inbox[Any]], None]) -> None:
        try:
            handle(queue, handler, self._faults.unexpected)
        except BadMessage as exc:
            self._bad_messages.note(exc)

    def _command(self, ports: Ports) -> None:
        """Handle a message of the control socket; TheOperator reports it to other consoles."""
        queue = ports.socket("control")
        msg, slave_id = queue.recv_msg()
        try:
            queue.sender.check(msg)
        except Refused as exc:
            raise BadMessage(str(exc)) from exc
        if msg == "HELLO":
            self._hello_waits = True
            return
        target = None if msg == "QUIT" else slave_id
        slaves = None if target is None else [target]
        ports.push(
            "console_events",
            CommandGiven(
                CommandReport(
                    queue.sender.called("control"), cast("_Verb", msg), slaves, SYSTEM.now()
                )
            ),
        )
        if queue.sender.name:
            self.logger.warning("%s said %s to %s", queue.sender.name, msg, slaves or "all slaves")
        self._carry_out(msg, target)

    def _answer_hello(self, ports: Ports) -> None:
        """Publish the state of the farm, once for all the programs that have asked since then."""
        now = SYSTEM.monotonic()
        if self._hello_waits and now >= self._hello_due:
            self._hello_waits, self._hello_due = False, now + HELLO_PAUSE
            ports.socket("status").send_msg("HELLO", self._info)
            self._task(SlaveDriver).list_slaves()
            ports.push("stats", PublishStats())

    def _carry_out(self, msg: str, slave_id: int | None) -> None:
        """Carry out a command of the control socket."""
        if msg == "QUIT" or (slave_id is None and msg in ("SLEEP", "WAKE")):
            self._master_command(msg)
        driver = self._task(SlaveDriver)
        commands = {
            "KILL": driver.kill_slave,
            "SKIP": driver.skip_slave,
            "SLEEP": driver.sleep_slave,
            "WAKE": driver.wake_slave,
        }
        if msg in commands:
            commands[msg](slave_id)

    def _master_command(self, verb: str) -> None:
        """Stop the master, or pause or resume its tasks."""
        if verb == "QUIT":
            self.logger.warning(STOPPED_BY_OPERATOR)
            self._stopping = True
            return
        self._paused = verb == "SLEEP"
        for task in self.tasks:
            task.pause() if self._paused else task.resume()

    def _task(self, cls: type[T]) -> T:
        return next(task for task in self.tasks if isinstance(task, cls))


def _read_subscriptions(queue: Inbox[Any]) -> None:
    """Discard the subscriptions of programs; the gate has seen who has sent them."""
    for _ in range(1000):
        if not queue.poll(0):
            return
        queue.recv_multipart()


def _forward_events(ports: Ports) -> None:
    events, status = ports.socket("events"), ports.socket("status")
    for _ in range(1000):  # then operators' commands are served
        if not events.poll(0):
            return
        status.send_multipart(events.recv_multipart())


def run(config: MasterConfig) -> int:
    """Run the master until it is stopped; return the exit status."""
    tasks = {task.name for task in CAST}
    if config.check:
        return report(config, checking.problems(config, tasks))
    refuse_root("piw-master")
    raise_limit()
    sys.setswitchinterval(_SWITCH)
    return_large_blocks()
    for problem in (*checking.debug_problems(config, tasks), *checking.access_problems(config)):
        raise Fatal(problem)
    if warning := warning_of(config):
        logging.getLogger("master").critical("%s", warning)
    for name in config.debug:
        logging.getLogger(name).setLevel(logging.DEBUG)
    site = Site(config.output_path, config.work_path)
    site.check_writable()
    site.lock()
    try:
        Database(config.dsn).close()  # reports a problem with the database now, in a sentence
        master = PiWheelsMaster(config)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, master.stop)
        return master.main_loop()
    finally:
        site.close()
