"""Finds the versions of packages, and registers them with the master.

pip targets the index (:mod:`piwheels.core.host.pip_config`), for several names at once, in a child
process (``python -m piwheels.up.registry 3.X NAME...``). The child and its pips end with this
process, even if it is killed. It prints a line of JSON for each name.
"""

from __future__ import annotations

import json
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from packaging.requirements import InvalidRequirement, Requirement

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import BadMessage, PiWheelsError, Refused, Unavailable, one_line
from piwheels.core.farm import ANSWER_LIMIT, Farm
from piwheels.core.host.pip_config import source_versions
from piwheels.core.protocols import FIRST_IMPORT
from piwheels.core.states import BuildState, FileState
from piwheels.core.wheels.built import Wheel
from piwheels.core.wheels.dependencies import System, library_dependencies
from piwheels.up.child import Child
from piwheels.up.restarts import RESTARTS
from piwheels.up.summary import NO_SOURCES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from piwheels.core.keys.files import KeyPair
    from piwheels.up.summary import Target

#: The number of names to look up in parallel: each pip uses a processor for a second.
PARALLEL: Final = 4
#: The limit in seconds for all names together: for each name, and at least.
PER_NAME, MIN_LIMIT = 60.0, 300.0
#: The report on a name that cannot be built, by the code of the refusal.
PROBLEMS: Final = {"NOPKG": "not found", "NOVER": NO_SOURCES}
UNREACHABLE: Final = "index unreachable"
#: The skip reason of versions whose upstream wheel was imported.
IMPORTED: Final = "it was not built here: its wheel is the one of the upstream index"


class Resolver:
    """Finds the newest version with a source distribution for each of *names*.

    A name may have a specifier (PEP 508: ``six>=1.5``). *python_version* (``"3.11"``) is the
    Python that they are for.
    """

    def __init__(self, names: Sequence[str], python_version: str) -> None:
        self._left = set(names)
        limit = max(MIN_LIMIT, PER_NAME * len(names))
        args = [python_version, *names]
        self._lookup = Child("piwheels.up.registry", args, limit) if names else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel the lookup. May be called again."""
        if self._lookup is not None:
            self._lookup.close()

    def results(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield the new results, without waiting: name, version, problem, detail (``""``: none)."""
        if self._lookup is None:
            return
        for answer in self._lookup.answers():
            result = _checked(answer)
            if result is not None and result[0] in self._left:
                self._left.discard(result[0])
                yield result
        if self._lookup.ended:
            why = self._lookup.last_words or "the lookup with pip ended early"
            for name in sorted(self._left):
                yield name, "", UNREACHABLE, why
            self._left.clear()
        elif not self._left:
            self.close()


def _checked(parts: Any) -> tuple[str, str, str, str] | None:
    if not (isinstance(parts, list) and len(parts) == 4 and all(isinstance(p, str) for p in parts)):
        return None
    name, version, problem, detail = parts
    return name, version, problem, detail


class Registrar(Farm):
    """Registers what is to be built with the master; *follow*: it follows the index, too."""

    def __init__(
        self,
        address: str,
        meanwhile: Callable[[], None],
        key: KeyPair | None = None,
        *,
        files: str = "",
        follow: bool,
    ) -> None:
        super().__init__(address, files=files, key=key, patience=ANSWER_LIMIT, meanwhile=meanwhile)
        self._newest = SYSTEM.now()
        self._follow = follow

    def refresh_pages(self) -> None:
        """Wait for the master, and rebuild the pages that contain the site's address.

        The address may have changed since the last start.
        """
        _repeated(self._refresh_pages)

    def _refresh_pages(self) -> None:
        self.rebuild("home")
        self.rebuild("project")

    def register(self, target: Target) -> None:
        """Register the version of *target*, if it has one; note in it if the master refuses."""
        # Versions are built in the order of their release; this makes it the order of the requests.
        self._newest += timedelta(milliseconds=1)
        try:
            _repeated(partial(self._register, target))
        except Refused as exc:
            target.problem, target.detail = "refused", str(exc)
        except BadMessage as exc:  # no message can have it
            why = str(exc).rpartition(": ")[2]
            target.problem, target.detail = "refused", f"its name or version is {why}"

    def _register(self, target: Target) -> None:
        self.add_package(target.package)
        unskip = target.is_imported  # it is to be built now
        if target.is_imported:
            self.remove_version(*target.key, builds=True)
        if target.version:
            self.add_version(*target.key, released=self._newest, unskip=unskip)
        if target.watched and self._follow:
            self.watch(target.package)

    def import_wheel(self, target: Target, path: Path, abi: str) -> None:
        """Import the upstream wheel of *target* at *path*, for *abi*; its version is not built.

        Raises :exc:`Refused`, :exc:`BadMessage` or :exc:`BadWheel`.
        """
        wheel = Wheel(path, package=target.package, version=target.version)
        wheel.libraries = library_dependencies(path, System())
        files = {wheel.filename: FileState.from_message(wheel.as_message())}
        about = target.package, target.version, abi, True, timedelta(0), f"piwheels: {IMPORTED}\n"

        def send() -> None:
            self.add_package(target.package)
            self.add_version(*target.key, skip=IMPORTED)
            number = FIRST_IMPORT + secrets.randbits(62)
            self.import_build(BuildState(number, *about, files), [wheel])

        _repeated(send)


def _repeated(requests: Callable[[], None]) -> None:
    """Do *requests*, again if the master is lost meanwhile: it is started again."""
    for _ in range(RESTARTS):
        try:
            return requests()
        except Unavailable:
            continue
    return requests()


def main(python_version: str, names: Sequence[str]) -> None:
    """Look up the newest release of each of *names*; write one line for each."""

    def find(name: str) -> str:
        result = [name, "", "", ""]
        try:
            need = Requirement(name)
            versions = source_versions(need.name, python_version)
            result[1] = next(iter(need.specifier.filter(versions)), "")
            if not result[1]:
                raise Refused("NOVER", f"no version of it with sources is {need.specifier}")
        except Refused as exc:
            result[2:] = PROBLEMS.get(exc.code, "refused"), str(exc)
        except InvalidRequirement as exc:
            result[2:] = "refused", one_line(exc)
        except PiWheelsError as exc:
            result[2:] = UNREACHABLE, str(exc)
        return json.dumps(result)

    with ThreadPoolExecutor(PARALLEL) as pool:
        for line in pool.map(find, names):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
