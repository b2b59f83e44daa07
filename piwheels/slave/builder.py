"""Builds wheels from source with pip, and leaves nothing behind, whatever the build does."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import signal
import tempfile
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

from packaging.version import InvalidVersion, Version

from piwheels.core.clock import SYSTEM, file_age
from piwheels.core.errors import BadWheel, PiWheelsError
from piwheels.core.host.interpreters import probe
from piwheels.core.host.pip_config import pip_command
from piwheels.core.host.processes import Ending, Supervised
from piwheels.core.host.supervision import remove_tree
from piwheels.core.wheels.built import Wheel as Wheel  # noqa: PLC0414 (documented as a name of this module)
from piwheels.core.wheels.dependencies import System, library_dependencies
from piwheels.core.wheels.inspection import is_portable
from piwheels.core.wheels.retagging import retag
from piwheels.core.wheels.tags import for_one_python, parse_filename
from piwheels.slave.buildlog import BuildLog
from piwheels.slave.dynamic import has_dynamic_requirements
from piwheels.slave.egress.gate import Egress, Network, environment
from piwheels.slave.limits import MAX_FILE, MAX_OPEN_FILES, RESERVE, Limits
from piwheels.slave.sandbox.choice import NoSandbox
from piwheels.slave.trials.wheels import Trials

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Self

    from piwheels.core.clock import Clock
    from piwheels.core.states import Fetch
    from piwheels.core.wheels.tags import WheelName
    from piwheels.slave.sandbox.choice import Sandbox

#: The names of build directories begin with this.
PREFIX: Final = "piw-build-"
#: The limit of wheels per build.
MAX_WHEELS: Final = 10
#: How much longer than its time-out a build may take with the trials of its wheels, in seconds.
TRIAL_GRACE: Final = 30.0

#: The options of pip that every build has.
PIP_OPTIONS: Final = (
    "-v", "--no-input", "--no-color", "--progress-bar=off",
    "--disable-pip-version-check",
    # Without --use-pep517, pip <= 23.0 cannot build sources that have no pyproject.toml.
    "--use-pep517", "--no-deps", "--no-cache-dir",
    # It leaves the unpacked source.
    "--no-clean",
)  # fmt: skip

#: The endings of pip that was killed; a program that runs it tells so by its status.
_KILLED: Final = (
    Ending("signal", str(int(signal.SIGKILL))),
    Ending("exit", str(128 + signal.SIGKILL)),
)

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?", re.ASCII)
_NEW_SECONDS = 60.0

_REASONS: Final = {
    "exit": "the build failed: pip ended with status {0.detail}",
    "signal": "the build failed: pip was killed by signal {0.detail}",
    "stopped": "the build was stopped",
    "full": f"the build was stopped because its disk is full (less than {RESERVE >> 20} MiB free)",
    "error": "the build could not be supervised: {0.detail}",
    "lost": "the build was lost, because its supervisor was killed (did memory run out?)",
}


class Builder(Thread):
    """Builds the wheels of *version* of *package* in a thread, once :meth:`start` is called.

    *timeout* limits the build alone. Sources come from *index_url* and *extra_index_urls* (``None``
    and none: from the indexes that pip is configured with). The build has a directory of its own in
    *dir* (``None``: the system's directory for temporary files). *python* is the interpreter to
    build for (``None``: the one that runs this), *platform* and *abi* are its tags (``None``: it is
    asked), and *pip* the command that runs pip for it, if
    :func:`~piwheels.core.host.pip_config.pip_command` has found it before. *sandbox* confines the
    build, *egress* says what it may reach (``None``: everything), and *limits* are its limits.
    Builders may share *system*.

    Call :meth:`close` at the end (or use it as a context manager): it removes everything.
    """

    def __init__(
        self,
        package: str,
        version: str,
        *,
        timeout: timedelta = timedelta(seconds=300),
        index_url: str | None = None,
        extra_index_urls: Collection[str] = frozenset(),
        dir: str | Path | None = None,  # noqa: A002 (documented)
        python: Path | None = None,
        platform: str | None = None,
        abi: str | None = None,
        pip: Sequence[str] | None = None,
        system: System | None = None,
        sandbox: Sandbox | None = None,
        egress: Egress | None = None,
        limits: Limits | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        super().__init__(name="builder", daemon=True)
        self._package = package
        self._version = version
        self._timeout = timeout
        self._index_url = index_url
        self._extra_index_urls = frozenset(extra_index_urls)
        self._dir = Path(dir or tempfile.gettempdir())
        self._python = python
        self._platform = platform
        self._abi = abi
        self._pip = pip
        self._system = system or System()
        self._sandbox = sandbox or NoSandbox()
        self._egress = egress or Egress(is_open=True)
        self._network: Network | None = None
        self._has_noted = False
        self._limits = limits or Limits()
        self._clock = clock
        self._log = BuildLog()
        self._process: Supervised | None = None
        self._trials: Trials | None = None
        self._lock = -1
        self._work: Path | None = None
        self._stopping = Event()
        self._status = False
        self._duration = timedelta(0)
        self._output: str | None = None
        #: Whether something other than the build ended it, so that its result is unknown.
        self.lost = False
        #: The wheels, once the build has succeeded.
        self.wheels: list[Wheel] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def package(self) -> str:
        """The package to build."""
        return self._package

    @property
    def version(self) -> str:
        """The version to build."""
        return self._version

    @property
    def timeout(self) -> timedelta:
        """The time limit of the build."""
        return self._timeout

    @property
    def index_url(self) -> str | None:
        """The index of the sources; ``None``: the one that pip is configured with."""
        return self._index_url

    @property
    def extra_index_urls(self) -> frozenset[str]:
        """Further indexes, for example for wheels that the build requires."""
        return self._extra_index_urls

    @property
    def status(self) -> bool:
        """Whether the build has succeeded and all its wheels are valid."""
        return self._status

    @property
    def duration(self) -> timedelta:
        """The run time of pip."""
        return self._duration

    @property
    def output(self) -> str:
        """The build's log: all of it at the end, the part so far before."""
        return self._log.text() if self._output is None else self._output

    def output_since(self, offset: int) -> tuple[int, str]:
        """Return the log's lines from the character *offset* on, and the offset where they begin.

        These are the newest 65,536 characters at most.
        """
        return self._log.since(offset)

    @property
    def fetches(self) -> tuple[Fetch, ...]:
        """What the build has asked its proxy for."""
        return self._network.entries() if self._network else ()

    def memory(self) -> int:
        """Return the bytes of memory that the build uses now."""
        process = self._process
        return 0 if process is None or not self.is_alive() else process.memory()

    def as_message(self) -> list[Any]:
        """Return the data of ``BUILT`` (protocols.md)."""
        files = [wheel.as_message() for wheel in self.wheels]
        trials = [wheel.trial for wheel in self.wheels]
        return [self.status, self.duration, self.output, files, self.fetches, trials, self.lost]

    def stop(self) -> None:
        """Kill the build, if it still runs. Returns immediately; the thread ends soon after."""
        self._stopping.set()
        for each in (self._process, self._trials):
            if each is not None:
                each.stop()

    def close(self) -> None:
        """Stop the build, wait for its end, and remove its files. May be called again."""
        self.stop()
        if self.ident is not None:
            self.join()
        self._clean_up()

    def run(self) -> None:
        """Build; never raises. After a failure the log says why, and :attr:`status` is false."""
        try:
            self._check_request()
            self._prepare()
            ending = self.build_wheel(self._log)
            self._judge(ending)
            self.wheels = self._collect()
            self._try_wheels()
            self._status = True
        except (PiWheelsError, OSError) as error:
            self._log.note(str(error))
        except Exception as error:
            # A strange file must not end the slave, and a strange exception is no success.
            logging.getLogger("builder").exception("internal error during a build")
            self._log.note(f"internal error of the farm, please report it: {error!r}")
        if not self._status:
            self.wheels = []
            self._clean_up()
        self._output = self._log.text()

    def build_wheel(self, log_file: BuildLog) -> Ending:
        """Run pip until it ends, is stopped, or times out; return how it ended.

        Its output goes to *log_file*. All processes that it started have ended then.
        """
        pip = self._pip or pip_command(self._python)
        if self._egress.is_open:
            return self._run_pip(pip, "wheel", log_file)
        indexes = self._index_url, self._extra_index_urls
        self._network = Network(self._egress, *indexes, self._dir, self._unreachable, self._package)
        try:
            if self._egress.offline:
                ending = self._run_pip(pip, "download", log_file)
                if not ending.success:
                    return ending
                self._clean_up()
                self._prepare()
                self._network.seal()
            return self._run_pip(pip, "wheel", log_file)
        finally:
            self._network.close()
            for fetch in self.fetches:
                if fetch.refused:
                    log_file.note(f"asked for {fetch.url}: refused ({fetch.refused})")

    def _run_pip(self, pip: Sequence[str], verb: str, log_file: BuildLog) -> Ending:
        """Run pip's command *verb* within the time that the build has left."""
        assert self._work is not None  # noqa: S101
        inside = self._sandbox.inside(self._work)
        command = self._command(pip, verb, inside)
        indexes = self._index_url, self._extra_index_urls
        gate = self._network and self._network.open(own=self._sandbox.own_network)
        port = gate.port if gate else None
        started = self._clock.monotonic()
        self._process = process = Supervised(
            self._sandbox.command(self._work, gate.command(command) if gate else command, port),
            env=environment(self._egress, inside / "home", inside / "tmp", port or 0, *indexes),
            cwd=self._work / "tmp",
            timeout=(self._timeout - self._duration).total_seconds(),
            remove=[self._work],
            limits={"FSIZE": MAX_FILE, "NOFILE": MAX_OPEN_FILES},
            reserve=RESERVE,
            totals=self._limits.totals(),
            silence=self._limits.silence.total_seconds(),
            descriptors=gate.descriptors if gate else (),
            clock=self._clock,
        )
        if gate:
            gate.start()
        if self._stopping.is_set():  # before the process existed
            process.stop()
        for block in iter(process.read, b""):
            log_file.write(block)
        ending = process.wait()
        self._duration += timedelta(seconds=self._clock.monotonic() - started)
        return ending

    def _unreachable(self, why: str) -> None:
        """Note, once, that the slave cannot reach an index."""
        if not self._has_noted:
            self._has_noted = True
            self._log.note(f"this slave cannot reach the index: {why}")

    def calc_apt_dependencies(self, wheel: Wheel) -> dict[str, list[str]]:
        """Return the Debian packages (``"apt"``) and other libraries (``""``) of *wheel*."""
        return library_dependencies(wheel.path, self._system)

    def _check_request(self) -> None:
        # Both become part of a command line, where some texts would be options.
        try:
            Version(self._version)
        except InvalidVersion:
            raise BadWheel(
                f"{self._version!r} is not a version that pip can build (PEP 440)"
            ) from None
        if not _NAME.fullmatch(self._package):
            raise BadWheel(f"{self._package!r} is not the name of a package (PEP 508)")

    def _prepare(self) -> None:
        if self._stopping.is_set():
            raise BadWheel(_REASONS["stopped"])
        self._work = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._dir))
        self._lock = os.open(self._work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in ("home", "tmp", "out"):
            (self._work / name).mkdir(mode=0o700)

    def _command(self, pip: Sequence[str], verb: str, inside: Path) -> list[str]:
        index = []
        if self._egress.is_open:  # else the variables name the mirror
            index += [] if self._index_url is None else [f"--index-url={self._index_url}"]
            index += (f"--extra-index-url={url}" for url in sorted(self._extra_index_urls))
        return [
            *pip,
            verb,
            *PIP_OPTIONS,
            *index,
            f"--no-binary={self._package}",
            f"--{'wheel-dir' if verb == 'wheel' else 'dest'}={inside / 'out'}",
            f"{self._package}=={self._version}",
        ]

    def _judge(self, ending: Ending) -> None:
        if self._stopping.is_set():
            ending = Ending("stopped")
        if ending.success:
            return
        from_outside = ending.kind == "signal" and self._sandbox.own_processes
        self.lost = from_outside or ending.kind == "lost"
        if ending.kind == "timeout":
            reason = f"the build was stopped after {self._timeout}, its time-out"
        elif ending in _KILLED:
            reason = "the build was killed from outside (did memory run out?)"
        else:
            reason = self._limits.reason(ending.kind) or _REASONS[ending.kind].format(ending)
        if ending.kind == "exit" and b"No space left on device" in self._log:
            reason += "; its disk was full"
        raise BadWheel(reason)

    def _collect(self) -> list[Wheel]:
        assert self._work is not None  # noqa: S101
        folder = self._work / "out"
        if folder.is_symlink():  # it would lead out of the view of the build
            raise BadWheel("the build replaced its folder for wheels by a link")
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".whl")
        if not paths:
            raise BadWheel("the build made no wheel, although pip says that it succeeded")
        if len(paths) > MAX_WHEELS:
            raise BadWheel(f"the build made {len(paths)} wheels instead of one")
        is_dynamic = has_dynamic_requirements(self._work / "tmp")
        remove_tree(str(self._work / "tmp"))
        result = []
        for path in paths:
            try:
                wheel = self._localised(Wheel(path, package=self._package, version=self._version))
                if is_dynamic:
                    wheel = self._for_one_python(wheel)
                wheel.libraries = self.calc_apt_dependencies(wheel)
            except BadWheel as error:
                raise BadWheel(f"the build made a broken wheel, {path.name!r}: {error}") from error
            result.append(wheel)
        return result

    def _try_wheels(self) -> None:
        """Have each wheel installed and imported. Raises ``BadWheel`` if pip cannot install one."""
        assert self._work is not None  # noqa: S101
        pip = self._pip or pip_command(self._python)
        trials = Trials(pip, self._python, self._sandbox, self._limits, self._clock)
        self._trials = trials
        if self._stopping.is_set():  # before they existed
            trials.stop()
        left = (self._timeout - self._duration).total_seconds() + TRIAL_GRACE
        end = self._clock.monotonic() + left
        for wheel in self.wheels:
            _ = wheel.filehash  # of the file before its code has run
            try:
                wheel.trial = trials.run(wheel.path, self._work, end - self._clock.monotonic())
            except OSError as error:
                self._log.note(f"{wheel.filename} could not be tried: {error}")
                continue
            if wheel.trial.installs is False:
                raise BadWheel(f"pip cannot install {wheel.filename}: {wheel.trial.why}")
            self._log.note(f"{wheel.filename}: {wheel.trial}")

    def _localised(self, wheel: Wheel) -> Wheel:
        """Return *wheel*, renamed to this platform if it is for ``any`` but has native programs.

        Its build backend did not notice them among its data.
        """
        if wheel.platform_tag != "any" or is_portable(wheel.path):
            return wheel
        platform = self._platform or probe(self._python).platform
        name = parse_filename(wheel.filename)._replace(platform=platform)
        why = "has native programs, so it is not for any machine"
        return self._retagged(wheel, name, why)

    def _for_one_python(self, wheel: Wheel) -> Wheel:
        """Return *wheel* as one that serves no other Python, which may need other requirements."""
        own = None if self._platform and self._abi else probe(self._python)
        abi, platform = own[2:4] if own else (self._abi or "", self._platform or "")
        name = for_one_python(parse_filename(wheel.filename), abi, platform)
        why = "has requirements that may differ between Pythons (Dynamic: Requires-Dist)"
        return self._retagged(wheel, name, why)

    def _retagged(self, wheel: Wheel, name: WheelName, why: str) -> Wheel:
        if str(name) == wheel.filename:
            return wheel
        self._log.note(f"{wheel.filename} {why}: now {name}")
        return Wheel(retag(wheel.path, name), package=self._package, version=self._version)

    def _clean_up(self) -> None:
        if self._process is not None:
            self._process.close()
        if self._work is not None and not remove_tree(str(self._work)):
            logging.getLogger("builder").warning("cannot remove %s: remove it by hand", self._work)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def why_unusable(folder: Path) -> str:
    """Return why builds in *folder* would fail, and what to do; ``""`` if they would not."""
    try:
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder):
            disk = os.statvfs(folder)
    except OSError as error:
        return f"cannot build in {folder} ({error.strerror}): let this user write there"
    free = disk.f_bavail * disk.f_frsize
    if free < 2 * RESERVE:
        wanted = 2 * RESERVE >> 20
        return f"cannot build in {folder} ({free >> 20} MiB free): make room, {wanted} MiB at least"
    return ""


def clean_stale(folder: Path | None = None) -> int:
    """Remove the build directories of slaves that have ended from *folder*; return their number.

    A slave does this at its start. Running slaves have locked theirs.
    """
    count = 0
    for path in (folder or Path(tempfile.gettempdir())).glob(f"{PREFIX}*"):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            about = os.fstat(handle)
            # A new one may not be locked yet.
            if about.st_uid == os.geteuid() and file_age(about.st_ctime) > _NEW_SECONDS:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                count += remove_tree(str(path))
        except BlockingIOError:
            pass
        finally:
            os.close(handle)
    return count
