"""Run untrusted commands and leave nothing of them behind.

A command runs under a supervisor process (:mod:`piwheels.core.host.supervision`). The supervisor
kills everything that the command started, and removes its working directories, when the command
ends, times out or is stopped, and when *this* process dies, even by ``kill -9``.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from piwheels.core.host import supervision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

#: How many seconds longer than the command's time-out its supervisor may live.
GRACE = 30.0
_CLOSE_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1  # prctl(2)

# What a build may know of the slave's environment. No PIW_*, no tokens, no agents' sockets.
_KEEP = (
    "PATH TERM TZ SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE XDG_CONFIG_DIRS "
    "HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy "
    "CC CXX CFLAGS CXXFLAGS CPPFLAGS LDFLAGS MAKEFLAGS PKG_CONFIG_PATH RUSTUP_HOME "
    "CARGO_HTTP_CAINFO SOURCE_DATE_EPOCH"
)
# Settings of pip that would send a build elsewhere, or keep its log from us.
_PIP_DROP = (
    "PIP_PYTHON PIP_LOG PIP_QUIET PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIRE_VIRTUALENV "
    "PIP_WHEEL_DIR PIP_DRY_RUN PIP_REPORT"
)


class Ending(NamedTuple):
    """How a command ended.

    *kind* is one of ``supervision.ENDINGS``, and *detail* is what follows it there; or *kind* is
    ``lost``: the supervisor itself was killed, so nobody knows.
    """

    kind: str
    detail: str = ""

    @property
    def success(self) -> bool:
        """Whether the command ended by itself with status 0."""
        return self == ("exit", "0")


class Supervised:
    """A command that runs under a supervisor, from its making until :meth:`close`.

    *command* is looked up on the ``PATH`` of *env*, its whole environment; *cwd* is its working
    directory; *timeout* is in seconds. The directories *remove* are removed at the end. *limits*
    are resource limits (``{"FSIZE": bytes, "NPROC": n, "AS": bytes}``, names as in
    :mod:`resource` without ``RLIMIT_``); core dumps are always off. With *reserve*, the command
    is killed when fewer bytes are free on the disk of *cwd*.

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
    ) -> None:
        self._deadline = time.monotonic() + timeout + GRACE
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
        }
        try:
            # A session of its own: Ctrl+C at the slave's terminal is the slave's business alone.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", supervision.__file__, json.dumps(spec)],
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                pass_fds=(status,),
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
        """Standard output and error of the command in the order of writing, unbuffered."""
        assert self._process.stdout is not None  # noqa: S101 (it was asked for)
        return self._process.stdout

    def read(self, size: int = 65536) -> bytes:
        """Return the next bytes of the output; ``b""`` at its end, or if it is overdue."""
        wait = self._deadline - time.monotonic()
        if wait > 0 and select.select([self.output], [], [], wait)[0]:
            return os.read(self.output.fileno(), size)
        return b""

    def stop(self) -> None:
        """Ask that the command and all that it started be killed. Returns at once."""
        self._leash(b"k")

    def wait(self) -> Ending:
        """Return how the command ended; all its descendants are then gone (but see ``lost``)."""
        if self._ending is None:
            line = b""
            wait = max(0.0, self._deadline - time.monotonic())
            if select.select([self._status], [], [], wait)[0]:
                line = os.read(self._status, 4096)
            if not line:
                self._kill_supervisor()
            kind, _, detail = line.decode(errors="replace").strip().partition(" ")
            self._ending = Ending(kind, detail) if kind in supervision.ENDINGS else Ending("lost")
        return self._ending

    def close(self) -> None:
        """Kill what is left, remove the directories, return when that is done. May be repeated."""
        if self._process.stdin is None or self._process.stdin.closed:
            return
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill_supervisor()
        self.output.close()
        os.close(self._status)
        for path in self._remove:  # for the case that the supervisor could not
            supervision.remove_tree(path)

    def _leash(self, data: bytes) -> None:
        with suppress(OSError, ValueError):  # it is gone already, or was closed
            if self._process.stdin is not None:
                self._process.stdin.write(data)

    def _kill_supervisor(self) -> None:
        # The command dies with it (PR_SET_PDEATHSIG); what that had started is killed as far as it
        # can be seen from here: by its place in the tree or, once it has been orphaned, by the
        # directories to remove, which its environment names.
        tree = {**supervision.descendants(self._process.pid), self._process.pid: 0}
        for pid in tree:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        supervision.kill_orphans(self._remove)


def build_environment(home: Path, temp: Path) -> dict[str, str]:
    """Return the environment for a build: this one's, without anything that a build need not know.

    *home* becomes its home and *temp* its directory for temporary files. What pip is configured
    with stays (``PIP_*``, proxies, certificates); its configuration files are found because
    :func:`private_home` copies them.
    """
    keep, drop = frozenset(_KEEP.split()), frozenset(_PIP_DROP.split())
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in keep or (name.startswith("PIP_") and name not in drop)
    }
    rustup = _own_home() / ".rustup"
    if rustup.is_dir():
        environment.setdefault("RUSTUP_HOME", str(rustup))
    return environment | {
        "HOME": str(home),
        "TMPDIR": str(temp),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
    }


def dies_with_parent(sign: int) -> Callable[[], None]:
    """Return what a child calls before its exec to be sent *sign* when the starting thread ends."""
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, int(sign))
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return prepare


def private_home(home: Path) -> None:
    """Make the directory *home*, with copies of this user's pip configuration and nothing else."""
    home.mkdir(mode=0o700)
    config = os.environ.get("XDG_CONFIG_HOME")
    sources = {
        ".pip/pip.conf": _own_home() / ".pip/pip.conf",
        ".config/pip/pip.conf": (Path(config) if config else _own_home() / ".config")
        / "pip/pip.conf",
    }
    for name, source in sources.items():
        with suppress(OSError):  # it is not there, or not ours to read: pip would not see it either
            data = source.read_bytes()
            target = home / name
            target.parent.mkdir(parents=True)
            target.write_bytes(data)


def _own_home() -> Path:
    return Path(os.path.expanduser("~"))  # noqa: PTH111 (Path.home() raises where this does not)
