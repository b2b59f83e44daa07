"""Run untrusted commands and leave nothing of them behind.

A command runs under a supervisor process (:mod:`piwheels.core.host.supervision`). The supervisor
kills everything that the command started, and removes its working directories, when the command
ends, times out or is stopped, and when *this* process dies, even by ``kill -9``. No limit counts
the time in which this process or the supervisor is suspended.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

from piwheels.core.clock import SYSTEM
from piwheels.core.host import supervision
from piwheels.core.host.commands import own_child

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from piwheels.core.clock import Clock

#: Seconds that the supervisor has to end the command: after the time-out, and after :meth:`stop`.
GRACE = 30.0
_CLOSE_SECONDS = 60.0
_KILL_SECONDS = 10.0
#: The longest wait between two readings of the clock, in seconds.
_SLICE = 1.0
_PR_SET_PDEATHSIG = 1  # prctl(2)

# The variables that a build inherits from the slave. No PIW_*, no tokens, no agents' sockets.
_KEEP = (
    "PATH TERM TZ SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE XDG_CONFIG_DIRS "
    "HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy "
    "CC CXX CFLAGS CXXFLAGS CPPFLAGS LDFLAGS MAKEFLAGS PKG_CONFIG_PATH RUSTUP_HOME "
    "CARGO_HTTP_CAINFO SOURCE_DATE_EPOCH"
)
# Settings of pip that would change where a build goes, or hide its log.
_PIP_DROP = (
    "PIP_PYTHON PIP_LOG PIP_QUIET PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIRE_VIRTUALENV "
    "PIP_WHEEL_DIR PIP_DRY_RUN PIP_REPORT PIP_CONFIG_FILE"
)


class Process(Protocol):
    """A running program, as :class:`subprocess.Popen` has it."""

    def poll(self) -> int | None:
        """Return its exit status, or ``None`` while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raise :exc:`subprocess.TimeoutExpired` after *timeout* s."""

    def terminate(self) -> None:
        """Send it SIGTERM."""

    def kill(self) -> None:
        """Send it SIGKILL."""


class Ending(NamedTuple):
    """How a command ended.

    *kind* is one of ``supervision.ENDINGS``, and *detail* is the rest of that line. Or *kind* is
    ``silent``: it wrote no output for too long; or ``lost``: the supervisor was killed, so nobody
    knows how the command would have ended.
    """

    kind: str
    detail: str = ""

    @property
    def success(self) -> bool:
        """Whether the command ended on its own with status 0."""
        return self == ("exit", "0")


class Supervised:
    """A command that runs under a supervisor, from the constructor until :meth:`close`.

    *command* is looked up on the ``PATH`` of *env*, its whole environment; *cwd* is its working
    directory; *timeout* is in seconds. :meth:`close` removes the directories *remove*. *limits*
    are resource limits (``{"FSIZE": bytes, "NPROC": n, "AS": bytes}``, names as in
    :mod:`resource` without ``RLIMIT_``); core dumps are always off. The command is killed when it
    and its descendants use more than *totals* (the keys of :func:`supervision.use`, and ``disk``:
    the bytes in the directories *remove*), when it has written no output for *silence* seconds,
    and with *reserve*, when fewer bytes are free on the disk of *cwd*. It inherits *descriptors*.

    Any thread may call any method. Use it as a context manager, or call :meth:`close`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        timeout: float,
        remove: Sequence[Path] = (),
        limits: Mapping[str, int] | None = None,
        reserve: int = 0,
        totals: Mapping[str, int] | None = None,
        silence: float = math.inf,
        descriptors: Sequence[int] = (),
        clock: Clock = SYSTEM,
    ) -> None:
        self._clock = clock
        self._last_check = clock.monotonic()
        self._deadline = self._last_check + timeout + GRACE
        self._latest = self._deadline + timeout
        self._ending_soon = False
        self._silence = silence
        self._speak_until = self._last_check + silence
        self._was_silent = False
        self._remove = [str(path) for path in remove]
        self._status, status = os.pipe()
        spec: supervision.Spec = {
            "command": list(command),
            "cwd": str(cwd),
            "timeout": timeout,
            "status": status,
            "remove": self._remove,
            "limits": {"CORE": 0, **(limits or {})},
            "reserve": reserve,
            "totals": dict(totals or {}),
        }
        try:
            # In its own session, so that Ctrl+C at the terminal reaches only the slave.
            self._process = own_child(
                [sys.executable, "-I", "-S", supervision.__file__, json.dumps(spec)],
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                pass_fds=(status, *descriptors),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._status)
            raise
        finally:
            os.close(status)
        self._ending: Ending | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def output(self) -> IO[bytes]:
        """Standard output and error of the command, in the order of writing, unbuffered."""
        assert self._process.stdout is not None  # noqa: S101 (it was asked for)
        return self._process.stdout

    def memory(self) -> int:
        """Return the bytes of memory that the command and its descendants use now."""
        used = supervision.use(supervision.descendants(self._process.pid))
        return used["memory"] + used["shared"]

    def read(self, size: int = 65536) -> bytes:
        """Return the next bytes of the output; ``b""`` at its end, or if it is overdue."""
        if not self._wait_for(self.output.fileno()):
            return b""
        data = os.read(self.output.fileno(), size)
        self._speak_until = self._clock.monotonic() + self._silence
        return data

    def stop(self) -> None:
        """Ask the supervisor to kill the command and all its descendants. Returns at once."""
        self._ending_soon = True
        self._deadline = min(self._deadline, self._clock.monotonic() + GRACE)
        self._leash(b"k")

    def wait(self) -> Ending:
        """Return how the command ended; then its descendants are gone (unless it is ``lost``)."""
        if self._ending is None:
            line = os.read(self._status, 4096) if self._wait_for(self._status) else b""
            if not line:
                self._kill_supervisor()
            kind, _, detail = line.decode(errors="replace").strip().partition(" ")
            self._ending = Ending(kind, detail) if kind in supervision.ENDINGS else Ending("lost")
            if self._was_silent and kind == "stopped":
                self._ending = Ending("silent")
        return self._ending

    def close(self) -> None:
        """Kill all that still runs, then remove the directories. May be called again."""
        if self._process.stdin is None or self._process.stdin.closed:
            return
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        if not wait_for_exit(self._process, _CLOSE_SECONDS, self._clock):
            self._kill_supervisor()
        self._kill_adopted()
        self.output.close()
        os.close(self._status)
        for path in self._remove:  # if the supervisor could not
            supervision.remove_tree(path)

    def _wait_for(self, descriptor: int) -> bool:
        """Wait until *descriptor* is readable; return False if the supervisor is overdue.

        Once the supervisor has ended, so have all who could write.
        """
        while (left := self._deadline - self._clock.monotonic()) > 0:
            self._allow_for_suspension()
            if self._clock.monotonic() > self._speak_until and not self._ending_soon:
                self._was_silent = True
                self.stop()
            watched = {descriptor} if self._ending else {descriptor, self._status}
            ready = select.select(watched, [], [], min(left, _SLICE))[0]
            if descriptor in ready:
                return True
            if ready:
                self.wait()
        return bool(select.select([descriptor], [], [], 0)[0])

    def _allow_for_suspension(self) -> None:
        """Move the deadline if the supervisor is suspended, as it does with its own.

        A build could suspend the supervisor. So it gets at most twice its time, and none after a
        command to stop.
        """
        now = self._clock.monotonic()
        if now - self._last_check < _SLICE:
            return
        if not self._ending_soon and _is_suspended(self._process.pid):
            self._deadline = min(self._deadline + now - self._last_check, self._latest)
            self._speak_until += now - self._last_check
        self._last_check = now

    def _leash(self, data: bytes) -> None:
        with suppress(OSError, ValueError):  # it has ended already, or was closed
            if self._process.stdin is not None:
                self._process.stdin.write(data)

    def _kill_supervisor(self) -> None:
        # The command dies with it (PR_SET_PDEATHSIG). Its descendants are found by their place in
        # the tree: below this process if it adopts orphans, else by the directories in their
        # environment.
        tree = {**supervision.descendants(self._process.pid), self._process.pid: 0}
        for pid in tree:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        supervision.kill_orphans(self._remove)
        self._kill_adopted()

    def _kill_adopted(self) -> None:
        supervision.forget_child(self._process.pid)
        if supervision.is_subreaper():
            supervision.kill_adopted(_KILL_SECONDS)


