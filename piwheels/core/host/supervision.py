"""A small program that runs one command and cleans up everything that the command leaves behind.

:mod:`piwheels.core.host.processes` starts it as a *file*, ``python -I -S supervision.py SPEC``, and
controls it. It imports only modules that load quickly, and it outlives a killed parent.

* Every descendant of the command, even a daemon that left its session, becomes a child of this
  process when its own parent ends (``PR_SET_CHILD_SUBREAPER``), so that this process can find and
  kill all of them.
* Standard input is the leash. A byte on it means: kill the command. Its end means that the parent
  closed it or died: kill the command, remove the directories of SPEC, and exit. No signal can be
  lost, and no pid can be mistaken for another.
* The result of the command is one line of :data:`ENDINGS` on the status descriptor.
* Limits do not count the time in which this process is suspended, as in :mod:`piwheels.core.clock`.

If this process is killed, the parent kills what remains: it is a subreaper, too. A build runs as
the same user and can kill both. Only a sandbox prevents that.
"""

from __future__ import annotations

import ctypes
import errno
import json
import math
import os
import resource
import select
import signal
import stat
import sys
import time
from _thread import allocate_lock
from contextlib import suppress
from functools import partial

TYPE_CHECKING = False  # checkers know this name; the real one would cost the import of typing
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Any, TypedDict

    class Spec(TypedDict):
        """The command and its limits; ``processes.Supervised`` describes each key."""

        command: list[str]
        cwd: str
        timeout: float
        status: int
        remove: list[str]
        limits: dict[str, int]
        reserve: int
        totals: dict[str, int]


#: How a command can end. A number follows ``exit`` (its status) and ``signal``; a text ``error``.
ENDINGS = (
    "exit", "signal", "timeout", "stopped", "full", "processes", "memory", "cpu", "disk", "error",
)  # fmt: skip

_ENDS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})  # signals that end us
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37
_KILL_SECONDS = 10.0
_TICK_SECONDS = 1.0
_TOTALS_SECONDS = 0.25  # between two readings of what the command's processes use
_SCAN_SECONDS = 0.5  # at least, between two readings of the size of its folders
_BYTES_PER_INODE = 16_384  # as many as a new file system of ext4 has
_TASKS_PER_PROCESS = 4  # the limit of threads, for each process of the limit
_MAX_GAP = 5.0  # as piwheels.core.clock.MAX_GAP
_CAUTION = 20  # so many times as long as a reading takes, it is not repeated
_JOIN_SESSION_KEYRING = 1
#: The children that this process has started itself, and the lock that a start needs.
_children: set[int] = set()
_starting = allocate_lock()
#: The number of keyctl(2) for programs of 64 bits and of 32, by the kernel's machine.
KEYCTL = {
    "x86_64": (250, 288), "i686": (0, 288), "aarch64": (219, 311), "armv8l": (0, 311),
    "armv7l": (0, 311), "armv6l": (0, 311), "riscv64": (219, 0), "loongarch64": (219, 0),
    "ppc64le": (271, 0), "s390x": (280, 0),
}  # fmt: skip


