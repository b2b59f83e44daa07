"""The master itself: starts the cast, stands between it and the operators, stops it in order."""

from __future__ import annotations

import logging
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import zmq

from piwheels.core.clock import SYSTEM
from piwheels.core.database import Database
from piwheels.core.errors import BadMessage, Fatal, Unavailable
from piwheels.core.host.machine import machine
from piwheels.core.program.privileges import refuse_root
from piwheels.core.program.systemd import Notifier
from piwheels.core.protocols import master_control, monitor_stats
from piwheels.core.states import MasterInfo
from piwheels.core.tasks import Refusals
from piwheels.core.transport import Context, Poller, Socket
from piwheels.master.big_brother import BigBrother
from piwheels.master.cloud_gazer import CloudGazer
from piwheels.master.file_juggler import FileJuggler
from piwheels.master.lumberjack import Lumberjack
from piwheels.master.mr_chase import MrChase
from piwheels.master.seraph import Seraph
from piwheels.master.site.files import Site
from piwheels.master.slave_driver import SlaveDriver
from piwheels.master.the_architect import TheArchitect
from piwheels.master.the_operator import TheOperator
from piwheels.master.the_oracle import TheOracle
from piwheels.master.the_scribe import TheScribe
from piwheels.master.the_secretary import TheSecretary
from piwheels.master.wiring import news, orders

if TYPE_CHECKING:
    from collections.abc import Callable

    from piwheels.core.tasks import Task
    from piwheels.master.wiring import MasterConfig

T = TypeVar("T")

