"""Packages of Debian: this machine's apt fetches them, and dpkg-deb unpacks them, for any user.

apt has folders of its own, so that nothing of the machine changes. No script of a package runs.
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
from typing import TYPE_CHECKING, Final, NamedTuple

from piwheels.core.host.commands import ask, last_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_KEYS: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SECONDS: Final = 3600.0
_QUESTION_SECONDS: Final = 60.0
#: The settings of apt that this machine shares: how to reach a mirror.
_SHARED: Final = re.compile(r'Acquire::(?:https?|Retries|ForceIPv[46])\b.*"[^"]*";')
_CONFIGURATION: Final = """
Dir "{0}/"; Dir::State "state"; Dir::Cache "cache"; Dir::Etc "etc"; Dir::Log "log";
Dir::Etc::trustedparts "/etc/apt/trusted.gpg.d";
APT::Install-Recommends "false"; APT::Sandbox::User ""; Acquire::Languages "none";
Debug::NoLocking "true";
"""
#: The sources, keys and choices of this machine, and the packages that it has.
_THIS_MACHINE: Final = """
Dir::State::status "/var/lib/dpkg/status";
Dir::Etc::sourcelist "/etc/apt/sources.list"; Dir::Etc::sourceparts "/etc/apt/sources.list.d";
Dir::Etc::trusted "/etc/apt/trusted.gpg"; Dir::Etc::netrc "/etc/apt/auth.conf";
Dir::Etc::netrcparts "/etc/apt/auth.conf.d"; Dir::Etc::preferences "/etc/apt/preferences";
Dir::Etc::preferencesparts "/etc/apt/preferences.d";
"""
_PLANNED: Final = re.compile(r"'[^']*' ([!-~]+\.deb) ([0-9]{1,15})(?: \S*)?")


class Archive(NamedTuple):
    """A package that apt would fetch: the *name* of its file, with the version; bytes."""

    name: str
    size: int


class Apt:
    """apt with its own files in *folder*, for *architectures* (the first is the main one).

    Packages come by *lines* of a ``sources.list``, for a system that has none yet; ``None``: by the
    sources of this machine, for this machine. *settings* are more lines of its configuration.
    """

    def __init__(
        self,
        folder: Path,
        architectures: Sequence[str],
        lines: Iterable[str] | None = None,
        settings: str = "",
    ) -> None:
        self.folder = folder
        for name in ("etc/preferences.d", "state/lists/partial", "cache/archives/partial", "log"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        text = [_CONFIGURATION.format(folder), settings, f'APT::Architecture "{architectures[0]}";']
        text += [f'APT::Architectures:: "{each}";' for each in architectures]
        if lines is None:
            text.append(_THIS_MACHINE)
        else:
            (folder / "status").touch()
            (folder / "etc/sources.list").write_text("\n".join([*lines, ""]))
            text.append(f'Dir::State::status "{folder}/status";')
        dump = ask(["apt-config", "dump"], _QUESTION_SECONDS).stdout.split("\n")
        text += filter(_SHARED.fullmatch, dump)
        (folder / "apt.conf").write_text("\n".join([*text, ""]))

    def update(self) -> None:
        """Fetch the lists of packages; a source that cannot be reached is only logged."""
        try:
            self._get("update")
        except LookupError as error:  # it may have the lists of other mirrors
            logging.getLogger("apt").warning("%s", error)

    def plan(self, packages: Sequence[str], seconds: float = _SECONDS) -> list[Archive]:
        """Return what *packages* need and the system does not have, themselves included.

        Raises ``LookupError`` with the words of apt: one of them is unknown, or they need the
        removal of another package.
        """
        answer = self._get("install", "--print-uris", "--no-remove", *packages, seconds=seconds)
        found = map(_PLANNED.fullmatch, answer.split("\n"))
        return sorted(Archive(match[1], int(match[2])) for match in found if match)

    def fetch(self, packages: Sequence[str], seconds: float = _SECONDS) -> list[Path]:
        """Fetch *packages* and what :meth:`plan` adds; return the files, all that are there.

        Raises ``LookupError`` with the words of apt.
        """
        self._get("install", "--download-only", "--no-remove", *packages, seconds=seconds)
        return sorted((self.folder / "cache/archives").glob("*.deb"))

    def lists(self, created_by: str) -> list[str]:
        """Return the text of each list *created_by* a kind of targets, such as ``Packages``."""
        answer = self.run("apt-get", "indextargets", "--format", "$(FILENAME)", created_by)
        names = [name for name in answer.split("\n") if name]
        return [self.run("/usr/lib/apt/apt-helper", "cat-file", name) for name in names]

    def _get(self, *words: str, seconds: float = _SECONDS) -> str:
        return self.run("apt-get", "-q", "-y", *words, seconds=seconds)

    def run(self, *command: str, seconds: float = _SECONDS) -> str:
        """Run a *command* of apt; return its output. Raises ``LookupError`` with its words."""
        what = " ".join([word for word in command if not word.startswith("-")][:2])
        variables = ["env", f"APT_CONFIG={self.folder}/apt.conf", "LC_ALL=C"]
        return _run([*variables, *command], what, seconds)


def own_release() -> str:
    """Return the release of this machine's Debian. Raises ``LookupError`` if it has none."""
    about = {}
    with suppress(OSError):
        about = platform.freedesktop_os_release()
    if about.get("ID") in ("debian", "raspbian") and "VERSION_CODENAME" in about:
        return about["VERSION_CODENAME"]
    raise LookupError("this machine has no release of Debian: name one, such as armhf/trixie")


def own_architectures() -> list[str]:
    """Return the architectures of this machine's packages, the main one first."""
    ask_dpkg = ("--print-architecture", "--print-foreign-architectures")
    return " ".join(_run(["dpkg", how], f"dpkg {how}") for how in ask_dpkg).split()


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


def _run(command: Sequence[str], what: str, seconds: float = _SECONDS) -> str:
    try:
        answer = ask(command, seconds)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LookupError(f"{what} failed ({error})") from error
    if answer.returncode:
        errors = [line for line in answer.stderr.split("\n") if line.startswith("E: ")]
        raise LookupError(f"{what} failed: {(errors or [last_line(answer.stderr)])[0][:300]}")
    return answer.stdout
