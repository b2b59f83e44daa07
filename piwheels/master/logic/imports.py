"""Imports: builds that a tool brings, taken in like those of slaves.

Each import has a number on the file wire (docs/decisions/0027): the one that its tool has chosen,
or 0. Imports with the same number take turns; all others run at the same time. If an import fails,
its tool gets the reason, and nothing of it is left: no transfer, no file, no build.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.errors import Refused
from piwheels.core.protocols import FIRST_IMPORT, ToolPhase, tool_conversation
from piwheels.core.wheels.tags import abi_key, canonical, is_free_threaded, parse_filename
from piwheels.master.logic.effects import (
    AskMissing,
    AskPublished,
    ImportEffect,
    IntakeEffect,
    Reply,
    Warn,
    Withdraw,
)
from piwheels.master.logic.intake import Intake, Step, fault, fit_log

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from piwheels.core.states import BuildState

#: The most imports that run or wait for their turn.
MAX_IMPORTS: Final = 100
#: For how many seconds a tool that sends a file may send nothing.
SILENCE: Final = 60.0
#: The longest duration of a build.
LONGEST: Final = timedelta(days=366)

_PYTHON = re.compile(r"(cp|py)3([0-9]*)", re.ASCII)


def check(build: BuildState, active: Sequence[str], known: Collection[str]) -> None:
    """Check what *build* declares, and set its ABI.

    *active* are the ABIs that the farm builds for, in order; *known* may have more. A build for
    ``none`` or ``abi3`` becomes one for the first active ABI that can use all its files. Raises
    ``Refused`` with a sentence.
    """
    if not build.status:
        raise Refused("IMPORT", "only a build that has succeeded can be imported")
    if (why := fault(build, None)) is not None:
        raise Refused("IMPORT", why)
    usual = build.abi_tag in ("none", "abi3")
    if usual:
        fit = (abi for abi in active if all(_usable(name, abi) for name in build.files))
        build.abi_tag = next(fit, build.abi_tag)
    if build.abi_tag not in known:
        why = (
            "no ABI of this farm can use all these files"
            if usual
            else f"this farm does not build for {build.abi_tag}"
        )
        raise Refused("NOABI", f"{why} (it builds for: {', '.join(active) or 'none yet'})")
    build.package = canonical(build.package)
    build.output = fit_log(build.output)
    build.duration = min(max(build.duration, timedelta(0)), LONGEST)


def _usable(name: str, abi: str) -> bool:
    """Return whether interpreters of *abi* can use *name*, a file for no ABI or for ``abi3``."""
    parts = parse_filename(name)
    stable = "none" not in parts.abi.split(".")
    if stable and is_free_threaded(abi):
        return False
    minor = abi_key(abi)[2]  # 0 if it is not CPython
    for found in map(_PYTHON.fullmatch, parts.py.split(".")):
        if found and not found[2]:
            return True
        if found and (
            int(found[2]) == minor if found[1] == "cp" and not stable else int(found[2]) <= minor
        ):
            return True
    return False


@dataclass(slots=True)
class Import(Intake):
    """A build that is imported by the tool at *address*.

    *placed* are the names under which its files are in place. *missing* is the number of bytes of
    the current file that had not come at *heard* (monotonic), when the last ones came. *why* is
    the reason if the import is undone; there is no reply if its tool has *gone*. *replies* are
    those that the tool's last request may have (empty: it has had one).
    """

    address: bytes = b""
    placed: list[str] = field(default_factory=list)
    missing: int | None = None
    heard: float | None = None
    why: str = ""
    gone: bool = False
    phase: ToolPhase = ToolPhase.READY
    replies: Mapping[str, ToolPhase] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """The import's number on the file wire."""
        return self.build.slave_id

    def request(self, msg: str) -> None:
        """Note a request of the tool. Raises ``BadMessage`` if it may not come now."""
        self.replies = tool_conversation.replies(self.phase, msg)

    def begin(self) -> list[IntakeEffect]:
        """Begin: ask which files are published."""
        self.step = Step.PUBLISHED
        return [AskPublished(self.number, self.build.package)]

    def go_on(self, result: Any, error: Exception | None) -> list[ImportEffect]:
        """Take the answer to the last question; reply to the tool if it is its turn."""
        match self.step:
            case Step.KNOWN:
                # If the database does not answer, nothing is removed.
                names = [] if error else [name for name in self.placed if name not in result]
                self.step = Step.WITHDRAW
                return [*self._left(error), Withdraw(self.number, self.build.package, names)]
            case Step.WITHDRAW:
                self.step = Step.ENDED
                return [*self._left(error), *self._reply("ERROR", self.why)]
            case Step.VERIFY if error is None:
                self.placed.append(result["filename"])
        if self.gone and self.step is not Step.LOG:
            return [*self._give_up(self.why)]
        effects: list[ImportEffect] = [*self.answered(result, error)]
        if self.step is Step.SENT:
            self.missing = self.heard = None
            effects += self._reply("SEND", self.current.filename)
        if self.step is Step.ENDED:
            effects += self._reply("DONE", "IMPORT")
        return effects

    def leave(self, why: str) -> list[IntakeEffect]:
        """Undo the import, since its tool has gone. A commit that has begun still counts."""
        self.gone, self.why = True, why
        waits = self.step in (Step.VERIFY, Step.LOG, Step.KNOWN, Step.WITHDRAW)
        return [] if waits else self._give_up(why)

    def progress(self, missing: int | None, now: float) -> list[IntakeEffect]:
        """Note how many bytes are missing. The import ends if none have come for too long."""
        if self.step is not Step.SENT:
            return []
        if self.heard is None or missing != self.missing:
            self.heard, self.missing = now, missing
        if now - self.heard < SILENCE:
            return []
        return self.leave(f"nothing came for {SILENCE:.0f} s")

    def _reply(self, msg: str, data: str) -> list[Reply]:
        if self.gone:
            return []
        assert msg in self.replies, f"{msg} is no reply to a tool ({self.phase})"  # noqa: S101
        self.phase = self.replies[msg]
        self.replies = {}
        return [Reply(self.address, msg, data)]

    # Where an import differs from a slave's build --------------------------------------------

    def _give_up(self, why: str) -> list[IntakeEffect]:
        self.why = why
        self.step = Step.KNOWN
        warning = Warn(self.number, self.label, f"{self} was not imported: {why}")
        return [warning, AskPublished(self.number, self.build.package)]

    def _abandon(self, why: str) -> list[IntakeEffect]:
        return self._give_up(why)

    def _not_logged(self, error: Exception | None) -> list[IntakeEffect]:
        return self._give_up(str(error))

    def _left(self, error: Exception | None) -> list[IntakeEffect]:
        if error is None or not self.placed:
            return []
        names = ", ".join(self.placed)
        text = f"left {names} behind: run piw-audit to see whether they are orphans ({error})"
        return [Warn(self.number, self.label, text)]