#: The cast in the order in which it starts; it stops in the opposite one, so that whoever asks
#: goes before whoever answers.
CAST: tuple[type[Task], ...] = (
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

#: How long a task may take to end, in seconds.
FAREWELL = 15.0


class PiWheelsMaster:
    """The ``piw-master`` program: the cast, and the sockets that operators attach to."""

    def __init__(self, config: MasterConfig) -> None:
        self.config = config
        self.logger = logging.getLogger("master")
        self.tasks: list[Task] = []
        self._refused = Refusals(self.logger)
        self._stopping = False
        self._systemd = Notifier()
        self._ready = self._paused = False
        self._stuck: dict[str, float] = {}
        # Not getfqdn(), which may wait long for a name server.
        self._info = MasterInfo(SYSTEM.now(), socket.gethostname()[:200], *machine())

    def main_loop(self) -> int:
        """Run the farm until told to stop; return the exit status."""
        ctx = Context()
        with (
            ctx.socket(zmq.PULL, master_control, self.logger) as control,
            ctx.socket(zmq.PUB, monitor_stats, self.logger) as status,
            ctx.socket(zmq.PULL) as events,
            ctx.socket(zmq.PULL, orders, self.logger) as ordered,
            ctx.socket(zmq.PUSH, reversed(news), self.logger) as operator,
        ):
            control.bind(self.config.control_queue)
            status.hwm = 100_000
            status.bind(self.config.status_queue)
            events.hwm = 100_000
            events.bind(self.config.events_queue)
            ordered.bind(self.config.orders_queue)
            operator.connect(self.config.news_queue)
            operator.send_msg("INFO", self._info)
            poller = Poller()
            for each in (control, events, ordered):
                poller.register(each)
            try:
                self._start()
                while not self._stopping and self._all_alive():
                    self._tell_systemd()
                    ready = poller.poll(min(1, self._systemd.interval))
                    if events in ready:
                        _pass_on(events, status)
                    if control in ready:
                        self._command(control, status, operator)
                    if ordered in ready:
                        self._obey(ordered.recv_msg()[0], None)
            finally:
                # Whatever the consoles are to see of the end still passes.
                self._stop(lambda: _pass_on(events, status))
        return 1 if any(task.failure for task in self.tasks) else 0

    # The cast -------------------------------------------------------------------------------

    def _start(self) -> None:
        for kind in CAST:
            self.tasks.append(kind(self.config))
        for task in self.tasks:
            task.start()
        self.logger.info(
            "listening for slaves on %s, writing the site to %s",
            self.config.slave_queue, self.config.output_path,
        )  # fmt: skip

    def _all_alive(self) -> bool:
        dead = [task.name for task in self.tasks if not task.is_alive()]
        if dead:
            self.logger.critical("%s has ended: stopping the master", ", ".join(dead))
        return not dead

    def _tell_systemd(self) -> None:
        """Say what we are at; and that we are alive, as long as every task's loop turns."""
        if not self._ready:
            if any(task.turned is None for task in self.tasks):
                return
            self._ready = True
            self._systemd.ready(self._status())
        stuck = {task.name: idle for task in self.tasks if (idle := task.stuck())}
        if stuck.keys() - self._stuck.keys():
            self.logger.critical(
                "stuck: %s; restart the master, unless systemd does, if this does not end",
                ", ".join(f"{name} for {idle:.0f} s" for name, idle in stuck.items()),
            )
        self._stuck = stuck
        self._systemd.status(self._status())
        if not stuck:
            self._systemd.beat()

    def _status(self) -> str:
        if self._stuck:
            return f"stuck: {', '.join(self._stuck)}"
        paused = "paused by an operator, " if self._paused else ""
        return f"{paused}listening for slaves on {self.config.slave_queue}"

    def _stop(self, meanwhile: Callable[[], None]) -> None:
        self.logger.info("stopping")
        self._systemd.stopping()
        for task in self.tasks:
            if isinstance(task, TheOracle):
                task.abort_retries()
        for task in reversed(self.tasks):
            if not task.is_alive():
                continue
            task.quit()
            deadline = SYSTEM.monotonic() + FAREWELL
            while task.is_alive() and SYSTEM.monotonic() < deadline:
                task.join(0.05)
                meanwhile()
            if task.is_alive():
                self.logger.critical("%s does not end: left behind", task.name)

    def stop(self, *_: object) -> None:
        """Have the main loop end; fit for a signal's handler."""
        self._stopping = True

    # Operators ------------------------------------------------------------------------------

    def _command(self, control: Socket, status: Socket, operator: Socket) -> None:
        """Take what came over the control socket; tell the other consoles by way of *operator*."""
        try:
            msg, slave_id = control.recv_msg()
        except BadMessage as exc:
            self._refused.note(exc)
            return
        if msg == "HELLO":
            status.send_msg("HELLO", self._info)
            self._task(SlaveDriver).list_slaves()
            self._task(BigBrother).replay()
            return
        target = None if msg == "QUIT" else slave_id
        slaves = None if target is None else [target]
        with suppress(Unavailable):  # the consoles hear of the next one
            told = "control", msg, slaves, SYSTEM.now()
            operator.send_msg("TOLD", told, zmq.DONTWAIT)
        self._obey(msg, target)

    def _obey(self, msg: str, slave_id: int | None) -> None:
        """Do what an operator wants, whichever socket it came by."""
        if msg == "QUIT":
            self.logger.warning("an operator said QUIT")
            self._stopping = True
            return
        if slave_id is None and msg in ("SLEEP", "WAKE"):
            self._paused = msg == "SLEEP"
            for task in self.tasks:
                task.pause() if msg == "SLEEP" else task.resume()
        driver = self._task(SlaveDriver)
        commands = {
            "KILL": driver.kill_slave,
            "SKIP": driver.skip_slave,
            "SLEEP": driver.sleep_slave,
            "WAKE": driver.wake_slave,
        }
        commands[msg](slave_id)

    def _task(self, kind: type[T]) -> T:
        return next(task for task in self.tasks if isinstance(task, kind))


def _pass_on(events: Socket, status: Socket) -> None:
    for _ in range(1000):  # then the operators' commands have their turn
        if not events.poll(0):
            return
        status.send_multipart(events.recv_multipart())


def run(config: MasterConfig) -> int:
    """Run the master until it is told to stop; return the exit status."""
    refuse_root("piw-master")
    for name in config.debug:
        if name not in (names := {task.name for task in CAST}):
            raise Fatal(f"--debug {name}: there is no such task, only {', '.join(sorted(names))}")
        logging.getLogger(name).setLevel(logging.DEBUG)
    site = Site(config.output_path, config.work_path)
    site.check_writable()
    site.lock()
    try:
        Database(config.dsn).close()  # says now, in a sentence, what is wrong with it
        master = PiWheelsMaster(config)
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, master.stop)
        return master.main_loop()
    finally:
        site.close()
