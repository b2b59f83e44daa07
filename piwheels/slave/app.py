"""The slave: it obeys the master, builds in threads, and sends files on further connections.

A host is one slave with one connection. Each of its *lanes* has a conversation of its own with the
master (:mod:`~piwheels.slave.lane`), and one build at a time. One thread holds all conversations.
Whatever takes longer happens in the background (:mod:`~piwheels.slave.worker`).

The connection can break at any time: the master restarts, the network fails, this machine sleeps.
The builds continue. The slave connects again, and the ``HELLO`` of each lane names its build
(protocol level 1), so that the master lets it continue. A master that does not know the slave asks
for that ``HELLO``; one that refuses the slave gives a reason, and the slave tries again later.

The slave ends after an operator's command (``DIE``) or a signal. It leaves nothing behind.
"""

from __future__ import annotations

import dataclasses
import logging
import signal
import socket
import tempfile
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import zmq

from piwheels.core.clock import SYSTEM
from piwheels.core.codec import NoData
from piwheels.core.diagnosis import diagnose
from piwheels.core.errors import Fatal
from piwheels.core.host.interpreters import ALL
from piwheels.core.host.machine import machine, slave_stats
from piwheels.core.host.pip_config import default_index, pip_settings
from piwheels.core.host.processes import adopt_orphans
from piwheels.core.keys.options import client_pair
from piwheels.core.paths import cache_dir, data_dir
from piwheels.core.program.builds import SANDBOXES
from piwheels.core.program.checking import report
from piwheels.core.program.command_line import duration, program, usage_error
from piwheels.core.program.logs import reopen_on_hangup
from piwheels.core.program.privileges import refuse_root
from piwheels.core.program.systemd import Notifier
from piwheels.core.protocols import (
    ENDED_BY_OPERATOR,
    NOT_EMULATING,
    SANDBOX,
    SlaveOutput,
    slave_driver,
)
from piwheels.core.recipes import PLAIN
from piwheels.core.transport import Context
from piwheels.core.wheels.dependencies import System
from piwheels.slave.builder import Builder, clean_stale
from piwheels.slave.checking import problems
from piwheels.slave.config import SlaveConfig
from piwheels.slave.connection import REFUSED, Connection, Request, Stopped
from piwheels.slave.egress.gate import PORT, Egress, environment
from piwheels.slave.emulation.offers import emulated_sandbox, interpreters
from piwheels.slave.identity import identity
from piwheels.slave.joining import join
from piwheels.slave.lane import (
    SLEEP_MAX,
    SLEEP_MAX_LOCAL,
    Lane,
    MasterTimeout,
    SlaveRefused,
    Step,
)
from piwheels.slave.limits import most_memory
from piwheels.slave.overlay import Overlays, unavailable
from piwheels.slave.readiness import Readiness
from piwheels.slave.recipes import supported
from piwheels.slave.room import Room, lanes_for
from piwheels.slave.sandbox.choice import choose
from piwheels.slave.worker import Worker
from piwheels.slave.workshops import at_once, open_workshops

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from piwheels.core.clock import Clock
    from piwheels.core.host.interpreters import Interpreter
    from piwheels.core.recipes import Recipe
    from piwheels.core.states import Offer, SlaveStats
    from piwheels.core.transport import Socket
    from piwheels.core.wheels.built import Wheel
    from piwheels.slave.sandbox.choice import Choice
    from piwheels.slave.workshops import Workshop

__all__ = ["MasterTimeout", "PiWheelsSlave", "SlaveConfig", "duration", "main"]

#: The master declares this slave dead after this silence.
BUSY_TIMEOUT: Final = timedelta(minutes=5)


