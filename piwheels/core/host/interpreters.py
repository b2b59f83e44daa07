"""Find Python interpreters, and probe them for the tags of the wheels that they build (PEP 425)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.errors import Fatal
from piwheels.core.host.commands import ask
from piwheels.core.targets import Target, family

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: In place of a path: all interpreters that are found on this machine.
ALL: Final = "all"

_NAME: Final = re.compile(r"python3(\.[0-9]{1,3}t?)?", re.ASCII)
_PROBE_SECONDS = 30.0
_TAG = re.compile(r"[a-z0-9_]{1,100}", re.ASCII)

# Runs on any Python since 2.7. Debug and free-threaded builds have their flag at the end of SOABI's
# second part ("cpython-313t-x86_64-linux-gnu").
_SCRIPT = r"""
import json, struct, sys, sysconfig
impl = getattr(getattr(sys, "implementation", None), "name", "cpython")
version = "%d%d" % sys.version_info[:2]
soabi = sysconfig.get_config_var("SOABI") or ""
if impl == "cpython":
    abi = "cp" + version
    parts = soabi.split("-")
    if len(parts) > 1 and parts[0] == "cpython":
        abi = "cp" + parts[1]
    elif sys.version_info[0] == 2:
        abi += ("m" if sysconfig.get_config_var("WITH_PYMALLOC") else "") + (
            "u" if sys.maxunicode > 0xffff else "")
else:
    abi = "_".join(soabi.split("-")[:2]) or "none"
platform = sysconfig.get_platform()
if struct.calcsize("P") == 4:
    short = {"linux-x86_64": "linux-i686", "linux-aarch64": "linux-armv7l",
             "linux-armv8l": "linux-armv7l"}
    platform = short.get(platform, platform)
print(json.dumps([version, abi, platform]))
"""


class Interpreter(NamedTuple):
    """An interpreter and its tags.

    *py_version* is like ``"311"``, *abi* like ``"cp311"``, and *platform* like
    ``"linux_x86_64"``: the machine's own tag, which wheels built from source carry. *root* is the
    root of the emulated system that has it (``None``: this machine's).
    """

    path: Path
    py_version: str
    abi: str
    platform: str
    root: Path | None = None

    @property
    def target(self) -> Target:
        """The target that it builds for."""
        return Target(family(self.platform), self.abi)

    @property
    def dotted(self) -> str:
        """The version in pip's notation: ``"3.11"``."""
        return f"{self.py_version[0]}.{self.py_version[1:]}"


def found_interpreters(
    environ: Mapping[str, str] = os.environ, root: Path = Path("/")
) -> list[Path]:
    """Return the paths of this machine's interpreters, the running one first.

    They are those of the system, of pyenv and of uv; each program is there once.
    """
    found = {Path(sys.executable).resolve(): Path(sys.executable)}
    for path in _places(environ, root):
        if _NAME.fullmatch(path.name) and os.access(path, os.X_OK):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _places(environ: Mapping[str, str], root: Path) -> Iterator[Path]:
    for folder in ("usr/bin", "usr/local/bin"):
        yield from sorted((root / folder).glob("python3.*"))
    home = Path(environ.get("HOME") or "/nonexistent")
    pyenv = Path(environ.get("PYENV_ROOT") or home / ".pyenv")
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local/share")
    uv = Path(environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python")
    yield from sorted(pyenv.glob("versions/*/bin/python3"))
    yield from sorted(uv.glob("*/bin/python3*"))


def probe(path: Path | None = None, prefix: Sequence[str] = ()) -> Interpreter:
    """Ask the interpreter at *path* (``None``: the running one) for its tags.

    *prefix* is the beginning of the command that runs it, if it is another system's.
    Raises :exc:`~piwheels.core.errors.Fatal` if it cannot run, does not answer within 30 seconds,
    or is not a Python interpreter.
    """
    executable = Path(sys.executable) if path is None else path
    try:
        answer = ask([*prefix, executable, "-I", "-c", _SCRIPT], _PROBE_SECONDS)
    except OSError as error:
        raise Fatal(
            f"cannot run the interpreter {executable} ({error.strerror}): choose another with"
            " --python"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise Fatal(
            f"the interpreter {executable} does not answer within {_PROBE_SECONDS:g} s: choose"
            " another with --python"
        ) from error
    if answer.returncode:
        words = answer.stderr.split("\n")
        reason = next((line for line in reversed(words) if line.strip()), "no reason given")
        raise Fatal(f"the interpreter {executable} does not work: {reason[:500]}")
    try:
        tags = [re.sub("[-.]", "_", tag) for tag in json.loads(answer.stdout)]
        version, abi, platform = tags
    except (ValueError, TypeError) as error:
        raise Fatal(
            f"{executable} is not a Python interpreter: choose one with --python"
        ) from error
    if not all(_TAG.fullmatch(tag) for tag in tags):
        raise Fatal(
            f"the interpreter {executable} reports the invalid tags {tags}: choose another with"
            " --python"
        )
    return Interpreter(executable, version, abi, platform)
