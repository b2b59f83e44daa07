"""Taking in a build: from a slave's ``BUILT`` to the commit.

The steps: check what the slave reports; ask which files are published; have each file sent,
verified and moved into place; commit; have the pages written; reply to the slave. An intake that
needs nothing more from its slave goes on if the slave goes. Its :class:`Step` says what it waits
for; an answer at any other step is late, and ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.errors import BadWheel, DatabaseError, Refused, Unavailable
from piwheels.core.text import CONTROL_IN_LINES
from piwheels.core.wheels.tags import canonical, parse_filename, same_version, with_build_tag
from piwheels.master.logic.effects import (
    AskPublished,
    Expect,
    IntakeEffect,
    LogBuild,
    Target,
    Verify,
    Warn,
    Written,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from piwheels.core.states import BuildState, FileState

#: How often a file is asked for before its build counts as failed.
MAX_TRIES = 3
#: How often a build is logged again while the database is away, a tick of SlaveDriver apart.
MAX_LOG_TRIES = 60
#: The longest log, in bytes; the most files; and the most characters that the names of all
#: dependencies may have. Together they must fit one frame.
MAX_LOG, MAX_FILES, MAX_NAMES = 15 * 2**20, 10, 50_000
#: Refusals for which the build is not to blame: a full disk, a task that does not answer.
OUR_FAULT = ("NOROOM", "UNAVAILABLE")

_ARCHITECTURE: Final = re.compile(r"_(x86_64|[A-Za-z0-9]+)$")


class Step(StrEnum):
    """What an intake waits for: whose answer, to which question."""

    PUBLISHED = "published"  # the database: which files are published
    EXPECT = "expect"  # FileJuggler: ready for a file
    SENT = "sent"  # the slave: the file is sent
    VERIFY = "verify"  # FileJuggler: the file is in place
    LOG = "log"  # the database: the build is committed
    KNOWN = "known"  # the database: which files in place it knows (an import is undone)
    WITHDRAW = "withdraw"  # FileJuggler: the other files are removed (an import is undone)
    ENDED = "ended"  # nothing; the slave can have its reply


def fault(build: BuildState, platform: str | None) -> str | None:
    """Return the reason why a build that its slave reports as a success is invalid, or ``None``.

    A build may only make files of its own package, version and ABI. The tags of its files are set
    from the file names, which are published. *platform* is the slave's (``None``: unknown).
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
        if not set(parts.abi.split(".")) <= {build.abi_tag, "abi3", "none"}:
            return f"{name} is not for the ABI of the build ({build.abi_tag})"
        state.package_tag, state.package_version_tag = parts.package, parts.version
        state.py_version_tag, state.abi_tag = parts.py, parts.abi
        state.platform_tag = parts.platform
        if platform is not None and not _fits(parts.platform, platform):
            return f"{name} is for another platform than the builder's ({platform})"
    return None


def fit_log(text: str) -> str:
    """Return a build's log as it is stored: no control characters but line ends and tabs.

    Of a log of more than :data:`MAX_LOG` bytes the end is kept.
    """
    data = CONTROL_IN_LINES.sub("?", text).encode()
    return data[-MAX_LOG:].decode("utf-8", "ignore")


def _fits(tag: str, platform: str) -> bool:
    """Whether each platform of *tag* is ``any``, or of the builder's kind (``linux_armv7l``)."""
    kind = _kind(platform)
    return all(one == "any" or _kind(one) == kind for one in tag.split("."))


def _kind(platform: str) -> tuple[bool, str]:
    """Return whether *platform* is a Linux, and its architecture.

    The same 32-bit system may report armv6l, armv7l or armv8l, depending on the interface (and i386
    or i686).
    """
    match = _ARCHITECTURE.search(platform)
    is_linux = "linux" in platform  # manylinux, musllinux
    return is_linux, re.sub(r"^(arm|i)(?=v\d|\d86).*", r"\1", match[1]) if match else platform


def name_to_publish(name: str, filehash: str, published: Mapping[str, str]) -> str:
    """Return the name under which a file is published.

    The content of a published name never changes, so a rebuild with another content gets a build
    tag (PEP 427).
    """
    candidate, number = name, 0
    while published.get(candidate, filehash) != filehash:
        number += 1
        candidate = with_build_tag(name, number)
    return candidate


