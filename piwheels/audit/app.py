"""``piw-audit``: the sequence of its checks, and its report."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from piwheels.audit.config import PARTS
from piwheels.audit.findings import KINDS, Finding
from piwheels.audit.packages import AuditContext, check_files, check_logs
from piwheels.audit.pages import check_index, check_root
from piwheels.audit.repair import Repair
from piwheels.audit.tree import Tree, reason
from piwheels.audit.walk import Walk
from piwheels.core.clock import SYSTEM
from piwheels.core.database.audit import AuditDatabase
from piwheels.core.errors import Fatal
from piwheels.core.program.locks import is_locked
from piwheels.core.program.terminal import Progress
from piwheels.core.site import LAYOUT_FILE, LOCK_FILE, work_path
from piwheels.core.wheels.tags import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from piwheels.audit.config import AuditConfig
    from piwheels.core.database.audit import AuditPackage

#: The number of packages in one query.
PAGE: Final = 200
#: Seconds until a suspect is checked again: a path; the root pages, which a running master writes
#: once a minute.
RECHECK, ROOT_RECHECK = 1.0, 70.0
#: How many findings of one kind are reported for the database, and for the root pages.
MAX_FINDINGS: Final = 1000


class Audit:
    """One audit. It yields its findings one by one, in memory that does not grow with the farm."""

    def __init__(self, config: AuditConfig, db: AuditDatabase, progress: Progress) -> None:
        self.config, self.db, self.progress = config, db, progress
        self.work = work_path(config.place.site)
        self.read = 0
        self._counting = threading.Lock()
        self.context = AuditContext(
            Tree(config.place.site), config.quick, is_locked(self.work / LOCK_FILE), self._on_bytes
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
        """Yield all findings."""
        if self._checks:
            pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
            try:
                yield from confirmed_findings(self._pages(), partial(self._check, pool))
            finally:
                pool.shutdown(cancel_futures=True)
        if not self._packages:
            yield from self._unknown()
            if "index" in self.parts:
                yield from self._root()
        if "database" in self.parts:
            for fault in self.db.audit_derived(MAX_FINDINGS):
                path = fault.subject or fault.package
                yield Finding(fault.kind, path, fault.why, fault.package)

    def _pages(self) -> Iterator[list[str]]:
        if self._packages:
            known = {each.package for each in self.db.audit_packages(self._packages)}
            if missing := [name for name in self._packages if name not in known]:
                raise Fatal(f"the database has no package {', '.join(missing)}")
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
            return [found for check in self._checks for found in check(self.context, package)]
        except OSError as exc:
            return [
                Finding("unreadable", f"simple/{package.package}", reason(exc), package.package)
            ]

    def _unknown(self) -> Iterator[Finding]:
        walks = Walk(self.context, self.db)
        levels = (
            ("files", walks.entries(""), walks.root),
            ("files", walks.entries("simple"), walks.simple),
            ("logs", walks.log_folders(), walks.logs),
            ("index", walks.entries("project"), walks.project),
        )
        for part, paths, wrong in levels:
            if part in self.parts:
                yield from confirmed_findings(paths, partial(_by_path, wrong))
                yield from walks.errors
                walks.errors.clear()
        if "files" in self.parts:
            yield from self._leftovers()

    def _root(self) -> Iterator[Finding]:
        # A running master writes these pages at most once a minute.
        limit = SYSTEM.monotonic() + (ROOT_RECHECK if self.context.live else 0.0)
        found = self._root_now()
        while found:
            time.sleep(RECHECK)
            found = _in_both(found, self._root_now())
            if SYSTEM.monotonic() >= limit:
                break
        yield from found

    def _root_now(self) -> list[Finding]:
        return list(islice(check_root(self.context, self._published), MAX_FINDINGS))

    def _published(self) -> Iterator[tuple[str, bool]]:
        rows = self.db.audit_published("", PAGE * 10)
        while rows:
            yield from rows
            rows = self.db.audit_published(rows[-1][0], PAGE * 10)

    def _leftovers(self) -> Iterator[Finding]:
        if self.context.live:
            return  # its own files; it has removed those of an earlier master
        try:
            for name in Tree(self.work).names(""):
                if name not in (LOCK_FILE, LAYOUT_FILE):
                    why = "was left by a master that has stopped"
                    yield Finding("leftover", f"../{self.work.name}/{name}", why)
        except FileNotFoundError:
            return
        except OSError as exc:
            yield Finding("unreadable", f"../{self.work.name}", reason(exc))

    def _on_bytes(self, count: int) -> None:
        with self._counting:
            self.read += count
            if not self._counts_packages:
                self.progress.step(count)


def confirmed_findings(
    batches: Iterable[list[str]], check: Callable[[list[str]], dict[str, list[Finding]]]
) -> Iterator[Finding]:
    """Yield the findings that *check* has about the names in *batches* in two checks in a row.

    A finding of only one check was a change in progress. Between its two checks of a batch, the
    audit checks the next batches.
    """
    waiting: deque[tuple[float, dict[str, list[Finding]]]] = deque()

    def recheck(least: float) -> Iterator[Finding]:
        while waiting and waiting[0][0] <= least:
            due, first = waiting.popleft()
            time.sleep(max(0.0, due - SYSTEM.monotonic()))
            second = check(list(first))
            for name, found in first.items():
                yield from _in_both(found, second.get(name, []))

    for names in batches:
        if first := {name: found for name, found in check(names).items() if found}:
            waiting.append((SYSTEM.monotonic() + RECHECK, first))
        yield from recheck(SYSTEM.monotonic())
    yield from recheck(math.inf)


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


def _bar(config: AuditConfig, db: AuditDatabase) -> Progress:
    packages, size = db.audit_totals([canonical(name) for name in config.package] or None)
    by_package = config.quick or (config.parts and "files" not in config.parts)
    total, unit = (packages, "packages") if by_package else (size, "bytes")
    return Progress(total, unit, quiet=config.quiet)


def run(config: AuditConfig) -> int:
    """Check the farm; return the exit status (1: there are findings)."""
    if not config.place.site.is_dir() and config.parts != ["database"]:
        raise Fatal(f"no site at {config.place.site}: check --output-path")
    counts: Counter[str] = Counter()
    to_repair: list[Finding] = []
    with AuditDatabase(config.place.dsn) as db:
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
                    to_repair.append(finding)
        _summarize(config, audit, counts, SYSTEM.since_boot() - began)
        if to_repair:
            repair.repair(to_repair, live=audit.context.live)
    return 1 if counts else 0


def _summarize(config: AuditConfig, audit: Audit, counts: Counter[str], seconds: float) -> None:
    stream = sys.stderr if config.json else sys.stdout
    read = f", {audit.read / 1e6:,.0f} MB read" if audit.read else ""
    rate = f" ({audit.read / 1e6 / seconds:,.0f} MB/s)" if audit.read and seconds else ""
    stream.write(f"{', '.join(audit.parts)}: {sum(counts.values()):,} findings")
    stream.write(f" in {seconds:.1f} s{read}{rate}\n")
    for kind in (kind for kind in KINDS if kind in counts):
        stream.write(f"  {counts[kind]:,} {kind}: {KINDS[kind].value}\n")
