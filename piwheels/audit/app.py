"""``piw-audit``: its options, the order in which it looks, and how it says what it has found."""

from __future__ import annotations

import fcntl
import math
import os
import sys
import threading
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piwheels.audit.findings import KINDS, Finding
from piwheels.audit.packages import Looker, check_files, check_logs
from piwheels.audit.pages import check_index, check_root
from piwheels.audit.repair import Repair
from piwheels.audit.strangers import Walks
from piwheels.audit.tree import Tree, said
from piwheels.core.clock import SYSTEM, file_age
from piwheels.core.database.audit import AuditDatabase
from piwheels.core.errors import Fatal
from piwheels.core.program.command_line import Common, option, program
from piwheels.core.program.paths import address
from piwheels.core.program.terminal import Progress
from piwheels.core.site import work_path
from piwheels.core.wheels.tags import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from piwheels.core.database.audit import AuditPackage

#: What can be checked, in this order.
PARTS: Final = ("files", "logs", "index", "database")
#: How many packages are looked at in one go.
PAGE: Final = 200
#: How long what looks wrong may take to become right, in seconds; the root of a site that a master
#: writes (once a minute).
SETTLE, ROOT_SETTLE = 1.0, 70.0
#: How many findings of one kind within the database, or about the root, are told.
MANY: Final = 1000
#: How old a temporary of a master at work may be, in seconds.
_STALE: Final = 86400.0


def _part(text: str) -> str:
    if text not in PARTS:
        raise ValueError(f"{text!r} is no part: choose from {', '.join(PARTS)}")
    return text


@dataclass(frozen=True, kw_only=True)
class AuditConfig(Common):
    """Check the site's files, logs and pages, and what the database keeps, against the database.

    Nothing is changed without --repair. What a master at work is just changing is not reported.
    """

    parts: list[str] = option(
        default=[],
        metavar="PART",
        parse=_part,
        positional=True,
        help="what to check: files, logs, index or database (default: all of them)",
    )
    dsn: str = option("-d", default="postgresql:///piwheels", metavar="URL", help="the database")
    output_path: Path = option(
        "-o", default=Path("/var/www/piwheels"), metavar="DIR", help="where the site is"
    )
    package: list[str] = option(
        "-p",
        default=[],
        metavar="NAME",
        help="check this package alone (can be repeated); the database only if it is named",
    )
    quick: bool = option(
        default=False, help="look at names and sizes of files and logs, do not read them"
    )
    json: bool = option(default=False, help="write each finding as a JSON object, one a line")
    repair: bool = option(default=False, help="mend what can be mended, asking before each change")
    yes: bool = option("-y", default=False, help="with --repair: do not ask before each")
    quarantine_dir: Path | None = option(
        default=None,
        metavar="DIR",
        help="with --repair: move what does not belong to the site here; nothing is ever deleted",
    )
    import_queue: str = option(
        default="",
        metavar="ADDR",
        parse=address,
        help="with --repair: ask the master here (default: this user's, or else the service)",
    )


class Audit:
    """One audit: what it finds, a finding at a time, in memory that does not grow with the farm."""

    def __init__(self, config: AuditConfig, db: AuditDatabase, progress: Progress) -> None:
        self.config, self.db, self.progress = config, db, progress
        self.work = work_path(config.output_path)
        self.read = 0
        self._counting = threading.Lock()
        self.look = Looker(
            Tree(config.output_path), config.quick, _is_held(self.work / "lock"), self._on_bytes
        )
        self.parts = config.parts or [
            part for part in PARTS if part != "database" or not config.package
        ]
        self._checks = [
            check
            for part, check in (
                ("files", check_files),
                ("logs", check_logs),
                ("index", check_index),
            )
            if part in self.parts
        ]
        self._packages = [canonical(name) for name in config.package]

    def findings(self) -> Iterator[Finding]:
        """Give all that is found."""
        if self._checks:
            pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
            try:
                yield from settled(self._pages(), partial(self._check, pool))
            finally:
                pool.shutdown(cancel_futures=True)
        if not self._packages:
            yield from self._strangers()
            if "index" in self.parts:
                yield from self._root()
        if "database" in self.parts:
            for fault in self.db.audit_kept(MANY):
                path = fault.subject or fault.package
                yield Finding(fault.kind, path, fault.why, fault.package)

    def _pages(self) -> Iterator[list[str]]:
        if self._packages:
            known = {each.package for each in self.db.audit_packages(self._packages)}
            if missing := [name for name in self._packages if name not in known]:
                raise Fatal(f"the database knows no package {', '.join(missing)}")
            yield self._packages
            return
        names = self.db.audit_names("", PAGE)
        while names:
            yield names
            if self._counts_packages:
                self.progress.step(len(names), names[-1])
            names = self.db.audit_names(names[-1], PAGE)

    def _check(self, pool: ThreadPoolExecutor, names: list[str]) -> dict[str, list[Finding]]:
        packages = self.db.audit_packages(names)
        found = pool.map(self._check_one, packages)
        return {package.package: each for package, each in zip(packages, found, strict=True)}

    @property
    def _counts_packages(self) -> bool:
        return self.config.quick or "files" not in self.parts

    def _check_one(self, package: AuditPackage) -> list[Finding]:
        try:
            return [found for check in self._checks for found in check(self.look, package)]
        except OSError as exc:
            return [Finding("unreadable", f"simple/{package.package}", said(exc), package.package)]

    def _strangers(self) -> Iterator[Finding]:
        walks = Walks(self.look, self.db)
        levels = (
            ("files", walks.entries(""), walks.root),
            ("files", walks.entries("simple"), walks.simple),
            ("logs", walks.log_folders(), walks.logs),
            ("index", walks.entries("project"), walks.project),
        )
        for part, paths, wrong in levels:
            if part in self.parts:
                yield from settled(paths, partial(_by_path, wrong))
                yield from walks.troubles
                walks.troubles.clear()
        if "files" in self.parts:
            yield from self._leftovers()

    def _root(self) -> Iterator[Finding]:
        # A master writes it once a minute at most: so long it may be behind.
        limit = SYSTEM.monotonic() + (ROOT_SETTLE if self.look.live else 0.0)
        found = self._root_now()
        while found:
            time.sleep(SETTLE)
            found = _in_both(found, self._root_now())
            if SYSTEM.monotonic() >= limit:
                break
        yield from found

    def _root_now(self) -> list[Finding]:
        return list(islice(check_root(self.look, self._published), MANY))

    def _published(self) -> Iterator[tuple[str, bool]]:
        rows = self.db.audit_published("", PAGE * 10)
        while rows:
            yield from rows
            rows = self.db.audit_published(rows[-1][0], PAGE * 10)

    def _leftovers(self) -> Iterator[Finding]:
        tree = Tree(self.work)
        try:
            for name in tree.names(""):
                about = tree.about(name)
                old = about is not None and file_age(about.st_mtime) > _STALE
                if name != "lock" and about is not None and (old or not self.look.live):
                    why = "was left by a master that has ended"
                    yield Finding("leftover", f"../{self.work.name}/{name}", why)
        except FileNotFoundError:
            return
        except OSError as exc:
            yield Finding("unreadable", f"../{self.work.name}", said(exc))

    def _on_bytes(self, count: int) -> None:
        with self._counting:
            self.read += count
            if not self._counts_packages:
                self.progress.step(count)


