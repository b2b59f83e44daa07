"""piw-import: import wheels that were built elsewhere, as if a slave had built them."""

from __future__ import annotations

import logging
import secrets
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path  # noqa: TC003 (ImportConfig is read when the program runs)
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from packaging.version import Version

from piwheels.core.clock import SYSTEM
from piwheels.core.errors import (
    BadMessage,
    BadWheel,
    Fatal,
    PiWheelsError,
    Refused,
    Unavailable,
    one_line,
)
from piwheels.core.farm import FILE_QUEUE, send_file
from piwheels.core.keys.options import farm_of, key_option, master_key_option
from piwheels.core.paths import address
from piwheels.core.program.admin import (
    REFUSALS,
    abi_tag,
    package_name,
    queue_option,
    version_text,
    yes_option,
)
from piwheels.core.program.command_line import Common, option, program
from piwheels.core.program.report import Report, json_option
from piwheels.core.program.terminal import Progress, confirmed
from piwheels.core.protocols import FIRST_IMPORT
from piwheels.core.states import BuildState, FileState
from piwheels.core.wheels.built import Wheel
from piwheels.core.wheels.dependencies import System, library_dependencies
from piwheels.core.wheels.tags import FLEXIBLE
from piwheels.core.words import counted, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

logger = logging.getLogger("import")

#: The log of an imported build without --output.
OUTPUT: Final = "piwheels: this was not built here, but imported with piw-import.\n"
#: The part of a log to send (its end), and the largest log to read, in bytes.
MAX_OUTPUT, MAX_READ = 5 * 2**20, 64 * 2**20
#: The largest number of builds to describe before the confirmation.
DESCRIBED: Final = 10
#: Seconds for the current builds to finish after an interruption.
STOP_LIMIT: Final = 10.0


class Stopped(PiWheelsError):
    """The import was interrupted."""


def _jobs(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 32):
        raise ValueError(f"{text!r} is not a number from 1 to 32")
    return int(text)


@dataclass(frozen=True, kw_only=True)
class ImportConfig(Common):
    """Import wheels that were built elsewhere: the files of one version become one build of it."""

    files: list[Path] = option(
        default=[], metavar="FILE", positional=True, help="the wheels (*.whl)"
    )
    package: str = option(
        default="", metavar="NAME", parse=package_name,
        help="the package of all files (default: that of their names)",
    )  # fmt: skip
    package_version: str = option(
        default="", metavar="VERSION", parse=version_text,
        help="the version of all files (default: that of their names)",
    )  # fmt: skip
    abi: str = option(
        default="", metavar="TAG", parse=abi_tag,
        help="the ABI of the build (default: that of their names; for wheels that need none, the"
        " first of the farm's ABIs that can use them)",
    )  # fmt: skip
    duration: timedelta | None = option(
        default=None, metavar="DURATION", help="how long the build took (default: unknown)"
    )
    output: Path | None = option(
        default=None, metavar="FILE", help="the build's log (default: a note that it was imported)"
    )
    jobs: int = option(
        "-j", default=2, metavar="NUMBER", parse=_jobs, help="how many builds to import at once"
    )
    delete: bool = option(default=False, help="delete each local file after its import")
    yes: bool = yes_option()
    json: bool = json_option()
    import_queue: str = queue_option()
    key: Path | None = key_option()
    master_key: list[str] = master_key_option()
    file_queue: str = option(
        default="", metavar="ADDR", parse=lambda text: address(text) if text else "",
        help=f"send files here (default: this machine's master, or {FILE_QUEUE})",
    )  # fmt: skip


class Build(NamedTuple):
    """A build to import: its files, and its description for the master."""

    wheels: list[Wheel]
    state: BuildState


@dataclass(slots=True)
class _Results:
    """The results: imported files, refused files with the reasons, and abandoned files."""

    imported: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    abandoned: list[str] = field(default_factory=list)


@program(
    "piw-import",
    ImportConfig,
    examples=[
        ("piw-import six-1.17.0-py2.py3-none-any.whl", "import a wheel"),
        ("piw-import --yes --delete wheels/*.whl", "import many, and delete the imported files"),
        ("piw-import --abi cp311 --output build.log foo-1.0-py3-none-any.whl", "with ABI and log"),
    ],
)
def main(config: ImportConfig) -> int:
    """Import the files; return the exit status: 1 if any of them was not imported."""
    if not config.files:
        raise Fatal("there is nothing to import: name the wheels")
    report = _Results()
    output = _output_of(config)
    wheels = list(_read(config, report))
    builds = [_build_of(group, config, output) for group in grouped(wheels, config.abi)]
    out = Report(config)
    for name, why in report.refused.items():
        _report_refused(out, name, why)
    if builds:
        if len(builds) <= DESCRIBED and not config.quiet and not config.json:
            for build in builds:
                print_state(build.state)
        total = sum(wheel.filesize for wheel in wheels)
        files, some = counted(len(wheels), "file"), counted(len(builds), "build")
        if not confirmed(f"import {files} ({size_text(total)}) as {some}", yes=config.yes):
            raise Fatal("nothing was imported")
        _Run(config, report, total).run(builds)
    text = f"imported {counted(len(report.imported), 'file')}"
    if report.refused:
        text += f", {len(report.refused)} refused"
    if report.abandoned:
        text += f", {len(report.abandoned)} abandoned"
    out.write(
        text, event="finished", imported=len(report.imported), refused=len(report.refused),
        abandoned=len(report.abandoned),
    )  # fmt: skip
    return 1 if report.refused or report.abandoned else 0


