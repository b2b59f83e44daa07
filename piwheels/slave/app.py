"""The slave itself: talks to the master, builds in a thread, sends files on a wire of their own.

The master may vanish at any moment: it is restarted, the network goes, this machine sleeps. Then
the build goes on, the slave connects anew, and says in its ``HELLO`` what it is still at (protocol
level 1), so that the master can let it go on. It ends when the master says ``DIE`` or when it is
told to by a signal, and leaves nothing behind.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import zmq

from piwheels.core.codec import NoData
from piwheels.core.errors import Fatal, Unavailable
from piwheels.core.host.interpreters import probe
from piwheels.core.host.machine import machine, slave_stats
from piwheels.core.host.pip_config import pip_command
from piwheels.core.program.command_line import Common, duration, option, program
from piwheels.core.program.paths import address
from piwheels.core.program.privileges import refuse_root
from piwheels.core.program.systemd import Notifier
from piwheels.core.protocols import SlaveOutput, slave_driver
from piwheels.core.transport import Context, Socket
from piwheels.core.wheels.dependencies import System
from piwheels.slave.builder import Builder, clean_stale, unfit
from piwheels.slave.connection import Connection, MasterTimeout, Request, Stopped

if TYPE_CHECKING:
    from piwheels.core.states import SlaveStats

__all__ = ["MasterTimeout", "PiWheelsSlave", "SlaveConfig", "duration", "main"]

#: After this silence of ours the master takes us for dead.
BUSY_TIMEOUT: Final = timedelta(minutes=5)
#: How long a build is waited for before the master gets a sign of life, in seconds.
CONT_WAIT: Final = 10.0
#: How long at least the master is told nothing new of a build's log, in seconds.
OUTPUT_WAIT: Final = 2.0
#: How long an idle slave waits before it asks again, in seconds: the first time; at most; and at
#: most where the master is on the same machine.
SLEEP_FIRST, SLEEP_MOST, SLEEP_NEAR = 1.0, 10.0, 2.0


@dataclass(frozen=True, kw_only=True)
class SlaveConfig(Common):
    """Build wheels for a master: ask it for versions, build them with pip, send them back."""

    master: str = option("-m", default="localhost", metavar="HOST", help="where the master runs")
    timeout: timedelta = option(
        "-t", default=timedelta(hours=3), metavar="DURATION", help="how long a build may take"
    )
    dir: Path | None = option(
        "-d",
        default=None,
        metavar="DIR",
        help="build here (default: the system's temporary folder)",
    )
    label: str = option("-L", default="", metavar="TEXT", help="our name (default: the host's)")
    python: Path | None = option(
        default=None, metavar="PATH", help="build for this interpreter (default: our own)"
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
    level: int = option(
        default=1,
        choices=(0, 1),
        help="the protocol level to use; 0 for a master of another implementation",
    )


class _Log(logging.LoggerAdapter["logging.Logger"]):
    """Puts the number that the master gave us before each line."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return f"slave {(self.extra or {}).get('id') or '?'}: {msg}", kwargs


