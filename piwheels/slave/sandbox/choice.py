"""The choice of a sandbox: the strongest one that works on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from piwheels.core.errors import Fatal
from piwheels.core.host.commands import ask, last_line
from piwheels.core.program.builds import SANDBOXES
from piwheels.slave.sandbox import landlock, seccomp
from piwheels.slave.sandbox.bubblewrap import Bubblewrap, find_program
from piwheels.slave.sandbox.view import build_paths, view_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from piwheels.slave.sandbox.view import View

#: The devices and files that a build may use, with Landlock.
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
_TRIAL_SECONDS: Final = 30.0


class Sandbox(Protocol):
    """Confines the commands of builds."""

    @property
    def name(self) -> str:
        """One of :data:`~piwheels.core.program.builds.SANDBOXES`."""

    @property
    def own_network(self) -> bool:
        """Whether a command with a port has a network of its own."""

    @property
    def own_processes(self) -> bool:
        """Whether a command sees only processes that it has started."""

    @property
    def can_overlay(self) -> bool:
        """Whether it has :meth:`overlaid`."""

    def overlaid(self, layer: Path) -> Self:
        """Return a sandbox like this one, in which the files of the root *layer* are, too.

        Raises :exc:`LookupError` if it cannot have them.
        """

    def inside(self, work: Path) -> Path:
        """Return where a build sees its folder *work*."""

    def command(self, work: Path, command: Sequence[str], port: int | None = None) -> list[str]:
        """Return the command that runs *command* with the folder *work*.

        It may connect only to *port* on 127.0.0.1 (``None``: to everything; 0: to nothing).
        """


class NoSandbox:
    """Runs builds as ordinary processes of this user."""

    name = "none"
    own_network = own_processes = can_overlay = False

    def overlaid(self, layer: Path) -> Self:
        """Raise :exc:`LookupError`."""
        raise LookupError("this sandbox cannot show packages to one build only")

    def inside(self, work: Path) -> Path:
        """Return where a build sees its folder *work*: there."""
        return work

    def command(self, work: Path, command: Sequence[str], port: int | None = None) -> list[str]:
        """Return *command*."""
        return list(command)


class Landlock(NoSandbox):
    """Lets builds read *view*, and write in their folder."""

    name = "landlock"

    def __init__(self, view: View) -> None:
        self._read = [*map(str, view.paths), "/proc"]

    def command(self, work: Path, command: Sequence[str], port: int | None = None) -> list[str]:
        """Return the command that runs *command* with the folder *work*."""
        writable = [str(work), *_DEVICES]
        rules: landlock.Rules = {"read": self._read, "write": writable, "port": port}
        return [sys.executable, "-I", "-S", landlock.__file__, json.dumps(rules), *command]


class Choice(NamedTuple):
    """A sandbox, and sentences about what it does not protect."""

    sandbox: Sandbox
    warnings: list[str]

    @property
    def confinement(self) -> str:
        """The name of the sandbox, and what it lacks on this machine: ``signals``, ``sockets``."""
        lacks = []
        if self.sandbox.name == "landlock":
            lacks += ["signals"] if landlock.version() < landlock.SCOPES else []
            lacks += ["sockets"] if not seccomp.works() else []
        return ", ".join([self.sandbox.name, *lacks])


def choose(  # noqa: PLR0917
    mode: str,
    python: Path,
    pip: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    port: int | None = None,
) -> Choice:
    """Return the sandbox *mode*, or for ``auto`` the strongest one that works.

    Builds are for the interpreter *python*, run the command *pip*, have a folder of their own in
    *folder* and about this *environment*; *port* is as in :meth:`Sandbox.command`. Raises
    :exc:`~piwheels.core.errors.Fatal` if *mode* does not work here.
    """
    problems: dict[str, str] = {}
    if mode == "none":
        return Choice(NoSandbox(), _warnings(mode, problems, port))
    needed = build_paths([python, Path(sys.executable)], environment)
    view = view_of(needed, [Path.home(), folder])
    trial = [*pip, "--version"]
    for name in SANDBOXES if mode == "auto" else (mode,):
        try:
            sandbox = _make(name, view)
        except LookupError as error:
            problems[name] = str(error)
            continue
        if name == "none" or not (why := problem(sandbox, trial, folder, port)):
            if isinstance(sandbox, Bubblewrap):
                sandbox.can_overlay = _shows_layers(sandbox, python, folder)
            return Choice(sandbox, _warnings(name, problems, port))
        problems[name] = why
    raise Fatal(f"the sandbox {mode} does not work here ({problems[mode]}): choose another one")


def _make(name: str, view: View) -> Sandbox:
    if name == "bwrap":
        return Bubblewrap(find_program(), view)
    if name == "landlock":
        if not landlock.version():
            raise LookupError("this kernel has no Landlock")
        return Landlock(view)
    return NoSandbox()


def problem(sandbox: Sandbox, trial: Sequence[str], folder: Path, port: int | None) -> str:
    """Return why *sandbox* does not run *trial*; ``""`` if it does."""
    with tempfile.TemporaryDirectory(prefix="piw-sandbox-", dir=folder) as place:
        work = Path(place)
        for name in ("home", "tmp"):
            (work / name).mkdir()
        try:
            answer = ask(sandbox.command(work, trial, port), _TRIAL_SECONDS)
        except subprocess.TimeoutExpired:
            return f"a trial does not end within {_TRIAL_SECONDS:g} s"
        except OSError as error:
            return error.strerror or str(error)
    if not answer.returncode:
        return ""
    words = last_line(answer.stderr or answer.stdout)[:300]
    return words or f"a trial ends with status {answer.returncode}"


def _shows_layers(sandbox: Bubblewrap, python: Path, folder: Path) -> bool:
    """Return whether *sandbox* can be overlaid: by its version, the kernel and the file systems."""
    with tempfile.TemporaryDirectory(prefix="piw-layer-", dir=folder) as place:
        layer = Path(place)
        for name in ("usr", "etc"):
            (layer / name).mkdir()
        (layer / "usr" / layer.name).touch()
        code = f"import os; os.stat('/usr/{layer.name}')"
        trial = [str(python), "-I", "-S", "-c", code]
        return not problem(sandbox.overlaid(layer), trial, folder, None)


def _warnings(name: str, problems: dict[str, str], port: int | None) -> list[str]:
    why = "; ".join(f"{each}: {problem}" for each, problem in problems.items())
    why = f" ({why})" if why else ""
    version = landlock.version() if name == "landlock" else 0
    words = []
    if name == "none":
        words.append(f"builds are not confined: they can do what this user can{why}")
    if name == "landlock":
        words.append(f"builds are confined by Landlock only: they share /proc and the network{why}")
        if version < landlock.SCOPES:
            words.append("builds can signal this user's processes (that needs Linux 6.12)")
        if not seccomp.works():
            words.append("builds can use Unix sockets and datagrams (no seccomp here)")
    if name != "bwrap" and port is not None and version < landlock.PORTS:
        words.append("builds can pass by the proxy: only bubblewrap or Linux 6.7 prevents that")
    return words
