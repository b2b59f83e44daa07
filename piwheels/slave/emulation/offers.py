"""The interpreters of emulated systems, and why a system cannot be emulated here."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piwheels.core.errors import Fatal
from piwheels.core.host.commands import ask, last_line
from piwheels.core.host.interpreters import probe
from piwheels.slave.emulation.architectures import OWN
from piwheels.slave.emulation.making import find_or_make
from piwheels.slave.emulation.root import Root, emulating, find_qemu
from piwheels.slave.emulation.sandbox import Emulated
from piwheels.slave.sandbox.bubblewrap import find_program
from piwheels.slave.sandbox.choice import Choice, problem
from piwheels.slave.sandbox.view import named_paths, view_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from piwheels.core.host.interpreters import Interpreter
    from piwheels.slave.emulation.architectures import System

#: The first Linux whose user namespaces can have a binfmt_misc of their own.
_OLDEST_LINUX: Final = (6, 7)
_SECONDS: Final = 30.0
_NAME: Final = re.compile(r"python3\.[0-9]+t?", re.ASCII)


def interpreters(
    systems: Iterable[System], cache: Path, mirror: str = "", packages: Collection[str] = ()
) -> list[Interpreter]:
    """Return the interpreters of *systems*, whose roots are in the folder *cache*.

    The other arguments are as in :func:`~piwheels.slave.emulation.making.find_or_make`.

    They are Debian's own, and those that an operator put below ``/usr/local`` or ``/opt`` of a
    root. A system that cannot be emulated is left out, and a line in the log says why.
    """
    found: list[Interpreter] = []
    for system in systems:
        try:
            if why := unavailable(system):
                raise LookupError(why)
            found += _interpreters_of(find_or_make(system, cache, mirror, packages))
        except (LookupError, OSError) as error:
            logging.getLogger("emulation").error("not emulating %s: %s", system, error)
    return found


def _interpreters_of(root: Root) -> Iterator[Interpreter]:
    places = ["usr/bin/python3"]
    for pattern in ("usr/local/bin/python3.*", "opt/*/bin/python3.*"):
        paths = sorted(path for path in root.path.glob(pattern) if _NAME.fullmatch(path.name))
        places += [str(path.relative_to(root.path)) for path in paths]
    prefix = root.prefix()
    for place in places:
        try:
            yield probe(Path("/", place), prefix)._replace(root=root.path)
        except Fatal as error:
            name = root.path / place
            logging.getLogger("emulation").error("not emulating %s: %s", name, error)


def pip_of(interpreter: Interpreter) -> list[str]:
    """Return the command that runs the pip of an emulated *interpreter*, in its root."""
    return [str(interpreter.path), "-I", "-m", "pip"]


def emulated_sandbox(
    root: Path, pip: Sequence[str], folder: Path, environment: Mapping[str, str], port: int | None
) -> Choice:
    """Return the sandbox of builds with the system at *root*; its *pip* is tried in it.

    The rest is as in :func:`~piwheels.slave.sandbox.choice.choose`. Raises
    :exc:`~piwheels.core.errors.Fatal` if it does not work.
    """
    needed = [text for name, text in environment.items() if name.startswith("PIP_")]
    view = view_of(named_paths(needed), [Path.home(), folder], system=False)
    try:
        sandbox = Emulated(find_program(), view, Root(root))
        why = problem(sandbox, [*pip, "--version"], folder, port)
    except (LookupError, Fatal) as error:
        why = str(error)
    if why:
        raise Fatal(f"the sandbox of emulated builds does not work here ({why})")
    return Choice(sandbox, [])


def unavailable(system: System) -> str:
    """Return why *system* cannot be emulated on this machine, and what to do; ``""`` if it can."""
    about = os.uname()
    if OWN.get(about.machine) == system.architecture:
        return f"this machine is {system.architecture} itself: leave it out"
    for program, package in {"apt-get": "apt", "dpkg-deb": "dpkg", "tar": "tar"}.items():
        if not shutil.which(program):
            return f"there is no {program}: install {package} (Debian and derivatives)"
    try:
        find_qemu(system.architecture)
        find_program()
    except LookupError as error:
        return str(error)
    version = re.match(r"([0-9]+)\.([0-9]+)", about.release)
    if version and tuple(map(int, version.groups())) < _OLDEST_LINUX:
        return f"that needs Linux 6.7, and this is {about.release}: install a newer kernel"
    with tempfile.TemporaryDirectory(prefix="piw-binfmt-") as place:
        try:
            answer = ask(emulating(system.architecture, Path(place), ["true"]), _SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            return f"the namespaces for it cannot be tried ({error})"
    if answer.returncode:
        return f"{last_line(answer.stderr)[:300]}: permit user namespaces, and mounts in them"
    return ""
