"""The farm's processes: starts each with a log file of its own, monitors them, stops them in order.

None outlives piw-up: the kernel sends each of them SIGTERM when piw-up dies, even by ``kill -9``.
All have inherited the lock on the farm's directory, so that the next piw-up waits until the last
one has ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal, PiWheelsError
from piwheels.core.host.processes import dies_with_parent, wait_for_exit
from piwheels.core.program.locks import lock_file
from piwheels.core.protocols import ENDED_BY_OPERATOR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from piwheels.core.clock import Clock

#: A longer log (in bytes) is moved to ``NAME.log.1``.
LOG_LIMIT: Final = 10 * 2**20
#: Seconds between two checks of the logs' sizes.
LOG_INTERVAL: Final = 60.0
#: Seconds to wait for the daemons of a killed piw-up to end.
PATIENCE: Final = 60.0
#: Seconds that each kind of daemon has to stop: normally, and after the loss of the database.
STOP_LIMIT, SHORT_STOP_LIMIT = 30.0, 3.0
#: The prefixes of daemons' names, in the sequence of stopping: clients before servers.
STOP_ORDER: Final = ("slave", "master", "serve")
#: The advice for a folder that cannot be written.
OTHER_DIR: Final = "name a folder that this user can write to in --dir"
#: The number of log lines shown of a daemon that failed.
LAST_LINES: Final = 12


class Stopped(PiWheelsError):
    """The farm has to stop: a signal came, or an operator stopped it."""


class Daemon(NamedTuple):
    """A running part of the farm. Its log *log* had *start* bytes when it started."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    start: int

    @property
    def program(self) -> str:
        """Its name for people."""
        return f"piw-{self.name}"


class Processes:
    """The daemons of the farm in the folder *home*; ``with`` stops them all.

    Raises :exc:`Fatal` if another piw-up uses *home*, or it cannot be written.
    """

    def __init__(self, home: Path, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self.home = home
        self.logs = home / "log"
        self.daemons: list[Daemon] = []
        self.stopping = False
        #: Seconds that all daemons of one kind have to end, before they are killed.
        self.patience = STOP_LIMIT
        self._logs_checked = clock.monotonic()
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise Fatal(f"the farm cannot use {home} ({exc.strerror}): {OTHER_DIR}") from None
        in_use = f"the farm in {home} is running already: stop that piw-up, or choose another --dir"
        self._own = lock_file(home / "piw-up.lock", 0.5, in_use, OTHER_DIR)
        try:
            left = f"daemons of an earlier piw-up still run in {home}: end them (ps shows them)"
            self._shared = lock_file(home / "daemons.lock", PATIENCE, left, OTHER_DIR)
        except BaseException:
            self._own.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._shared.close()
        self._own.close()

    def on_signal(self, *_: object) -> None:
        """Have the farm stop soon. Can be a signal handler."""
        self.stopping = True

    def start(self, name: str, module: str, args: Sequence[str], env: Mapping[str, str]) -> None:
        """Start the program *module* with *args*, in the environment *env*, as the daemon *name*.

        Call it in the main thread only: the daemon dies with the *thread* that started it.
        """
        log = self.logs / f"{name}.log"
        self._limit_size(log)
        start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output, warnings.catch_warnings():
            # Python warns of code between fork and exec in threaded programs: two system calls here
            warnings.simplefilter("ignore", DeprecationWarning)
            process = subprocess.Popen(
                # -P: do not import from the working directory
                [sys.executable, "-P", "-m", module, *args],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl+C at the terminal reaches only piw-up
                pass_fds=[self._shared.fileno()],
                preexec_fn=dies_with_parent(signal.SIGTERM),  # noqa: PLW1509 (as above)
            )
        self.daemons.append(Daemon(name, process, log, start))

    def check(self) -> list[str]:
        """Return the names of the slaves that an operator has ended since the last call.

        Their logs say so: after a signal, a slave has the same status. Raises :exc:`Stopped` if
        the farm has to stop, :exc:`Fatal` if a daemon has ended for another reason.
        """
        if self.stopping:
            raise Stopped("stopped by a signal")
        left = []
        for daemon in list(self.daemons):
            status = daemon.process.poll()
            if status == 0 and daemon.name == "master":
                raise Stopped("an operator has stopped the master")
            if status == 0 and ENDED_BY_OPERATOR in last_lines(daemon.log, daemon.start):
                self.daemons.remove(daemon)
                left.append(daemon.name)
            elif status is not None:
                how = f"was killed by signal {-status}" if status < 0 else f"ended ({status})"
                words = last_lines(daemon.log, daemon.start)
                raise Fatal(f"{daemon.program} {how}; the end of {daemon.log}:\n{words}")
        if self._clock.monotonic() - self._logs_checked > LOG_INTERVAL:
            self._logs_checked = self._clock.monotonic()
            for daemon in self.daemons:
                self._limit_size(daemon.log)
        if left and not any(daemon.name.startswith("slave") for daemon in self.daemons):
            raise Stopped("an operator has stopped the last slave")
        return left

    def run(self, module: str, env: Mapping[str, str], limit: float = 300.0) -> None:
        """Run a program for up to *limit* seconds; raise :exc:`Fatal` if it fails."""
        command = [sys.executable, "-P", "-m", module, "-q"]
        with subprocess.Popen(
            command, env=dict(env), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                message = self._error_output(process, module, limit)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise Fatal(
                message
                or f"{module} failed ({process.returncode}) without a message: run it to see why"
            )

    def _error_output(self, process: subprocess.Popen[bytes], module: str, limit: float) -> str:
        deadline = self._clock.monotonic() + limit
        while self._clock.monotonic() < deadline:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.communicate(timeout=1.0)[1].decode(errors="replace").strip()
        raise Fatal(f"{module} has not ended within {limit:g} s: run it to see why")

    def stop(self) -> None:
        """Stop all daemons, in the sequence of STOP_ORDER; kill those that do not end in time."""
        for prefix in STOP_ORDER:
            some = [d for d in self.daemons if d.name.startswith(prefix)]
            for daemon in some:
                daemon.process.terminate()
            deadline = self._clock.monotonic() + self.patience
            for daemon in some:
                left = deadline - self._clock.monotonic()
                if not wait_for_exit(daemon.process, left, self._clock):
                    daemon.process.kill()
                    daemon.process.wait()
        self.daemons.clear()

    def _limit_size(self, log: Path) -> None:
        """Limit the size of *log*, although a daemon has it open."""
        with contextlib.suppress(OSError):  # it may be missing or unreadable, or its disk full
            if log.stat().st_size > LOG_LIMIT:
                shutil.copyfile(log, log.with_name(f"{log.name}.1"))
                os.truncate(log, 0)


def last_lines(log: Path, start: int = 0) -> str:
    """Return the last lines of the file *log* after its first *start* bytes, indented."""
    try:
        with log.open("rb") as file:
            size = log.stat().st_size
            file.seek(max(start if start <= size else 0, size - 8192))
            lines = file.read().decode("utf-8", "replace").rstrip().splitlines()
    except OSError:
        return "  (it cannot be read)"
    return "\n".join(f"  {line}" for line in lines[-LAST_LINES:])


def child_environment(config: object, environ: Mapping[str, str], dsn: str) -> dict[str, str]:
    """Return *environ* for a daemon: without piw-up's options, with the database's address.

    An option of the same name may mean something else there. ``ps`` does not show the address.
    """
    ours = {f"PIW_{f.name.upper()}" for f in dataclasses.fields(config)}  # type: ignore[arg-type]
    kept = {name: value for name, value in environ.items() if name not in ours}
    return {**kept, "PIW_DSN": dsn}
