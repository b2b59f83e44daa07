"""Has pip install a wheel, then imports its modules in a process of its own, and watches that.

It runs as a text, ``python -I -S -c TEXT PLAN``, with the Python of the build, in its sandbox. The
JSON argument is a :class:`Plan`. It writes one or two lines of JSON to standard output. The first
one is about pip, before any code of the wheel runs:

* ``said``: the last lines of its output; ``ended``: how it ended, as below.

The second one is about the import, if there is something to import:

* ``said``: lines of JSON from the process that imports. ``["import", module]`` is followed by
  ``["yes"]``, ``["needs", other module]`` or ``["no", last line of the error]``. An audit hook of
  its interpreter adds ``["connects", place]`` and ``["starts", program]``.
* ``ended``: how that process ended: its status, minus the number of a signal, ``"late"`` or
  ``"noisy"``.
* ``connects``, ``starts``: what the kernel has counted, native code included.

The modules can have their own process say anything. They cannot write to standard output.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # checkers know this name; the real one would cost the import of typing
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypedDict

    class Plan(TypedDict):
        """The command that installs *wheel* in *folder*, the *modules* to import, and time limits.

        *seconds* are those of the installation, of the import, and of both.
        """

        command: list[str]
        wheel: str
        folder: str
        modules: list[str]
        seconds: list[float]


#: The most bytes of ``said``. The process that imports ends beyond that.
MAX_SAID = 100000
#: How many connections and programs are reported, and how many characters of each text.
MAX_FLAGS, MAX_TEXT = 20, 160

#: Events (PEP 578), with the argument that names the program or the place.
STARTS = {
    "subprocess.Popen": 0, "os.system": 0, "os.exec": 0, "os.posix_spawn": 0, "os.spawn": 1,
    "os.fork": None, "os.forkpty": None,
}  # fmt: skip
CONNECTS = {
    "socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1, "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
}  # fmt: skip
#: The kernel's counters of attempts to reach somebody.
COUNTERS = (
    "Ip:OutNoRoutes", "Tcp:ActiveOpens", "Udp:OutDatagrams", "Ip6OutNoRoutes", "Udp6OutDatagrams",
)  # fmt: skip
SET_DUMPABLE, SET_SUBREAPER = 4, 36  # prctl(2)


# The process that imports -------------------------------------------------------------------------


def import_all(channel: int, folder: str, modules: Sequence[str]) -> None:
    """Import *modules* from *folder*, as if their wheel was installed there, and report each."""
    import importlib  # noqa: PLC0415 (the other process does not need it)
    import site  # noqa: PLC0415

    if hasattr(sys, "addaudithook"):  # Python 3.8
        sys.addaudithook(hook_for(channel))
    site.addsitedir(folder)
    for name in modules:
        say(channel, "import", name)
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 (SystemExit, too)
            other = missing_module(error, modules)
            say(channel, *(("needs", other) if other else ("no", last_line(error))))
        else:
            say(channel, "yes")


def say(channel: int, *words: str) -> None:
    """Write a line with *words*."""
    os.write(channel, json.dumps([word[:MAX_TEXT] for word in words]).encode() + b"\n")


def hook_for(channel: int) -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook that reports connections and programs, each once."""
    seen: set[tuple[str, str]] = set()

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in CONNECTS:
            place = args[CONNECTS[event]]
            if event == "socket.getaddrinfo":
                place = args[:2]
            parts = place[:2] if isinstance(place, tuple) else (place,)
            flag = "connects", ":".join(text(part) for part in parts if part is not None)
        elif event in STARTS:
            at = STARTS[event]
            flag = "starts", "a copy of itself" if at is None else text(args[at])
        else:
            return
        if flag not in seen and len(seen) < MAX_FLAGS:
            seen.add(flag)
            say(channel, *flag)

    return hook


def text(value: object) -> str:
    """Return a name in the arguments of an event as text."""
    return os.fsdecode(value) if isinstance(value, (bytes, os.PathLike)) else str(value)


def missing_module(error: BaseException | None, modules: Sequence[str]) -> str:
    """Return the module of another distribution that was missing; ``""`` if none was."""
    known = getattr(sys, "stdlib_module_names", sys.builtin_module_names)
    while isinstance(error, ImportError):
        if isinstance(error, ModuleNotFoundError):
            name = error.name or ""
            own = any((name + ".").startswith(each + ".") for each in modules)
            return "" if own or name.partition(".")[0] in known else name
        if getattr(error, "path", None):  # it was found: a library or a name is missing
            return ""
        error = error.__cause__ or error.__context__
    return ""