class Countdown:
    """Counts *seconds* down while this process runs.

    Call :meth:`left` at least once a second: of a longer gap, only the first five seconds count,
    because the process was suspended.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._read = time.monotonic()

    def left(self) -> float:
        """Return the seconds that remain (not positive when the time is over)."""
        now = time.monotonic()
        self._left -= min(now - self._read, _MAX_GAP)
        self._read = now
        return self._left


def main(argument: str) -> int:
    """Run the command of the JSON *argument* (see ``processes.Supervised``); return 0."""
    spec: Spec = json.loads(argument)
    status = spec["status"]
    os.set_inheritable(status, False)
    become_subreaper()
    wake, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *_ENDS):
        signal.signal(number, _nothing)
    try:
        child = _start(spec)
        ending = _watch(child, wake, spec)
    except OSError as error:
        ending = f"error {error}"
    gone = kill_descendants(_KILL_SECONDS)
    # The reader of the log waits for its end, so close our copies of it.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    with suppress(BrokenPipeError):  # the parent is gone: only the cleaning up remains
        os.write(status, (ending + ("" if gone else " unkillable") + "\n").encode(errors="replace"))
    os.close(status)
    while os.read(0, 4096):
        pass
    for path in spec["remove"]:
        remove_tree(path)
    return 0


def _start(spec: Spec) -> int:
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        _leave_keyring()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(127)
        for name, value in spec["limits"].items():
            _limit(getattr(resource, f"RLIMIT_{name}"), value)
        if most := spec["totals"].get("processes"):
            # A fork bomb must not outgrow the readings. The kernel counts all tasks of the user.
            _limit(resource.RLIMIT_NPROC, _own_tasks() + _TASKS_PER_PROCESS * most)
        _offer_to_the_oom_killer()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(1, 2)
        for number in (signal.SIGPIPE, signal.SIGCHLD, *_ENDS):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(spec["cwd"])
        command = spec["command"]
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        os.write(1, f"cannot start the command: {error}\n".encode(errors="replace"))
    finally:
        os._exit(127)


def _leave_keyring() -> None:
    # A login gives its processes a common keyring, where the command would find secrets, and leave
    # keys for the next one. A kernel without keyrings refuses.
    if number := KEYCTL.get(os.uname().machine, (0, 0))[sys.maxsize < 2**32]:
        ctypes.CDLL(None).syscall(number, _JOIN_SESSION_KEYRING, None)


def _offer_to_the_oom_killer() -> None:
    # If memory runs out, the kernel should kill the build, not its slave. It may refuse to do so.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("800")


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (bound, bound))


def _watch(child: int, wake: int, spec: Spec) -> str:
    timeout = Countdown(spec["timeout"])
    reserve, totals = spec["reserve"], spec["totals"]
    tick = _TOTALS_SECONDS if totals else _TICK_SECONDS
    meter = _Meter(spec["remove"], totals)
    while True:
        wait = max(0.0, min(timeout.left(), tick))
        ready = select.select([0, wake], [], [], wait)[0]
        if wake in ready:
            numbers = os.read(wake, 4096)
            if not _ENDS.isdisjoint(numbers):
                return "stopped"
        ended = _reap(child)
        if ended is not None:
            code = os.waitstatus_to_exitcode(ended)
            return f"exit {code}" if code >= 0 else f"signal {-code}"
        if 0 in ready:
            # At its end the leash stays readable: main() sees the end again.
            os.read(0, 1)
            return "stopped"
        if timeout.left() <= 0:
            return "timeout"
        if reserve:
            disk = os.statvfs(spec["cwd"])
            if disk.f_bavail * disk.f_frsize < reserve:
                return "full"
        if exceeded := meter.exceeded():
            return exceeded


class _Meter:
    """Compares what the descendants of this process use with *totals*, their limits.

    Their folders are *folders*. Slow readings are repeated less often than the others.
    """

    def __init__(self, folders: list[str], totals: dict[str, int]) -> None:
        self._folders, self._totals = folders, totals
        self._scan = Countdown(_SCAN_SECONDS if "disk" in totals else math.inf)
        self._look = Countdown(0.0)
        self._nameless = self._in_memory = 0
        self._in_folders = 0.0

    def exceeded(self) -> str:
        """Return the name of a limit that is exceeded, or ``""``."""
        if not self._totals:
            return ""
        began = time.monotonic()
        pids = descendants(os.getpid())
        if self._look.left() <= 0:
            self._nameless, self._in_memory = nameless_files(pids, self._folders)
            self._look = Countdown(max(_TOTALS_SECONDS, _CAUTION * (time.monotonic() - began)))
        if self._scan.left() <= 0:
            began = time.monotonic()
            self._in_folders = sum(map(folder_size, self._folders))
            self._scan = Countdown(max(_SCAN_SECONDS, _CAUTION * (time.monotonic() - began)))
        used: dict[str, float] = {**use(pids)}
        # A file in memory may be mapped, too: it counts once.
        used["memory"] += max(used["shared"], self._in_memory)
        used["disk"] = self._in_folders + self._nameless
        return next((name for name, most in self._totals.items() if used[name] > most), "")


def use(pids: Iterable[int]) -> dict[str, int]:
    """Return what the processes *pids* use.

    ``processes``: their number; ``memory``: the bytes of their own, and ``shared``: those that they
    share, without files and swapped pages; ``cpu``: the seconds of processor time, with those of
    ended children.
    """
    ticks = os.sysconf("SC_CLK_TCK")
    memory = shared = cpu = count = 0
    for pid in pids:
        with suppress(OSError, ValueError, IndexError):  # it has ended
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
                times = file.read().rpartition(b")")[2].split()[11:15]
            cpu += sum(map(int, times))
            count += 1
            sizes = _sizes(f"/proc/{pid}/status")
            memory += sizes.get(b"RssAnon", 0)
            shared += _part_of(pid, sizes.get(b"RssShmem", 0))
    return {"processes": count, "memory": memory, "shared": shared, "cpu": cpu // ticks}


def _part_of(pid: int, shared: int) -> int:
    """Return the part of the process *pid* in the bytes that it shares with others."""
    if shared:
        with suppress(OSError):  # it does not let itself be examined: all of it counts
            return _sizes(f"/proc/{pid}/smaps_rollup").get(b"Pss_Shmem", shared)
    return shared


def _sizes(path: str) -> dict[bytes, int]:
    """Return the sizes in a file of /proc, in bytes."""
    with open(path, "rb") as file:  # noqa: PTH123
        lines = [line.split() for line in file]
    return {words[0].rstrip(b":"): int(words[1]) << 10 for words in lines if words[2:] == [b"kB"]}


def nameless_files(pids: Iterable[int], folders: Iterable[str]) -> tuple[int, int]:
    """Return the bytes of removed files that *pids* have open: on the disk of *folders*, elsewhere.

    Elsewhere is in memory. No directory lists these files.
    """
    devices, found = set(), {}
    for folder in folders:
        with suppress(OSError):
            devices.add(os.stat(folder).st_dev)  # noqa: PTH116
    for pid in pids:
        with suppress(OSError):
            for number in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
                with suppress(OSError):
                    about = os.stat(f"/proc/{pid}/fd/{number}")  # noqa: PTH116
                    if stat.S_ISREG(about.st_mode) and not about.st_nlink:
                        found[about.st_dev, about.st_ino] = about.st_blocks * 512
    on_disk = sum(size for (device, _), size in found.items() if device in devices)
    return on_disk, sum(found.values()) - on_disk


def folder_size(path: str) -> float:
    """Return the number of bytes that the files in the directory *path* take on its disk.

    Files take inodes, so that each counts for some bytes. The size is infinite if a path is longer
    than the kernel permits: a build could hide files there. Makes unreadable directories readable.
    """
    total, todo = 0, [path]
    while todo:
        folder = todo.pop()
        try:
            with _scan(folder) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        size = entry.stat(follow_symlinks=False).st_blocks * 512
                        total += max(size, _BYTES_PER_INODE)
                        if entry.is_dir(follow_symlinks=False):
                            todo.append(entry.path)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return math.inf
    return total


def _scan(folder: str) -> Any:
    try:
        return os.scandir(folder)
    except PermissionError:
        place = os.open(folder, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC)
        os.chmod(f"/proc/self/fd/{place}", 0o700)  # noqa: PTH101
        os.close(place)
        return os.scandir(folder)


def _own_tasks() -> int:
    """Return the number of threads of this user."""
    tasks = 0
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            with suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == os.getuid():  # noqa: PTH116
                    tasks += len(os.listdir(f"/proc/{name}/task"))  # noqa: PTH208
    return tasks


def _reap(child: int) -> int | None:
    """Reap all children that have ended; return the wait status of *child* if it is one."""
    ended = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        if pid == child:
            ended = status


def become_subreaper() -> None:
    """Become the parent of all descendants whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def is_subreaper() -> bool:
    """Return whether :func:`become_subreaper` was called."""
    answer = ctypes.c_int()
    _prctl(_PR_GET_CHILD_SUBREAPER, ctypes.addressof(answer))
    return bool(answer)


