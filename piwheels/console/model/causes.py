"""Why builds fail: because of the package, or because of the slave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from piwheels.console.model.slave import PastBuild, Slave

#: Failures on so many slaves are the package's, so many in a row of different packages the slave's.
_SLAVES: Final = 3
_IN_A_ROW: Final = 3


def packages(builds: Iterable[PastBuild]) -> dict[str, str]:
    """Return a sentence for each package that fails on whatever slave tries it."""
    tried: dict[str, dict[tuple[int, str], bool]] = {}
    for build in builds:
        if build.result in ("ok", "failed"):
            where = tried.setdefault(build.package, {})
            slave = build.slave_id, build.label
            where[slave] = where.get(slave, False) or build.result == "ok"
    return {
        package: f"{package} fails everywhere ({len(where)} of {len(where)} slaves)"
        for package, where in tried.items()
        if len(where) >= _SLAVES and not any(where.values())
    }


def slaves(slaves_: Iterable[Slave], hopeless: Iterable[str]) -> dict[int, str]:
    """Return a sentence for each slave that fails all, even what is not *hopeless* elsewhere."""
    known = set(hopeless)
    found = {}
    for slave in slaves_:
        streak = slave.failures
        if streak < _IN_A_ROW:
            continue
        failed = [one.package for one in slave.builds if one.result == "failed"][-streak:]
        if len(set(failed) - known) >= 2:
            found[slave.id] = f"{slave.label} fails everything ({streak} in a row)"
    return found


def causes(builds: Iterable[PastBuild], slaves_: Iterable[Slave]) -> list[str]:
    """Return what the failures of late are due to, in sentences."""
    hopeless = packages(builds)
    return [*hopeless.values(), *slaves(slaves_, hopeless).values()]
