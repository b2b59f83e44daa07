"""The interpreters that a slave builds for, each with what its builds need."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piwheels.core.errors import Fatal
from piwheels.core.host.interpreters import ALL, Interpreter, found_interpreters, probe
from piwheels.core.host.pip_config import pip_command
from piwheels.core.protocols import NOT_EMULATING
from piwheels.core.states import MAX_OFFERS, Offer
from piwheels.core.wheels.dependencies import System
from piwheels.slave.emulation.offers import pip_of
from piwheels.slave.sandbox.choice import NoSandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeVar

    from piwheels.slave.sandbox.choice import Sandbox

    A = TypeVar("A")
    T = TypeVar("T")

#: How many interpreters are examined at once.
_AT_ONCE: Final = 8


@dataclass(eq=False)
class Workshop:
    """An *interpreter* with its *pip* command and its *sandbox*. *is_found*: nobody named it.

    *system* has the libraries of an emulated one (``None``: this machine has them).
    """

    interpreter: Interpreter
    pip: Sequence[str]
    sandbox: Sandbox = field(default_factory=NoSandbox)
    is_found: bool = False
    system: System | None = None

    @property
    def offer(self) -> Offer:
        """Its target."""
        return Offer(*self.interpreter[1:4])


def open_workshops(pythons: Sequence[str], emulated: Iterable[Interpreter] = ()) -> list[Workshop]:
    """Return the workshops for *pythons*: paths, or :data:`ALL` for each that is found here.

    Those for interpreters of *emulated* systems follow.

    Without any, it is for the running interpreter. One that was found and cannot build is left out,
    with a line in the log. Raises ``Fatal`` if one that was named cannot.
    """
    named = [Path(text).expanduser() for text in pythons if text != ALL]
    found = [path for path in found_interpreters() if path not in named] if ALL in pythons else []
    opened: list[Workshop] = []
    for path, result in at_once(_open, dict.fromkeys([*named, *found]) or [None]):
        if isinstance(result, Workshop):
            result.is_found = path in found
            opened.append(result)
        elif path in found:
            leave_out(path, str(result))
        else:
            raise result
    for each in emulated:
        assert each.root is not None  # noqa: S101 (it is emulated)
        opened.append(Workshop(each, pip_of(each), is_found=True, system=System(each.root)))
    return _of_different_targets(opened)


def leave_out(path: Path | None, why: str, root: Path | None = None) -> None:
    """Log that nothing is built for the interpreter at *path*, of the system *root*, and *why*."""
    logger = logging.getLogger("slave")
    if root is None:
        logger.warning("building nothing for %s: %s", path, why)
    else:
        logger.error("%s%s%s: %s", NOT_EMULATING, root, path, why)


def at_once(function: Callable[[A], T], things: Iterable[A]) -> list[tuple[A, T]]:
    """Call *function* with each of *things*, with several at once; return each with its result."""
    things = list(things)
    with ThreadPoolExecutor(_AT_ONCE, "workshop") as pool:
        return list(zip(things, pool.map(function, things), strict=True))


def _open(path: Path | None) -> Workshop | Fatal:
    try:
        interpreter = probe(path)
        # Only once: it takes longer than a small build.
        return Workshop(interpreter, pip_command(interpreter.path))
    except Fatal as exc:
        return exc


def _of_different_targets(workshops: Iterable[Workshop]) -> list[Workshop]:
    """Return the first of *workshops* for each target."""
    first: dict[tuple[str, str], Workshop] = {}
    for each in workshops:
        path, _, abi, platform, _ = each.interpreter
        same = first.setdefault((abi, platform), each)
        if same is not each:
            leave_out(path, f"{same.interpreter.path} is for {abi} on {platform}, too")
        elif len(first) > MAX_OFFERS:
            raise Fatal(f"more than {MAX_OFFERS} interpreters: name fewer of them in --python")
    return list(first.values())