def build_environment(
    home: Path, temp: Path, settings: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the environment of a build: the safe part of this process's own.

    *home* is its home and *temp* its directory for temporary files. *settings* are those of pip
    (:func:`~piwheels.core.host.pip_config.pip_settings`; ``None``: the variables of this process).
    They become variables, and pip reads no configuration file: it may contain passwords.
    """
    keep, drop = frozenset(_KEEP.split()), frozenset(_PIP_DROP.split())
    if settings is None:
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    else:
        pip = {f"PIP_{name.upper().replace('-', '_')}": text for name, text in settings.items()}
    environment = {name: value for name, value in os.environ.items() if name in keep}
    environment |= {name: value for name, value in pip.items() if name not in drop}
    rustup = _own_home() / ".rustup"
    if rustup.is_dir():
        environment.setdefault("RUSTUP_HOME", str(rustup))
    return environment | {
        "HOME": str(home),
        "TMPDIR": str(temp),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }


def adopt_orphans() -> None:
    """Become the parent of the processes that a killed supervisor leaves, to find and kill them.

    Only for a process that starts all its children with :func:`~.commands.own_child`.
    """
    supervision.become_subreaper()


def wait_for_exit(process: Process, seconds: float, clock: Clock = SYSTEM) -> bool:
    """Wait up to *seconds* for *process* to end; return whether it has."""
    deadline = clock.monotonic() + seconds
    while process.poll() is None and (left := deadline - clock.monotonic()) > 0:
        with suppress(subprocess.TimeoutExpired):
            process.wait(min(left, _SLICE))
    return process.poll() is not None


def dies_with_parent(sign: int) -> Callable[[], None]:
    """Return a function for a child to call before exec: it gets *sign* when our thread ends."""
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, int(sign))
        if os.getppid() != parent:  # the parent died before prctl
            os._exit(1)

    return prepare


def _own_home() -> Path:
    return Path(os.path.expanduser("~"))  # noqa: PTH111 (Path.home() raises where this does not)


def _is_suspended(pid: int) -> bool:
    """Return whether the process *pid* is stopped (``SIGSTOP``) or frozen by a debugger."""
    with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
        return file.read().rpartition(b")")[2].split()[0] in b"Tt"
    return False