def print_state(state: BuildState) -> None:
    """Write a description of *state*, for people, to standard output."""
    abi = {"none": "any ABI", "abi3": "the stable ABI"}.get(state.abi_tag, state.abi_tag)
    took = f" in {state.duration}" if state.duration else ""
    lines = [f"{state.package} {state.version}, built for {abi}{took}:"]
    for each in state.files.values():
        lines.append(f"  {each.filename} ({size_text(each.filesize)})")
        lines.append(f"    SHA-256  {each.filehash}")
        if each.requires_python:
            lines.append(f"    Python   {each.requires_python}")
        for tool, names in each.dependencies.items():
            lines.append(f"    {tool or 'unknown':<8} {', '.join(sorted(names))}")
    sys.stdout.write("\n".join(lines) + "\n")


def do_import(
    config: Any,
    packages: Sequence[Wheel],
    state: BuildState,
    check: Callable[[], None] = lambda: None,
    sent: Callable[[int], None] = lambda _: None,
) -> None:
    """Import the build *state* with its files *packages* into the farm that *config* names.

    *check* is called several times a second, and may raise an exception to stop the import;
    *sent* is called with the number of bytes of each chunk that was sent. Raises
    :exc:`~piwheels.core.errors.Refused` with the master's reason, and
    :exc:`~piwheels.core.errors.Unavailable` if no master runs or the connection is lost.
    """
    with farm_of(config, files=config.file_queue, meanwhile=check) as farm:
        farm.import_build(state, packages, sent=sent)


#: The documented name.
do_send = send_file


def grouped(wheels: Iterable[Wheel], abi: str = "") -> list[tuple[str, list[Wheel]]]:
    """Group *wheels* into builds; return the ABI and the wheels of each (*abi*: the ABI of all).

    The files of a version are one build, unless they are for several ABIs. For a wheel of no single
    ABI (``abi3``, ``none``), the master chooses one of the farm's ABIs.
    """
    versions: dict[tuple[str, Version], list[Wheel]] = {}
    for wheel in wheels:
        key = wheel.package_canon, Version(wheel.package_version_tag)
        versions.setdefault(key, []).append(wheel)
    builds = []
    for group in versions.values():
        tags: dict[str, list[Wheel]] = {}
        for wheel in group:
            tags.setdefault(_abi_of(wheel), []).append(wheel)
        own = sorted(tags.keys() - {"abi3", "none"})
        if abi or len(own) <= 1:
            usual = "abi3" if "abi3" in tags else "none"
            builds.append((abi or next(iter(own), usual), group))
        else:
            builds += tags.items()
    return builds


def _abi_of(wheel: Wheel) -> str:
    """Return the one ABI that *wheel* is for; of a stable ABI, ``abi3``; of none, ``none``."""
    own = [part for part in wheel.abi_tag.split(".") if part not in FLEXIBLE]
    return own[0] if own else "none" if wheel.abi_tag == "none" else "abi3"


def _output_of(config: ImportConfig) -> str:
    if config.output is None:
        return OUTPUT
    try:
        with config.output.open("rb") as log:
            content = log.read(MAX_READ + 1)
    except OSError as exc:
        raise Fatal(f"cannot read the log {config.output}: {exc.strerror}") from exc
    if len(content) > MAX_READ:  # or it is endless, like /dev/zero
        raise Fatal(
            f"cannot read the log {config.output}: it is longer than 64 MiB, give only its end"
        )
    return content[-MAX_OUTPUT:].decode(errors="replace")


def _read(config: ImportConfig, report: _Results) -> Iterator[Wheel]:
    """Yield the wheels that *config* names; add invalid ones to *report*, with the reason."""
    system = System()
    seen: set[str] = set()
    with Progress(len(config.files), "files read", quiet=config.quiet) as progress:
        for path in config.files:
            try:
                yield _wheel(path, config, system, seen)
            except BadWheel as exc:
                report.refused[str(path)] = str(exc)
            progress.step(doing=path.name)


