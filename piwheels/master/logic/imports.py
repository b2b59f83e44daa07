"""Imports: builds that an admin tool sends. Their intake is like that of a slave's build. Pure.

Each import has a number on the file wire (docs/decisions/0027): the one that its tool has chosen,
or 0. Imports with the same number run one after the other; all others run at the same time. If an
import fails, its tool gets the reason, and no transfer, file or build of it remains.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.conversations import ToolPhase, tool_conversation
from piwheels.core.errors import Refused
from piwheels.core.protocols import FIRST_IMPORT
from piwheels.core.wheels.tags import FLEXIBLE, canonical, parse_filename, serves
from piwheels.master.logic.effects import (
    AskMissingBytes,
    AskPublished,
    ImportEffect,
    IntakeEffect,
    Reply,
    Warn,
    WithdrawFiles,
)
from piwheels.master.logic.intake import (
    Intake,
    Step,
    name_to_publish,
    reason_to_reject,
    sanitise_log,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from piwheels.core.database.rows import Published
    from piwheels.core.states import BuildState, FileState

#: The most imports that run or wait.
MAX_IMPORTS: Final = 100
#: The seconds without a byte after which the import of a file is undone.
SILENCE: Final = 60.0
#: The longest duration of a build.
LONGEST: Final = timedelta(days=366)


def check(build: BuildState, active: Sequence[str], known: Collection[str]) -> None:
    """Check what *build* declares, and set its ABI.

    *active* are the ABIs that the farm builds for, in order; *known* are all ABIs in the database.
    A build for no single ABI (``none``, ``abi3``) becomes one for the first active ABI that can use
    all its files. Raises ``Refused`` with a sentence.
    """
    if not build.status:
        raise Refused("IMPORT", "only a build that has succeeded can be imported")
    if (why := reason_to_reject(build, None)) is not None:
        raise Refused("IMPORT", why)
    flexible = build.abi_tag in FLEXIBLE
    if flexible:
        names = [parse_filename(name) for name in build.files]
        usable = (abi for abi in active if all(serves(name, abi) for name in names))
        build.abi_tag = next(usable, build.abi_tag)
    if build.abi_tag not in known:
        why = (
            "no ABI of this farm can use all these files"
            if flexible
            else f"this farm does not build for {build.abi_tag}"
        )
        raise Refused("NOABI", f"{why} (it builds for: {', '.join(active) or 'none yet'})")
    build.package = canonical(build.package)
    build.output = sanitise_log(build.output)
    build.duration = min(max(build.duration, timedelta(0)), LONGEST)


@dataclass(slots=True)
class Import(Intake):
    """The import of a build by the tool at *address*; *owner* is the holder of its key.

    *placed* are the names under which its files are published. *missing* is the number of bytes of
    the current file that were missing at *last_bytes_at* (monotonic), when the last bytes arrived.
    *reason* says why the import is undone. If *tool_gone*, the tool gets no reply. *replies* are
    the possible replies to the tool's last request (empty: it has had its reply).
    """

    address: bytes = b""
    owner: str = ""
    placed: list[str] = field(default_factory=list)
    missing: int | None = None
    last_bytes_at: float | None = None
    reason: str = ""
    tool_gone: bool = False
    phase: ToolPhase = ToolPhase.READY
    replies: Mapping[str, ToolPhase] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """The import's number on the file wire."""
        return self.build.slave_id

    def request(self, msg: str) -> None:
        """Record a request of the tool. Raises ``BadMessage`` if it is not allowed now."""
        self.replies = tool_conversation.replies(self.phase, msg)

    def begin(self) -> list[IntakeEffect]:
        """Begin: ask which files are published."""
        self.step = Step.PUBLISHED
        return [AskPublished(self.number, self.build.package, self.build.version)]

    def handle_answer(self, result: Any, error: Exception | None) -> list[ImportEffect]:
        """Continue with the answer to the last request; reply to the tool if it waits for that."""
        match self.step:
            case Step.KNOWN:
                # If the database does not answer, no file is removed.
                names = [] if error else [name for name in self.placed if name not in result.files]
                self.step = Step.WITHDRAW
                return [
                    *self._warn_left_behind(error),
                    WithdrawFiles(self.number, self.build.package, names),
                ]
            case Step.WITHDRAW:
                self.step = Step.ENDED
                return [*self._warn_left_behind(error), *self._reply("ERROR", self.reason)]
            case Step.VERIFY if error is None:
                self.placed.append(result["filename"])
        if self.tool_gone and self.step is not Step.LOG:
            return [*self._reject(self.reason)]
        effects: list[ImportEffect] = [*self.answered(result, error)]
        if self.step is Step.SENT:
            self.missing = self.last_bytes_at = None
            effects += self._reply("SEND", self.current.filename)
        if self.step is Step.ENDED:
            effects += self._reply("DONE", "IMPORT")
        return effects

    def cancel(self, why: str) -> list[IntakeEffect]:
        """Undo the import, because its tool has gone. A commit that has begun still counts."""
        self.tool_gone, self.reason = True, why
        waits = self.step in (Step.VERIFY, Step.LOG, Step.KNOWN, Step.WITHDRAW)
        return [] if waits else self._reject(why)

    def progress(self, missing: int | None, now: float) -> list[IntakeEffect]:
        """Record the number of missing bytes. Undo the import after :data:`SILENCE` without any."""
        if self.step is not Step.SENT:
            return []
        if self.last_bytes_at is None or missing != self.missing:
            self.last_bytes_at, self.missing = now, missing
        if now - self.last_bytes_at < SILENCE:
            return []
        return self.cancel(f"nothing arrived for {SILENCE:.0f} s")

    def _reply(self, msg: str, data: str) -> list[Reply]:
        if self.tool_gone:
            return []
        assert msg in self.replies, f"{msg} is no reply to a tool ({self.phase})"  # noqa: S101
        self.phase = self.replies[msg]
        self.replies = {}
        return [Reply(self.address, msg, data)]

    # Where an import differs from a slave's build --------------------------------------------

    def _reason_to_hold(self, known: Published) -> str | None:
        return None  # the operator knows better

    def _name_of(self, state: FileState) -> str:
        return name_to_publish(state.filename, state.filehash, self.published)

    def _wait(self, why: str) -> list[IntakeEffect]:
        return self._reject(why)  # the tool waits for an answer, and its user can repeat the import

    def _reject(self, why: str, reason: str = "") -> list[IntakeEffect]:
        self.reason = why
        self.step = Step.KNOWN
        warning = Warn(self.number, self.label, f"{self} was not imported: {why}")
        return [warning, AskPublished(self.number, self.build.package, self.build.version)]

    def _abandon(self, why: str) -> list[IntakeEffect]:
        return self._reject(why)

    def not_answered(self, why: str) -> list[IntakeEffect]:
        """Undo the import: its tool does not wait for long."""
        return self._reject(why)

    def _not_logged(self, error: Exception | None) -> list[IntakeEffect]:
        return self._reject(str(error))

    def _warn_left_behind(self, error: Exception | None) -> list[IntakeEffect]:
        if error is None or not self.placed:
            return []
        names = ", ".join(self.placed)
        text = f"left {names} behind: run piw-audit to see whether they are orphans ({error})"
        return [Warn(self.number, self.label, text)]


