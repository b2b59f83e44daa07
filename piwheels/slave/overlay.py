"""Packages of Debian that this machine lacks and one build needs: only that build sees them.

An *overlay* is a folder with the files of some packages and of all that these need, which a sandbox
lays over this machine's. The packages come from the machine's own sources, and apt verifies them;
no script of theirs runs, and the machine does not change.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piwheels.core.clock import SYSTEM, file_age
from piwheels.core.host.apt import Apt, own_architectures, unpack
from piwheels.core.host.commands import ask, last_line
from piwheels.core.host.supervision import folder_size, remove_tree
from piwheels.core.recipes import package_fault
from piwheels.core.words import size_text
from piwheels.slave.alternatives import link_alternatives
from piwheels.slave.sandbox.bubblewrap import Bubblewrap, find_program
from piwheels.slave.sandbox.view import view_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from piwheels.core.clock import Clock
    from piwheels.core.host.apt import Archive

#: The most bytes that apt fetches for an overlay, and that all unused overlays may take.
MAX_FETCHED: Final = 10**9
MAX_KEPT: Final = 4 * 10**9
#: The age, in seconds, at which the lists of packages are fetched again: always, and after a
#: failure, since a package may have been replaced.
_OLD: Final = 86400.0
_OLD_AFTER_FAILURE: Final = 600.0
#: The time limits of planning and of fetching, in seconds.
_PLAN_SECONDS: Final = 120.0
_FETCH_SECONDS: Final = 1200.0
_LDCONFIG_SECONDS: Final = 120.0
#: How many times the size of its packages an overlay may need while it is made.
_GROWTH: Final = 8
#: Changes when overlays are made in another way; then new ones are made.
_RECIPE: Final = 1
_NEEDED: Final = {"apt-get": "apt", "dpkg-deb": "dpkg", "tar": "tar", "ldconfig": "libc-bin"}
#: The packages that this machine has.
_STATUS: Final = Path("/var/lib/dpkg/status")


def unavailable() -> str:
    """Return why this machine cannot fetch packages for one build; ``""`` if it can."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    missing = [package for name, package in _NEEDED.items() if not shutil.which(name, path=path)]
    if missing or not _STATUS.exists():
        return f"this machine has no {(missing or ['dpkg'])[0]}: it is not Debian"
    return ""


@dataclass
class Overlay:
    """An overlay in the folder *path*, which stays until :meth:`close`.

    *added* are its packages, with their versions, as their files are named.
    """

    path: Path
    added: Sequence[str]
    _lock: int

    def close(self) -> None:
        """Allow that it is removed."""
        os.close(self._lock)


