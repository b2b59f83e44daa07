"""The farm's processes: each started with a log file of its own, watched, and stopped in order.

None outlives us: the kernel sends each of them SIGTERM when we die, be it by ``kill -9``. They have
all inherited the lock on the farm's directory, so that the next piw-up waits until the last of them
is gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from piwheels.core.errors import Fatal, PiWheelsError
from piwheels.core.host.processes import dies_with_parent
from piwheels.core.program.locks import hold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: A log that is longer (in bytes) is moved to ``NAME.log.1``.
LOG_LIMIT: Final = 10 * 2**20
#: Seconds between two looks at the logs' sizes.
LOG_INTERVAL: Final = 60.0
#: Seconds that the daemons of a piw-up that was killed may take to end.
PATIENCE: Final = 60.0
#: Seconds that daemons have to end, each kind in turn, and when there is nothing left to save.
FAREWELL, IN_VAIN = 30.0, 3.0
#: How the names of daemons begin, in the order of stopping: who asks goes before who answers.
STOP_ORDER: Final = ("slave", "master", "serve")
#: What to do where the farm's folder cannot be written.
ELSEWHERE: Final = "name a folder that this user can write to in --dir"
#: How many lines of a dead daemon's log are shown.
LAST_LINES: Final = 12


class Stopped(PiWheelsError):
    """We have been told to end by a signal."""


class Daemon(NamedTuple):
    """A running part of the farm; *name* is also that of its log, where it began at *start*."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    start: int

    @property
    def program(self) -> str:
        """What a person calls it."""
        return f"piw-{self.name}"


class Farm:
    """The daemons of the farm in *home*, which is made if it is missing; ``with`` stops them all.

    Raises :exc:`Fatal` where another piw-up has *home*, or it cannot be written.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.logs = home / "log"
        self.daemons: list[Daemon] = []
        self.stopping = False
        #: Seconds that all of one kind of daemon have to end, before they are killed.
        self.patience = FAREWELL
        self._looked = 0.0
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise Fatal(f"the farm cannot live in {home} ({exc.strerror}): {ELSEWHERE}") from None
        in_use = f"the farm in {home} is running already: stop that piw-up, or choose another --dir"
        self._own = hold(home / "piw-up.lock", 0.5, in_use, ELSEWHERE)
        try:
            left = f"daemons of an earlier piw-up still run in {home}: end them (ps shows them)"
            self._shared = hold(home / "daemons.lock", PATIENCE, left, ELSEWHERE)
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
        """Note that we are to end; fit for a signal's handler."""
        self.stopping = True

    def start(self, name: str, module: str, args: Sequence[str], env: Mapping[str, str]) -> None:
        """Start the program *module* with *args*, in the environment *env*, as the daemon *name*.

        Only in the main thread: the kernel watches the *thread* that started a process.
        """
        log = self.logs / f"{name}.log"
        self._bound(log)
        start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output, warnings.catch_warnings():
            # Python warns of code between fork and exec beside threads; ours is two system calls
            warnings.simplefilter("ignore", DeprecationWarning)
            process = subprocess.Popen(
                # -P: what lies about in the working directory is no module of ours
                [sys.executable, "-P", "-m", module, *args],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl+C at the terminal is for us alone
                pass_fds=[self._shared.fileno()],
                preexec_fn=dies_with_parent(signal.SIGTERM),  # noqa: PLW1509 (as above)
            )
        self.daemons.append(Daemon(name, process, log, start))

    def check(self) -> list[str]:
        """Return the names of the slaves that have ended as an operator told them to.

        Raises :exc:`Stopped` if we are to end, :exc:`Fatal` if a daemon has ended otherwise.
        """
        if self.stopping:
            raise Stopped("told to end")
        left = []
        for daemon in list(self.daemons):
            status = daemon.process.poll()
            if status == 0 and daemon.name == "master":
                raise Stopped("an operator has stopped the master")
            if status == 0 and daemon.name.startswith("slave"):
                self.daemons.remove(daemon)
                left.append(daemon.name)
            elif status is not None:
                how = f"was killed by signal {-status}" if status < 0 else f"ended ({status})"
                words = last_lines(daemon.log, daemon.start)
                raise Fatal(f"{daemon.program} {how}; the end of {daemon.log}:\n{words}")
        if time.monotonic() - self._looked > LOG_INTERVAL:
            self._looked = time.monotonic()
            for daemon in self.daemons:
                self._bound(daemon.log)
        if left and not any(daemon.name.startswith("slave") for daemon in self.daemons):
            raise Stopped("an operator has stopped the last slave")
        return left

    def run(self, module: str, env: Mapping[str, str], limit: float = 300.0) -> None:
        """Run a program of ours to its end; raise :exc:`Fatal` with its own words if it fails."""
        command = [sys.executable, "-P", "-m", module, "-q"]
        with subprocess.Popen(
            command, env=dict(env), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                _, said = process.communicate(timeout=limit)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            words = said.decode(errors="replace").strip()
            raise Fatal(words or f"{module} failed ({process.returncode}) without a word: run it")

    def stop(self) -> None:
        """Stop every daemon, kind by kind; kill what does not end in time."""
        for kind in STOP_ORDER:
            some = [d for d in self.daemons if d.name.startswith(kind)]
            for daemon in some:
                daemon.process.terminate()
            deadline = time.monotonic() + self.patience
            for daemon in some:
                try:
                    daemon.process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    daemon.process.kill()
                    daemon.process.wait()
        self.daemons.clear()

    def _bound(self, log: Path) -> None:
        """Keep *log* from growing without end, although a daemon holds it open."""
        with contextlib.suppress(OSError):  # it may be gone, closed to us, or its disk full
            if log.stat().st_size > LOG_LIMIT:
                shutil.copyfile(log, log.with_name(f"{log.name}.1"))
                os.truncate(log, 0)


def last_lines(log: Path, start: int = 0) -> str:
    """Return the last lines of the file *log* (which begin behind *start* bytes), indented."""
    try:
        with log.open("rb") as file:
            size = log.stat().st_size
            file.seek(max(start if start <= size else 0, size - 8192))
            lines = file.read().decode("utf-8", "replace").rstrip().splitlines()
    except OSError:
        return "  (it cannot be read)"
    return "\n".join(f"  {line}" for line in lines[-LAST_LINES:])


def child_environment(config: object, environ: Mapping[str, str], dsn: str) -> dict[str, str]:
    """Return *environ* for a daemon: without our own options, which mean something else there.

    The database's address goes by the environment, where no ``ps`` shows it.
    """
    ours = {f"PIW_{f.name.upper()}" for f in dataclasses.fields(config)}  # type: ignore[arg-type]
    kept = {name: value for name, value in environ.items() if name not in ours}
    return {**kept, "PIW_DSN": dsn}
