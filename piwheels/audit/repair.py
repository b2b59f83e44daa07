"""Repair findings where that is safe; asks before each change, and logs it.

Nothing is ever deleted from the site: foreign files move to a folder outside of it.
"""

from __future__ import annotations

import logging
import os
import stat
from typing import TYPE_CHECKING

from piwheels.audit.findings import Finding, Remedy, shown
from piwheels.audit.tree import Tree
from piwheels.core.errors import BadWheel, Fatal, PiWheelsError
from piwheels.core.keys.options import farm_of
from piwheels.core.program.terminal import confirmed
from piwheels.core.site import log_name, work_path
from piwheels.core.wheels.inspection import inspect_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from piwheels.audit.config import AuditConfig
    from piwheels.core.database.audit import AuditDatabase

logger = logging.getLogger("audit")


class Repair:
    """Repairs findings. Raises ``Fatal`` if the quarantine directory is unusable."""

    def __init__(self, config: AuditConfig, db: AuditDatabase) -> None:
        self._config, self._db = config, db
        self._tree = Tree(config.place.site)
        self._quarantine = config.quarantine_dir and config.quarantine_dir.absolute()
        if config.repair and self._quarantine is not None:
            _check_quarantine(self._quarantine, config.place.site.resolve())

    def repair(self, findings: Sequence[Finding], *, live: bool) -> None:
        """Repair *findings*, files first and pages last; *live*: a master runs."""
        by_remedy: dict[Remedy, list[Finding]] = {}
        for finding in findings:
            by_remedy.setdefault(finding.remedy, []).append(finding)
        stale: set[str] = set()
        for finding in by_remedy.get(Remedy.MODE, []):
            self._open_to_all(finding)
        stale |= self._move(by_remedy.get(Remedy.MOVE, []))
        for finding in by_remedy.get(Remedy.METADATA, []):
            self._write_metadata(finding)
        for package, version in sorted(
            {(each.package, each.version) for each in by_remedy.get(Remedy.BUILD, [])}
        ):
            if self._build_again(package, version):
                stale.add(package)
        self._rewrite(by_remedy.get(Remedy.REWRITE, []), stale, live=live)
        if Remedy.DERIVED in by_remedy:
            self._refresh()

    # Without the database ---------------------------------------------------------------------

    def _open_to_all(self, finding: Finding) -> None:
        if not self._confirmed(f"make {shown(finding.path)} readable for everybody"):
            return
        path = self._path(finding.path)
        try:
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode):
                path.chmod(stat.S_IMODE(mode) | (0o555 if stat.S_ISDIR(mode) else 0o444))
        except OSError as exc:
            logger.error("could not change the mode of %s: %s", shown(finding.path), exc.strerror)

    def _move(self, findings: Sequence[Finding]) -> set[str]:
        """Move foreign files to quarantine; return the packages that they were found in."""
        if not findings:
            return set()
        if self._quarantine is None:
            logger.warning(
                "%d paths do not belong to the site: set --quarantine-dir to move them"
                " there", len(findings),
            )  # fmt: skip
            return set()
        if not self._confirmed(f"move {len(findings)} paths to {self._quarantine}"):
            return set()
        return {each.package for each in findings if self._moved(each.path)} - {""}

    def _moved(self, path: str) -> bool:
        """Move *path* into quarantine, under the same path; return whether it succeeded."""
        if self._quarantine is None:
            return False
        target = os.path.join(self._quarantine, path.removeprefix("../"))  # noqa: PTH118 (bytes)
        number = 0
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120 (as above)
            free = target
            while os.path.lexists(free):
                number += 1
                free = f"{target}.{number}"
            os.rename(self._tree.full(path), free)  # noqa: PTH104 (as above)
        except OSError as exc:
            logger.error("could not move %s: %s", shown(path), exc.strerror or exc)
            return False
        logger.info("moved %s to %s", shown(path), shown(free))
        return True

    def _write_metadata(self, finding: Finding) -> None:
        """Extract METADATA from the wheel, which the audit has found valid."""
        path = self._tree.full(finding.path)
        if not self._confirmed(f"write {shown(finding.path)} again"):
            return
        work = work_path(self._config.place.site)
        tmp = work / f"audit-{os.getpid()}.metadata"
        try:
            data = inspect_wheel(self._path(finding.path.removesuffix(".metadata"))).metadata
            work.mkdir(mode=0o755, exist_ok=True)
            with tmp.open("xb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            tmp.replace(path)
        except (OSError, BadWheel) as exc:
            tmp.unlink(missing_ok=True)
            logger.error("could not write %s: %s", shown(finding.path), exc)
        else:
            logger.info("wrote %s", shown(finding.path))

    # With the database -------------------------------------------------------------------------

    def _build_again(self, package: str, version: str) -> bool:
        """Have a version built again: what is left of it moves, its builds are forgotten."""
        if self._quarantine is None:
            logger.warning(
                "%s %s must be built again: set --quarantine-dir for its remains",
                package, version,
            )  # fmt: skip
            return False
        what = f"delete the builds of {package} {version}, so that it is built again"
        if not self._confirmed(what):
            return False
        for path in self._paths_of(package, version):
            if self._tree.about(path) is not None and not self._moved(path):
                return False
        self._db.add_rewrite(package, "BOTH")
        self._db.delete_build(package, version)
        logger.info("%s %s returns to the build queue", package, version)
        return True

    def _paths_of(self, package: str, version: str) -> Iterator[str]:
        """Yield the paths of the files and logs of a version."""
        for found in self._db.audit_packages([package]):
            for file in found.files:
                if file.version == version:
                    yield f"simple/{package}/{file.filename}"
                    yield f"simple/{package}/{file.filename}.metadata"
            for build in found.builds:
                if build.version == version:
                    yield log_name(build.build_id)

    def _rewrite(self, findings: Iterable[Finding], stale: set[str], *, live: bool) -> None:
        packages = {each.package for each in findings} | stale
        root = "" in packages
        # A master would remove the pages of a package that is not in the database.
        known = sorted(each.package for each in self._db.audit_packages(sorted(packages - {""})))
        what = f"the pages of {len(known)} packages" + (" and the root" if root else "")
        if not (known or root) or not self._confirmed(f"rewrite {what}"):
            return
        for package in known:
            self._db.add_rewrite(package, "BOTH")
        if not live:
            logger.info("scheduled %s: the master rewrites them when it starts", what)
            return
        try:
            with farm_of(self._config) as farm:
                for package in known:
                    farm.rebuild("index", package)
                if root:
                    farm.rebuild("home")
                    farm.rebuild("search")
        except PiWheelsError as exc:
            logger.warning("scheduled %s, but the master was not notified: %s", what, exc)
        else:
            logger.info("the master rewrites %s", what)

    def _refresh(self) -> None:
        if self._confirmed("rebuild the derived data of the database (blocks a running master)"):
            self._db.refresh_derived()
            logger.info("rebuilt the derived data of the database")

    # Helpers ------------------------------------------------------------------------------------

    def _confirmed(self, what: str) -> bool:
        return confirmed(what, yes=self._config.yes)

    def _path(self, path: str) -> Path:
        return self._config.place.site / path


def _check_quarantine(folder: Path, site: Path) -> None:
    if folder.resolve().is_relative_to(site):
        raise Fatal(
            f"{folder} is inside the site and would be served: choose another --quarantine-dir"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        here, there = folder.stat().st_dev, site.stat().st_dev
    except OSError as exc:
        raise Fatal(
            f"cannot use {folder} ({exc.strerror}): choose another --quarantine-dir"
        ) from exc
    if here != there:
        raise Fatal(
            f"{folder} is not on the site's file system, and files are moved, not copied: choose"
            " another --quarantine-dir"
        )