def kill_adopted(seconds: float) -> None:
    """Kill the descendants of this process, but not its own children and what is below them."""
    with _starting:
        kill_descendants(seconds, _children)


def start_child(start: Callable[[], int]) -> int:
    """Call *start*, which starts a child of this process; return its pid.

    :func:`kill_adopted` leaves it alone until :func:`forget_child`.
    """
    with _starting:
        pid = start()
        _children.add(pid)
    return pid


def forget_child(pid: int) -> None:
    """Forget the child *pid*, which has ended."""
    _children.discard(pid)


def kill_descendants(seconds: float, keep: Collection[int] = ()) -> bool:
    """Kill all descendants of this process; return whether none is left after *seconds*.

    It leaves the children *keep* alone, with all that is below them.
    """
    patience = Countdown(seconds)
    own_group = os.getpgrp()
    while True:
        tree = descendants(os.getpid(), keep)
        for pid in tree:
            with suppress(ChildProcessError):  # it has another parent
                os.waitpid(pid, os.WNOHANG)
        if not tree:
            return True
        # Kill whole groups at once, so that no member can fork in between.
        for group in set(tree.values()) - {own_group, 0, 1}:
            _kill(-group)
        for pid in tree:
            _kill(pid)
        if patience.left() <= 0:
            return False
        time.sleep(0.002)