def settled(
    batches: Iterable[list[str]], look: Callable[[list[str]], dict[str, list[Finding]]]
) -> Iterator[Finding]:
    """Give what *look* finds about the names in *batches*, now and a moment later again.

    What is found but once was a change under way. The moment is spent on the next batches.
    """
    waiting: deque[tuple[float, dict[str, list[Finding]]]] = deque()

    def again(least: float) -> Iterator[Finding]:
        while waiting and waiting[0][0] <= least:
            due, first = waiting.popleft()
            time.sleep(max(0.0, due - SYSTEM.monotonic()))
            second = look(list(first))
            for name, found in first.items():
                yield from _in_both(found, second.get(name, []))

    for names in batches:
        if first := {name: found for name, found in look(names).items() if found}:
            waiting.append((SYSTEM.monotonic() + SETTLE, first))
        yield from again(SYSTEM.monotonic())
    yield from again(math.inf)


def _in_both(first: Iterable[Finding], second: Iterable[Finding]) -> list[Finding]:
    keys = {each.key for each in first}
    return [each for each in second if each.key in keys]


def _by_path(
    wrong: Callable[[list[str]], Iterable[Finding]], paths: list[str]
) -> dict[str, list[Finding]]:
    made: dict[str, list[Finding]] = {}
    for each in wrong(paths):
        made.setdefault(each.path, []).append(each)
    return made


def _is_held(lock: Path) -> bool:
    """Tell whether a master has the site: then its lock is taken."""
    try:
        handle = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _bar(config: AuditConfig, db: AuditDatabase) -> Progress:
    packages, size = db.audit_totals([canonical(name) for name in config.package] or None)
    by_package = config.quick or (config.parts and "files" not in config.parts)
    total, unit = (packages, "packages") if by_package else (size, "bytes")
    return Progress(total, unit, quiet=config.quiet)


@program(
    "piw-audit",
    AuditConfig,
    examples=[
        ("piw-audit", "check everything"),
        ("piw-audit --quick files logs", "see that every file is there, without reading any"),
        ("piw-audit -p numpy --json", "check one package, for a program"),
        ("piw-audit database --repair", "compute anew what is kept, if it is wrong"),
    ],
)
def main(config: AuditConfig) -> int:
    """Check the farm; return the exit status: 1 if there is anything to tell."""
    if not config.output_path.is_dir() and config.parts != ["database"]:
        raise Fatal(f"there is no site at {config.output_path}: check --output-path")
    counts: Counter[str] = Counter()
    mend: list[Finding] = []
    with AuditDatabase(config.dsn) as db:
        repair = Repair(config, db)
        began = SYSTEM.since_boot()
        with _bar(config, db) as progress:
            audit = Audit(config, db, progress)
            for finding in audit.findings():
                progress.clear()
                sys.stdout.write(f"{finding.json() if config.json else finding.line()}\n")
                sys.stdout.flush()
                counts[finding.kind] += 1
                if config.repair:
                    mend.append(finding)
        _sum_up(config, audit, counts, SYSTEM.since_boot() - began)
        if mend:
            repair.mend(mend, live=audit.look.live)
    return 1 if counts else 0


def _sum_up(config: AuditConfig, audit: Audit, counts: Counter[str], seconds: float) -> None:
    stream = sys.stderr if config.json else sys.stdout
    read = f", {audit.read / 1e6:,.0f} MB read" if audit.read else ""
    rate = f" ({audit.read / 1e6 / seconds:,.0f} MB/s)" if audit.read and seconds else ""
    stream.write(f"{', '.join(audit.parts)}: {sum(counts.values()):,} findings")
    stream.write(f" in {seconds:.1f} s{read}{rate}\n")
    for kind in (kind for kind in KINDS if kind in counts):
        stream.write(f"  {counts[kind]:,} {kind}: {KINDS[kind].value}\n")