class PiWheelsSlave:
    """The ``piw-slave`` program: loops around the slave protocol until it is told to end."""

    def __init__(self, config: SlaveConfig) -> None:
        self.config = config
        self.extra: dict[str, Any] = {"id": None}
        self.logger = _Log(logging.getLogger("slave"), self.extra)
        self.interpreter = probe(config.python)
        # Asked once, since asking takes longer than a small build's own pip.
        self.pip = pip_command(self.interpreter.path)
        self.system = System()
        self.label = (config.label or socket.gethostname())[:200]
        self.dir = config.dir or Path(tempfile.gettempdir())
        self.slave_queue = config.slave_queue or f"tcp://{config.master}:5555"
        self.systemd = Notifier()
        self.connection = Connection(self.slave_queue, self.logger, self.systemd.beat)
        self.file_queue = config.file_queue or f"tcp://{config.master}:5556"
        self.ctx = Context()
        self.slave_id: int | None = None
        self.pypi_url: str | None = None
        self.builder: Builder | None = None
        self._nap = SLEEP_FIRST
        self._busy_due = self._output_due = math.inf
        #: How many characters of the build's log the master knows.
        self._told = 0

    def stop(self, *_: object) -> None:
        """Have the slave end at the next opportunity; fit for a signal's handler."""
        self.connection.stopping = True

    def run(self) -> int:
        """Serve the master, and whichever comes after it, until told to end.

        Return the exit status.
        """
        self.logger.info(
            "building for %s on %s as %r",
            self.interpreter.abi,
            self.interpreter.platform,
            self.label,
        )
        clean_stale(self.dir)
        # Not only once there is a master: it may come later, and go, without a fault of ours.
        waiting = f"waiting for the master at {self.slave_queue}"
        self.systemd.ready(waiting)
        try:
            while True:
                with self.ctx.socket(zmq.REQ, reversed(slave_driver), self.logger.logger) as queue:
                    try:
                        self.main_loop(queue)
                    except MasterTimeout as exc:
                        self.logger.warning("%s; connecting anew", exc)
                        self.systemd.status(waiting)
                self.connection.pause()
        except SystemExit:
            self.logger.warning("the master told us to end")
        except Stopped:
            self.logger.warning("ending, as we were told by a signal")
        finally:
            self.systemd.stopping()
            self.clean_up_build()
        return 0

    # The conversation -----------------------------------------------------------------------

    def main_loop(self, queue: Socket, master_timeout: timedelta = timedelta(seconds=300)) -> None:
        """Talk to the master on *queue*, which is not connected yet, until one of us ends it.

        Raises ``MasterTimeout`` if the connection goes or the master does not answer within
        *master_timeout*, ``SystemExit`` if it says ``DIE``, and ``Stopped`` if we are to end.
        """
        ask = partial(self.connection.ask, queue, timeout=master_timeout, forgotten=BUSY_TIMEOUT)
        with self.connection.open(queue):
            reply = ask(self._hello(), welcome=True)
            while True:
                reply = ask(self.handle_reply(*reply))

    def _hello(self) -> Request:
        about = self.interpreter
        info = [
            self.config.timeout, BUSY_TIMEOUT,
            about.py_version, about.abi, about.platform, self.label, *machine(),
        ]  # fmt: skip
        if self.config.level > 0:
            build = self.builder
            job = None if build is None else [build.package, build.version]
            info.append({"level": 1, "resume": job, "output": True})
        else:
            self.clean_up_build()
        return "HELLO", info

    def _wait(self, seconds: float) -> None:
        """Wait up to *seconds*, or until the build has ended or we have to."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.connection.check()
            if self.builder is None:
                time.sleep(min(0.2, left))
            else:
                self.builder.join(min(0.2, left))
                if not self.builder.is_alive():
                    return

    # Replies of the master ------------------------------------------------------------------

    def handle_reply(self, msg: str, data: Any) -> Request:
        """Do what the master's reply says, and return our next request."""
        self.logger.debug("was told %s", msg)
        if msg != "SLEEP":
            self._nap = SLEEP_FIRST
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
            case _:
                return self.do_die()

    def do_ack(self, new_id: int, pypi_url: str) -> Request:
        """Note our number and where sources are; be idle, or go on with the build that we have."""
        self.slave_id = self.extra["id"] = new_id
        self.pypi_url = pypi_url or None
        self.connection.welcomed()
        if self.builder is None:
            return self._idle()
        self.logger.info("still building %s %s", self.builder.package, self.builder.version)
        self.systemd.status(f"building {self.builder.package} {self.builder.version}")
        self._tell_log_anew()  # it may be another master
        return self._busy()

    def do_sleep(self, paused: bool) -> Request:
        """Wait a little: longer each time, up to ten seconds (two where the master is near)."""
        self.logger.debug("nothing to do%s", " (paused)" if paused else "")
        self._wait(self._nap)
        near = self.slave_queue.startswith("ipc:")
        self._nap = min(self._nap * 2, SLEEP_NEAR if near else SLEEP_MOST)
        return self._idle()

    def do_build(self, package: str, version: str) -> Request:
        """Start to build a version."""
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
        )
        self.builder.start()
        self._tell_log_anew()
        self._busy_due = time.monotonic() + CONT_WAIT
        return self.do_cont()

    def do_cont(self) -> Request:
        """Wait for the build to end; say that it has, what is new in its log, or that we are busy.

        Every ten seconds we are busy; in between (level 1) there may be something new.
        """
        if self.builder is None:  # told to go on with nothing: be idle
            return self._idle()
        while self.builder.is_alive():
            now = time.monotonic()
            if now >= self._busy_due:
                return self._busy()
            if now >= self._output_due:
                self._output_due = now + OUTPUT_WAIT
                news = SlaveOutput(*self.builder.output_since(self._told))
                self._told = news.offset + len(news.text)
                if news.text:
                    return "OUTPUT", news
            self._wait(min(self._busy_due, self._output_due) - now)
        word = "built" if self.builder.status else "failed to build"
        self.logger.info("%s %s %s", word, self.builder.package, self.builder.version)
        return "BUILT", self.builder.as_message()

    def _busy(self) -> Request:
        self._busy_due = time.monotonic() + CONT_WAIT
        return "BUSY", self.get_status()

    def _tell_log_anew(self) -> None:
        self._told = 0
        self._output_due = time.monotonic() + OUTPUT_WAIT if self.config.level > 0 else math.inf

    def do_send(self, filename: str) -> Request:
        """Send a file of the build on the file wire."""
        wheels = self.builder.wheels if self.builder is not None else []
        wheel = next((wheel for wheel in wheels if wheel.filename == filename), None)
        if wheel is None:
            self.logger.error("the master asks for %s, which we have not built", filename)
            return "SENT", NoData
        self.logger.info("sending %s (%d bytes)", filename, wheel.filesize)
        self.systemd.status(f"sending {filename}")
        with self.ctx.socket(zmq.DEALER) as queue:
            queue.hwm = 10
            queue.connect(self.file_queue)
            try:
                wheel.transfer(queue, self.slave_id or 0, self.connection.check)
            except (Unavailable, OSError) as exc:
                # The master finds out when it verifies, and asks again.
                self.logger.error(
                    "could not send %s, the master has to ask again: %s", filename, exc
                )
        return "SENT", NoData

    def do_done(self) -> Request:
        """Drop everything of the build, and be idle."""
        self.clean_up_build()
        return self._idle()

    def do_die(self) -> Request:
        """End."""
        raise SystemExit(0)

    def _idle(self) -> Request:
        """Ask for work, once there is a place to build in.

        A slave with a full disk would have every version fail, one after the other, by no fault of
        theirs. It asks for nothing instead, until there is room again.
        """
        told = ""
        while why := unfit(self.dir):
            if why != told:
                told = why
                self.logger.error("%s; asking for no work until then", why)
                self.systemd.status(why)
            self._wait(SLEEP_MOST)
        if told:
            self.logger.info("there is a place to build in again")
        self.systemd.status(f"idle, as number {self.slave_id}")
        return "IDLE", self.get_status()

    # The build ------------------------------------------------------------------------------

    def clean_up_build(self, timeout: timedelta = timedelta(seconds=60)) -> None:
        """End the build, if there is one, and remove what it left.

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
        """Return our figures."""
        return slave_stats(self.dir, datetime.now(UTC))


@program(
    "piw-slave",
    SlaveConfig,
    examples=[
        ("piw-slave --master farm.example", "build for the farm on that machine"),
        (
            "piw-slave -m farm.example --python /opt/python3.13/bin/python3",
            "build for another interpreter than the one that runs it",
        ),
        ("piw-slave -m farm.example --dir /mnt/ssd --timeout 6h", "with more room and more time"),
    ],
)
def main(config: SlaveConfig) -> int:
    """Run ``piw-slave``."""
    refuse_root("piw-slave")
    slave = PiWheelsSlave(config)
    if why := unfit(slave.dir):
        raise Fatal(why)
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, slave.stop)
    return slave.run()
