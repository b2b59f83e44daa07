"""Debian packages of another architecture: apt of this machine fetches them, dpkg-deb unpacks them.

Both are programs of this machine, run by this user. No script of a package runs.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piwheels.core.host.commands import ask, last_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_KEYS: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SECONDS: Final = 3600.0
_QUESTION_SECONDS: Final = 60.0
#: The settings of apt that this machine shares: how to reach a mirror.
_SHARED: Final = re.compile(r'Acquire::(?:https?|Retries|ForceIPv[46])\b.*"[^"]*";')
_CONFIGURATION: Final = """
Dir "{0}/"; Dir::State "state"; Dir::State::status "{0}/status"; Dir::Cache "cache"; Dir::Etc "etc";
Dir::Etc::trustedparts "/etc/apt/trusted.gpg.d"; Dir::Log "log";
APT::Architecture "{1}"; APT::Architectures "{1}"; APT::Install-Recommends "false";
APT::Sandbox::User ""; Acquire::Languages "none"; Debug::NoLocking "true";
"""


def own_release() -> str:
    """Return the release of this machine's Debian. Raises ``LookupError`` if it has none."""
    about = {}
    with suppress(OSError):
        about = platform.freedesktop_os_release()
    if about.get("ID") in ("debian", "raspbian") and "VERSION_CODENAME" in about:
        return about["VERSION_CODENAME"]
    raise LookupError("this machine has no release of Debian: name one, such as armhf/trixie")


def sources(release: str, mirror: str = "") -> list[str]:
    """Return the lines of a ``sources.list`` for *release*, from the *mirror* of Debian.

    Without one, the mirrors are those of this machine's own release. Raises ``LookupError`` if
    there is none.
    """
    signed = f"[signed-by={_KEYS}] " if _KEYS.exists() else ""
    if mirror:
        return [f"deb {signed}{mirror} {release} main"]
    own = own_release()
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"]
    found = ask([*command, "Created-By: Packages"], _QUESTION_SECONDS).stdout.split("\n")
    rows = [row for row in map(str.split, found) if len(row) == 3]
    return [
        f"deb {signed}{uri} {suite.replace(own, release)} {component}"
        for uri, suite, component in rows
        if suite in (own, f"{own}-updates", f"{own}-security") and component == "main"
    ]


def download(
    folder: Path, architecture: str, lines: Iterable[str], packages: Sequence[str]
) -> list[Path]:
    """Fetch *packages* with all that they depend on, by *lines* of a ``sources.list``.

    *folder* gets the files of apt. Raises ``LookupError`` with the words of apt.
    """
    for name in ("etc/preferences.d", "state/lists/partial", "cache/archives/partial", "log"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "etc/sources.list").write_text("\n".join([*lines, ""]))
    shared = filter(_SHARED.fullmatch, ask(["apt-config", "dump"], 60.0).stdout.split("\n"))
    settings = _CONFIGURATION.format(folder, architecture)
    (folder / "apt.conf").write_text("\n".join([settings, *shared, ""]))
    apt = ["env", f"APT_CONFIG={folder}/apt.conf", "LC_ALL=C", "apt-get", "-q"]
    try:
        _run([*apt, "update"], "apt-get update")
    except LookupError as error:  # it may have the lists of other mirrors
        logging.getLogger("emulation").warning("%s", error)
    _run([*apt, "install", "-y", "--download-only", "?essential", *packages], "apt-get install")
    return sorted((folder / "cache/archives").glob("*.deb"))


def unpack(archives: Sequence[Path], root: Path) -> None:
    """Unpack *archives* into the new folder *root*, and note the files of each package.

    Raises ``LookupError`` if that fails.
    """
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    lists = root / "var/lib/dpkg/info"
    lists.mkdir(parents=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, listing in pool.map(lambda path: (path, _unpack(path, root)), archives):
            # As dpkg has it: "/." and "/usr/bin", without a slash at the end
            names = [line.removeprefix(".").rstrip("/") or "/." for line in listing.split("\n")]
            package = path.name.partition("_")[0]
            (lists / f"{package}.list").write_text("\n".join([*names[:-1], ""]))


def _unpack(path: Path, root: Path) -> str:
    keep = "--no-same-owner --no-same-permissions --keep-directory-symlink"
    script = f'set -o pipefail; dpkg-deb --fsys-tarfile "$1" | tar -xv {keep} -C "$2"'
    return _run(["bash", "-c", script, "bash", str(path), str(root)], f"unpacking {path.name}")


def _run(command: Sequence[str], what: str) -> str:
    try:
        answer = ask(command, _SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LookupError(f"{what} failed ({error})") from error
    if answer.returncode:
        errors = [line for line in answer.stderr.split("\n") if line.startswith("E: ")]
        raise LookupError(f"{what} failed: {(errors or [last_line(answer.stderr)])[0][:300]}")
    return answer.stdout
