"""Ask pip for its configuration on this machine, and for the contents of its index.

Environment, configuration files, credentials, certificates and proxies are pip's business: this
module reads none of them and names no index.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from packaging.version import Version

from piwheels.core.errors import Fatal, Refused, Unavailable
from piwheels.core.host.commands import ask, last_line
from piwheels.core.wheels.tags import is_version

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The time limit of one pip command, and that of pip for the index, in seconds.
QUESTION_SECONDS = 90.0
INDEX_SECONDS = 15

_GOOD_PIP = (23, 1)
_PIP_SECONDS = 30.0

# The parts of pip's configuration that count for a build, the weakest first.
_SECTIONS = ("global", "wheel", ":env:")

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?", re.ASCII)
_VERSIONS = re.compile(r"^Available versions: (.+)$", re.MULTILINE)
_UNFETCHED = re.compile(
    r"Could not fetch URL \S+: (?!404 )(.{1,300}?)(?: - skipping)?$", re.MULTILINE
)

# pip's option parser applies all sources of configuration on top of pip's defaults. The commands
# themselves would take three times as long to import.
_ACCESS = """
import json
from pip._internal.cli import cmdoptions
from pip._internal.cli.parser import ConfigOptionParser
parser = ConfigOptionParser(name="download", add_help_option=False)
for group in cmdoptions.general_group, cmdoptions.index_group:
    parser.add_option_group(cmdoptions.make_option_group(group, parser))
options = parser.parse_args([])[0]
names = "index_url", "cert", "client_cert", "proxy", "trusted_hosts", "timeout"
print(json.dumps([getattr(options, name) for name in names]))
"""


class IndexAccess(NamedTuple):
    """The address of pip's index, and how pip connects to it.

    *cert* and *client_cert* are paths; *proxy* is an address (``None``: from the environment);
    the certificates of *trusted_hosts* (HOST or HOST:PORT) are not verified; *timeout* is in
    seconds.
    """

    url: str
    cert: str | None = None
    client_cert: str | None = None
    proxy: str | None = None
    trusted_hosts: Sequence[str] = ()
    timeout: float = INDEX_SECONDS


def pip_settings(pip: Sequence[str]) -> dict[str, str]:
    """Return the settings for building of the command *pip*, from files and variables, by name.

    The names are those of options, without dashes in front. A pip that does not work has none.
    """
    try:
        lines = ask([*pip, "config", "list"], _PIP_SECONDS).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return {}  # the slave's check of itself reports it
    sections: dict[str, dict[str, str]] = {name: {} for name in _SECTIONS}
    for line in lines:
        section, _, rest = line.partition(".")
        name, _, value = rest.partition("=")
        if section in sections:
            with suppress(ValueError, SyntaxError):
                sections[section][name] = str(ast.literal_eval(value))
    return {name: value for section in sections.values() for name, value in section.items()}


def pip_command(path: Path | None = None) -> list[str]:
    """Return the command that runs pip for the interpreter at *path* (``None``: this one).

    The interpreter's own pip is preferred because it starts fastest. One older than 23.1 cannot
    build some sources; then this interpreter's pip is used with ``--python``, if it still supports
    that Python. Raises :exc:`~piwheels.core.errors.Fatal` if neither works.
    """
    ours = [sys.executable, "-I", "-m", "pip"]
    if path is None or path == Path(sys.executable):
        return ours
    own, from_outside = [str(path), "-I", "-m", "pip"], [*ours, "--python", str(path)]
    version = _pip_version(own)
    if version is not None and version >= _GOOD_PIP:
        return own
    if _pip_version(from_outside) is not None:
        return from_outside
    if version is not None:
        return own
    raise Fatal(f"no pip can build for {path}: install one there (python -m ensurepip)")


def _pip_version(command: list[str]) -> tuple[int, ...] | None:
    try:
        answer = ask([*command, "--version"], _PIP_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.match(r"pip ([0-9]{1,4})\.([0-9]{1,4})", answer.stdout, re.ASCII)
    return (int(match[1]), int(match[2])) if match and not answer.returncode else None


def default_index() -> str:
    """Return the address of the index that pip uses on this machine (PEP 503).

    Raises :exc:`~piwheels.core.errors.Fatal` if pip does not report it.
    """
    return index_access().url


@cache
def index_access() -> IndexAccess:
    """Return how pip connects to its index; raises as :func:`default_index`.

    Only the first call asks pip.
    """
    answer = _ask([sys.executable, "-I", "-c", _ACCESS])
    try:
        return IndexAccess(*json.loads(answer.stdout))
    except (ValueError, TypeError):
        why = last_line(answer.stderr)[:500] or "no output"
        raise Fatal(f"pip does not report its index ({why}): name one with --pypi-simple") from None


def source_versions(name: str, python_version: str | None = None) -> list[str]:
    """Return the versions of the project *name* that have a source distribution, newest first.

    The list holds the versions that pip accepts for *python_version* (``"3.9"``; default: the
    running Python); pre-releases only if there are no others. This interpreter's own pip answers,
    because pip before 26 lists versions without sources, too.

    Raises :exc:`~piwheels.core.errors.Refused` with the code ``NOPKG`` (no such project) or
    ``NOVER`` (no source distribution), and :exc:`~piwheels.core.errors.Unavailable` if the index
    cannot be reached.
    """
    if not _NAME.fullmatch(name):
        raise Refused("NOPKG", f"{name!r} is not the name of a package (PEP 508)")
    command = [*pip_command(), "index", "versions", "--pre"]
    command += [] if python_version is None else [f"--python-version={python_version}"]
    command += ["--no-input", "--no-color", "--disable-pip-version-check"]
    command += ["--retries=1", f"--timeout={INDEX_SECONDS}", name]
    if versions := _versions(_ask([*command, f"--no-binary={name}"])):
        return [text for text in versions if not Version(text).is_prerelease] or versions
    # pip reports every failure with the same sentence; only its verbose output tells them apart.
    answer = _ask([*command, "-vv"])
    if _versions(answer):
        raise Refused("NOVER", f"{name} has no source distribution for this Python")
    unfetched = _UNFETCHED.search(answer.stdout + answer.stderr)
    if unfetched:
        raise Unavailable(f"the index cannot be reached: {unfetched[1]}")
    raise Refused("NOPKG", f"no project {name} has a version for this Python")


def _ask(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return ask(command, QUESTION_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Unavailable("the index does not answer in time") from error
    except OSError as error:
        raise Fatal(
            f"cannot run pip with {command[0]} ({error.strerror}): install pip there"
        ) from error


def _versions(answer: subprocess.CompletedProcess[str]) -> list[str]:
    match = _VERSIONS.search(answer.stdout) if answer.returncode == 0 else None
    return [text.strip() for text in match[1].split(",") if is_version(text)] if match else []
