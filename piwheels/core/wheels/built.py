"""A wheel that a build has made: what it says of itself, what it needs, its way to the master."""

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
from piwheels.core.states import FileState
from piwheels.core.wheels.inspection import inspect_wheel
from piwheels.core.wheels.tags import canonical, parse_filename

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from piwheels.core.transport import Socket

    Tool = Literal["apt", "pip", ""]

#: How long the master may say nothing before we say HELLO again, and before we give up, in seconds.
HELLO_SECONDS = 5.0
SILENCE_SECONDS = 300.0
#: How often who waits for the master looks whether it still should, in seconds.
CHECK_SECONDS = 0.5
#: The most bytes that are sent at once, whatever the master asks for.
MAX_CHUNK = 4 * 2**20
#: The most names of a kind that a wheel is said to depend on.
MAX_NAMES = 500


class Wheel:
    """The wheel at *path*, whose name is taken apart and whose content is checked at once.

    *apt_dependencies* are the Debian packages that it needs; *package* and *version* are what it
    must be (``None``: what its name says). Raises :exc:`~piwheels.core.errors.BadWheel`.
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
        #: What it needs of the system, by tool: ``"apt"``, or ``""`` for what no package brings.
        self.libraries: Mapping[str, Sequence[str]] = {"apt": sorted(apt_dependencies or ())}
        self._name = parse_filename(path.name)
        self._inspected = inspect_wheel(path, package=package, version=version)

    def __repr__(self) -> str:
        return f"<Wheel {self.filename}>"

    @property
    def filename(self) -> str:
        """The name of the file, without any folder."""
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
        """The package in its canonical spelling (PEP 503)."""
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
        """The tag of the Pythons that it is for."""
        return self._name.py

    @property
    def abi_tag(self) -> str:
        """The tag of the ABI that it needs."""
        return self._name.abi

    @property
    def platform_tag(self) -> str:
        """The tag of the platform that it is for."""
        return self._name.platform

    @property
    def metadata(self) -> bytes:
        """The exact bytes of its METADATA file."""
        return self._inspected.metadata

    @property
    def requires_python(self) -> str | None:
        """The Pythons that it says it works with (PEP 440), or ``None``."""
        return self._inspected.requires_python

    @property
    def dependencies(self) -> dict[Tool, set[str]]:
        """What it needs, by tool: ``"apt"``, ``"pip"``, ``""``; empty ones are left out."""
        found: dict[Tool, set[str]] = {
            "apt": self.apt_dependencies,
            "pip": self.pip_dependencies,
            "": self.orphan_dependencies,
        }
        return {tool: names for tool, names in found.items() if names}

    @property
    def apt_dependencies(self) -> set[str]:
        """The Debian packages that bring the libraries that it needs."""
        return set(self.libraries.get("apt", ()))

    @property
    def orphan_dependencies(self) -> set[str]:
        """The libraries that it needs and no known package brings."""
        return set(self.libraries.get("", ()))

    @cached_property
    def pip_dependencies(self) -> set[str]:
        """The packages that it needs (see :meth:`calc_pip_dependencies`)."""
        return self.calc_pip_dependencies()

    def calc_pip_dependencies(self) -> set[str]:
        """Return the canonical names of the packages that it needs here, without those of extras.

        Markers (PEP 508) are judged for this machine and, if the wheel is for one Python, for that.
        """
        environment: dict[str, Any] = {**default_environment(), "extra": ""}
        if self.py_version_tag.startswith("cp3") and self.py_version_tag[3:].isdigit():
            environment["python_version"] = f"3.{self.py_version_tag[3:]}"
            environment["python_full_version"] = f"3.{self.py_version_tag[3:]}.0"
        names = (_required_name(line, environment) for line in self._inspected.requires_dist)
        return {name for name in names if name}

    def as_message(self) -> list[Any]:
        """Return the file state that ``BUILT`` carries (protocols.md)."""
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
        """Send the file over *queue*, a DEALER to the master's file wire, as *slave_id*.

        *check* is called again and again; it may raise to end the transfer. *sent* is told how
        many bytes have just been sent. Returns when the
        master has all of it. Only what lies in the file is ever sent, whatever is asked for.
        Raises :exc:`~piwheels.core.errors.Unavailable` if the master says nothing for five minutes.
        """
        queue.drain()  # what is left of an earlier transfer is not about this one
        hello = [b"HELLO", str(slave_id).encode()]
        _send(queue, hello, check)
        asked = heard = SYSTEM.monotonic()
        with self.path.open("rb", buffering=0) as file:
            while True:
                check()
                if not queue.poll(min(HELLO_SECONDS, CHECK_SECONDS)):
                    now = SYSTEM.monotonic()
                    if now - heard > SILENCE_SECONDS:
                        raise Unavailable(f"the master does not fetch {self.filename} any more")
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
                            "the master sent %s odd frames instead of FETCH", len(frames)
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
                "the master wants %.40r bytes at %.40r, which are not there", length, offset
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
            raise Unavailable("the master takes nothing of what is sent")
    queue.send_multipart(frames, zmq.DONTWAIT)


def _required_name(line: str, environment: dict[str, Any]) -> str:
    try:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            return canonical(requirement.name)[:200]
    except (UndefinedComparison, UndefinedEnvironmentName):
        return canonical(requirement.name)[:200]  # better one too many than one too few
    except (InvalidRequirement, RecursionError):
        _log().debug("a requirement makes no sense: %.200r", line)
    return ""


def _log() -> logging.Logger:
    return logging.getLogger("builder")
