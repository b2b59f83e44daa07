"""Taking in a build: from a slave's ``BUILT`` to the commit.

The order is: check what the slave says; ask which files are published; for each file have it sent,
verified and placed; commit; have the pages written; tell the slave that it is done. An intake
lives on when its slave goes once it needs nothing more from it. Its :class:`Step` says what it
waits for; whatever comes at another step is late and dropped.
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
    Effect,
    Expect,
    LogBuild,
    Release,
    Target,
    Verify,
    Warn,
    Written,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from piwheels.core.states import BuildState, FileState

#: How often a file is asked for before the build is given up.
MAX_TRIES = 3
#: How often a build is logged anew while the database is away, a tick of SlaveDriver apart.
MAX_LOG_TRIES = 60
#: The longest log that is kept, in bytes; the most files; and the longest that all names of
#: dependencies may be together, in characters: all of it must fit one frame.
MAX_LOG, MAX_FILES, MAX_NAMES = 15 * 2**20, 10, 50_000
#: Refusals that say nothing of the build: the disk is full, another task does not answer.
OUR_FAULT = ("NOROOM", "UNAVAILABLE")

_ARCHITECTURE: Final = re.compile(r"_(x86_64|[A-Za-z0-9]+)$")


class Step(StrEnum):
    """What an intake waits for."""

    PUBLISHED = "published"  # the database: which files are published
    EXPECT = "expect"  # FileJuggler: ready for a file
    SENT = "sent"  # the slave: the file is sent
    VERIFY = "verify"  # FileJuggler: the file is in place
    LOG = "log"  # the database: the build is committed
    KNOWN = "known"  # the database: which of the files in place it knows, when an import is undone
    WITHDRAW = "withdraw"  # FileJuggler: the others are gone again
    ENDED = "ended"  # nothing; the slave may have its reply


def fault(build: BuildState, platform: str | None) -> str | None:
    """Return what is wrong with a build that its slave says has succeeded, or ``None``.

    The names and tags of its files are taken from their file names, which are what is published;
    so a build may make files of its own package, version and ABI only. *platform* is the slave's
    (``None``: nobody knows what it was made on).
    """
    if not build.files:
        return "the build ended without an error but made no wheel"
    if len(build.files) > MAX_FILES:
        return f"the build made {len(build.files)} files, more than {MAX_FILES}"
    tools = (tool for state in build.files.values() for tool in state.dependencies.values())
    if sum(len(name) for names in tools for name in names) > MAX_NAMES:
        return "the build names more dependencies than can be true"
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
            return f"{name} is not for the ABI that was asked for ({build.abi_tag})"
        state.package_tag, state.package_version_tag = parts.package, parts.version
        state.py_version_tag, state.abi_tag = parts.py, parts.abi
        state.platform_tag = parts.platform
        if platform is not None and not _fits(parts.platform, platform):
            return f"{name} is for another platform than the builder's ({platform})"
    return None


def fit_log(text: str) -> str:
    """Return a build's log as it is kept: with no control characters but line ends and tabs.

    It has at most :data:`MAX_LOG` bytes, the last ones, which say most.
    """
    data = CONTROL_IN_LINES.sub("?", text).encode()
    return data[-MAX_LOG:].decode("utf-8", "ignore")


def _fits(tag: str, platform: str) -> bool:
    """Whether each platform of *tag* is ``any``, or of the builder's kind (``linux_armv7l``)."""
    kind = _kind(platform)
    return all(one == "any" or _kind(one) == kind for one in tag.split("."))


def _kind(platform: str) -> tuple[bool, str]:
    """Return whether *platform* is a Linux, and its architecture.

    One 32-bit system may call itself armv6l, armv7l or armv8l, depending on whom one asks (and
    i386 or i686).
    """
    match = _ARCHITECTURE.search(platform)
    is_linux = "linux" in platform  # manylinux, musllinux
    return is_linux, re.sub(r"^(arm|i)(?=v\d|\d86).*", r"\1", match[1]) if match else platform


def name_to_publish(name: str, filehash: str, published: Mapping[str, str]) -> str:
    """Return the name under which a file is published: one that has not stood for other bytes.

    A published name never changes its bytes, so a rebuild that gives others gets a build tag (PEP
    427).
    """
    candidate, number = name, 0
    while published.get(candidate, filehash) != filehash:
        number += 1
        candidate = with_build_tag(name, number)
    return candidate


