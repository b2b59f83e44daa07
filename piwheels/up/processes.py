"""The farm's processes: starts each with a log file of its own, starts it again if it ends, and
stops all in order.

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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Fatal, PiWheelsError
from piwheels.core.host.processes import dies_with_parent, wait_for_exit
from piwheels.core.program.locks import lock_file
from piwheels.core.protocols import ENDED_BY_OPERATOR, STOPPED_BY_OPERATOR
from piwheels.core.text import clean_lines
from piwheels.up.restarts import RESTARTS, WINDOW, After, Restarts, after

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from piwheels.core.clock import Clock
    from piwheels.core.host.launcher import Launcher
    from piwheels.core.host.processes import Process

#: The end of a longer log (in bytes) is moved to ``NAME.log.1``.
LOG_LIMIT: Final = 10 * 2**20
#: Seconds between two checks of the logs' sizes.
LOG_INTERVAL: Final = 10.0
#: Seconds to wait for the daemons of a killed piw-up to end.
PATIENCE: Final = 60.0
#: Seconds that each kind of daemon has to stop: normally, and after the loss of the database.
STOP_LIMIT, SHORT_STOP_LIMIT = 30.0, 3.0
#: The prefixes of daemons' names, in the sequence of stopping: clients before servers.
STOP_ORDER: Final = ("slave", "master", "serve")
#: The advice for a folder that cannot be written.
OTHER_DIR: Final = "name a folder that this user can write to in --dir"
#: The number of log lines shown of a daemon that failed, and how many bytes they may have.
LAST_LINES, LAST_BYTES = 12, 8192
#: How much of the end of a log is searched for such words of a daemon, in bytes.
SEARCHED: Final = 2**18


#: Why the farm stops instead of starting a daemon again.
TOO_OFTEN: Final = f"after {RESTARTS} restarts within {WINDOW / 60:g} minutes"


class Stopped(PiWheelsError):
    """The farm has to stop: a signal came, or an operator stopped it."""


@dataclass(slots=True)
class Daemon:
    """A part of the farm: the program *module* with *args*, in the environment *env*.

    Its log *log* had *start* bytes when it started. With a *launcher*, it runs as the user of
    that. Without a *process*, it starts again at *due*
    (monotonic seconds).
    """

    name: str
    module: str
    args: Sequence[str]
    env: Mapping[str, str]
    log: Path
    launcher: Launcher | None = None
    start: int = 0
    process: Process | None = None
    due: float = 0.0

    @property
    def program(self) -> str:
        """Its name for people."""
        return f"piw-{self.name}"

    @property
    def ended_by_operator(self) -> bool:
        """Whether its log says so: after a signal, it has the same status."""
        words = STOPPED_BY_OPERATOR if self.name == "master" else ENDED_BY_OPERATOR
        return words in _end_of(self.log, self.start, SEARCHED)

    def said(self, words: str) -> str:
        """Return the word that follows *words* in its log; ``""`` if it has not said them."""
        return _end_of(self.log, self.start, SEARCHED).partition(words)[2].partition(";")[0]

    def lines_with(self, words: str) -> list[str]:
        """Return *words* with what follows them, for each line of its log that has them."""
        lines = _end_of(self.log, self.start, SEARCHED).splitlines()
        return [words + line.partition(words)[2] for line in lines if words in line]


class Event(NamedTuple):
    """What happened to the daemon *name*, in a sentence; *bad*: it was not wanted."""

    name: str
    sentence: str
    bad: bool = False


class Processes:
    """The daemons of the farm in the folder *home*; ``with`` stops them all.

    Raises :exc:`Fatal` if another piw-up uses *home*, or it cannot be written.
    """

    def __init__(self, home: Path, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self.home = home
        self.logs = home / "log"
        self.restarts = Restarts()
        #: Logs of other programs of the farm, whose size is limited, too.
        self.more_logs: list[Path] = []
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

    def start(
        self,
        name: str,
        module: str,
        args: Sequence[str],
        env: Mapping[str, str],
        launcher: Launcher | None = None,
    ) -> None:
        """Start the program *module* with *args*, in the environment *env*, as the daemon *name*.

        It runs as the user of *launcher*, if there is one. Call it in the main thread only: the
        daemon dies with the *thread* that started it.
        """
        daemon = Daemon(name, module, args, env, self.logs / f"{name}.log", launcher)
        self._launch(daemon)
        self.daemons.append(daemon)

    def _launch(self, daemon: Daemon) -> None:
        _limit_size(daemon.log)
        daemon.start = daemon.log.stat().st_size if daemon.log.exists() else 0
        # -P: do not import from the working directory
        command = [sys.executable, "-P", "-m", daemon.module, *daemon.args]
        with daemon.log.open("ab") as output, warnings.catch_warnings():
            if daemon.launcher is not None:
                keep = [self._shared.fileno()]
                daemon.process = daemon.launcher.start(command, daemon.env, output.fileno(), keep)
                return
            # Python warns of code between fork and exec in threaded programs: two system calls here
            warnings.simplefilter("ignore", DeprecationWarning)
            daemon.process = subprocess.Popen(
                command,
                env=dict(daemon.env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl+C at the terminal reaches only piw-up
                pass_fds=[self._shared.fileno()],
                preexec_fn=dies_with_parent(signal.SIGTERM),  # noqa: PLW1509 (as above)
            )

    def check(self) -> list[Event]:
        """Start ended daemons again when that is due; return what happened since the last call.

        Raises :exc:`Stopped` if the farm has to stop, :exc:`Fatal` if a daemon fails for good.
        Call it in the main thread only.
        """
        if self.stopping:
            raise Stopped("stopped by a signal")
        now = self._clock.monotonic()
        events = [event for daemon in list(self.daemons) if (event := self._check(daemon, now))]
        if now - self._logs_checked > LOG_INTERVAL:
            self._logs_checked = now
            for log in (*self.logs.glob("*.log"), *self.more_logs):
                _limit_size(log)
        return events

    def _check(self, daemon: Daemon, now: float) -> Event | None:
        if daemon.process is None:
            if now < daemon.due:
                return None
            try:
                self._launch(daemon)
            except OSError as exc:  # no memory, no space for its log
                how = f"could not be started ({exc.strerror})"
                return self._restart(daemon, how, now)
            return Event(daemon.name, f"started {daemon.program} again")
        status = daemon.process.poll()
        if status is None:
            return None
        how = f"was killed by signal {-status}" if status < 0 else f"ended ({status})"
        is_master = daemon.name == "master"
        match after(status, is_master=is_master, by_operator=daemon.ended_by_operator):
            case After.STOP:
                raise Stopped("an operator has stopped the master")
            case After.WITHOUT:
                self.daemons.remove(daemon)
                if not any(other.name.startswith("slave") for other in self.daemons):
                    raise Stopped("an operator has stopped the last slave")
                sentence = f"an operator has stopped {daemon.name}; the farm continues without it"
                return Event(daemon.name, sentence)
            case After.FAIL:
                raise Fatal(f"{daemon.program} {how}; {_end_in_words(daemon)}")
            case After.RESTART:
                return self._restart(daemon, how, now)

    def _restart(self, daemon: Daemon, how: str, now: float) -> Event:
        """Have *daemon* start again after a pause; raise :exc:`Fatal` if it ended too often."""
        pause = self.restarts.pause(daemon.name, now)
        if pause is None:
            raise Fatal(f"{daemon.program} {how} {TOO_OFTEN}; {_end_in_words(daemon)}")
        daemon.process, daemon.due = None, now + pause
        again = f"starting it again in {pause:g} s; {_end_in_words(daemon)}"
        return Event(daemon.name, f"{daemon.program} {how}: {again}", bad=True)

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
            daemons = (daemon for daemon in self.daemons if daemon.name.startswith(prefix))
            running = [daemon.process for daemon in daemons if daemon.process is not None]
            for process in running:
                process.terminate()
            deadline = self._clock.monotonic() + self.patience
            for process in running:
                left = deadline - self._clock.monotonic()
                if not wait_for_exit(process, left, self._clock):
                    process.kill()
                    process.wait()
        self.daemons.clear()


def _limit_size(log: Path) -> None:
    """Limit the size of *log*, although a daemon has it open."""
    with contextlib.suppress(OSError):  # it may be missing or unreadable, or its disk full
        size = log.stat().st_size
        if size > LOG_LIMIT:
            with log.open("rb") as old, log.with_name(f"{log.name}.1").open("wb") as kept:
                old.seek(size - LOG_LIMIT)
                shutil.copyfileobj(old, kept)
            os.truncate(log, 0)


def _end_in_words(daemon: Daemon) -> str:
    return f"the end of {daemon.log}:\n{last_lines(daemon.log, daemon.start)}"


def last_lines(log: Path, start: int = 0) -> str:
    """Return the last lines of the file *log* after its first *start* bytes, indented."""
    lines = clean_lines(_end_of(log, start, LAST_BYTES), LAST_BYTES).rstrip().splitlines()
    return "\n".join(f"  {line}" for line in lines[-LAST_LINES:] or ["(nothing)"])


def _end_of(log: Path, start: int, most: int) -> str:
    """Return the end of *log*: of what follows its first *start* bytes, at most *most* bytes."""
    try:
        with log.open("rb") as file:
            size = log.stat().st_size
            file.seek(max(start if start <= size else 0, size - most))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return "(it cannot be read)"


def child_environment(config: object, environ: Mapping[str, str], dsn: str) -> dict[str, str]:
    """Return *environ* for a daemon: without piw-up's options, with the database's address.

    An option of the same name may mean something else there. ``ps`` does not show the address.
    """
    ours = {f"PIW_{f.name.upper()}" for f in dataclasses.fields(config)}  # type: ignore[arg-type]
    kept = {name: value for name, value in environ.items() if name not in ours}
    return {**kept, "PIW_DSN": dsn}
