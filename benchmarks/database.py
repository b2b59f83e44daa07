"""The duration of the most frequent queries, with 100,000 versions in the database."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from support import ABI, LOG, farm, fill, percentile, table

from piwheels.core.database import Database
from piwheels.core.states import BuildState

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES, VERSIONS = 10_000, 10
BUILDS, GROUP = 1_600, 16


def seconds(work: Callable[[], object], times: int = 20) -> list[float]:
    """Call *work* this many *times*; return the duration of each call in seconds."""
    durations = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        durations.append(time.perf_counter() - start)
    return durations


def main() -> int:
    """Fill a database, query it, and print the durations."""
    with farm() as ours, Database(ours.dsn) as db:
        db.add_build_abi(ABI)
        filled = fill(ours.superuser, PACKAGES, VERSIONS)
        queue = seconds(lambda: db.get_build_queue(1000))
        todo = [BuildState(1, *job, ABI, False, timedelta(seconds=5), LOG)
                for job in db.get_build_queue(2 * BUILDS)[ABI]]  # fmt: skip
        ones, groups = iter(todo[:BUILDS]), iter(todo[BUILDS:])
        single = seconds(lambda: db.log_build(next(ones)), BUILDS)
        grouped = seconds(
            lambda: db.log_builds([next(groups) for _ in range(GROUP)]), BUILDS // GROUP
        )
        statistics = seconds(db.get_statistics)
        count = PACKAGES * VERSIONS
        again = seconds(lambda: db.get_build_queue(1000))
    table(
        f"The database, {count:,} versions",
        [
            (f"insert {count:,} versions, one statement", f"{filled:.1f}", "s"),
            ("get_build_queue(1000)", f"{1000 * percentile(queue, 50):.1f}", "ms"),
            (f"the same after {2 * BUILDS:,} builds", f"{1000 * percentile(again, 50):.1f}", "ms"),
            ("log_build, 10 KiB log, one by one", f"{BUILDS / sum(single):,.0f}", "builds/s"),
            (f"log_builds, {GROUP} at a time", f"{BUILDS / sum(grouped):,.0f}", "builds/s"),
            ("get_statistics", f"{1000 * percentile(statistics, 50):.1f}", "ms"),
        ],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
