"""Asks pip, in programs of their own: about sources, wheels and versions."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from packaging.version import InvalidVersion

from piwheels.core.errors import Fatal
from piwheels.core.program.privileges import environment
from piwheels.up.child import Child
from piwheels.up.lockfile.entries import Entry, Lock
from piwheels.up.lockfile.order import key
from piwheels.up.lockfile.wheels import PARALLEL, SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from piwheels.core.host.interpreters import Interpreter
    from piwheels.core.host.launcher import Launcher
    from piwheels.up.config import UpConfig

#: The most characters of the questions to one program, which gets them as arguments.
MOST: Final = 60_000
#: Seconds between two looks for answers.
_TICK: Final = 0.1


@dataclass(frozen=True)
class Question:
    """About a version of a project, whose files have one of *hashes* (empty: any)."""

    name: str
    version: str
    hashes: Sequence[str] = ()


def batch(questions: Sequence[Question]) -> int:
    """Return how many of *questions* one program can get: one at least."""
    size = 0
    for count, each in enumerate(questions):
        size += 100 + sum(map(len, each.hashes))
        if count and size > MOST:
            return count
    return len(questions)


class Lookups:
    """Starts the programs. They ask for *interpreter*, and have their files below *home*.

    Those that may run foreign code are in the sandbox of builds, as the user of *launcher*.
    """

    def __init__(
        self, config: UpConfig, interpreter: Interpreter, home: Path, launcher: Launcher | None
    ) -> None:
        self._config, self._python = config, str(interpreter.path)
        self._folder = home / "upstream"
        self._builds = home / "build" if launcher is None else Path(launcher.user.pw_dir)
        self._launcher = launcher

    def wheels(self, questions: Sequence[Question]) -> Child:
        """Ask for the upstream wheels of *questions*: each answer is a path, or ``""``."""
        args = [json.dumps([each.name, each.version, list(each.hashes)]) for each in questions]
        seconds = SECONDS * (1 + len(questions) / PARALLEL)
        module = "piwheels.up.lockfile.wheels"
        return Child(module, [self._python, str(self._folder), *args], seconds)

    def sources(self, questions: Sequence[Question]) -> Child:
        """Ask for the sources of *questions*: see :mod:`piwheels.slave.lookups`."""
        return self._in_sandbox(
            [each.__dict__ | {"hashes": list(each.hashes)} for each in questions]
        )

    def versions(self, requirements: Sequence[str], constraints: Sequence[str]) -> Child:
        """Ask which versions satisfy *requirements* together, within *constraints*.

        Raises ``Fatal`` if there are too many.
        """
        if sum(map(len, (*requirements, *constraints))) > MOST:
            raise Fatal(f"pip cannot resolve {len(requirements)} requirements at once: lock them")
        question = {"requirements": list(requirements), "constraints": list(constraints)}
        return self._in_sandbox([question])

    def _in_sandbox(self, questions: Sequence[dict[str, Any]]) -> Child:
        config, timeout = self._config, self._config.timeout.total_seconds()
        env: dict[str, str] = dict(os.environ)
        if self._launcher is not None:
            env = environment(env, self._launcher.user)
        else:
            self._builds.mkdir(exist_ok=True)
        settings = {
            "python": self._python, "dir": str(self._builds), "sandbox": config.sandbox,
            "allow_host": config.allow_host, "timeout": timeout,
            "is_closed": config.from_source == "all",
        }  # fmt: skip
        args = [json.dumps(each) for each in (settings, *questions)]
        seconds = timeout * (1 + len(questions))
        return Child("piwheels.slave.lookups", args, seconds, self._launcher, env)


def resolved(lock: Lock, lookups: Lookups, check: Callable[[], object]) -> Lock:
    """Return *lock* with all its entries pinned, and with their dependencies: pip's choice.

    *check* is called several times a second, and may raise. Raises ``Fatal`` if there are no such
    versions.
    """
    open_ = [each for each in lock.entries if not each.problem]
    if not open_:
        return lock
    child = lookups.versions([each.requirement for each in open_], lock.constraints)
    found: list[Any] = []
    try:
        while not child.ended:
            check()
            found += child.answers()
            time.sleep(_TICK)
    finally:
        child.close()
    answer: dict[str, Any] = (
        found[0][1] if found else {"why": child.last_words or "pip has ended early"}
    )
    if "why" in answer:
        raise Fatal(f"the requirements cannot be satisfied together: {answer['why']}")
    hashes = {each.name: each.hashes for each in open_}
    try:
        chosen = sorted(key(*each) for each in answer["found"])
    except InvalidVersion as exc:
        raise Fatal(f"pip chose a version that is none: {exc}") from None
    pinned = [
        Entry(f"{name}=={version}", name, str(version), hashes.get(name, frozenset()))
        for name, version in chosen
    ]
    problems = [each for each in lock.entries if each.problem]
    return Lock((*problems, *pinned), is_closed=True)
