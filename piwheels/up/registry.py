"""Finds the versions of packages, and registers them with the master.

pip asks the index (:mod:`piwheels.core.host.pip_config`), for several names at once, in a child
process (``python -m piwheels.up.registry 3.X NAME...``). The child and its pips end with this
process, even if it is killed. It prints a line of JSON for each name.
"""

from __future__ import annotations

import json
import os
import select
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from packaging.requirements import Requirement

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import PiWheelsError, Refused
from piwheels.core.farm import ANSWER_LIMIT, Farm
from piwheels.core.host.pip_config import source_versions
from piwheels.core.host.processes import Supervised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from piwheels.up.summary import Ask

#: The number of names to look up in parallel: each pip uses a processor for a second.
AT_ONCE: Final = 4
#: The limit in seconds for all names together: for each name, and at least.
PER_NAME, AT_LEAST = 60.0, 300.0
#: The report on a name that cannot be built, by the code of the refusal.
PROBLEMS: Final = {"NOPKG": "not found", "NOVER": "no source distribution"}
UNREACHABLE: Final = "index unreachable"


class Resolver:
    """Finds the newest version with a source distribution for each of *names*.

    A name may have a specifier (PEP 508: ``six>=1.5``). *python_version* (``"3.11"``) is the
    Python that they are for.
    """

    def __init__(self, names: Sequence[str], python_version: str) -> None:
        self._left = set(names)
        self._buffer = b""
        self._questions = None
        if names:
            module = "piwheels.up.registry"
            self._questions = Supervised(
                [sys.executable, "-P", "-m", module, python_version, *names],
                env=os.environ,
                cwd=Path.cwd(),
                timeout=max(AT_LEAST, PER_NAME * len(names)),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel the lookup. May be called again."""
        if self._questions is not None:
            self._questions.close()
            self._questions = None

    def answers(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield the new results, without waiting: name, version, problem, detail (``""``: none)."""
        if self._questions is None:
            return
        output = self._questions.output
        while self._left and select.select([output], [], [], 0)[0]:
            block = self._questions.read()
            *lines, self._buffer = (self._buffer + block).split(b"\n")
            for line in lines:
                answer = _answer(line)
                if answer is not None and answer[0] in self._left:
                    self._left.discard(answer[0])
                    yield answer
            if not block:
                why = self._buffer.decode(errors="replace")[-200:].strip()
                for name in sorted(self._left):
                    yield name, "", UNREACHABLE, why or "the lookup with pip ended early"
                self._left.clear()
        if not self._left:
            self.close()


def _answer(line: bytes) -> tuple[str, str, str, str] | None:
    try:
        parts = json.loads(line)
    except ValueError:
        return None
    if not (isinstance(parts, list) and len(parts) == 4 and all(isinstance(p, str) for p in parts)):
        return None
    name, version, problem, detail = parts
    return name, version, problem, detail


class Registrar(Farm):
    """Registers what is to be built with the master."""

    def __init__(self, address: str, meanwhile: Callable[[], None]) -> None:
        super().__init__(address, patience=ANSWER_LIMIT, meanwhile=meanwhile)
        self._newest = SYSTEM.now()

    def greet(self) -> None:
        """Wait for the master, and have the pages that name the site's address written again.

        The address may have changed since the last start.
        """
        self.rebuild("home")
        self.rebuild("project")

    def register(self, ask: Ask) -> None:
        """Register the version of *ask*; note in it if the master refuses."""
        # Versions are built in the order of their release; this makes it the order of the requests.
        self._newest += timedelta(milliseconds=1)
        try:
            self.add_package(ask.package)
            self.add_version(*ask.key, released=self._newest)
            if ask.watched:
                self.watch(ask.package)
        except Refused as exc:
            ask.problem, ask.detail = "refused", str(exc)


def main(python_version: str, names: Sequence[str]) -> None:
    """Look up the newest release of each of *names*; write one line for each."""

    def find(name: str) -> str:
        answer = [name, "", "", ""]
        try:
            need = Requirement(name)
            versions = source_versions(need.name, python_version)
            fit = need.specifier.filter(versions)
            answer[1] = next(iter(fit), "")
            if not answer[1]:
                raise Refused("NOVER", f"no version of it with sources is {need.specifier}")
        except Refused as exc:
            answer[2:] = PROBLEMS.get(exc.code, "refused"), str(exc)
        except PiWheelsError as exc:
            answer[2:] = UNREACHABLE, str(exc)
        return json.dumps(answer)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for line in pool.map(find, names):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