@dataclass(slots=True)
class Intake:
    """One build on its way into the farm, begun at *since*.

    *platform* and *label* are those of the slave which built it.
    """

    build: BuildState
    platform: str
    label: str
    since: datetime
    step: Step = Step.ENDED
    tries: int = 0
    #: Whether the build has to be logged anew, when some time has passed.
    unlogged: bool = False
    published: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs_slave(self) -> bool:
        """Whether the slave still has to send something."""
        return self.step in (Step.PUBLISHED, Step.EXPECT, Step.SENT, Step.VERIFY)

    @property
    def target(self) -> Target:
        """What was built."""
        return self.build.package, self.build.version, self.build.abi_tag

    @property
    def current(self) -> FileState:
        """The file that is being taken in; there is one as long as the build is not logged."""
        name = self.build.next_file
        assert name is not None, "an intake with nothing to transfer asks for no file"  # noqa: S101
        return self.build.files[name]

    # Events ---------------------------------------------------------------------------------

    def begin(self) -> list[Effect]:
        """Begin: commit a build that failed, or take in the files of one that succeeded."""
        self.build.output = fit_log(self.build.output)
        if self.build.status and (why := fault(self.build, self.platform)) is not None:
            self._fail(why)
        if not self.build.status:
            self.build.files.clear()
            return self._log()
        self.step = Step.PUBLISHED
        return [AskPublished(self.build.slave_id, canonical(self.build.package))]

    def sent(self) -> list[Effect]:
        """Go on when the slave says that it has sent the file."""
        self.step = Step.VERIFY
        return [Verify(self.build.slave_id, canonical(self.build.package))]

    def answered(self, result: Any, error: Exception | None) -> list[Effect]:
        """Go on with the answer to the last question: *result*, or *error* in its place."""
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
                return self._abandon(f"the database did not say what is published: {error}")
        return []

    def again(self) -> list[Effect]:
        """Go on after a while: log the build anew if the database was away."""
        if not self.unlogged:
            return []
        self.unlogged = False
        return [LogBuild(self.build.slave_id, self.build)]

    # Steps ----------------------------------------------------------------------------------

    def _expect(self) -> list[Effect]:
        self.step = Step.EXPECT
        return [Expect(self.build.slave_id, self.current, self._name_of(self.current))]

    def _name_of(self, state: FileState) -> str:
        return name_to_publish(state.filename, state.filehash, self.published)

    def _placed(self, result: Mapping[str, Any]) -> list[Effect]:
        state = self.current
        state.transferred = True
        # What the master read in the wheel stands, whatever the slave said of it.
        state.filename = result["filename"]
        state.metadata_hash = result["metadata_hash"]
        state.requires_python = result["requires_python"]
        self.tries = 0
        return self._log() if self.build.transfers_done else self._expect()

    def _not_placed(self, error: Exception | None) -> list[Effect]:
        self.tries += 1
        code = error.code if isinstance(error, Refused) else "UNAVAILABLE"
        again = code in ("BADHASH", "TAKEN", "UNKNOWN", "UNAVAILABLE")
        if code == "TAKEN":  # by a build that is not committed yet: the next name, then
            self.published = {**self.published, self._name_of(self.current): ""}
        if code in OUR_FAULT and (not again or self.tries >= MAX_TRIES):
            return self._abandon(str(error))
        if not again or self.tries >= MAX_TRIES:
            return self._give_up(f"{self.current.filename} was not taken: {error}")
        text = f"{self.current.filename} has to be sent again: {error}"
        return [Warn(self.build.slave_id, self.label, text), *self._expect()]

    def _log(self) -> list[Effect]:
        self.step = Step.LOG
        self.tries = 0
        # A file may be published under another name than the slave's.
        self.build.files = {state.filename: state for state in self.build.files.values()}
        return [LogBuild(self.build.slave_id, self.build)]

    def _not_logged(self, error: Exception | None) -> list[Effect]:
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
        return [warning, Release(self.target)]

    def _give_up(self, why: str) -> list[Effect]:
        self._fail(why)
        self.build.files.clear()
        return [
            Warn(self.build.slave_id, self.label, f"build of {self} failed: {why}"),
            *self._log(),
        ]

    def _abandon(self, why: str) -> list[Effect]:
        """End without a word in the database, so that the version is built again later."""
        self.step = Step.ENDED
        text = f"build of {self} is dropped, to be built again later, by no fault of its own: {why}"
        return [Warn(self.build.slave_id, self.label, text), Release(self.target)]

    def _fail(self, why: str) -> None:
        self.build.status = False
        self.build.output = f"{self.build.output.rstrip()}\n\npiwheels: {why}\n"

    def __str__(self) -> str:
        return f"{self.build.package} {self.build.version} for {self.build.abi_tag}"