def last_line(error: BaseException) -> str:
    """Return the last line of *error* as a traceback shows it."""
    import traceback  # noqa: PLC0415 (few need it)

    lines = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


# The process that watches -------------------------------------------------------------------------


def run(
    act: Callable[[int], object], seconds: float, report: int
) -> tuple[list[str], int | str, bool]:
    """Run *act* in a new process, with a descriptor for what it says, and without *report*.

    Return the lines that it said, how it ended, and whether it has started other processes.
    """
    source, channel = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            prctl(SET_DUMPABLE, 1)
            os.close(report)
            os.close(source)
            act(channel)
            os._exit(0)
        finally:
            os._exit(1)
    prctl(SET_DUMPABLE, 0)  # no other process can change this one
    os.close(channel)
    said, killed = listen(pid, source, seconds)
    os.close(source)
    status, has_started = reap(pid)
    ended = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    return said, killed or ended, has_started


def listen(pid: int, source: int, seconds: float) -> tuple[list[str], str]:
    """Return what the process *pid* says until its end, and why it had to be killed, if it had."""
    said, end = b"", time.monotonic() + seconds
    while True:
        ready = select.select([source], [], [], 0.02)[0]
        block = os.read(source, 65536) if ready else b""
        said += block
        how = "noisy" if len(said) > MAX_SAID else "late" if time.monotonic() > end else ""
        if how:
            os.kill(pid, signal.SIGKILL)
            break
        if not block and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
            break
        if ready and not block:  # it has closed its end
            time.sleep(0.02)
    return said[:MAX_SAID].decode("utf-8", "replace").splitlines(), how


def reap(pid: int) -> tuple[int, bool]:
    """Return the status of the process *pid*, which ends, and whether it has started others."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with open("/proc/%d/stat" % pid) as file:  # noqa: PTH123, UP031
        waited_for = int(file.read().rpartition(")")[2].split()[8])  # page faults of its children
    status = os.waitpid(pid, 0)[1]
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return status, waited_for > 0
    return status, True  # orphans


def attempts() -> int:
    """Return how often this network was to reach somebody; 0 if it is not one of its own."""
    count = 0
    try:
        with open("/proc/net/dev") as file:  # noqa: PTH123
            names = [line.partition(":")[0].strip() for line in file][2:]
        for path in ("/proc/net/snmp", "/proc/net/snmp6") if names == ["lo"] else ():
            with open(path) as file:  # noqa: PTH123
                rows = [line.split() for line in file]
            pairs = [(row[0], row[1]) for row in rows if len(row) == 2]
            for heads, values in zip(rows[::2], rows[1::2]):  # noqa: B905 (from Python 3.10 on)
                pairs += [(heads[0] + head, values[at]) for at, head in enumerate(heads)]
            count += sum(int(value) for name, value in pairs if name in COUNTERS)
    except (OSError, ValueError):
        pass
    return count


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process, if that is possible."""
    try:
        import ctypes  # noqa: PLC0415 (an interpreter may lack it)

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass


def execute(command: list[str], channel: int) -> None:
    """Become *command*, whose output goes to *channel*."""
    os.dup2(channel, 1)
    os.dup2(channel, 2)
    os.execvp(command[0], command)  # noqa: S606


def main(plan: Plan) -> None:
    """Carry out *plan*, and report."""
    report = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    prctl(SET_SUBREAPER, 1)
    install, import_, both = plan["seconds"]
    end = time.monotonic() + both
    said, ended, _ = run(
        lambda channel: execute(plan["command"], channel), min(install, both), report
    )
    os.unlink(plan["wheel"])  # noqa: PTH108 (no import of pathlib)
    write(report, {"said": said[-MAX_FLAGS:], "ended": ended})
    left = min(import_, end - time.monotonic())
    if ended == 0 and plan["modules"] and left > 0:
        before = attempts()
        said, ended, starts = run(
            lambda channel: import_all(channel, plan["folder"], plan["modules"]), left, report
        )
        connects = attempts() > before
        write(report, {"said": said, "ended": ended, "connects": connects, "starts": starts})


def write(report: int, found: dict[str, object]) -> None:
    """Write a line of JSON."""
    data = json.dumps(found).encode() + b"\n"
    while data:
        data = data[os.write(report, data) :]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
