"""Makes the roots of emulated systems, each once, and keeps them."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piwheels.core.clock import SYSTEM
from piwheels.core.host import apt
from piwheels.core.host.commands import ask, last_line
from piwheels.core.host.supervision import folder_size, remove_tree
from piwheels.core.words import size_text
from piwheels.slave.emulation.root import Root, prepare

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from piwheels.core.architectures import System
    from piwheels.core.clock import Clock

#: What builds need, and the slave's check of itself wants.
PACKAGES: Final = (
    "build-essential", "pkg-config", "python3-dev", "python3-pip", "python3-venv",
)  # fmt: skip
#: Changes when roots are made in another way; then new ones are made.
_RECIPE: Final = 1
#: The room that a new root needs, in bytes: for a moment, its packages are there, too.
ROOM: Final = 1500 * 2**20
_SECONDS: Final = 1800.0


def find_or_make(
    system: System,
    cache: Path,
    mirror: str = "",
    more: Collection[str] = (),
    clock: Clock = SYSTEM,
) -> Root:
    """Return the root of *system* in the folder *cache*; make it there if there is none.

    *mirror* is as in :func:`~piwheels.core.host.apt.sources`; it has *more* packages than
    :data:`PACKAGES`. Only one process makes a root, and others wait for it. Raises ``LookupError``
    with a sentence if it cannot be made.
    """
    release = system.release or apt.own_release()
    packages = sorted({*PACKAGES, *more})
    recipe = hashlib.sha256(repr((_RECIPE, packages)).encode()).hexdigest()[:8]
    place = cache / f"{system.architecture}-{release}-{recipe}"
    if not place.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(place):
            if not place.is_dir():
                _make(place, release, mirror, packages, clock)
    return Root(place / "root")


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    file = os.open(f"{place}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _make(place: Path, release: str, mirror: str, packages: Sequence[str], clock: Clock) -> None:
    """Make a root next to *place*, then rename it: a half-made one is never used."""
    logger, started = logging.getLogger("emulation"), clock.since_boot()
    if shutil.disk_usage(place.parent).free < ROOM:
        raise LookupError(f"{place.parent} is too full: make room, {size_text(ROOM)} at least")
    for each in place.parent.glob(f"{place.name}.new-*"):  # this process has the lock
        remove_tree(str(each))
    fresh = Path(tempfile.mkdtemp(prefix=f"{place.name}.new-", dir=place.parent))
    try:
        architecture = place.name.partition("-")[0]
        logger.info("making a Debian root for %s (%s) in %s", architecture, release, place)
        lines = apt.sources(release, mirror)
        if not lines:
            raise LookupError("apt has no mirror of Debian here: name one with --mirror")
        archives = _download(fresh / "apt", architecture, lines, packages)
        root = Root(fresh / "root")
        apt.unpack(archives, root.path)
        remove_tree(str(fresh / "apt"))
        (fresh / "binfmt").mkdir()
        prepare(root.path)
        _finish(root)
        os.sync()
        fresh.rename(place)
    except BaseException:
        remove_tree(str(fresh))
        raise
    words = size_text(int(folder_size(str(place)))), clock.since_boot() - started
    logger.info("made the root for %s (%s): %s in %.0f s", architecture, release, *words)


def _download(
    folder: Path, architecture: str, lines: Sequence[str], packages: Sequence[str]
) -> list[Path]:
    """Fetch *packages* with all that they need, and all that a system must have."""
    own = apt.Apt(folder, [architecture], lines)
    own.update()
    return own.fetch(["?essential", *packages])


def _finish(root: Root) -> None:
    """Have programs of *root* write the cache of its libraries, and compile its Python."""
    _run([*root.prefix("--bind"), "/sbin/ldconfig"])
    names = sorted(path.name for path in (root.path / "usr/lib").glob("python3*"))
    folders = [f"/usr/lib/{name}" for name in names]
    compile_all = ["-I", "-m", "compileall", "-q", "-j", "0"]
    if names == ["python3", "python{}.{}".format(*sys.version_info)]:  # this one is faster
        place = str(root.path)
        command = [sys.executable, *compile_all, "-s", place, "-p", "/"]
        command += [f"{place}{folder}" for folder in folders]
    else:
        command = [*root.prefix("--bind"), "/usr/bin/python3", *compile_all, *folders]
    _run(command, may_fail=True)  # some files of tests are no Python


def _run(command: Sequence[str], *, may_fail: bool = False) -> None:
    try:
        answer = ask(command, _SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LookupError(f"a program for the new root does not run ({error})") from error
    if answer.returncode and not may_fail:
        why = last_line(answer.stderr)[:300]
        raise LookupError(f"{command[-1]} of the new root failed: {why}")
