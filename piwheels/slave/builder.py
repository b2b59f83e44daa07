"""Builds wheels from source with pip, and leaves nothing behind, whatever the build does."""

from __future__ import annotations

import errno
import fcntl
import json
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
from piwheels.core.recipes import PLAIN, Recipe
from piwheels.core.wheels.built import Wheel as Wheel  # noqa: PLC0414 (documented as a name of this module)
from piwheels.core.wheels.dependencies import System, library_dependencies
from piwheels.core.wheels.inspection import is_portable
from piwheels.core.wheels.integrity import recorded_paths
from piwheels.core.wheels.modules import import_names
from piwheels.core.wheels.retagging import retag
from piwheels.core.wheels.tags import for_one_python, parse_filename
from piwheels.slave import amend
from piwheels.slave.buildlog import BuildLog
from piwheels.slave.dynamic import has_dynamic_requirements
from piwheels.slave.egress.gate import Egress, Network, environment
from piwheels.slave.limits import MAX_FILE, MAX_OPEN_FILES, RESERVE, Limits
from piwheels.slave.recipes import constraints, why_refused, with_constraints
from piwheels.slave.sandbox.choice import NoSandbox
from piwheels.slave.trials.verdict import NEEDS
from piwheels.slave.trials.wheels import Trials

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Self

    from piwheels.core.clock import Clock
    from piwheels.core.states import Fetch
    from piwheels.core.wheels.tags import WheelName
    from piwheels.slave.overlay import Overlay, Overlays
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

#: The fields of a recipe with which a build makes the same wheel as without.
LIMITS: Final = frozenset({"timeout", "memory"})
#: What pip says of a program of the build that was killed, by the signal.
_DEATHS: Final = {
    number: f"exit code: -{int(number)}".encode()
    for number in (
        signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGBUS, signal.SIGFPE,
    )
}  # fmt: skip
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?", re.ASCII)
_NEW_SECONDS = 60.0

