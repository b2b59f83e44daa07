"""The slave: it obeys the master, builds in a thread, and sends files on a second connection.

The connection can break at any time: the master restarts, the network fails, this machine sleeps.
The build continues. The slave connects again, and its ``HELLO`` names that build (protocol level
1), so that the master lets it continue. A master that does not know the slave asks for that
``HELLO``; one that refuses the slave gives a reason, and the slave tries again later.

The slave ends after an operator's command (``DIE``) or a signal. It leaves
nothing behind.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import zmq

from piwheels.core.clock import SYSTEM
from piwheels.core.codec import NoData
from piwheels.core.errors import Fatal, Unavailable
from piwheels.core.faults import LOST, slave_fault
from piwheels.core.host.interpreters import probe
from piwheels.core.host.machine import machine, slave_stats
from piwheels.core.host.pip_config import default_index, pip_command, pip_settings
from piwheels.core.host.processes import adopt_orphans
from piwheels.core.keys.files import KeyPair, parse_invitation
from piwheels.core.keys.options import client_pair, key_option, master_key_option
from piwheels.core.paths import address, bracketed, data_dir, host
from piwheels.core.program.builds import (
    allow_host_option,
    offline_build_option,
    sandbox_option,
)
from piwheels.core.program.checking import check_option, reaching_problem, report
from piwheels.core.program.command_line import (
    Common,
    duration,
    option,
    program,
    size,
    usage_error,
)
from piwheels.core.program.logs import reopen_on_hangup
from piwheels.core.program.privileges import refuse_root
from piwheels.core.program.report import json_option
from piwheels.core.program.systemd import Notifier
from piwheels.core.protocols import ENDED_BY_OPERATOR, SANDBOX, SlaveOutput, slave_driver
from piwheels.core.transport import Context, Socket
from piwheels.core.wheels.dependencies import System
from piwheels.slave.builder import Builder, clean_stale, why_unusable
from piwheels.slave.connection import Connection, MasterTimeout, Request, SlaveRefused, Stopped
from piwheels.slave.egress.gate import PORT, Egress, environment
from piwheels.slave.identity import identity
from piwheels.slave.joining import join
from piwheels.slave.limits import Limits
from piwheels.slave.sandbox.choice import NoSandbox, choose
from piwheels.slave.selfcheck import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from piwheels.core.clock import Clock
    from piwheels.core.states import SlaveStats
    from piwheels.slave.sandbox.choice import Sandbox

__all__ = ["MasterTimeout", "PiWheelsSlave", "SlaveConfig", "duration", "main"]

#: The master declares this slave dead after this silence.
BUSY_TIMEOUT: Final = timedelta(minutes=5)
#: Seconds between two BUSY messages during a build.
CONT_WAIT: Final = 10.0
#: The least number of seconds between two OUTPUT messages.
OUTPUT_WAIT: Final = 2.0
#: Seconds between two requests of an idle slave: the first time, at most, and at most if the master
#: is on the same machine.
SLEEP_FIRST, SLEEP_MAX, SLEEP_MAX_LOCAL = 1.0, 10.0, 2.0
#: The longest pause between two checks of a slave that cannot build, in seconds.
UNFIT_MAX: Final = 120.0


def _master(text: str) -> str:
    """Return the host *text*; raise ``ValueError`` with the options for its ports."""
    try:
        return host(text)
    except ValueError as exc:
        raise ValueError(
            f"{exc} (--slave-queue and --file-queue take other ports: tcp://HOST:PORT)"
        ) from None


@dataclass(frozen=True, kw_only=True)
class SlaveConfig(Common):
    """Build wheels for a master: ask it for versions, build them with pip, send them back."""

    master: str = option(
        "-m", default="localhost", metavar="HOST", help="where the master runs", parse=_master
    )
    timeout: timedelta = option(
        "-t", default=timedelta(hours=3), metavar="DURATION", help="how long a build may take"
    )
    dir: Path | None = option(
        "-d",
        default=None,
        metavar="DIR",
        help="build here (default: the system's temporary folder)",
    )
    label: str = option(
        "-L", default="", metavar="TEXT", help="the name of this slave (default: the host's)"
    )
    python: Path | None = option(
        default=None,
        metavar="PATH",
        help="build for this interpreter (default: the one that runs this)",
    )
    slave_queue: str = option(
        default="",
        metavar="ADDR",
        parse=address,
        help="the master's slave queue (default: tcp://HOST:5555)",
    )
    file_queue: str = option(
        default="",
        metavar="ADDR",
        parse=address,
        help="the master's file queue (default: tcp://HOST:5556)",
    )
    join: KeyPair | None = option(
        default=None, metavar="TEXT", parse=parse_invitation,
        help="join a farm with an invitation (piw-keys invite): make the file of --key (default:"
        " slave.key in this user's data directory)",
    )  # fmt: skip
    key: Path | None = key_option()
    master_key: list[str] = master_key_option()
    sandbox: str = sandbox_option()
    egress: str = option(
        default="proxy",
        choices=("proxy", "open"),
        help="what builds reach: the indexes, by a proxy of the slave; or everything"
        " (default: proxy)",
    )
    allow_host: list[str] = allow_host_option()
    offline_build: bool = offline_build_option()
    requirements_index: str = option(
        default="",
        metavar="URL",
        help="take what builds require from this index only",
    )
    silence: timedelta = option(
        default=Limits.silence,
        metavar="DURATION",
        help="how long a build may write no output (default: 30m)",
    )
    cpu_time: timedelta = option(
        default=Limits.cpu, metavar="DURATION", help="processor time of a build (default: 12h)"
    )
    memory: int = option(
        default=0,
        metavar="SIZE",
        parse=size,
        help="memory of a build (default: three quarters of this machine's)",
    )
    disk: int = option(
        default=Limits.disk, metavar="SIZE", parse=size, help="disk of a build (default: 20G)"
    )
    processes: int = option(
        default=Limits.processes, metavar="N", help="processes of a build (default: 1000)"
    )
    level: int = option(
        default=1,
        choices=(0, 1),
        help="the protocol level to use; 0 for a master of another implementation",
    )
    check: bool = check_option()
    json: bool = json_option()

    @property
    def queues(self) -> tuple[str, str]:
        """The addresses of the master's slave queue and file queue."""
        place = f"tcp://{bracketed(self.master)}"
        return self.slave_queue or f"{place}:5555", self.file_queue or f"{place}:5556"

    @property
    def limits(self) -> Limits:
        """The limits of each build."""
        return Limits(
            silence=self.silence, cpu=self.cpu_time, memory=self.memory, disk=self.disk,
            processes=self.processes,
        )  # fmt: skip


