"""A wheel that a build has made: its metadata, its dependencies, and its transfer."""

from __future__ import annotations

import hashlib
import logging
import os
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, Literal

import zmq
from packaging.markers import UndefinedComparison, UndefinedEnvironmentName, default_environment
from packaging.requirements import InvalidRequirement, Requirement

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import Unavailable
from piwheels.core.states import FileState, Trial
from piwheels.core.wheels.inspection import inspect_wheel
from piwheels.core.wheels.tags import canonical, parse_filename

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from piwheels.core.transport import Socket

    Tool = Literal["apt", "pip", ""]

#: Seconds of silence from the master before HELLO is sent again, and before the transfer fails.
HELLO_SECONDS = 5.0
SILENCE_SECONDS = 300.0
#: Seconds between two calls of *check* during a wait.
CHECK_SECONDS = 0.5
#: The size limit of one chunk, in bytes, whatever the master asks for.
MAX_CHUNK = 4 * 2**20
#: How many dependencies of one tool are reported.
MAX_NAMES = 500


class Wheel:
    """The wheel at *path*. The constructor parses its name and validates its content.

    *apt_dependencies* are the Debian packages that it needs; *package* and *version* are the
    expected ones (default: those of its name). Raises :exc:`~piwheels.core.errors.BadWheel`.
    """

    def __init__(
        self,
        path: Path,
        apt_dependencies: Iterable[str] | None = None,
        *,
        package: str | None = None,
        version: str | None = None,
    ) -> None:
        self.path = path
        #: System dependencies by tool: ``"apt"``, or ``""`` for libraries without a known package.
        self.libraries: Mapping[str, Sequence[str]] = {"apt": sorted(apt_dependencies or ())}
        #: What came of its trial.
        self.trial = Trial(path.name)
        self._name = parse_filename(path.name)
        self._inspected = inspect_wheel(path, package=package, version=version)

    def __repr__(self) -> str:
        return f"<Wheel {self.filename}>"

    @property
    def filename(self) -> str:
        """The name of the file, without a directory."""
        return self.path.name

    @cached_property
    def filesize(self) -> int:
        """The size of the file in bytes."""
        return self.path.stat().st_size

    @cached_property
    def filehash(self) -> str:
        """The SHA-256 of the file, in hexadecimal."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def package_tag(self) -> str:
        """The package, as the file name spells it."""
        return self._name.package

    @property
    def package_canon(self) -> str:
        """The normalized name of the package (PEP 503)."""
        return canonical(self._name.package)

    @property
    def package_version_tag(self) -> str:
        """The version, as the file name spells it."""
        return self._name.version

    @property
    def build_tag(self) -> str | None:
        """The build tag, or ``None`` if the file name has none."""
        return self._name.build or None

    @property
    def py_version_tag(self) -> str:
        """The Python tag (PEP 425)."""
        return self._name.py

    @property
    def abi_tag(self) -> str:
        """The ABI tag (PEP 425)."""
        return self._name.abi

    @property
    def platform_tag(self) -> str:
        """The platform tag (PEP 425)."""
        return self._name.platform

    @property
    def metadata(self) -> bytes:
        """The exact bytes of the METADATA file."""
        return self._inspected.metadata

    @property
    def requires_python(self) -> str | None:
        """The supported Python versions as a specifier (PEP 440), or ``None``."""
        return self._inspected.requires_python

    @property
    def dependencies(self) -> dict[Tool, set[str]]:
        """The dependencies by tool (``"apt"``, ``"pip"``, ``""``), without empty ones."""
        found: dict[Tool, set[str]] = {
            "apt": self.apt_dependencies,
            "pip": self.pip_dependencies,
            "": self.orphan_dependencies,
        }
        return {tool: names for tool, names in found.items() if names}

    @property
    def apt_dependencies(self) -> set[str]:
        """The Debian packages that provide the required libraries."""
        return set(self.libraries.get("apt", ()))

    @property
    def orphan_dependencies(self) -> set[str]:
        """The required libraries that no known package provides."""
        return set(self.libraries.get("", ()))

    @cached_property
    def pip_dependencies(self) -> set[str]:
        """The required Python packages (see :meth:`calc_pip_dependencies`)."""
        return self.calc_pip_dependencies()

    def calc_pip_dependencies(self) -> set[str]:
        """Return the normalized names of the required packages, without those of extras.

        Markers (PEP 508) are evaluated for this machine and, if the wheel is for one Python
        version, for that version.
        """
        environment: dict[str, Any] = {**default_environment(), "extra": ""}
        if self.py_version_tag.startswith("cp3") and self.py_version_tag[3:].isdigit():
            environment["python_version"] = f"3.{self.py_version_tag[3:]}"
            environment["python_full_version"] = f"3.{self.py_version_tag[3:]}.0"
        names = (_required_name(line, environment) for line in self._inspected.requires_dist)
        return {name for name in names if name}

    def as_message(self) -> list[Any]:
        """Return the file state for the ``BUILT`` message (docs/protocols.md)."""
        needs: dict[Tool, list[str]] = {
            tool: sorted(names)[:MAX_NAMES] for tool, names in self.dependencies.items()
        }
        return FileState(
            filename=self.filename,
            filesize=self.filesize,
            filehash=self.filehash,
            package_tag=self.package_tag,
            package_version_tag=self.package_version_tag,
            py_version_tag=self.py_version_tag,
            abi_tag=self.abi_tag,
            platform_tag=self.platform_tag,
            requires_python=self.requires_python,
            dependencies=needs,
        ).as_message()

    def transfer(
        self,
        queue: Socket,
        slave_id: int,
        check: Callable[[], None] = lambda: None,
        sent: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Send the file over *queue*, a DEALER socket to the master's file wire, as *slave_id*.

        *check* is called at least twice a second and may raise to end the transfer; *sent* is
        called with the number of bytes of each chunk. Returns when the master has the whole file.
        Only bytes within the file are sent, whatever the master asks for. Raises
        :exc:`~piwheels.core.errors.Unavailable` after five minutes of silence from the master.
        """
        queue.drain()  # messages left over from an earlier transfer
        hello = [b"HELLO", str(slave_id).encode()]
        _send(queue, hello, check)
        asked = heard = SYSTEM.monotonic()
        with self.path.open("rb", buffering=0) as file:
            while True:
                check()
                if not queue.poll(min(HELLO_SECONDS, CHECK_SECONDS)):
                    now = SYSTEM.monotonic()
                    if now - heard > SILENCE_SECONDS:
                        raise Unavailable(f"the master has stopped fetching {self.filename}")
                    if now - asked > HELLO_SECONDS:
                        _send(queue, hello, check)
                        asked = now
                    continue
                asked = SYSTEM.monotonic()
                match queue.recv_multipart():
                    case [b"DONE"]:
                        return
                    case [b"FETCH", offset, length]:
                        if count := self._send_chunk(queue, file, offset, length, check):
                            heard = SYSTEM.monotonic()
                            sent(count)
                    case frames:
                        _log().warning(
                            "the master sent an unexpected message of %s frames instead of FETCH",
                            len(frames),
                        )

    def _send_chunk(
        self,
        queue: Socket,
        file: IO[bytes],
        offset: bytes,
        length: bytes,
        check: Callable[[], None],
    ) -> int:
        numbers = [int(text) for text in (offset, length) if len(text) < 20 and text.isdigit()]
        if len(numbers) != 2 or numbers[0] >= self.filesize or not 0 < numbers[1] <= MAX_CHUNK:
            _log().warning(
                "the master asks for %.40r bytes at %.40r, outside of the file", length, offset
            )
            return 0
        start, size = numbers[0], min(numbers[1], self.filesize - numbers[0])
        data = os.pread(file.fileno(), size, start)
        _send(queue, [b"CHUNK", str(start).encode(), data], check)
        return len(data)


def _send(queue: Socket, frames: list[bytes], check: Callable[[], None]) -> None:
    deadline = SYSTEM.monotonic() + SILENCE_SECONDS
    while not queue.poll(CHECK_SECONDS, zmq.POLLOUT):
        check()
        if SYSTEM.monotonic() > deadline:
            raise Unavailable("the master does not read the file")
    queue.send_multipart(frames, zmq.DONTWAIT)


def _required_name(line: str, environment: dict[str, Any]) -> str:
    try:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            return canonical(requirement.name)[:200]
    except (UndefinedComparison, UndefinedEnvironmentName):
        return canonical(requirement.name)[:200]  # rather one too many than one too few
    except (InvalidRequirement, RecursionError):
        _log().debug("invalid requirement: %.200r", line)
    return ""


def _log() -> logging.Logger:
    return logging.getLogger("builder")