@dataclass(slots=True)
class Intake:
    """One build on its way into the farm; *platform* and *label* are those of its slave."""

    build: BuildState
    platform: str
    label: str
    step: Step = Step.ENDED
    tries: int = 0
    #: Whether the build has to be logged again at the next :meth:`retry`.
    unlogged: bool = False
    published: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs_slave(self) -> bool:
        """Whether the slave still has to send something."""
        return self.step in (Step.PUBLISHED, Step.EXPECT, Step.SENT, Step.VERIFY)

    @property
    def target(self) -> Target:
        """The version that was built, and for which ABI."""
        return self.build.package, self.build.version, self.build.abi_tag

    @property
    def current(self) -> FileState:
        """The next file to place; there is one until the build is logged."""
        name = self.build.next_file
        assert name is not None, "there is no file to transfer"  # noqa: S101
        return self.build.files[name]

    # Events ---------------------------------------------------------------------------------

    def begin(self) -> list[IntakeEffect]:
        """Begin: commit a failed build, or ask for the files of a successful one."""
        self.build.output = fit_log(self.build.output)
        if self.build.status and (why := fault(self.build, self.platform)) is not None:
            self._fail(why)
        if not self.build.status:
            self.build.files.clear()
            return self._log()
        self.step = Step.PUBLISHED
        return [AskPublished(self.build.slave_id, canonical(self.build.package))]

    def sent(self) -> list[IntakeEffect]:
        """Have the file verified: the slave reports that it has sent it."""
        self.step = Step.VERIFY
        return [Verify(self.build.slave_id, canonical(self.build.package))]

    def answered(self, result: Any, error: Exception | None) -> list[IntakeEffect]:
        """Take the answer to the last question: *result*, or *error* in its place."""
        match self.step:
            case Step.PUBLISHED if error is None:
                self.published = result
                return self._expect()
            case Step.EXPECT if error is None:
                self.step = Step.SENT
                return []
            case Step.VERIFY if error is None:
                return self._placed(result)
            case Step.LOG if error is None:
                self.build.build_id = result
                self.step = Step.ENDED
                return [Written(self.build)]
            case Step.LOG:
                return self._not_logged(error)
            case Step.EXPECT | Step.VERIFY:
                return self._not_placed(error)
            case Step.PUBLISHED:
                return self._abandon(f"the published files are unknown: {error}")
        return []

    def retry(self) -> list[IntakeEffect]:
        """Log the build again if the database was away."""
        if not self.unlogged:
            return []
        self.unlogged = False
        return [LogBuild(self.build.slave_id, self.build)]

    # Steps ----------------------------------------------------------------------------------

    def _expect(self) -> list[IntakeEffect]:
        self.step = Step.EXPECT
        return [Expect(self.build.slave_id, self.current, self._name_of(self.current))]

    def _name_of(self, state: FileState) -> str:
        return name_to_publish(state.filename, state.filehash, self.published)

    def _placed(self, result: Mapping[str, Any]) -> list[IntakeEffect]:
        state = self.current
        state.transferred = True
        # The master has read these in the wheel itself.
        state.filename = result["filename"]
        state.metadata_hash = result["metadata_hash"]
        state.requires_python = result["requires_python"]
        self.tries = 0
        return self._log() if self.build.transfers_done else self._expect()

    def _not_placed(self, error: Exception | None) -> list[IntakeEffect]:
        self.tries += 1
        code = error.code if isinstance(error, Refused) else "UNAVAILABLE"
        again = code in ("BADHASH", "TAKEN", "UNKNOWN", "UNAVAILABLE")
        if code == "TAKEN":  # by a build that is not committed yet: take the next name
            self.published = {**self.published, self._name_of(self.current): ""}
        if code in OUR_FAULT and (not again or self.tries >= MAX_TRIES):
            return self._abandon(str(error))
        if not again or self.tries >= MAX_TRIES:
            return self._give_up(f"{self.current.filename} was refused: {error}")
        text = f"{self.current.filename} has to be sent again: {error}"
        return [Warn(self.build.slave_id, self.label, text), *self._expect()]

    def _log(self) -> list[IntakeEffect]:
        self.step = Step.LOG
        self.tries = 0
        # A file may be published under another name than the slave's.
        self.build.files = {state.filename: state for state in self.build.files.values()}
        return [LogBuild(self.build.slave_id, self.build)]

    def _not_logged(self, error: Exception | None) -> list[IntakeEffect]:
        warning = Warn(self.build.slave_id, self.label, f"build of {self} was not logged: {error}")
        match error:
            case Refused(code="FILECONFLICT") if self.build.files:
                return [warning, *self._give_up(str(error))]
            case DatabaseError() | Unavailable():
                self.tries += 1
                if self.tries >= MAX_LOG_TRIES:
                    return self._abandon(f"it could not be logged: {error}")
                self.unlogged = True
                return [warning]
        self.step = Step.ENDED
        return [warning]

    def _give_up(self, why: str) -> list[IntakeEffect]:
        self._fail(why)
        self.build.files.clear()
        return [
            Warn(self.build.slave_id, self.label, f"build of {self} failed: {why}"),
            *self._log(),
        ]

    def _abandon(self, why: str) -> list[IntakeEffect]:
        """End without storing the build, so that the version is built again later."""
        self.step = Step.ENDED
        text = f"build of {self} is dropped, and will be built again: {why}"
        return [Warn(self.build.slave_id, self.label, text)]

    def _fail(self, why: str) -> None:
        self.build.status = False
        self.build.output = f"{self.build.output.rstrip()}\n\npiwheels: {why}\n"

    def __str__(self) -> str:
        return f"{self.build.package} {self.build.version} for {self.build.abi_tag}"
