"""Has pip install a wheel in a sandbox, then imports its modules there."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Final

from piwheels.core.clock import SYSTEM
from piwheels.core.host.processes import Supervised, build_environment
from piwheels.core.states import Trial
from piwheels.core.wheels.integrity import recorded_paths
from piwheels.core.wheels.modules import import_names
from piwheels.slave.limits import MAX_FILE, MAX_OPEN_FILES, RESERVE
from piwheels.slave.trials import inside
from piwheels.slave.trials.verdict import pip_verdict, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from piwheels.core.clock import Clock
    from piwheels.core.host.processes import Ending
    from piwheels.slave.limits import Limits
    from piwheels.slave.sandbox.choice import Sandbox

#: The options of pip.
PIP_OPTIONS: Final = (
    "--no-deps", "--no-index", "--no-compile", "--no-cache-dir", "--no-input", "--no-color",
    "--progress-bar=off", "--disable-pip-version-check", "--quiet",
)  # fmt: skip
#: How long pip may install, and how long the modules may be imported, in seconds.
INSTALL_SECONDS: Final = 300.0
IMPORT_SECONDS: Final = 60.0
#: How long the process that watches may take for its reports.
_REPORT_SECONDS: Final = 10.0
#: The most bytes of reports.
_MAX_OUTPUT: Final = 10**6
#: Runs a text. Interpreters before Python 3.7 could not: they end.
_START: Final = "import sys; sys.exit() if sys.version_info < (3, 7) else exec(sys.argv.pop(1))"


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

    def run(self, wheel: Path, folder: Path, seconds: float) -> Trial:
        """Try *wheel* in a new folder in *folder*, of the same disk, within *seconds*.

        Raises ``OSError``, and ``BadWheel`` for an unreadable wheel.
        """
        modules = import_names(recorded_paths(wheel))
        # The build may have made files here: no name that it could know.
        work = Path(tempfile.mkdtemp(prefix="trial-", dir=folder))
        for name in ("home", "tmp", "site"):
            (work / name).mkdir(mode=0o700)
        # A link suffices: it goes before any code of the wheel runs.
        os.link(wheel, work / wheel.name)
        ending, output = self._call(wheel.name, modules, work, seconds)
        trial = Trial(wheel.name)
        if self._stopping.is_set() or (ending.success and not output):
            return trial
        installation, _, found = output.partition(b"\n")
        installs, why = pip_verdict(installation)
        trial = trial._replace(installs=installs, why=why)
        if not installs or not modules or (ending.success and not found):
            return trial
        if not found and ending.kind not in ("exit", "signal"):
            why = self._limits.reason(ending.kind).partition(": ")[2] or ending.kind
            return trial._replace(imports=False, why=why)
        return trial._replace(**verdict(modules, found)._asdict())

    def _call(
        self, name: str, modules: list[str], work: Path, seconds: float
    ) -> tuple[Ending, bytes]:
        """Run :mod:`~piwheels.slave.trials.inside` in the sandbox, without a network."""
        place = self._sandbox.inside(work)
        variables = build_environment(place / "home", place / "tmp", {})
        wheel, folder = str(place / name), str(place / "site")
        plan: inside.Plan = {
            "command": [*self._pip, "install", *PIP_OPTIONS, f"--target={folder}", wheel],
            "wheel": wheel, "folder": folder, "modules": modules,
            "seconds": [INSTALL_SECONDS, IMPORT_SECONDS, seconds],
        }  # fmt: skip
        text = Path(inside.__file__).read_text(encoding="utf-8")
        command = [self._python, "-I", "-S", "-c", _START, text, json.dumps(plan)]
        with Supervised(
            self._sandbox.command(work, command, 0),
            # A proxy may have a password, and there is no network.
            env={key: text for key, text in variables.items() if "proxy" not in key.lower()},
            cwd=work / "tmp",
            timeout=min(INSTALL_SECONDS + IMPORT_SECONDS, max(seconds, 0.0)) + _REPORT_SECONDS,
            remove=[work],
            limits={"FSIZE": MAX_FILE, "NOFILE": MAX_OPEN_FILES},
            reserve=RESERVE,
            totals=self._limits.totals(),
            clock=self._clock,
        ) as process:
            self._process = process
            if self._stopping.is_set():  # before the process existed
                process.stop()
            output = b""
            for block in iter(process.read, b""):
                output = (output + block)[:_MAX_OUTPUT]
            return process.wait(), output
