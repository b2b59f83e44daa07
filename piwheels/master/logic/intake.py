"""The intake of a finished build: from a slave's ``BUILT`` to the commit. Pure.

Before it begins, Fleet may have it wait for the intake of the same version from another slave, or
ask whether the version still has to be built.

The steps: check the report of the slave; ask which files are published; have each file sent,
verified and published; commit; have the pages written; reply to the slave. An intake that needs
nothing more from its slave continues without it. Its :class:`Step` is the answer that it waits for;
an answer at another step is late, and ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from piwheels.core.diagnosis import Diagnosis, diagnose
from piwheels.core.errors import (
    BadWheel,
    DatabaseError,
    Refused,
    Rejected,
    Unavailable,
    should_log,
)
from piwheels.core.recipes import PLAIN
from piwheels.core.states import MAX_FETCHES
from piwheels.core.text import CONTROL_IN_LINES
from piwheels.core.wheels import serving
from piwheels.core.wheels.tags import (
    FLEXIBLE,
    canonical,
    parse_filename,
    same_version,
    suits,
    with_build_tag,
)
from piwheels.master.logic import cures
from piwheels.master.logic.effects import (
    AskPublished,
    Assignment,
    BuildStored,
    Expect,
    IntakeEffect,
    LogBuild,
    Verify,
    Warn,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from piwheels.core.database.rows import Published
    from piwheels.core.states import BuildState, FileState
    from piwheels.core.wheels.tags import WheelName
    from piwheels.master.logic.fitness import Builder

#: How often a file is requested before its build counts as failed.
MAX_TRIES = 3
#: How often the database is asked again while it is unavailable, a tick of SlaveDriver apart.
MAX_LOG_TRIES = 60
#: The longest log, in bytes; the most files; the most characters in the names of all dependencies.
#: Together they must fit into one frame.
MAX_LOG, MAX_FILES, MAX_NAMES = 15 * 2**20, 10, 50_000
#: Refusals that the build has not caused: a full disk, a task that does not answer.
MASTER_FAULTS = ("NOROOM", "UNAVAILABLE")
#: Refusals of a file that another build of the version would get, too.
CONTENT_FAULTS = ("BADWHEEL", "TOOBIG")


class Step(StrEnum):
    """The answer that an intake waits for."""

    TURN = "turn"  # none: the intake of another slave's build of this version is under way
    PENDING = "pending"  # from the database: whether the version still has to be built
    PUBLISHED = "published"  # from the database: which files are published
    EXPECT = "expect"  # from FileJuggler: ready for a file
    SENT = "sent"  # from the slave: the file is sent
    VERIFY = "verify"  # from FileJuggler: the file is published
    LOG = "log"  # from the database: the build is committed
    KNOWN = "known"  # from the database: which published files it knows (to undo an import)
    WITHDRAW = "withdraw"  # from FileJuggler: the others are removed (to undo an import)
    ENDED = "ended"  # none; the slave can have its reply


def reason_to_reject(build: BuildState, platform: str | None) -> str | None:
    """Return why a build that its slave reports as successful is invalid, or ``None``.

    A build may only make files of its own package, version and ABI. The tags of its files are set
    from their names, because the names are published. *platform* is that of the slave (``None``:
    unknown).
    """
    if not build.files:
        return "the build ended without an error but made no wheel"
    if len(build.files) > MAX_FILES:
        return f"the build made {len(build.files)} files, more than {MAX_FILES}"
    tools = (tool for state in build.files.values() for tool in state.dependencies.values())
    if sum(len(name) for names in tools for name in names) > MAX_NAMES:
        return "the build names too many dependencies"
    for name, state in build.files.items():
        try:
            parts = parse_filename(name)
        except BadWheel as exc:
            return str(exc)
        if canonical(parts.package) != canonical(build.package):
            return f"{name} is not a file of {build.package}"
        if not same_version(parts.version, build.version):
            return f"{name} is not a file of version {build.version}"
        if not set(parts.abi.split(".")) <= {build.abi_tag, *FLEXIBLE}:
            return f"{name} is not for the ABI of the build ({build.abi_tag})"
        state.package_tag, state.package_version_tag = parts.package, parts.version
        state.py_version_tag, state.abi_tag = parts.py, parts.abi
        state.platform_tag = parts.platform
        if platform is not None and not suits(parts.platform, platform):
            return f"{name} is for another platform than the builder's ({platform})"
        if build.abi_tag not in FLEXIBLE and not serving.serves(parts, build.target):
            return reason_unusable(parts, build.abi_tag)
        if state.trial is not None and state.trial.installs is False:
            return f"pip cannot install {name}: {state.trial.why}"
        if build.recipe != PLAIN and (state.trial is None or not state.trial.works):
            return (
                f"{name} is made with a recipe, and was not installed and imported: {state.trial}"
            )
    return None


def reason_unusable(name: WheelName, abi: str) -> str:
    """Return why installers for interpreters of *abi* do not accept the wheel *name*."""
    pythons = name.py.split(".")
    made = "Python 2" if all(re.match("[a-z]+2", each) for each in pythons) else ", ".join(pythons)
    what = "" if name.abi == "none" else f" with the ABI {name.abi}"
    where = " on any machine" if name.platform == "any" and name.abi != "none" else ""
    return f"{name} is made for {made}{what}{where}: no installer for {abi} accepts it"


def missing_extension(build: BuildState, known: Published) -> str | None:
    """Return why the pure wheels of *build* seem to lack their extension, or ``None``.

    Many projects leave an optional extension out if a compiler or headers are missing, and build a
    wheel that would serve everybody. Wheels of the same version decide; if upstream has none and
    the farm has none, those of the version before.
    """
    if not all(_is_pure(state) for state in map(parse_filename, build.files)):
        return None
    own = Version(build.version)
    names: dict[Version, list[WheelName]] = {}
    for name in map(parse_filename, known.files):
        names.setdefault(Version(name.version), []).append(name)
    before = max((version for version in names if version < own), default=own)
    if known.upstream_wheels:
        others, native = "upstream's of this version", known.upstream_wheels == "native"
    elif own in names:
        others, native = "others of this version", not any(map(_is_pure, names[own]))
    else:
        others = f"those of {before}"
        native = before in names and not any(map(_is_pure, names[before]))
    if not native:
        return None
    return (
        f"the wheel is held back: it has no extension, but {others} have one (does this slave lack"
        " a compiler, headers or a library? piw-import publishes such a wheel nevertheless)"
    )


def _is_pure(name: WheelName) -> bool:
    return name.abi == "none" and name.platform == "any"


def sanitise_log(text: str) -> str:
    """Return a build's log without control characters except line ends and tabs.

    Only the last :data:`MAX_LOG` bytes of a longer log are kept.
    """
    data = CONTROL_IN_LINES.sub("?", text).encode()
    return data[-MAX_LOG:].decode("utf-8", "ignore")


def name_to_publish(name: str, filehash: str, published: Mapping[str, str]) -> str:
    """Return the name under which a file is published.

    The content of a published name never changes, also after its removal, so a rebuild with other
    content gets a build tag (PEP 427).
    """
    candidate, number = name, 0
    while published.get(candidate, filehash) != filehash:
        number += 1
        candidate = with_build_tag(name, number)
    return candidate


@dataclass(slots=True)
class Intake:
    """The intake of one build; *platform* and *label* are those of its slave."""

    build: BuildState
    platform: str
    label: str
    step: Step = Step.ENDED
    tries: int = 0
    #: Whether the database was unavailable, and has to be asked again at the next :meth:`retry`.
    unanswered: bool = False
    published: Mapping[str, str] = field(default_factory=dict)
    #: Its slave, and whether a failure is final if its log shows a certain cause; whether it has
    #: been judged.
    builder: Builder | None = None
    trusted: bool = True
    judged: bool = False
    #: Whether its supervisor was killed, and how its pip ended.
    lost: bool = False
    ending: str = ""
    #: Whether it is the second failure of its version, which settles the result.
    confirms: bool = False
    #: Whether handling it has raised an unexpected error.
    faulty: bool = False
    #: Whether the master has refused a file of it for its content.
    refused: bool = False
    #: How often the master had no room for a file of it.
    waits: int = 0

    @property
    def needs_slave(self) -> bool:
        """Whether the slave still has to send something."""
        return self.step not in (Step.LOG, Step.ENDED)

    @property
    def is_certain(self) -> bool:
        """Whether a failure has a cause that another slave would not change."""
        return self.refused or self.build.diagnosis.about.certain

    @property
    def assignment(self) -> Assignment:
        """The version that was built, and for which target."""
        return self.build.package, self.build.version, self.build.target

    @property
    def current(self) -> FileState:
        """The next file to publish; there is one until the build is logged."""
        name = self.build.next_file
        assert name is not None, "there is no file to transfer"  # noqa: S101
        return self.build.files[name]

    # Events ---------------------------------------------------------------------------------

    def begin(self) -> list[IntakeEffect]:
        """Begin: commit a failed build, or ask for the files of a successful one."""
        self.build.output = sanitise_log(self.build.output)
        self.build.fetches = self.build.fetches[:MAX_FETCHES]
        if self.build.status and (why := reason_to_reject(self.build, self.platform)) is not None:
            self._mark_failed(why)
        if not self.build.status:
            self.build.files.clear()
            return self._log()
        self.step = Step.PUBLISHED
        return [self._ask_published()]

    def sent(self) -> list[IntakeEffect]:
        """Have the file verified that the slave has just sent."""
        self.step = Step.VERIFY
        return [Verify(self.build.slave_id, canonical(self.build.package))]

    def answered(self, result: Any, error: Exception | None) -> list[IntakeEffect]:
        """Continue with the answer to the last request: *result*, or *error* in its place."""
        match self.step:
            case Step.PUBLISHED if error is None:
                self.published, self.tries = {**result.retired, **result.files}, 0
                if why := self._reason_to_hold(result):
                    return self._reject(why, "held-back")
                return self._expect()
            case Step.EXPECT if error is None:
                self.step = Step.SENT
                return []
            case Step.VERIFY if error is None:
                return self._placed(result)
            case Step.LOG if error is None:
                self.build.build_id = result
                self.step = Step.ENDED
                return [BuildStored(self.build)]
            case Step.LOG:
                return self._not_logged(error)
            case Step.EXPECT | Step.VERIFY:
                return self._not_placed(error)
            case Step.PUBLISHED:
                return self.not_answered(f"the published files are unknown: {error}")
        return []

    def fault(self, why: str) -> list[IntakeEffect]:
        """Commit a failed build: handling it has raised an unexpected error. End if it does again.

        Otherwise each slave would build that version, one after another.
        """
        if self.faulty:
            self.step = Step.ENDED
            text = f"build of {self} could not be stored, and is put off: {why}"
            return [Warn(self.build.slave_id, self.label, text)]
        self.faulty = True
        return self._reject(why, "master-fault")

    def retry(self) -> list[IntakeEffect]:
        """Ask the database again if it was unavailable."""
        if not self.unanswered:
            return []
        self.unanswered = False
        if self.step is Step.LOG:
            return [LogBuild(self.build.slave_id, self.build)]
        return [self._ask_published()]  # the next file follows

    # Steps ----------------------------------------------------------------------------------

    def _ask_published(self) -> IntakeEffect:
        package = canonical(self.build.package)
        return AskPublished(self.build.slave_id, package, self.build.version)

    def _reason_to_hold(self, known: Published) -> str | None:
        return missing_extension(self.build, known)

    def _expect(self) -> list[IntakeEffect]:
        self.step = Step.EXPECT
        return [Expect(self.build.slave_id, self.current, self._name_of(self.current))]

    def _name_of(self, state: FileState) -> str:
        """Return the name under which to publish the file *state*; a build chooses no build tag."""
        name = str(parse_filename(state.filename)._replace(build=""))
        return name_to_publish(name, state.filehash, self.published)

    def _placed(self, result: Mapping[str, Any]) -> list[IntakeEffect]:
        state = self.current
        state.transferred = True
        # The master has read these from the wheel itself.
        state.filename = result["filename"]
        state.metadata_hash = result["metadata_hash"]
        state.requires_python = result["requires_python"]
        self.tries = 0
        return self._log() if self.build.transfers_done else self._expect()

    def _not_placed(self, error: Exception | None) -> list[IntakeEffect]:
        self.tries += 1
        code = error.code if isinstance(error, Refused) else "UNAVAILABLE"
        retry = code in ("BADHASH", "TAKEN", "UNKNOWN", "UNAVAILABLE")
        if code == "TAKEN":  # by a build that is not committed yet: use the next name
            self.published = {**self.published, self._name_of(self.current): ""}
        if code in MASTER_FAULTS and (not retry or self.tries >= MAX_TRIES):
            return self._wait(str(error))
        if not retry or self.tries >= MAX_TRIES:
            self.refused = code in CONTENT_FAULTS
            reason = "wheel-refused" if self.refused else "master-fault"
            return self._reject(f"{self.current.filename} was refused: {error}", reason)
        text = f"{self.current.filename} has to be sent again: {error}"
        return [Warn(self.build.slave_id, self.label, text), *self._expect()]

    def _wait(self, why: str) -> list[IntakeEffect]:
        """Have the file requested again later: its slave keeps it meanwhile."""
        self.step, self.tries, self.unanswered = Step.PUBLISHED, 0, True
        self.waits += 1
        if not should_log(self.waits):
            return []
        text = f"keeps its build of {self}, and is asked for it again: {why}"
        return [Warn(self.build.slave_id, self.label, text)]

    def _log(self) -> list[IntakeEffect]:
        self.step = Step.LOG
        self.tries = 0
        self.build.final = self.build.status or (self.trusted and self.is_certain)
        if self.build.status:
            self.build.keeps = cures.kept(self.build.recipe)
        # A file may be published under another name than the slave gave it.
        self.build.files = {state.filename: state for state in self.build.files.values()}
        return [LogBuild(self.build.slave_id, self.build)]

    def _not_logged(self, error: Exception | None) -> list[IntakeEffect]:
        warning = Warn(self.build.slave_id, self.label, f"build of {self} was not logged: {error}")
        match error:
            case Refused(code="FILECONFLICT") if self.build.files:
                return [warning, *self._reject(str(error))]
            case Rejected():  # a repetition would fail, too
                pass
            case DatabaseError() | Unavailable():
                return self.not_answered(f"it could not be logged: {error}")
        self.step = Step.ENDED
        return [warning]

    def not_answered(self, why: str) -> list[IntakeEffect]:
        """Have the request repeated for a while: the database is unavailable."""
        self.tries += 1
        if self.tries >= MAX_LOG_TRIES:
            return self._abandon(why)
        self.unanswered = True
        return [Warn(self.build.slave_id, self.label, f"build of {self} has to wait: {why}")]

    def _reject(self, why: str, reason: str = "wheel-refused") -> list[IntakeEffect]:
        self._mark_failed(why, reason)
        self.build.files.clear()
        return [
            Warn(self.build.slave_id, self.label, f"build of {self} failed: {why}"),
            *self._log(),
        ]

    def _abandon(self, why: str) -> list[IntakeEffect]:
        """End without a commit, so that the version is built again later."""
        self.step = Step.ENDED
        text = f"build of {self} is dropped, and will be built again: {why}"
        return [Warn(self.build.slave_id, self.label, text)]

    def diagnose(self) -> Diagnosis:
        """Find out why the build failed, if that is not known yet."""
        if not self.build.diagnosis.reason:
            self.build.output = sanitise_log(self.build.output)
            self.build.diagnosis = (
                Diagnosis("lost", confidence=1.0)
                if self.lost
                else diagnose(self.build.output, self.ending)
            )
        return self.build.diagnosis

    def _mark_failed(self, why: str, reason: str = "wheel-refused") -> None:
        self.build.status = False
        self.build.diagnosis = Diagnosis(reason, cause=why, confidence=1.0)
        self.build.output = f"{self.build.output.rstrip()}\n\npiwheels: {why}\n"

    def __str__(self) -> str:
        return f"{self.build.package} {self.build.version} for {self.build.abi_tag}"