def _wheel(path: Path, config: ImportConfig, system: System, seen: set[str]) -> Wheel:
    try:
        if not path.is_file():
            raise BadWheel("there is no such file")
    except OSError as exc:  # its name is too long
        raise BadWheel(f"cannot be read: {exc.strerror}") from exc
    wheel = Wheel(
        path, package=config.package or None, version=config.package_version or None
    )  # fmt: skip
    if wheel.filename in seen:
        raise BadWheel("another file to import has the same name")
    seen.add(wheel.filename)
    wheel.libraries = library_dependencies(path, system)
    try:
        # This reads the file, so that an error is reported for it.
        logger.debug("%s: %d bytes, SHA-256 %s", path, wheel.filesize, wheel.filehash)
    except OSError as exc:
        raise BadWheel(f"cannot be read: {exc.strerror}") from exc
    return wheel


def _build_of(group: tuple[str, list[Wheel]], config: ImportConfig, output: str) -> Build:
    abi, wheels = group
    files = [FileState.from_message(wheel.as_message()) for wheel in wheels]
    state = BuildState(
        FIRST_IMPORT + secrets.randbits(62),
        config.package or wheels[0].package_canon,
        config.package_version or wheels[0].package_version_tag,
        abi, True, config.duration or timedelta(0), output,
        {each.filename: each for each in files},
    )  # fmt: skip
    return Build(wheels, state)


def _report_refused(out: Report, name: str, why: str) -> None:
    why = one_line(why)
    out.record(event="refused", file=name, message=why)
    sys.stderr.write(f"piw-import: {one_line(name)} was not imported: {why}\n")


class _Run:
    """Imports builds, several at once, and records the results."""

    def __init__(self, config: ImportConfig, report: _Results, total: int) -> None:
        self.config = config
        self.report = report
        self._out = Report(config)
        self._progress = Progress(total, "bytes", quiet=config.quiet)
        self._lock = threading.Lock()
        self._deadline: float | None = None

    def run(self, builds: Sequence[Build]) -> None:
        """Import *builds*. A refused build does not stop the others; a lost master does."""
        with ThreadPoolExecutor(self.config.jobs) as pool, self._progress:
            futures = [pool.submit(self._import, build) for build in builds]
            try:
                wait(futures)
            except KeyboardInterrupt:
                self._stop("interrupted: finishing or abandoning the current builds", STOP_LIMIT)
                try:
                    wait(futures)
                except KeyboardInterrupt:
                    self._stop("", 0.0)
        for future in futures:
            future.result()  # raises unexpected errors

    def _import(self, build: Build) -> None:
        names = [str(wheel.path) for wheel in build.wheels]
        try:
            if self._deadline is not None:
                raise Stopped
            do_import(self.config, build.wheels, build.state, self._check, self._sent)
        except Stopped:
            self._end("abandoned", self.report.abandoned, names)
        except Unavailable as exc:
            self._stop(str(exc), 0.0)
            self._end("abandoned", self.report.abandoned, names)
        except (Refused, BadMessage, OSError) as exc:
            self._refuse(names, _why(exc, build))
        else:
            self._end("imported", self.report.imported, names)
            if self.config.delete:
                self._delete(build.wheels)

    def _check(self) -> None:
        if self._deadline is not None and SYSTEM.monotonic() > self._deadline:
            raise Stopped

    def _stop(self, why: str, seconds: float) -> None:
        """Start no more builds, and abandon the current ones after *seconds*."""
        with self._lock:
            if self._deadline is None:
                self._progress.clear()
                sys.stderr.write(f"piw-import: {why}\n")
            self._deadline = SYSTEM.monotonic() + seconds

    def _sent(self, count: int) -> None:
        with self._lock:
            report = self.report
            ready = len(report.imported) + len(report.refused)
            self._progress.step(count, counted(ready, "file"))

    def _end(self, event: str, results: list[str], names: Sequence[str]) -> None:
        with self._lock:
            results += names
            for name in names:
                self._out.record(event=event, file=name)

    def _refuse(self, names: Sequence[str], why: str) -> None:
        with self._lock:
            self._progress.clear()
            for name in names:
                self.report.refused[name] = why
                _report_refused(self._out, name, why)

    def _delete(self, wheels: Iterable[Wheel]) -> None:
        for wheel in wheels:
            try:
                wheel.path.unlink(missing_ok=True)
            except OSError as exc:
                logger.warning("imported %s, but cannot remove it: %s", wheel.path, exc.strerror)


def _why(exc: Exception, build: Build) -> str:
    if isinstance(exc, Refused) and exc.code in REFUSALS:
        return REFUSALS[exc.code].format(package=build.state.package, version=build.state.version)
    return str(exc)


if __name__ == "__main__":
    sys.exit(main())