_REFUSED: Final = "this slave cannot carry out the recipe"
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
    build for (``None``: the one that runs this), *platform*, *abi* and *py_version* (``"311"``) are
    its own (``None``: it is asked), and *pip* is the command that runs pip for it, if
    :func:`~piwheels.core.host.pip_config.pip_command` has found it before. *sandbox* confines the
    build, *egress* says what it may reach (``None``: everything), and *limits* are its limits.
    *recipe* is how this build differs from others. Builders may share *system*, and *overlays*
    (``None``: they get no packages of Debian).

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
        py_version: str | None = None,
        pip: Sequence[str] | None = None,
        system: System | None = None,
        sandbox: Sandbox | None = None,
        egress: Egress | None = None,
        limits: Limits | None = None,
        recipe: Recipe = PLAIN,
        overlays: Overlays | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        super().__init__(name="builder", daemon=True)
        self._package = package
        self._version = version
        self._recipe = recipe
        self._overlays = overlays
        self._overlay: Overlay | None = None
        self._timeout = max(timeout, recipe.timeout or timeout)
        self._index_url = index_url
        self._extra_index_urls = frozenset(extra_index_urls)
        self._dir = Path(dir or tempfile.gettempdir())
        self._python = python
        self._platform = platform
        self._abi = abi
        self._py_version = py_version
        self._pip = pip
        self._system = system or System()
        self._sandbox = sandbox or NoSandbox()
        self._egress = egress or Egress(is_open=True)
        self._network: Network | None = None
        self._limits = (limits or Limits()).with_recipe(recipe)
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
        #: How it failed, as :func:`~piwheels.core.diagnosis.diagnose` takes it; ``""``: it has not.
        self.ending = ""
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
        about = [self.fetches, trials, self.lost, self.ending]
        return [self.status, self.duration, self.output, files, *about]

    def stop(self) -> None:
        """Kill the build, if it still runs. Returns immediately; the thread ends soon after."""
        self._stopping.set()
        if self._network is not None:
            self._network.abort()
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
            self.ending = "request"
            self._check_request()
            self._check_recipe()
            self._show_packages()
            self.ending = "error"
            self._prepare()
            ending = self.build_wheel(self._log)
            self._judge(ending)
            self.ending = "wheel"
            self.wheels = self._collect()
            self._try_wheels()
            self.ending, self._status = "", True
        except (PiWheelsError, OSError) as error:
            if self._stopping.is_set():
                self.ending = "stopped"
            elif isinstance(error, OSError) and error.errno in _FULL:
                self.ending = "full"
            self._log.note(str(error))
        except Exception as error:
            # A strange file must not end the slave, and a strange exception is no success.
            logging.getLogger("builder").exception("internal error during a build")
            self._log.note(f"internal error of the farm, please report it: {error!r}")
        if not self._status:
            self.wheels = []
            self._clean_up()
        if self._overlay is not None:
            self._overlay.close()
        self._output = self._log.text()

    def build_wheel(self, log_file: BuildLog) -> Ending:
        """Run pip until it ends, is stopped, or times out; return how it ended.

        Its output goes to *log_file*. All processes that it started have ended then.
        """
        pip = self._pip or pip_command(self._python)
        if self._egress.is_open:
            return self._run_pip(pip, "wheel", log_file)
        indexes = self._index_url, self._extra_index_urls
        note, recipe = self._log.note, self._recipe
        self._network = Network(self._egress, *indexes, self._dir, note, self._package, recipe)
        if self._stopping.is_set():  # before the network existed
            self._network.abort()
        try:
            if recipe.release_plus:
                python = self._py_version or probe(self._python).py_version
                self._network.hide_later(self._version, python)
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
        started = self._clock.monotonic()
        inside = self._sandbox.inside(self._work)
        command = self._command(pip, verb, inside)
        indexes = self._index_url, self._extra_index_urls
        gate = self._network and self._network.open(own=self._sandbox.own_network)
        port = gate.port if gate else None
        left = self._timeout - self._duration - timedelta(seconds=self._clock.monotonic() - started)
        self._process = process = Supervised(
            self._sandbox.command(self._work, gate.command(command) if gate else command, port),
            env=self._by_recipe(
                environment(self._egress, inside / "home", inside / "tmp", port or 0, *indexes),
                inside,
            ),
            cwd=self._work / "tmp",
            timeout=left.total_seconds(),
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

    def _show_packages(self) -> None:
        """Have the sandbox show the packages of the recipe. Raises ``BadWheel`` if that fails."""
        if not self._recipe.apt or self._overlays is None:  # else the recipe was refused
            return
        names = ", ".join(self._recipe.apt)
        try:
            self._overlay = overlay = self._overlays.prepare(self._recipe.apt)
            self._sandbox = self._sandbox.overlaid(overlay.path)
        except LookupError as error:
            raise BadWheel(f"the build cannot have the packages {names}: {error}") from error
        self._system = System(overlay.path, self._system)
        added = " ".join(name.rpartition("_")[0] for name in overlay.added)
        self._log.note(f"only this build sees these packages of Debian: {added or 'none is new'}")

    def _check_recipe(self) -> None:
        for words in self._recipe.words:
            self._log.write(f"piwheels: recipe: {words}\n".encode())
        if why := why_refused(self._recipe, self._egress, has_overlays=self._overlays is not None):
            raise BadWheel(f"{_REFUSED}: {why}")

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
        command = [
            *pip,
            verb,
            *PIP_OPTIONS,
            *index,
            *self._recipe.options,
            f"--no-binary={self._package}",
            f"--{'wheel-dir' if verb == 'wheel' else 'dest'}={inside / 'out'}",
        ]
        if not self._recipe.requires:
            return [*command, f"{self._package}=={self._version}"]
        assert self._network is not None  # noqa: S101 (it was checked)
        assert self._work is not None  # noqa: S101
        archive = self._network.source(self._version, self._work)
        source = str(inside / "source")
        text = Path(amend.__file__).read_text(encoding="utf-8")
        arguments = [str(inside / archive.name), source, json.dumps(self._recipe.requires)]
        return [pip[0], "-I", "-c", text, *arguments, *command, source]

    def _by_recipe(self, variables: dict[str, str], inside: Path) -> dict[str, str]:
        """Return the environment *variables* with those of the recipe, and its constraints.

        The mirror has only what fulfils these, but pip reads folders of this machine itself.
        """
        assert self._work is not None  # noqa: S101
        variables |= self._recipe.environment
        lines = constraints(self._recipe, self._package)
        if not lines:
            return variables
        (self._work / "constraints.txt").write_text("\n".join(lines))
        # As an address, since a path could have spaces.
        return with_constraints(variables, (inside / "constraints.txt").as_uri())

    def _judge(self, ending: Ending) -> None:
        if self._stopping.is_set():
            ending = Ending("stopped")
        if ending.success:
            return
        from_outside = ending.kind == "signal" and self._sandbox.own_processes
        self.lost = from_outside or ending.kind == "lost"
        if ending == ("exit", str(128 + signal.SIGKILL)):  # a program that runs pip tells it so
            ending = Ending("signal", str(int(signal.SIGKILL)))
        detail = f" {ending.detail}" if ending.kind in ("exit", "signal") else ""
        self.ending = "lost" if self.lost else ending.kind + detail
        if ending.kind == "timeout":
            reason = f"the build was stopped after {self._timeout}, its time-out"
        elif ending == ("signal", str(int(signal.SIGKILL))):
            reason = "the build was killed from outside (did memory run out?)"
        else:
            reason = self._limits.reason(ending.kind) or _REASONS[ending.kind].format(ending)
        if ending.kind == "exit" and self._recipe.options and b"no such option: " in self._log:
            self.ending = "request"
            reason = f"{_REFUSED}: options: pip of this Python is too old for them"
        elif ending.kind == "exit":
            reason += self._clue()
        raise BadWheel(reason)

    def _clue(self) -> str:
        """Return what the log says of the cause, if pip's last lines do not."""
        if b"No space left on device" in self._log:
            return "; its disk was full"
        for number, words in _DEATHS.items():
            if words in self._log:
                killed = number == signal.SIGKILL
                memory = " (did memory run out?)" if killed else ""
                how = "was killed" if killed else "crashed"
                return f"; one of its programs {how} by signal {int(number)}{memory}"
        return ""

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
        is_dynamic = has_dynamic_requirements(self._work)
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
                self.ending = "trial"
                raise BadWheel(f"pip cannot install {wheel.filename}: {wheel.trial.why}")
            self._log.note(f"{wheel.filename}: {wheel.trial}")
        if self._recipe.features - LIMITS:
            self._check_cured()

    def _check_cured(self) -> None:
        """Raise ``BadWheel`` unless each wheel was installed and imported.

        Modules that it requires are not there: an import that misses one was tried. Private modules
        alone may fail: optional parts do so, where a library is missing.
        """
        for wheel in self.wheels:
            trial = wheel.trial
            needs_others = trial.why.startswith(NEEDS) and wheel.pip_dependencies
            is_private = trial.imports is False and trial.why.startswith("_")
            if trial.imports or (trial.installs and (needs_others or is_private)):
                continue
            if trial.installs and not import_names(recorded_paths(wheel.path)):
                continue
            self.ending = "trial" if trial.installs else "error"
            raise BadWheel(
                f"{wheel.filename} was built with a recipe, so it must install and import:"
                f" {trial.why or 'it was not tried'}"
            )

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