class _Log(logging.LoggerAdapter["logging.Logger"]):
    """Begins each line with the number that the master gave this slave."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return f"slave {(self.extra or {}).get('id') or '?'}: {msg}", kwargs


class PiWheelsSlave:
    """The ``piw-slave`` program: serves a master by the slave protocol until it is stopped."""

    def __init__(self, config: SlaveConfig, clock: Clock = SYSTEM) -> None:
        self.config = config
        self.clock = clock
        self.extra: dict[str, Any] = {"id": None}
        self.logger = _Log(logging.getLogger("slave"), self.extra)
        self.interpreter = probe(config.python)
        # Only once: it takes longer than a small build.
        self.pip = pip_command(self.interpreter.path)
        self.system = System()
        self.dir = config.dir or Path(tempfile.gettempdir())
        self.sandbox: Sandbox = NoSandbox()
        self.egress = _egress(config, self.pip)
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
        self.slave_id: int | None = None
        self.pypi_url: str | None = None
        self.builder: Builder | None = None
        #: What this slave lacks, although it can build something; whether to check that again.
        self.lacks: list[str] = []
        self._suspect = False
        self._pause = SLEEP_FIRST
        self._busy_due = self._output_due = math.inf
        #: The number of characters of the build's log that the master has.
        self._sent = 0
        self._signal = 0

    def _choose_sandbox(self) -> None:
        mode, python = self.config.sandbox, self.interpreter.path
        port = None if self.egress.is_open else PORT
        variables = environment(self.egress, self.dir, self.dir, PORT)
        choice = choose(mode, python, self.pip, self.dir, variables, port)
        self.sandbox = choice.sandbox
        for warning in choice.warnings:
            self.logger.warning("%s", warning)
        self.logger.info("%s%s; egress: %s", SANDBOX, choice.confinement, self.config.egress)

    def stop(self, number: int = 0, _frame: object = None) -> None:
        """End the slave soon. Can be the handler of the signal *number*."""
        self._signal = number
        self.connection.stopping = True

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
        self.logger.info(
            "building for %s on %s as %r",
            self.interpreter.abi,
            self.interpreter.platform,
            self.label,
        )
        clean_stale(self.dir)
        self._choose_sandbox()
        # Ready also without a master, which may start later, or restart.
        waiting = f"waiting for the master at {self.slave_queue}"
        self.systemd.ready(waiting)
        try:
            while True:
                with self.ctx.socket(zmq.REQ, reversed(slave_driver), self.logger.logger) as queue:
                    try:
                        self.main_loop(queue)
                    except (MasterTimeout, SlaveRefused) as exc:
                        ended = exc
                self.systemd.status(waiting)
                self.connection.pause_after(ended)
        except SystemExit:
            level_0 = "the master has ended this slave"
            self.logger.warning(ENDED_BY_OPERATOR if self.config.level > 0 else level_0)
        except Stopped:
            by = signal.Signals(self._signal).name if self._signal else "a caller"
            self.logger.warning("ending: stopped by %s", by)
        finally:
            self.systemd.stopping()
            self.clean_up_build()
        return 0

    # The conversation -----------------------------------------------------------------------

    def main_loop(self, queue: Socket, master_timeout: timedelta = timedelta(seconds=300)) -> None:
        """Talk to the master on *queue*, which is not connected yet, until the conversation ends.

        Raises ``MasterTimeout`` if the connection is lost or the master does not reply within
        *master_timeout*, ``SlaveRefused`` if it refuses this slave, ``SystemExit`` if it says
        ``DIE``, and ``Stopped`` if a signal told the slave to end.
        """
        ask = partial(self.connection.ask, queue, timeout=master_timeout, forgotten=BUSY_TIMEOUT)
        with self.connection.open(queue):
            reply = ask(self._hello())
            while True:
                reply = ask(self.handle_reply(*reply))

    def _hello(self) -> Request:
        info = self._about()
        if self.config.level > 0:
            build = self.builder
            job = None if build is None else [build.package, build.version]
            features = {"level": 1, "resume": job, "output": True, "identity": self.identity}
            info.append(features | {"lacks": self.lacks})
        else:
            self.clean_up_build()
        return "HELLO", info

    def _about(self) -> list[Any]:
        about = self.interpreter
        return [
            self.config.timeout, BUSY_TIMEOUT,
            about.py_version, about.abi, about.platform, self.label, *machine(),
        ]  # fmt: skip

    def _wait(self, seconds: float) -> None:
        """Wait up to *seconds*, or until the build ends; raises as :meth:`Connection.check`."""
        deadline = self.clock.monotonic() + seconds
        while (left := deadline - self.clock.monotonic()) > 0:
            self.connection.check()
            if self.builder is None:
                time.sleep(min(0.2, left))
            else:
                self.builder.join(min(0.2, left))
                if not self.builder.is_alive():
                    return

    # Replies of the master ------------------------------------------------------------------

    def handle_reply(self, msg: str, data: Any) -> Request:
        """Carry out the master's reply, and return the next request."""
        self.logger.debug("received %s", msg)
        if msg != "SLEEP":
            self._pause = SLEEP_FIRST
        match msg:
            case "ACK":
                return self.do_ack(*data)
            case "SLEEP":
                return self.do_sleep(data)
            case "BUILD":
                return self.do_build(*data)
            case "CONT":
                return self.do_cont()
            case "SEND":
                return self.do_send(data)
            case "DONE":
                return self.do_done()
            case "HELLO":
                return self._hello()
            case "DIE":
                return self.do_die()
        raise MasterTimeout(f"the master replied {msg}, which this slave cannot handle")

    def do_ack(self, new_id: int, pypi_url: str) -> Request:
        """Store the slave's number and the index URL; continue the build, or request one."""
        self.slave_id = self.extra["id"] = new_id
        self.pypi_url = pypi_url or None
        self.connection.welcomed()
        if self.builder is None:
            return self._idle()
        self.logger.info("still building %s %s", self.builder.package, self.builder.version)
        self.systemd.status(f"building {self.builder.package} {self.builder.version}")
        self._restart_output()  # it may be another master
        return self._busy() if self.builder.is_alive() else self.do_cont()

    def do_sleep(self, paused: bool) -> Request:
        """Wait: longer each time, up to ten seconds (two if the master is on this machine)."""
        self.logger.debug("nothing to do%s", " (paused)" if paused else "")
        self._wait(self._pause)
        local = self.slave_queue.startswith(("ipc:", "tcp://127."))
        self._pause = min(self._pause * 2, SLEEP_MAX_LOCAL if local else SLEEP_MAX)
        return self._idle()

    def do_build(self, package: str, version: str) -> Request:
        """Start the build of a version."""
        self.clean_up_build()
        self.logger.info("building %s %s", package, version)
        self.systemd.status(f"building {package} {version}")
        self.builder = Builder(
            package,
            version,
            timeout=self.config.timeout,
            index_url=self.pypi_url,
            dir=str(self.dir),
            python=self.interpreter.path,
            pip=self.pip,
            system=self.system,
            sandbox=self.sandbox,
            egress=self.egress,
            limits=self.config.limits,
            clock=self.clock,
        )
        self.builder.start()
        self._restart_output()
        self._busy_due = self.clock.monotonic() + CONT_WAIT
        return self.do_cont()

    def do_cont(self) -> Request:
        """Wait for the build; return ``BUILT`` at its end, else ``BUSY`` or (level 1) ``OUTPUT``.

        ``BUSY`` is due every ten seconds, ``OUTPUT`` when the log has grown.
        """
        if self.builder is None:  # there is no build to continue
            return self._idle()
        while self.builder.is_alive():
            now = self.clock.monotonic()
            if now >= self._busy_due:
                return self._busy()
            if now >= self._output_due:
                self._output_due = now + OUTPUT_WAIT
                output = SlaveOutput(*self.builder.output_since(self._sent))
                self._sent = output.offset + len(output.text)
                if output.text:
                    return "OUTPUT", output
            self._wait(min(self._busy_due, self._output_due) - now)
        fault = LOST if self.builder.lost else slave_fault(self.builder.output)
        if not self.builder.status and fault is not None:
            self._suspect = True
        if self.builder.lost:
            self.logger.error("%s (%s)", LOST.what, LOST.cure)
        word = "built" if self.builder.status else "failed to build"
        self.logger.info("%s %s %s", word, self.builder.package, self.builder.version)
        built = self.builder.as_message()
        return "BUILT", built if self.config.level > 0 else built[:4]

    def _busy(self) -> Request:
        self._busy_due = self.clock.monotonic() + CONT_WAIT
        return "BUSY", self.get_status()

    def _restart_output(self) -> None:
        """Send the log from its beginning."""
        self._sent = 0
        due = self.clock.monotonic() + OUTPUT_WAIT
        self._output_due = due if self.config.level > 0 else math.inf

    def do_send(self, filename: str) -> Request:
        """Send a file of the build over the file wire."""
        wheels = self.builder.wheels if self.builder is not None else []
        wheel = next((wheel for wheel in wheels if wheel.filename == filename), None)
        if wheel is None:
            self.logger.error("the master requests %s, which this slave has not built", filename)
            return "SENT", NoData
        self.logger.info("sending %s (%d bytes)", filename, wheel.filesize)
        self.systemd.status(f"sending {filename}")
        with self.ctx.socket(zmq.DEALER) as queue:
            queue.hwm = 10
            queue.identify(self.pair)
            queue.connect(self.file_queue)
            try:
                wheel.transfer(queue, self.slave_id or 0, self.connection.check)
            except (Unavailable, OSError) as exc:
                # The master notices when it verifies the file, and asks again.
                self.logger.error(
                    "could not send %s, the master has to ask again: %s", filename, exc
                )
        return "SENT", NoData

    def do_done(self) -> Request:
        """Remove the build, and request another."""
        if self.builder is not None and self.builder.is_alive():
            self.logger.info("abandoning %s %s", self.builder.package, self.builder.version)
        self.clean_up_build()
        return self._idle()

    def do_die(self) -> Request:
        """End the slave, as an operator commanded."""
        raise SystemExit(0)

    def check_itself(self) -> str:
        """Return why each build would fail here, and what to do; ``""`` if they would not.

        Other faults are logged; the master learns of them with the next ``HELLO``.
        """
        fatal, lacks = check(self.interpreter.path, self.pip, self.dir)
        if lacks != self.lacks:
            self.lacks = lacks
            for lack in lacks:
                self.logger.warning("some builds will fail: %s", lack)
        self._suspect = bool(fatal)
        return "; ".join(fatal)

    def _idle(self) -> Request:
        """Return the request for a build, as soon as this slave can build.

        On a full disk, every build would fail. Everything else is checked after a failed build that
        shows a fault of this slave.
        """
        logged, pause = "", SLEEP_MAX
        while why := why_unusable(self.dir) or (self._suspect and self.check_itself()):
            if why != logged:
                logged = why
                self.logger.error("%s; asking for no work until then", why)
                self.systemd.status(why)
            self._wait(pause)
            pause = min(2 * pause, UNFIT_MAX)
        if logged:
            self.logger.info("can build in %s again", self.dir)
        self.systemd.status(f"idle, as number {self.slave_id}")
        return "IDLE", self.get_status()

    # The build ------------------------------------------------------------------------------

    def clean_up_build(self, timeout: timedelta = timedelta(seconds=60)) -> None:
        """End the build, if there is one, and remove its files.

        Raises ``Unavailable`` if it does not end within *timeout*.
        """
        builder, self.builder = self.builder, None
        if builder is None:
            return
        builder.stop()
        builder.join(timeout.total_seconds())
        if builder.is_alive():
            raise Unavailable(f"the build of {builder.package} does not end: restart this slave")
        builder.close()

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


