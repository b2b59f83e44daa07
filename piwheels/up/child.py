"""A program that piw-up runs for its answers: lines of JSON, which are read without waiting."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from piwheels.core.host.processes import Supervised
from piwheels.core.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from piwheels.core.host.launcher import Launcher

#: Seconds that a program has to end.
_STOP_LIMIT: Final = 10.0


class Child:
    """The program *module* with *args*, for at most *seconds*; it ends with this process.

    With a *launcher*, it runs as the user of that, in the environment *env*. What it prints and is
    no line of JSON is :attr:`last_words`. Call :meth:`close` at the end.
    """

    def __init__(
        self,
        module: str,
        args: Sequence[str],
        seconds: float,
        launcher: Launcher | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        command = [sys.executable, "-P", "-m", module, *args]
        env = os.environ if env is None else env
        self._program: _Launched | Supervised
        if launcher is None:
            self._program = Supervised(command, env=env, cwd=Path.cwd(), timeout=seconds)
        else:
            self._program = _Launched(launcher, command, env)
        self._buffer = b""
        self.last_words = ""
        self.ended = False

    def answers(self) -> Iterator[Any]:
        """Yield the new answers, without waiting; at the end, close it."""
        while not self.ended and select.select([self._program.output], [], [], 0)[0]:
            block = self._program.read()
            *lines, self._buffer = (self._buffer + block).split(b"\n")
            if not block:
                lines.append(self._buffer)
                self.close()
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    if text := line.decode(errors="replace").strip():
                        self.last_words = clean(text, 200)

    def close(self) -> None:
        """End the program. May be called again."""
        if not self.ended:
            self.ended = True
            self._program.close()


class _Launched:
    """A program of another user, with the methods of :class:`Supervised` that a child needs."""

    def __init__(self, launcher: Launcher, command: Sequence[str], env: Mapping[str, str]) -> None:
        ours, theirs = os.pipe()
        self.output: IO[bytes] = open(ours, "rb", buffering=0)  # noqa: PTH123, SIM115 (a pipe)
        try:
            self._process = launcher.start(command, env, theirs, [])
        finally:
            os.close(theirs)

    def read(self) -> bytes:
        return self.output.read(65536)

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.output.close()