class Imports:
    """All imports: for each number a queue of imports, of which the first is active."""

    def __init__(self) -> None:
        self.queues: dict[int, list[Import]] = {}
        self._tools: dict[bytes, Import] = {}

    def begin(self, address: bytes, build: BuildState, owner: str = "") -> list[ImportEffect]:
        """Begin an import for the tool at *address*, or queue it. Raises ``Refused``.

        *owner* is the holder of its key.
        """
        if sum(map(len, self.queues.values())) >= MAX_IMPORTS:
            raise Refused("IMPORT", f"there are {MAX_IMPORTS} imports already: try again later")
        if build.slave_id < FIRST_IMPORT:
            build.slave_id = 0
        queue = self.queues.setdefault(build.slave_id, [])
        import_ = Import(build, "", "import", address=address, owner=owner)
        import_.request("IMPORT")
        queue.append(import_)
        self._tools[address] = import_
        return [*import_.begin()] if len(queue) == 1 else []

    def sent(self, address: bytes) -> list[ImportEffect]:
        """Have the file verified that a tool has sent. Raises ``Refused`` if none was requested."""
        found = self._tools.get(address)
        if found is None or found.step is not Step.SENT:
            raise Refused("SENT", "no file is expected: begin again with IMPORT")
        found.request("SENT")
        return [*found.sent()]

    def cancel(self, address: bytes, why: str) -> list[ImportEffect]:
        """Undo the import of the tool at *address*, if it has one."""
        found = self._tools.get(address)
        if found is None:
            return []
        queue = self.queues[found.number]
        if found is not queue[0]:
            queue.remove(found)
            del self._tools[address]
            return []
        return self._settle(found, found.cancel(why))

    def answered(self, number: int, result: Any, error: Exception | None) -> list[ImportEffect]:
        """Continue the active import with *number* with the answer to its last request."""
        found = self.queues[number][0]
        return self._settle(found, found.handle_answer(result, error))

    def progress(self, number: int, missing: int | None, now: float) -> list[ImportEffect]:
        """Record how many bytes of the current file FileJuggler has not received."""
        found = self.queues[number][0]
        return self._settle(found, found.progress(missing, now))

    def tick(self) -> list[ImportEffect]:
        """Ask how many bytes are missing of each file that a tool is sending."""
        first = (queue[0] for queue in self.queues.values())
        return [AskMissingBytes(each.number) for each in first if each.step is Step.SENT]

    def _settle(self, import_: Import, effects: Sequence[ImportEffect]) -> list[ImportEffect]:
        finished = import_.tool_gone or import_.step is Step.ENDED
        if finished and self._tools.get(import_.address) is import_:
            del self._tools[import_.address]
        if import_.step is not Step.ENDED:
            return [*effects]
        queue = self.queues[import_.number]
        del queue[0]
        if queue:
            return [*effects, *queue[0].begin()]
        del self.queues[import_.number]
        return [*effects]
