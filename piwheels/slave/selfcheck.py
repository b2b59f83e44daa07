"""What a slave lacks: it checks itself before it asks for work, so that it burns no versions."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.errors import one_line
from piwheels.core.host.commands import ask, last_line
from piwheels.slave.builder import PIP_OPTIONS, why_unusable
from piwheels.slave.emulation.root import Root

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SECONDS: Final = 60.0

# Runs on any Python since 2.7; reports the modules that are missing, and compiler and headers.
_SCRIPT: Final = r"""
import json, os, sys, sysconfig
missing = []
for name in ("ssl", "zlib", "bz2", "lzma", "ctypes"):
    try:
        __import__(name)
    except Exception:
        missing.append(name)
include = sysconfig.get_path("include") or ""
paths = [include, sysconfig.get_config_var("INCLUDEPY") or include]
headers = any(os.path.exists(os.path.join(each, "Python.h")) for each in paths)
print(json.dumps([missing, headers, include, sysconfig.get_config_var("CC") or "cc"]))
"""


class Findings(NamedTuple):
    """What a slave lacks: with *fatal* faults, each build would fail; with *lacks*, only some.

    Each is a sentence that says what to do.
    """

    fatal: list[str]
    lacks: list[str]


def check(python: Path, pip: Sequence[str], folder: Path, root: Path | None = None) -> Findings:
    """Check the interpreter *python*, the command *pip* for it, and the build directory.

    *root* is that of the emulated system that has them (``None``: this machine's).
    """
    fatal = [why] if (why := why_unusable(folder)) else []
    try:
        prefix = Root(root).prefix() if root else []
    except LookupError as error:
        return Findings([*fatal, str(error)], [])
    if why := _pip_fault(prefix, pip):
        fatal.append(why)
    code, answer = _run([*prefix, str(python), "-I", "-c", _SCRIPT])
    try:
        missing, headers, include, compiler = json.loads(answer if code == 0 else "")
    except (ValueError, TypeError):
        return Findings([*fatal, f"{python} does not work ({_last_line(answer)}): repair it"], [])
    lacks: list[str] = []
    for name in missing:
        text = f"{python} has no module {name}: install all of Python"
        (fatal if name in ("ssl", "zlib") else lacks).append(text)
    if not headers:
        lacks.append(f"there are no headers of Python in {include}: install python3-dev")
    words = str(compiler).split() or ["cc"]
    if not any(_finds(each, root) for each in (words[0], "cc", "gcc", "clang")):
        fatal.append(f"there is no C compiler ({words[0]}): install build-essential")
    return Findings(fatal, lacks)


def _finds(program: str, root: Path | None) -> bool:
    return bool((root / "usr/bin" / program).exists() if root else shutil.which(program))


def _pip_fault(prefix: Sequence[str], pip: Sequence[str]) -> str:
    """Return why *pip* cannot build, by having it read the options of a build; ``""`` if it can."""
    code, answer = _run([*prefix, *pip, "wheel", *PIP_OPTIONS, "--help"])
    if code == 0:
        return ""
    return f"{' '.join(pip)} cannot build ({_last_line(answer)}): install a newer pip for it"


def _run(command: Sequence[str]) -> tuple[int, str]:
    """Return the exit status of *command* and its output; -1 and a reason if there is none."""
    try:
        done = ask(command, _SECONDS)
    except subprocess.TimeoutExpired:
        return -1, f"it does not answer within {_SECONDS:g} s"
    except OSError as error:
        return -1, error.strerror or str(error)
    return done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr


def _last_line(text: str) -> str:
    return one_line(last_line(text))[:300] or "it says nothing"