class _Log(logging.LoggerAdapter["logging.Logger"]):
    """Begins each line with the number that the master gave this slave."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return f"slave {(self.extra or {}).get('id') or '?'}: {msg}", kwargs


class PiWheelsSlave:
    """The ``piw-slave`` program: serves a master by the slave protocol until it is stopped.

    The methods for replies and requests are about one lane, that of :attr:`worker`.
    """

    def __init__(self, config: SlaveConfig, clock: Clock = SYSTEM) -> None:
        self.config = config
        self.clock = clock
        self.extra: dict[str, Any] = {"id": None}
        self.logger = _Log(logging.getLogger("slave"), self.extra)
        #: For each target that it builds for.
        about_roots = cache_dir() / "roots", config.mirror, config.root_package
        emulated = interpreters(config.systems, *about_roots)
        self.workshops = open_workshops(config.python, emulated)
        self.system = System()
        self.dir = config.dir or Path(tempfile.gettempdir())
        self.egress = _egress(config, self.workshops[0].pip)
        #: Packages of Debian for single builds; ``None``: they get none.
        self.overlays: Overlays | None = None
        self.label = (config.label or socket.gethostname())[:200]
        about = self.label, str(self.interpreter.path)
        self.identity = identity(*about) if config.level > 0 else ""
        self.slave_queue, self.file_queue = config.queues
        self.pair = None if config.join else client_pair(config.key, config.master_key)
        self.systemd = Notifier()
        self.connection = Connection(
            self.slave_queue,
            self.logger,
            self.systemd.feed_watchdog,
            level=config.level,
            pair=self.pair,
            clock=clock,
        )
        self.ctx = Context()
        self.pypi_url: str | None = None
        wake = self.connection.wake
        longest = SLEEP_MAX_LOCAL if self._is_local else SLEEP_MAX
        #: For each lane.
        self.workers = [
            Worker(Lane(number, config.level, longest), self.workshops[0], wake)
            for number in lanes_for(config.jobs)
        ]
        self.worker = self.workers[0]
        self.readiness = Readiness(self.workshops, self.dir, self.logger, wake)
        self.room = Room(self.workers, config.jobs, self.dir)
        self._signal = 0

    @property
    def interpreter(self) -> Interpreter:
        """The first interpreter."""
        return self.workshops[0].interpreter

    @property
    def slave_id(self) -> int | None:
        """The number that the master gave the lane."""
        return self.worker.lane.slave_id

    @property
    def builder(self) -> Builder | None:
        """The build of the lane."""
        return self.worker.builder

    @property
    def _is_local(self) -> bool:
        return self.slave_queue.startswith(("ipc:", "tcp://127."))

    def _choose_sandboxes(self) -> None:
        port = None if self.egress.is_open else PORT
        variables = environment(self.egress, self.dir, self.dir, PORT)

        def choice_for(workshop: Workshop) -> Choice | None:
            python, pip = workshop.interpreter.path, workshop.pip
            if root := workshop.interpreter.root:
                try:
                    return emulated_sandbox(root, pip, self.dir, variables, port)
                except Fatal as exc:
                    self.logger.error("%s%s: %s", NOT_EMULATING, root, exc)
                    return None
            return choose(self.config.sandbox, python, pip, self.dir, variables, port)

        confinements: dict[str, str] = {}
        warnings: dict[str, None] = {}
        for workshop, choice in at_once(choice_for, self.workshops):
            if choice is None:
                self.workshops.remove(workshop)
                continue
            workshop.sandbox = choice.sandbox
            confinements[choice.sandbox.name] = choice.confinement
            warnings |= dict.fromkeys(choice.warnings)
        for warning in warnings:
            self.logger.warning("%s", warning)
        for name in sorted(confinements, key=SANDBOXES.index, reverse=True):  # the weakest first
            egress = self.config.egress
            self.logger.info("%s%s; egress: %s", SANDBOX, confinements[name], egress)
        self.overlays = self._open_overlays()

    def _open_overlays(self) -> Overlays | None:
        """Return the packages of Debian for single builds; ``None``: they get none."""
        if self.config.no_packages:
            return None
        if not all(each.sandbox.can_overlay for each in self.workshops):
            why = "not every sandbox can (that needs bubblewrap 0.11 and Linux 5.11)"
        elif not (why := unavailable()):
            return Overlays(cache_dir() / "overlays", clock=self.clock)
        self.logger.info("no build can see packages of Debian that are not installed: %s", why)
        return None

    def stop(self, number: int = 0, _frame: object = None) -> None:
        """End the slave soon. Can be the handler of the signal *number*."""
        self._signal = number
        self.connection.stopping = True
        self.connection.wake.set()

    def join(self) -> None:
        """Join the farm, if this slave has an invitation. Raises ``Fatal``."""
        if self.config.join is not None:
            path = self.config.key or data_dir() / "slave.key"
            self.pair = join(self.config.join, path, self.slave_queue, self._about())
            self.connection.pair = self.pair

    def run(self) -> int:
        """Serve the master, and every later one at the same address, until stopped.

        Return the exit status: 0, after an operator's command or a signal (a supervisor should not
        start the slave again).
        """
        targets = ", ".join(f"{abi} on {platform}" for _, abi, platform in self._offers())
        lanes = f", {len(self.workers)} builds at once" if len(self.workers) > 1 else ""
        self.logger.info("building for %s as %r%s", targets, self.label, lanes)
        clean_stale(self.dir)
        self._choose_sandboxes()
        # Ready also without a master, which may start later, or restart.
        waiting = f"waiting for the master at {self.slave_queue}"
        self.systemd.ready(waiting)
        try:
            while True:
                with self.ctx.socket(
                    zmq.DEALER, reversed(slave_driver), self.logger.logger
                ) as queue:
                    try:
                        self.main_loop(queue)
                    except (MasterTimeout, SlaveRefused) as exc:
                        ended = exc
                self.systemd.status(waiting)
                self.connection.pause_after(ended, self.worker.lane.refusals)
        except SystemExit:
            level_0 = "the master has ended this slave"
            self.logger.warning(ENDED_BY_OPERATOR if self.config.level > 0 else level_0)
        except Stopped:
            by = signal.Signals(self._signal).name if self._signal else "a caller"
            self.logger.warning("ending: stopped by %s", by)
        finally:
            self.systemd.stopping()
            self._clean_up()
        return 0

    # The conversations ----------------------------------------------------------------------

    def main_loop(self, queue: Socket, master_timeout: timedelta = timedelta(seconds=300)) -> None:
        """Talk to the master on *queue*, a DEALER that is not connected yet, until that ends.

        Raises ``MasterTimeout`` if the connection is lost or the master does not reply within
        *master_timeout*, ``SlaveRefused`` if it refuses this slave, ``SystemExit`` if it says
        ``DIE`` to the last lane, and ``Stopped`` if a signal told the slave to end.
        """
        limit = master_timeout.total_seconds()
        for worker in self.workers:
            worker.give_up()  # its transfer was for another session
            worker.lane.greet()
        try:
            with self.connection.open(queue):
                while True:
                    self.room.look(self.clock.monotonic(), self.clock.now())
                    self._send_requests(limit)
                    self._show_status()
                    self._take_replies()
                    self._check_deadlines(limit)
        except (SystemExit, Stopped):
            lanes = [each.lane for each in self.workers]
            self.connection.leave(each.number for each in lanes if each.step is not Step.LISTEN)
            self.connection.close()
            raise

    def _send_requests(self, limit: float) -> None:
        for worker in self.workers:
            self._turn_to(worker)
            if (request := self._next_request()) is not None:
                self.connection.send(worker.lane.number, request)
                worker.lane.said(request[0], self.clock.monotonic(), limit)

    def _turn_to(self, worker: Worker) -> None:
        self.worker = worker
        self.extra["id"] = self.slave_id

    def _take_replies(self) -> None:
        """Wait for replies, or until a request is due, and carry them out."""
        now, lanes = self.clock.monotonic(), {each.lane.number: each for each in self.workers}
        wakes_at = min(each.lane.wakes_at(now) for each in self.workers)
        for number, msg, data in self.connection.receive(wakes_at - now):
            if number not in lanes and msg == "REFUSED":  # it has not read the lane
                raise SlaveRefused(f"{data}; if it knows no lanes yet, upgrade it, or use --jobs 1")
            if number not in lanes or lanes[number].lane.step is not Step.LISTEN:
                self.logger.warning("ignoring %s: nothing was asked in lane %d", msg, number)
                continue
            self._turn_to(lanes[number])
            self._take_reply(msg, data)

    def _check_deadlines(self, limit: float) -> None:
        now = self.clock.monotonic()
        if any(each.lane.deadline < now for each in self.workers if each.lane.step is Step.LISTEN):
            raise MasterTimeout(f"no reply of the master for {limit:g} s")

    def _take_reply(self, msg: str, data: Any) -> None:
        lane, is_only = self.worker.lane, len(self.workers) == 1
        forgotten = self.connection.may_be_forgotten(BUSY_TIMEOUT.total_seconds())
        try:
            lane.check_reply(msg, data, forgotten=forgotten)
            self.handle_reply(msg, data)
        except SlaveRefused as exc:
            if is_only:
                raise
            pause = lane.refusals.grow()
            self.logger.warning(REFUSED, exc, pause)
            lane.greet(self.clock.monotonic() + pause)
        except SystemExit:
            if is_only:
                raise
            self.logger.warning("an operator has ended this lane")
            self.connection.leave([lane.number])
            self.workers.remove(self.worker)
            self.clean_up_build()

    def _next_request(self) -> Request | None:
        """Return the request of the lane that is due, or ``None``."""
        worker, now = self.worker, self.clock.monotonic()
        if error := worker.result():
            self.logger.error("%s", error)
        match worker.lane.next_request(now, works=worker.works, may_begin=self._may_begin):
            case "HELLO":
                return self._hello()
            case "IDLE" | "WAIT" | "BUSY" as msg:
                return msg, self.get_status()
            case "OUTPUT":
                return self._output(now)
            case "BUILT":
                return "BUILT", self._built()
            case "SENT":
                return "SENT", NoData
        return None

    def _may_begin(self) -> bool:
        return self.readiness.is_fit(self.clock.monotonic()) and not self.room.why_not()

    def _hello(self) -> Request:
        info = self._about()
        if self.config.level > 0:
            build = self.builder
            job = None if build is None else [build.package, build.version]
            features: dict[str, Any] = {"level": 1, "resume": job, "output": True}
            features |= {"identity": self.identity, "lacks": self.readiness.lacks}
            features |= {
                "recipes": supported(self.egress, has_overlays=self.overlays is not None),
                "memory": most_memory(),
            }
            if len(self.workshops) > 1:
                features["offers"] = [list(offer) for offer in self._offers()]
            emulated = (each for each in self.workshops if each.interpreter.root)
            if platforms := dict.fromkeys(each.offer.platform for each in emulated):
                features["emulated"] = list(platforms)
            if self.worker.lane.number:
                features["lane"] = self.worker.lane.number
            info.append(features)
        else:
            self.clean_up_build()
        return "HELLO", info

    def _about(self) -> list[Any]:
        worker = self.worker
        workshop = self.workshops[0] if worker.builder is None else worker.workshop
        offer = workshop.offer
        return [self.config.timeout, BUSY_TIMEOUT, *offer, self.label, *machine()]

    def _offers(self) -> list[Offer]:
        return [each.offer for each in self.workshops]

    def _output(self, now: float) -> Request | None:
        builder, lane = self.builder, self.worker.lane
        assert builder is not None  # noqa: S101 (the lane builds)
        lane.looked(now)
        output = SlaveOutput(*builder.output_since(lane.sent))
        lane.sent = output.offset + len(output.text)
        return ("OUTPUT", output) if output.text else None

    def _built(self) -> list[Any]:
        builder = self.builder
        assert builder is not None  # noqa: S101 (the lane builds)
        about = builder.package, builder.version
        if builder.status:
            self.logger.info("built %s %s", *about)
        elif (found := diagnose(builder.output, builder.ending)).about.suspends:
            self.readiness.suspect = True
            why = f"{found.about.title}: {found.sentence}"
            self.logger.warning("failed to build %s %s, by a fault of this slave: %s", *about, why)
        else:
            self.logger.info("failed to build %s %s", *about)
        self.room.learn(self.worker)
        built = builder.as_message()
        return built if self.config.level > 0 else built[:4]

    def _show_status(self) -> None:
        """Tell systemd what this slave does."""
        builders = [each.builder for each in self.workers if each.builder is not None]
        builds = ", ".join(f"{each.package} {each.version}" for each in builders)
        numbers = [str(each.lane.slave_id) for each in self.workers if each.lane.slave_id]
        if builds:
            self.systemd.status(f"building {builds}")
        elif self.readiness.fault:
            self.systemd.status(self.readiness.fault)
        elif numbers:
            self.systemd.status(f"idle, as number {', '.join(numbers)}")

    # Replies of the master ------------------------------------------------------------------

    def handle_reply(self, msg: str, data: Any) -> None:
        """Carry out the master's reply; the next request of the lane follows from it."""
        self.logger.debug("received %s", msg)
        match msg:
            case "ACK":
                self.do_ack(*data)
            case "SLEEP":
                self.do_sleep(data)
            case "BUILD":
                self.do_build(*data)
            case "CONT":
                self.do_cont()
            case "SEND":
                self.do_send(data)
            case "DONE":
                self.do_done()
            case "HELLO":
                self.worker.lane.greet()
            case "DIE":
                self.do_die()
            case _:
                raise MasterTimeout(f"the master replied {msg}, which this slave cannot handle")

    def do_ack(self, new_id: int, pypi_url: str) -> None:
        """Store the lane's number and the index URL; continue the build, or ask for one."""
        worker, now = self.worker, self.clock.monotonic()
        worker.lane.slave_id = self.extra["id"] = new_id
        self.pypi_url = pypi_url or None
        self.connection.welcomed()
        if worker.builder is None:
            worker.lane.rest(now, 0.0)
            return
        self.logger.info("still building %s %s", worker.builder.package, worker.builder.version)
        worker.lane.build(now, resumed=True)  # it may be another master

    def do_sleep(self, paused: bool) -> None:
        """Rest: longer each time, up to ten seconds (two if the master is on this machine)."""
        self.logger.debug("nothing to do%s", " (paused)" if paused else "")
        lane = self.worker.lane
        lane.rest(self.clock.monotonic(), 0.0 if lane.request == "WAIT" else None)

    def do_build(
        self,
        package: str,
        version: str,
        abi: str = "",
        platform: str = "",
        recipe: Recipe = PLAIN,
    ) -> None:
        """Start the build of a version, for one of the targets that this slave offers."""
        self.clean_up_build()
        target = abi, platform
        workshops = {each.offer[1:]: each for each in self.workshops}
        if abi and target not in workshops:
            raise MasterTimeout(f"the master asks for a build for {abi} on {platform}")
        self.worker.workshop = workshop = workshops[target] if abi else self.workshops[0]
        by = f" with a recipe ({', '.join(sorted(recipe.features))})" if recipe.features else ""
        self.logger.info("building %s %s for %s%s", package, version, workshop.offer.abi, by)
        limits = self.config.limits
        if not limits.memory:
            limits = dataclasses.replace(limits, memory=self.room.memory_limit(self.worker))
        builder = Builder(
            package,
            version,
            timeout=self.config.timeout,
            index_url=self.pypi_url,
            dir=str(self.dir),
            python=workshop.interpreter.path,
            platform=workshop.offer.platform,
            abi=workshop.offer.abi,
            py_version=workshop.interpreter.py_version,
            pip=workshop.pip,
            system=workshop.system or self.system,
            sandbox=workshop.sandbox,
            egress=self.egress,
            limits=limits,
            overlays=self.overlays,
            recipe=recipe,
            clock=self.clock,
        )
        self.worker.build(builder)
        self.worker.lane.build(self.clock.monotonic())

    def do_cont(self) -> None:
        """Wait for the build: ``BUILT`` follows at its end, else ``BUSY`` or (level 1) ``OUTPUT``.

        ``BUSY`` is due every ten seconds, ``OUTPUT`` when the log has grown.
        """
        if self.builder is None:  # there is no build to continue
            self.worker.lane.rest(self.clock.monotonic(), 0.0)
        else:
            self.worker.lane.step = Step.BUILD

    def do_send(self, filename: str) -> None:
        """Send a file of the build over the file wire; ``SENT`` follows."""
        self.worker.lane.step = Step.SEND
        wheels = self.builder.wheels if self.builder is not None else []
        wheel = next((wheel for wheel in wheels if wheel.filename == filename), None)
        if wheel is None:
            self.logger.error("the master requests %s, which this slave has not built", filename)
            return
        self.logger.info("sending %s (%d bytes)", filename, wheel.filesize)
        self.worker.send(filename, partial(self._transfer, wheel, self.slave_id or 0))

    def _transfer(self, wheel: Wheel, slave_id: int, check: Callable[[], None]) -> None:
        """Send *wheel*, in a thread of its own."""
        with self.ctx.socket(zmq.DEALER) as queue:
            queue.hwm = 10
            queue.identify(self.pair)
            queue.connect(self.file_queue)
            wheel.transfer(queue, slave_id, check)

    def do_done(self) -> None:
        """Remove the build, and ask for another."""
        worker = self.worker
        if worker.builder is not None and worker.works:
            self.logger.info("abandoning %s %s", worker.builder.package, worker.builder.version)
        worker.clear()
        worker.lane.step = Step.CLEAR

    def do_die(self) -> None:
        """End the slave, as an operator commanded."""
        self.worker.lane.step = Step.CLEAR  # it listens no more
        raise SystemExit(0)

    # The build ------------------------------------------------------------------------------

    def clean_up_build(self, timeout: timedelta = timedelta(seconds=60)) -> None:
        """End the build, if there is one, and remove its files.

        Raises ``Unavailable`` if it does not end within *timeout*.
        """
        self.worker.clear(timeout)
        self.worker.wait()

    def _clean_up(self) -> None:
        """End all builds at once, and remove their files."""
        for worker in self.workers:
            worker.clear()
        for worker in self.workers:
            worker.wait()

    def get_status(self) -> SlaveStats:
        """Return the statistics of this machine."""
        return slave_stats(self.dir, self.clock.now())