class Imports:
    """All imports: for each number its imports in order, of which the first is active."""

    def __init__(self) -> None:
        self.lines: dict[int, list[Import]] = {}
        self._tools: dict[bytes, Import] = {}

    def begin(self, address: bytes, build: BuildState) -> list[ImportEffect]:
        """Begin to import *build* for the tool at *address*, or let it wait. Raises ``Refused``."""
        if sum(map(len, self.lines.values())) >= MAX_IMPORTS:
            raise Refused("IMPORT", f"there are {MAX_IMPORTS} imports already: try again later")
        if build.slave_id < FIRST_IMPORT:
            build.slave_id = 0
        line = self.lines.setdefault(build.slave_id, [])
        one = Import(build, "", "import", address=address)
        one.request("IMPORT")
        line.append(one)
        self._tools[address] = one
        return [*one.begin()] if len(line) == 1 else []

    def sent(self, address: bytes) -> list[ImportEffect]:
        """Have the file verified that a tool has sent. Raises ``Refused`` if none was asked for."""
        found = self._tools.get(address)
        if found is None or found.step is not Step.SENT:
            raise Refused("SENT", "no file is expected: begin again with IMPORT")
        found.request("SENT")
        return [*found.sent()]

    def leave(self, address: bytes, why: str) -> list[ImportEffect]:
        """Undo the import of the tool at *address*, if it has one."""
        found = self._tools.get(address)
        if found is None:
            return []
        line = self.lines[found.number]
        if found is not line[0]:
            line.remove(found)
            del self._tools[address]
            return []
        return self._settle(found, found.leave(why))

    def answered(self, number: int, result: Any, error: Exception | None) -> list[ImportEffect]:
        """Take the answer to the last question of the active import with *number*."""
        found = self.lines[number][0]
        return self._settle(found, found.go_on(result, error))

    def progress(self, number: int, missing: int | None, now: float) -> list[ImportEffect]:
        """Note how many bytes of a file FileJuggler still misses."""
        found = self.lines[number][0]
        return self._settle(found, found.progress(missing, now))

    def tick(self) -> list[ImportEffect]:
        """Ask how many bytes are missing of each file that is being sent."""
        first = (line[0] for line in self.lines.values())
        return [AskMissing(each.number) for each in first if each.step is Step.SENT]

    def _settle(self, one: Import, effects: Sequence[ImportEffect]) -> list[ImportEffect]:
        over = one.gone or one.step is Step.ENDED
        if over and self._tools.get(one.address) is one:
            del self._tools[one.address]
        if one.step is not Step.ENDED:
            return [*effects]
        line = self.lines[one.number]
        del line[0]
        if line:
            return [*effects, *line[0].begin()]
        del self.lines[one.number]
        return [*effects]
