"""What pip is configured with on this machine, and what its index has; asked of pip itself.

Environment, configuration files, credentials, certificates and proxies are pip's business;
nothing of that is read here, and no index is named here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from piwheels.core.errors import Fatal, Refused, Unavailable
from piwheels.core.wheels.tags import is_version

if TYPE_CHECKING:
    from collections.abc import Sequence

#: How long one question to pip may take, and how long pip waits for the index, in seconds.
QUESTION_SECONDS = 90.0
INDEX_SECONDS = 15

_GOOD_PIP = (23, 1)
_PIP_SECONDS = 30.0

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?", re.ASCII)
_VERSIONS = re.compile(r"^Available versions: (.+)$", re.MULTILINE)
_UNFETCHED = re.compile(
    r"Could not fetch URL \S+: (?!404 )(.{1,300}?)(?: - skipping)?$", re.MULTILINE
)

# The parser of a command that takes an index has all sources of configuration applied, and pip's
# own default below them.
_ACCESS = """
import json
from pip._internal.commands import create_command
options = create_command("download").parse_args(["x"])[0]
names = "index_url", "cert", "client_cert", "proxy", "trusted_hosts", "timeout"
print(json.dumps([getattr(options, name) for name in names]))
"""


class IndexAccess(NamedTuple):
    """Where pip's index is, and how pip reaches it.

    *cert* and *client_cert* are paths, *proxy* an address (``None``: as the environment says),
    *trusted_hosts* are those whose certificates are not checked (HOST or HOST:PORT), *timeout* is
    in seconds.
    """

    url: str
    cert: str | None = None
    client_cert: str | None = None
    proxy: str | None = None
    trusted_hosts: Sequence[str] = ()
    timeout: float = INDEX_SECONDS


def pip_command(path: Path | None = None) -> list[str]:
    """Return the command that runs pip for the interpreter at *path* (``None``: this one).

    The interpreter's own pip is the quickest, unless it is older than 23.1, which cannot build
    all that newer ones can; then our own does it from outside (``--python``), where it still
    supports that Python. Raises :exc:`~piwheels.core.errors.Fatal` if neither works.
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
    raise Fatal(f"there is no pip that can build for {path}: install one there (ensurepip)")


def _pip_version(command: list[str]) -> tuple[int, ...] | None:
    try:
        answer = subprocess.run(
            [*command, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PIP_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.match(rb"pip ([0-9]{1,4})\.([0-9]{1,4})", answer.stdout)
    return (int(match[1]), int(match[2])) if match else None


def default_index() -> str:
    """Return the address of the index that pip would use here (PEP 503).

    Raises :exc:`~piwheels.core.errors.Fatal` if pip does not say.
    """
    return index_access().url


def index_access() -> IndexAccess:
    """Return how pip would reach its index here; raise as :func:`default_index`."""
    answer = _ask([sys.executable, "-I", "-c", _ACCESS])
    try:
        return IndexAccess(*json.loads(answer.stdout))
    except (ValueError, TypeError):
        why = _last_line(answer.stderr)
        raise Fatal(
            f"pip does not say which index it uses ({why}): name one in --pypi-simple"
        ) from None


def source_versions(name: str, python_version: str | None = None) -> list[str]:
    """Return the versions of the project *name* that have a source distribution, newest first.

    They are those that pip would take for the Python of *python_version* (``"3.9"``; default: the
    one that runs this); pre-releases only if there is nothing else. It is our own pip that is
    asked, since those before 26 list versions without sources too.

    Raises :exc:`~piwheels.core.errors.Refused` with the code ``NOPKG`` (no such project) or
    ``NOVER`` (no source distribution), and :exc:`~piwheels.core.errors.Unavailable` if the index
    cannot be reached.
    """
    if not _NAME.fullmatch(name):
        raise Refused("NOPKG", f"{name!r} is not the name of a package (PEP 508)")
    command = [*pip_command(), "index", "versions"]
    command += [] if python_version is None else [f"--python-version={python_version}"]
    command += ["--no-input", "--no-color", "--disable-pip-version-check"]
    command += ["--retries=1", f"--timeout={INDEX_SECONDS}", name]
    for more in ([f"--no-binary={name}"], [f"--no-binary={name}", "--pre"]):
        versions = _versions(_ask([*command, *more]))
        if versions:
            return versions
    # pip says the same sentence of all that went wrong; its talk tells what it was.
    answer = _ask([*command, "--pre", "-vv"])
    if _versions(answer):
        raise Refused("NOVER", f"{name} has no source distribution for this Python")
    unfetched = _UNFETCHED.search(answer.stdout + answer.stderr)
    if unfetched:
        raise Unavailable(f"the index cannot be reached: {unfetched[1]}")
    raise Refused("NOPKG", f"there is no project {name} that this Python could use")


def _ask(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=QUESTION_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable("the index does not answer in time") from error
    except OSError as error:
        raise Fatal(
            f"cannot run pip with {command[0]} ({error.strerror}): see that it is installed there"
        ) from error


def _versions(answer: subprocess.CompletedProcess[str]) -> list[str]:
    match = _VERSIONS.search(answer.stdout) if answer.returncode == 0 else None
    return [text.strip() for text in match[1].split(",") if is_version(text)] if match else []


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing was said"])[-1][:500]