def descendants(root: int, without: Collection[int] = ()) -> dict[int, int]:
    """Return the pid of each descendant of the process *root*, with its process group.

    The processes *without* and those below them are left out.
    """
    parents: dict[int, list[tuple[int, int]]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                    # The name of the program is in parentheses and may contain anything.
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append((int(name), int(fields[2])))
    result: dict[int, int] = {}
    todo = [root]
    while todo:
        for pid, group in parents.get(todo.pop(), ()):
            if pid not in result and pid not in without:
                result[pid] = group
                todo.append(pid)
    return result


def kill_orphans(paths: list[str]) -> None:
    """Kill the processes of this user with an environment variable in one of *paths*.

    These are the processes of a build whose supervisor was killed. A hostile build can hide from
    this.
    """
    folders = tuple(os.fsencode(path) + b"/" for path in paths)
    for name in os.listdir("/proc") if folders else ():  # noqa: PTH208
        if name.isdigit() and int(name) != os.getpid():
            with suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:  # noqa: PTH123
                values = (item.partition(b"=")[2] for item in file.read().split(b"\0"))
                if any((value + b"/").startswith(folders) for value in values):
                    _kill(int(name))


def remove_tree(path: str) -> bool:
    """Remove the directory *path* and all its content; return whether it is gone.

    ``rm`` can remove trees that are deeper than the longest path name. If it fails, ``chmod`` makes
    unreadable directories accessible first.
    """
    for command in (("rm", "-rf"), ("chmod", "-R", "u+rwX"), ("rm", "-rf")):
        if not os.path.lexists(path):
            return True
        pid = start_child(partial(_spawn_quietly, *command, "--", path))
        os.waitpid(pid, 0)
        forget_child(pid)
    return not os.path.lexists(path)


def _spawn_quietly(*command: str) -> int:
    null = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    return os.posix_spawnp(command[0], command, os.environ, file_actions=null)


def _kill(pid: int) -> None:
    # The process may have ended, or changed its user (a set-uid program).
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    arguments = map(ctypes.c_ulong, (value, 0, 0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(option, *arguments) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


def _nothing(_number: int, _frame: object) -> None:
    """Let the signal wake the loop."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