class Overlays:
    """The overlays in *folder*, each made once, for the builds of all slaves of this user.

    *most* bytes may be kept of those that no build uses; the oldest ones go first.
    """

    def __init__(self, folder: Path, most: int = MAX_KEPT, clock: Clock = SYSTEM) -> None:
        self._folder = folder
        self._most = most
        self._clock = clock
        self._plans: dict[tuple[object, ...], list[Archive]] = {}
        self._apt: Apt | None = None

    def prepare(self, packages: Sequence[str]) -> Overlay:
        """Return an overlay with *packages*, and what they need and this machine lacks.

        It may take minutes; only one process at a time fetches packages. Raises ``LookupError``
        with a sentence.
        """
        names = sorted(set(packages))
        if faults := list(filter(None, map(package_fault, names))):
            raise LookupError(faults[0])
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with _locked(self._folder / "lock"):
                self._apt = apt = self._apt or Apt(self._folder / "apt", own_architectures())
                self._update(apt, _OLD)
                try:
                    return self._open(apt, names)
                except LookupError:
                    if self._update(apt, _OLD_AFTER_FAILURE):
                        return self._open(apt, names)
                    raise
        except (OSError, subprocess.SubprocessError) as error:
            raise LookupError(f"packages cannot be prepared in {self._folder}: {error}") from error

    def _update(self, apt: Apt, old: float) -> bool:
        """Fetch the lists of packages if they are at least *old* seconds; return whether it did."""
        stamp = apt.folder / "updated"
        if stamp.exists() and file_age(stamp.stat().st_mtime) < old:
            return False
        apt.update()
        stamp.touch()
        return True

    def _open(self, apt: Apt, names: Sequence[str]) -> Overlay:
        plan = self._plan(apt, names)
        key = hashlib.sha256(repr((_RECIPE, [each.name for each in plan])).encode()).hexdigest()
        place = self._folder / key[:16]
        if not place.is_dir():
            self._make(apt, names, plan, place)
        os.utime(place)
        overlay = Overlay(place, [each.name for each in plan], _hold(place, fcntl.LOCK_SH))
        self._remove_old()
        return overlay

    def _plan(self, apt: Apt, names: Sequence[str]) -> list[Archive]:
        """Return what has to be fetched; that changes only with the lists and this machine."""
        state = _STATUS.stat().st_mtime_ns, (apt.folder / "updated").stat().st_mtime_ns
        about = *state, *names
        if about not in self._plans:
            self._plans = {old: plan for old, plan in self._plans.items() if old[:2] == state}
            self._plans[about] = apt.plan(names, _PLAN_SECONDS)
        return self._plans[about]

    def _make(self, apt: Apt, names: Sequence[str], plan: Sequence[Archive], place: Path) -> None:
        """Make an overlay next to *place*, then rename it: a half-made one is never used."""
        size, started = sum(each.size for each in plan), self._clock.since_boot()
        if size > MAX_FETCHED:
            raise LookupError(f"{', '.join(names)} would fetch {size_text(size)}: too much")
        if shutil.disk_usage(self._folder).free < _GROWTH * size:
            needed = size_text(_GROWTH * size)
            raise LookupError(f"{self._folder} is too full: make room, {needed} at least")
        for each in self._folder.glob("new-*"):  # this process has the lock
            remove_tree(str(each))
        fresh = Path(tempfile.mkdtemp(prefix="new-", dir=self._folder))
        try:
            fresh.chmod(0o755)
            archives = apt.fetch(names, _FETCH_SECONDS)
            unpack(archives, fresh)
            (fresh / "etc").mkdir(exist_ok=True)
            link_alternatives(archives, fresh)
            _write_library_cache(fresh)
            fresh.rename(place)
        except BaseException:
            remove_tree(str(fresh))
            raise
        finally:
            remove_tree(f"{apt.folder}/cache/archives")
        words = size_text(int(folder_size(str(place)))), self._clock.since_boot() - started
        logging.getLogger("overlay").info("unpacked %s: %s in %.0f s", " ".join(names), *words)

    def _remove_old(self) -> None:
        """Remove the overlays that were used least recently, until the others are small enough."""
        places = [path for path in self._folder.iterdir() if (path / "usr").is_dir()]
        left = self._most
        for place in sorted(places, key=lambda path: path.stat().st_mtime, reverse=True):
            left -= int(folder_size(str(place)))
            if left < 0:
                try:
                    lock = _hold(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:  # a build uses it
                    continue
                remove_tree(str(place))
                os.close(lock)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.touch()
    lock = _hold(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(lock)


def _hold(path: Path, how: int) -> int:
    """Return a descriptor of *path* that has a lock. Raises ``BlockingIOError`` by *how*."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, how)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _write_library_cache(layer: Path) -> None:
    """Write the cache of the libraries of this machine and of *layer*: the linker reads only it."""
    sandbox = Bubblewrap(find_program(), view_of([], [])).overlaid(layer)
    with tempfile.TemporaryDirectory(prefix="piw-ldconfig-") as place:
        work = Path(place)
        (work / "tmp").mkdir()
        cache = work / "ld.so.cache"
        command = ["/sbin/ldconfig", "-X", "-C", str(sandbox.inside(work) / cache.name)]
        answer = ask(sandbox.unfiltered(work, command, 0), _LDCONFIG_SECONDS)
        if answer.returncode:
            raise LookupError(f"ldconfig failed: {last_line(answer.stderr)[:300]}")
        shutil.copyfile(cache, layer / "etc" / cache.name)
