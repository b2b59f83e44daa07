"""Importing files: the same way into the farm as a slave's build, asked for by a tool.

Each import has a number on the file wire (docs/decisions/0027): the one that its tool has chosen,
or 0. Imports of one number take turns, all others go side by side. What is wrong with an import
is told to its tool, and then nothing of it is left: no transfer, no file, no build.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from piwheels.core.errors import Refused
from piwheels.core.protocols import FIRST_IMPORT
from piwheels.core.wheels.tags import abi_key, canonical, is_free_threaded, parse_filename
from piwheels.master.logic.effects import (
    AskMissing,
    AskPublished,
    Effect,
    Reply,
    Warn,
    Withdraw,
)
from piwheels.master.logic.intake import Intake, Step, fault, fit_log

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from piwheels.core.states import BuildState

#: The most imports that are under way or wait for their turn.
MAX_IMPORTS: Final = 100
#: How long an import may go without a byte while its tool sends a file.
SILENCE: Final = timedelta(seconds=60)
#: The longest that anything can have taken to build.
LONGEST: Final = timedelta(days=366)

_PYTHON = re.compile(r"(cp|py)3([0-9]*)", re.ASCII)


def check(build: BuildState, active: Sequence[str], known: Collection[str]) -> None:
    """See to it that *build* may be imported, as far as it says itself, and settle its ABI.

    *active* are the ABIs that the farm builds for, in order; *known* may be some more. A build
    for ``none`` or ``abi3`` becomes one for the first ABI that can use all its files. Raises
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
    """Tell whether interpreters of *abi* can use the file *name*, which needs none, or abi3."""
    parts = parse_filename(name)
    stable = "none" not in parts.abi.split(".")
    if stable and is_free_threaded(abi):
        return False
    minor = abi_key(abi)[2]  # 0 of what is no CPython
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

    *placed* are the names under which its files have been published so far; *missing* is how much
    of the present file had not come at *heard*, when some of it last did. Once it is to be undone,
    *why* says for what reason, and nobody is told if its tool has *gone*.
    """

    address: bytes = b""
    placed: list[str] = field(default_factory=list)
    missing: int | None = None
    heard: datetime | None = None
    why: str = ""
    gone: bool = False

    @property
    def number(self) -> int:
        """The import's number on the file wire."""
        return self.build.slave_id

    def begin(self) -> list[Effect]:
        """Begin: ask which files are published."""
        self.step = Step.PUBLISHED
        return [AskPublished(self.number, self.build.package)]

    def answered(self, result: Any, error: Exception | None) -> list[Effect]:
        """Go on with the answer to the last question; tell the tool if it has to do something."""
        match self.step:
            case Step.KNOWN:
                # Without the database's word, nothing is removed.
                names = [] if error else [name for name in self.placed if name not in result]
                self.step = Step.WITHDRAW
                return [*self._left(error), Withdraw(self.number, self.build.package, names)]
            case Step.WITHDRAW:
                self.step = Step.ENDED
                told = [] if self.gone else [Reply(self.address, "ERROR", self.why)]
                return [*self._left(error), *told]
            case Step.VERIFY if error is None:
                self.placed.append(result["filename"])
        if self.gone and self.step is not Step.LOG:
            return self._give_up(self.why)
        effects = Intake.answered(self, result, error)  # (super() does not know classes with slots)
        if self.step is Step.SENT:
            self.missing = self.heard = None
            effects.append(Reply(self.address, "SEND", self.build.next_file))
        if self.step is Step.ENDED and not self.gone:
            effects.append(Reply(self.address, "DONE", "IMPORT"))
        return effects

    def leave(self, why: str) -> list[Effect]:
        """Undo the import, since its tool has gone; a commit that is under way still counts."""
        self.gone, self.why = True, why
        waits = self.step in (Step.VERIFY, Step.LOG, Step.KNOWN, Step.WITHDRAW)
        return [] if waits else self._give_up(why)

    def progress(self, missing: int | None, now: datetime) -> list[Effect]:
        """Take FileJuggler's word on how much has not come yet: too long nothing, and it ends."""
        if self.step is not Step.SENT:
            return []
        if self.heard is None or missing != self.missing:
            self.heard, self.missing = now, missing
        if now - self.heard < SILENCE:
            return []
        return self.leave(f"nothing came for {SILENCE.seconds} s")

    # What is different from a slave's build ---------------------------------------------------

    def _give_up(self, why: str) -> list[Effect]:
        self.why = why
        self.step = Step.KNOWN
        warning = Warn(self.number, self.label, f"{self} was not imported: {why}")
        return [warning, AskPublished(self.number, self.build.package)]

    def _abandon(self, why: str) -> list[Effect]:
        return self._give_up(why)

    def _not_logged(self, error: Exception | None) -> list[Effect]:
        return self._give_up(str(error))

    def _left(self, error: Exception | None) -> list[Effect]:
        if error is None or not self.placed:
            return []
        names = ", ".join(self.placed)
        text = f"left {names}, which may be no page's: see whether piw-audit names it ({error})"
        return [Warn(self.number, self.label, text)]


class Imports:
    """All imports: by number those of each in their order, of which the first is under way."""

    def __init__(self) -> None:
        self.lines: dict[int, list[Import]] = {}
        self._tools: dict[bytes, Import] = {}

    def begin(self, address: bytes, build: BuildState, now: datetime) -> list[Effect]:
        """Begin to import *build* for the tool at *address*, or let it wait for its turn."""
        if sum(map(len, self.lines.values())) >= MAX_IMPORTS:
            raise Refused("IMPORT", f"{MAX_IMPORTS} imports are under way: try again later")
        if build.slave_id < FIRST_IMPORT:
            build.slave_id = 0
        line = self.lines.setdefault(build.slave_id, [])
        line.append(Import(build, "", "import", now, address=address))
        self._tools[address] = line[-1]
        return line[0].begin() if len(line) == 1 else []

    def sent(self, address: bytes) -> list[Effect]:
        """Have the file verified that a tool has sent. Raises ``Refused`` if none was asked for."""
        found = self._tools.get(address)
        if found is None or found.step is not Step.SENT:
            raise Refused("SENT", "no file is asked for (any more): begin again with IMPORT")
        return found.sent()

    def leave(self, address: bytes, why: str) -> list[Effect]:
        """Undo the import of a tool that has gone on to something else, if it has one."""
        found = self._tools.get(address)
        if found is None:
            return []
        line = self.lines[found.number]
        if found is not line[0]:
            line.remove(found)
            del self._tools[address]
            return []
        return self._settle(found, found.leave(why))

    def answered(self, number: int, result: Any, error: Exception | None) -> list[Effect]:
        """Go on with the answer to what the import under way with *number* asked."""
        found = self.lines[number][0]
        return self._settle(found, found.answered(result, error))

    def progress(self, number: int, missing: int | None, now: datetime) -> list[Effect]:
        """Take FileJuggler's word on how much of a file has not come yet."""
        found = self.lines[number][0]
        return self._settle(found, found.progress(missing, now))

    def tick(self) -> list[Effect]:
        """Ask of each file that is being sent how much has not come yet."""
        first = (line[0] for line in self.lines.values())
        return [AskMissing(each.number) for each in first if each.step is Step.SENT]

    def _settle(self, one: Import, effects: list[Effect]) -> list[Effect]:
        over = one.gone or one.step is Step.ENDED
        if over and self._tools.get(one.address) is one:
            del self._tools[one.address]
        if one.step is not Step.ENDED:
            return effects
        line = self.lines[one.number]
        del line[0]
        if line:
            return [*effects, *line[0].begin()]
        del self.lines[one.number]
        return effects