def _egress(config: SlaveConfig, pip: Sequence[str]) -> Egress:
    """Return what builds may reach, by the options and pip's settings."""
    is_open = config.egress == "open"
    if is_open and (config.allow_host or config.offline_build or config.requirements_index):
        needs = "--allow-host, --offline-build and --requirements-index need the proxy"
        raise Fatal(f"{needs}: leave out --egress open")
    settings = pip_settings(pip)
    if is_open:
        return Egress(settings, is_open=True)
    index = settings.get("index-url") or default_index()
    allowed = frozenset(config.allow_host)
    own = config.requirements_index
    return Egress(settings, index, allowed, offline=config.offline_build, requirements=own)


@program(
    "piw-slave",
    SlaveConfig,
    examples=[
        ("piw-slave --master farm.example", "build for the farm on that machine"),
        (
            "piw-slave -m farm.example --python all --jobs auto",
            "for each Python of this machine, as many builds at once as it has room for",
        ),
        (
            "piw-slave -m farm.example --python /opt/python3.13/bin/python3",
            "build for another interpreter than the one that runs it",
        ),
        ("piw-slave -m farm.example --key board7.key", "with a key, as an administrator sent it"),
        (
            "piw-slave -m farm.example --emulate armhf,riscv64/trixie",
            "also for boards of other architectures, whose Debian qemu runs",
        ),
        ("piw-slave -m farm.example --dir /mnt/ssd --timeout 6h", "with more room and more time"),
    ],
)
def main(config: SlaveConfig) -> int:
    """Run ``piw-slave``."""
    if config.check:
        return report(config, problems(config))
    refuse_root("piw-slave")
    reopen_on_hangup()
    if config.join is not None and (config.level == 0 or config.master_key):
        usage_error("piw-slave", config, "--join needs level 1, and names the master's key itself")
    if config.level == 0 and (config.jobs != 1 or config.python[1:] or ALL in config.python):
        usage_error("piw-slave", config, "several interpreters or builds at once need level 1")
    slave = PiWheelsSlave(config)
    if why := slave.readiness.check_itself(at_start=True):
        raise Fatal(why)
    slave.join()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, slave.stop)
    adopt_orphans()
    return slave.run()
