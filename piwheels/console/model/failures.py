"""Causes of failed builds: the package, or the slave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from piwheels.console.model.slave import PastBuild, Slave

#: A package that fails on this many slaves is broken; so is a slave that fails this often in a row.
_SLAVES: Final = 3
_IN_A_ROW: Final = 3


def packages(builds: Iterable[PastBuild]) -> dict[str, str]:
    """Return a sentence for each package that fails on every slave that tries it."""
    tried: dict[str, dict[tuple[int, str], bool]] = {}
    for build in builds:
        if build.outcome in ("ok", "failed"):
            where = tried.setdefault(build.package, {})
            slave = build.slave_id, build.label
            where[slave] = where.get(slave, False) or build.result == "ok"
    return {
        package: f"{package} fails everywhere ({len(where)} of {len(where)} slaves)"
        for package, where in tried.items()
        if len(where) >= _SLAVES and not any(where.values())
    }


def slaves(slaves_: Iterable[Slave], broken: Iterable[str]) -> dict[int, str]:
    """Return a sentence for each slave that fails packages which build elsewhere."""
    known = set(broken)
    found = {}
    for slave in slaves_:
        streak = slave.failures
        if streak < _IN_A_ROW:
            continue
        failed = [one.package for one in slave.builds if one.result == "failed"][-streak:]
        if len(set(failed) - known) >= 2:
            found[slave.id] = f"{slave.label} fails everything ({streak} in a row)"
    return found


def explain(builds: Iterable[PastBuild], slaves_: Iterable[Slave]) -> list[str]:
    """Return the causes of recent failures, in sentences."""
    broken = packages(builds)
    return [*broken.values(), *slaves(slaves_, broken).values()]