def problems(config: SlaveConfig) -> Iterator[str]:
    """Yield what would prevent a slave with *config* from building, each with its remedy."""
    folder = config.dir or Path(tempfile.gettempdir())
    try:
        refuse_root("piw-slave")
    except Fatal as exc:
        yield str(exc)
    try:
        python = probe(config.python).path
        found = check(python, pip_command(python), folder)
    except Fatal as exc:
        yield str(exc)
        if why := why_unusable(folder):
            yield why
    else:
        yield from (*found.fatal, *found.lacks)
    try:
        if config.join is None:
            client_pair(config.key, config.master_key)
    except Fatal as exc:
        yield str(exc)
    for name, address_ in zip(("slave", "file"), config.queues, strict=True):
        option_ = f"--{name}-queue" if getattr(config, f"{name}_queue") else "--master"
        if why := reaching_problem(address_, option_):
            yield why


@program(
    "piw-slave",
    SlaveConfig,
    examples=[
        ("piw-slave --master farm.example", "build for the farm on that machine"),
        (
            "piw-slave -m farm.example --python /opt/python3.13/bin/python3",
            "build for another interpreter than the one that runs it",
        ),
        ("piw-slave -m farm.example --key board7.key", "with a key, as an administrator sent it"),
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
    slave = PiWheelsSlave(config)
    if why := slave.check_itself():
        raise Fatal(why)
    slave.join()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, slave.stop)
    adopt_orphans()
    return slave.run()
