"""Has pip install a wheel in a sandbox, then imports its modules there."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Final

from piwheels.core.clock import SYSTEM
from piwheels.core.host.commands import last_line
from piwheels.core.host.processes import Supervised, build_environment
from piwheels.core.states import Trial
from piwheels.core.text import clean
from piwheels.core.wheels.integrity import recorded_paths
from piwheels.core.wheels.modules import import_names
from piwheels.slave.limits import MAX_FILE, MAX_OPEN_FILES, RESERVE
from piwheels.slave.trials import inside
from piwheels.slave.trials.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from piwheels.core.clock import Clock
    from piwheels.core.host.processes import Ending
    from piwheels.slave.limits import Limits
    from piwheels.slave.sandbox.choice import Sandbox

#: The options of pip.
PIP_OPTIONS: Final = (
    "--no-deps", "--no-index", "--no-compile", "--no-cache-dir", "--no-input", "--no-color",
    "--progress-bar=off", "--disable-pip-version-check",
)  # fmt: skip
#: How long pip may install, and how long the modules may be imported, in seconds.
INSTALL_SECONDS: Final = 300.0
IMPORT_SECONDS: Final = 60.0
#: How long the process that watches an import may take for its report.
_REPORT_SECONDS: Final = 10.0
#: Runs a text. Interpreters before Python 3.7 could not: they end.
_START: Final = "import sys; sys.exit() if sys.version_info < (3, 7) else exec(sys.argv.pop(1))"
#: The most bytes of output that are kept: the last ones.
_MAX_OUTPUT: Final = 2 * 10**6
#: What pip says of a wheel for other interpreters: the master has better words for it.
_FOREIGN: Final = "is not a supported wheel on this platform"


class Trials:
    """Tries the wheels of one build. *python* is its interpreter, *pip* the command for it."""

    def __init__(
        self,
        pip: Sequence[str],
        python: Path | None,
        sandbox: Sandbox,
        limits: Limits,
        clock: Clock = SYSTEM,
    ) -> None:
        self._pip = pip
        self._python = str(python or sys.executable)
        self._sandbox = sandbox
        self._limits = limits
        self._clock = clock
        self._process: Supervised | None = None
        self._stopping = Event()

    def stop(self) -> None:
        """End the trial that runs, and all later ones at once."""
        self._stopping.set()
        if self._process is not None:
            self._process.stop()

    def run(self, wheel: Path, work: Path, seconds: float) -> Trial:
        """Try *wheel* in the new folder *work* of the same disk, within *seconds*.

        Raises ``OSError``, and ``BadWheel`` for an unreadable wheel.
        """
        modules = import_names(recorded_paths(wheel))
        end = self._clock.monotonic() + seconds
        trial = Trial(wheel.name)
        for name in ("home", "tmp", "site"):
            (work / name).mkdir(parents=True, mode=0o700)
        place = self._sandbox.inside(work)
        copy = work / wheel.name
        # A hard link suffices as long as no code of the wheel runs, and nothing else does.
        os.link(wheel, copy)
        with ExitStack() as stack:
            install = [
                "install",
                *PIP_OPTIONS,
                f"--target={place / 'site'}",
                str(place / wheel.name),
            ]
            ending, output = self._call([*self._pip, *install], work, INSTALL_SECONDS, end, stack)
            copy.unlink()
            if ending.kind != "exit":
                return trial._replace(why=f"pip was stopped: {self._reason(ending)}")
            if not ending.success:
                words = last_line(output.decode("utf-8", "replace"))
                if _FOREIGN in words:
                    return trial
                return trial._replace(installs=False, why=clean(words.removeprefix("ERROR: ")))
            trial = trial._replace(installs=True)
            if not modules or self._stopping.is_set():
                return trial
            left = end - self._clock.monotonic() - _REPORT_SECONDS
            seconds = min(IMPORT_SECONDS, left)
            if seconds <= 0:
                return trial
            text = Path(inside.__file__).read_text(encoding="utf-8")
            command = [self._python, "-I", "-S", "-c", _START, text, str(place / "site")]
            command += [str(seconds)]
            limit = seconds + _REPORT_SECONDS
            ending, output = self._call([*command, *modules], work, limit, end, stack)
        if self._stopping.is_set() or (ending.success and not output):
            return trial
        if ending.kind not in ("exit", "signal"):
            return trial._replace(imports=False, why=self._reason(ending))
        return trial._replace(**verdict(modules, output)._asdict())

    def _reason(self, ending: Ending) -> str:
        return self._limits.reason(ending.kind).partition(": ")[2] or " ".join(ending).strip()

    def _call(
        self, command: Sequence[str], work: Path, limit: float, end: float, stack: ExitStack
    ) -> tuple[Ending, bytes]:
        """Run *command* in the sandbox, without a network; return its end and its output."""
        place = self._sandbox.inside(work)
        self._process = process = stack.enter_context(
            Supervised(
                self._sandbox.command(work, command, 0),
                env=build_environment(place / "home", place / "tmp", {}),
                cwd=work / "tmp",
                timeout=max(0.0, min(limit, end - self._clock.monotonic())),
                remove=[work],
                limits={"FSIZE": MAX_FILE, "NOFILE": MAX_OPEN_FILES},
                reserve=RESERVE,
                totals=self._limits.totals(),
                clock=self._clock,
            )
        )
        if self._stopping.is_set():  # before the process existed
            process.stop()
        output = b""
        for block in iter(process.read, b""):
            output = (output + block)[-_MAX_OUTPUT:]
        return process.wait(), output
